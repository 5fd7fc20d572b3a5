"""What a server believes of a reply: right names, right shapes, finite numbers, bounded length."""

import math

import numpy as np

HEADER_MAX = 1024  # Bytes that an array's own header may take.


class Refused(ValueError):
    """A reply that is not taken into the round, with the reason."""


def array(record, name: str, shape: tuple, dtype) -> np.ndarray:
    """Array `name` of an ArrayRecord as float64, if it is what was asked for."""
    if record is None or name not in record:
        raise Refused(f"no array '{name}'")
    one = record[name]
    # Told before anything is decoded: a reply cannot make the server allocate more than it asked for.
    most = math.prod(shape) * np.dtype(dtype).itemsize + HEADER_MAX
    if len(one.data) > most:
        raise Refused(f"'{name}' has {len(one.data)} bytes, at most {most} are expected")
    try:
        values = one.numpy()
    except Exception as e:  # Any bytes at all may come in here.
        raise Refused(f"'{name}' cannot be decoded: {e}") from e
    if values.shape != tuple(shape):
        raise Refused(f"'{name}' has shape {values.shape}, {tuple(shape)} is expected")
    if values.dtype != np.dtype(dtype):
        raise Refused(f"'{name}' holds {values.dtype}, {np.dtype(dtype)} is expected")
    if not np.isfinite(values).all():
        raise Refused(f"'{name}' holds a NaN or an infinity")
    return values.astype(np.float64)


def number(record, name: str, low: float, high: float) -> float:
    """Number `name` of a MetricRecord, if it lies in `low..=high`."""
    value = None if record is None else record.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(f"no number '{name}'")
    if not (math.isfinite(value) and low <= value <= high):
        raise Refused(f"'{name}' is {value}, expected from {low} to {high}")
    return float(value)


def update(values: np.ndarray, server: np.ndarray, longest: float) -> None:
    """Refuses weights further from the server's than local steps can lead."""
    way = float(np.linalg.norm(values - server))
    if not way <= longest:
        raise Refused(f"the update has length {way:.3g}, local steps reach {longest:.3g}")


def clipped(gradient: np.ndarray, longest: float) -> np.ndarray:
    """A gradient no longer than `longest`: no client outweighs the others."""
    length = float(np.linalg.norm(gradient))
    return gradient if length <= longest else gradient * (longest / length)


def moments(record, inputs: int) -> tuple:
    """(count, sum, squares) of a client's features, if vectors can have them."""
    count, total, squares = (
        array(record, name, shape, np.float64)
        for name, shape in (("count", (1,)), ("sum", (inputs,)), ("squares", (inputs,)))
    )
    if not (1 <= count[0] <= 1e12):
        raise Refused(f"features of {count[0]} parts")
    # Cauchy and Schwarz: (sum)^2 <= count * sum of squares.
    if (squares < 0).any() or (total**2 > count[0] * squares * (1 + 1e-9) + 1e-9).any():
        raise Refused("sums and squares that no features have")
    return count[0], total, squares
