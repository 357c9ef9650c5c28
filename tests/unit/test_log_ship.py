"""Shipping: every segment arrives once and whole, whatever fails and wherever a shipper is killed."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ra_guard import _core
from ra_guard.logs.errors import ObjectsFull, ObjectsUnreachable
from ra_guard.logs.layout import Kind, Run, counts_key, live_counts_key
from ra_guard.logs.objects import Objects, StoredObjects
from ra_guard.logs.ship import Folders, Shipper, ShipReport, Workers

from tests.stand_ins.log_segments import Faulty, at, put_segment

RUN = Run("0", at("2026-01-02"))


class Killed(BaseException):
    """The process ends here."""


class Place:
    """Folders of a worker, and the store that they go to."""

    def __init__(self, root: Path) -> None:
        self.folders = Folders(root / "candidates", root / "feedback", root / "plans")
        self.store = StoredObjects.open(str(root / "objects"))
        self.ended = True
        for folder in (self.folders.candidates, self.folders.feedback, self.folders.plans):
            folder.mkdir(parents=True)

    def shipper(self, objects: Objects | None = None, examine: Callable[[Path], None] | None = None) -> Shipper:
        workers = Workers(lambda folder: _core.recover_logs(str(folder)), lambda _: self.ended)
        return Shipper(self.folders, objects or self.store, workers, examine)

    def fill(self) -> dict[str, bytes]:
        """Two logs, two plans and the counts of an ended run; returns what must lie among the objects in the end."""
        made = {}
        for day, sequence in [("2026-01-02", 0), ("2026-01-03", 1)]:
            path = put_segment(self.folders.candidates, "0", RUN.run, sequence)
            path.write_bytes(put_segment(self.folders.plans.parent / "x", "0", at(day), sequence).read_bytes())
            made[f"candidates/day={day}/{path.name}"] = path.read_bytes()
        path = put_segment(self.folders.feedback, "1", at("2026-01-03", 5), payloads=[b"event"], kind=1)
        made[f"feedback/day=2026-01-03/{path.name}"] = path.read_bytes()
        for revision in (1, 12):
            (self.folders.plans / f"my-key.x-{revision}.sealed").write_bytes(b"plan %d" % revision)
            made[f"plans/my-key.x/{revision}.plan"] = b"plan %d" % revision
        (self.folders.candidates / RUN.counts_name).write_bytes(b"counts")
        made[counts_key(RUN)] = b"counts"
        return made

    def objects(self) -> dict[str, bytes]:
        return {
            listed.key: self.store.read(listed.key)
            for prefix in ("candidates/", "feedback/", "plans/", "counts/")
            for listed in self.store.under(prefix)
        }

    def local(self) -> list[Path]:
        return [*self.folders.candidates.iterdir(), *self.folders.feedback.iterdir()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_everything_sealed_goes_up_and_then_away(place: Place) -> None:
    wanted = place.fill()
    report = place.shipper().run_once()
    assert (report.shipped, report.plans, report.counts, report.failure, report.refused) == (3, 2, 1, None, ())
    assert report.shipped_bytes == sum(len(data) for key, data in wanted.items() if key.endswith(".log"))
    assert place.objects() == wanted
    assert place.local() == []
    assert place.store.days(Kind.CANDIDATES) == [date(2026, 1, 2), date(2026, 1, 3)]
    again = place.shipper().run_once()
    assert again == ShipReport()
    assert place.objects() == wanted


def test_killed_anywhere_and_run_again_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Before and behind every step that a pass takes with the store."""
    for behind in (False, True):
        step = 0
        while True:
            place = Place(tmp_path / f"{behind}-{step}")
            wanted = place.fill()
            steps = iter(range(step, -1, -1))

            def dies(_: str, __: str, steps=steps) -> None:  # type: ignore[no-untyped-def]
                if next(steps, -1) == 0:
                    raise Killed

            faults = (lambda _, __: None, dies) if behind else (dies, lambda _, __: None)
            try:
                place.shipper(Faulty(place.store, *faults)).run_once()
                break
            except Killed:
                pass
            report = place.shipper().run_once()
            assert (report.failure, report.refused, report.waiting) == (None, (), 0)
            assert place.objects() == wanted
            assert place.local() == []
            step += 1
        assert step >= len(wanted)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.sampled_from([ObjectsUnreachable, ObjectsFull]))
