"""Messages on their way, to real sockets: what arrives, and what a bad receiver does to the others."""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ra_guard.alerts.board import State
from ra_guard.alerts.delivery import Delivery, Limits, deliver_now
from ra_guard.alerts.errors import MessageDropped, NotDelivered
from ra_guard.alerts.message import Message
from ra_guard.alerts.notices import Notices, trial
from ra_guard.experiments.definition.vocabulary import ReportKind, Route, Team

from tests.stand_ins.postgres import free_port
from tests.stand_ins.receivers import (
    SLACK,
    TOKENS,
    Webhook,
    eventually,
    leading_to,
    mail_server,
    slack_webhook,
    webhook,
)
from tests.stand_ins.ticks import BOARD, ERRORS, START, Found, at, tick

pytestmark = pytest.mark.usefixtures("apprise_is_loaded")

FAST = Limits(queue=8, answer_s=10, first_pause_s=0.02, longest_pause_s=0.1, keep_s=60)
CLOSED = "json://127.0.0.1:1/way-in"
"""Nobody listens there."""


@pytest.fixture(scope="module")
def apprise_is_loaded() -> None:
    """Once, so that the limits of the tests need not allow for it."""
    deliver_now(leading_to(slack=("unknown://x",)), trial(START), 60)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as started:
        yield started


def fired() -> Message:
    return BOARD.advance(State(), tick({ERRORS: Found.CROSSED}), START)[1][0]


def refuse(failure: BaseException) -> None:
    raise AssertionError(failure)


def numbered(count: int) -> list[Message]:
    return [replace(trial(START), title=str(number)) for number in range(count)]


def test_slack_gets_the_message_at_the_tokens_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with slack_webhook(monkeypatch) as slack:
        (outcome,) = deliver_now(leading_to(slack=(SLACK,)), fired(), 10)
    assert outcome.why_not == ""
    ((path, payload),) = slack.requests
    assert path == f"/services/{'/'.join(TOKENS)}"
    (attachment,) = payload["attachments"]
    assert attachment["title"] == "[CRITICAL] ra_guard_enhancement: error rate in treatment above 2 % for 5 minutes"
    for words in ("*Found:* 3.20 %", "treatment 2.40 % from 1,188 requests", "*Alert:* error_rate-critical", "level 2"):
        assert words in attachment["text"]
    assert "<https://dashboards.example/ra>" in attachment["text"]
    assert "icon_url" not in payload, "nothing that Slack would fetch from elsewhere"


def test_slack_is_not_made_to_notify_a_channel_or_follow_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    words = replace(fired(), summary="see <!channel> and <https://evil.example|here>")
    with slack_webhook(monkeypatch) as slack:
        deliver_now(leading_to(slack=(SLACK,)), words, 10)
    text = slack.requests[0][1]["attachments"][0]["text"]
    assert "<!channel>" not in text
    assert "<https://evil" not in text


def test_mail_arrives_as_text_and_as_html_with_the_report(tmp_path: Path) -> None:
    report = tmp_path / "summary.html"
    report.write_text("<p>All is well.</p>")
    message = Notices(BOARD.definition, BOARD.links).report_ready(
        ReportKind.SUMMARY, "All is well.", (report, tmp_path / "gone.md"), START
    )
    with mail_server(free_port()) as box:
        (outcome,) = deliver_now(leading_to(email=(box.address,)), message, 20)
    assert outcome.why_not == ""
    (mail,) = box.mails
    assert mail["To"] == "team@example.com"
    assert mail["Subject"] == "ra_guard_enhancement: summary report"
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert "All is well." in text.get_content()
    assert 'href="https://dashboards.example/ra"' in html.get_content()
    (attached,) = mail.iter_attachments()
    assert (attached.get_filename(), attached.get_content().strip()) == ("summary.html", "<p>All is well.</p>")


def test_each_receiver_says_whether_it_took_the_message(hook: Webhook) -> None:
    with webhook() as refusing:
        refusing.status = 403
        addresses = (hook.json_address, refusing.json_address, CLOSED, "slack://a-token")
        outcomes = deliver_now(leading_to(slack=addresses), trial(START), 10)
    assert [bool(outcome.why_not) for outcome in outcomes] == [False, True, True, True]
    assert "403" in outcomes[1].why_not
    assert "Connection" in outcomes[2].why_not
    assert "does not know" in outcomes[3].why_not
    assert outcomes[2].receiver == "slack 3 (json://127.0.0.1:1)"


