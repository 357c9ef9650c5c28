"""Reports: every kind of every standing is a whole page of its own, and says what is known and what is not."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html import escape
from html.parser import HTMLParser

import pytest
from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.definition.safety import Measured
from ra_guard.experiments.definition.vocabulary import Finding, Outcome, ReportKind
from ra_guard.experiments.definition.words import NAMES
from ra_guard.experiments.monitor.outcomes import Look, Reading, Verdict
from ra_guard.reports import plots, standing
from ra_guard.reports.content import Content
from ra_guard.reports.document import Document, Missing, Tone
from ra_guard.reports.kinds import document, opening
from ra_guard.reports.markdown import text
from ra_guard.reports.page import page
from ra_guard.reports.plots import Timeline
from ra_guard.reports.render import html, markdown
from ra_guard.reports.words import FINDINGS, MEANINGS, OUTCOMES, VERDICT_MEANINGS, VERDICTS
from ra_guard.stats.outcome import Effect, Insufficient, Lack
from ra_guard.stats.srm import SampleRatio

from tests.stand_ins import report_content
from tests.stand_ins.report_content import HOSTILE

STANDINGS: dict[str, Callable[[], Content]] = {
    "empty": report_content.empty,
    "insufficient": report_content.insufficient,
    "healthy": report_content.healthy,
    "rolled_back": report_content.rolled_back,
    "decided": report_content.decided,
}
VOID = {"meta", "br", "hr", "img", "input", "link"}


@cache
def content(name: str) -> Content:
    return STANDINGS[name]()


@cache
def made(name: str, kind: ReportKind) -> Document:
    return document(content(name), kind)


class Page(HTMLParser):
    """What a browser would make of a page: open tags, attributes, and the text between."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("kind", ReportKind)
@pytest.mark.parametrize("name", STANDINGS)
def test_a_page_is_whole_and_needs_nothing_beside_it(name: str, kind: ReportKind) -> None:
    source = page(made(name, kind))
    read = Page(source)
    assert not read.open
    assert not read.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    references = [value for attribute, value in read.attributes if attribute in {"src", "href", "xlink:href", "srcset"}]
    assert all(value.startswith("#") for value in references)
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert "@import" not in source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))
    ids = [value for attribute, value in read.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in references} <= set(ids)


