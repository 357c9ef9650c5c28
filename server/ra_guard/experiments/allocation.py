"""Where the hash puts a unit: the seed, the buckets, and which of them each arm holds at a ramp."""

import re
from enum import Enum

BUCKETS = 10_000
CONTROL_ORIGIN = 5_000
"""Treatment grows from bucket 0, control from here, so that no ramp moves a unit from one arm to the other."""
MAX_RAMP_BP = 5_000
KEY_RULE = "1..64 of [A-Za-z0-9_.-], and not . or .."

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Arm(Enum):
    """Where the hash alone puts a unit at one ramp."""

    TREATMENT = "treatment"
    CONTROL = "control"
    NOT_ENROLLED = "not_enrolled"


def is_key(key: str) -> bool:
    """Whether the wire allows an experiment key, and a folder can safely carry it."""
    return _KEY.fullmatch(key) is not None and key not in {".", ".."}


def hash_seed(key: str, salt: str) -> str:
    """The seed of the assignment hash: the key, or ``key:salt`` when the salt is not empty."""
    return f"{key}:{salt}" if salt else key


def arm_of(bucket: int, ramp_bp: int) -> Arm:
    """The arm of a bucket (0..9999): treatment is [0, r), control [5000, 5000 + r)."""
    if bucket < ramp_bp:
        return Arm.TREATMENT
    if CONTROL_ORIGIN <= bucket < CONTROL_ORIGIN + ramp_bp:
        return Arm.CONTROL
    return Arm.NOT_ENROLLED


def percent(ramp_bp: int) -> str:
    """``125`` as ``1.25 %``."""
    return f"{ramp_bp / 100:g} %"
