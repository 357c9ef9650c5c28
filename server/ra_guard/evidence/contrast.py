"""What a window of evidence comes to: two arms as sufficient statistics, and beside them what concerns both.

All values are frozen and hold nothing whose size depends on traffic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ra_guard.evidence.tally import Quantity
from ra_guard.stats.moments import Moments


@dataclass(frozen=True)
class ArmStatistics:
    """One arm within a window."""

    users: int
    """With at least one call in the window."""
    calls: int
    errors: int
    latency: npt.NDArray[np.int64]
    """Calls by `latency.bucket_of` the time to answer; ``(BUCKETS,)``."""
    latency_design_effect: float
    """By how much clustering by user widens the share of calls above P95; 1 or more."""
    error_design_effect: float
    """The same of the share of calls that are errors; 1 or more."""
    means: Mapping[Quantity, Moments]
    """One column, over the users that have a value: the mean over the user's requests, in the quantity's unit."""
    broken: frozenset[Quantity] = frozenset()
    """Quantities that cannot be true, such as a user's count below zero: they have no entry in ``means``."""
    has_broken_calls: bool = False
    """A count of calls, errors or times went below zero: no number of this arm can be believed."""


@dataclass(frozen=True)
class Contrast:
    """Both arms over the same minutes."""

    control: ArmStatistics
    treatment: ArmStatistics


@dataclass(frozen=True)
class Exposure:
    """How users were drawn and served in this epoch: what can make a comparison of arms worthless."""

    control_users: int
    treatment_users: int
    crossed_users: int
    """Seen in both arms, or served what their arm is not served although nothing failed."""
    control_lost: int
    treatment_lost: int
    """Records that were offered to the log and never sealed."""


@dataclass(frozen=True)
class Vitals:
    """How the replicas are now."""

    replicas: int
    """That the control plane hears."""
    failing: int
    """Of them, those whose health check says that they do not serve."""
    critical_errors: int
    """Since the ramp came to its stage."""
    critical_errors_in_epoch: int


@dataclass(frozen=True)
class Evidence:
    """All that is known at one minute."""

    as_of: int
    """Minutes since the Unix epoch; every call up to the end of this one is in, as far as it will come."""
    epoch: Contrast
    """Since users were first enrolled in this epoch."""
    stage: Contrast
    """Since the ramp came to its stage."""
    recent: Mapping[int, Contrast]
    """Of the last so many minutes, for each span that the definition's alarms look back over."""
    exposure: Exposure
    vitals: Vitals | None
    """None: nothing was heard of the replicas."""
    late: int = 0
    """Feedback that came after its window: counted and left out."""
    not_relevant: Mapping[int, int] = field(default_factory=dict)
    """By arm: requests left out of nDCG because none of their candidates is relevant."""
