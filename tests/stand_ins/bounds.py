"""Requirements and alarms for tests: what the metric leaves open is filled in."""

from ra_guard.experiments.definition.measures import (
    MEASURES,
    Alarm,
    Better,
    Comparison,
    Counted,
    Evidence,
    Metric,
    Requirement,
    Scale,
)

UP, DOWN = Comparison.ABOVE, Comparison.BELOW


def _bound(metric: Metric, scale: Scale, bound: float, evidence: Evidence, least: int) -> dict[str, object]:
    counted = MEASURES[metric].counted
    return {
        "metric": metric,
        "evidence": evidence,
        f"bound_{scale}": int(bound) if scale is Scale.COUNT else float(bound),
        **({} if counted is Counted.NOTHING else {f"min_{counted.value}": least}),
    }


def requirement(
    metric: Metric,
    scale: Scale,
    bound: float,
    evidence: Evidence = Evidence.OBSERVED,
    *,
    must_be: Comparison | None = None,
    least: int = 100,
) -> Requirement:
    """To lie strictly on the good side of the bound, unless said otherwise."""
    good = UP if MEASURES[metric].better is Better.HIGHER else DOWN
    return Requirement.model_validate({**_bound(metric, scale, bound, evidence, least), "must_be": must_be or good})


def alarm(
    metric: Metric,
    scale: Scale,
    bound: float,
    evidence: Evidence = Evidence.OBSERVED,
    *,
    over_minutes: int | None = None,
    for_minutes: int = 0,
    coverage_percent: float = 90,
    least: int = 100,
) -> Alarm:
    """When the value lies strictly on the bad side of the bound."""
    bad = DOWN if MEASURES[metric].better is Better.HIGHER else UP
    return Alarm.model_validate(
        {
            **_bound(metric, scale, bound, evidence, least),
            "when": bad,
            "over_minutes": over_minutes,
            "for_minutes": for_minutes,
            "coverage_percent": coverage_percent if for_minutes else None,
        }
    )
