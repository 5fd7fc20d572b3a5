#!/usr/bin/env python3
"""The MetaUAS network in PyTorch, independent of ours: what `touchstone-tools import metauas` is held to.

    pip install torch numpy pillow efficientnet-pytorch==0.6.3
    tests/reference/metauas.py golden                  # rewrites metauas-map.f32 beside this file
    tests/reference/metauas.py check target/release/touchstone-tools
    tests/reference/metauas.py checkpoint FILE.ckpt    # random weights, to try the import with

`golden` is what the Rust test reads where there is no PyTorch. Weights are not committed: every tensor is
made from its name (see `numbers`), here and in tools/src/import/metauas/tests.rs. `check` goes the user's
way: a checkpoint file, the import, and the package's own golden map against this network's. It needs no
data: it draws the pictures to calibrate on.

The encoder is the package that the published weights were trained with; its release matters (padding).
The rest follows the paper's figure and the names of the published checkpoint.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from efficientnet_pytorch import EfficientNet
from PIL import Image
from torch import nn
from torch.nn import functional as F

GOLDEN_SIZE = 128
TOLERANCE = 1e-3
TAPS = (5, 9, 21, 31)
CHANNELS = (48, 32, 56, 160, 448)
DECODER = (256, 128, 64, 64, 48)
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


class Encoder(EfficientNet):
    """Features of stem and stages."""

    @classmethod
    def b4(cls):
        encoder = cls.from_name("efficientnet-b4")
        encoder.set_swish(memory_efficient=False)
        del encoder._fc
        return encoder

    def forward(self, x):
        x = self._swish(self._bn0(self._conv_stem(x)))
        features = [x]
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in TAPS:
                features.append(x)
        return features


class Align(nn.Module):
    def __init__(self, channels):
        super().__init__()
        layer = nn.Module()
        layer.dimensionality_reduction = nn.Conv2d(channels, channels // 2, 1)
        self.alignment_layer = layer

    def forward(self, query, prompt):
        reduce = self.alignment_layer.dimensionality_reduction
        b, c, h, w = query.shape
        logits = reduce(query).flatten(2).transpose(1, 2) @ reduce(prompt).flatten(2)
        moved = prompt.flatten(2) @ logits.softmax(-1).transpose(1, 2)
        return torch.cat([query, moved.reshape(b, c, h, w)], 1)


class Scse(nn.Module):
    def __init__(self, channels):
        super().__init__()
        attention = nn.Module()
        narrow = channels // 16
        attention.cSE = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, narrow, 1),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1),
            nn.Sigmoid(),
        )
        attention.sSE = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())
        self.attention = attention

    def forward(self, x):
        return x * self.attention.cSE(x) + x * self.attention.sSE(x)


def conv_norm(inputs, outputs):
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Block(nn.Module):
    def __init__(self, below, skip, outputs):
        super().__init__()
        self.conv1 = conv_norm(below + skip, outputs)
        self.conv2 = conv_norm(outputs, outputs)
        if skip:
            self.attention1 = Scse(below + skip)
            self.attention2 = Scse(outputs)
        self.skip = skip

    def forward(self, x, skip):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        if not self.skip:
            return self.conv2(self.conv1(x))
        x = self.attention1(torch.cat([x, skip], 1))
        return self.attention2(self.conv2(self.conv1(x)))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        skips = (2 * CHANNELS[3], 2 * CHANNELS[2], CHANNELS[1], CHANNELS[0], 0)
        below = (2 * CHANNELS[4],) + DECODER[:-1]
        self.blocks = nn.ModuleList(Block(*widths) for widths in zip(below, skips, DECODER))

    def forward(self, features):
        x, skips = features[-1], [*features[-2::-1], None]
        for block, skip in zip(self.blocks, skips):
            x = block(x, skip)
        return x


class MetaUas(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder.b4()
        self.alignment = nn.ModuleList(Align(CHANNELS[level]) for level in (4, 3, 2))
        self.decoder = Decoder()
        self.mask_head = nn.Conv2d(DECODER[-1], 1, 1)

    def forward(self, query, prompt):
        q, p = self.encoder(query), self.encoder(prompt)
        for layer, level in zip(self.alignment, (4, 3, 2)):
            q[level] = layer(q[level], p[level])
        return self.mask_head(self.decoder(q)).sigmoid()


def numbers(name, count):
    """`count` values in 0..1 that depend on the name alone: FNV-1a, then splitmix64."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / 2**24).astype(np.float32)


