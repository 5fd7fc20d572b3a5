#!/bin/sh
# The camera's binary for 64-bit ARM, cross-built, and run under qemu-user: the kernels' own tests (NEON), the golden
# pair of every shipped model, and how many instructions a frame takes, function by function.
#
# Needs (Debian): gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user, and `rustup target add
# aarch64-unknown-linux-gnu`. Takes about half an hour on two cores, most of it compiling.
#   tests/aarch64.sh [FOLDER]     what is built goes to FOLDER, else to target/aarch64
set -eu
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
export CARGO_TARGET_DIR="${1:-target/aarch64}"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="${CC_AARCH64:-aarch64-linux-gnu-gcc}"
for tool in "$CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER" qemu-aarch64; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; see the head of $0" >&2; exit 2; }
done
# A Cortex-A72 has NEON without dot products and without 16-bit arithmetic, as most boards do.
emulator="qemu-aarch64 -L ${SYSROOT_AARCH64:-/usr/aarch64-linux-gnu} -cpu ${CPU_AARCH64:-cortex-a72}"

echo "== building"
cargo build --release --target "$target" -p touchstone
tests=$(cargo test --release --target "$target" -p touchstone-models --lib --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*touchstone_models-[^"]*\)".*/\1/p' | tail -1)

echo "== the kernels' tests"
$emulator "$tests" --test-threads 1 engine::tract planes

echo "== golden pairs"
camera="$CARGO_TARGET_DIR/$target/release/touchstone"
file -b "$camera" 2> /dev/null || true
for model in models/weights/*; do
    for operators in neon portable; do
        echo "-- $model, $operators"
        TOUCHSTONE_OPERATORS=$operators $emulator "$camera" doctor --model "$model" --engine tract || [ $? -eq 3 ]
    done
done

echo "== instructions of a frame"
# By function, the difference between few and many frames: what happens once is then left out.
plugin="$CARGO_TARGET_DIR/count.so"
cc -O2 -shared -fPIC -fvisibility=hidden -o "$plugin" tests/aarch64/count.c
few=2 many=4
for model in models/weights/*; do
    for runs in $few $many; do
        out="$CARGO_TARGET_DIR/instructions-$(basename "$model")-$runs.txt"
        $emulator -plugin "$plugin,out=$out" "$camera" bench --model "$model" --engine tract --threads 1 \
            --size 256x256 --runs $runs > /dev/null
    done
    echo "-- $(basename "$model")"
    python3 tests/aarch64/frame.py "${out%-$many.txt}-$few.txt" "$out" $((many - few))
done
