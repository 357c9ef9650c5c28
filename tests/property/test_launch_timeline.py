"""Dates of any definition: every day from the preparation to the decision belongs somewhere, and nothing overlaps."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from ra_guard.experiments.definition import Definition
from ra_guard.launch.timeline import PREPARATION_DAYS, timeline

from tests.stand_ins.definitions import definition

TEMPLATE = definition()
ONE_DAY = timedelta(days=1)


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """The template with other holding times, looks and an end that comes after the ramp."""
    held = draw(st.lists(st.integers(1, 80), min_size=4, max_size=4))
    stages = [
        stage.model_copy(update={"hold_hours": hours})
        for stage, hours in zip(TEMPLATE.stages, [*held, None], strict=True)
    ]
    end_day = sum(held) // 24 + draw(st.integers(1, 30))
    looks = draw(st.sets(st.integers(1, max(1, end_day - 1)), max_size=4)) - {end_day}
    update = {"look_days": tuple(sorted(looks)), "end_day": end_day, "decision_days": draw(st.integers(1, 9))}
    analysis = TEMPLATE.analysis.model_copy(update=update)
    return TEMPLATE.model_copy(update={"stages": tuple(stages), "analysis": analysis})


@given(definitions(), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_days_follow_each_other(plan: Definition, launch: date) -> None:
    found = timeline(plan, launch)
    assert found.preparation.last + ONE_DAY == launch
    assert (launch - found.preparation.first).days == PREPARATION_DAYS
    assert found.ramp.first == found.stages[0].days.first == launch
    assert found.full_test.last + ONE_DAY == found.analysis.first
    assert (found.analysis.last - found.full_test.last).days == plan.analysis.decision_days
    assert found.ramp.last <= found.full_test.first <= found.full_test.last
    assert (found.full_test.last - launch).days + 1 == plan.analysis.end_day


@given(definitions(), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_stages_share_every_hour_up_to_the_end(plan: Definition, launch: date) -> None:
    found = timeline(plan, launch)
    assert found.stages[0].from_hour == 0
    assert found.stages[-1].to_hour == 24 * plan.analysis.end_day
    for before, after in pairwise(found.stages):
        assert before.from_hour < before.to_hour == after.from_hour
    for stage in found.stages:
        assert stage.days.first == launch + timedelta(hours=stage.from_hour) // ONE_DAY * ONE_DAY
        assert stage.days.first <= stage.days.last <= found.full_test.last


@given(definitions(), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_looks_come_in_order_and_the_last_one_ends_the_test(plan: Definition, launch: date) -> None:
    looks = timeline(plan, launch).looks
    assert [look.day for look in looks] == [*plan.analysis.look_days, plan.analysis.end_day]
    assert all((look.on - launch).days + 1 == look.day for look in looks)
    assert [look.is_last for look in looks] == [False] * (len(looks) - 1) + [True]
