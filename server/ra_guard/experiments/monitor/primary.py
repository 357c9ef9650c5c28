"""The primary metric, treatment less control in points, with the interval that may be looked at every minute."""

from typing import Final

from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.tally import Quantity
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.vocabulary import Labels
from ra_guard.stats import anytime
from ra_guard.stats.effects import Arm, ArmEstimate, mean_of
from ra_guard.stats.moments import Moments
from ra_guard.stats.outcome import Effect, Insufficient, Lack

POINTS: Final = 100.0
NOBODY: Final = Moments.empty(1)
"""Of an arm in which no user has a value."""


def primary_effect(definition: Definition, contrast: Contrast) -> Effect | Insufficient:
    """Anytime-valid, two-sided, at the confidence of the primary metric; tightest at the planned users."""
    return _effect(definition, contrast, Quantity.NDCG)


def corrected_effect(definition: Definition, contrast: Contrast) -> Effect | Insufficient | None:
    """The same of clicks corrected for position, which decides nothing; None where labels are no clicks."""
    if definition.metrics.primary.labels is not Labels.CLICKS:
        return None
    return _effect(definition, contrast, Quantity.NDCG_CORRECTED)


def alpha_of(definition: Definition) -> float:
    """1 less the confidence of the primary metric, where one-sided intervals exist: at 51 % or more."""
    return min(1 - definition.metrics.primary.confidence_percent / 100, 0.49)


def in_points(arm: ArmStatistics, quantity: Quantity = Quantity.NDCG) -> Arm:
    """The arm's mean nDCG times 100."""
    if quantity in arm.broken:
        return Insufficient(Lack.TOO_FEW, "an nDCG that cannot be true", "corrections that fit what they correct")
    estimate = mean_of(arm.means.get(quantity, NOBODY))
    if isinstance(estimate, Insufficient):
        return estimate
    return ArmEstimate(estimate.value * POINTS, estimate.variance * POINTS**2, estimate.n)


def _effect(definition: Definition, contrast: Contrast, quantity: Quantity) -> Effect | Insufficient:
    return anytime.difference(
        in_points(contrast.control, quantity),
        in_points(contrast.treatment, quantity),
        users_opt=definition.sample.users,
        alpha=alpha_of(definition),
    )
