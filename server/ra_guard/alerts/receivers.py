"""One address that takes messages, through Apprise: the only importer of it.

Apprise takes about two seconds to load and knows more than a hundred services, so the thread that sends first loads it.
Addresses hold tokens and passwords, and none of them leaves this file: Apprise's own log is silenced, and what it says
of a failure is handed on without whatever also stands in the address.
"""

import logging
import re
import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from ra_guard.alerts.message import Kind, Message
from ra_guard.experiments.definition.vocabulary import Severity

if TYPE_CHECKING:
    import apprise

DELIVERED: Final = ""
"""Why a message was not taken, where it was."""

_WITH_HOST: Final = {"http", "https", "json", "jsons", "mailto", "mailtos", "xml", "xmls"}
"""Schemes whose host is a host. Elsewhere it may be the token itself, as in slack://token-a/token-b/token-c."""

_SHORTEST_SECRET: Final = 3
"""Shorter pieces of an address are parts of any word, and stay in a failure's words."""


@dataclass(frozen=True)
class _Attempt:
    """A message on its way, and why it was not taken once that is known."""

    message: Message
    why: Future[str]


class Receiver:
    """One address. Used by one thread at a time."""

    def __init__(self, place: str, address: str) -> None:
        self.name = f"{place} ({redacted(address)})"
        """Which one it is, without its secrets; ``place`` is where the configuration has it."""
        self._address = address
        self._service: apprise.Apprise | None = None
        self._under_way: _Attempt | None = None

    def deliver(self, message: Message, within_s: float) -> str:
        """Sends a message; returns why it was not taken, or `DELIVERED`.

        A send that has not ended in time keeps its thread, and no second one is started beside it: the next call
        waits for it first, as long again. So a receiver that never answers costs one thread, however often it is tried.
        """
        if (before := self._under_way) is not None:
            if wait([before.why], within_s).not_done:
                return _no_answer(within_s)
            self._under_way = None
            if before.message is message and before.why.result() == DELIVERED:
                return DELIVERED
        attempt = _Attempt(message, Future())
        threading.Thread(target=self._send, args=(attempt,), name="alert", daemon=True).start()
        if wait([attempt.why], within_s).not_done:
            self._under_way = attempt
            return _no_answer(within_s)
        return attempt.why.result()

    def _send(self, attempt: _Attempt) -> None:
        try:
            attempt.why.set_result(self._notify(attempt.message))
        except BaseException as error:  # noqa: BLE001 (whatever a library does, the next message is tried)
            attempt.why.set_result(f"{type(error).__name__}: {without_secrets(str(error), self._address)}")

    def _notify(self, message: Message) -> str:
        import apprise
        from apprise.attachment.file import AttachFile

        if self._service is None:
            self._service = _opened(self._address)
        if not self._service:
            return (
                "found an address that Apprise does not know, wanted one like slack://... or mailtos://...; correct it"
            )
        paths = [str(path) for path in message.attachments if path.exists()]
        files = [AttachFile(path) for path in paths]  # type: ignore[no-untyped-call]
        result = self._service.notify(
            title=message.title,
            body=message.markdown,
            body_format=apprise.NotifyFormat.MARKDOWN,
            notify_type=_colour(message),
            attach=apprise.AppriseAttachment(files) if files else None,
        )
        if result:
            return DELIVERED
        said = " ".join(entry.message for entry in result.logs())
        return without_secrets(said, self._address) or "the receiver did not take it"


def redacted(address: str) -> str:
    """The scheme of an address, and its host where that cannot be a secret."""
    scheme, separator, rest = address.partition("://")
    if not separator or not re.fullmatch(r"[a-z0-9]{2,20}", scheme):
        return "no URL"
    host = re.split(r"[/?#]", rest)[0].rpartition("@")[2] if scheme in _WITH_HOST else ""
    return f"{scheme}://{host or '...'}"


def without_secrets(text: str, address: str) -> str:
    """A text with every piece of the address but its host and scheme taken out, encoded or not."""
    shown = redacted(address)
    rest = address.partition("://")[2] or address
    pieces = {piece for written in (rest, unquote(rest)) for piece in re.split(r"[/:@?&=#\s]+", written)}
    secrets = {piece for piece in pieces if len(piece) >= _SHORTEST_SECRET and piece not in shown}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "...")
    return text


def _opened(address: str) -> "apprise.Apprise":
    """Apprise with one service, or with none where it does not know the address. Opens no connection.

    One at a time and without a limit of its own, so that it sends in this thread: with a limit it would use a
    pool that all receivers share, and one that hangs would hold up the others.
    """
    import apprise

    _silence(logging.getLogger("apprise"))
    asset = apprise.AppriseAsset(
        service_timeout=0,
        async_mode=False,
        app_id="RA-Guard",
        app_desc="RA-Guard",
        image_url_mask="",
        language="en",
    )
    service = apprise.Apprise(asset=asset)
    service.add([address])
    return service


def _silence(log: logging.Logger) -> None:
    """Keeps it from every handler but the one that `notify` hangs on it; below WARNING it names whole addresses."""
    log.setLevel(logging.WARNING)
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _colour(message: Message) -> "apprise.NotifyType":
    """What Apprise colours a message by."""
    import apprise

    if message.kind is Kind.RECOVERED:
        return apprise.NotifyType.SUCCESS
    if message.severity is None or message.kind is Kind.WITHDRAWN:
        return apprise.NotifyType.INFO
    return apprise.NotifyType.FAILURE if message.severity is Severity.CRITICAL else apprise.NotifyType.WARNING


def _no_answer(within_s: float) -> str:
    return f"no answer within {within_s:g} s"
