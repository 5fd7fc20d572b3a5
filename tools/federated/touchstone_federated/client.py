"""A line or plant: hands what the server asks to the Rust worker and its answer back."""

import os

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from .worker import Worker

app = ClientApp()


def worker(context) -> Worker:
    """The worker of this node. Flower numbers simulated nodes by itself; a real SuperNode gets
    `partition-id`, `num-partitions` and `features` with --node-config."""
    node = context.node_config
    features = node.get("features") or os.environ.get("TOUCHSTONE_FEATURES")
    if not features:
        raise ValueError("no features: give features= in --node-config, or TOUCHSTONE_FEATURES")
    return Worker(features, int(node["partition-id"]), int(node["num-partitions"]))


def _array(values, dtype=np.float64) -> Array:
    return Array(np.asarray(values, dtype=dtype))


def parameters(content) -> list:
    """The shared parameters of a message."""
    return content["arrays"]["parameters"].numpy().astype(np.float64).tolist()


def setup(content) -> dict:
    """The learner of a message."""
    config, arrays = content["config"], content["arrays"]
    standard = {name: arrays[name].numpy().tolist() for name in ("mean", "scale")}
    return {
        "dim": config["dim"],
        "shots": config["shots"],
        "inner_steps": config["inner-steps"],
        "inner_lr": config["inner-lr"],
        "standard": standard,
        "seed": config["seed"],
    }


@app.query()
def query(msg: Message, context) -> Message:
    """`moments`: sums over the good parts. `posterior`: of the covariance within products."""
    what = msg.content["config"]["what"]
    if what == "moments":
        sums = worker(context).ask(do="moments")["moments"]
        arrays = {"count": [sums["count"]], "sum": sums["sum"], "squares": sums["squares"]}
    elif what == "posterior":
        posterior = worker(context).ask(do="posterior")["posterior"]
        inputs = len(posterior["mean"])
        scale = np.asarray(posterior["scale"]).reshape(inputs, inputs)
        arrays = {
            "counts": [posterior["kappa"], posterior["nu"]],
            "mean": posterior["mean"],
            # Symmetric: the lower triangle says everything.
            "scale": scale[np.tril_indices(inputs)],
        }
    else:
        raise ValueError(f"an unknown query: {what!r}")
    record = ArrayRecord({name: _array(values) for name, values in arrays.items()})
    return Message(content=RecordDict({"arrays": record}), reply_to=msg)


@app.train()
def train(msg: Message, context) -> Message:
    """Some local episodes: weights or a gradient."""
    config = msg.content["config"]
    fit = {
        "round": config["server-round"],
        **{name: config[name] for name in ("mode", "episodes", "batch", "lr", "proximal")},
        **{name: config[name] for name in ("contrast", "order")},
    }
    reply = worker(context).ask(
        do="fit", setup=setup(msg.content), fit=fit, parameters=parameters(msg.content)
    )
    arrays = ArrayRecord({"values": _array(reply["values"], np.float32)})
    metrics = MetricRecord({"episodes": int(reply["episodes"]), "loss": float(reply["loss"])})
    return Message(content=RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context) -> Message:
    """Loss and AUROC on this client's own validation products."""
    reply = worker(context).ask(
        do="evaluate", setup=setup(msg.content), parameters=parameters(msg.content)
    )
    metrics = MetricRecord(
        {"episodes": int(reply["episodes"]), "auroc": reply["auroc"], "loss": reply["loss"]}
    )
    return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)