def test_a_message_goes_to_its_own_routes_only(hook: Webhook) -> None:
    only_mail = replace(trial(START), routes=(Route.EMAIL,))
    delivery = Delivery(leading_to(slack=(hook.json_address,)), refuse, FAST)
    delivery.start()
    delivery.offer(only_mail)
    delivery.close(10)
    assert hook.requests == []


def test_an_escalated_alert_reaches_the_mailbox_of_its_level_and_no_other(hook: Webhook) -> None:
    with mail_server(free_port()) as product, mail_server(free_port()) as executives:
        addresses = leading_to(
            slack=(hook.json_address,),
            email=(hook.json_address,),
            teams={
                "product_management": {"slack": (hook.json_address,), "email": (product.address,)},
                "executive_leadership": {"email": (executives.address,)},
            },
        )
        delivery = Delivery(addresses, refuse, FAST)
        delivery.start()
        state, subjects = State(), []
        for minute in (0, 31, 32, 38):  # fires, climbs to level 2, is quiet, has recovered
            found = Found.CROSSED if minute < 32 else Found.HEALTHY
            state, messages = BOARD.advance(state, tick({ERRORS: found}), at(minute))
            for message in messages:
                delivery.offer(message)
                subjects.append(message.title)
        delivery.close(20)
    fired, escalated, recovered = subjects
    assert [mail["Subject"] for mail in product.mails] == [escalated, recovered]
    assert executives.mails == [], "level 3 was not called"
    by_slack_and_mail = [fired, fired, recovered, recovered]
    assert sorted(hook.titles()) == sorted([*by_slack_and_mail, escalated]), "once a route, whoever shares it"


def test_messages_arrive_in_order_and_are_counted(hook: Webhook) -> None:
    delivery = Delivery(leading_to(slack=(hook.json_address,)), refuse, FAST)
    for message in numbered(8):
        delivery.offer(message)
    delivery.start()
    delivery.close(20)
    assert hook.titles() == [str(number) for number in range(8)]
    (counts,) = delivery.counts()
    assert (counts.delivered, counts.waiting, counts.given_up, counts.dropped) == (8, 0, 0, 0)


def test_a_receiver_that_comes_back_gets_what_waited(hook: Webhook) -> None:
    hook.status = 503
    failures: list[BaseException] = []
    delivery = Delivery(leading_to(slack=(hook.json_address,)), failures.append, FAST)
    delivery.start()
    for message in numbered(2):
        delivery.offer(message)
    eventually(lambda: hook.titles().count("0") >= 3)
    hook.status = 200
    eventually(lambda: delivery.counts()[0].delivered == 2)
    delivery.close(10)
    assert hook.titles()[-1] == "1"
    assert [type(failure) for failure in failures] == [NotDelivered], "the first failure is told, not every try"
    assert "503" in str(failures[0])