def fill(model):
    """Weights that keep activations in range: a map between 0 and 1, and alignment that chooses."""
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        u = torch.from_numpy(numbers(name, tensor.numel())).reshape(tensor.shape)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + u)
        elif name.endswith("weight") and tensor.dim() == 1:
            tensor.copy_(0.8 + 0.4 * u)
        elif name.endswith("weight"):
            fan_in = tensor[0].numel()
            gain = 8.0 if name.startswith("alignment") else 5.0
            tensor.copy_((u - 0.5) * (2 * (gain / fan_in) ** 0.5))
        else:
            tensor.copy_(0.2 * (u - 0.5))
    return model.eval()


def picture(name, size):
    """A blurred noise picture, u8: the same in Rust. Cells of 8 pixels, bilinear in integers."""
    cells = size // 8 + 1
    coarse = (numbers(name, cells * cells * 3) * 255).astype(np.int64).reshape(cells, cells, 3)
    at, part = np.arange(size) // 8, np.arange(size) % 8
    rows = coarse[at] * (8 - part)[:, None, None] + coarse[at + 1] * part[:, None, None]
    part = part[None, :, None]
    both = rows[:, at] * (8 - part) + rows[:, at + 1] * part
    return (both // 64).astype(np.uint8)


def tensor(rgb):
    normal = (rgb.astype(np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(normal.transpose(2, 0, 1)[None].copy())


@torch.no_grad()
def map_of(model, query, prompt):
    return model(tensor(query), tensor(prompt))[0, 0].numpy()


def golden(here):
    model = fill(MetaUas())
    values = map_of(model, picture("query", GOLDEN_SIZE), picture("prompt", GOLDEN_SIZE))
    path = os.path.join(here, "metauas-map.f32")
    values.astype("<f4").tofile(path)
    print(f"{path}: {values.shape}, {values.min():.4f} to {values.max():.4f}, deviation {values.std():.4f}")


def check(tools):
    size = GOLDEN_SIZE
    model = fill(MetaUas())
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = os.path.join(folder, "random.ckpt")
        torch.save(model.state_dict(), checkpoint)
        pictures = os.path.join(folder, "pictures")
        os.mkdir(pictures)
        for index in range(24):
            Image.fromarray(picture(f"calibration {index}", 256)).save(f"{pictures}/{index}.png")
        package = os.path.join(folder, "metauas-random")
        command = [tools, "import", "metauas", "--checkpoint", checkpoint, "--out", package]
        command += ["--size", str(size), "--pictures", pictures, "--products", "16"]
        command += ["--source", "random weights", "--date", "2026-01-01"]
        subprocess.run(command, check=True)
        read = lambda name: np.array(Image.open(f"{package}/golden/{name}.png").convert("RGB"))
        want = map_of(model, read("query"), read("prompt"))
        got = np.fromfile(f"{package}/golden/map.f32", dtype="<f4").reshape(want.shape)
    worst = float(np.abs(got - want).max())
    print(f"map deviation {want.std():.4f}; imported network off by {worst:.2e} (at most {TOLERANCE:.0e})")
    return 0 if worst <= TOLERANCE and want.std() > 10 * TOLERANCE else 1


def main():
    parser = argparse.ArgumentParser(description="MetaUAS in PyTorch, to hold the import to")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("golden", help="rewrite the golden map beside this script")
    commands.add_parser("check", help="import a checkpoint and compare").add_argument("tools")
    commands.add_parser("checkpoint", help="write a checkpoint of random weights").add_argument("file")
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.command == "golden":
        golden(os.path.dirname(os.path.abspath(__file__)))
    elif args.command == "checkpoint":
        torch.save(fill(MetaUas()).state_dict(), args.file)
    else:
        sys.exit(check(args.tools))


if __name__ == "__main__":
    main()