@pytest.mark.parametrize("kind", ReportKind)
@pytest.mark.parametrize("name", STANDINGS)
def test_markdown_says_the_same_words_in_tables_that_hold_together(name: str, kind: ReportKind) -> None:
    said = text(made(name, kind))
    tables = [line for line in said.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    for head in (number for number, line in enumerate(tables) if line.startswith("| ---")):
        assert widths[head - 1] == widths[head]
        assert head + 1 == len(tables) or widths[head + 1] == widths[head]
    assert "<" not in said.replace("&lt;", "")
    for section in made(name, kind).sections:
        assert f"## {section.title}" in said


def test_the_same_content_gives_the_same_bytes() -> None:
    again = report_content.healthy()
    assert html(again, ReportKind.DEEP_DIVE) == page(made("healthy", ReportKind.DEEP_DIVE))
    assert markdown(again, ReportKind.DEEP_DIVE) == text(made("healthy", ReportKind.DEEP_DIVE))


def test_what_users_wrote_is_text() -> None:
    source = page(made("healthy", ReportKind.DEEP_DIVE))
    assert HOSTILE not in source
    assert source.count(escape(HOSTILE)) == 2  # a query and a why
    assert Page(source).texts.count(HOSTILE) == 2
    said = text(made("healthy", ReportKind.DEEP_DIVE))
    assert "<script" not in said
    assert "| **bold**" not in said
    assert "[a](" not in said


# Words


def test_every_word_of_the_vocabulary_can_be_said() -> None:
    assert set(MEANINGS) == set(Metric)
    assert set(VERDICTS) == set(VERDICT_MEANINGS) == set(Verdict)
    assert set(OUTCOMES) == set(Outcome)
    assert set(FINDINGS) == set(Finding)


@pytest.mark.parametrize("kind", [ReportKind.SUMMARY, ReportKind.DEEP_DIVE, ReportKind.RESULTS])
def test_every_metric_is_explained(kind: ReportKind) -> None:
    source = page(made("empty", kind))
    for metric in Metric:
        assert f"<td>{NAMES[metric]}</td><td>{escape(MEANINGS[metric])}</td>" in source


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_shown_as_it_is(verdict: Verdict) -> None:
    standing_now = content("healthy")
    first, *others = standing_now.assessment.guardrails
    judged = (replace(first, verdict=verdict), *others)
    with_verdict = replace(standing_now, assessment=replace(standing_now.assessment, guardrails=judged))
    row = next(line for line in markdown(with_verdict, ReportKind.SUMMARY).splitlines() if line.startswith("| latency"))
    assert f"| **{VERDICTS[verdict].word}** |" in row
    safe = standing.safe(with_verdict).word
    assert (safe.tone is Tone.GOOD) is (verdict is Verdict.PASS)


# What is read first


def test_results_begin_with_the_decision_and_why() -> None:
    report = made("decided", ReportKind.RESULTS)
    assert (report.lead, report.headline) == (OUTCOMES[Outcome.DEPLOY], content("decided").decision.why)
    assert report.sections[0].title == "Why"


@pytest.mark.parametrize(
    ("name", "believable", "safe", "better"),
    [
        ("empty", Tone.OPEN, Tone.OPEN, Tone.OPEN),
        ("insufficient", Tone.OPEN, Tone.OPEN, Tone.OPEN),
        ("healthy", Tone.GOOD, Tone.GOOD, Tone.OPEN),
        ("rolled_back", Tone.GOOD, Tone.BAD, Tone.OPEN),
        ("decided", Tone.GOOD, Tone.GOOD, Tone.GOOD),
    ],
)
def test_the_first_questions_are_answered(name: str, believable: Tone, safe: Tone, better: Tone) -> None:
    _, *answers, _ = standing.answers(content(name))
    assert [answer.word.tone for answer in answers] == [believable, safe, better]


def test_a_mismatch_of_the_sample_ratio_is_not_believed() -> None:
    now = content("healthy")
    assert isinstance(now.assessment.sample_ratio, SampleRatio)
    split = replace(now.assessment.sample_ratio, p_value=0.0009)
    answer = standing.believable(replace(now, assessment=replace(now.assessment, sample_ratio=split)))
    assert answer.word is standing.NO
    assert "0.0009" in answer.text


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_what_is_no_number_is_not_believed(unknown: float | None) -> None:
    now = content("healthy")
    assert isinstance(now.assessment.sample_ratio, SampleRatio)
    without = replace(now, assessment=replace(now.assessment, crossover_percent=unknown))
    assert standing.believable(without).word is standing.NOT_YET
    split = replace(now.assessment.sample_ratio, p_value=math.nan)
    without = replace(now, assessment=replace(now.assessment, sample_ratio=split))
    assert standing.believable(without).word is standing.NOT_YET
    assert "cannot be told: the test gave no number" in markdown(without, ReportKind.SUMMARY)


def test_clicks_have_a_value_corrected_for_position_beside_them() -> None:
    plain = content("decided")
    assert "corrected for position" not in text(document(plain, ReportKind.RESULTS)).lower()
    said = replace(plain, assessment=replace(plain.assessment, corrected=plain.assessment.primary))
    assert "Corrected for position, which decides nothing, treatment less control is" in text(
        document(said, ReportKind.RESULTS)
    )


def test_who_ended_an_epoch_and_why_is_said() -> None:
    ended = content("rolled_back")
    assert f"Ended by {ended.ledger[-1].who}: {ended.ledger[-1].why}." in standing.where(ended).text
    assert "new epoch" in standing.what_next(ended).text


@pytest.mark.parametrize("kind", [ReportKind.RESULTS, ReportKind.INTERIM_REVIEW])
def test_of_an_epoch_that_was_ended_the_end_comes_first_and_no_decision(kind: ReportKind) -> None:
    ended = content("rolled_back")
    lead, headline = opening(ended, kind)
    assert lead.word == "Rolled back."
    assert ended.ledger[-1].why in headline


def test_a_trigger_without_a_reading_is_not_called_safe() -> None:
    now = content("healthy")
    first, *others = now.assessment.tick.triggers
    asleep = replace(first, crossed=None, reading=replace(first.reading, value=None, lack="15 requests"))
    tick = replace(now.assessment.tick, triggers=(asleep, *others))
    answer = standing.safe(replace(now, assessment=replace(now.assessment, tick=tick)))
    assert answer.word is standing.NOT_YET
    assert "has no reading (15 requests)" in answer.text


def test_after_the_last_look_no_other_is_announced() -> None:
    now = content("healthy")
    last = Look(3, now.looks[-1].at_unix_s if now.looks else 0, 2_600, 2_600, 1.0, 0.9, 1.04, is_last=True)
    over = replace(now, looks=(last,), decision=replace(now.decision, outcome=Outcome.KEEP_RUNNING))
    assert "look of day" not in standing.what_next(over).text


def test_what_comes_next_has_a_date() -> None:
    assert "day 7 is due at 2026-03-09 09:00 UTC" in standing.what_next(content("healthy")).text
    assert "2026-03-19 09:00 UTC" in standing.what_next(content("decided")).text  # the end and three days to decide


def test_a_trigger_says_how_often_it_is_wrong_and_how_soon_right() -> None:
    now = content("healthy")
    measured = Measured(
        command="ra-guard simulate --measure-triggers",
        healthy_runs=2_000,
        false_rollback_percent=0.35,
        false_rollback_percent_upper=0.72,
        fault="4 % of calls failing",
        faulty_runs=500,
        detected_percent=99.2,
        detection_minutes_median=31.0,
    )
    first, *others = now.assessment.tick.triggers

    def told(what: Measured | None) -> str:
        shown = replace(first, alarm=first.alarm.model_copy(update={"measured": what}))
        tick = replace(now.assessment.tick, triggers=(shown, *others))
        return markdown(replace(now, assessment=replace(now.assessment, tick=tick)), ReportKind.SUMMARY)

    assert "not measured" in told(None)
    said = told(measured)
    for part in (
        "0.35 %",
        "2,000 healthy runs",
        "at most 0.72 %",
        "31 minutes",
        "99.2 % of 500 runs with 4 % of calls",
    ):
        assert part in said


# What cannot be told


def test_what_cannot_be_told_is_said_and_not_drawn() -> None:
    report = made("insufficient", ReportKind.RESULTS)
    missing = {block.title for section in report.sections for block in section.blocks if isinstance(block, Missing)}
    assert {"nDCG@10 over time", "Power at the planned end", "Effect by domain"} <= missing
    untold = text(report).split("## What cannot be told")[1].split("##")[0]
    for metric in (Metric.LATENCY_P95, Metric.ERROR_RATE, Metric.SATISFACTION):
        assert f"- {NAMES[metric]}: insufficient" in untold


def test_hours_that_cannot_be_told_leave_no_trace_in_the_picture() -> None:
    now = content("healthy")
    assert now.launched_at is not None
    unknown = Insufficient(Lack.TOO_FEW, "9 users", "100")
    known = [hour for hour in now.hours if isinstance(hour.primary, Effect)]
    early = [hour for hour in now.hours if hour not in known]
    assert early
    line = Timeline(now.definition, int(now.launched_at.timestamp()), now.hours)
    assert plots.effect(line, ()) == plots.effect(replace(line, hours=known), ())
    assert plots.effect(replace(line, hours=early), ()) is None
    untold = [replace(hour, primary=unknown, power_percent=None) for hour in now.hours]
    assert plots.effect(replace(line, hours=untold), ()) is None
    assert plots.power(replace(line, hours=untold)) is None


def test_evidence_that_cannot_be_true_is_no_number() -> None:
    now = content("healthy")
    first, *others = now.assessment.guardrails
    broken = Reading(None, None, None, None, 0, 0, lack="a count that went back", is_broken=True)
    judged = (replace(first, reading=broken, verdict=Verdict.ERROR), *others)
    said = markdown(replace(now, assessment=replace(now.assessment, guardrails=judged)), ReportKind.SUMMARY)
    assert "cannot be true (a count that went back)" in said


def test_anomalies_are_lines_of_what_fires() -> None:
    said = text(made("rolled_back", ReportKind.ANOMALIES))
    assert "- trigger: error\\_rate: above 2 % in treatment for 15 min" in said
    assert "- critical: error\\_rate" in said
    assert "No trigger and no alert fires" in text(made("healthy", ReportKind.ANOMALIES))


def test_who_imports_reports_pays_for_no_pictures() -> None:
    code = "import ra_guard.reports.write, ra_guard.reports.schedule, sys; print('matplotlib' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
