"""What a server refuses, without any process."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from touchstone_federated import checks
from touchstone_federated.nodes import REST_MAX, Nodes
from touchstone_federated.server import posterior, standard
from touchstone_federated.settings import Settings
from touchstone_federated.strategy import Checked

COUNT = 6


@pytest.fixture(autouse=True)
def identity():
    """Flower's messages want to know whose they are; a ServerApp is told by its process."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1


def record(values, name="values"):
    return ArrayRecord({name: Array(np.asarray(values))})


def good():
    return np.zeros(COUNT, dtype=np.float32)


def taken(values):
    return checks.array(record(values), "values", (COUNT,), np.float32)


def test_what_was_asked_for_is_taken():
    assert taken(good()).dtype == np.float64


@pytest.mark.parametrize(
    "values",
    [
        np.full(COUNT, np.nan, np.float32),
        np.full(COUNT, np.inf, np.float32),
        np.zeros(COUNT - 1, np.float32),
        np.zeros((1, COUNT), np.float32),
        np.zeros(COUNT, np.float64),
        np.zeros(COUNT, np.int32),
        np.zeros(100_000, np.float32),
    ],
)
def test_other_arrays_are_refused(values):
    with pytest.raises(checks.Refused):
        taken(values)


def test_bytes_that_are_no_array_are_refused():
    for data in (b"", b"nonsense", b"\x93NUMPY\x01\x00\xff\xff", b"\x80\x04."):
        arrays = ArrayRecord({"values": Array("float32", (COUNT,), "numpy.ndarray", data)})
        with pytest.raises(checks.Refused):
            checks.array(arrays, "values", (COUNT,), np.float32)
    with pytest.raises(checks.Refused):
        checks.array(None, "values", (COUNT,), np.float32)
    with pytest.raises(checks.Refused):
        checks.array(record(good(), "other"), "values", (COUNT,), np.float32)


def test_numbers_are_bounded():
    metrics = MetricRecord({"loss": 0.5, "nan": float("nan"), "list": [1.0]})
    assert checks.number(metrics, "loss", 0, 1) == 0.5
    for name in ("nan", "list", "none"):
        with pytest.raises(checks.Refused):
            checks.number(metrics, name, 0, 1)
    with pytest.raises(checks.Refused):
        checks.number(metrics, "loss", 1, 2)


def test_moments_that_no_features_have_are_refused():
    def of(count, total, squares):
        arrays = {"count": [count], "sum": total, "squares": squares}
        as_arrays = {k: Array(np.asarray(v, dtype=np.float64)) for k, v in arrays.items()}
        return checks.moments(ArrayRecord(as_arrays), 2)

    assert of(2.0, [2.0, 0.0], [4.0, 1.0])[0] == 2.0
    for lie in ((2.0, [9.0, 0.0], [4.0, 1.0]), (0.0, [0, 0], [0, 0]), (2.0, [0, 0], [-1.0, 0])):
        with pytest.raises(checks.Refused):
            of(*lie)


def test_a_standard_of_parts_is_that_of_the_whole():
    rows = np.random.default_rng(1).normal(size=(40, 3)) * [1, 5, 0.1] + [3, 0, 1]
    parts = [rows[:5], rows[5:11], rows[11:]]
    mean, scale = standard([(len(p), p.sum(0), (p**2).sum(0)) for p in parts])
    assert np.allclose(mean, rows.mean(0)) and np.allclose(scale, 1 / rows.std(0))


def test_a_posterior_is_symmetric_again():
    lower = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    arrays = {"counts": np.array([1.0, 2.0]), "mean": np.zeros(3), "scale": lower}
    made = posterior(ArrayRecord({k: Array(v) for k, v in arrays.items()}), 3)
    assert made["scale"] == [1.0, 2.0, 4.0, 2.0, 3.0, 5.0, 4.0, 5.0, 6.0]


