"""An empty gallery with stand-in models in front of the real core."""

import datetime
import functools
from collections.abc import Callable
from pathlib import Path

from ra_guard.gallery.cold import ColdFeatures
from ra_guard.gallery.features import FeatureSpace, Featurizer, ImageModels
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.ingest import IngestOptions, IngestSummary, ModelSource, ingest
from ra_guard.gallery.intake import Provenance
from ra_guard.gallery.label_embeddings import label_embeddings
from ra_guard.models import imaging

from tests.stand_ins.gallery_models import SPACE, StandInModels

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
LIMITS = imaging.Limits(bytes=200_000, pixels=1_000_000)


class Studio:
    """One gallery folder under a temporary path, and the models that look at its images."""

    def __init__(self, path: Path, models: ImageModels | None = None, dtype: str = "f16") -> None:
        self.path = path
        self.folder = GalleryFolder(path / "gallery")
        self.models = models or StandInModels()
        self._dtype = dtype

    def with_models(self, models: ImageModels) -> "Studio":
        return Studio(self.path, models, self._dtype)

    def space(self) -> FeatureSpace:
        rows = label_embeddings(self.models, SPACE, self.path / "space", 1.0)
        return FeatureSpace(SPACE, self._dtype, rows)

    def ingest(
        self,
        source: Path,
        provenance: Provenance | None = None,
        *,
        rows_per_shard: int = 1000,
        report: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> IngestSummary:
        featurizer = functools.partial(Featurizer, self.models, SPACE, 1.0)
        return self._ingest(source, provenance, ModelSource(self.space, featurizer), rows_per_shard, report)

    def register(self, source: Path, provenance: Provenance | None = None) -> IngestSummary:
        """Without features."""
        return self._ingest(source, provenance, ModelSource(self.space, None), 1000, lambda _done, _total: None)

    def cold(self) -> ColdFeatures:
        return ColdFeatures(self.folder, self.models, self.space, LIMITS, lambda: NOW, timeout_s=1.0)

    def _ingest(
        self,
        source: Path,
        provenance: Provenance | None,
        models: ModelSource,
        rows_per_shard: int,
        report: Callable[[int, int], None],
    ) -> IngestSummary:
        options = IngestOptions(provenance or Provenance("flowers"), LIMITS, 4, rows_per_shard)
        return ingest(source, self.folder, options, models, lambda: NOW, report)
