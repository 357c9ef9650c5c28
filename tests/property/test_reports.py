"""What holds of reports whatever goes in: hours add up, text stays text, and no report is due twice or forgotten."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ra_guard.evidence.latency import BUCKETS, bucket_of, upper_ms
from ra_guard.evidence.tally import CONTROL, TREATMENT, Batch, Calls
from ra_guard.experiments.definition.vocabulary import Cadence, ReportKind
from ra_guard.experiments.monitor.outcomes import Look
from ra_guard.reports.content import ArmHour
from ra_guard.reports.document import Column, Document, Lines, Mark, Noted, Paragraph, Section, Table, Tone
from ra_guard.reports.history import History
from ra_guard.reports.markdown import text
from ra_guard.reports.page import page
from ra_guard.reports.schedule import Life, due

from tests.stand_ins.definitions import definition
from tests.stand_ins.report_content import LAUNCH, LAUNCH_MINUTE, no_changes

PLAN = definition()

# Hours

Row = tuple[int, int, int, bool]
"""Minute since the launch, arm, bucket, error."""
rows = st.lists(
    st.tuples(st.integers(0, 600), st.sampled_from([CONTROL, TREATMENT]), st.integers(1, BUCKETS - 1), st.booleans()),
    max_size=60,
)


def batch(some: list[Row], weight: int = 1) -> Batch:
    minute, arm, bucket, error = (list(column) for column in zip(*some, strict=True)) if some else ([], [], [], [])
    size = len(some)
    calls = Calls(
        minute=np.array(minute, np.int32) + np.int32(LAUNCH_MINUTE),
        arm=np.array(arm, np.uint8),
        user=np.zeros(size, np.uint32),
        domain=np.zeros(size, np.uint8),
        bucket=np.array(bucket, np.uint16),
        error=np.array(error, np.bool_),
        weight=np.full(size, weight, np.int8),
    )
    return Batch(calls, no_changes())


def expected(some: list[Row], hour: int, arm: int) -> ArmHour:
    """Of rows in plain Python."""
    mine = [row for row in some if row[0] // 60 == hour and row[1] == arm]
    times = sorted(float(upper_ms()[row[2]]) for row in mine)
    p50, p95, p99 = (times[int(np.ceil(share * len(times))) - 1] if times else None for share in (0.5, 0.95, 0.99))
    return ArmHour(len(mine), sum(row[3] for row in mine), p50, p95, p99)


@settings(max_examples=60)
@given(some=rows, taken_back=rows, cuts=st.lists(st.integers(0, 60), max_size=3), order=st.randoms())
def test_hours_add_up_to_what_went_in(some: list[Row], taken_back: list[Row], cuts: list[int], order: object) -> None:
    history = History(PLAN)
    edges = [0, *sorted(cuts), len(some)]
    parts = [batch(some[low:high]) for low, high in pairwise(edges) if low < high]
    parts += [batch(taken_back), batch(taken_back, weight=-1)]
    order.shuffle(parts)  # type: ignore[attr-defined]
    for part in parts:
        history.add(part)
    hours = history.hours()
    touched = {row[0] // 60 for row in (*some, *taken_back)}
    assert len(hours) == (max(touched) - min(touched) + 1 if touched else 0)
    for hour in hours:
        number = hour.at_unix_s // 3_600 - 1 - LAUNCH_MINUTE // 60
        assert hour.control == expected(some, number, CONTROL)
        assert hour.treatment == expected(some, number, TREATMENT)


@given(st.integers(1, 2**32 - 1))
def test_a_percentile_of_one_call_is_that_call(micros: int) -> None:
    history = History(PLAN)
    history.add(batch([(0, CONTROL, int(bucket_of(np.array([micros], np.uint32))[0]), False)]))
    (hour,) = history.hours()
    for found in (hour.control.p50_ms, hour.control.p95_ms, hour.control.p99_ms):
        assert found is not None
        assert micros / 1_000 <= found <= micros / 1_000 * (1 + 1 / 128)


# Text

words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40) | st.sampled_from(
    ["</title><script>", "a | b", "`x`", "[a](b)", "1. one", "- x", "# x", "---", "===", "$x$", "&amp;", "\\|", "<b>"]
)


def report_of(said: str) -> Document:
    table = Table((Column(said), Column(said, is_number=True)), ((said, Noted(said, said)),), "none")
    section = Section(said, (Paragraph(said), Lines((said,)), table))
    return Document(said, Mark(said, Tone.PLAIN), said, ((said, said),), (section,))


class Texts(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@given(words)
def test_text_is_text_in_html(said: str) -> None:
    read, plain = Texts(page(report_of(said))), Texts(page(report_of("x")))
    assert read.tags == plain.tags
    put_in = {"x": said, " x": f" {said}"}
    assert read.found == [put_in.get(found, found) for found in plain.found]


@given(words)
def test_text_is_text_in_markdown(said: str) -> None:
    lines, plain = (text(report_of(each)).splitlines() for each in (said, "x"))
    assert len(lines) == len(plain)
    for line, like in zip(lines, plain, strict=True):
        if like.startswith("|"):
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == like.count("|")
    assert not re.search(r"<[A-Za-z/!?]", "\n".join(lines))
    (paragraph,) = (line for line, like in zip(lines, plain, strict=True) if like == "x")
    assert not re.match(r"#{1,6}(\s|$)|[-+*](\s|$)|\d+[.)](\s|$)|(-\s*){3,}$|=+\s*$|>|```|~~~", paragraph)


# Schedule


def look(day: int, *, is_last: bool = False) -> Look:
    return Look(day, int((LAUNCH + timedelta(days=day)).timestamp()), 500, 500, 1.0, 1.0, 0.2, is_last)


LOOKS = (look(3), look(7), look(10), look(14, is_last=True))
CADENCES = {report.kind: report.every for report in PLAN.reports}


def run(hour_utc: int, step_minutes: int, days: float) -> list[tuple[ReportKind, datetime]]:
    """Everything that is made by one that asks every so often."""
    made: dict[ReportKind, datetime] = {}
    log, now = [], LAUNCH
    while now <= LAUNCH + timedelta(days=days):
        life = Life(LAUNCH, [each for each in LOOKS if each.at_unix_s <= now.timestamp()], None)
        for each in due(PLAN, life, made, now, hour_utc=hour_utc):
            made[each.report.kind] = now
            log.append((each.report.kind, now))
        now += timedelta(minutes=step_minutes)
    return log


@settings(max_examples=20)
@given(hour_utc=st.integers(0, 23), step_minutes=st.integers(7, 50))
def test_each_report_is_made_once_at_its_time(hour_utc: int, step_minutes: int) -> None:
    log = run(hour_utc, step_minutes, days=16)
    days = [at.date() for kind, at in log if kind is ReportKind.SUMMARY]
    assert len(days) == len(set(days)) >= 15
    for kind, at in log:
        if CADENCES[kind] in {Cadence.DAILY, Cadence.WEEKLY}:
            late = at - at.replace(hour=hour_utc, minute=0)
            assert timedelta(0) <= late % timedelta(days=1) < timedelta(minutes=step_minutes)
    counts = {kind: sum(each is kind for each, _ in log) for kind in ReportKind}
    assert counts[ReportKind.DEEP_DIVE] == counts[ReportKind.BRIEFING] == 2
    assert counts[ReportKind.INTERIM_REVIEW] == 3
    assert counts[ReportKind.RESULTS] == 1
    assert counts[ReportKind.ANOMALIES] == 0


@given(late_days=st.floats(0.0, 40.0), hour_utc=st.integers(0, 23))
def test_whoever_comes_late_makes_the_latest_of_each_once(late_days: float, hour_utc: int) -> None:
    now = LAUNCH + timedelta(days=late_days)
    life = Life(LAUNCH, [each for each in LOOKS if each.at_unix_s <= now.timestamp()], None)
    found = due(PLAN, life, {}, now, hour_utc=hour_utc)
    kinds = [each.report.kind for each in found]
    assert len(kinds) == len(set(kinds))
    assert all(each.since <= now for each in found)
    assert not due(PLAN, life, dict.fromkeys(kinds, now), now, hour_utc=hour_utc)
    assert (ReportKind.RESULTS in kinds) is (late_days >= 14)


@given(closed_days=st.floats(0.0, 13.0), later_days=st.floats(0.0, 30.0))
def test_of_an_epoch_that_was_closed_only_its_end_is_told(closed_days: float, later_days: float) -> None:
    closed = LAUNCH + timedelta(days=closed_days)
    life = Life(LAUNCH, [each for each in LOOKS if each.at_unix_s <= closed.timestamp()], closed)
    before = due(PLAN, life, {}, closed, hour_utc=6)
    made = {each.report.kind: closed for each in before}
    assert ReportKind.RESULTS in made
    assert not due(PLAN, life, made, closed + timedelta(days=later_days), hour_utc=6)
    assert datetime(2026, 1, 1, tzinfo=UTC) < min(each.since for each in before)
