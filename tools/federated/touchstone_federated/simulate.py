"""`python -m touchstone_federated.simulate`: many clients on this machine, in Flower's simulation.

Prints accuracy and traffic of every round. Every client has other kinds of product.
"""

import argparse
import json
import os
import sys
import tempfile

from .settings import Settings


def arguments(words=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="touchstone_federated.simulate", description=__doc__)
    parser.add_argument("--features", required=True, help="file of `federated features`")
    parser.add_argument("--clients", type=int, default=8, help="simulated clients (default 8)")
    parser.add_argument("--cpus", type=int, default=os.cpu_count(), help="clients at a time")
    parser.add_argument("--json", action="store_true", help="rounds as JSON lines on stdout")
    for name, default in vars(Settings()).items():
        if name not in ("features", "out", "min_clients"):
            flag = "--" + name.replace("_", "-")
            parser.add_argument(flag, type=type(default), default=default, help=f"({default})")
    return parser.parse_args(words)


def table(rows) -> str:
    """For people."""
    lines = ["round  accepted  down kB  up kB  test AUROC  test loss"]
    for row in rows:
        if "round" not in row:
            continue
        accepted = f"{row.get('accepted', 0)}/{row.get('asked', 0)}"
        down, up = row.get("bytes_down", 0) / 1000, row.get("bytes_up", 0) / 1000
        loss = row.get("test_loss")
        loss = "        -" if loss is None else f"{loss:9.4f}"
        auroc = 100 * row["auroc"]
        lines.append(f"{row['round']:5}  {accepted:>8}  {down:7.0f}  {up:5.0f}  {auroc:10.1f}  {loss}")
        if "auroc_fixed" in row:
            fixed = 100 * row["auroc_fixed"]
            lines.append(f"closed form with the camera's fixed prior: {fixed:.1f}")
    return "\n".join(lines)


def run(args) -> list:
    """Runs the simulation, gives its rows."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["TOUCHSTONE_FEATURES"] = os.path.abspath(args.features)
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    from . import client, server

    with tempfile.TemporaryDirectory() as folder:
        config = {n.replace("_", "-"): v for n, v in vars(args).items() if n in vars(Settings())}
        config |= {"features": os.environ["TOUCHSTONE_FEATURES"], "min-clients": args.clients}
        config["out"] = os.path.join(folder, "rounds.jsonl")
        Settings.of(config)
        simulated = ServerApp()

        @simulated.main()
        def main(grid, context) -> None:
            server.run(grid, config)

        run_simulation(
            server_app=simulated,
            client_app=client.app,
            num_supernodes=args.clients,
            backend_config={
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                "init_args": {"num_cpus": args.cpus, "log_to_driver": False},
            },
        )
        with open(config["out"]) as file:
            return [json.loads(line) for line in file]


if __name__ == "__main__":
    arguments = arguments()
    rows = run(arguments)
    print("\n".join(map(json.dumps, rows)) if arguments.json else table(rows))
    sys.exit(0 if any("auroc" in row for row in rows) else 1)
