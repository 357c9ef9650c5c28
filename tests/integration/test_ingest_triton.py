"""Ingest on the real Triton: real models, real photographs, and a Triton that is not there."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from ra_guard._core import Generation
from ra_guard.cli.demo_stage import PHOTOGRAPHS
from ra_guard.config import load
from ra_guard.gallery.rows import stored_row
from ra_guard.models.space import REPOSITORY_FOLDER
from ra_guard.models.triton_server import Ports, TritonServer

from tests.triton_environment import ROOT, triton_environment

pytestmark = pytest.mark.triton

SHOWN = ("coffee", "chelsea", "motorcycle_left", "flower")
COMMAND = "import sys; from ra_guard.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    space = ROOT / (load().space_dir() or Path("var/models/demo"))
    run = tmp_path_factory.mktemp("triton")
    with TritonServer.start(space / REPOSITORY_FOLDER, triton_environment(), run, ports=Ports.free()) as server:
        yield server


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for photo in PHOTOGRAPHS:
        if photo.name in SHOWN:
            (folder / photo.file().name).write_bytes(photo.file().read_bytes())
    return folder


def environment(state: Path, triton_url: str) -> Mapping[str, str]:
    """The state of a fresh installation whose models are those that are built here."""
    state.mkdir(exist_ok=True)
    if not (state / "models").exists():
        (state / "models").symlink_to((ROOT / load().models_dir).resolve(), target_is_directory=True)
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "server"),
        "RA_GUARD_STATE_DIR": str(state),
        "RA_GUARD_TRITON__URL": triton_url,
    }


def gallery(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "gallery", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=dict(environment),
        timeout=300,
    )


def test_photographs_are_embedded_and_their_objects_found(
    triton: TritonServer, photographs: Path, tmp_path: Path
) -> None:
    env = environment(tmp_path / "state", triton.url)
    (photographs / "diary.jpg").write_text("Dear diary,")
    done = gallery(env, "ingest", str(photographs), "--domain", "mixed", "--id-from", "name")
    assert done.returncode == 0, done.stderr
    assert "UndecodableImage: 1 quarantined" in done.stdout
    generation = Generation.open(str(tmp_path / "state" / "gallery"))
    seen = {name: stored_row(generation, name) for name in SHOWN}
    best = {name: row.detections[0][0] for name, row in seen.items() if row and row.detections}
    assert best == {"coffee": "cup", "chelsea": "cat", "motorcycle_left": "motorcycle"}
    assert all(row and row.is_complete for row in seen.values())
    verified = gallery(env, "verify", "--json")
    assert verified.returncode == 0
    assert '"intact": true' in verified.stdout


def test_without_triton_there_is_one_clear_error_and_nothing_is_published(photographs: Path, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{Ports.free().grpc}"
    done = gallery(environment(tmp_path / "state", nobody), "ingest", str(photographs), "--domain", "mixed")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "state" / "gallery" / "CURRENT").exists()
    assert list((tmp_path / "state" / "gallery" / "quarantine").iterdir()) == []


def test_a_flipped_bit_is_named(triton: TritonServer, photographs: Path, tmp_path: Path) -> None:
    env = environment(tmp_path / "state", triton.url)
    assert gallery(env, "ingest", str(photographs), "--domain", "mixed").returncode == 0
    (shard,) = (tmp_path / "state" / "gallery" / "shards").glob("*.shard")
    damaged = bytearray(shard.read_bytes())
    damaged[4096] ^= 1
    shard.write_bytes(damaged)
    done = gallery(env, "verify")
    assert done.returncode == 1
    assert "ChecksumMismatch" in done.stderr