def test_a_message_that_nobody_takes_is_given_up_and_told() -> None:
    failures: list[BaseException] = []
    delivery = Delivery(leading_to(slack=(CLOSED,)), failures.append, replace(FAST, keep_s=0.2))
    delivery.start()
    delivery.offer(trial(START))
    eventually(lambda: delivery.counts()[0].given_up == 1)
    delivery.close(5)
    assert str(failures[-1]).endswith("given up")


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_bad_receiver_holds_up_nobody(hook: Webhook, is_silent: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    with webhook() as bad:
        bad.status, bad.is_silent = 500, is_silent
        delivery = Delivery(
            leading_to(slack=(f"{bad.json_address}?rto=60",), email=(hook.json_address,)),
            lambda _: None,
            replace(FAST, answer_s=0.1),
        )
        delivery.start()
        for message in numbered(30):
            delivery.offer(message)
            eventually(lambda sent=message: sent.title in hook.titles())  # type: ignore[misc]
        eventually(lambda: delivery.counts()[1].delivered == 30)
        held_up, _ = delivery.counts()
        delivery.close(0.2)
    assert held_up.delivered == 0
    assert held_up.dropped > 0
    assert held_up.waiting <= FAST.queue + 1
    assert not is_silent or len(bad.requests) == 1, "one send at a time, however often it is tried"


def test_an_answer_that_comes_late_counts_and_nothing_is_sent_twice(hook: Webhook) -> None:
    hook.is_silent = True
    failures: list[BaseException] = []
    addresses = leading_to(slack=(f"{hook.json_address}?rto=60",))
    delivery = Delivery(addresses, failures.append, replace(FAST, answer_s=0.1))
    delivery.start()
    delivery.offer(trial(START))
    eventually(lambda: len(failures) == 1)
    hook.answer_at_last()
    eventually(lambda: delivery.counts()[0].delivered == 1)
    delivery.close(5)
    assert len(hook.requests) == 1
    assert "no answer within 0.1 s" in str(failures[0])


def test_a_send_that_ends_without_an_answer_is_made_again(hook: Webhook) -> None:
    hook.is_silent = True
    delivery = Delivery(leading_to(slack=(f"{hook.json_address}?rto=1",)), lambda _: None, replace(FAST, answer_s=0.1))
    delivery.start()
    delivery.offer(trial(START))
    eventually(lambda: len(hook.requests) == 1)
    hook.is_silent = False
    eventually(lambda: delivery.counts()[0].delivered == 1)
    delivery.close(5)
    assert len(hook.requests) == 2


def test_what_waits_beyond_the_queue_is_dropped_the_oldest_first(hook: Webhook) -> None:
    failures: list[BaseException] = []
    delivery = Delivery(leading_to(slack=(hook.json_address,)), failures.append, replace(FAST, queue=3))
    for message in numbered(5):
        delivery.offer(message)
    delivery.start()
    delivery.close(10)
    assert hook.titles() == ["2", "3", "4"]
    assert [type(failure) for failure in failures] == [MessageDropped, MessageDropped]
    assert "'0' dropped, 3 wait already" in str(failures[0])


def test_closing_ends_in_time_and_counts_what_is_left(hook: Webhook) -> None:
    hook.is_silent = True
    failures: list[BaseException] = []
    delivery = Delivery(leading_to(slack=(hook.json_address,)), failures.append, FAST)
    delivery.start()
    for message in numbered(3):
        delivery.offer(message)
    eventually(lambda: len(hook.requests) == 1)
    started = time.monotonic()
    delivery.close(0.2)
    assert time.monotonic() - started < FAST.answer_s, "it waits for its own limit, not for the receiver"
    delivery.offer(trial(START))
    (counts,) = delivery.counts()
    assert (counts.waiting, counts.dropped) == (0, 4)
    assert all(isinstance(failure, MessageDropped) for failure in failures[-4:])


def test_no_failure_and_no_log_tells_a_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = (*TOKENS, "hidden-word", "hidden%2Dword", "hidden-way", "team@example.com")
    mail = "mailto://user:hidden%2Dword@127.0.0.1:1?mode=insecure&from=a@example.com&to=team@example.com"
    own = {"qa_team": {"email": (mail,)}}
    addresses = leading_to(slack=(SLACK, "json://127.0.0.1:1/hidden-way?+Auth=hidden-word"), teams=own)
    failures: list[BaseException] = []
    with slack_webhook(monkeypatch) as slack, caplog.at_level(logging.DEBUG):
        logging.getLogger("urllib3").setLevel(logging.INFO)  # it names paths at DEBUG, which RA-Guard never sets
        slack.status = 403
        outcomes = deliver_now(addresses, trial(START), 20)
        delivery = Delivery(addresses, failures.append, replace(FAST, keep_s=0))
        delivery.start()
        delivery.offer(replace(trial(START), to=(Team.QA, Team.DATA)))
        eventually(lambda: len(failures) == 3)
        delivery.close(5)
    said = (*addresses, *outcomes, *failures, *delivery.counts())
    shown = [*map(str, said), caplog.text, *capfd.readouterr()]
    assert all(outcome.why_not for outcome in outcomes)
    assert not [secret for secret in secrets for text in shown if secret in text]


def test_apprise_is_loaded_by_whoever_sends_and_by_nobody_else() -> None:
    code = "import sys, ra_guard.alerts.delivery, ra_guard.alerts.notices; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_is_asked_of_the_network_but_the_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[object] = []
    connect = socket.socket.connect

    def record(self: socket.socket, address: object) -> None:
        connected.append(address)
        connect(self, address)  # type: ignore[arg-type]

    with slack_webhook(monkeypatch) as slack:
        monkeypatch.setattr(socket.socket, "connect", record)
        deliver_now(leading_to(slack=(SLACK,)), fired(), 10)
        assert connected == [("127.0.0.1", slack.port)]
