"""Receivers of messages that run here: a webhook that answers as it is told to, and a mail server.

The webhook stands in for Slack's: Apprise's Slack service posts to ``NotifySlack.webhook_url``, and the one thing that
`slack_webhook` changes is that address. Path, tokens, payload, and how the answer is read are Apprise's own.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from apprise.plugins.slack import NotifySlack
from ra_guard.alerts.addresses import Address, addresses_of
from ra_guard.config import load

TOKENS = ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ")
SLACK = f"slack://{'/'.join(TOKENS)}/"


def leading_to(**alerts: Any) -> tuple[Address, ...]:
    """The addresses of a configuration with these lists, and these teams."""
    return addresses_of(load(overrides={"alerts": alerts}, environ={}).alerts)


@dataclass
class Webhook:
    """Takes JSON by POST, unless it is told to refuse or to keep silent."""

    port: int = 0
    status: int = 200
    is_silent: bool = False
    """Accepts and does not answer, until `answer_at_last`."""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Path and payload of everything that was posted, taken or not."""
    _answers: threading.Event = field(default_factory=threading.Event)

    def answer_at_last(self) -> None:
        """Answers whatever was accepted, and is silent no more."""
        self.is_silent = False
        self._answers.set()

    def await_answers(self) -> None:
        """Holds an answer back."""
        self._answers.wait()

    @property
    def json_address(self) -> str:
        """As Apprise has it, for its plain JSON service."""
        return f"json://127.0.0.1:{self.port}/way-in"

    def titles(self) -> list[str]:
        """What was posted to the plain JSON service, in order."""
        return [payload["title"] for _, payload in self.requests]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook on a port of its own."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.requests.append((self.path, payload))
            if hook.is_silent:
                hook.await_answers()
            with suppress(OSError):  # whoever asked may have gone
                self.send_response(hook.status)
                self.end_headers()
                self.wfile.write(b"ok" if hook.status == 200 else b"no")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hook
    finally:
        hook.answer_at_last()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def slack_webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A webhook that messages to ``slack://`` arrive at."""
    with webhook() as hook:
        monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{hook.port}/services")
        yield hook


@dataclass
class Mailbox:
    """What a mail server took."""

    address: str = ""
    """As Apprise has it, with a password that the server does not ask for."""
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's)
        """Takes a mail."""
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextmanager
def mail_server(free_port: int) -> Iterator[Mailbox]:
    """A mail server on a port that is free."""
    box = Mailbox(f"mailto://127.0.0.1:{free_port}?mode=insecure&from=ra-guard@example.com&to=team@example.com")
    controller = Controller(box, hostname="127.0.0.1", port=free_port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until something holds; how long it takes is not what is tested."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
