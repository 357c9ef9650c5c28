"""From a real engine's log to Parquet: every value arrives, every file once, and what is broken is named."""

import re
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from ra_guard import _core
from ra_guard.logs.errors import NothingExported
from ra_guard.logs.exposures import Arm, exposures
from ra_guard.logs.layout import Kind, day_prefix, segment_key, segment_of
from ra_guard.logs.objects import StoredObjects
from ra_guard.logs.parquet import LogReader, Progress, Span, export
from ra_guard.logs.ship import Folders, Shipper, Workers
from ra_guard.v1 import feedback_pb2, plan_pb2, rerank_pb2

from tests.stand_ins.log_segments import at, put_segment
from tests.stand_ins.serving_process import KEY, SPACE, publish_gallery, unit_rows

READER = LogReader(_core.read_log_columns, _core.read_feedback, _core.read_counts)
EVERYTHING = Span()
USERS = 40


def untold(_: Progress) -> None:
    pass


class World:
    """One worker's folders with real logs in them, and the store that they are shipped to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders = Folders(root / "candidates", root / "feedback", root / "plans")
        self.store = StoredObjects.open(str(root / "objects"))
        self.out = root / "evidence"
        for folder in (self.folders.candidates, self.folders.feedback, self.folders.plans):
            folder.mkdir()
        publish_gallery(root, objects=1)

    def engine(self, writer: str = "0") -> _core.Engine:
        engine = _core.Engine(query_cache_entries=8, log_dir=str(self.folders.candidates), log_writer=writer)
        engine.publish_generation(_core.Generation.open(str(self.root / "gallery")))
        return engine

    def plan(self, engine: _core.Engine, **changes: Any) -> None:
        plan = plan_pb2.Plan(revision=1, experiment_key=KEY, ramp_bp=5000, lease_s=60, epoch=1, mode=plan_pb2.MODE_AB)
        plan.default_weights.cosine = 1.0
        plan.MergeFrom(plan_pb2.Plan(**changes))
        sealed = _core.seal_plan(plan.SerializeToString())
        engine.publish_plan(sealed)
        (self.folders.plans / f"{KEY}-{plan.revision}.sealed").write_bytes(sealed)

    def ship(self) -> None:
        workers = Workers(
            lambda folder: _core.recover_logs(str(folder)), lambda path: not _core.read_counts(str(path))["alive"]
        )
        report = Shipper(self.folders, self.store, workers).run_once()
        assert (report.failure, report.refused) == (None, ())

    def tables(self, kind: Kind) -> list[dict[str, Any]]:
        files = sorted((self.out / kind.value).glob("day=*/*.parquet"))
        return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def request(number: int, user: str) -> bytes:
    return rerank_pb2.RerankRequest(
        request_id=f"r-{number}",
        user_id=user,
        embedding=rerank_pb2.QueryEmbedding(values=unit_rows(number, 1).tobytes(), space=SPACE),
        candidate_ids=[f"image-{row}" for row in range(number % 7 + 1)],
        baseline_scores=[1.0 / (row + 1) for row in range(number % 7 + 1)] if number % 2 else [],
        domain="pets" if number % 3 else "",
        top_k=number % 4,
    ).SerializeToString()


def click(number: int, *, seconds_ago: int = 0, event_id: str = "") -> bytes:
    event = feedback_pb2.FeedbackEvent(event_id=event_id or f"e-{number}", request_id=f"r-{number}")
    event.occurred_at.FromNanoseconds(at("2026-03-04") - seconds_ago * 1_000_000_000)
    event.click.candidate_id = "image-1"
    return event.SerializeToString()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def described(path: Path) -> list[dict[str, Any]]:
    return [dict(_core.describe_record(record)) for record in _core.read_log(str(path))]


def test_every_value_of_every_record_arrives(world: World) -> None:
    engine = world.engine()
    world.plan(engine)
    for number in range(USERS):
        engine.rerank(request(number, f"user-{number}"))
        if number == USERS // 2 - 1:
            engine.roll_log()
    engine.close_log()
    wanted = [record for path in sorted(world.folders.candidates.glob("*.log")) for record in described(path)]
    world.ship()
    report = export(world.store, world.out, EVERYTHING, READER, untold)
    assert (report.exported, report.already_there, report.rows, report.plans, report.runs) == (2, 0, USERS, 1, 1)
    rows = world.tables(Kind.CANDIDATES)
    assert len(rows) == len(wanted) == USERS
    for row, record in zip(rows, wanted, strict=True):
        call = rerank_pb2.RerankRequest.FromString(record["request"])
        for name in ("unix_ns", "assigned_arm", "served_arm", "status", "reason", "experiment_key", "plan_revision"):
            assert row[name] == record[name], name
        assert row["elapsed_us"] == record["elapsed_us"] > 0
        assert (row["request_id"], row["user_id"], row["domain"]) == (call.request_id, call.user_id, call.domain)
        assert row["candidate_ids"] == list(call.candidate_ids)
        assert same(row["baseline_scores"], call.baseline_scores)
        assert row["ranking"] == record["ranking"]
        assert same(row["weights"], record["weights"])
        for name in ("cosine", "consistency", "contradiction", "prior", "score"):
            assert same(row[name], record.get(name, [])), name
        assert (row["writer"], row["query_text"]) == ("0", "")
    assert [(row["sequence"], row["record"]) for row in rows] == [
        (sequence, record) for sequence, size in ((0, USERS // 2), (1, USERS // 2)) for record in range(size)
    ]


def same(found: Sequence[float], wanted: Sequence[float]) -> bool:
    return np.asarray(found, "<f4").tobytes() == np.asarray(list(wanted), "<f4").tobytes()


def test_feedback_arrives_as_it_was_sent(world: World) -> None:
    log = _core.FeedbackLog(folder=str(world.folders.feedback), writer="0")
    occurred = at("2026-03-04")
    kinds: dict[str, Any] = {
        "impression": feedback_pb2.Impression(depth=7),
        "click": feedback_pb2.Click(candidate_id="image-1"),
        "rating": feedback_pb2.Rating(stars=4),
        "complaint": feedback_pb2.Complaint(candidate_id="", text="ugly"),
        "judgment": feedback_pb2.Judgment(candidate_id="image-2", grade=0),
    }
    for number, (kind, said) in enumerate(kinds.items()):
        event = feedback_pb2.FeedbackEvent(event_id=kind, request_id="r-1", **{kind: said})
        event.occurred_at.FromNanoseconds(occurred + 7)
        log.append(occurred + number, [event.SerializeToString()])
    log.close()
    world.ship()
    export(world.store, world.out, EVERYTHING, READER, untold)
    rows = {row["kind"]: row for row in world.tables(Kind.FEEDBACK)}
    assert list(rows) == list(kinds)
    said = ("candidate_id", "depth", "stars", "grade", "text")
    assert {kind: tuple(row[name] for name in said) for kind, row in rows.items()} == {
        "impression": (None, 7, None, None, None),
        "click": ("image-1", None, None, None, None),
        "rating": (None, None, 4, None, None),
        "complaint": ("", None, None, None, "ugly"),
        "judgment": ("image-2", None, None, 0, None),
    }
    for number, row in enumerate(rows.values()):
        assert (row["received_unix_ns"], row["occurred_unix_ns"]) == (occurred + number, occurred + 7)
        assert (row["request_id"], row["event_id"], row["record"]) == ("r-1", row["kind"], number)
    assert report_days(world) == [date(2026, 3, 4)]


def report_days(world: World) -> list[date]:
    return world.store.days(Kind.FEEDBACK)


def test_again_writes_nothing_and_a_damaged_or_outdated_file_is_written_anew(world: World) -> None:
    for day in ("2026-03-04", "2026-03-05"):
        put_segment(world.folders.feedback, "0", at(day), payloads=[bytes(8) + click(1)], kind=1)
    world.ship()
    assert export(world.store, world.out, EVERYTHING, READER, untold).exported == 2
    files = sorted(world.out.rglob("day=*/*.parquet"))
    stamps = [file.stat().st_mtime_ns for file in files]
    again = export(world.store, world.out, EVERYTHING, READER, untold)
    assert (again.exported, again.already_there) == (0, 2)
    assert [file.stat().st_mtime_ns for file in files] == stamps
    files[0].write_bytes(files[0].read_bytes()[:-10])
    outdated = pq.read_table(files[1], partitioning=None).replace_schema_metadata({"ra_guard.schema": "1"})
    pq.write_table(outdated, files[1])
    assert export(world.store, world.out, EVERYTHING, READER, untold).exported == 2
    assert not list(world.out.rglob("*.tmp"))


def test_only_the_days_asked_for_and_progress_to_the_end(world: World) -> None:
    for day in ("2026-03-04", "2026-03-05", "2026-03-06"):
        put_segment(world.folders.feedback, "0", at(day), payloads=[bytes(8) + click(1)], kind=1)
    world.ship()
    seen: list[Progress] = []
    only = date(2026, 3, 5)
    assert export(world.store, world.out, Span(only, only), READER, seen.append).days == (only,)
    assert export(world.store, world.out, Span(only), READER, seen.append).days == (only, date(2026, 3, 6))
    assert all(step.done_bytes <= step.total_bytes for step in seen)
    assert seen[-1].done_bytes == seen[-1].total_bytes > 0


def test_a_damaged_segment_is_named_and_holds_up_nobody(world: World) -> None:
    good = put_segment(world.folders.feedback, "0", at("2026-03-04"), payloads=[bytes(8) + click(1)], kind=1)
    bad = put_segment(world.folders.feedback, "1", at("2026-03-04"), payloads=[bytes(8) + click(2)], kind=1)
    bad.write_bytes(bad.read_bytes()[:-30] + b"\xff" + bad.read_bytes()[-29:])
    odd = put_segment(world.folders.feedback, "2", at("2026-03-04"), payloads=[bytes(8) + b"\xff\xff"], kind=1)
    world.ship()
    report = export(world.store, world.out, EVERYTHING, READER, untold)
    assert report.exported == 1
    assert len(report.refused) == 2
    assert [path.stem for path in world.out.rglob("day=*/*.parquet")] == [good.stem]
    assert odd.stem in report.refused[1]


def test_exposures_of_a_real_log(world: World) -> None:
    engine = world.engine()
    world.plan(engine)
    answers = [engine.rerank(request(number, f"user-{number}")) for number in range(1, USERS)]
    engine.rerank(request(1, "user-1"))
    feedback = _core.FeedbackLog(folder=str(world.folders.feedback), writer="0")
    received = at("2026-03-04", 10)
    feedback.append(received, [click(1), click(2), click(2), click(3, seconds_ago=90_000), click(9_999)])
    feedback.close()
    engine.close_log()
    del engine
    world.ship()
    export(world.store, world.out, EVERYTHING, READER, untold)
    found = exposures(world.out, KEY, received + 1)
    by_arm = {arm: sum(answer.assigned_arm == arm for answer in answers) for arm in (Arm.control, Arm.treatment)}
    (epoch,) = found.epochs
    assert {arm.arm: arm.calls for arm in epoch.arms} == by_arm
    assert {arm.arm: arm.users for arm in epoch.arms} == by_arm
    assert sum(arm.repeated for arm in epoch.arms) == 1
    assert (epoch.epoch, epoch.crossed_users, epoch.control_served_treatment) == (1, 0, 0)
    counts = found.feedback
    assert (counts.received, counts.matched, counts.duplicates, counts.late, counts.waiting) == (5, 2, 1, 1, 1)
    assert sum(sum(arm.feedback.values()) for arm in epoch.arms) == 2
    assert [(loss.offered, loss.sealed, loss.lost) for loss in found.losses.arms] == [
        (calls, calls, 0)
        for calls in (0, by_arm[Arm.control] + once(answers, 1), by_arm[Arm.treatment] + once(answers, 2), 0)
    ]
    assert (found.losses.ended_runs, found.losses.living_runs) == (1, 0)


def once(answers: Sequence[_core.Answer], arm: int) -> int:
    """The call that was made twice, when it was this arm's."""
    return int(answers[0].assigned_arm == arm)


