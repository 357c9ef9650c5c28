"""`ra-guard gallery` on a gallery that is there, on one that is not, and on a damaged one. No Triton is needed."""

import json
from pathlib import Path

import pytest
from ra_guard.cli import main
from ra_guard.gallery.intake import IdSource, Provenance

from tests.stand_ins.gallery_models import LABELS, SPACE
from tests.stand_ins.gallery_setup import Studio
from tests.stand_ins.pictures import write_pictures


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setenv("RA_GUARD_STATE_DIR", str(tmp_path))
    return Studio(tmp_path)


@pytest.fixture
def filled(studio: Studio, tmp_path: Path) -> Studio:
    write_pictures(tmp_path / "in", 3)
    studio.ingest(tmp_path / "in", Provenance("flowers", "cc0", id_source=IdSource.NAME))
    return studio


def test_describe(filled: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gallery", "describe", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["generation"], found["rows"], found["space"]) == (1, 3, SPACE.fingerprint)
    assert found["labels"] == list(LABELS)
    assert found["shards"] == [{"file": "rows-0000000001.shard", "rows": 3, "bytes": found["bytes"], "has_pool": True}]
    assert main(["gallery", "describe"]) == 0
    assert "flowers" in capsys.readouterr().out


def test_show(filled: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gallery", "show", "002-blue"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["domain"], found["licence"], found["detections"][0]["label"]) == ("flowers", "cc0", "blue thing")
    assert main(["gallery", "show", "nobody"]) != 0
    assert "nobody" in capsys.readouterr().err


def test_verify_names_the_damage(filled: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gallery", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["intact"] is True
    (shard,) = filled.folder.shards.glob("*.shard")
    data = bytearray(shard.read_bytes())
    data[4096] ^= 1
    shard.write_bytes(data)
    assert main(["gallery", "verify"]) == 1
    assert "ChecksumMismatch" in capsys.readouterr().err
    shard.write_bytes(data[:-1])
    assert main(["gallery", "verify", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["variant"] == "Truncated"
    shard.unlink()
    assert main(["gallery", "verify"]) == 1
    assert "MissingFile" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["describe"], ["show", "rose"], ["verify"], ["pools"]])
def test_without_a_generation_there_is_one_line(
    studio: Studio, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", *command]) in (1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "no generation is published" in lines[0]


def test_pools_builds_what_is_missing(filled: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = filled.folder.shards.glob("*.pool")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert main(["gallery", "pools"]) == 0
    assert "rows-0000000001.shard" in capsys.readouterr().out
    assert folder.is_dir()
