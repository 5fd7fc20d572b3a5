"""The Rust process that computes: one process a request, so a request that kills it kills no more."""

import json
import os
import subprocess

REPLY_MAX = 64 << 20  # Bytes.


class WorkerError(RuntimeError):
    """The worker could not do it, said why, or said nothing that makes sense."""


def _no_constant(word):
    raise WorkerError(f"the worker's reply holds {word}")


class Worker:
    """`touchstone-tools federated client` on a features file; without `client` the server's own."""

    def __init__(self, features, client=None, clients=None, timeout=600.0):
        tools = os.environ.get("TOUCHSTONE_TOOLS", "touchstone-tools")
        self.command = [tools, "federated", "client", "--features", str(features)]
        if client is not None:
            self.command += ["--client", str(int(client)), "--clients", str(int(clients))]
        self.timeout = timeout

    def ask(self, **request) -> dict:
        """Sends one request, gives the reply."""
        line = json.dumps(request, allow_nan=False) + "\n"
        try:
            done = subprocess.run(
                self.command, input=line.encode(), capture_output=True, timeout=self.timeout
            )
        except FileNotFoundError as e:
            raise WorkerError(f"{self.command[0]}: not found; set TOUCHSTONE_TOOLS") from e
        except subprocess.TimeoutExpired as e:
            raise WorkerError(f"no reply within {self.timeout} s") from e
        if done.returncode != 0:
            why = done.stderr.decode(errors="replace").strip()[-500:]
            raise WorkerError(f"the worker ended with {done.returncode}: {why}")
        if len(done.stdout) > REPLY_MAX:
            raise WorkerError(f"a reply of more than {REPLY_MAX} bytes")
        try:
            reply = json.loads(done.stdout, parse_constant=_no_constant)
        except ValueError as e:
            raise WorkerError(f"the worker's reply is no JSON: {e}") from e
        if not isinstance(reply, dict):
            raise WorkerError("the worker's reply is no JSON object")
        if "error" in reply:
            raise WorkerError(str(reply["error"]))
        return reply
