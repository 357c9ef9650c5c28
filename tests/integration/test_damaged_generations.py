"""A published generation that cannot be trusted: the running server says why and goes on with the one it has.

Each is made beside the gallery, damaged there, and moved in with CURRENT last: what a bad disk, a broken copy or a
newer publisher would do.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import xxhash
from ra_guard import _core
from ra_guard.cli import main

from tests.stand_ins.serving_process import SPACE_JSON, Serving, enrol_everyone, publish_gallery, request, serving
from tests.triton_environment import ROOT

NEW = "seed-9-rows-100.shard"
MANIFEST = "generations/0000000002.json"
VERSION_AT, DIM_AT = 8, 48
"""Bytes into a shard, from shard/FORMAT.md."""


def flip(shard: Path, at: int) -> None:
    data = bytearray(shard.read_bytes())
    data[at] ^= 1
    shard.write_bytes(data)


def truncated(gallery: Path) -> None:
    shard = gallery / "shards" / NEW
    shard.write_bytes(shard.read_bytes()[:-1])


def empty(gallery: Path) -> None:
    (gallery / "shards" / NEW).write_bytes(b"")


def another_file(gallery: Path) -> None:
    (gallery / "shards" / NEW).write_bytes(b"GIF89a" * 1000)


def header_flipped(gallery: Path) -> None:
    flip(gallery / "shards" / NEW, DIM_AT)


def embedding_flipped(gallery: Path) -> None:
    # The last row's embedding: nothing that opening a shard looks at.
    shard = gallery / "shards" / NEW
    generation = _core.Generation.open(str(gallery))
    (last,) = generation.ids(99, 100)
    vector = generation.embeddings(generation.lookup([last]))
    flip(shard, shard.read_bytes().index(vector))


def future_version(gallery: Path) -> None:
    shard = gallery / "shards" / NEW
    data = bytearray(shard.read_bytes())
    data[VERSION_AT : VERSION_AT + 4] = (1000).to_bytes(4, "little")
    shard.write_bytes(data)


def missing_file(gallery: Path) -> None:
    (gallery / "shards" / NEW).unlink()


def manifest_flipped(gallery: Path) -> None:
    flip(gallery / MANIFEST, 20)


def missing_manifest(gallery: Path) -> None:
    (gallery / MANIFEST).unlink()


def nonsense_in_current(gallery: Path) -> None:
    (gallery / "CURRENT").write_text("the newest\n")


def another_space(gallery: Path) -> None:
    """A manifest that lists a shard of another space beside ours: no publisher of ours would write it."""
    first, second = (json.loads(path.read_text()) for path in sorted((gallery / "generations").iterdir()))
    other = gallery.parent / "other"
    publish_gallery(other, seed=9, space_json=SPACE_JSON.replace("test", "another"))
    shutil.copy(other / "gallery" / "shards" / NEW, gallery / "shards" / NEW)
    theirs = json.loads(next((other / "gallery" / "generations").iterdir()).read_text())
    second.update(shards=[*first["shards"], *theirs["shards"]], rows=200, checksum="")
    second["checksum"] = xxhash.xxh3_64_hexdigest(json.dumps(second, separators=(",", ":")).encode())
    (gallery / MANIFEST).write_text(json.dumps(second, separators=(",", ":")) + "\n")


Damage = Callable[[Path], None]
DAMAGES: dict[Damage, str] = {
    truncated: "Truncated",
    empty: "Truncated",
    another_file: "NotAShard",
    header_flipped: "ChecksumMismatch",
    embedding_flipped: "ChecksumMismatch",
    future_version: "FutureVersion",
    missing_file: "MissingFile",
    manifest_flipped: "BadManifest",
    missing_manifest: "MissingFile",
    nonsense_in_current: "BadManifest",
    another_space: "SpaceMismatch",
}


SAME_CAUSE_AGAIN: set[Damage] = {empty, missing_manifest, nonsense_in_current}
"""A running server tells one cause once a minute: these would be counted and not told a second time."""


def damaged_gallery(state: Path, damage: Damage) -> Path:
    """Two generations, the second damaged."""
    assert [publish_gallery(state), publish_gallery(state, seed=9)] == [1, 2]
    damage(state / "gallery")
    return state / "gallery"


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_names_the_cause(
    tmp_path: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged_gallery(tmp_path, damage)
    monkeypatch.setenv("RA_GUARD_STATE_DIR", str(tmp_path))
    assert main(["gallery", "verify"]) == 1
    assert f"error: {DAMAGES[damage]}: " in capsys.readouterr().err


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Serving]]:
    state = tmp_path_factory.mktemp("state")
    publish_gallery(state)
    enrol_everyone(state)
    with serving(state, workers=1, RA_GUARD_GALLERY__POLL_S="0.05") as server:
        yield state / "gallery", server


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage not in SAME_CAUSE_AGAIN])
def test_a_running_server_keeps_the_generation_it_has_and_says_why(
    running: tuple[Path, Serving], tmp_path: Path, damage: Damage
) -> None:
    gallery, server = running
    damaged = damaged_gallery(tmp_path, damage)
    before = server.call(request())
    with moved_in(damaged, gallery):
        assert server.line("failure")["variant"] == DAMAGES[damage]
        after = server.call(request())
    assert (before.generation, after.generation) == (1, 1)
    assert (list(after.ranking), list(after.scores)) == (list(before.ranking), list(before.scores))


@contextmanager
def moved_in(damaged: Path, gallery: Path) -> Iterator[None]:
    """Generation 2 of another gallery in this one: what serves is never touched, and CURRENT comes last."""
    moved = [path.relative_to(damaged) for pattern in (f"shards/{NEW}", MANIFEST) for path in damaged.glob(pattern)]
    for path in moved:
        shutil.copy(damaged / path, gallery / path)
    name_current(gallery, "2\n")
    yield
    name_current(gallery, "1\n")
    for path in moved:
        (gallery / path).unlink()


def name_current(gallery: Path, text: str) -> None:
    (gallery / "CURRENT.new").write_text(text)
    (gallery / "CURRENT.new").rename(gallery / "CURRENT")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.stand_ins.serving_process import publish_gallery
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    publish_gallery(Path(sys.argv[1]), seed=11)
except Exception as error:
    sys.exit(error.variant)
"""


def test_a_full_disk_during_a_publish_leaves_the_old_generation_serving(running: tuple[Path, Serving]) -> None:
    gallery, server = running
    before = {path.name for path in gallery.rglob("*")}
    publisher = [sys.executable, "-c", FULL_DISK, str(gallery.parent)]
    done = subprocess.run(publisher, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.stderr.strip() == "DiskFull"
    assert {path.name for path in gallery.rglob("*")} <= {*before, "LOCK"}
    assert server.call(request()).generation == 1
    _core.Generation.open(str(gallery)).verify()


def test_what_was_refused_is_in_nobodys_way(running: tuple[Path, Serving]) -> None:
    gallery, server = running
    second = publish_gallery(gallery.parent, seed=13)
    give_up = time.monotonic() + 30
    while server.call(request()).generation != second:
        assert time.monotonic() < give_up
        time.sleep(0.05)
