"""The ServerApp: agrees on a standard, then rounds of a strategy, or one merge of posteriors."""

import json
import sys

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import ServerApp

from . import checks
from .nodes import wait
from .settings import Settings
from .strategy import Checked, size, source
from .worker import Worker

app = ServerApp()


def reporter(path: str):
    """Prints each round, and appends it to `path` as a JSON line if there is one."""
    if path:
        open(path, "w").close()

    def report(row: dict) -> None:
        line = json.dumps(row)
        print(line, file=sys.stderr, flush=True)
        if path:
            with open(path, "a") as file:
                file.write(line + "\n")

    return report


def query(grid, settings: Settings, what: str, read) -> tuple:
    """Asks all nodes for `what`; gives what `read` makes of the usable replies, and the row."""
    nodes = wait(grid, settings.min_clients, settings.client_wait)
    record = RecordDict({"config": ConfigRecord({"what": what})})
    messages = [Message(record, node, MessageType.QUERY) for node in nodes]
    usable, refused, up, answered = [], {}, 0, set()
    for reply in grid.send_and_receive(messages, timeout=settings.round_timeout):
        node = source(reply)
        if node not in nodes or node in answered:
            continue
        answered.add(node)
        try:
            if reply.has_error():
                raise checks.Refused(f"error: {reply.error.reason}"[:200])
            arrays = reply.content.array_records.get("arrays")
            up += 0 if arrays is None else size(arrays)
            usable.append(read(arrays))
        except checks.Refused as e:
            refused[node] = str(e)
    refused |= {node: "no reply in time" for node in set(nodes) - answered}
    if not usable:
        raise RuntimeError(f"{what}: no usable reply: {refused}")
    row = {"query": what, "asked": len(nodes), "accepted": len(usable), "refused": refused}
    return usable, row | {"bytes_up": up}


def standard(sums: list) -> tuple:
    """Mean and one over the deviation, from the sums of all clients (see `moments.rs`)."""
    count = sum(c for c, _, _ in sums)
    mean = sum(s for _, s, _ in sums) / count
    squares = sum(q for _, _, q in sums) / count
    spread = np.sqrt(np.maximum(squares - mean**2, 0))
    if not (np.isfinite(spread).all() and spread.max() > 0):
        raise RuntimeError("the features of all clients are the same")
    return mean, 1 / np.maximum(spread, 1e-3 * spread.max())


def posterior(record, inputs: int) -> dict:
    """A posterior as the worker wants it; whether one can believe it, the worker says."""
    counts = checks.array(record, "counts", (2,), np.float64)
    mean = checks.array(record, "mean", (inputs,), np.float64)
    lower = checks.array(record, "scale", (inputs * (inputs + 1) // 2,), np.float64)
    scale = np.zeros((inputs, inputs))
    scale[np.tril_indices(inputs)] = lower
    scale = scale + np.tril(scale, -1).T
    return {
        "mean": mean.tolist(),
        "kappa": float(counts[0]),
        "nu": float(counts[1]),
        "scale": scale.ravel().tolist(),
    }


def merge(grid, settings: Settings, own: Worker, inputs: int, report) -> None:
    """The variant without gradients: one message per client, merged exactly."""

    def read(record) -> dict:
        one = posterior(record, inputs)
        try:
            # Each alone first: one liar must not spoil the merge of the others.
            own.ask(do="merge", parts=[one], shots=settings.shots)
        except Exception as e:
            raise checks.Refused(str(e)[:200]) from e
        return one

    parts, row = query(grid, settings, "posterior", read)
    merged = own.ask(do="merge", parts=parts, shots=settings.shots)
    figures = {name: merged[name] for name in ("auroc", "auroc_fixed", "episodes")}
    report(row | {"round": 1} | figures)


@app.main()
def main(grid, context) -> None:
    """Flower's entry."""
    run(grid, context.run_config)


def run(grid, config) -> None:
    """Runs the federation."""
    settings = Settings.of(config)
    if not settings.features:
        raise ValueError("features is not set: the server's own file, for start and measuring")
    report = reporter(settings.out)
    own = Worker(settings.features)
    inputs = int(own.ask(do="describe")["inputs"])
    if settings.mode == "posterior":
        merge(grid, settings, own, inputs, report)
        return
    sums, row = query(grid, settings, "moments", lambda r: checks.moments(r, inputs))
    report(row)
    mean, scale = standard(sums)
    setup = settings.setup(mean, scale)
    start = np.asarray(own.ask(do="start", setup=setup)["values"], dtype=np.float32)
    strategy = Checked(settings, (mean, scale), len(start), report)

    def measure(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        values = arrays["parameters"].numpy().astype(np.float64).tolist()
        figures = own.ask(do="evaluate", setup=setup, parameters=values)
        strategy.measured(server_round, figures["auroc"], figures["loss"])
        return MetricRecord({"auroc": figures["auroc"], "loss": figures["loss"]})

    strategy.start(
        grid,
        initial_arrays=ArrayRecord({"parameters": Array(start)}),
        num_rounds=settings.rounds,
        timeout=settings.round_timeout,
        evaluate_fn=measure,
    )
