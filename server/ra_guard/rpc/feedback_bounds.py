"""The bounds of feedback.proto, and the words for an event that breaks one.

One cause for each bound; an event is rejected for the first that it breaks, in the order of its fields.
"""

from enum import StrEnum
from typing import Final

from ra_guard.v1 import feedback_pb2 as wire

MAX_BATCH: Final = 1000
MAX_EVENT_ID_BYTES: Final = 64
MAX_REQUEST_ID_BYTES: Final = 64
MAX_CANDIDATE_ID_BYTES: Final = 128
MAX_TEXT_BYTES: Final = 512
MAX_DEPTH: Final = 1000
MAX_STARS: Final = 5
MAX_GRADE: Final = 10
MAX_AHEAD_S: Final = 3600
"""How far a caller's clock may be ahead of ours."""
NS_PER_S: Final = 1_000_000_000


class Cause(StrEnum):
    """Why an event is rejected, in the words of the summary."""

    UNREADABLE_BATCH = "batch that is no FeedbackBatch, counted as one"
    BATCH_TOO_LARGE = f"event of a batch of more than {MAX_BATCH}"
    UNREADABLE = "not a FeedbackEvent, or a text that is not UTF-8"
    EVENT_ID_MISSING = "event_id is missing"
    EVENT_ID_TOO_LONG = f"event_id is longer than {MAX_EVENT_ID_BYTES} bytes"
    REQUEST_ID_MISSING = "request_id is missing"
    REQUEST_ID_TOO_LONG = f"request_id is longer than {MAX_REQUEST_ID_BYTES} bytes"
    OCCURRED_AT_MISSING = "occurred_at is missing"
    OCCURRED_AT_INVALID = "occurred_at is no time after 1970"
    OCCURRED_AT_AHEAD = f"occurred_at is more than {MAX_AHEAD_S} s ahead of the server's clock"
    KIND_MISSING = "kind is missing"
    DEPTH = f"impression.depth is not in 1..{MAX_DEPTH}"
    CANDIDATE_ID_MISSING = "candidate_id is missing"
    CANDIDATE_ID_TOO_LONG = f"candidate_id is longer than {MAX_CANDIDATE_ID_BYTES} bytes"
    STARS = f"rating.stars is not in 1..{MAX_STARS}"
    TEXT_TOO_LONG = f"complaint.text is longer than {MAX_TEXT_BYTES} bytes"
    GRADE = f"judgment.grade is not in 0..{MAX_GRADE}"


def cause_against(event: wire.FeedbackEvent, received_ns: int) -> Cause | None:
    """The first bound of feedback.proto that an event breaks, in the order of its fields; None for a sound one."""
    event_id, request_id = len(event.event_id.encode()), len(event.request_id.encode())
    if event_id == 0:
        return Cause.EVENT_ID_MISSING
    if event_id > MAX_EVENT_ID_BYTES:
        return Cause.EVENT_ID_TOO_LONG
    if request_id == 0:
        return Cause.REQUEST_ID_MISSING
    if request_id > MAX_REQUEST_ID_BYTES:
        return Cause.REQUEST_ID_TOO_LONG
    return _cause_against_time(event, received_ns) or _cause_against_kind(event)


def occurred_ns(event: wire.FeedbackEvent) -> int:
    """When it happened by the caller's clock, Unix nanoseconds."""
    return event.occurred_at.seconds * NS_PER_S + event.occurred_at.nanos


def _cause_against_time(event: wire.FeedbackEvent, received_ns: int) -> Cause | None:
    if not event.HasField("occurred_at"):
        return Cause.OCCURRED_AT_MISSING
    if not 0 <= event.occurred_at.nanos < NS_PER_S or event.occurred_at.seconds <= 0:
        return Cause.OCCURRED_AT_INVALID
    if occurred_ns(event) > received_ns + MAX_AHEAD_S * NS_PER_S:
        return Cause.OCCURRED_AT_AHEAD
    return None


def _cause_against_kind(event: wire.FeedbackEvent) -> Cause | None:
    kind = event.WhichOneof("kind")
    if kind is None:
        return Cause.KIND_MISSING
    if kind == "impression":
        return None if 1 <= event.impression.depth <= MAX_DEPTH else Cause.DEPTH
    if kind == "click":
        return _cause_against_candidate(event.click.candidate_id)
    if kind == "rating":
        return None if 1 <= event.rating.stars <= MAX_STARS else Cause.STARS
    if kind == "complaint":
        complaint = event.complaint
        if len(complaint.text.encode()) > MAX_TEXT_BYTES:
            return Cause.TEXT_TOO_LONG
        return _cause_against_candidate(complaint.candidate_id) if complaint.candidate_id else None
    grade = None if event.judgment.grade <= MAX_GRADE else Cause.GRADE
    return _cause_against_candidate(event.judgment.candidate_id) or grade


def _cause_against_candidate(candidate_id: str) -> Cause | None:
    if not candidate_id:
        return Cause.CANDIDATE_ID_MISSING
    return Cause.CANDIDATE_ID_TOO_LONG if len(candidate_id.encode()) > MAX_CANDIDATE_ID_BYTES else None
