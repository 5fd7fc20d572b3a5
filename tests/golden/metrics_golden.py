#!/usr/bin/env python3
"""Golden values for tools/src/eval/metrics, computed independently of the Rust code.

Needs numpy, scipy and scikit-learn (any recent version):  python3 metrics_golden.py
Prints the literals that tools/src/eval/metrics/golden.rs holds. Inputs come from a
congruential generator that both sides write out, so no data file is needed.
"""
import numpy as np
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score


def noise(seed, count):
    """Values of 0..65535: the upper half of a 32-bit linear congruential generator."""
    state, out = seed, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 16)
    return np.array(out, dtype=np.int64)


def pictures():
    """40 picture scores on 16 levels (many ties), and labels that lean towards high scores."""
    score = noise(1, 40) // 4096
    label = (score + noise(2, 40) // 4096) > 16
    return score / 16.0, label


def pixels(seed, defects):
    """A 48 x 32 map of 16-bit values on 64 levels, and a mask of filled ellipses."""
    y, x = np.mgrid[0:32, 0:48]
    mask = np.zeros((32, 48), bool)
    for cx, cy, rx, ry in defects:
        mask |= ((x - cx) * ry) ** 2 + ((y - cy) * rx) ** 2 <= (rx * ry) ** 2
    value = noise(seed, 32 * 48).reshape(32, 48) // 1024 * 768 + mask * 12000
    return value, mask


def pro(maps, limit=0.3):
    """PRO by its definition: every distinct value is a threshold, every region counts once."""
    negatives = np.concatenate([v[~m] for v, m in maps])
    regions = []
    for value, mask in maps:
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [value[labels == i + 1] for i in range(count)]
    fpr, overlap = [0.0], [0.0]
    for t in sorted({int(v) for value, _ in maps for v in value.ravel()}, reverse=True):
        fpr.append((negatives >= t).mean())
        overlap.append(np.mean([(r >= t).mean() for r in regions]))
    fpr, overlap = np.array(fpr), np.array(overlap)
    at_limit = np.interp(limit, fpr, overlap)
    keep = fpr < limit
    x = np.append(fpr[keep], limit)
    y = np.append(overlap[keep], at_limit)
    return float(np.sum((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2) / limit), len(regions)


def boxes(value, targets, threshold, least=4):
    """Hits and false regions at one threshold, by labelling (scipy) instead of a forest."""
    labels, count = ndimage.label(value >= threshold, structure=np.ones((3, 3)))
    hits, false = [False] * len(targets), 0
    for i in range(1, count + 1):
        ys, xs = np.nonzero(labels == i)
        if len(xs) < least:
            continue
        cx, cy = xs.mean() + 0.5, ys.mean() + 0.5
        inside = [x1 <= cx <= x2 and y1 <= cy <= y2 for x1, y1, x2, y2 in targets]
        hits = [h or i for h, i in zip(hits, inside)]
        false += not any(inside)
    return hits, false


def main():
    score, label = pictures()
    print("pictures", int(label.sum()), "of", len(label))
    print("AUROC", repr(float(roc_auc_score(label, score))))
    print("AP", repr(float(average_precision_score(label, score))))
    print("F1 above 0.5", repr(float(f1_score(label, score > 0.5))))

    maps = [
        pixels(3, [(10, 8, 6, 4), (30, 20, 9, 7)]),
        pixels(4, [(40, 6, 2, 2), (42, 12, 3, 9)]),
        pixels(5, []),
    ]
    value = np.concatenate([v.ravel() for v, _ in maps])
    mask = np.concatenate([m.ravel() for _, m in maps])
    print("pixels", int(mask.sum()), "of", len(mask), "sum", int(value.sum()))
    print("AUROC", repr(float(roc_auc_score(mask, value))))
    print("AP", repr(float(average_precision_score(mask, value))))
    print("PRO, regions", *map(repr, pro(maps)))

    targets = [(4, 4, 16, 12), (20, 13, 40, 27), (41, 2, 47, 9)]
    smooth = ndimage.uniform_filter(maps[0][0], 5, mode="nearest")
    # Integers, so that the Rust side can repeat the box filter exactly.
    padded = np.pad(maps[0][0], 2, mode="edge")
    exact = sum(padded[dy:dy + 32, dx:dx + 48] for dy in range(5) for dx in range(5)) // 25
    assert np.abs(exact - smooth).max() <= 1
    for threshold in (24000, 26000, 28000, 30000):
        hits, false = boxes(exact, targets, threshold)
        print("boxes at", threshold, [bool(h) for h in hits], false)


if __name__ == "__main__":
    main()