def test_an_outage_loses_nothing_and_says_how_much_waits(
    tmp_path_factory: pytest.TempPathFactory, fails: list[bool], kind: type[ObjectsUnreachable | ObjectsFull]
) -> None:
    place = Place(tmp_path_factory.mktemp("ship"))
    wanted = place.fill()
    answers = iter(fails)

    def fault(_: str, __: str) -> None:
        if next(answers, False):
            raise kind("the store is out")

    shipper = place.shipper(Faulty(place.store, fault))
    for _ in range(len(fails) + 1):
        report = shipper.run_once()
        segments = [path for path in place.local() if path.suffix == ".log"]
        assert report.waiting == len(segments)
        assert report.waiting_bytes == sum(path.stat().st_size for path in segments)
        held = {path.read_bytes() for path in segments} | set(place.objects().values())
        assert held >= {data for key, data in wanted.items() if key.endswith(".log")}
        if report.failure is None:
            break
        assert report.failure == "the store is out"
    assert place.objects() == wanted
    assert place.local() == []


def test_another_content_under_the_name_is_refused_and_kept(place: Place) -> None:
    wanted = place.fill()
    keys = sorted(key for key in wanted if key.startswith("candidates/"))
    place.store.put_new(keys[0], b"?" * len(wanted[keys[0]]))
    place.store.put_new(keys[1], b"another size")
    report = place.shipper().run_once()
    assert (report.shipped, report.waiting) == (1, 2)
    assert [("other bytes" in why, "wanted" in why) for why in report.refused] == [(True, False), (False, True)]
    assert sorted(path.read_bytes() for path in place.folders.candidates.glob("*.log")) == sorted(
        wanted[key] for key in keys
    )
    assert report.counts == 0, "the counts of a run follow its last segment"


def test_what_is_no_segment_stays_and_holds_up_nobody(place: Place) -> None:
    wanted = place.fill()
    (place.folders.candidates / "notes.log").write_bytes(b"")
    torn = place.folders.candidates / f"7-{at('2026-01-02'):020}-000000.log"
    torn.write_bytes(b"RAGCLOG\n")
    flipped = put_segment(place.folders.feedback, "8", at("2026-01-02"), kind=1)
    flipped.write_bytes(flipped.read_bytes()[:20] + b"\xff" + flipped.read_bytes()[21:])
    put_segment(place.folders.feedback, "9", at("2026-01-02"), kind=0)
    (place.folders.plans / "noplan.sealed").write_bytes(b"")
    report = place.shipper().run_once()
    assert place.objects() == wanted
    assert len(report.refused) == 5
    assert report.waiting == 4


def test_a_living_runs_counts_are_shown_and_an_ended_ones_are_final(place: Place) -> None:
    counts = place.folders.candidates / RUN.counts_name
    place.ended = False
    for state in (b"first", b"later"):
        counts.write_bytes(state)
        assert place.shipper().run_once().counts == 0
        assert place.objects() == {live_counts_key(RUN): state}
    place.ended = True
    open_segment = place.folders.candidates / f"0-{RUN.run:020}-000000.open"
    open_segment.write_bytes(b"what recovery refuses")
    place.shipper().run_once()
    assert place.objects() == {live_counts_key(RUN): b"later"}
    open_segment.unlink()
    assert place.shipper().run_once().counts == 1
    assert place.objects() == {counts_key(RUN): b"later"}
    assert not counts.exists()


def test_counts_of_a_writer_that_offered_nothing_are_no_refusal(place: Place) -> None:
    def has_ended(path: Path) -> bool:
        return not _core.read_counts(str(path))["alive"]

    (place.folders.candidates / RUN.counts_name).write_bytes(b"")
    (place.folders.candidates / Run("1", 7).counts_name).write_bytes(b"no counts at all")
    workers = Workers(lambda folder: _core.recover_logs(str(folder)), has_ended)
    report = Shipper(place.folders, place.store, workers).run_once()
    assert [Run("1", 7).counts_name in why for why in report.refused] == [True]


def test_each_candidate_segment_is_examined_once_before_it_goes(place: Place) -> None:
    place.fill()
    examined: list[str] = []
    outages = iter([False, False, False, False, True])  # both plans go, the first segment does not

    def fault(_: str, __: str) -> None:
        if next(outages, False):
            raise ObjectsUnreachable("out")

    def examine(path: Path) -> None:
        assert path.exists()
        examined.append(path.name)

    shipper = place.shipper(Faulty(place.store, fault), examine)
    assert shipper.run_once().failure == "out"
    assert shipper.run_once().failure is None
    assert [name.rpartition("-")[2] for name in examined] == ["000000.log", "000001.log"]


def test_plans_are_sent_again_by_nobody_who_remembers(place: Place) -> None:
    place.fill()
    asked: list[str] = []
    shipper = place.shipper(Faulty(place.store, lambda step, key: asked.append(f"{step} {key}")))
    shipper.run_once()
    asked.clear()
    shipper.run_once()
    assert asked == []


def test_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    workers = Workers(lambda folder: _core.recover_logs(str(folder)), lambda _: True)
    assert Shipper(folders, StoredObjects.open(str(tmp_path / "o")), workers).run_once() == ShipReport()
