"""The pictures of a report. Each is None where there is nothing to draw; what could not be told is a gap, never a zero.

Arms differ by colour, by the pattern of the line and by a name at its end, so that a grey copy says the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from ra_guard.experiments.definition import Definition
from ra_guard.experiments.monitor.outcomes import Look
from ra_guard.reports.content import ArmHour, Hour
from ra_guard.reports.drawing import CONTROL, INK, LIMIT, QUIET, TREATMENT, drawn
from ra_guard.reports.words import signed
from ra_guard.stats.outcome import Effect, Insufficient, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DAY_S: Final = 86_400
_TRAILING_HOURS: Final = 24
LEAST_CALLS: Final = {50: 2, 95: 20, 99: 100}
"""By percentile: with fewer calls in an hour it is the slowest of them, whatever the arm does."""
_FURTHEST: Final = 6
"""Times the success threshold: what lies beyond is cut off, or the threshold would not be seen."""
_SOLID: Final = "-"
_DASHED: Final = (0, (4, 1.6))


@dataclass(frozen=True)
class Timeline:
    """Hours of an experiment on an axis of days since its launch."""

    definition: Definition
    launched_at_unix_s: int
    hours: Sequence[Hour]

    def day_of(self, unix_s: int) -> float:
        """Days since the launch."""
        return (unix_s - self.launched_at_unix_s) / _DAY_S

    @property
    def days(self) -> list[float]:
        """Of the hours."""
        return [self.day_of(hour.at_unix_s) for hour in self.hours]


def effect(line: Timeline, looks: Sequence[tuple[Look, Interval]]) -> str | None:
    """The primary metric's effect over time, in its anytime-valid band, with the looks and their repeated intervals."""
    known = [hour.primary if isinstance(hour.primary, Effect) else None for hour in line.hours]
    if not looks and not any(known):
        return None
    success = line.definition.metrics.primary.success_points

    def paint(panels: list[Axes]) -> None:
        (axes,) = panels
        axes.axhline(0, color=INK, linewidth=0.8)
        _limit(axes, success, f"success {signed(success)}")
        low = _gaps(None if each is None else each.interval.low for each in known)
        high = _gaps(None if each is None else each.interval.high for each in known)
        axes.fill_between(line.days, low, high, color=TREATMENT, alpha=0.18, linewidth=0)
        estimates = _gaps(None if each is None else each.estimate for each in known)
        axes.plot(line.days, estimates, color=TREATMENT, linewidth=1.4)
        for look, interval in looks:
            day = line.day_of(look.at_unix_s)
            axes.plot([day, day], [interval.low, interval.high], color=INK, linewidth=1.2, marker="_", markersize=6)
            axes.plot([day], [look.estimate], color=INK, marker="o", markersize=4, linestyle="none")
        axes.set_ylim(*_effect_limits(known, [interval for _, interval in looks], success))
        axes.set_ylabel("added nDCG points")
        _days(axes, line)

    return drawn("effect", [1.9], paint)


def latency(line: Timeline) -> str | None:
    """P50, P95 and P99 of each hour, by arm."""
    if not any(hour.control.calls or hour.treatment.calls for hour in line.hours):
        return None

    def paint(panels: list[Axes]) -> None:
        for axes, percent in zip(panels, LEAST_CALLS, strict=True):
            _arms(axes, line, [[_percentile_ms(arm, percent) for arm in arms] for arms in _by_arm(line.hours)])
            axes.set_ylabel(f"P{percent}, ms")
            axes.set_ylim(bottom=0)
        _days(panels[-1], line)

    return drawn("latency", [0.85, 0.85, 0.85], paint)


def errors(line: Timeline) -> str | None:
    """Share of calls that failed or fell back over the last 24 hours, by arm, and the calls of each hour."""
    if not any(hour.control.calls or hour.treatment.calls for hour in line.hours):
        return None

    def paint(panels: list[Axes]) -> None:
        shares, calls = panels
        _arms(shares, line, [_trailing_percent(arms) for arms in _by_arm(line.hours)])
        shares.set_ylabel("errors, %")
        shares.set_ylim(bottom=0)
        _arms(calls, line, [[arm.calls for arm in arms] for arms in _by_arm(line.hours)])
        calls.set_ylabel("calls an hour")
        calls.set_ylim(bottom=0)
        _days(calls, line)

    return drawn("errors", [1.1, 0.85], paint)


def ramp(line: Timeline) -> str | None:
    """The share of users in each arm."""
    if not line.hours:
        return None

    def paint(panels: list[Axes]) -> None:
        (axes,) = panels
        axes.step(line.days, [hour.ramp_bp / 100 for hour in line.hours], where="pre", color=INK, linewidth=1.4)
        axes.set_yticks([0, 10, 25, 50])
        axes.set_ylim(0, 54)
        axes.set_ylabel("users an arm, %")
        _days(axes, line)

    return drawn("ramp", [0.95], paint)


def sample_ratio(line: Timeline) -> str | None:
    """Treatment's share of users, in the band that the limit of the test allows."""
    users = [hour.control_users + hour.treatment_users for hour in line.hours]
    if not any(users):
        return None
    # A chi-square of one degree of freedom is a squared normal: inside the band, p is at least the limit.
    reach = NormalDist().inv_cdf(1 - line.definition.analysis.sample_ratio_p / 2)

    def paint(panels: list[Axes]) -> None:
        (axes,) = panels
        half = _gaps(50 * reach / math.sqrt(n) if n else None for n in users)
        axes.fill_between(line.days, 50 - half, 50 + half, color=QUIET, alpha=0.18, linewidth=0)
        axes.axhline(50, color=INK, linewidth=0.8)
        share = _gaps(100 * hour.treatment_users / n if n else None for hour, n in zip(line.hours, users, strict=True))
        axes.plot(line.days, share, color=TREATMENT, linewidth=1.4)
        settled = [n for n in users if n >= max(users) / 8]
        room = max(50 * reach / math.sqrt(min(settled)), float(np.nanmax(np.abs(share[-len(settled) :] - 50))))
        axes.set_ylim(50 - 1.15 * room, 50 + 1.15 * room)
        axes.set_ylabel("in treatment, %")
        _days(axes, line)

    return drawn("sample-ratio", [1.1], paint)


