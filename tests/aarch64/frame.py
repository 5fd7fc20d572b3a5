"""Instructions of one frame by what they are for, from two runs of tests/aarch64/count.c's plugin, and what they
let expect of cores that were not at hand.

Usage: frame.py FEW MANY FRAMES    FRAMES: how many more frames MANY has
"""

import subprocess
import sys
from collections import Counter

# The first that is found in a function's name says what it is for.
KINDS = [
    ("fast::convolution", "convolutions"),
    ("fast::winograd", "convolutions"),
    ("fast::eight", "convolutions"),
    ("fast::dots", "convolutions"),
    ("fast::attention", "attention"),
    ("fast::factors", "products of 16 bits, and what is around them"),
    ("fast::sixteen", "products of 16 bits, and what is around them"),
    ("fast::normalise", "normalising and turning"),
    ("fast::turn", "normalising and turning"),
    ("fast::sum", "normalising and turning"),
    ("fast::along", "bilinear resizing"),
    ("fast::patches", "position witness"),
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
# Kinds that are nearly all multiply-adds on registers of four, and what a judgement does not do.
KERNELS = {
    "convolutions",
    "attention",
    "products of 16 bits, and what is around them",
    "bilinear resizing",
    "position witness",
}
NOT_OURS = "the picture that is judged"

# ASSUMED, not measured: core, clock in GHz on a board that has it, instructions per cycle in the kernels and
# elsewhere, each at worst and at best. The kernels' inner loop has 30 instructions, 24 of them multiply-adds (FMLA)
# on registers of four f32 or eight f16. By what is published a Cortex-A53 and an A72 start one of these a cycle, an A76
# and an A78AE two: at best 24 or 12 cycles a turn, that is 1.25 or 2.5 instructions a cycle. The best assumed here
# leaves about a tenth of that to loads, the worst a third; the A53, which does nothing out of order, waits for each
# load. The same is assumed of dot products of bytes, which the first two lack, as they do 16 bits.
CORES = [
    ("Cortex-A53", 1.5, "i.MX 8M", (0.55, 0.8), (0.4, 0.8)),
    ("Cortex-A72", 1.5, "Raspberry Pi 4", (0.85, 1.15), (0.8, 1.3)),
    ("Cortex-A76", 2.4, "Raspberry Pi 5", (1.65, 2.2), (1.2, 2.2)),
    ("Cortex-A78AE", 1.5, "Jetson Orin Nano", (1.75, 2.3), (1.4, 2.4)),
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
    kernels = sum(count for kind, count in kinds.items() if kind in KERNELS)
    others = total - kernels - kinds[NOT_OURS]
    print("\nESTIMATED from these counts, not measured; one thread, caches never missed:")
    print("| core | board | GHz | instructions a cycle: kernels | elsewhere | a judgement, ms |\n|---|---|---|---|---|---|")
    for core, clock, board, fast, slow in CORES:
        worst, best = ((kernels / fast[i] + others / slow[i]) / clock / 1e6 for i in (0, 1))
        print(f"| {core} | {board} | {clock} | {fast[0]}-{fast[1]} | {slow[0]}-{slow[1]} | {best:.0f}-{worst:.0f} |")


main()
