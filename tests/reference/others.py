#!/usr/bin/env python3
"""A frame of ours beside what else judges parts, on one thread, interleaved in one run.

    tests/reference/others.sh [PICTURES]      makes all that this needs, then runs it
    tests/reference/others.py WORK --tools touchstone-tools [--camera touchstone] [--rounds N]

Ours: both packages in tract, as the camera runs them, in 32 and 8 bits, and the same graphs in ONNX Runtime and
OpenVINO, the prompt encoded once. Others: the original MetaUAS network (random weights: times do not depend
on them) with the prompt encoded for every frame, as its authors do, and once; anomalib's PatchCore and PaDiM.
Every picture has 256x256 pixels.

WORK holds packages that others.sh makes: ID-f32-ort, ID-int8-ort and ID-int8-tract for each of ours, and
metauas-random. A round measures all, one after the other, each for about half a second; times are of the
processor and, beside it, by the clock, and the median of the rounds is told. What cannot be had is said, and
left out.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import platform
import subprocess
import sys
import time
import tomllib
import warnings
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median

# Before any library reads it.
os.environ["OMP_NUM_THREADS"] = "1"
SIZE = 256
# Seconds that a contender takes in a round.
TURN = 0.5
FRAMES_MIN = 3
# Patches of a picture that PatchCore keeps (its coreset), and good pictures that its memory comes from.
CORESET = 0.1
PATCHES = (SIZE // 8) ** 2
MANY = 200
OURS = ("oneprompt-l", "oneprompt-m", "oneprompt-s")
METAUAS_AGAIN = "MetaUAS, prompt encoded each time"
METAUAS_ONCE = "MetaUAS, prompt encoded once"
# Levels that MetaUAS aligns, in its order.
LEVELS = (4, 3, 2)
MISSING = []


def missing(what, why):
    why = str(why).strip().splitlines()[-1] if str(why).strip() else type(why).__name__
    MISSING.append(f"{what}: {why}")
    print(f"MISSING: {what}: {why}", file=sys.stderr)


@contextlib.contextmanager
def tried(what):
    """One that cannot be had leaves the others."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as why:
        missing(what, why)


class Contender:
    """What judges one frame when it is called."""

    def __init__(self, name, engine, frame):
        self.name, self.engine, self.frame = name, engine, frame
        self.cpu, self.wall = [], []
        start = time.perf_counter()
        for _ in range(2):
            start = time.perf_counter()
            frame()
        self.frames = max(FRAMES_MIN, round(TURN / (time.perf_counter() - start)))

    def turn(self):
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(self.frames):
            self.frame()
        self.cpu.append((time.process_time() - cpu) / self.frames * 1e3)
        self.wall.append((time.perf_counter() - wall) / self.frames * 1e3)


