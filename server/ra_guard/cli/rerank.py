"""`ra-guard rerank`: one Rerank call for people, as a table or as JSON."""

import json as encoding
import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.table import Table

from ra_guard.cli.terminal import result_console
from ra_guard.client import Detail, RerankClient, RerankFields
from ra_guard.experiments.errors import InvalidInput
from ra_guard.v1 import rerank_pb2

app = cyclopts.App(name="rerank", help="Rerank candidates for one query.")

DEFAULT_POOL = 50
STDIN = "-"
STATES = ("scored", "no detections", "no cosine", "cold", "unknown", "unlicensed")
"""Names for the bytes of RerankResponse.candidate_states."""
NOT_SCORED = "not scored"
"""In place of a state where the answer is the baseline."""
_FEATURES = ("cosine", "consistency", "contradiction", "prior")


class BadCandidates(InvalidInput):
    """Ids named in more than one way, or in a way that names none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One place of the ranking. Positions count from 1; a feature that the server did not have is None."""

    id: str
    before: int
    after: int
    score: float | None
    state: str
    features: dict[str, float | None] = field(default_factory=dict)
    detections: tuple[tuple[str, float], ...] = ()


@app.default
def rerank(
    query: str,
    /,
    *ids: Annotated[str, Parameter(allow_leading_hyphen=True)],
    ids_from: Annotated[Path | None, Parameter(help="A file of ids, one a line, in baseline order.")] = None,
    domain: str = "",
    user: Annotated[str, Parameter(help="The unit of assignment: decides the arm.")] = "cli",
    pool_size: Annotated[int | None, Parameter(help="Without ids: how many the server draws, 1..200.")] = None,
    top_k: Annotated[int, Parameter(help="How many to show; 0 for all.")] = 0,
    required: Annotated[
        tuple[str, ...], Parameter(negative=(), help="A label that good results show; repeatable.")
    ] = (),
    forbidden: Annotated[tuple[str, ...], Parameter(negative=(), help="A label that good results must not show.")] = (),
    licence: Annotated[tuple[str, ...], Parameter(negative=(), help="Leave out results of other licences.")] = (),
    explain: Annotated[bool, Parameter(negative=(), help="Show features, detections and the expectation.")] = False,
    json: Annotated[bool, Parameter(negative=(), help="Print JSON.")] = False,
    server: str = "127.0.0.1:50051",
    timeout_s: float = 10.0,
) -> None:
    """Rerank candidates for one query.

    Give ids as arguments, "-" to read them from standard input, or none at all and the server draws a pool.
    """
    candidates = _candidates(ids, ids_from)
    if candidates and pool_size is not None:
        raise BadCandidates(found="ids and --pool-size", wanted="one of the two", cure="leave one out")
    fields = RerankFields(
        query=query,
        user_id=user,
        domain=domain,
        candidate_ids=candidates,
        pool_size=0 if candidates else (DEFAULT_POOL if pool_size is None else pool_size),
        top_k=top_k,
        required_labels=required,
        forbidden_labels=forbidden,
        allowed_licences=licence,
        detail=Detail.EXPLAINED if explain else Detail.RANKING,
    )
    with RerankClient(server, timeout_s=timeout_s) as client:
        started = time.perf_counter()
        response = client.rerank(**fields)
        call_ms = (time.perf_counter() - started) * 1e3
    rows = rows_of(response, candidates)
    if json:
        print(encoding.dumps(plain(response, rows), ensure_ascii=False, allow_nan=False))
    else:
        _print(response, rows, call_ms)


def rows_of(response: rerank_pb2.RerankResponse, candidates: Sequence[str]) -> list[Row]:
    """The ranking, best first. ``candidates`` are those of the request, or empty when the server drew them."""
    ids = response.ranked_ids or [candidates[position] for position in response.ranking]
    return [
        Row(
            id=name,
            before=position + 1,
            after=after,
            score=_number(response.scores, after - 1),
            state=_state(response, position),
            features={term: _number(getattr(response.explanation, term), position) for term in _FEATURES}
            if response.HasField("explanation")
            else {},
            detections=_detections(response.explanation, position),
        )
        for after, (position, name) in enumerate(zip(response.ranking, ids, strict=True), start=1)
    ]


def plain(response: rerank_pb2.RerankResponse, rows: Iterable[Row]) -> dict[str, object]:
    """A response as JSON values: words instead of numbers for enums, null instead of NaN."""
    counts, stages = response.counts, response.stages
    answer: dict[str, object] = {
        "request_id": response.request_id,
        "status": _status(response),
        "reason": _reason(response),
        "assigned_arm": _arm(response.assigned_arm),
        "served_arm": _arm(response.served_arm),
        "experiment_key": response.experiment_key,
        "plan_revision": response.plan_revision,
        "generation": response.generation,
        "space": response.space,
        "counts": {part.name: getattr(counts, part.name) for part in counts.DESCRIPTOR.fields},
        "stages": {part.name: getattr(stages, part.name) for part in stages.DESCRIPTOR.fields},
        "ranking": [_plain_row(row) for row in rows],
    }
    if response.HasField("explanation"):
        explanation = response.explanation
        weights = explanation.weights
        answer["weights"] = {part.name: _finite(getattr(weights, part.name)) for part in weights.DESCRIPTOR.fields}
        answer["expectation"] = {expected.label: _finite(expected.weight) for expected in explanation.expectation}
        answer["expectation_source"] = _source(explanation)
    return answer


