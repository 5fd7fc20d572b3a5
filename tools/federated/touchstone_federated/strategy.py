"""The strategy: FedAvg or averaged gradients with a server-side Adam, on replies that were checked.

A round takes what is usable by its timeout. A reply that is late, dead, NaN, of the wrong shape or too
long is left out with its reason; a round without any usable reply leaves the parameters as they are.
"""

import math

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy

from . import checks
from .nodes import Nodes, wait

GRADIENT_MAX = 10.0  # Length that a client's gradient is clipped to.
LOSS_MAX = 1e6


def size(arrays: ArrayRecord) -> int:
    """Bytes of a record's arrays."""
    return sum(len(array.data) for array in arrays.values())


def source(message: Message) -> int:
    """The node that a reply is from."""
    return message.metadata.src_node_id


class Adam:
    """Adam (Kingma and Ba 2014)."""

    def __init__(self, count: int, rate: float):
        self.first, self.second, self.steps, self.rate = np.zeros(count), np.zeros(count), 0, rate

    def step(self, parameters: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """The parameters after one step."""
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        first = self.first / (1 - 0.9**self.steps)
        second = self.second / (1 - 0.999**self.steps)
        return parameters - self.rate * first / (np.sqrt(second) + 1e-8)


class Checked(Strategy):
    """Averages what passes the checks."""

    def __init__(self, settings, standard: tuple, count: int, report):
        self.settings = settings
        self.standard = standard
        self.count = count
        self.report = report  # Called with a dictionary per round.
        self.nodes = Nodes()
        self.adam = Adam(count, settings.server_lr)
        self.server = None  # Parameters of the round, as the clients got them.
        self.asked = []
        self.round = {}

    def summary(self) -> None:
        """Nothing to add to Flower's own lines."""

    def record(self, arrays: ArrayRecord, server_round: int) -> RecordDict:
        """What a client is sent."""
        settings = self.settings
        fit = settings.fit(server_round)
        config = ConfigRecord(
            {
                "server-round": fit.pop("round"),
                **fit,
                "dim": settings.dim,
                "shots": settings.shots,
                "inner-steps": settings.inner_steps,
                "inner-lr": settings.inner_lr,
                "seed": settings.seed,
            }
        )
        mean, scale = self.standard
        sent = ArrayRecord(dict(arrays) | {"mean": Array(mean), "scale": Array(scale)})
        return RecordDict({"arrays": sent, "config": config})

    def configure_train(self, server_round, arrays, config, grid):
        """Messages to all nodes that do not rest."""
        known = wait(grid, 1, self.settings.client_wait)
        self.asked = self.nodes.ask(known, server_round)
        self.server = checks.array(arrays, "parameters", (self.count,), np.float32)
        record = self.record(arrays, server_round)
        down = size(record["arrays"]) * len(self.asked)
        self.round = {"round": server_round, "known": len(known), "asked": len(self.asked)}
        self.round |= {"bytes_down": down, "bytes_up": 0, "refused": {}}
        return [Message(record, dst, MessageType.TRAIN) for dst in self.asked]

    def checked(self, reply: Message) -> tuple:
        """(values, episodes, loss) of a usable reply."""
        if reply.has_error():
            raise checks.Refused(f"error: {reply.error.reason}"[:200])
        content = reply.content
        self.round["bytes_up"] += sum(size(r) for r in content.array_records.values())
        values = checks.array(
            content.array_records.get("arrays"), "values", (self.count,), np.float32
        )
        metrics = content.metric_records.get("metrics")
        # A client weighs by its episodes, so it may not claim more than it was asked for.
        most = math.ceil(self.settings.episodes / self.settings.batch) * self.settings.batch
        episodes = checks.number(metrics, "episodes", 1, most)
        loss = checks.number(metrics, "loss", -LOSS_MAX, LOSS_MAX)
        if self.settings.mode == "weights":
            # Adam moves a parameter by about its rate a step, and by at most a few times that.
            steps = math.ceil(self.settings.episodes / self.settings.batch)
            longest = 4 * self.settings.lr * steps * math.sqrt(self.count)
            checks.update(values, self.server, longest)
        else:
            values = checks.clipped(values, GRADIENT_MAX)
        return values, episodes, loss

    def aggregate_train(self, server_round, replies):
        """The new parameters, or none when no reply is usable."""
        usable, answered = [], set()
        for reply in replies:
            node = source(reply)
            if node not in self.asked or node in answered:
                continue
            answered.add(node)
            try:
                usable.append(self.checked(reply))
                self.nodes.worked(node)
            except checks.Refused as e:
                self.round["refused"][node] = str(e)
                self.nodes.failed(node, server_round)
        for node in set(self.asked) - answered:
            self.round["refused"][node] = "no reply in time"
            self.nodes.failed(node, server_round)
        self.round["accepted"] = len(usable)
        if not usable:
            return None, None
        weights = np.array([episodes for _, episodes, _ in usable])
        weights /= weights.sum()
        mean = sum(w * values for w, (values, _, _) in zip(weights, usable))
        if self.settings.mode == "gradient":
            mean = self.adam.step(self.server, mean)
        loss = float(sum(w * loss for w, (_, _, loss) in zip(weights, usable)))
        self.round["loss"] = loss
        arrays = ArrayRecord({"parameters": Array(mean.astype(np.float32))})
        return arrays, MetricRecord({"loss": loss})

    def configure_evaluate(self, server_round, arrays, config, grid):
        """The nodes of this round whose training was usable."""
        record = self.record(arrays, server_round)
        nodes = [node for node in self.asked if node not in self.round["refused"]]
        self.round["bytes_down"] += size(record["arrays"]) * len(nodes)
        return [Message(record, node, MessageType.EVALUATE) for node in nodes]

    def aggregate_evaluate(self, server_round, replies):
        """Mean over the clients' own validation products; what is not usable is left out."""
        usable = []
        for reply in replies:
            try:
                if reply.has_error():
                    raise checks.Refused("error")
                metrics = reply.content.metric_records.get("metrics")
                episodes = checks.number(metrics, "episodes", 1, 1e6)
                usable.append((episodes, checks.number(metrics, "auroc", 0, 1)))
            except checks.Refused:
                continue
        if not usable:
            return None
        total = sum(episodes for episodes, _ in usable)
        auroc = sum(episodes * value for episodes, value in usable) / total
        self.round["clients_auroc"] = auroc
        return MetricRecord({"auroc": auroc})

    def measured(self, server_round: int, auroc: float, loss: float) -> None:
        """Ends a round with the server's own figures."""
        if server_round == 0:
            self.round = {"round": 0, "bytes_down": 0, "bytes_up": 0}
        self.report(self.round | {"auroc": auroc, "test_loss": loss})