def power(line: Timeline) -> str | None:
    """The chance of success at the planned end, as it could be told at each hour."""
    known = _gaps(hour.power_percent for hour in line.hours)
    if np.isnan(known).all():
        return None
    planned = line.definition.sample.power_percent

    def paint(panels: list[Axes]) -> None:
        (axes,) = panels
        axes.plot(line.days, known, color=TREATMENT, linewidth=1.4)
        _limit(axes, planned, f"planned {planned:g} %")
        axes.set_ylim(0, 104)
        axes.set_ylabel("power, %")
        _days(axes, line)

    return drawn("power", [0.95], paint)


def domains(effects: Mapping[str, Effect | Insufficient]) -> str | None:
    """The primary metric's effect in each domain, with its interval."""
    known = {name: each for name, each in effects.items() if isinstance(each, Effect)}
    if not known:
        return None

    def paint(panels: list[Axes]) -> None:
        (axes,) = panels
        axes.axvline(0, color=INK, linewidth=0.8)
        names = list(effects)
        for row, name in enumerate(names):
            each = known.get(name)
            if each is None:
                axes.annotate(
                    "cannot be told yet", (0.01, row), xycoords=("axes fraction", "data"), color=QUIET, va="center"
                )
                continue
            axes.plot([each.interval.low, each.interval.high], [row, row], color=TREATMENT, linewidth=1.4, marker="|")
            axes.plot([each.estimate], [row], color=TREATMENT, marker="o", markersize=5)
            axes.annotate(
                signed(each.estimate), (1.01, row), xycoords=("axes fraction", "data"), color=TREATMENT, va="center"
            )
        axes.set_yticks(range(len(names)), [_fitting(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("added nDCG points")

    return drawn("domains", [0.3 + 0.26 * len(effects)], paint)


def _arms(axes: Axes, line: Timeline, values: Sequence[Sequence[float | None]]) -> None:
    """Control dashed, treatment solid, each with its name at its end."""
    ends = []
    for name, colour, pattern, each in zip(
        ("control", "treatment"), (CONTROL, TREATMENT), (_DASHED, _SOLID), values, strict=True
    ):
        series = _gaps(each)
        axes.plot(line.days, series, color=colour, linestyle=pattern, linewidth=1.2)
        if not np.isnan(series).all():
            ends.append((float(series[~np.isnan(series)][-1]), name, colour))
    ends.sort()
    for row, (value, name, colour) in enumerate(ends):
        # The higher one's name stands above its line's end and the lower one's below: they never meet.
        side = "bottom" if row else "top"
        axes.annotate(
            name,
            (1.01, value),
            xycoords=("axes fraction", "data"),
            color=colour,
            va=side if len(ends) > 1 else "center",
        )


def _limit(axes: Axes, at: float, name: str) -> None:
    axes.axhline(at, color=LIMIT, linewidth=1.0, linestyle=_DASHED)
    axes.annotate(name, (1.01, at), xycoords=("axes fraction", "data"), color=LIMIT, va="center")


def _days(axes: Axes, line: Timeline) -> None:
    """From the launch to the planned end, or beyond if it ran longer."""
    end = max([float(line.definition.analysis.end_day), *line.days])
    step = max(1, math.ceil(end / 15))
    axes.set_xlim(0, end + 0.1)
    axes.set_xticks(range(0, math.floor(end) + 1, step))
    axes.set_xlabel("days since launch")


def _gaps(values: Iterable[float | None]) -> npt.NDArray[np.float64]:
    """Values with NaN, which is drawn as a gap, for what there is not."""
    return np.array([np.nan if each is None or math.isinf(each) else each for each in values], dtype=np.float64)


def _effect_limits(known: Sequence[Effect | None], looks: Sequence[Interval], success: float) -> tuple[float, float]:
    """Room for zero, success and the later half of the band, and for looks that are not wider than any page."""
    furthest = _FURTHEST * success
    band = [each.interval for each in known if each is not None]
    near = [each for each in looks if -furthest < each.low and each.high < furthest]
    ends = [end for each in (*near, *band[len(band) // 2 :]) for end in (each.low, each.high)]
    low, high = max(min([0.0, *ends]), -furthest), min(max([1.25 * success, *ends]), furthest)
    room = 0.08 * (high - low)
    return low - room, high + room


def _by_arm(hours: Sequence[Hour]) -> tuple[list[ArmHour], list[ArmHour]]:
    return [hour.control for hour in hours], [hour.treatment for hour in hours]


def _percentile_ms(arm: ArmHour, percent: int) -> float | None:
    known = {50: arm.p50_ms, 95: arm.p95_ms, 99: arm.p99_ms}[percent]
    return known if arm.calls >= LEAST_CALLS[percent] else None


def _trailing_percent(arm: Sequence[ArmHour]) -> list[float | None]:
    """Errors among the calls of each hour and the 23 before it."""
    shares: list[float | None] = []
    for end in range(1, len(arm) + 1):
        window = arm[max(0, end - _TRAILING_HOURS) : end]
        calls = sum(each.calls for each in window)
        shares.append(100 * sum(each.errors for each in window) / calls if calls else None)
    return shares


def _fitting(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"
