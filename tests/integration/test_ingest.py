"""Ingest through the real core, with stand-in models: what is published, what is kept out, what survives a failure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ra_guard._core import Generation
from ra_guard.errors import TritonUnavailable
from ra_guard.gallery.catalogue import Catalogue
from ra_guard.gallery.describe import describe, show
from ra_guard.gallery.errors import AlreadyRunning, NoSuchImage, NotStored, SpaceConflict, UnusableFeatures
from ra_guard.gallery.intake import IdSource, Provenance
from ra_guard.gallery.objects import Objects
from ra_guard.gallery.rows import stored_row

from tests.stand_ins.gallery_models import (
    LABELS,
    NotFiniteModels,
    PickyModels,
    StandInModels,
    UnreachableModels,
    WrongShapeModels,
    direction,
)
from tests.stand_ins.gallery_setup import Studio
from tests.stand_ins.pictures import picture, pixel_bomb, write_pictures

ROOT = Path(__file__).parents[2]
BY_NAME = Provenance("flowers", "cc0", id_source=IdSource.NAME)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def current(studio: Studio) -> Generation:
    return Generation.open(str(studio.folder.path))


def quarantined(studio: Studio) -> dict[str, str]:
    """Variant of each source's record, by file name."""
    records = [json.loads(path.read_text()) for path in studio.folder.quarantine.glob("*.json")]
    return {Path(record["source"]).name: record["variant"] for record in records}


