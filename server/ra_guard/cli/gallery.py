"""``ra-guard gallery``: images in, features published, and a look at what is there."""

import datetime
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cyclopts
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ra_guard._core import Generation, ShardError
from ra_guard.config import Settings, load
from ra_guard.errors import ConfigError
from ra_guard.gallery.describe import GalleryDescription, describe, show
from ra_guard.gallery.features import Featurizer
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.ingest import IngestOptions, IngestSummary, ModelSource, ingest
from ra_guard.gallery.intake import IdSource, Provenance
from ra_guard.gallery.label_embeddings import open_feature_space
from ra_guard.gallery.pools import build_missing
from ra_guard.models import imaging
from ra_guard.models.space import Space
from ra_guard.serving.breaker import CircuitBreaker
from ra_guard.serving.triton import TritonModels

app = cyclopts.App(name="gallery", help="Ingest, describe and verify the gallery.")

BATCH_TIMEOUT_S = 60.0
"""For one batch of images. Nobody waits for an ingest as for a call, so it is far above triton.timeout_ms."""
BAR_WIDTH = 32

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]
Features = Annotated[bool, cyclopts.Parameter(negative="--no-features")]


@app.command(name="ingest")
def ingest_folder(
    folder: Path,
    *,
    domain: str,
    licence: str = "",
    provider: str = "internal",
    id_from: IdSource = IdSource.DIGEST,
    features: Features = True,
    config: Path | None = None,
    as_json: Json = False,
) -> None:
    """Take in every image below a folder and publish a generation that holds them. Safe to stop and to repeat.

    Parameters
    ----------
    folder
        Where the images are; hidden files are left out.
    domain
        The part of the gallery that they belong to.
    licence
        What may be done with them, as requests name it; empty when unknown.
    provider
        Where they come from; part of an id that is a digest.
    id_from
        "digest": the content decides the id. "name": the file's name without its suffix.
    features
        Embed and detect now. With --no-features rows are cold until a call or another ingest warms them.
    config
        A TOML file with options to override.
    as_json
        One JSON document on stdout.
    """
    settings = load(config)
    provenance = Provenance(domain, licence, provider, id_from)
    limits = imaging.Limits(settings.gallery.max_image_bytes, settings.gallery.max_image_pixels)
    options = IngestOptions(provenance, limits, settings.gallery.batch_size)
    started = time.monotonic()
    with open_models(settings) as models, _progress(quiet=as_json) as report:
        source = models if features else ModelSource(models.space, None)
        summary = ingest(folder, GalleryFolder(settings.gallery_dir), options, source, _now, report)
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps({**asdict(summary), "seconds": round(seconds, 3)}))
    else:
        _print_summary(summary, seconds, GalleryFolder(settings.gallery_dir).quarantine)


@app.command(name="describe")
def describe_gallery(*, config: Path | None = None, as_json: Json = False) -> None:
    """Show the generation in force: rows, space, domains, shards, and how much of it is in memory."""
    settings = load(config)
    description = describe(settings.gallery_dir, Generation.open(str(settings.gallery_dir)))
    if as_json:
        print(json.dumps(description.to_json()))
    else:
        _print_description(description)


@app.command
def verify(*, generation: int | None = None, config: Path | None = None, as_json: Json = False) -> int:
    """Read every byte of a generation against its checksums; exit 1 names what is wrong."""
    settings = load(config)
    try:
        opened = Generation.open(str(settings.gallery_dir), generation)
        opened.verify()
    except ShardError as error:
        if as_json:
            print(json.dumps({"intact": False, "variant": error.variant, "error": str(error)}))
        print(f"error: {error.variant}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps({"intact": True, "generation": opened.number, "rows": opened.rows, "bytes": opened.bytes}))
    else:
        print(f"generation {opened.number} is intact: {opened.rows} rows, {opened.bytes} bytes")
    return 0


@app.command(name="show")
def show_image(image_id: str, *, config: Path | None = None) -> None:
    """Print everything known about one image, as JSON."""
    print(json.dumps(show(GalleryFolder(load(config).gallery_dir), image_id), indent=2, ensure_ascii=False))


@app.command
def pools(*, config: Path | None = None) -> None:
    """Build the nearest-neighbour indexes that shards lack."""
    folder = GalleryFolder(load(config).gallery_dir)
    Generation.open(str(folder.path))  # Says that there is nothing yet before anything is locked.
    with folder.storing(), folder.publishing():
        built = build_missing(folder.path, Generation.open(str(folder.path)))
    print(f"built {', '.join(built)}" if built else "every shard has its indexes")


@contextmanager
def open_models(settings: Settings) -> Iterator[ModelSource]:
    """The configured Triton as a source of features; it is first asked when there is work for it."""
    space_folder = _space_folder(settings)
    space = Space.load(space_folder)
    triton = settings.triton
    breaker = CircuitBreaker(failures=triton.breaker_failures, reset_s=triton.breaker_reset_s)
    client = TritonModels(
        triton.url, space=space, timeout_s=BATCH_TIMEOUT_S, max_in_flight=triton.max_in_flight, breaker=breaker
    )
    try:
        yield ModelSource(
            functools.cache(lambda: open_feature_space(client, space_folder, settings.gallery.dtype, BATCH_TIMEOUT_S)),
            lambda: Featurizer(client, space, BATCH_TIMEOUT_S),
        )
    finally:
        client.close()


def _space_folder(settings: Settings) -> Path:
    folder = settings.space_dir()
    if folder is None:
        raise ConfigError(f"{settings.models_dir}: found no embedding space; run `ra-guard models build` first")
    return folder


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left, on stderr and for people only."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(BAR_WIDTH),
        MofNCompleteColumn(),
        TextColumn("images,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("ingest", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_summary(summary: IngestSummary, seconds: float, quarantine: Path) -> None:
    table = Table.grid("", "", padding=(0, 2))
    table.columns[1].justify = "right"
    for name, value in (
        ("files", str(summary.files)),
        ("published", str(summary.published)),
        ("already there", str(summary.already_published)),
        ("duplicates", str(summary.duplicates)),
        ("quarantined", str(sum(summary.quarantined.values()))),
        ("generation", str(summary.generation or "none")),
        ("seconds", f"{seconds:.1f}"),
    ):
        table.add_row(f"[bold]{name}", value)
    console = Console()
    console.print(table)
    for variant, count in summary.quarantined.items():
        console.print(f"{variant}: {count} quarantined, reasons in {quarantine}", highlight=False)


def _print_description(found: GalleryDescription) -> None:
    console = Console()
    facts = Table(show_header=False, box=None, pad_edge=False)
    for name, value in (
        ("generation", str(found.generation)),
        ("rows", f"{found.rows:,}"),
        ("embeddings", f"{found.dim} x {found.dtype}"),
        ("space", found.space),
        ("domains", ", ".join(found.domains)),
        ("licences", ", ".join(name or "(unknown)" for name in found.licences)),
        ("labels", f"{len(found.labels)}: {', '.join(found.labels[:8])} ..."),
        ("size", f"{found.bytes:,} bytes, {found.resident:.0%} in memory"),
    ):
        facts.add_row(f"[bold]{name}", value)
    shards = Table("shard, newest first", "rows", "bytes", "pool index")
    for shard in found.shards:
        shards.add_row(shard.file, f"{shard.rows:,}", f"{shard.bytes:,}", "yes" if shard.has_pool else "missing")
    console.print(facts, shards, highlight=False)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
