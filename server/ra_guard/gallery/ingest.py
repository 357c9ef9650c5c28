"""A folder of files into the gallery: checked, stored, embedded in batches, published in shards.

Safe to stop and to repeat. Objects and catalogue records come first and change nothing that is served; rows follow in
shards of bounded size, each published as a whole. Running again skips what is published and takes up what is not.
A broken file is quarantined and never stops the run; models that fail or a full disk do, with what was published
before in force.
"""

import datetime
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_guard._core import Generation
from ra_guard.gallery.catalogue import Catalogue, ImageRecord
from ra_guard.gallery.compaction import compact
from ra_guard.gallery.errors import RefusedByModel, RefusedImage
from ra_guard.gallery.features import FeatureSpace, Featurizer
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.intake import Provenance, content_digest, inspect, require_free
from ra_guard.gallery.objects import Objects
from ra_guard.gallery.publish import publish_rows
from ra_guard.gallery.quarantine import Quarantine
from ra_guard.gallery.rows import Features, Row, stored_row
from ra_guard.gallery.sources import image_files, read_file, shown
from ra_guard.models import imaging

ROWS_PER_SHARD = 10_000
"""Rows held in memory before they are published: what a run that dies can lose."""


@dataclass(frozen=True)
class IngestOptions:
    """Whose images, under which limits, in what portions."""

    provenance: Provenance
    limits: imaging.Limits
    batch_size: int
    rows_per_shard: int = ROWS_PER_SHARD


@dataclass(frozen=True)
class ModelSource:
    """Models on demand: called when there is work for them, so an ingest with nothing new needs none."""

    space: Callable[[], FeatureSpace]
    featurizer: Callable[[], Featurizer] | None
    """None registers rows without features: they are cold until a call or another ingest warms them."""


@dataclass(frozen=True)
class IngestSummary:
    """What became of the files of one run; each is counted in one of the four fields after ``files``."""

    files: int
    published: int
    already_published: int
    duplicates: int
    """Files with the same bytes as an earlier one of this run."""
    quarantined: Mapping[str, int]
    """Files by the variant of their error."""
    generation: int | None
    """In force after the run; None while the gallery is empty."""


def ingest(
    source: Path,
    folder: GalleryFolder,
    options: IngestOptions,
    models: ModelSource,
    clock: Callable[[], datetime.datetime],
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> IngestSummary:
    """Ingests every file below ``source``; ``report`` hears of files done and files in all.

    Raises NoSuchFolder, AlreadyRunning, SpaceConflict, UnusableFeatures, DiskFull, NotStored, ShardError and the model
    client's errors; what was published before stays in force.
    """
    files = image_files(source)
    with folder.storing():
        folder.create()
        with folder.ingesting(), Catalogue.open(folder.catalogue) as catalogue:
            run = _Run(folder, catalogue, options, models, clock, folder.current())
            for done in range(0, len(files), options.batch_size):
                report(done, len(files))
                run.take(files[done : done + options.batch_size])
            run.publish()
            report(len(files), len(files))
    return run.summary(len(files))


class _Run:
    """One ingest under way: rows that wait for their shard, and counts."""

    def __init__(
        self,
        folder: GalleryFolder,
        catalogue: Catalogue,
        options: IngestOptions,
        models: ModelSource,
        clock: Callable[[], datetime.datetime],
        generation: Generation | None,
    ) -> None:
        self._folder = folder
        self._catalogue = catalogue
        self._options = options
        self._models = models
        self._clock = clock
        self._generation = generation
        self._objects = Objects(folder.objects)
        self._quarantine = Quarantine(folder.quarantine)
        self._seen: set[str] = set()
        self._waiting: list[Row] = []
        self._published = 0
        self._already_published = 0
        self._duplicates = 0
        self._quarantined: Counter[str] = Counter()

    def summary(self, files: int) -> IngestSummary:
        """What the run came to."""
        current = self._folder.current()
        return IngestSummary(
            files=files,
            published=self._published,
            already_published=self._already_published,
            duplicates=self._duplicates,
            quarantined=dict(sorted(self._quarantined.items())),
            generation=current.number if current else None,
        )

    def take(self, paths: Sequence[Path]) -> None:
        """Takes in one batch of files; publishes when enough rows wait."""
        arrivals = [arrival for path in paths if (arrival := self._arrive(path)) is not None]
        if arrivals:
            if self._generation is not None:
                self._models.space().require(self._generation)  # Before the models work for nothing.
            self._waiting.extend(self._rows(arrivals))
        if len(self._waiting) >= self._options.rows_per_shard:
            self.publish()

    def publish(self) -> None:
        """Publishes the rows that wait."""
        if not self._waiting:
            return
        space = self._models.space()
        published = publish_rows(self._folder, space, self._waiting)
        written = published.rows if published else 0
        self._published += written
        self._already_published += len(self._waiting) - written
        self._waiting = []
        compact(self._folder, space)

    def _arrive(self, path: Path) -> tuple[ImageRecord, bytes] | None:
        """A file whose row is to be written; everything else is counted or quarantined here."""
        data = None
        try:
            data = read_file(path, self._options.limits.bytes)
            record = self._register(path, data)
        except RefusedImage as error:
            self._refuse(shown(path), error, data)
            return None
        self._quarantine.clear(shown(path))
        if record.digest in self._seen:
            self._duplicates += 1
            return None
        self._seen.add(record.digest)
        stored = stored_row(self._generation, record.id)
        if stored is not None and (stored.is_complete or self._models.featurizer is None):
            self._already_published += 1
            return None
        return record, data

    def _register(self, path: Path, data: bytes) -> ImageRecord:
        """The record of an image, old or new, with its bytes in the object store. Raises RefusedImage."""
        record = self._catalogue.by_digest(content_digest(data))
        if record is None:
            record = inspect(path, data, self._options.provenance, self._options.limits, self._clock())
            require_free(self._catalogue, record)
            self._objects.put(record.id, data)
            self._catalogue.add([record])
        else:
            self._objects.put(record.id, data)
        return record

    def _rows(self, arrivals: Sequence[tuple[ImageRecord, bytes]]) -> Iterator[Row]:
        found: Sequence[Features | RefusedByModel | None] = [None] * len(arrivals)
        if self._models.featurizer is not None:
            found = self._models.featurizer().features([data for _, data in arrivals])
        for (record, data), features in zip(arrivals, found, strict=True):
            if isinstance(features, RefusedByModel):
                self._refuse(record.source, features, data)
            else:
                yield Row(record.id, record.domain, record.license, int(record.phash, 16), features)

    def _refuse(self, source: str, error: RefusedImage, data: bytes | None) -> None:
        self._quarantine.put(source, error, data, self._clock())
        self._quarantined[error.variant] += 1
