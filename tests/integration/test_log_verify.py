"""Replaying real logs: clean ones are clean in every mode, a changed bit is named, what is missing is told apart."""

import struct
from collections import Counter
from pathlib import Path

import pytest
from ra_guard import _core
from ra_guard.logs.layout import PlanName
from ra_guard.logs.plans import StoredPlans, longest_retention_days
from ra_guard.logs.verify import NOTHING, Finding, Outcome, ReplaySampler, SegmentReader, Verification, Verifier
from ra_guard.v1 import plan_pb2

from tests.integration.test_log_export import World, request
from tests.stand_ins.log_segments import sealed_bytes
from tests.stand_ins.serving_process import KEY

READER = SegmentReader(_core.read_log, _core.read_log_columns)
CALLS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One segment a mode: A/B, shadow, interleaving, rollout, under plans 1, 2, 3 and 4."""
    world = World(tmp_path_factory.mktemp("verify"))
    engine = world.engine()
    for mode in plan_pb2.Mode.values()[1:]:
        world.plan(engine, revision=int(mode), mode=mode, retention_days=int(mode) * 30)
        for number in range(CALLS):
            engine.rerank(request(number, f"user-{number}"))
        engine.roll_log()
    engine.close_log()
    return world


def segments(world: World) -> list[Path]:
    return sorted(world.folders.candidates.glob("*.log"))


def verifier(world: World, plans: Path | None = None, gallery: Path | None = None) -> Verifier:
    replay = _core.Replay(str(gallery or world.root / "gallery"))
    return Verifier(replay, StoredPlans(plans or world.folders.plans, None), READER)


def test_a_clean_log_is_clean_in_every_mode(world: World) -> None:
    check = verifier(world)
    found = NOTHING
    for path in segments(world):
        found += check.segment(path)
    assert found == Verification(4, 4 * CALLS, Counter({Outcome.SAME: 4 * CALLS}), ())
    assert found.clean


def scored(path: Path) -> int:
    """The number of a record that has scores."""
    return next(number for number, record in enumerate(_core.read_log(str(path))) if score_of(record) is not None)


def score_of(record: bytes) -> bytes | None:
    """The bytes of the last candidate's score."""
    scores = _core.describe_record(record).get("score")
    return struct.pack("<f", scores[-1]) if isinstance(scores, list) and scores else None


def changed(path: Path, number: int, into: Path) -> Path:
    """A sound segment in which the last bit of one score is another."""
    records = list(_core.read_log(str(path)))
    score = score_of(records[number])
    assert score is not None
    before, _, after = records[number].rpartition(score)
    records[number] = before + bytes([score[0] ^ 1]) + score[1:] + after
    into.write_bytes(sealed_bytes("0", 7, records))
    return into


def test_the_first_difference_is_named_with_its_place(world: World, tmp_path: Path) -> None:
    whole = segments(world)[0]
    number = scored(whole)
    found = verifier(world).segment(changed(whole, number, tmp_path / f"0-{7:020}-000000.log"))
    assert not found.clean
    assert found.outcomes == {Outcome.SAME: CALLS - 1, Outcome.DIFFERENT: 1}
    (finding,) = found.findings
    assert (finding.segment, finding.record, finding.request_id) == (f"0-{7:020}-000000.log", number, f"r-{number}")
    assert "score" in finding.what
    assert str(finding).startswith(f"{finding.segment} record {number} request 'r-{number}': different: ")


def test_a_missing_plan_is_no_difference_and_neither_is_a_missing_generation(world: World, tmp_path: Path) -> None:
    path = segments(world)[0]
    without_plans = verifier(world, plans=tmp_path).segment(path)
    assert without_plans.outcomes == {Outcome.NO_PLAN: CALLS}
    (finding,) = without_plans.findings
    assert finding.record == 0
    without_gallery = verifier(world, gallery=tmp_path).segment(path)
    assert without_gallery.outcomes[Outcome.NO_GENERATION] > 0
    assert without_gallery.outcomes[Outcome.DIFFERENT] == 0
    assert not without_gallery.clean


def test_bytes_that_are_no_record_and_files_that_are_no_log(world: World, tmp_path: Path) -> None:
    odd = tmp_path / f"0-{7:020}-000000.log"
    odd.write_bytes(sealed_bytes("0", 7, [b"no record"]))
    assert verifier(world).segment(odd).outcomes == {Outcome.UNREADABLE: 1}
    torn = tmp_path / f"1-{7:020}-000000.log"
    torn.write_bytes(segments(world)[0].read_bytes()[:-9])
    found = verifier(world).segment(torn)
    assert (found.records, [finding.record for finding in found.findings]) == (0, [None])
    both = found + verifier(world).segment(odd)
    assert (both.segments, both.outcomes, len(both.findings)) == (2, {Outcome.UNREADABLE: 2}, 1)


def test_a_sample_is_the_same_each_time_and_grows_with_its_share(world: World) -> None:
    check, path = verifier(world), segments(world)[0]
    sizes = [check.sample(path, share).records for share in (0.0, 0.1, 0.1, 0.5, 1.0)]
    assert sizes[0] == 0
    assert sizes[1] == sizes[2]
    assert sizes == sorted(sizes)
    assert sizes[-1] == CALLS
    assert 10 < sizes[3] < 50


def test_the_sampler_counts_and_reports(world: World, tmp_path: Path) -> None:
    reported: list[Finding] = []
    sampler = ReplaySampler(verifier(world), 1.0, reported.append)
    sampler.examine(segments(world)[0])
    assert (sampler.checked, sampler.different, sampler.unreadable, reported) == (CALLS, 0, 0, [])
    number = scored(segments(world)[0])
    sampler.examine(changed(segments(world)[0], number, tmp_path / f"0-{7:020}-000000.log"))
    assert (sampler.checked, sampler.different, sampler.unreadable) == (2 * CALLS, 1, 0)
    assert [finding.record for finding in reported] == [number]
    blind = ReplaySampler(verifier(world, plans=tmp_path), 1.0, reported.append)
    blind.examine(segments(world)[0])
    assert (blind.different, blind.unreadable) == (0, CALLS)


def test_plans_come_from_the_objects_when_the_folder_has_none(world: World, tmp_path: Path) -> None:
    objects = world.store
    for path in world.folders.plans.iterdir():
        objects.put_new(f"plans/{KEY}/{path.stem.rpartition('-')[2]}.plan", path.read_bytes())
    plans = StoredPlans(tmp_path, objects)
    assert plans(PlanName(KEY, 2)) == (world.folders.plans / f"{KEY}-2.sealed").read_bytes()
    assert plans(PlanName(KEY, 9)) is None
    check = Verifier(_core.Replay(str(world.root / "gallery")), plans, READER)
    assert check.segment(segments(world)[2]).clean
    assert longest_retention_days(objects) == 120
    assert longest_retention_days(World(tmp_path).store) is None
