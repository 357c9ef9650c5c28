"""Deltas, merges, old files, pools and cold features, through the real core with stand-in models."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from ra_guard._core import Generation, ShardError
from ra_guard.errors import TritonUnavailable
from ra_guard.gallery.compaction import MOST_SHARDS
from ra_guard.gallery.errors import BadName
from ra_guard.gallery.intake import IdSource, Provenance
from ra_guard.gallery.objects import Objects
from ra_guard.gallery.pools import Pools, build_missing, pool_folder
from ra_guard.gallery.publish import KEPT_GENERATIONS, publish_rows
from ra_guard.gallery.rows import Row, stored_row

from tests.stand_ins.gallery_models import StandInModels, UnreachableModels, direction
from tests.stand_ins.gallery_setup import Studio
from tests.stand_ins.pictures import picture, write_pictures

FLOWERS = Provenance("flowers", id_source=IdSource.NAME)
BIRDS = Provenance("birds", id_source=IdSource.NAME)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def current(studio: Studio) -> Generation:
    return Generation.open(str(studio.folder.path))


def add(studio: Studio, name: str, provenance: Provenance = FLOWERS, seed: int = 0) -> None:
    source = studio.path / name
    source.mkdir()
    (source / f"{name}.png").write_bytes(picture(seed=1000 + seed))
    studio.ingest(source, provenance)


def test_many_deltas_are_merged_and_nothing_is_lost(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 12)
    studio.ingest(tmp_path / "in", FLOWERS)
    base = current(studio).shards[0][0]
    expected = {f"delta{number}": picture(seed=1000 + number) for number in range(2 * MOST_SHARDS)}
    for number, name in enumerate(expected):
        add(studio, name, BIRDS if number % 2 else FLOWERS, number)
        assert len(current(studio).shards) <= MOST_SHARDS
    generation = current(studio)
    generation.verify()
    assert generation.rows == 12 + len(expected)
    assert generation.shards[-1][0] == base
    handles = generation.lookup([name.encode() for name in expected])
    stored = np.frombuffer(generation.embeddings(handles), np.float32).reshape(len(expected), -1)
    np.testing.assert_allclose(stored, [direction(data) for data in expected.values()], atol=1e-3)
    for number, name in enumerate(expected):
        row = stored_row(generation, name)
        assert row is not None
        assert row.is_complete
        assert row.domain == ("birds" if number % 2 else "flowers")
        assert row.detections[0][0] == "red thing"


def test_a_merge_keeps_cold_rows_cold_and_does_not_revive_replaced_ones(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    studio.register(tmp_path / "in", FLOWERS)
    studio.cold().embed([b"000-red"])
    for number in range(MOST_SHARDS):
        add(studio, f"delta{number}", FLOWERS, number)
    generation = current(studio)
    assert len(generation.shards) <= MOST_SHARDS
    warm = {name: stored_row(generation, name) for name in ("000-red", "001-green", "002-blue")}
    assert {name: row.is_complete for name, row in warm.items() if row} == {
        "000-red": True,
        "001-green": False,
        "002-blue": False,
    }


def test_old_shards_and_manifests_go_once_no_recent_generation_names_them(studio: Studio, tmp_path: Path) -> None:
    for number in range(2 * MOST_SHARDS):
        add(studio, f"delta{number}", FLOWERS, number)
    newest = current(studio).number
    kept = [newest - age for age in range(KEPT_GENERATIONS)]
    files: set[str] = set()
    for number in kept:
        generation = Generation.open(str(studio.folder.path), number)
        generation.verify()
        files.update(file for file, _, _ in generation.shards)
    assert len(list(studio.folder.generations.glob("*.json"))) == KEPT_GENERATIONS
    assert {path.name for path in studio.folder.shards.glob("*.shard")} == files
    assert {path.name for path in studio.folder.shards.glob("*.pool")} == {Path(f).stem + ".pool" for f in files}


def test_a_file_that_a_person_put_there_is_never_removed(studio: Studio) -> None:
    add(studio, "one")
    stranger = studio.folder.shards / "backup.shard"
    stranger.write_bytes(b"mine")
    for number in range(2 * KEPT_GENERATIONS):
        add(studio, f"delta{number}", FLOWERS, number)
    assert stranger.read_bytes() == b"mine"


def test_a_row_that_no_shard_takes_publishes_nothing(studio: Studio) -> None:
    add(studio, "one")
    with pytest.raises(ShardError) as error:
        publish_rows(studio.folder, studio.space(), [Row("x" * 129, "flowers", "", 0, None)])
    assert error.value.variant == "BadId"
    assert current(studio).number == 1
    assert len(list(studio.folder.shards.glob("*.shard"))) == 1


def test_a_gallery_has_room_for_256_domains(studio: Studio) -> None:
    rows = [Row(f"row{number}", f"domain{number}", "", 0, None) for number in range(257)]
    publish_rows(studio.folder, studio.space(), rows[:256])
    with pytest.raises(BadName, match="found 257 different ones"):
        publish_rows(studio.folder, studio.space(), rows)
    assert (current(studio).number, len(current(studio).domains)) == (1, 256)


def test_a_damaged_old_manifest_stops_the_tidying_and_nothing_else(studio: Studio) -> None:
    add(studio, "one")
    (manifest,) = studio.folder.generations.glob("*.json")
    manifest.write_bytes(b"no json")
    (studio.folder.path / "CURRENT").unlink()
    add(studio, "two", seed=1)
    assert current(studio).rows == 1
    assert len(list(studio.folder.shards.glob("*.shard"))) == 2


def test_what_a_killed_publish_left_is_in_nobodys_way(studio: Studio) -> None:
    add(studio, "one")
    leftover = studio.folder.shards / "rows-0000000002.shard"
    leftover.write_bytes(b"half a shard")
    pool_folder(leftover).mkdir()
    add(studio, "two", seed=1)
    assert current(studio).rows == 2
    current(studio).verify()


def test_pools_hold_the_nearest_of_a_domain(studio: Studio, tmp_path: Path) -> None:
    flowers = write_pictures(tmp_path / "flowers", 30)
    studio.ingest(tmp_path / "flowers", FLOWERS)
    add(studio, "wren", BIRDS)
    pools = Pools.open(studio.folder.path, current(studio))
    query = direction(flowers[7].read_bytes())
    vectors = np.stack([direction(path.read_bytes()) for path in flowers])
    exact = [flowers[row].stem.encode() for row in np.argsort(-(vectors @ query))[:10]]
    assert pools.search(query.tobytes(), "flowers", 10) == exact
    assert pools.search(query.tobytes(), "birds", 10) == [b"wren"]
    assert len(pools.search(query.tobytes(), "", 200)) == 31
    assert pools.search(query.tobytes(), "fish", 10) == []


def test_cold_rows_are_in_no_pool_until_they_are_warm(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    studio.register(tmp_path / "in", FLOWERS)
    query = direction(b"anything").tobytes()
    assert Pools.open(studio.folder.path, current(studio)).search(query, "flowers", 10) == []
    studio.cold().embed([b"001-green"])
    assert Pools.open(studio.folder.path, current(studio)).search(query, "flowers", 10) == [b"001-green"]


@pytest.mark.parametrize("kind", ["*.usearch", "*.npz"])
@pytest.mark.parametrize("kept", [0, 50])
def test_a_missing_or_damaged_index_is_said_and_built_anew(
    studio: Studio, tmp_path: Path, kind: str, kept: int
) -> None:
    write_pictures(tmp_path / "in", 10)
    studio.ingest(tmp_path / "in", FLOWERS)
    generation = current(studio)
    (file, _, _) = generation.shards[0]
    query = direction(b"anything").tobytes()
    before = Pools.open(studio.folder.path, generation).search(query, "flowers", 10)
    (part,) = pool_folder(studio.folder.shards / file).glob(kind)
    part.write_bytes(part.read_bytes()[:kept])
    pools = Pools.open(studio.folder.path, generation)
    assert (pools.missing, pools.search(query, "flowers", 10)) == ((file,), [])
    assert build_missing(studio.folder.path, generation) == (file,)
    assert Pools.open(studio.folder.path, generation).search(query, "flowers", 10) == before
    assert build_missing(studio.folder.path, generation) == ()


def test_cold_images_become_warm_and_the_rest_is_told_apart(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    studio.register(tmp_path / "in", FLOWERS)
    Objects(studio.folder.objects).path("002-blue").write_bytes(b"rotten")
    outcome = studio.cold().embed([b"000-red", b"nobody", b"002-blue", b"000-red"])
    assert (outcome.warm, outcome.absent, outcome.generation) == (("000-red",), ("nobody",), 2)
    assert {name: error.variant for name, error in outcome.refused.items()} == {"002-blue": "UndecodableImage"}
    (record,) = studio.folder.quarantine.glob("*.json")
    assert json.loads(record.read_text())["source"] == "002-blue"
    again = studio.cold().embed([b"000-red"])
    assert (again.warm, again.generation) == (("000-red",), None)


def test_a_gallery_without_objects_has_nothing_to_warm(studio: Studio) -> None:
    outcome = studio.cold().embed([b"nobody"])
    assert (outcome.absent, outcome.warm) == (("nobody",), ())
    assert not studio.folder.path.exists()


def test_failing_models_leave_cold_images_cold(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    studio.register(tmp_path / "in", FLOWERS)
    with pytest.raises(TritonUnavailable):
        studio.with_models(UnreachableModels()).cold().embed([b"000-red"])
    assert current(studio).number == 1
    assert list(studio.folder.quarantine.iterdir()) == []


def test_what_several_workers_find_cold_at_once_is_published_once(studio: Studio, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 4)
    studio.register(tmp_path / "in", FLOWERS)
    together = threading.Barrier(4)

    class Slow(StandInModels):
        def embed_images(self, images, timeout_s):  # type: ignore[no-untyped-def]
            together.wait(10)
            return super().embed_images(images, timeout_s)

    workers = [studio.with_models(Slow()).cold() for _ in range(4)]
    threads = [threading.Thread(target=worker.embed, args=([b"000-red", b"001-green"],)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    generation = current(studio)
    assert (generation.number, [rows for _, rows, _ in generation.shards]) == (2, [2, 4])
