"""Assembles a space: a Triton repository, space.json and labels.json, from the files that a recipe names.

Everything is put together and tried in a hidden folder beside the target, then published by a rename: a space is
there whole or not at all. A build whose ingredients have not changed since the last one is not repeated.
"""

import fcntl
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from ra_guard.errors import Code, RaGuardError
from ra_guard.models import imaging
from ra_guard.models.environment import DETECT_MODELS, SENTENCE_MODEL, ScriptFailed, TritonEnvironment
from ra_guard.models.space import REPOSITORY_FOLDER, Space, Tower, canonical_json
from ra_guard.models.triton_server import MODELS

BUILD_FILE = "build.json"
NORM_TOLERANCE = 1e-4
IMAGING_FILE = Path(imaging.__file__)

Report = Callable[[str], None]
"""Told what is being done, for a person to see."""


class BadModel(RaGuardError):
    """A model that cannot be used: missing files, wrong names or shapes, or towers that do not fit each other."""

    status_code = Code.INVALID_ARGUMENT


@dataclass(frozen=True)
class TowerRecipe:
    """Kind of a tower, its files by the names that the kind wants, and which of them are the weights."""

    kind: str
    files: Mapping[str, Path]
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """All that makes a space but its dimension, which the models say themselves."""

    folder: str
    """What the space is called under models/."""
    name: str
    """What the pair of models is called; part of the fingerprint."""
    cosine_range: tuple[float, float]
    text: TowerRecipe
    image: TowerRecipe
    detector: Mapping[str, Path]
    label_threshold: float | None = None


@dataclass(frozen=True)
class Built:
    """A space on disk."""

    space: Space
    folder: Path
    outcome: Literal["built", "unchanged"]


def templates_folder() -> Path:
    """The checkout's triton_models/. Raises BadModel where the package is installed without it."""
    folder = Path(__file__).parents[3] / "triton_models"
    if not (folder / "clip_text" / "config.pbtxt").exists():
        raise BadModel(f"found no model templates at {folder}; run from a checkout or name its triton_models folder")
    return folder


def demo_recipe(environment: TritonEnvironment, templates: Path) -> Recipe:
    """MiniLM and EfficientNet joined by ConSE, and COCO's detector: real weights that packages carry."""
    detect = environment.folders[DETECT_MODELS] / "models"
    sentence = environment.folders[SENTENCE_MODEL] / "model"
    return Recipe(
        folder="demo",
        name="demo-minilm-conse",
        # Measured on photographs: an unrelated text lies near 0.2, a fitting description between 0.4 and 0.8.
        cosine_range=(0.1, 0.6),
        text=TowerRecipe(
            "minilm",
            {name: sentence / name for name in ("model.safetensors", "tokenizer.json")},
            weights=("model.safetensors",),
        ),
        image=TowerRecipe(
            "conse",
            {
                "classifier.tflite": detect / "efficientnet_lite3.tflite",
                "classes.txt": detect / "efficientnet_labels.txt",
            },
            weights=("classifier.tflite", "classes.txt"),
        ),
        detector=coco_detector(environment, templates),
    )


def coco_detector(environment: TritonEnvironment, templates: Path) -> Mapping[str, Path]:
    """The files of detector kind ``ssd_opencv``."""
    detect = environment.folders[DETECT_MODELS] / "models"
    return {
        "network.pb": detect / "frozen_inference_graph.pb",
        "network.pbtxt": detect / "ssd_mobilenet_v2_coco_2018_03_29.pbtxt",
        "classes.json": templates / "detector" / "classes.json",
    }


def assemble(
    recipe: Recipe, models_dir: Path, environment: TritonEnvironment, templates: Path, report: Report
) -> Built:
    """Builds the space that a recipe describes, or finds it built. Raises BadModel, OSError."""
    target = models_dir / recipe.folder
    layout = _layout(recipe, templates)
    ingredients = _ingredients(recipe, layout, environment, templates)
    if _built_from(target) == ingredients:
        return Built(Space.load(target), target, "unchanged")
    with _sole_builder(models_dir), _staging(models_dir, recipe.folder) as folder:
        _copy(layout, folder / REPOSITORY_FOLDER, report)
        space = _make_space(recipe, folder, environment, templates, report)
        space.save(folder)
        _write_configs(folder / REPOSITORY_FOLDER, space, templates)
        (folder / BUILD_FILE).write_text(ingredients, encoding="utf-8")
        _publish(folder, target)
    return Built(space, target, "built")


def _layout(recipe: Recipe, templates: Path) -> dict[str, Path]:
    """Every file of the repository but the configurations, by its path inside it, and where it comes from."""
    layout = {f"{model}/1/model.py": templates / model / "model.py" for model in MODELS}
    layout["clip_text/1/encoder.py"] = templates / "clip_text" / f"{recipe.text.kind}.py"
    layout["clip_image/1/encoder.py"] = templates / "clip_image" / f"{recipe.image.kind}.py"
    layout["detector/1/finder.py"] = templates / "detector" / "ssd_opencv.py"
    layout |= {f"{model}/1/imaging.py": IMAGING_FILE for model in ("clip_image", "detector")}
    for model, files in (("clip_text", recipe.text.files), ("clip_image", recipe.image.files)):
        layout |= {f"{model}/1/{name}": source for name, source in files.items()}
    layout |= {f"detector/1/{name}": source for name, source in recipe.detector.items()}
    return layout


