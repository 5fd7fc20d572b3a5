"""Settings of a run, checked once where they come in."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Settings:
    """What a run may set. Names in the run's configuration have `-` for `_`."""

    mode: str = "weights"  # weights (FedAvg), gradient (server Adam), posterior (exact Bayes merge)
    rounds: int = 10
    min_clients: int = 2  # A round waits for so many,
    client_wait: float = 60.0  # at most so many seconds.
    round_timeout: float = 60.0  # Replies later than this are dropped.
    episodes: int = 64  # Local episodes a round,
    batch: int = 8  # so many a local step.
    lr: float = 0.001  # Of local steps.
    server_lr: float = 0.002  # Of the server's Adam (mode gradient).
    proximal: float = 0.0  # mu of mu/2 |theta - theta_server|^2.
    contrast: float = 0.1  # Weight of the supervised contrastive regulariser.
    order: str = "first"  # Of the outer gradient: first or second.
    dim: int = 64  # Length of the embedding.
    shots: int = 5  # Good parts taught.
    inner_steps: int = 1
    inner_lr: float = 0.0005
    seed: int = 1
    features: str = ""  # The server's file, for start values and measuring.
    out: str = ""  # JSON lines, one per round.

    def __post_init__(self):
        bounds = {
            "rounds": (1, 10_000),
            "min_clients": (1, 10_000),
            "client_wait": (0, 86_400),
            "round_timeout": (0.1, 86_400),
            "episodes": (1, 10_000),
            "batch": (1, self.episodes),
            "lr": (0, 1),
            "server_lr": (0, 1),
            "proximal": (0, 1e6),
            "contrast": (0, 1e3),
            "dim": (2, 1024),
            "shots": (2, 64),
            "inner_steps": (0, 64),
            "inner_lr": (0, 1),
            "seed": (0, 2**32),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} is {value}; give a value from {low} to {high}")
        if self.mode not in ("weights", "gradient", "posterior"):
            raise ValueError(f"mode is {self.mode!r}; give weights, gradient or posterior")
        if self.order not in ("first", "second"):
            raise ValueError(f"order is {self.order!r}; give first or second")

    @classmethod
    def of(cls, config) -> "Settings":
        """From a run's configuration; what it leaves out is as by default."""
        values = {}
        for field in fields(cls):
            name = field.name.replace("_", "-")
            if name in config:
                values[field.name] = type(field.default)(config[name])
        return cls(**values)

    def setup(self, mean, scale) -> dict:
        """The learner, as `touchstone-tools federated client` wants it."""
        return {
            "dim": self.dim,
            "shots": self.shots,
            "inner_steps": self.inner_steps,
            "inner_lr": self.inner_lr,
            "standard": {"mean": list(map(float, mean)), "scale": list(map(float, scale))},
            "seed": self.seed,
        }

    def fit(self, server_round: int) -> dict:
        """How a client learns in that round."""
        return {
            "round": server_round,
            "mode": self.mode,
            "episodes": self.episodes,
            "batch": self.batch,
            "lr": self.lr,
            "proximal": self.proximal,
            "contrast": self.contrast,
            "order": self.order,
        }
