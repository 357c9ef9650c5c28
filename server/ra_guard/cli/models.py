"""``ra-guard models``: which embedding spaces are here, building the demo's, pulling CLIP weights, serving one."""

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from rich.console import Console
from rich.table import Table

from ra_guard.config import Settings, load
from ra_guard.models.build import Built, Report, assemble, demo_recipe, templates_folder
from ra_guard.models.environment import TritonEnvironment
from ra_guard.models.pull import CLIP_COSINE_RANGE, Wanted, from_hub, from_path, pull
from ra_guard.models.space import REPOSITORY_FOLDER, Space, names
from ra_guard.models.triton_server import Ports, TritonNotStarted, TritonServer

app = cyclopts.App(name="models", help="List, build, pull and serve embedding spaces.")

RECIPES = {"demo": demo_recipe}
DEFAULT_PYTHON = ".venv-triton/bin/python"
_WATCH_S = 0.5

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]


@app.command(name="list")
def list_spaces(*, config: Path | None = None, as_json: Json = False) -> None:
    """The spaces that are here, with their fingerprints."""
    models_dir = load(config).models_dir
    spaces = {name: Space.load(models_dir / name) for name in names(models_dir)}
    if as_json:
        print(json.dumps([_described(name, space) for name, space in spaces.items()]))
        return
    table = Table("space", "models", "dim", "text", "image", "fingerprint")
    for name, space in spaces.items():
        table.add_row(name, space.name, str(space.dim), space.text.kind, space.image.kind, space.fingerprint)
    Console().print(table if spaces else "no spaces yet; run `ra-guard models build`")


@app.command
def build(*, space: Literal["demo"] = "demo", config: Path | None = None, as_json: Json = False) -> None:
    """Assemble a space from the weights that installed packages carry; quick when nothing changed."""
    settings = load(config)
    environment, templates = _environment(settings), templates_folder()
    with _progress() as report:
        built = assemble(RECIPES[space](environment, templates), settings.models_dir, environment, templates, report)
    _say(built, as_json=as_json)


@app.command(name="pull")
def pull_pair(
    repository: str | None = None,
    *,
    source: Annotated[str, cyclopts.Parameter(name="--from")],
    space: str | None = None,
    revision: str | None = None,
    text_sha256: str = "",
    vision_sha256: str = "",
    cosine_range: tuple[float, float] = CLIP_COSINE_RANGE,
    label_threshold: float | None = None,
    config: Path | None = None,
    as_json: Json = False,
) -> None:
    """Bring a CLIP pair of ONNX models into a space of its own.

    Parameters
    ----------
    repository
        The hub's name of the repository, with --from hub.
    source
        "hub", a folder, or an archive of one.
    space
        What to call the space; the repository's or the folder's name unless given.
    revision
        A branch, tag or commit of the hub's repository; pin a commit where it matters.
    text_sha256
        Refuse another text model than the one with this digest.
    vision_sha256
        Refuse another vision model than the one with this digest.
    cosine_range
        The pair's cosine of a text with an unrelated and with a fitting image.
    label_threshold
        The pair's cosine of two texts from which a query that names no object expects a label; by default the high end
        of the cosine range. CLIP's texts lie closer to each other than to images, so its pairs want a higher one.
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout.
    """
    settings = load(config)
    if (source == "hub") != (repository is not None):
        raise cyclopts.ValidationError(msg="found a repository without --from hub, or the reverse; wanted both or none")
    wanted = Wanted(text_sha256, vision_sha256, cosine_range, label_threshold)
    origin = from_hub(repository, revision) if repository else from_path(Path(source))
    name = space or _folder_name(repository or Path(source).resolve().stem)
    environment, templates = _environment(settings), templates_folder()
    with origin as folder, _progress() as report:
        built = pull(folder, name, wanted, settings.models_dir, environment, templates, report)
    _say(built, as_json=as_json)


@app.command
def serve(
    *,
    space: str | None = None,
    grpc_port: int = Ports.grpc,
    http_port: int = Ports.http,
    metrics_port: int = Ports.metrics,
    config: Path | None = None,
) -> None:
    """Run Triton on a space until SIGTERM or Ctrl-C, on 127.0.0.1."""
    settings = load(config)
    chosen = space or settings.triton.space or "demo"
    Space.load(settings.models_dir / chosen)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    repository = settings.models_dir / chosen / REPOSITORY_FOLDER
    ports = Ports(grpc_port, http_port, metrics_port)
    environment = _environment(settings)
    with TritonServer.start(repository, environment, settings.run_dir / "triton", ports=ports) as triton:
        print(f"serving {chosen} at {triton.url}, log in {triton.log}", flush=True)
        while not stopped.wait(_WATCH_S):
            if not triton.running():
                raise TritonNotStarted(f"Triton ended by itself; see {triton.log}")


def _environment(settings: Settings) -> TritonEnvironment:
    return TritonEnvironment.inspect(Path(settings.triton.python or DEFAULT_PYTHON))


def _folder_name(text: str) -> str:
    """A repository's name as a folder's: openai/clip-vit-base-patch32 becomes openai-clip-vit-base-patch32."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-").lower()


@contextmanager
def _progress() -> Iterator[Report]:
    """Steps as they happen, on stderr: a spinner for a person, lines for a file."""
    console = Console(stderr=True)
    with console.status("looking at the models") as status:

        def report(step: str) -> None:
            status.update(step)
            if not console.is_terminal:
                console.print(step)

        yield report


def _described(folder: str, space: Space) -> dict[str, object]:
    return {"space": folder, "fingerprint": space.fingerprint, "labels": len(space.labels), **json.loads(space.json())}


def _say(built: Built, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"outcome": built.outcome, **_described(built.folder.name, built.space)}))
    else:
        print(f"{built.folder.name}: {built.outcome}, {built.space.dim} dimensions, space {built.space.fingerprint}")
