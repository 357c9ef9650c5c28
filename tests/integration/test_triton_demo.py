"""The demo space on the real Triton: real weights on real photographs, nothing stands in for anything."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import skimage
import sklearn
from ra_guard.config import load
from ra_guard.errors import TritonRejected
from ra_guard.models.build import Built, assemble, demo_recipe, templates_folder
from ra_guard.models.environment import TritonEnvironment
from ra_guard.models.space import REPOSITORY_FOLDER
from ra_guard.models.triton_server import Ports, TritonNotStarted, TritonServer
from ra_guard.serving.breaker import CircuitBreaker
from ra_guard.serving.triton import TritonModels

from tests.triton_environment import ROOT, triton_environment

pytestmark = pytest.mark.triton

WAIT_S = 30.0
"""Far beyond what an inference takes, so that a busy machine does not fail a test."""

SKIMAGE = Path(skimage.__file__).parent / "data"
PHOTOS = {
    "coffee": SKIMAGE / "coffee.png",
    "astronaut": SKIMAGE / "astronaut.png",
    "cat": SKIMAGE / "chelsea.png",
    "rocket": SKIMAGE / "rocket.jpg",
    "motorcycle": SKIMAGE / "motorcycle_left.png",
    "camera": SKIMAGE / "camera.png",
    "flower": Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg",
    "palace": Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg",
    "officer": Path(matplotlib.__file__).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg",
}


@pytest.fixture(scope="module")
def environment() -> TritonEnvironment:
    return triton_environment()


@pytest.fixture(scope="module")
def demo(environment: TritonEnvironment) -> Built:
    # The one that `make setup` built, unless something changed since.
    models_dir = ROOT / load().models_dir
    templates = templates_folder()
    return assemble(demo_recipe(environment, templates), models_dir, environment, templates, lambda _: None)


@pytest.fixture(scope="module")
def triton(
    demo: Built, environment: TritonEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    run_dir = tmp_path_factory.mktemp("run")
    with TritonServer.start(demo.folder / REPOSITORY_FOLDER, environment, run_dir, ports=Ports.free()) as server:
        yield server


@pytest.fixture(scope="module")
def models(triton: TritonServer, demo: Built) -> Iterator[TritonModels]:
    breaker = CircuitBreaker(failures=3, reset_s=1)
    models = TritonModels(triton.url, space=demo.space, timeout_s=WAIT_S, max_in_flight=16, breaker=breaker)
    yield models
    models.close()


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in PHOTOS.items()}


def test_triton_serves_the_space_that_was_built(models: TritonModels) -> None:
    assert models.ready()
    models.check_space()


@pytest.mark.parametrize(
    ("text", "photo"),
    [
        ("a cup of coffee", "coffee"),
        ("a cat", "cat"),
        ("an espresso on a table", "coffee"),
        ("space rocket launch", "rocket"),
        ("a motorcycle", "motorcycle"),
        ("a man with a camera on a tripod", "camera"),
        ("a flower", "flower"),
        ("a temple in china", "palace"),
        ("a woman in uniform", "officer"),
    ],
)
def test_a_text_lies_closest_to_its_photograph(
    models: TritonModels, photos: dict[str, bytes], text: str, photo: str
) -> None:
    cosines = models.embed_images(list(photos.values()), WAIT_S) @ models.embed_text(text, WAIT_S)
    assert list(photos)[int(cosines.argmax())] == photo


def test_texts_have_the_published_similarities(models: TritonModels) -> None:
    # The example in the documentation of all-MiniLM-L6-v2, to the digits that it prints.
    texts = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    lovely, sunny, stadium = (models.embed_text(text, WAIT_S) for text in texts)
    assert float(lovely @ sunny) == pytest.approx(0.6660, abs=5e-5)
    assert float(lovely @ stadium) == pytest.approx(0.1046, abs=5e-5)
    assert float(sunny @ stadium) == pytest.approx(0.1411, abs=5e-5)


@pytest.mark.parametrize(
    ("photo", "label", "corners"),
    [
        # Where a person sees the object, to a tenth of the image.
        ("coffee", "cup", (0.3, 0.0, 0.7, 0.6)),
        ("cat", "cat", (0.0, 0.0, 0.9, 1.0)),
        ("astronaut", "person", (0.0, 0.0, 0.75, 1.0)),
        ("motorcycle", "motorcycle", (0.15, 0.15, 0.9, 0.9)),
        ("officer", "person", (0.0, 0.0, 1.0, 1.0)),
        ("officer", "tie", (0.45, 0.7, 0.55, 0.9)),
    ],
)
def test_the_detector_finds_what_is_there(
    models: TritonModels, demo: Built, photos: dict[str, bytes], photo: str, label: str, corners: Sequence[float]
) -> None:
    (found,) = models.detect([photos[photo]], WAIT_S)
    wanted = demo.space.labels.index(label)
    boxes = [each.corners for each in found if each.label == wanted and each.confidence > 0.5]
    assert any(np.abs(np.subtract(box, corners)).max() < 0.1 for box in boxes), boxes


def test_the_same_bits_alone_and_in_any_batch(models: TritonModels, photos: dict[str, bytes]) -> None:
    images = list(photos.values())
    together = models.embed_images(images, WAIT_S)
    backwards = models.embed_images(images[::-1], WAIT_S)[::-1]
    alone = np.concatenate([models.embed_images([image], WAIT_S) for image in images])
    assert together.tobytes() == backwards.tobytes() == alone.tobytes()
    assert models.detect(images, WAIT_S) == [models.detect([image], WAIT_S)[0] for image in images]


def test_the_same_bits_when_triton_batches_callers(models: TritonModels) -> None:
    texts = [f"a photo of {number} cats" for number in range(12)]
    alone = [models.embed_text(text, WAIT_S).tobytes() for text in texts]
    with ThreadPoolExecutor(len(texts)) as callers:
        crowded = callers.map(lambda text: models.embed_text(text, WAIT_S).tobytes(), texts)
    assert list(crowded) == alone


@pytest.mark.parametrize("image", [b"", b"not an image"])
def test_a_broken_image_is_refused_and_nothing_else(
    models: TritonModels, photos: dict[str, bytes], image: bytes
) -> None:
    with pytest.raises(TritonRejected, match="no image"):
        models.detect([image], WAIT_S)
    with pytest.raises(TritonRejected, match="no image"):
        models.embed_images([photos["coffee"], image], WAIT_S)
    assert models.embed_images([photos["coffee"]], WAIT_S).shape == (1, 384)


@pytest.mark.parametrize("text", ["", " ", "?", "día \u732b \U0001f408", "word " * 5000])
def test_any_text_has_an_embedding(models: TritonModels, text: str) -> None:
    assert models.embed_text(text, WAIT_S).shape == (384,)


def test_a_second_build_changes_nothing(demo: Built, environment: TritonEnvironment) -> None:
    templates = templates_folder()
    before = {path: path.stat().st_mtime_ns for path in demo.folder.rglob("*.pbtxt")}
    again = assemble(demo_recipe(environment, templates), demo.folder.parent, environment, templates, lambda _: None)
    assert again.outcome == "unchanged"
    assert again.space == demo.space
    assert {path: path.stat().st_mtime_ns for path in demo.folder.rglob("*.pbtxt")} == before


def test_a_taken_port_is_refused_at_once(
    triton: TritonServer, demo: Built, environment: TritonEnvironment, tmp_path: Path
) -> None:
    port = int(triton.url.rpartition(":")[2])
    taken, repository = replace(Ports.free(), grpc=port), demo.folder / REPOSITORY_FOLDER
    with pytest.raises(TritonNotStarted, match=f"port {port} is taken"):
        TritonServer.start(repository, environment, tmp_path, ports=taken)


def test_a_repository_without_models_is_refused_with_the_reason(environment: TritonEnvironment, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    with pytest.raises(TritonNotStarted, match="found no clip_text, clip_image, detector"):
        TritonServer.start(tmp_path / "repository", environment, tmp_path / "run", ports=Ports.free())


PARENT = """
import os, sys, time
from pathlib import Path
from ra_guard.models.triton_server import Ports, TritonServer
from tests.triton_environment import triton_environment

server = TritonServer.start(Path(sys.argv[1]), triton_environment(), Path(sys.argv[2]), ports=Ports.free())
print(server.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_parent_leaves_no_process_behind(demo: Built, tmp_path: Path) -> None:
    import ra_guard

    paths = os.pathsep.join((str(ROOT), str(Path(ra_guard.__file__).parents[1])))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(demo.folder / REPOSITORY_FOLDER), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        cwd=ROOT,
    )
    assert parent.stdout is not None
    session = int(parent.stdout.readline())
    assert len(of_session(session)) == 4  # Triton and one process a model.
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    give_up = time.monotonic() + WAIT_S
    while of_session(session) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert of_session(session) == []


def of_session(session: int) -> list[int]:
    """The living processes of a session; Triton leads one of its own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, _group, its_session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found
