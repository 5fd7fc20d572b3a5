#!/usr/bin/env python3
"""Our packages on tract beside the same graphs in ONNX Runtime, interleaved, in one run.

    tests/reference/speed.py --touchstone target/release/touchstone \\
        --package models/weights/oneprompt-m --onnx RUN/onnx [--package ... --onnx ...]

`RUN/onnx` holds the encode.onnx and segment.onnx that `touchstone-tools export` wrote for the package.
Each round measures every package on both engines, on one thread, so that a machine that slows down slows
both; medians over the rounds are compared. Needs onnxruntime and numpy from PyPI.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path


def ort_session(path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Ort:
    """encode and segment of one package in ONNX Runtime, the prompt's features kept."""

    def __init__(self, folder):
        import numpy as np

        self.encode = ort_session(folder / "encode.onnx")
        self.segment = ort_session(folder / "segment.onnx")
        noise = np.random.default_rng(1)
        image = self.encode.get_inputs()[0]
        self.picture = lambda: {image.name: noise.standard_normal(image.shape, dtype=np.float32)}
        names = [o.name for o in self.encode.get_outputs()]
        self.features = lambda picture: dict(zip(names, self.encode.run(None, picture)))
        self.prompt = self.features(self.picture())

    def frame(self):
        """Milliseconds of encode and of segment, for one frame."""
        picture = self.picture()
        start = time.perf_counter()
        query = self.features(picture)
        encoded = time.perf_counter()
        sides = {"query": query, "prompt": self.prompt}
        inputs = {}
        for i in self.segment.get_inputs():
            side, leaf = i.name.split(".", 1)
            inputs[i.name] = sides[side][leaf]
        self.segment.run(None, inputs)
        return (encoded - start) * 1e3, (time.perf_counter() - encoded) * 1e3


def tract(binary, package, runs):
    """Medians of `touchstone bench` in milliseconds, and its peak resident memory in MiB."""
    command = [binary, "bench", "--model", str(package), "--threads", "1", "--runs", str(runs), "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    latency = json.loads(out)["latency_us"]
    stage = lambda name: latency[name]["p50"] / 1e3
    return {s: stage(s) for s in ("preprocess", "encode", "segment", "score", "total")}, usage.ru_maxrss / 1024


def bytes_of(package):
    return sum(f.stat().st_size for f in package.glob("*.nnef.tar"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--touchstone", default="target/release/touchstone")
    parser.add_argument("--package", type=Path, action="append", required=True)
    parser.add_argument("--onnx", type=Path, action="append", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=20, help="frames per round and engine")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if len(args.package) != len(args.onnx):
        parser.error("give one --onnx for each --package")
    ours = {p: [] for p in args.package}
    theirs = {p: [] for p in args.package}
    memory = {}
    sessions = {p: Ort(o) for p, o in zip(args.package, args.onnx)}
    for _ in range(args.rounds):
        for package in args.package:
            stages, peak = tract(args.touchstone, package, args.frames)
            ours[package].append(stages)
            memory[package] = max(peak, memory.get(package, 0.0))
            for i in range(args.frames + 2):
                times = sessions[package].frame()
                if i >= 2:
                    theirs[package].append(times)
    import onnxruntime

    rows = []
    for package in args.package:
        median = lambda key: statistics.median(s[key] for s in ours[package])
        encode = statistics.median(t[0] for t in theirs[package])
        segment = statistics.median(t[1] for t in theirs[package])
        rows.append({
            "package": package.name,
            "megabytes": bytes_of(package) / 1e6,
            "tract": {k: median(k) for k in ("preprocess", "encode", "segment", "score", "total")},
            "ort": {"encode": encode, "segment": segment},
            "graphs_ratio": (median("encode") + median("segment")) / (encode + segment),
            "peak_mib": memory[package],
        })
    if args.json:
        print(json.dumps({"machine": platform.processor(), "onnxruntime": onnxruntime.__version__, "rows": rows}))
        return
    print(f"one thread, medians in ms; ONNX Runtime {onnxruntime.__version__}, {args.rounds} x {args.frames} frames")
    print("| package | MB | tract encode | segment | whole frame | ORT encode | segment | tract / ORT | peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        t, o = r["tract"], r["ort"]
        print(
            f"| {r['package']} | {r['megabytes']:.1f} | {t['encode']:.1f} | {t['segment']:.1f} | {t['total']:.1f} "
            f"| {o['encode']:.1f} | {o['segment']:.1f} | {r['graphs_ratio']:.2f} | {r['peak_mib']:.0f} |"
        )


if __name__ == "__main__":
    main()