def _candidates(ids: Sequence[str], ids_from: Path | None) -> list[str]:
    if ids and ids_from is not None:
        raise BadCandidates(found="ids and --ids-from", wanted="one of the two", cure="leave one out")
    # The parser lets hyphens through for "-"; anything longer is an option that does not exist.
    if options := [name for name in ids if name.startswith("-") and name != STDIN]:
        raise BadCandidates(
            found=f"option {options[0]}",
            wanted="one that --help lists",
            cure="correct it, or put ids that start with a hyphen into a file for --ids-from",
        )
    if ids_from is None and STDIN not in ids:
        return list(ids)
    if len(ids) > 1:
        raise BadCandidates(found=f"{STDIN} among other ids", wanted=f"{STDIN} alone", cure="leave one out")
    text = sys.stdin.read() if ids_from is None else ids_from.read_text(encoding="utf-8")
    found = [line for line in (raw.strip() for raw in text.splitlines()) if line]
    if not found:
        raise BadCandidates(
            found="no ids", wanted="one a line", cure="check what is read, or let the server draw a pool"
        )
    return found


def _print(response: rerank_pb2.RerankResponse, rows: Sequence[Row], call_ms: float) -> None:
    console = result_console()
    explained = response.HasField("explanation")
    table = Table(box=None, header_style="bold")
    for name in ("after", "before"):
        table.add_column(name, justify="right")
    table.add_column("id", overflow="fold")
    for name in ("score", *(_FEATURES if explained else ())):
        table.add_column(name, justify="right")
    for name in ("detections", "state") if explained else ("state",):
        table.add_column(name)
    for row in rows:
        features = [_shown(row.features[name]) for name in _FEATURES] if explained else []
        detections = [", ".join(f"{_safe(label)} {confidence:.2f}" for label, confidence in row.detections)]
        table.add_row(
            str(row.after),
            str(row.before),
            _safe(row.id),
            _shown(row.score),
            *features,
            *(detections if explained else ()),
            row.state,
        )
    console.print(table)
    for line in _status_lines(response, call_ms):
        console.print(line, soft_wrap=True)


def _status_lines(response: rerank_pb2.RerankResponse, call_ms: float) -> Iterable[str]:
    if response.HasField("explanation"):
        explanation = response.explanation
        expected = ", ".join(f"{_safe(label.label)} {label.weight:.2f}" for label in explanation.expectation)
        yield f"expects {expected or 'nothing'} (from {_source(explanation) or 'nowhere'})"
    reason = _reason(response)
    yield (
        f"{_status(response)}{f' because {reason}' if reason else ''}, arm {_arm(response.assigned_arm)}, "
        f"served {_arm(response.served_arm)}, plan {response.plan_revision}, generation {response.generation}"
    )
    stages = response.stages
    named = [(part.name.removesuffix("_ns"), getattr(stages, part.name) / 1e3) for part in stages.DESCRIPTOR.fields]
    yield f"{', '.join(f'{name} {us:.1f}' for name, us in named)} us of {call_ms:.2f} ms for the call"


def _plain_row(row: Row) -> dict[str, object]:
    shown: dict[str, object] = {
        "id": row.id,
        "before": row.before,
        "after": row.after,
        "score": row.score,
        "state": row.state,
    }
    if row.features:
        detections = [{"label": label, "confidence": confidence} for label, confidence in row.detections]
        return {**shown, **row.features, "detections": detections}
    return shown


def _detections(explanation: rerank_pb2.Explanation, position: int) -> tuple[tuple[str, float], ...]:
    if position >= len(explanation.detections):
        return ()
    return tuple((found.label, found.confidence) for found in explanation.detections[position].detections)


def _number(column: Sequence[float], position: int) -> float | None:
    return _finite(column[position]) if position < len(column) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _state(response: rerank_pb2.RerankResponse, position: int) -> str:
    if not response.candidate_states:
        return STATES[0] if response.scores else NOT_SCORED
    code = response.candidate_states[position]
    return STATES[code] if code < len(STATES) else f"state {code}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _safe(text: str) -> str:
    """Ids and labels come from elsewhere: nothing in them may steer the terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _status(response: rerank_pb2.RerankResponse) -> str:
    return rerank_pb2.Status.Name(response.status).removeprefix("STATUS_")


def _reason(response: rerank_pb2.RerankResponse) -> str | None:
    return rerank_pb2.Reason.Name(response.reason).removeprefix("REASON_") if response.reason else None


def _arm(arm: rerank_pb2.Arm) -> str:
    return rerank_pb2.Arm.Name(arm).removeprefix("ARM_").lower()


def _source(explanation: rerank_pb2.Explanation) -> str | None:
    source = explanation.expectation_source
    prefix = "EXPECTATION_SOURCE_"
    return rerank_pb2.ExpectationSource.Name(source).removeprefix(prefix).lower() if source else None
