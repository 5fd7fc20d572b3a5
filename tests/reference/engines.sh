#!/usr/bin/env bash
# Every engine that this machine can have, held to the golden maps: builds with ONNX Runtime, takes its library
# from ORT_DYLIB_PATH or PyPI, and runs the golden suite and the fallbacks on it. ENGINES names those that must
# run (tract,ort; on a Jetson for instance ENGINES=tract,ort-cuda,ort-tensorrt).
set -euo pipefail
cd "$(dirname "$0")/../.."
version=1.32.0

if [ -z "${ORT_DYLIB_PATH:-}" ]; then
    folder=target/onnxruntime-$version
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
TOUCHSTONE_ENGINES=${ENGINES:-tract,ort} cargo test --release --workspace --features touchstone-tests/ort \
    --test golden --test engines -- --nocapture
target/release/touchstone doctor || true
