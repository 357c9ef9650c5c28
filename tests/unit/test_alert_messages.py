"""What messages say, and to whom."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from ra_guard.alerts.board import State
from ra_guard.alerts.message import Kind, Links, Message
from ra_guard.alerts.notices import Notices, trial, unwatched
from ra_guard.alerts.receivers import redacted, without_secrets
from ra_guard.alerts.wording import found, lasted
from ra_guard.experiments.control_store import Entry
from ra_guard.experiments.definition.vocabulary import ReportKind, Route, Severity, Team
from ra_guard.experiments.monitor.outcomes import Advance, Reading, RollBack
from ra_guard.stats.outcome import Interval

from tests.stand_ins.assessments import look
from tests.stand_ins.definitions import definition
from tests.stand_ins.ticks import ALERTS, BOARD, ERRORS, START, Found, at, tick

NOTICES = Notices(BOARD.definition, BOARD.links)
ROLL_BACK = RollBack("error rate above 2 % for 15 minutes", {"error_rate_percent": 2.4}, has_shared_cause=False)
EVERY_ROUTE = tuple(Route)


def test_an_alert_says_what_was_found_what_follows_and_whom_it_reaches() -> None:
    (message,) = BOARD.advance(State(), tick({ERRORS: Found.CROSSED}), START)[1]
    assert message.plain.splitlines() == [
        "error rate in treatment above 2 % for 5 minutes: found 3.20 %.",
        "",
        "Found: 3.20 %",
        (
            "Alert when: error rate in treatment above 2 % for 5 minutes "
            "(as observed over the last 15 minutes, from 200 requests in treatment, with 80 % of the readings)"
        ),
        "Arms: control 0.40 % from 1,204 requests, treatment 2.40 % from 1,188 requests",
        "Since: 2026-03-01 12:00 UTC",
        (
            "What happens next: product management is called at 2026-03-01 12:30 UTC (level 2) unless somebody "
            "acknowledges it; the trigger 'error rate in treatment above 2 % for 15 minutes' rolls the experiment back "
            "by itself; the guardrail 'error rate below control + 1 percentage point', once breached, rolls it back by "
            "itself"
        ),
        "Goes to: technical team (level 1), by slack and email",
        "To take it up: ra-guard experiment acknowledge ra_guard_enhancement error_rate-critical --why REASON",
        "Alert: error_rate-critical",
        "Dashboard: https://dashboards.example/ra",
        "Runbook: https://run.book/",
    ]


def test_every_alert_of_the_template_says_all_of_it_in_both_forms() -> None:
    for message in BOARD.advance(State(), tick(dict.fromkeys(ALERTS, Found.CROSSED)), START)[1]:
        for label in ("Found", "Alert when", "Since", "What happens next", "Goes to", "Alert", "Dashboard"):
            assert f"\n{label}: " in message.plain, message.alert
            assert f"**{label}:** " in message.markdown, message.alert


def test_markdown_shows_what_people_wrote_and_obeys_none_of_it() -> None:
    why = "*bold* <!channel> [here](http://evil) `code` _so_\n# title"
    message = NOTICES.evidence_unreadable(why, START)
    assert r"\*bold\* \<!channel\> \[here\](http://evil) \`code\` \_so\_ # title" in message.markdown
    assert "ra_guard_enhancement" in NOTICES.rolled_back(ROLL_BACK, 100, START).markdown


def test_a_rollback_is_critical_and_goes_every_way_that_critical_alerts_go() -> None:
    message = NOTICES.rolled_back(ROLL_BACK, 1000, START)
    assert (message.kind, message.severity) == (Kind.ROLLED_BACK, Severity.CRITICAL)
    assert set(message.routes) == {Route.SLACK, Route.EMAIL}
    assert message.to == (Team.TECHNICAL,)
    assert "rolled back at 10 %: error rate above 2 % for 15 minutes" in message.summary
    assert "error rate percent: 2.4" in message.plain


def test_a_rollback_reaches_every_route_when_no_alert_is_critical() -> None:
    text = definition(*[('severity = "critical"\nmetric', 'severity = "medium"\nmetric')] * 3)
    assert Notices(text, Links()).rolled_back(ROLL_BACK, 1000, START).routes == EVERY_ROUTE


def test_missing_evidence_says_when_the_rollback_comes() -> None:
    message = NOTICES.evidence_missing(START, 100, at(10))
    assert "for 10 min, with 1 % of users treated" in message.summary
    assert "rolls back by itself at 2026-03-01 13:00 UTC" in message.plain
    assert message.severity is Severity.HIGH


@pytest.mark.parametrize(
    ("message", "routes", "to"),
    [
        (NOTICES.ramp_advanced(Advance(500, "all gates hold", {}), 100, START), (Route.SLACK,), (Team.TECHNICAL,)),
        (NOTICES.decision_due(look(3, 1.0), START), (Route.EMAIL,), (Team.STAKEHOLDERS,)),
        (NOTICES.decision_due(look(14, 1.0), START), (Route.EMAIL,), (Team.STAKEHOLDERS,)),
        (NOTICES.report_ready(ReportKind.BRIEFING, "All is well.", (), START), (Route.EMAIL,), (Team.EXECUTIVES,)),
    ],
)
def test_news_goes_to_the_readers_of_the_reports(
    message: Message, routes: tuple[Route, ...], to: tuple[Team, ...]
) -> None:
    assert (message.severity, message.routes, message.to) == (None, routes, to)


def test_a_report_carries_its_files() -> None:
    message = NOTICES.report_ready(ReportKind.SUMMARY, "All is well.", (Path("a/day.html"), Path("a/day.md")), START)
    assert message.attachments == (Path("a/day.html"), Path("a/day.md"))
    assert "Files: day.html, day.md" in message.plain


def test_the_last_look_asks_for_a_decision_and_the_others_for_none() -> None:
    assert "a person decides within 3 days" in NOTICES.decision_due(look(14, 1.0), START).plain
    assert "goes on by itself" in NOTICES.decision_due(look(7, 1.0), START).plain
    early = NOTICES.decision_due(look(7, 1.0, is_last=True), START)
    assert early.title.endswith("day 7: decision due"), "the planned users have come"


def test_whoever_ended_the_epoch_is_named() -> None:
    line = Entry("mine", 12, START, "a flag", "the flag is off", "kill at ramp 5 %")
    message = NOTICES.ended(line)
    assert (message.kind, message.severity, message.to) == (Kind.KILLED, Severity.CRITICAL, (Team.TECHNICAL,))
    assert "kill at ramp 5 %, by a flag: the flag is off" in message.summary
    rolled_back = NOTICES.ended(replace(line, what="roll back from ramp 5 %, close epoch 1"))
    assert rolled_back.kind is Kind.ROLLED_BACK


def test_a_failed_guardrail_says_what_it_holds_up() -> None:
    latency, _, satisfaction = NOTICES.definition.metrics.guardrails
    reading = Reading(130.0, None, 300.0, 430.0, 2_000, 2_000)
    message = NOTICES.guardrail_failed(latency, reading, START)
    assert message.severity is latency.severity
    assert "found +130 ms" in message.summary
    assert "holds the ramp" in message.plain
    assert "holds the decision" in NOTICES.guardrail_failed(satisfaction, reading, START).plain


def test_a_ramp_that_waits_says_for_what() -> None:
    message = NOTICES.ramp_waits(("approval: nobody has approved 5 %",), 100, START)
    assert "nobody has approved 5 %" in message.plain
    assert message.severity is None


def test_who_cannot_be_asked_for_readers_is_told_of_by_every_route() -> None:
    message = unwatched("mine", Links(), START, "found nobody", START + timedelta(minutes=4))
    assert (message.routes, message.to, message.severity) == (tuple(Route), (), Severity.CRITICAL)
    assert "for 4 min" in message.summary


def test_a_test_says_that_it_is_one() -> None:
    message = trial(START)
    assert message.title.startswith("[TEST]")
    assert message.routes == EVERY_ROUTE


def test_a_reading_shows_its_interval_or_what_it_lacks() -> None:
    latency = ALERTS[1]
    assert found(latency, Reading(250.0, Interval(201.0, float("inf")), 1, 2, 3, 4)) == ("+250 ms, interval from +201")
    assert found(latency, Reading(None, None, None, None, 3, 4, "3 of 100 requests")) == (
        "cannot be told (3 of 100 requests)"
    )


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(minutes=80), "1 h 20 min"),
        (timedelta(days=2, minutes=3), "2 d 3 min"),
    ],
)
def test_spans_read_as_people_say_them(time: timedelta, words: str) -> None:
    assert lasted(time) == words


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#c", "slack://..."),
        ("https://hooks.slack.com/services/T1/B2/secret", "https://hooks.slack.com"),
        ("mailtos://user:p@ss@smtp.example.com:465?to=a@b.example", "mailtos://smtp.example.com:465"),
        ("tgram://123.token/chat", "tgram://..."),
        ("secret", "no URL"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_what_a_library_says_is_told_without_the_address_s_secrets() -> None:
    address = "https://user:hid%2Dden@hooks.example.com/services/T1234?key=key-value"
    said = "hooks.example.com refused /services/T1234?key=key-value for user:hid-den and user:hid%2Dden"
    told = without_secrets(said, address)
    assert told.startswith("hooks.example.com refused")
    assert not [secret for secret in ("T1234", "key-value", "hid-den", "hid%2Dden", "user:") if secret in told]
