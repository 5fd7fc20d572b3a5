#!/usr/bin/env bash
# A frame of ours beside ONNX Runtime, OpenVINO, the original MetaUAS, PatchCore and PaDiM: makes a Python of its own
# and the packages that are compared, then runs others.py, which says what is compared and how.
#   tests/reference/others.sh [PICTURES] [OPTION...]
#       PICTURES: a folder of pictures of good parts, to set 8 bits by; else drawn ones (times are the same)
#       OPTION...: for others.py, for instance --rounds 15 or --json
# Needs python3 with venv, 6 GB of memory and about 8 GB below target/ (PyPI's PyTorch brings what GPUs need; INDEX
# names a further index, for instance that of PyTorch's builds for CPUs), and about a quarter of an hour the first
# time. What cannot be installed is said and left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
case "${1:-}" in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$target/release/touchstone-tools camera=$target/release/touchstone
work=$target/others
pictures=""
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    pictures=$(realpath "$1")
    shift
fi
[ -x "$tools" ] && [ -x "$camera" ] || cargo build --release --workspace

echo "== Python, in $target/compare-venv" >&2
python=$target/compare-venv/bin/python
[ -x "$python" ] || python3 -m venv "$target/compare-venv" || {
    echo "no Python of its own: install python3-venv" >&2
    exit 2
}
install() {
    "$python" -m pip install --quiet --disable-pip-version-check "$@" || echo "MISSING: pip install $*" >&2
}
install onnxruntime==1.32.0 numpy pillow
install openvino==2026.4.1
install torch torchvision onnx ${INDEX:+--extra-index-url "$INDEX"}
# The release that the published weights were trained with; the next one pads differently.
install efficientnet-pytorch==0.6.3
install anomalib==2.7.0

echo "== packages, in $work" >&2
mkdir -p "$work"
if [ -z "$pictures" ]; then
    pictures=$work/drawn
    "$python" - "$pictures" << 'END'
import sys
from pathlib import Path

import numpy as np
from PIL import Image

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for n in range(24):
    coarse = np.random.default_rng(n).integers(0, 256, (33, 33, 3), np.uint8)
    Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC).save(folder / f"{n}.png")
END
fi
# made WHAT FROM COMMAND...: by the command, unless it is there and younger than what it is made from.
made() {
    local what=$work/$1 from=$2
    shift 2
    [ "$what" -nt "$from" ] && return
    echo "-- $what" >&2
    rm -rf "$what"
    "$@" > "$work/last.log" 2>&1 || {
        tail -n 3 "$work/last.log" >&2
        echo "MISSING: $*" >&2
    }
}
for model in oneprompt-l oneprompt-m oneprompt-s; do
    for form in "f32 ort" "int8 ort" "int8 tract"; do
        read -r precision engine <<< "$form"
        what=$model-$precision-$engine
        # Other tools may write other packages.
        [ "$work/$what" -nt "$tools" ] || rm -rf "${work:?}/$what"
        made "$what" "models/weights/$model/model.toml" "$tools" quantize --model "models/weights/$model" \
            --out "$work/$what" --precision "$precision" --engine "$engine" --pictures "$pictures"
    done
done
made random.ckpt tests/reference/metauas.py "$python" tests/reference/metauas.py checkpoint "$work/random.ckpt"
# What it scores is not asked here; fewer products are refused.
made metauas-random "$work/random.ckpt" "$tools" import metauas --checkpoint "$work/random.ckpt" \
    --out "$work/metauas-random" --pictures "$pictures" --products 16 --source "random weights" --date "$(date +%F)"

echo "== times" >&2
exec "$python" tests/reference/others.py "$work" --tools "$tools" --camera "$camera" "$@"
