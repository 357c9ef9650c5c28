"""Brings a CLIP pair of ONNX models into a space of its own: from a hub's repository, a folder or an archive of one.

Wanted are a text model (``input_ids -> text_embeds``), a vision model (``pixel_values -> image_embeds``),
``tokenizer.json`` and ``preprocessor_config.json``, under the names that exporters give them (`Pair.find`).
Everything is checked before a space is published: names, types, shapes, digests, dimensions, and one real inference.
"""

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ra_guard.models.build import BadModel, Built, Recipe, Report, TowerRecipe, assemble, coco_detector, sha256
from ra_guard.models.environment import ScriptFailed, TritonEnvironment

TEXT_MODELS = ("text_model.onnx", "onnx/text_model.onnx", "text/model.onnx", "textual.onnx")
VISION_MODELS = ("vision_model.onnx", "onnx/vision_model.onnx", "vision/model.onnx", "visual.onnx")
TOKENIZERS = ("tokenizer.json", "text/tokenizer.json")
PREPROCESSORS = ("preprocessor_config.json", "vision/preprocessor_config.json")
WEIGHTS_SUFFIXES = ("_data", ".data")
"""What exporters append to a model's name for weights that they keep in a file of their own."""

CLIP_COSINE_RANGE = (0.1, 0.35)
"""CLIP's cosines of a text with an unrelated and with a fitting photograph; models trained otherwise need their own."""

_PREPROCESSOR_KEYS = ("crop_size", "size", "image_mean", "image_std")


@dataclass(frozen=True)
class Pair:
    """The files of a pair, wherever they were found."""

    text: Path
    vision: Path
    tokenizer: Path
    preprocessor: Path

    @classmethod
    def find(cls, folder: Path) -> "Pair":
        """Raises BadModel with the names that would do."""
        return cls(
            text=_first(folder, TEXT_MODELS),
            vision=_first(folder, VISION_MODELS),
            tokenizer=_first(folder, TOKENIZERS),
            preprocessor=_first(folder, PREPROCESSORS),
        )


@dataclass(frozen=True)
class Wanted:
    """What the operator knows about the weights: empty digests are not checked. Raises BadModel."""

    text_sha256: str = ""
    vision_sha256: str = ""
    cosine_range: tuple[float, float] = CLIP_COSINE_RANGE
    label_threshold: float | None = None

    def __post_init__(self) -> None:
        low, high = self.cosine_range
        if not -1 <= low < high <= 1:
            raise BadModel(f"cosine_range: found {low} to {high}, wanted two cosines, the lower first")
        if self.label_threshold is not None and not -1 <= self.label_threshold <= 1:
            raise BadModel(f"label_threshold: found {self.label_threshold}, wanted a cosine, -1 to 1")


@dataclass(frozen=True)
class Signature:
    """The input and output that a tower's ONNX model must have. The output is ``(batch, dim)`` float32."""

    input: str
    input_type: str
    input_rank: int
    output: str
    optional_inputs: tuple[str, ...] = ()


TEXT_SIGNATURE = Signature("input_ids", "tensor(int64)", 2, "text_embeds", optional_inputs=("attention_mask",))
VISION_SIGNATURE = Signature("pixel_values", "tensor(float)", 4, "image_embeds")


