"""Features of images that a call found cold: computed from the object store, published in a delta shard.

Image bytes come from the object store only. An id without an object is reported, so that the caller need not ask
again soon; what several processes compute at once is published once.
"""

import datetime
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ra_guard._core import Generation
from ra_guard.gallery.catalogue import Catalogue
from ra_guard.gallery.compaction import compact
from ra_guard.gallery.errors import RefusedImage
from ra_guard.gallery.features import FeatureSpace, Featurizer, ImageModels
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.intake import refusal
from ra_guard.gallery.objects import Objects
from ra_guard.gallery.publish import publish_rows
from ra_guard.gallery.quarantine import Quarantine
from ra_guard.gallery.rows import Features, Row, stored_row
from ra_guard.models import imaging

IMAGES_PER_CALL = 4
"""A call to Triton has triton.timeout_ms for all of its images: few enough that models on a CPU keep it."""


@dataclass(frozen=True)
class ColdOutcome:
    """What became of each id that was asked for; every id is in exactly one place."""

    warm: tuple[str, ...] = ()
    """Have features now, from this call or from another process."""
    absent: tuple[str, ...] = ()
    """No image is stored under these."""
    refused: Mapping[str, RefusedImage] = field(default_factory=dict)
    """Cannot be used; quarantined."""
    generation: int | None = None
    """The generation that this call published; None when there was nothing to publish."""


@dataclass(frozen=True)
class _Image:
    """A cold image whose bytes are at hand."""

    domain: str
    licence: str
    phash: int
    data: bytes


class ColdFeatures:
    """Fills in missing features. Thread-safe: every call stands for itself, publishing is serialised by a lock."""

    def __init__(
        self,
        folder: GalleryFolder,
        models: ImageModels,
        space: Callable[[], FeatureSpace],
        limits: imaging.Limits,
        clock: Callable[[], datetime.datetime],
        *,
        timeout_s: float,
    ) -> None:
        """``space`` is called when it is first needed: it may have to ask the models for label embeddings."""
        self._folder = folder
        self._models = models
        self._space = functools.cache(space)
        self._limits = limits
        self._clock = clock
        self._timeout_s = timeout_s

    def embed(self, ids: Sequence[bytes]) -> ColdOutcome:
        """Computes and publishes the features of one batch of ids.

        Raises the model client's errors, UnusableFeatures, SpaceConflict, DiskFull, NotStored and ShardError;
        nothing is published then.
        """
        with self._folder.storing():
            return self._embed(ids)

    def _embed(self, ids: Sequence[bytes]) -> ColdOutcome:
        names = [image_id.decode() for image_id in dict.fromkeys(ids)]
        generation = self._folder.current()
        cold = [name for name in names if not _is_complete(generation, name)]
        images = self._load(generation, cold)
        refused = self._undecodable(images)
        usable = {name: image for name, image in images.items() if name not in refused}
        rows = self._embedded(usable, refused)
        number = self._publish(rows) if rows else None
        self._quarantine(images, refused)
        return ColdOutcome(
            warm=tuple(name for name in names if name not in cold) + tuple(row.id for row in rows),
            absent=tuple(name for name in cold if name not in images),
            refused=refused,
            generation=number,
        )

    def _load(self, generation: Generation | None, ids: Sequence[str]) -> dict[str, _Image]:
        """Images that the generation or the catalogue knows and the object store holds."""
        if not self._folder.objects.is_dir():
            return {}
        objects = Objects(self._folder.objects)
        images: dict[str, _Image] = {}
        with Catalogue.open(self._folder.catalogue) as catalogue:
            for image_id in ids:
                data = objects.read(image_id)
                stored, record = stored_row(generation, image_id), catalogue.by_id(image_id)
                if data is None:
                    continue
                if stored is not None:
                    images[image_id] = _Image(stored.domain, stored.licence, stored.phash, data)
                elif record is not None:
                    images[image_id] = _Image(record.domain, record.license, int(record.phash, 16), data)
        return images

    def _undecodable(self, images: Mapping[str, _Image]) -> dict[str, RefusedImage]:
        """Images that would fail in the models; decoded here, so that one of them does not cost its batch."""
        refused: dict[str, RefusedImage] = {}
        for image_id, image in images.items():
            try:
                imaging.decode(image.data, self._limits)
            except imaging.ImageError as error:
                refused[image_id] = refusal(error)
        return refused

    def _embedded(self, images: Mapping[str, _Image], refused: dict[str, RefusedImage]) -> list[Row]:
        """Rows with features; what the models refuse is added to ``refused``."""
        if not images:
            return []
        featurizer = Featurizer(self._models, self._space().space, self._timeout_s)
        rows = []
        for image_id, found in self._features(featurizer, images):
            image = images[image_id]
            if isinstance(found, Features):
                rows.append(Row(image_id, image.domain, image.licence, image.phash, found))
            else:
                refused[image_id] = found
        return rows

    def _features(
        self, featurizer: Featurizer, images: Mapping[str, _Image]
    ) -> Iterator[tuple[str, Features | RefusedImage]]:
        ids = list(images)
        for start in range(0, len(ids), IMAGES_PER_CALL):
            some = ids[start : start + IMAGES_PER_CALL]
            yield from zip(some, featurizer.features([images[image_id].data for image_id in some]), strict=True)

    def _publish(self, rows: Sequence[Row]) -> int | None:
        published = publish_rows(self._folder, self._space(), rows)
        if published is None:
            return None
        return compact(self._folder, self._space()) or published.generation

    def _quarantine(self, images: Mapping[str, _Image], refused: Mapping[str, RefusedImage]) -> None:
        quarantine = Quarantine(self._folder.quarantine)
        for image_id, error in refused.items():
            quarantine.put(image_id, error, images[image_id].data, self._clock())


def _is_complete(generation: Generation | None, image_id: str) -> bool:
    stored = stored_row(generation, image_id)
    return stored is not None and stored.is_complete
