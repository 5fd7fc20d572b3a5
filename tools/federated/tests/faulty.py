"""A ClientApp for tests: honest, but for client 1, which does what the run's `fault` says."""

import os
import time

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.clientapp import ClientApp
from touchstone_federated import client as honest

app = ClientApp()
app.query()(honest.query)
app.evaluate()(honest.evaluate)


@app.train()
def train(msg, context):
    """Trains, or dies, lies or lags."""
    fault = context.run_config.get("fault", "")
    if int(context.node_config["partition-id"]) != 1:
        fault = ""
    if fault == "die":
        os._exit(9)
    if fault == "raise":
        raise RuntimeError("the plant is on fire")
    reply = honest.train(msg, context)
    if fault == "lag":
        time.sleep(float(context.run_config["round-timeout"]) + 5)
    values = reply.content["arrays"]["values"].numpy()
    lies = {"nan": np.full_like(values, np.nan), "shape": values[:-1], "long": values + 1e6}
    if fault in lies:
        reply.content["arrays"] = ArrayRecord({"values": Array(lies[fault])})
    return reply
