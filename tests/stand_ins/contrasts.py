"""Contrasts for tests of the primary metric: users' values of nDCG, and nothing else."""

import numpy as np
from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.latency import BUCKETS
from ra_guard.evidence.tally import Quantity
from ra_guard.stats.inputs import Values
from ra_guard.stats.moments import Moments

NO_CALLS = np.zeros(BUCKETS, np.int64)


def arm(values: Values) -> ArmStatistics:
    """Users with these values of nDCG, 0..1."""
    return of_moments(Moments.of(values))


def contrast(control: Values, treatment: Values) -> Contrast:
    return Contrast(arm(control), arm(treatment))


def of_moments(ndcg: Moments) -> ArmStatistics:
    return ArmStatistics(ndcg.n, ndcg.n, 0, NO_CALLS, 1.0, 1.0, {Quantity.NDCG: ndcg})