@contextmanager
def from_hub(
    repository: str, revision: str | None = None, *, endpoint: str | None = None, cache_dir: Path | None = None
) -> Iterator[Path]:
    """A repository's files of a pair, by the hub's own client; ``None`` means its defaults. Raises BadModel."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise BadModel("found no huggingface_hub; install it, or name a folder or an archive") from error
    models = (*TEXT_MODELS, *VISION_MODELS)
    weights = [model + suffix for model in models for suffix in WEIGHTS_SUFFIXES]
    patterns = [*models, *weights, *TOKENIZERS, *PREPROCESSORS]
    try:
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=patterns, endpoint=endpoint, cache_dir=cache_dir
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise BadModel(f"the hub does not give {repository}: {first_line}; check the name or name a folder") from error
    yield Path(folder)


@contextmanager
def from_path(path: Path) -> Iterator[Path]:
    """A folder as it is, or an archive (.zip, .tar, .tar.gz) unpacked for as long as the context lasts."""
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise BadModel(f"found nothing at {path}, wanted a folder or an archive with an ONNX pair")
    with tempfile.TemporaryDirectory() as unpacked:
        try:
            # The filter keeps a tar's members inside the folder; for a zip that is the only way they are unpacked.
            if path.suffix == ".zip":
                shutil.unpack_archive(path, unpacked)
            else:
                shutil.unpack_archive(path, unpacked, filter="data")
        except (shutil.ReadError, tarfile.TarError, ValueError, OSError) as error:
            raise BadModel(f"{path} cannot be unpacked: {error}; wanted a .zip, .tar or .tar.gz") from error
        yield _sole_folder(Path(unpacked))


def pull(
    folder: Path,
    name: str,
    wanted: Wanted,
    models_dir: Path,
    environment: TritonEnvironment,
    templates: Path,
    report: Report,
) -> Built:
    """Builds space ``name`` from the pair in ``folder``, beside the ones that are there. Raises BadModel."""
    pair = Pair.find(folder)
    report("checking the pair")
    _check_digest("text", pair.text, wanted.text_sha256)
    _check_digest("vision", pair.vision, wanted.vision_sha256)
    script = templates / "onnx_signature.py"
    _check_signature(pair.text, TEXT_SIGNATURE, environment, script)
    _check_signature(pair.vision, VISION_SIGNATURE, environment, script)
    _check_preprocessor(pair.preprocessor)
    return assemble(_recipe(pair, name, wanted, environment, templates), models_dir, environment, templates, report)


def _recipe(pair: Pair, name: str, wanted: Wanted, environment: TritonEnvironment, templates: Path) -> Recipe:
    text = {"model.onnx": pair.text, **_weights(pair.text), "tokenizer.json": pair.tokenizer}
    image = {"model.onnx": pair.vision, **_weights(pair.vision), "preprocessor_config.json": pair.preprocessor}
    return Recipe(
        folder=name,
        name=name,
        cosine_range=wanted.cosine_range,
        text=TowerRecipe("clip_onnx", text, weights=tuple(text)),
        image=TowerRecipe("clip_onnx", image, weights=tuple(image)),
        detector=coco_detector(environment, templates),
        label_threshold=wanted.label_threshold,
    )


def _weights(model: Path) -> dict[str, Path]:
    """Weights in a file of their own keep their name: the model refers to them by it."""
    beside = (model.with_name(model.name + suffix) for suffix in WEIGHTS_SUFFIXES)
    return {path.name: path for path in beside if path.exists()}


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BadModel(f"found none of {', '.join(names)} in {folder}; wanted one of them")


def _sole_folder(folder: Path) -> Path:
    """Many archives hold one folder that holds everything."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _check_digest(tower: str, model: Path, wanted: str) -> None:
    if wanted and (found := sha256(model)) != wanted.lower():
        raise BadModel(f"{tower} model: found sha256 {found}, wanted {wanted}; this is another file or a damaged one")


def _check_signature(model: Path, wanted: Signature, environment: TritonEnvironment, script: Path) -> None:
    try:
        signature = json.loads(environment.run(script, (model,)))
    except ScriptFailed as error:
        raise BadModel(f"{model.name} is no ONNX model that runs: {error}") from error
    inputs, outputs = signature["inputs"], signature["outputs"]
    if wanted.input not in inputs or not set(inputs) <= {wanted.input, *wanted.optional_inputs}:
        also = f" and at most {', '.join(wanted.optional_inputs)}" if wanted.optional_inputs else " alone"
        raise BadModel(f"{model.name}: found inputs {', '.join(inputs)}, wanted {wanted.input}{also}")
    if wanted.output not in outputs:
        cure = "export the model with its projection"
        raise BadModel(f"{model.name}: found outputs {', '.join(outputs)}, wanted {wanted.output}; {cure}")
    _check_tensor(model, wanted.input, inputs[wanted.input], (wanted.input_type, wanted.input_rank))
    _check_tensor(model, wanted.output, outputs[wanted.output], ("tensor(float)", 2))


def _check_tensor(model: Path, name: str, found: tuple[str, list[object]], wanted: tuple[str, int]) -> None:
    kind, shape = found
    if (kind, len(shape)) != wanted:
        raise BadModel(f"{model.name}: found {name} {kind} of shape {shape}, wanted {wanted[0]} of rank {wanted[1]}")


def _check_preprocessor(path: Path) -> None:
    try:
        config: Mapping[str, object] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadModel(f"{path.name} is no JSON: {error}") from error
    missing = [key for key in _PREPROCESSOR_KEYS if key not in config]
    if missing:
        raise BadModel(f"{path.name} lacks {', '.join(missing)}; wanted CLIP's image preprocessing")