def test_settings_are_checked():
    assert Settings.of({"rounds": 3, "other": 1}).rounds == 3
    for wrong in ({"mode": "x"}, {"order": "third"}, {"lr": float("nan")}, {"batch": 65}):
        with pytest.raises(ValueError):
            Settings.of(wrong)


def test_nodes_that_fail_rest_longer_and_longer():
    nodes = Nodes()
    asked = []
    for server_round in range(1, 20):
        if 7 in nodes.ask([7, 8], server_round):
            asked.append(server_round)
            nodes.failed(7, server_round)
        assert 8 in nodes.ask([7, 8], server_round)
    assert asked == [1, 3, 6, 11]
    nodes.worked(7)
    assert nodes.ask([7], 20) == [7]
    for server_round in range(100):
        nodes.failed(7, server_round)
    assert nodes.rest[7] <= 100 + REST_MAX


class Grid:
    """A grid of nodes that never answer by themselves."""

    def __init__(self, nodes):
        self.nodes = nodes

    def get_node_ids(self):
        return self.nodes


def strategy(mode, nodes, **more):
    settings = Settings(mode=mode, episodes=8, batch=8, lr=0.1, server_lr=0.5, **more)
    standard = (np.zeros(2), np.ones(2))
    made = Checked(settings, standard, COUNT, lambda row: None)
    start = ArrayRecord({"parameters": Array(good())})
    messages = made.configure_train(1, start, ConfigRecord(), Grid(nodes))
    return made, {m.metadata.dst_node_id: m for m in messages}


def reply(message, values, episodes=8):
    metrics = MetricRecord({"episodes": episodes, "loss": 1.0})
    content = RecordDict({"arrays": record(values), "metrics": metrics})
    made = Message(content, reply_to=message)
    return made


def test_fedavg_weighs_by_episodes_and_leaves_liars_out():
    made, sent = strategy("weights", [1, 2, 3, 4, 5, 6])
    replies = [
        reply(sent[1], np.full(COUNT, 0.1, np.float32), 8),
        reply(sent[2], np.full(COUNT, 0.25, np.float32), 4),
        reply(sent[3], np.full(COUNT, np.nan, np.float32)),
        reply(sent[4], np.full(COUNT, 0.1, np.float32), 10**9),
        reply(sent[5], np.full(COUNT, 1e6, np.float32)),
    ]
    arrays, _ = made.aggregate_train(1, replies)
    assert np.allclose(arrays["parameters"].numpy(), 0.15)
    assert set(made.round["refused"]) == {3, 4, 5, 6}
    assert made.round["refused"][6] == "no reply in time"
    assert made.nodes.ask([1, 2, 3, 4, 5, 6], 2) == [1, 2]
    assert made.round["bytes_up"] == 5 * len(record(good())["values"].data)


def test_a_node_speaks_once():
    made, sent = strategy("weights", [1, 2])
    twice = [reply(sent[1], np.full(COUNT, v, np.float32)) for v in (0.1, 0.3)]
    arrays, _ = made.aggregate_train(1, twice)
    assert np.allclose(arrays["parameters"].numpy(), 0.1)


def test_gradients_are_clipped_and_make_one_step():
    made, sent = strategy("gradient", [1, 2])
    replies = [
        reply(sent[1], np.full(COUNT, 1.0, np.float32)),
        reply(sent[2], np.full(COUNT, -1e9, np.float32)),
    ]
    arrays, _ = made.aggregate_train(1, replies)
    # The second one outweighs the first, but only as much as a clipped one can.
    assert np.allclose(arrays["parameters"].numpy(), 0.5, atol=1e-4)
    assert np.abs(made.adam.first).max() < 1.0


def test_a_round_of_liars_changes_nothing():
    made, sent = strategy("weights", [1])
    error = Message(Error(code=1, reason="dead"), reply_to=sent[1])
    assert made.aggregate_train(1, [error]) == (None, None)
    assert "dead" in made.round["refused"][1]