def documented(heading: str) -> set[str]:
    """The columns that a section of FORMAT.md describes: in the first cells of its table, or anywhere in its text."""
    text = files("ra_guard.logs").joinpath("FORMAT.md").read_text(encoding="utf-8")
    section = text.partition(f"### `{heading}")[2].partition("\n#")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", " ".join(cells) or section.partition("\n")[2]))


def test_the_format_page_describes_every_column_and_no_other(world: World) -> None:
    engine = world.engine()
    world.plan(engine)
    engine.rerank(request(1, "user-1"))
    engine.close_log()
    put_segment(world.folders.feedback, "0", at("2026-03-04"), payloads=[bytes(8) + click(1)], kind=1)
    world.ship()
    export(world.store, world.out, EVERYTHING, READER, untold)
    place = {"writer", "run", "sequence", "record"}
    for name in ("candidates", "feedback", "plans", "counts"):
        (file,) = [path for path in world.out.rglob("*.parquet") if name in str(path.relative_to(world.out))]
        columns = set(pq.read_schema(file).names)
        assert documented(name) == columns - (place if name in {"candidates", "feedback"} else set()), name


def test_nothing_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(NothingExported, match="ra-guard log export"):
        exposures(tmp_path, KEY, 0)


def test_names_lead_back_to_segments(world: World) -> None:
    path = put_segment(world.folders.candidates, "a-b.c", at("2026-03-04"), 7)
    key = segment_key(Kind.CANDIDATES, date(2026, 3, 4), segment_of(path))
    assert key == f"{day_prefix(Kind.CANDIDATES, date(2026, 3, 4))}{path.name}"
    assert segment_of(key) == segment_of(path)
