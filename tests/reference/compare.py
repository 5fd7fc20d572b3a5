"""Packages as ONNX, side by side in ONNX Runtime: milliseconds, megabytes, and how far from the golden map.

Usage: compare.py PACKAGE...    the first is what the others are compared with

Rounds are interleaved, so that a machine that slows down slows all of them; times are of the processor.
Needs onnxruntime, numpy and pillow.
"""

import sys
import time
import tomllib
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort
from PIL import Image

ROUNDS = 5
FRAMES = 20


class Package:
    """Both graphs of a package on one thread, with their golden pair."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.card = tomllib.loads((self.folder / "model.toml").read_text())
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.files = [self.folder / self.card[graph]["file"] for graph in ("encode", "segment")]
        self.encode, self.segment = (
            ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]) for file in self.files
        )
        self.query = self.picture("query.png")
        self.query_features = self.features(self.query)
        self.inputs = self.pair(self.query_features, self.features(self.picture("prompt.png")))
        self.times = {"encode": [], "segment": []}

    def picture(self, name):
        size = self.card["input"]["width"], self.card["input"]["height"]
        image = Image.open(self.folder / "golden" / name).convert("RGB")
        if image.size != size:
            raise SystemExit(f"{self.folder}: the golden pair is {image.size}, the model's input {size}")
        mean, std = (np.array(self.card["input"][key], np.float32) for key in ("mean", "std"))
        return ((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)

    def features(self, image):
        names = [output.name for output in self.encode.get_outputs()]
        return dict(zip(names, self.encode.run(names, {"image": image})))

    def pair(self, query, prompt):
        sides = {"query": query, "prompt": prompt}
        names = [given.name for given in self.segment.get_inputs()]
        return {name: sides[name.split(".", 1)[0]][name.split(".", 1)[1]] for name in names}

    def off(self):
        """Greatest and mean difference from the golden map."""
        golden = np.fromfile(self.folder / "golden" / "map.f32", np.float32)
        difference = np.abs(self.segment.run(["map"], self.inputs)[0].reshape(-1) - golden)
        return difference.max(), difference.mean()

    def round(self):
        for name, run in (
            ("encode", lambda: self.encode.run(None, {"image": self.query})),
            ("segment", lambda: self.segment.run(None, self.inputs)),
        ):
            start = time.process_time()
            for _ in range(FRAMES):
                run()
            self.times[name].append((time.process_time() - start) / FRAMES * 1e3)

    def ms(self):
        return [median(self.times[name]) for name in ("encode", "segment")]


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    packages = [Package(folder) for folder in sys.argv[1:]]
    for package in packages:
        package.round()
        package.times = {"encode": [], "segment": []}
    for _ in range(ROUNDS):
        for package in packages:
            package.round()
    print(f"ONNX Runtime {ort.__version__}, one thread, medians of {ROUNDS} interleaved rounds of {FRAMES} runs\n")
    print("| package | MB | encode, ms | segment, ms | both, ms | times faster | off the golden map: most, mean |")
    print("|---|---|---|---|---|---|---|")
    first = sum(packages[0].ms())
    for package in packages:
        encode, segment = package.ms()
        size = sum(file.stat().st_size for file in package.files) / 1e6
        most, mean = package.off()
        print(
            f"| {package.folder.name} | {size:.2f} | {encode:.1f} | {segment:.1f} | {encode + segment:.1f} "
            f"| {first / (encode + segment):.2f} | {most:.1e}, {mean:.1e} |"
        )


main()
