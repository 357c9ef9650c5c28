"""Where a scenario's faults are: their sizes, minute by minute and call by call. Of two at once, the larger counts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ra_guard.simulation.scenario import Fault, FaultKind

Floats = npt.NDArray[np.float64]


def sizes(faults: Sequence[Fault], kind: FaultKind, minute: Floats) -> Floats:
    """The size of the fault of that kind at each minute from the launch; 0 where there is none. ``(n,)``."""
    found = np.zeros(minute.size)
    for fault in faults:
        if fault.kind is kind:
            found[_within(fault, minute)] = np.maximum(found[_within(fault, minute)], fault.size)
    return found


def heard_again(faults: Sequence[Fault], minute: Floats, replica: npt.NDArray[np.uint8]) -> Floats:
    """For calls to a replica that is cut off, the minute in which it is back; 0 for all others. ``(n,)``."""
    found = np.zeros(minute.size)
    for fault in faults:
        if fault.kind is FaultKind.PARTITION:
            cut_off = _within(fault, minute) & (replica < fault.size)
            found[cut_off] = np.maximum(found[cut_off], (fault.at_hour + fault.hours) * 60)
    return found


def replicas_cut_off(faults: Sequence[Fault], minute: int) -> int:
    """How many are at that minute."""
    return max((int(f.size) for f in faults if f.kind is FaultKind.PARTITION and f.covers(minute)), default=0)


def is_silent(faults: Sequence[Fault], minute: int) -> bool:
    """Whether no evidence arrives at that minute."""
    return any(fault.kind is FaultKind.NO_EVIDENCE and fault.covers(minute) for fault in faults)


def _within(fault: Fault, minute: Floats) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (fault.at_hour * 60 <= minute) & (minute < (fault.at_hour + fault.hours) * 60)
    return found
