"""Instructions of one frame by what they are for, from two runs of tests/aarch64/count.c's plugin.

Usage: frame.py FEW MANY FRAMES    FRAMES: how many more frames MANY has
"""

import subprocess
import sys
from collections import Counter

# The first that is found in a function's name says what it is for.
KINDS = [
    ("fast::convolution", "convolutions"),
    ("fast::attention", "attention"),
    ("fast::along", "bilinear resizing"),
    ("student_t", "position witness"),
    ("fast::isa", "position witness"),
    ("inspector", "statistics, fusion, regions"),
    ("calibration", "statistics, fusion, regions"),
    ("fusion", "statistics, fusion, regions"),
    ("map::", "statistics, fusion, regions"),
    ("fast_image_resize", "scaling"),
    ("preprocess", "scaling"),
    ("bench", "the picture that is judged"),
    ("touchstone_models", "the rest of ours"),
    ("tract", "tract"),
]


def counts(file):
    found = Counter()
    for line in open(file, encoding="utf-8"):
        count, symbol = line.split(" ", 1)
        found[symbol.strip()] += int(count)
    return found


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    few, many, frames = counts(sys.argv[1]), counts(sys.argv[2]), int(sys.argv[3])
    symbols = [symbol for symbol in many if many[symbol] > few[symbol]]
    named = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True)
    kinds, functions = Counter(), Counter()
    for symbol, name in zip(symbols, named.stdout.splitlines()):
        count = (many[symbol] - few[symbol]) / frames
        functions[name] += count
        kinds[next((kind for part, kind in KINDS if part in name), "everything else")] += count
    total = sum(kinds.values())
    print("| what | million instructions | share |\n|---|---|---|")
    for kind, count in kinds.most_common():
        print(f"| {kind} | {count / 1e6:.1f} | {100 * count / total:.1f} % |")
    print(f"| all | {total / 1e6:.1f} | |\n")
    for name, count in functions.most_common(12):
        print(f"{count / 1e6:9.1f}  {name}")


main()
