"""What the statistics demand of a number before they use it. Each function returns what it was given, or raises."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ra_guard.stats.errors import NotFinite, OutOfRange, WrongShape

Floats = npt.NDArray[np.float64]
Values = Sequence[float] | npt.NDArray[np.floating] | npt.NDArray[np.integer]
Numbers = float | npt.NDArray[np.floating] | npt.NDArray[np.integer]
Labels = Sequence[int] | npt.NDArray[np.integer]


def finite(name: str, value: float) -> float:
    """A real number."""
    if not math.isfinite(value):
        raise NotFinite(found=f"{name} = {value}", wanted="a finite number", cure="leave out what was not measured")
    return float(value)


def positive(name: str, value: float) -> float:
    """A real number above zero."""
    if finite(name, value) <= 0:
        raise OutOfRange(found=f"{name} = {value}", wanted="a number above 0", cure=f"correct {name}")
    return float(value)


def probability(name: str, value: float) -> float:
    """A number strictly between 0 and 1."""
    if not 0 < finite(name, value) < 1:
        raise OutOfRange(found=f"{name} = {value}", wanted="a number between 0 and 1", cure=f"correct {name}")
    return float(value)


def widening(design_effect: float) -> float:
    """By how much clustering multiplies a variance: 1 or more."""
    if finite("design_effect", design_effect) < 1:
        raise OutOfRange(
            found=f"design_effect = {design_effect}", wanted="1 or more", cure="pass 1 where clustering does not widen"
        )
    return design_effect


def count(name: str, value: int) -> int:
    """A whole number that is not negative."""
    if finite(name, value) < 0 or int(value) != value:
        raise OutOfRange(found=f"{name} = {value}", wanted="a whole number, 0 or more", cure="count again")
    return int(value)


def vector(name: str, values: Values) -> Floats:
    """One dimension of finite numbers, as float64."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise WrongShape(found=f"{name} of shape {array.shape}", wanted="one dimension", cure="pass one value an entry")
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise NotFinite(
            found=f"{name}[{bad}] = {array[bad]}", wanted="finite numbers", cure="leave out what was not measured"
        )
    return array


def labels(name: str, values: Labels, length: int) -> npt.NDArray[np.intp]:
    """Numbers of groups, one for each of ``length`` rows, as 0..groups-1 in ascending order of the given labels."""
    array = np.asarray(values)
    same_length(name, array.shape[0] if array.ndim == 1 else -1, length)
    return np.unique(array, return_inverse=True)[1].astype(np.intp, copy=False)


def same_length(name: str, found: int, wanted: int) -> None:
    """As many entries as the array beside it."""
    if found != wanted:
        raise WrongShape(found=f"{found} entries of {name}", wanted=f"{wanted}", cure="pass one for each row")
