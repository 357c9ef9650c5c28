"""The words of a definition: closed sets, each member with what it means."""

from enum import StrEnum


class Unit(StrEnum):
    """What is assigned to an arm and what the analysis counts."""

    USER = "user"


class Mode(StrEnum):
    """What is done for enrolled users."""

    AB = "ab"
    """Treatment is served the reranked order, control the baseline."""
    SHADOW = "shadow"
    """Both arms are scored and logged as treatment would be, and served the baseline."""
    INTERLEAVING = "interleaving"
    """Both arms are served a team draft of both orders."""


class Order(StrEnum):
    """Which order of results an arm is served in A/B mode."""

    RERANKED = "reranked"
    BASELINE = "baseline"


class Watch(StrEnum):
    """How closely people follow a stage, the plan's monitoring level."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    STANDARD = "standard"


class Approval(StrEnum):
    """Whether a person allows a stage before the ramp reaches it."""

    REQUIRED = "required"
    NONE = "none"
