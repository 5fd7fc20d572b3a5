"""One server and two client processes on this machine: honest, dying, lying and lagging.

Needs the binary: TOUCHSTONE_TOOLS, or target/release/touchstone-tools of this repository.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BIN = Path(sys.executable).parent
RUN_MAX = 240  # Seconds.


def tools() -> str:
    found = os.environ.get("TOUCHSTONE_TOOLS") or ROOT / "target/release/touchstone-tools"
    if not Path(found).exists():
        pytest.skip(f"{found} is not there: cargo build --release -p touchstone-tools")
    return str(found)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Federation:
    """A SuperLink, two SuperNodes and the app, in a folder of their own."""

    def __init__(self, folder: Path):
        self.folder, self.processes, self.port = folder, {}, free_port()
        home = folder / "home"
        home.mkdir()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n\n[superlink.here]\n'
            f'address = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        self.env = os.environ | {
            "FLWR_HOME": str(home),
            "TOUCHSTONE_TOOLS": tools(),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        self.features = folder / "features.safetensors"
        words = ["federated", "features", "--invented", "--products", "24"]
        subprocess.run([tools(), *words, "--out", self.features], check=True, env=self.env)
        self.app = folder / "app"
        self.app.mkdir()
        shutil.copytree(HERE.parent / "touchstone_federated", self.app / "touchstone_federated")
        shutil.copy(HERE / "faulty.py", self.app)
        text = (HERE.parent / "pyproject.toml").read_text()
        text = text.replace("touchstone_federated.client:app", "faulty:app")
        text = text.replace('["touchstone_federated/*.py"]', '["**/*.py"]')
        (self.app / "pyproject.toml").write_text(text + 'fault = ""\n')

    def start(self, name: str, *words) -> None:
        with open(self.folder / f"{name}.log", "w") as log:
            self.processes[name] = subprocess.Popen(
                words, env=self.env, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )

    def begin(self) -> None:
        # No `uv sync` per run: both sides use this environment.
        link = ["--insecure", "--disable-runtime-dependency-installation"]
        self.start("link", BIN / "flower-superlink", *link, "--port", str(self.port))
        for node in range(2):
            config = f'partition-id={node} num-partitions=2 features="{self.features}"'
            where = ["--superlink", f"127.0.0.1:{self.port}", "--port", str(free_port())]
            self.start(
                f"node{node}", BIN / "flower-supernode", "--insecure", *where, "--node-config", config
            )

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def run(self, during=None, **config) -> list:
        """Runs the app, gives its rows. `during(rows)` is called while it runs."""
        out = self.folder / f"rounds-{time.monotonic_ns()}.jsonl"
        config = {"rounds": 3, "episodes": 16, "batch": 8, "dim": 8, "min-clients": 2} | config
        config |= {"features": str(self.features), "out": str(out), "inner-lr": 0.001, "lr": 0.01}
        words = [f"{k}={json.dumps(v)}" for k, v in config.items()]
        submit = [BIN / "flwr", "run", self.app, "--run-config", " ".join(words)]
        deadline = time.monotonic() + RUN_MAX
        while True:
            done = subprocess.run(submit, env=self.env, capture_output=True, text=True)
            if done.returncode == 0:
                break
            assert time.monotonic() < deadline, done.stdout + done.stderr + self.logs()
            time.sleep(1)
        last = 1 if config.get("mode") == "posterior" else config["rounds"]
        rows = []
        while not any(row.get("round") == last for row in rows):
            assert time.monotonic() < deadline, f"{rows}\n{self.logs()}"
            time.sleep(0.5)
            if out.exists():
                lines = out.read_text().splitlines(keepends=True)
                rows = [json.loads(line) for line in lines if line.endswith("\n")]
            if during and rows:
                during(rows)
        return rows

    def logs(self) -> str:
        """The ends of all logs, for when a test fails."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {p.name}\n{p.read_text()[-3000:]}" for p in logs)


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    made = Federation(tmp_path_factory.mktemp("federation"))
    try:
        made.begin()
        yield made
    finally:
        made.end()


def rounds(rows: list) -> list:
    return [row for row in rows if row.get("round", 0) > 0]


@pytest.mark.parametrize("mode", ["weights", "gradient"])
def test_two_honest_clients_learn(federation, mode):
    rows = federation.run(mode=mode, rounds=4)
    assert rows[0]["query"] == "moments" and rows[0]["accepted"] == 2
    assert all(row["accepted"] == 2 and not row["refused"] for row in rounds(rows)), rows
    assert rows[-1]["test_loss"] < rows[1]["test_loss"], rows
    assert all(row["bytes_up"] > 0 and row["bytes_down"] > 0 for row in rounds(rows))


def test_the_posteriors_of_both_merge(federation):
    rows = federation.run(mode="posterior")
    assert rows[-1]["accepted"] == 2
    assert rows[-1]["auroc"] > rows[-1]["auroc_fixed"], rows


FAULTS = {
    "nan": "NaN",
    "shape": "shape",
    "long": "length",
    "raise": "error",
    "lag": "no reply in time",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_faulty_client_harms_no_round(federation, fault):
    rows = rounds(federation.run(fault=fault, **{"round-timeout": 25.0}))
    assert [row["accepted"] for row in rows] == [1, 1, 1], rows
    assert [row["asked"] for row in rows] == [2, 1, 2], rows
    (why,) = rows[0]["refused"].values()
    assert FAULTS[fault] in why, why
    assert all(0 <= row["auroc"] <= 1 for row in rows)


def test_a_client_process_that_dies_in_the_middle_harms_no_round(federation):
    """Last: the SuperNode itself is gone afterwards."""

    def during(rows):
        if any(row.get("round", 0) >= 1 for row in rows) and "node1" in federation.processes:
            federation.kill("node1")

    rows = rounds(federation.run(during, rounds=4, **{"round-timeout": 25.0}))
    assert rows[0]["accepted"] == 2
    assert all(row["accepted"] >= 1 for row in rows), rows
    assert rows[-1]["accepted"] == 1 or any(row["refused"] for row in rows), rows