def _ingredients(recipe: Recipe, layout: Mapping[str, Path], environment: TritonEnvironment, templates: Path) -> str:
    """What the space is made of, to tell whether it changed: contents of small files, size and time of large ones."""
    steps = [Path(__file__), templates / "embed_labels.py", templates / "trial.py"]
    sources = {name: _identity(source) for name, source in layout.items()}
    sources |= {step.name: _identity(step) for step in steps}
    sources |= {f"{model}/config.pbtxt": _identity(templates / model / "config.pbtxt") for model in MODELS}
    scale = {"cosine_range": recipe.cosine_range, "label_threshold": recipe.label_threshold}
    return canonical_json({"sources": sources, "name": recipe.name, **scale, "versions": dict(environment.versions)})


def _identity(source: Path) -> str:
    try:
        state = source.stat()
    except FileNotFoundError as error:
        raise BadModel(f"found no {source}, wanted a model's file; install its package or pull it again") from error
    if state.st_size < 1 << 20:
        return sha256(source)
    return f"{source}:{state.st_size}:{state.st_mtime_ns}"


def sha256(*sources: Path) -> str:
    """Over the contents of the files, one after the other."""
    digest = hashlib.sha256()
    for source in sources:
        with source.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _built_from(target: Path) -> str | None:
    try:
        return (target / BUILD_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _copy(layout: Mapping[str, Path], repository: Path, report: Report) -> None:
    report("copying weights")
    for name, source in layout.items():
        destination = repository / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


def _make_space(recipe: Recipe, folder: Path, environment: TritonEnvironment, templates: Path, report: Report) -> Space:
    text = folder / REPOSITORY_FOLDER / "clip_text" / "1"
    image = folder / REPOSITORY_FOLDER / "clip_image" / "1"
    if (classes := image / "classes.txt").exists():
        report("embedding the classifier's labels")
        environment.run(templates / "embed_labels.py", (text, classes, image / "label_embeddings.npy"))
    report("trying both towers")
    dim = _try_towers(text, image, environment, templates)
    found_classes = folder / REPOSITORY_FOLDER / "detector" / "1" / "classes.json"
    return Space(
        name=recipe.name,
        dim=dim,
        cosine_range=recipe.cosine_range,
        preprocessing=f"{recipe.image.kind}:{sha256(image / 'imaging.py', image / 'encoder.py')}",
        text=_tower(recipe.text, text),
        image=_tower(recipe.image, image),
        labels=tuple(name for _, name in json.loads(found_classes.read_text(encoding="utf-8"))),
        label_threshold=recipe.label_threshold,
    )


def _tower(recipe: TowerRecipe, folder: Path) -> Tower:
    return Tower(recipe.kind, sha256(*(folder / name for name in recipe.weights)))


def _try_towers(text: Path, image: Path, environment: TritonEnvironment, templates: Path) -> int:
    """The dimension that both towers agree on. Raises BadModel."""
    try:
        report = json.loads(environment.run(templates / "trial.py", (text, image)))
    except ScriptFailed as error:
        raise BadModel(f"the models do not run: {error}") from error
    for tower, found in report.items():
        if found["dtype"] != "float32" or not math.isclose(found["norm"], 1.0, abs_tol=NORM_TOLERANCE):
            raise BadModel(f"{tower} tower: found {found['dtype']} of norm {found['norm']}, wanted float32 of norm 1")
    if report["text"]["dim"] != report["image"]["dim"]:
        found = f"text {report['text']['dim']}, image {report['image']['dim']}"
        raise BadModel(f"found dimensions {found}, wanted two towers of one pair")
    return int(report["text"]["dim"])


def _write_configs(repository: Path, space: Space, templates: Path) -> None:
    values = {"dim": str(space.dim), "space": space.fingerprint, "labels_digest": space.labels_digest}
    for model in MODELS:
        template = Template((templates / model / "config.pbtxt").read_text(encoding="utf-8"))
        (repository / model / "config.pbtxt").write_text(template.safe_substitute(values), encoding="utf-8")


@contextmanager
def _sole_builder(models_dir: Path) -> Iterator[None]:
    """Waits for another build in the same folder to end; the kernel drops the lock of one that was killed."""
    models_dir.mkdir(parents=True, exist_ok=True)
    with (models_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _staging(models_dir: Path, name: str) -> Iterator[Path]:
    """A hidden folder on the same file system, gone afterwards unless it was renamed."""
    folder = models_dir / f".{name}.new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, target: Path) -> None:
    """Moves the finished space into place; one that is there already makes way first."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    folder.rename(target)
    shutil.rmtree(old, ignore_errors=True)
