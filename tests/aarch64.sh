#!/bin/sh
# The camera's binary for 64-bit ARM, cross-built, and run under qemu-user: the kernels' own tests (NEON), the golden
# pair of every shipped model, and how many instructions a frame takes, function by function.
#
# Needs (Debian): gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user, and `rustup target add
# aarch64-unknown-linux-gnu`. Takes about half an hour on two cores, most of it compiling.
#   tests/aarch64.sh [FOLDER [PACKAGE...]]
#     FOLDER: where what is built goes, else target/aarch64
#     PACKAGE: further model packages for tract; as the shipped ones of 8 and 16 bits they run on a core with dot products
#     of bytes and numbers of 16 bits as well
set -eu
case "${1:-}" in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
folder=$(realpath -m "${1:-$(dirname "$0")/../target/aarch64}")
[ $# -eq 0 ] || shift
further=$(for package; do realpath "$package"; done)
cd "$(dirname "$0")/.."
# Those that are shipped in fewer bits, and what the caller names.
further="$(ls -d models/weights/oneprompt-[a-z]-*) $further"
target=aarch64-unknown-linux-gnu
export CARGO_TARGET_DIR="$folder"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="${CC_AARCH64:-aarch64-linux-gnu-gcc}"
for tool in "$CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER" qemu-aarch64; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; see the head of $0" >&2; exit 2; }
done
# A Cortex-A72 has NEON without dot products and without 16-bit arithmetic, as most boards do.
# The second, that of a Raspberry Pi 5, has both.
root="qemu-aarch64 -L ${SYSROOT_AARCH64:-/usr/aarch64-linux-gnu}"
emulator="$root -cpu ${CPU_AARCH64:-cortex-a72}"
dots="$root -cpu ${CPU_DOTS_AARCH64:-cortex-a76}"

echo "== building"
cargo build --release --target "$target" -p touchstone
tests=$(cargo test --release --target "$target" -p touchstone-models --lib --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*touchstone_models-[^"]*\)".*/\1/p' | tail -1)

echo "== the kernels' tests"
$emulator "$tests" --test-threads 1 engine::tract planes
echo "-- on a core with dot products of bytes and numbers of 16 bits"
$dots "$tests" --test-threads 1 engine::tract

echo "== golden pairs"
camera="$CARGO_TARGET_DIR/$target/release/touchstone"
golden() {
    echo "-- $1, $2, ${3##* }"
    # 3: a camera or a line is missing, which is not what is asked here.
    said=$(TOUCHSTONE_OPERATORS=$2 $3 "$camera" doctor --model "$1" --engine tract 2>&1) || [ $? -eq 3 ]
    echo "$said" | grep -E '^[^ ]+ +(model|engine tract) '
    case $said in *"BROKEN  model"* | *"BROKEN  engine tract"*) exit 1 ;; esac
}
for model in models/weights/oneprompt-[a-z]; do
    golden "$model" neon "$emulator"
    golden "$model" portable "$emulator"
done
for package in $further; do
    golden "$package" neon "$emulator"
    golden "$package" neon "$dots"
done

echo "== instructions of a frame"
# By function, the difference between few and many frames: what happens once is then left out.
plugin="$CARGO_TARGET_DIR/count.so"
cc -O2 -shared -fPIC -fvisibility=hidden -o "$plugin" tests/aarch64/count.c
few=2 many=4
count() {
    for runs in $few $many; do
        out="$CARGO_TARGET_DIR/instructions-$(basename "$1")-$runs.txt"
        $2 -plugin "$plugin,out=$out" "$camera" bench --model "$1" --engine tract --threads 1 \
            --size 256x256 --runs $runs > /dev/null
    done
    echo "-- $(basename "$1")"
    python3 tests/aarch64/frame.py "${out%-$many.txt}-$few.txt" "$out" $((many - few))
}
for model in models/weights/oneprompt-[a-z]; do
    count "$model" "$emulator"
done
for package in $further; do
    count "$package" "$dots"
done
