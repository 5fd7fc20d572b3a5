#!/usr/bin/env bash
# Every engine that this machine can have, held to the golden maps: builds with ONNX Runtime, takes its library
# from ORT_DYLIB_PATH or PyPI, and runs the golden suite, the fallbacks and the verdicts on it. Then a package of 8
# bits goes through the camera's binary. ENGINES names those that must run (tract,ort; on a Jetson for instance
# ENGINES=tract,ort-cuda,ort-tensorrt).
#   tests/reference/engines.sh [PICTURES]     PICTURES: a folder of pictures of good parts, to set 8 bits by; else
#                                             the good halves of the golden pairs
set -euo pipefail
cd "$(dirname "$0")/../.."
case "${1:-}" in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
version=1.32.0
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
pictures=${1:+$(realpath "$1")}

if [ -z "${ORT_DYLIB_PATH:-}" ]; then
    folder=$target/onnxruntime-$version
    if ! ls "$folder"/onnxruntime/capi/libonnxruntime.so.* >/dev/null 2>&1; then
        python3 -m pip install --quiet --no-deps --target "$folder" "onnxruntime==$version" || {
            echo "SKIPPED: no ONNX Runtime: set ORT_DYLIB_PATH to its library, or install python3-pip" >&2
            exit 0
        }
    fi
    ORT_DYLIB_PATH=$(realpath "$(ls "$folder"/onnxruntime/capi/libonnxruntime.so.* | head -n 1)")
    export ORT_DYLIB_PATH
fi
echo "ONNX Runtime: $ORT_DYLIB_PATH"

echo "== building"
# The tests run the camera's binary: --test alone would leave it as it was, without ONNX Runtime.
cargo build --release --workspace --features touchstone-tests/ort
echo "== golden maps, fallbacks, verdicts"
TOUCHSTONE_ENGINES=${ENGINES:-tract,ort} cargo test --release --workspace --features touchstone-tests/ort \
    --test golden --test engines --test verdicts -- --nocapture

echo "== 8 bits on the camera's binary"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "$pictures" ]; then
    # Goldens of the shipped models: the only pictures of good parts that are always here.
    pictures=$work/good
    mkdir "$pictures"
    for model in models/weights/oneprompt-[a-z]; do
        cp "$model/golden/prompt.png" "$pictures/$(basename "$model").png"
    done
fi
for model in models/weights/oneprompt-[a-z]; do
    package=$work/$(basename "$model")-int8
    "$target/release/touchstone-tools" quantize --model "$model" --precision int8 --engine ort \
        --pictures "$pictures" --out "$package"
    "$target/release/touchstone" bench --model "$package" --engine ort --threads 1 --runs 30 --size 256x256
    "$target/release/touchstone" bench --model "$model" --engine tract --threads 1 --runs 30 --size 256x256
    # 3: a camera or a line is missing, which is not what is asked here.
    "$target/release/touchstone" doctor --model "$package" --engine ort || [ $? -eq 3 ]
done

echo "== every engine that was asked for or is missing"
"$target/release/touchstone" doctor || true