class OnTract(Contender):
    """Both graphs by the desk's bench: it times the engine that the camera has, in a process of its own."""

    def __init__(self, name, tools, package):
        self.command = [tools, "bench", "--model", str(package), "--engine", "tract", "--rounds", "1", "--json"]
        super().__init__(name, "Touchstone (tract)", lambda: self.ask(1))
        self.frames = max(FRAMES_MIN, round(TURN * 1e3 / sum(self.ask(FRAMES_MIN)[0])))

    def ask(self, frames):
        done = subprocess.run(self.command + ["--frames", str(frames)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        said = json.loads(done.stdout)
        return [[said[f"{graph}_{clock}_ms"] for graph in ("encode", "segment")] for clock in ("cpu", "wall")]

    def turn(self):
        cpu, wall = self.ask(self.frames)
        self.cpu.append(sum(cpu))
        self.wall.append(sum(wall))


class Onnx:
    """A graph on one thread of ONNX Runtime or OpenVINO: arrays by name in, a list of arrays out."""

    def __init__(self, file, engine):
        self.engine = engine
        if engine == "ONNX Runtime":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            self.inputs = {i.name: i.shape for i in session.get_inputs()}
            self.outputs = [{o.name} for o in session.get_outputs()]
            self.run = lambda given: session.run(None, given)
        else:
            import openvino

            core = openvino.Core()
            hints = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
            request = core.compile_model(str(file), "CPU", hints).create_infer_request()
            # A cast that does nothing leaves its own, longer name to the input.
            self.inputs = {min(i.get_names(), key=len): list(i.shape) for i in request.model_inputs}
            outputs = request.model_outputs
            self.outputs = [o.get_names() for o in outputs]
            results = [request.get_output_tensor(n) for n in range(len(outputs))]
            self.run = lambda given: self.infer(request, given, results)

    @staticmethod
    def infer(request, given, results):
        request.infer(given, share_inputs=True)
        return [tensor.data for tensor in results]

    def noise(self, seed):
        import numpy as np

        made = np.random.default_rng(seed)
        return {name: made.standard_normal(shape, dtype=np.float32) for name, shape in self.inputs.items()}


class Pair:
    """encode and segment of a package, the prompt's features kept or made anew for each frame."""

    def __init__(self, folder, engine):
        card = tomllib.loads((folder / "model.toml").read_text())
        self.encode, self.segment = (Onnx(folder / card[graph]["file"], engine) for graph in ("encode", "segment"))
        self.query, self.good = self.encode.noise(1), self.encode.noise(2)
        # OpenVINO's outputs are overwritten by the next run.
        self.prompt = {name: value.copy() for name, value in self.features(self.good).items()}

    def features(self, picture):
        values = zip(self.encode.outputs, self.encode.run(picture))
        return {name: value for names, value in values for name in names}

    def frame(self):
        sides = {"query": self.features(self.query), "prompt": self.prompt}
        given = {}
        for name in self.segment.inputs:
            side, leaf = name.split(".", 1)
            given[name] = sides[side][leaf]
        return self.segment.run(given)


def ours(args, found):
    for package in OURS:
        with tried(f"{package} on tract"):
            found.append(OnTract(package, args.tools, args.weights / package))
        with tried(f"{package}, int8, on tract"):
            found.append(OnTract(f"{package}, int8", args.tools, args.work / f"{package}-int8-tract"))
        for precision in ("f32", "int8"):
            for engine in ("ONNX Runtime", "OpenVINO"):
                with tried(f"{package}, {precision}, in {engine}"):
                    pair = Pair(args.work / f"{package}-{precision}-ort", engine)
                    found.append(Contender(f"{package}, {precision}", engine, pair.frame))


def exported(module, inputs, file):
    """The module as ONNX."""
    import torch

    names = [f"in{n}" for n in range(len(inputs))]
    options = {"input_names": names, "output_names": ["map"], "opset_version": 17}
    with torch.no_grad():
        torch.onnx.export(module, inputs, str(file), dynamo=False, **options)
    return file


def graphs(name, module, inputs, args, found):
    """A PyTorch module as it is, then exported and in the other engines; its outputs must be the same."""
    import numpy as np
    import torch

    def eager():
        with torch.inference_mode():
            return module(*inputs)

    found.append(Contender(name, "PyTorch", eager))
    want = eager().numpy()
    file = args.work / f"{''.join(c if c.isalnum() else '-' for c in name)}.onnx"
    with tried(f"{name} as ONNX"):
        exported(module, inputs, file)
        given = {f"in{n}": tensor.numpy() for n, tensor in enumerate(inputs)}
        for engine in ("ONNX Runtime", "OpenVINO"):
            with tried(f"{name} in {engine}"):
                graph = Onnx(file, engine)
                frame = partial(graph.run, {key: given[key] for key in graph.inputs})
                off = float(np.abs(frame()[0].reshape(want.shape) - want).max())
                if off > 1e-3 * max(1.0, float(np.abs(want).max())):
                    raise RuntimeError(f"off PyTorch's output by {off:.1e}")
                found.append(Contender(name, engine, frame))


def original(args, found):
    with tried("the original MetaUAS"):
        import torch

        metauas = importlib.import_module("metauas")
        model = metauas.fill(metauas.MetaUas())
        query, prompt = (metauas.tensor(metauas.picture(name, SIZE)) for name in ("query", "prompt"))
        graphs(METAUAS_AGAIN, model, (query, prompt), args, found)

        class Once(torch.nn.Module):
            """The same, given what the prompt's picture was encoded to, from the deepest level up."""

            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, query, *prompt):
                features = self.model.encoder(query)
                for layer, level, kept in zip(self.model.alignment, LEVELS, prompt):
                    features[level] = layer(features[level], kept)
                return self.model.mask_head(self.model.decoder(features)).sigmoid()

        with torch.no_grad():
            encoded = model.encoder(prompt)
        graphs(METAUAS_ONCE, Once().eval(), (query, *(encoded[level] for level in LEVELS)), args, found)
    with tried("the imported MetaUAS on tract"):
        found.append(OnTract(METAUAS_ONCE, args.tools, args.work / "metauas-random"))


def anomalib(args, found):
    """With random weights, since none can be fetched here; memory and Gaussians of noise: times are the same."""
    with tried("anomalib"):
        import torch
        from anomalib.models.image.padim.torch_model import PadimModel
        from anomalib.models.image.patchcore.torch_model import PatchcoreModel

        class Map(torch.nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, picture):
                return self.model(picture).anomaly_map

        made = torch.Generator().manual_seed(1)
        noise = lambda *shape: torch.randn(*shape, generator=made)
        picture = (noise(1, 3, SIZE, SIZE),)
        for pictures in (1, MANY):
            model = PatchcoreModel(layers=["layer2", "layer3"], backbone="wide_resnet50_2", pre_trained=False)
            rows = int(pictures * PATCHES * CORESET)
            model.memory_bank = noise(rows, 1536)
            name = f"PatchCore, WideResNet-50, memory of {pictures} good ({rows} patches)"
            graphs(name, Map(model).eval(), picture, args, found)
        model = PadimModel(backbone="resnet18", layers=["layer1", "layer2", "layer3"], pre_trained=False)
        cells = (SIZE // 4) ** 2
        model.gaussian.mean = noise(100, cells)
        model.gaussian.inv_covariance = torch.eye(100).repeat(cells, 1, 1)
        graphs("PaDiM, ResNet-18, 100 features", Map(model).eval(), picture, args, found)


def judgement(camera, package):
    """Milliseconds by the clock of a whole judgement, both witnesses, by the camera's own bench."""
    command = [camera, "bench", "--model", str(package), "--engine", "tract", "--threads", "1", "--json"]
    command += ["--size", f"{SIZE}x{SIZE}", "--runs", "30"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)["latency_us"]["total"]["p50"] / 1e3


def processor():
    fields = dict(
        line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line
    ) if Path("/proc/cpuinfo").exists() else {}
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", fields.get("Features", "")).split()
    sets = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp") if f in flags]
    return f"{os.cpu_count()} x {fields.get('model name', platform.machine())} ({', '.join(sets)})"


def versions():
    wanted = ("onnxruntime", "openvino", "torch", "timm", "anomalib", "efficientnet-pytorch", "numpy")
    for name in wanted:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"


def milliseconds(found, name, engine):
    return next((median(c.cpu) for c in found if c.name == name and c.engine == engine), None)


def ratios(found):
    ours = milliseconds(found, "oneprompt-m", "Touchstone (tract)")
    if not ours:
        return {}
    wanted = {
        "original MetaUAS in ONNX Runtime / oneprompt-m in tract (asked: at least 12)":
            (milliseconds(found, METAUAS_AGAIN, "ONNX Runtime"), ours),
        "the same with MetaUAS' prompt encoded once, too":
            (milliseconds(found, METAUAS_ONCE, "ONNX Runtime"), ours),
        "oneprompt-m in tract / oneprompt-m in ONNX Runtime (asked: at most 1.3)":
            (ours, milliseconds(found, "oneprompt-m, f32", "ONNX Runtime")),
        "oneprompt-m in tract / oneprompt-m in ONNX Runtime, both in 8 bits":
            (milliseconds(found, "oneprompt-m, int8", "Touchstone (tract)"),
             milliseconds(found, "oneprompt-m, int8", "ONNX Runtime")),
        "original MetaUAS in ONNX Runtime / oneprompt-m in tract in 8 bits":
            (milliseconds(found, METAUAS_AGAIN, "ONNX Runtime"),
             milliseconds(found, "oneprompt-m, int8", "Touchstone (tract)")),
    }
    for name in (name for name in OURS if name != "oneprompt-m"):
        its = milliseconds(found, name, "Touchstone (tract)")
        wanted |= {
            f"original MetaUAS in ONNX Runtime / {name} in tract":
                (milliseconds(found, METAUAS_AGAIN, "ONNX Runtime"), its),
            f"{name} in tract / {name} in ONNX Runtime":
                (its, milliseconds(found, f"{name}, f32", "ONNX Runtime")),
        }
    return {what: a / b for what, (a, b) in wanted.items() if a and b}


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder with the packages that others.sh makes")
    parser.add_argument("--tools", default="target/release/touchstone-tools", help="the desk's binary")
    parser.add_argument("--camera", default="", help="the camera's binary, to time whole judgements as well")
    parser.add_argument("--weights", type=Path, default=here / "../../models/weights", help="the shipped packages")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    args = parser.parse_args()
    if not args.work.is_dir():
        parser.error(f"{args.work} is no folder: run tests/reference/others.sh, which makes it")
    sys.path.insert(0, str(here))
    with tried("PyTorch"):
        import torch

        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
    found = []
    for make in (ours, original, anomalib):
        make(args, found)
    if not found:
        sys.exit("nothing runs here: see above")
    for _ in range(args.rounds):
        for contender in found:
            contender.turn()
    whole = {}
    for package in OURS if args.camera else ():
        with tried(f"{package}: a whole judgement"):
            whole[package] = judgement(args.camera, args.weights / package)
    first = median(found[0].cpu)
    if args.json:
        rows = [
            {"name": c.name, "engine": c.engine, "cpu_ms": median(c.cpu), "wall_ms": median(c.wall),
             "cpu_ms_spread": [min(c.cpu), max(c.cpu)]}
            for c in found
        ]
        said = {"machine": processor(), "versions": list(versions()), "rounds": args.rounds, "rows": rows}
        print(json.dumps({**said, "ratios": ratios(found), "judgement_ms": whole, "missing": MISSING}))
        return
    print(f"{processor()}; Python {platform.python_version()}, {', '.join(versions())}")
    print(f"One thread, {SIZE}x{SIZE}, medians of {args.rounds} interleaved rounds, {time.strftime('%Y-%m-%d')}\n")
    print("| what | engine | processor time, ms | least, most | by the clock, ms | times the first |")
    print("|---|---|---|---|---|---|")
    for c in found:
        cpu = median(c.cpu)
        print(f"| {c.name} | {c.engine} | {cpu:.1f} | {min(c.cpu):.1f}, {max(c.cpu):.1f} "
              f"| {median(c.wall):.1f} | {cpu / first:.2f} |")
    print()
    for what, ratio in ratios(found).items():
        print(f"{what}: {ratio:.2f}")
    for package, ms in whole.items():
        print(f"{package}, a whole judgement with both witnesses, one prompt: {ms:.1f} ms by the clock")
    for line in MISSING:
        print(f"MISSING: {line}")


if __name__ == "__main__":
    main()
