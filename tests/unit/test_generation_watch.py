from pathlib import Path

import pytest
from ra_guard import _core
from ra_guard.errors import GenerationTooLarge
from ra_guard.serving import generation_watch
from ra_guard.serving.generation_watch import GenerationLoader, GenerationWatcher

from tests.stand_ins.serving_core import ScriptedCore, core_error


class Opened:
    def __init__(self, number: int, events: list[str], size: int = 100) -> None:
        self.number, self.bytes, self._events = number, size, events

    def verify_checksums(self, checked: "Opened | None") -> None:
        self._events.append(f"check {self.number} beside {checked.number if checked else 0}")

    def populate(self) -> int:
        self._events.append(f"populate {self.number}")
        return self.bytes


class Gallery:
    """Stands for the files of a gallery: what `Generation.open` finds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.events: list[str] = []
        self.refused: BaseException | None = None
        self.size = 100
        monkeypatch.setattr(generation_watch, "Generation", self)

    def publish(self, number: int) -> None:
        (self.folder / "CURRENT").write_text(f"{number}\n")

    def open(self, gallery: str, number: int | None) -> Opened:
        assert gallery == str(self.folder)
        if self.refused is not None:
            raise self.refused
        found = int((self.folder / "CURRENT").read_text()) if number is None else number
        return Opened(found, self.events, self.size)


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gallery:
    return Gallery(tmp_path, monkeypatch)


def loader(core: ScriptedCore, gallery: Gallery) -> GenerationLoader:
    def prepare(generation: _core.Generation) -> None:
        in_service = core.serving.number if core.serving else 0
        gallery.events.append(f"prepare {generation.number} while {in_service} serves")

    return GenerationLoader(core.engine, gallery.folder, memory_limit_bytes=1000, prepare=prepare)


def test_a_generation_is_warm_and_prepared_before_it_serves(gallery: Gallery) -> None:
    core = ScriptedCore()
    gallery.publish(3)
    assert loader(core, gallery).load() == (3, 0)
    assert loader(core, gallery).load(5) == (5, 3)
    assert gallery.events == [
        "check 3 beside 0",
        "populate 3",
        "prepare 3 while 0 serves",
        "check 5 beside 3",
        "populate 5",
        "prepare 5 while 3 serves",
    ]


def test_a_generation_beyond_the_memory_limit_is_refused_and_the_old_one_stays(gallery: Gallery) -> None:
    core = ScriptedCore()
    gallery.publish(1)
    loader(core, gallery).load()
    gallery.size = 1001
    with pytest.raises(GenerationTooLarge, match=r"generation 2: found 1001.*memory_limit_bytes is 1000"):
        loader(core, gallery).load(2)
    assert core.serving.number == 1
    assert "populate 2" not in gallery.events


def test_the_watcher_loads_what_is_published_once(gallery: Gallery) -> None:
    core = ScriptedCore()
    reported: list[BaseException] = []
    watcher = GenerationWatcher(loader(core, gallery), poll_s=60, report=reported.append)
    watcher.poll()
    assert not core.serving
    assert reported == [], "a gallery without a generation is no failure"
    gallery.publish(1)
    watcher.poll()
    watcher.poll()
    gallery.publish(2)
    watcher.poll()
    assert core.serving.number == 2
    assert [event for event in gallery.events if event.startswith("populate")] == ["populate 1", "populate 2"]


def test_a_refused_generation_is_reported_and_tried_again(gallery: Gallery) -> None:
    core = ScriptedCore()
    reported: list[BaseException] = []
    gallery.publish(1)
    gallery.refused = core_error(_core.ShardError, "MissingFile")
    watcher = GenerationWatcher(loader(core, gallery), poll_s=60, report=reported.append)
    watcher.poll()
    assert reported == [gallery.refused]
    gallery.refused = None
    watcher.poll()
    assert core.serving.number == 1


def test_a_generation_chosen_by_hand_is_not_undone_by_the_next_look(gallery: Gallery) -> None:
    core = ScriptedCore()
    gallery.publish(2)
    by_hand = loader(core, gallery)
    watcher = GenerationWatcher(by_hand, poll_s=60, report=lambda _: None)
    watcher.poll()
    by_hand.load(1)
    watcher.poll()
    assert core.serving.number == 1


def test_the_thread_follows_current(gallery: Gallery) -> None:
    core = ScriptedCore()
    gallery.publish(1)
    watcher = GenerationWatcher(loader(core, gallery), poll_s=0.005, report=lambda _: None)
    watcher.start()
    assert core.serving.number == 1, "loaded before start returns"
    watcher.close()
