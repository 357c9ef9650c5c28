import datetime
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from ra_guard.gallery.catalogue import Catalogue, ImageRecord
from ra_guard.gallery.errors import (
    AlreadyRunning,
    EmptyFile,
    FileTooLarge,
    NoSuchFolder,
    UndecodableImage,
    UnreadableFile,
)
from ra_guard.gallery.folder import GalleryFolder, write_whole
from ra_guard.gallery.objects import Objects
from ra_guard.gallery.quarantine import Quarantine
from ra_guard.gallery.sources import image_files, read_file, shown

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
RECORD = ImageRecord(
    id="internal-0a",
    digest="0a" * 16,
    url_path="aa/internal-0a",
    domain="flowers",
    provider="internal",
    license="cc0",
    phash="ff00ff00ff00ff00",
    width=640,
    height=480,
    bytes=1234,
    source="roses/one.jpg",
    created_at=NOW.isoformat(),
)


def test_files_are_found_in_one_order_whatever_the_folder_says(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.jpg", "a.png", ".hidden.png", ".cache/3.jpg", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [str(path.relative_to(tmp_path)) for path in image_files(tmp_path)] == ["a.png", "c", "b/1.jpg", "b/2.jpg"]


def test_pipes_and_broken_links_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    assert image_files(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFolder, match="not a folder"):
        image_files(tmp_path / "nowhere")


def test_reading_stops_at_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(b"x" * 1001)
    with pytest.raises(FileTooLarge, match="found 1001 bytes, wanted at most 1000"):
        read_file(path, 1000)
    assert read_file(path, 1001) == b"x" * 1001


def test_empty_and_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(EmptyFile):
        read_file(tmp_path / "empty.jpg", 1000)
    with pytest.raises(UnreadableFile):
        read_file(tmp_path / "vanished.jpg", 1000)


def test_a_name_that_is_no_utf8_is_shown_escaped() -> None:
    assert shown(Path(os.fsdecode(b"caf\xe9.jpg"))) == "caf\\xe9.jpg"


@pytest.mark.parametrize(
    "image_id",
    [
        "internal-0a1b",
        "with space",
        "a/../../etc/passwd",
        "..",
        ".",
        ".hidden",
        "ö" * 64,
        "x" * 128,
        "=ff",
        "a\nb",
        "%2F",
    ],
)
def test_any_id_has_a_place_of_its_own_inside_the_folder(tmp_path: Path, image_id: str) -> None:
    objects = Objects(tmp_path / "objects")
    objects.put(image_id, b"image")
    assert objects.read(image_id) == b"image"
    (file,) = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert file == objects.path(image_id)
    assert file.resolve().is_relative_to((tmp_path / "objects").resolve())


def test_ids_that_look_alike_do_not_share_a_file() -> None:
    ids = ["a b", "a%20b", "a+b", "A B", ".a", "%2Ea", "=", "x" * 127, "x" * 128, "ö" * 64, "o" * 64]
    assert len({Objects.url_path(image_id) for image_id in ids}) == len(ids)


def test_an_object_is_never_replaced(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    objects.put("a", b"first")
    objects.put("a", b"second")
    assert objects.read("a") == b"first"
    assert objects.read("b") is None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "object", b"x" * 100)
    assert list(tmp_path.iterdir()) == []


def test_quarantine_keeps_bytes_and_reason_and_clears_both(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    path = quarantine.put("in/broken.jpg", UndecodableImage("ends early"), b"\xff\xd8", NOW)
    again = quarantine.put("in/broken.jpg", UndecodableImage("ends early"), b"\xff\xd8", NOW)
    assert path == again
    assert json.loads(path.read_text()) == {
        "source": "in/broken.jpg",
        "variant": "UndecodableImage",
        "reason": "ends early",
        "bytes": 2,
        "quarantined_at": "2026-11-23T12:00:00+00:00",
    }
    assert path.with_suffix(".image").read_bytes() == b"\xff\xd8"
    quarantine.clear("in/broken.jpg")
    assert list(tmp_path.iterdir()) == []


def test_catalogue_remembers_and_never_replaces(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with Catalogue.open(path) as catalogue:
        catalogue.add([RECORD])
        catalogue.add([replace(RECORD, domain="other"), replace(RECORD, id="internal-0b", digest="0b" * 16)])
    with Catalogue.open(path) as catalogue:
        assert catalogue.by_digest(RECORD.digest) == RECORD
        assert catalogue.by_id("internal-0b") is not None
        assert catalogue.by_id("internal-0c") is None
        assert len(catalogue) == 2


def test_two_ingests_of_one_gallery_do_not_run_together(tmp_path: Path) -> None:
    folder = GalleryFolder(tmp_path)
    with folder.ingesting(), pytest.raises(AlreadyRunning, match="another ingest"), folder.ingesting():
        pass
    with folder.ingesting():
        pass