def test_a_folder_becomes_a_generation(studio: Studio, tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", 6)
    summary = studio.ingest(tmp_path / "in", BY_NAME)
    assert (summary.files, summary.published, summary.quarantined, summary.generation) == (6, 6, {}, 1)
    generation = current(studio)
    generation.verify()
    assert (generation.rows, generation.dtype, generation.domains, generation.licences) == (
        6,
        "f16",
        ["flowers"],
        ["cc0"],
    )
    assert tuple(generation.labels) == LABELS
    for path in paths:
        row = stored_row(generation, path.stem)
        assert row is not None
        assert row.is_complete
        assert row.domain == "flowers"
        (label, confidence, *corners) = row.detections[0]
        assert label.split()[0] in path.name
        np.testing.assert_allclose([confidence, *corners], [0.75, 0.25, 0.25, 0.75, 0.75], atol=1e-4)
        assert Objects(studio.folder.objects).read(path.stem) == path.read_bytes()
    handles = generation.lookup([path.stem.encode() for path in paths])
    stored = np.frombuffer(generation.embeddings(handles), np.float32).reshape(6, -1)
    np.testing.assert_allclose(stored, [direction(path.read_bytes()) for path in paths], atol=1e-3)


def test_again_publishes_nothing_and_asks_no_model(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 5)
    studio.ingest(tmp_path / "in")
    summary = studio.with_models(UnreachableModels()).ingest(tmp_path / "in")
    assert (summary.published, summary.already_published, summary.generation) == (0, 5, 1)


def test_new_files_come_in_a_shard_in_front(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    studio.ingest(tmp_path / "in", BY_NAME)
    write_pictures(tmp_path / "in", 5)
    summary = studio.ingest(tmp_path / "in", Provenance("birds", id_source=IdSource.NAME))
    assert (summary.published, summary.already_published, summary.generation) == (2, 3, 2)
    generation = current(studio)
    assert [rows for _, rows, _ in generation.shards] == [2, 3]
    assert generation.domains == ["flowers", "birds"]
    row = stored_row(generation, "004-green")
    assert row is not None
    assert (row.domain, row.licence) == ("birds", "")


def test_the_same_content_twice_is_one_row(studio: Studio, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.png", "b.png", "c.jpg"):
        (source / name).write_bytes(picture())
    summary = studio.ingest(source)
    assert (summary.published, summary.duplicates) == (1, 2)


def test_broken_files_are_quarantined_and_the_rest_goes_in(studio: Studio, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_pictures(source, 3)
    bad = {
        "truncated.jpg": (picture(kind="JPEG", size=(200, 200))[:600], "UndecodableImage"),
        "bomb.png": (pixel_bomb(50_000, 50_000), "TooManyPixels"),
        "oversize.png": (b"\x89PNG" + b"\0" * 200_000, "FileTooLarge"),
        "empty.jpg": (b"", "EmptyFile"),
        "text.jpg": (b"Dear diary,\n", "UndecodableImage"),
    }
    for name, (data, _) in bad.items():
        (source / name).write_bytes(data)
    summary = studio.ingest(source)
    assert summary.published == 3
    assert summary.quarantined == {"EmptyFile": 1, "FileTooLarge": 1, "TooManyPixels": 1, "UndecodableImage": 2}
    assert quarantined(studio) == {name: variant for name, (_, variant) in bad.items()}
    copies = {path.read_bytes() for path in studio.folder.quarantine.glob("*.image")}
    assert copies == {bad[name][0] for name in ("truncated.jpg", "bomb.png", "text.jpg")}
    assert studio.ingest(source).published == 0
    assert len(quarantined(studio)) == len(bad)


def test_a_repaired_file_leaves_quarantine(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(picture()[:300])
    assert studio.ingest(tmp_path / "in").quarantined == {"UndecodableImage": 1}
    (tmp_path / "in" / "a.png").write_bytes(picture())
    assert studio.ingest(tmp_path / "in").published == 1
    assert quarantined(studio) == {}


def test_a_file_name_that_is_no_utf8(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.png")).write_bytes(picture())
    assert studio.ingest(tmp_path / "in", BY_NAME).quarantined == {"BadId": 1}
    assert studio.ingest(tmp_path / "in").published == 1


def test_two_contents_under_one_name(studio: Studio, tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "rose.png").write_bytes(picture(seed=number))
    for _ in range(2):
        assert studio.ingest(tmp_path / "in", BY_NAME).quarantined == {"IdTaken": 1}
    assert Objects(studio.folder.objects).read("rose") == picture(seed=0)


def test_an_image_that_only_the_models_refuse(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 5)
    (tmp_path / "in" / "odd.png").write_bytes(picture(size=(33, 40)))
    summary = studio.with_models(PickyModels(refused_width=33)).ingest(tmp_path / "in")
    assert (summary.published, summary.quarantined) == (5, {"RefusedByModel": 1})


@pytest.mark.parametrize(
    ("models", "error"),
    [
        (UnreachableModels(), TritonUnavailable),
        (WrongShapeModels(), UnusableFeatures),
        (NotFiniteModels(), UnusableFeatures),
    ],
)
def test_failing_models_change_nothing_and_lose_nothing(
    studio: Studio, tmp_path: Path, models: StandInModels, error: type[Exception]
) -> None:
    write_pictures(tmp_path / "in", 3)
    (tmp_path / "in" / "text.jpg").write_bytes(b"no image")
    studio.ingest(tmp_path / "in")
    before = quarantined(studio), current(studio).number
    write_pictures(tmp_path / "in", 6)
    with pytest.raises(error):
        studio.with_models(models).ingest(tmp_path / "in")
    assert (quarantined(studio), current(studio).number) == before
    assert studio.ingest(tmp_path / "in").published == 3


def test_what_was_published_before_a_failure_stays(studio: Studio, tmp_path: Path) -> None:
    class Failing(StandInModels):
        def embed_images(self, images, timeout_s):  # type: ignore[no-untyped-def]
            if self.images >= 8:
                raise TritonUnavailable("went away")
            return super().embed_images(images, timeout_s)

    write_pictures(tmp_path / "in", 12)
    with pytest.raises(TritonUnavailable):
        studio.with_models(Failing()).ingest(tmp_path / "in", rows_per_shard=4)
    assert current(studio).rows == 8
    summary = studio.ingest(tmp_path / "in", rows_per_shard=4)
    assert (summary.published, summary.already_published) == (4, 8)


def test_rows_without_features_are_cold_and_warm_up_later(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    studio.space()
    offline = studio.with_models(UnreachableModels())
    assert offline.register(tmp_path / "in", BY_NAME).published == 2
    row = stored_row(current(studio), "000-red")
    assert row is not None
    assert not row.has_embedding
    assert not row.has_detections
    assert offline.register(tmp_path / "in", BY_NAME).published == 0
    assert studio.ingest(tmp_path / "in", BY_NAME).published == 2
    row = stored_row(current(studio), "000-red")
    assert row is not None
    assert row.is_complete
    assert current(studio).rows == 2


def test_a_gallery_of_another_space_is_left_alone(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    studio.ingest(tmp_path / "in")
    write_pictures(tmp_path / "in", 3)
    with pytest.raises(SpaceConflict, match=r"stores f16 embeddings, gallery\.dtype is i8"):
        Studio(tmp_path, other := StandInModels(), dtype="i8").ingest(tmp_path / "in")
    assert current(studio).number == 1
    assert other.images == 0


def test_only_one_ingest_at_a_time(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    studio.folder.create()
    with studio.folder.ingesting(), pytest.raises(AlreadyRunning):
        studio.ingest(tmp_path / "in")


def test_progress_ends_at_the_total(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 9)
    heard: list[tuple[int, int]] = []
    studio.ingest(tmp_path / "in", report=lambda done, total: heard.append((done, total)))
    assert heard == [(0, 9), (4, 9), (8, 9), (9, 9)]


def test_a_record_that_was_lost_comes_back(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    studio.ingest(tmp_path / "in", BY_NAME)
    studio.folder.catalogue.unlink()
    assert studio.ingest(tmp_path / "in", BY_NAME).already_published == 3
    with Catalogue.open(studio.folder.catalogue) as catalogue:
        assert len(catalogue) == 3


def test_describe_and_show(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    studio.ingest(tmp_path / "in", BY_NAME)
    description = describe(studio.folder.path, current(studio))
    assert (description.rows, description.domains, description.generation) == (3, ("flowers",), 1)
    assert [shard.has_pool for shard in description.shards] == [True]
    assert json.loads(json.dumps(description.to_json()))["labels"] == list(LABELS)
    shown = show(studio.folder, "001-green")
    assert shown["detections"][0]["label"] == "green thing"
    assert shown["record"]["source"].endswith("001-green.png")
    with pytest.raises(NoSuchImage):
        show(studio.folder, "nobody")


def test_a_damaged_catalogue_is_named_and_can_be_moved_away(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 2)
    studio.ingest(tmp_path / "in")
    studio.folder.catalogue.write_bytes(b"no database" * 1000)
    with pytest.raises(NotStored, match="move the file away"):
        studio.ingest(tmp_path / "in")
    studio.folder.catalogue.unlink()
    assert studio.ingest(tmp_path / "in").already_published == 2


FULL_DISK = """
import resource, sys
from pathlib import Path
from ra_guard.gallery.publish import publish_rows
from ra_guard.gallery.rows import Row
from tests.stand_ins.gallery_setup import Studio
studio = Studio(Path(sys.argv[1]))
space = studio.space()
rows = [Row(f"row{number}", "flowers", "", 0, None) for number in range(2000)]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    publish_rows(studio.folder, space, rows) if sys.argv[3] == "publish" else studio.ingest(Path(sys.argv[1]) / "in")
except Exception as error:
    print(error.variant, type(error).__name__)
"""


@pytest.mark.parametrize(
    ("step", "file_limit", "error"), [("publish", 65536, "DiskFull ShardError"), ("ingest", 16384, "DiskFull DiskFull")]
)
def test_a_full_disk_keeps_the_old_generation(
    studio: Studio, tmp_path: Path, step: str, file_limit: int, error: str
) -> None:
    """A limit on file sizes stands for the full disk: the kernel refuses the write in the same place."""
    write_pictures(tmp_path / "in", 2)
    studio.ingest(tmp_path / "in")
    write_pictures(tmp_path / "in", 40)
    before = sorted(studio.folder.shards.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(file_limit), step],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server")])},
    )
    assert done.stdout.strip() == error, done.stderr
    assert current(studio).number == 1
    assert sorted(studio.folder.shards.iterdir()) == before
    assert studio.ingest(tmp_path / "in").published == 38
