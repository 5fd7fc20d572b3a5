#!/bin/sh
# The targets of recipes one after the other, so many seconds each (900 unless told otherwise):
#   tests/fuzz/recipes.sh [SECONDS] [TARGET...]
# A crash ends it and stays in artifacts/TARGET.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-900}
[ $# -gt 0 ] && shift
for target in ${*:-bundle recipe_toml png_prompt push elsewhere}; do
    case $target in
        bundle) length=16384 ;;
        recipe_toml) length=2500 ;;
        png_prompt | push | elsewhere) length=4096 ;;
        *) echo "recipes.sh: no target '$target' of recipes" >&2; exit 2 ;;
    esac
    found=fuzz/found/$target
    mkdir -p "$found" "fuzz/corpus/$target"
    echo "== $target, $seconds s"
    ASAN_OPTIONS=malloc_context_size=0:quarantine_size_mb=8:detect_leaks=0 \
        cargo +nightly fuzz run "$target" "$found" "fuzz/corpus/$target" -- \
        -max_len="$length" -max_total_time="$seconds" -runs=10000000 -timeout=10 \
        -rss_limit_mb=1024 -print_final_stats=1
done
