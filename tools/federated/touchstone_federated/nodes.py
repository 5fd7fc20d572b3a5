"""Which nodes are asked: those that fail rest for a while, so that no round waits for them again."""

import time

REST_MAX = 8  # Rounds.


class Nodes:
    """Nodes and their record."""

    def __init__(self):
        self.strikes = {}
        self.rest = {}

    def ask(self, known, server_round: int) -> list:
        """Those of `known` that do not rest in this round."""
        return [node for node in sorted(known) if self.rest.get(node, 0) <= server_round]

    def failed(self, node, server_round: int) -> None:
        """A node that gave nothing usable rests 1, 2, 4, … rounds."""
        strikes = self.strikes.get(node, 0) + 1
        self.strikes[node] = strikes
        self.rest[node] = server_round + 1 + min(2 ** (strikes - 1), REST_MAX)

    def worked(self, node) -> None:
        """A node that gave something usable is as good as new."""
        self.strikes.pop(node, None)
        self.rest.pop(node, None)


def wait(grid, least: int, seconds: float) -> list:
    """Node ids, as soon as there are `least` or after `seconds`; at least one."""
    end = time.monotonic() + seconds
    while True:
        nodes = list(grid.get_node_ids())
        if len(nodes) >= least or (nodes and time.monotonic() >= end):
            return nodes
        if time.monotonic() >= end:
            raise RuntimeError(f"no client within {seconds} s")
        time.sleep(0.2)
