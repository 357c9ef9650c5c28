"""Pulling a CLIP pair: a tiny one with CLIP's own names is checked, built and served by the real Triton."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ra_guard.models.build import BadModel, Built, sha256, templates_folder
from ra_guard.models.environment import TritonEnvironment
from ra_guard.models.pull import Pair, Wanted, from_hub, from_path, pull
from ra_guard.models.space import REPOSITORY_FOLDER, Space, names
from ra_guard.models.triton_server import Ports, TritonServer
from ra_guard.serving.breaker import CircuitBreaker
from ra_guard.serving.triton import TritonModels

from tests.stand_ins import clip_pair, hub
from tests.triton_environment import triton_environment

pytestmark = pytest.mark.triton

WAIT_S = 30.0


@pytest.fixture(scope="module")
def environment() -> TritonEnvironment:
    return triton_environment()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_pair.write(tmp_path_factory.mktemp("pair") / "tiny-clip")


@pytest.fixture(scope="module")
def built(pair: Path, environment: TritonEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return pulled(pair, environment, tmp_path_factory.mktemp("state") / "models")


def pulled(folder: Path, environment: TritonEnvironment, models_dir: Path, wanted: Wanted | None = None) -> Built:
    nobody = templates_folder(), lambda _: None
    return pull(folder, "tiny", wanted or Wanted(), models_dir, environment, *nobody)


def test_the_pair_becomes_a_space(built: Built) -> None:
    assert built.outcome == "built"
    assert built.space.dim == clip_pair.DIM
    assert Space.load(built.folder) == built.space
    assert built.space.text.kind == built.space.image.kind == "clip_onnx"
    assert names(built.folder.parent) == ["tiny"]


def test_pulling_again_changes_nothing(built: Built, pair: Path, environment: TritonEnvironment) -> None:
    again = pulled(pair, environment, built.folder.parent)
    assert again.outcome == "unchanged"
    assert again.space == built.space


def test_other_weights_make_another_space(
    built: Built, pair: Path, environment: TritonEnvironment, tmp_path: Path
) -> None:
    other = shutil.copytree(pair, tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["fish"] = 6
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert pulled(other, environment, tmp_path / "models").space.fingerprint != built.space.fingerprint


def test_the_real_triton_serves_it(built: Built, environment: TritonEnvironment, tmp_path: Path) -> None:
    repository = built.folder / REPOSITORY_FOLDER
    red = Image.new("RGB", (48, 40), (200, 30, 10))
    buffer = io.BytesIO()
    red.save(buffer, "PNG")
    with TritonServer.start(repository, environment, tmp_path, ports=Ports.free()) as server:
        breaker = CircuitBreaker(failures=3, reset_s=1)
        models = TritonModels(server.url, space=built.space, timeout_s=WAIT_S, max_in_flight=4, breaker=breaker)
        (image,) = models.embed_images([buffer.getvalue()], WAIT_S)
        cat, dog = (models.embed_text(f"a photo of a {animal}", WAIT_S) for animal in ("cat", "dog"))
        again = models.embed_text("A  photo of a CAT", WAIT_S)
        models.close()
    colour = (np.array([200, 30, 10]) / 255 - clip_pair.MEAN) / clip_pair.DEVIATION
    expected = colour @ clip_pair.projection()
    np.testing.assert_allclose(image, expected / np.linalg.norm(expected), atol=1e-5)
    assert not np.array_equal(cat, dog)
    assert cat.tobytes() == again.tobytes()


@pytest.mark.parametrize(("suffix", "kind"), [(".zip", "zip"), (".tar.gz", "gztar"), (".tar", "tar")])
def test_an_archive_holds_the_same_pair(pair: Path, tmp_path: Path, suffix: str, kind: str) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "pair"), kind, pair.parent, pair.name))
    assert archive.name.endswith(suffix)
    with from_path(archive) as folder:
        assert (folder / "onnx" / "text_model.onnx").read_bytes() == (pair / "onnx" / "text_model.onnx").read_bytes()


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(BadModel, match="cannot be unpacked"), from_path(tmp_path / "evil.tar"):
        pass


@pytest.mark.parametrize("name", ["absent.zip", "pair.txt"])
def test_what_is_no_archive_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "pair.txt").write_text("not an archive")
    with pytest.raises(BadModel), from_path(tmp_path / name):
        pass


def without(*names: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def replaced(**options: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder)
        clip_pair.write(folder, **options)  # type: ignore[arg-type]

    return damage


def swapped(folder: Path) -> None:
    text, vision = (folder / "onnx" / f"{tower}_model.onnx" for tower in ("text", "vision"))
    contents = text.read_bytes()
    text.write_bytes(vision.read_bytes())
    vision.write_bytes(contents)


def overwritten(name: str, contents: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text(contents)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("onnx/text_model.onnx"), "found none of text_model.onnx"),
        (without("onnx/vision_model.onnx"), "found none of vision_model.onnx"),
        (without("tokenizer.json"), "found none of tokenizer.json"),
        (without("preprocessor_config.json"), "found none of preprocessor_config.json"),
        (overwritten("onnx/text_model.onnx", "not onnx"), "no ONNX model that runs"),
        (overwritten("tokenizer.json", "{}"), "the models do not run"),
        (overwritten("preprocessor_config.json", "{}"), "lacks crop_size, size, image_mean, image_std"),
        (overwritten("preprocessor_config.json", "?"), "is no JSON"),
        (swapped, "found inputs pixel_values, wanted input_ids"),
        (replaced(text_output="last_hidden_state"), "wanted text_embeds; export the model with its projection"),
        (replaced(text_dim=8), "found dimensions text 8, image 16"),
    ],
)
def test_what_is_refused_and_why(
    pair: Path, environment: TritonEnvironment, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = shutil.copytree(pair, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(BadModel, match=message):
        pulled(folder, environment, tmp_path / "models")
    assert names(tmp_path / "models") == []


def test_a_digest_pins_the_weights(pair: Path, environment: TritonEnvironment, tmp_path: Path) -> None:
    digest = sha256(pair / "onnx" / "text_model.onnx")
    wrong = Wanted(text_sha256=digest, vision_sha256=digest)
    with pytest.raises(BadModel, match=f"vision model: found sha256 .*, wanted {digest}"):
        pulled(pair, environment, tmp_path / "models", wrong)


def test_a_hub_gives_the_files_of_the_pair_and_no_others(pair: Path, tmp_path: Path) -> None:
    repository = shutil.copytree(pair, tmp_path / "repository")
    (repository / "pytorch_model.bin").write_bytes(b"far too large to fetch for nothing")
    with (
        hub.serving("someone/tiny-clip", repository) as endpoint,
        from_hub("someone/tiny-clip", endpoint=endpoint, cache_dir=tmp_path / "cache") as folder,
    ):
        found = Pair.find(folder)
        assert sha256(found.text) == sha256(pair / "onnx" / "text_model.onnx")
        assert sha256(found.vision) == sha256(pair / "onnx" / "vision_model.onnx")
        assert not (folder / "pytorch_model.bin").exists()


def test_a_repository_that_the_hub_lacks_is_refused(pair: Path, tmp_path: Path) -> None:
    with (
        hub.serving("someone/tiny-clip", pair) as endpoint,
        pytest.raises(BadModel, match="the hub does not give someone/else"),
        from_hub("someone/else", endpoint=endpoint, cache_dir=tmp_path / "cache"),
    ):
        pass
