"""Pictures of a content with their titles and captions, or the statement that there is nothing to draw."""

from ra_guard.reports import plots
from ra_guard.reports.content import Content
from ra_guard.reports.document import Figure, Missing
from ra_guard.reports.effects import by_domain
from ra_guard.reports.looks import shown
from ra_guard.reports.plots import Timeline

Picture = Figure | Missing


def effect(content: Content) -> Picture:
    """The primary metric over time."""
    looks = [(each.look, each.interval) for each in shown(content.definition, content.looks)]
    return _picture(
        "nDCG@10 over time",
        plots.effect(_timeline(content), looks),
        "Treatment less control. The line is the estimate so far and the band its anytime-valid interval, dots "
        "with bars are planned looks with their repeated intervals. What is wider than the picture is cut off.",
        "the effect could not be told at any hour",
    )


def latency(content: Content) -> Picture:
    """Times to answer."""
    return _picture(
        "Time to answer, each hour",
        plots.latency(_timeline(content)),
        "50th, 95th and 99th percentile of the hour's calls, each on its own scale; hours with fewer than "
        f"{plots.LEAST_CALLS[95]} calls for P95, or {plots.LEAST_CALLS[99]} for P99, are left out. Treatment solid, "
        "control dashed.",
        "no calls",
    )


def errors(content: Content) -> Picture:
    """Errors and traffic."""
    return _picture(
        "Errors and calls",
        plots.errors(_timeline(content)),
        "Above: share of calls of the last 24 hours that were answered with the baseline because of a deadline, "
        "overload or an internal cause. Below: calls of each hour. Treatment solid, control dashed.",
        "no calls",
    )


def ramp(content: Content) -> Picture:
    """The ramp."""
    return _picture(
        "Ramp", plots.ramp(_timeline(content)), "Share of users in each arm; at 50 % everyone is enrolled.", "no hours"
    )


def sample_ratio(content: Content) -> Picture:
    """The split of users."""
    limit = content.definition.analysis.sample_ratio_p
    return _picture(
        "Sample ratio",
        plots.sample_ratio(_timeline(content)),
        f"Treatment's share of users. Inside the band p is {limit:g} or more; outside it is a mismatch.",
        "no users",
    )


def power(content: Content) -> Picture:
    """Power so far."""
    return _picture(
        "Power at the planned end",
        plots.power(_timeline(content)),
        "Chance of success at the planned end if the effect is the expected one, from the enrolment and spread so far.",
        "power could not be told at any hour",
    )


def domains(content: Content) -> Picture:
    """The effect by domain."""
    return _picture(
        "Effect by domain",
        plots.domains(by_domain(content)),
        "Treatment less control with anytime-valid intervals, each by itself.",
        "no domain has enough users",
    )


def _timeline(content: Content) -> Timeline:
    launched = content.launched_at or content.as_of
    return Timeline(content.definition, int(launched.timestamp()), content.hours)


def _picture(title: str, svg: str | None, caption: str, why: str) -> Picture:
    return Missing(title, why) if svg is None else Figure(title, svg, caption)
