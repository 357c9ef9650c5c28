"""What the demo needs before it can start: photographs that ship in packages, a Triton, a gallery, a server.

Everything runs on free ports with its state in a temporary folder, and ends with the demo, however that ends.
"""

import datetime
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from ra_guard.cli.gallery import open_models
from ra_guard.client import CallFailed, ExperimentClient
from ra_guard.config import Settings, load
from ra_guard.errors import ConfigError, RaGuardError
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.ingest import IngestOptions, ModelSource, ingest
from ra_guard.gallery.intake import IdSource, Provenance
from ra_guard.models import imaging, launch
from ra_guard.models.environment import TritonEnvironment
from ra_guard.models.space import REPOSITORY_FOLDER
from ra_guard.models.triton_server import Ports, TritonServer
from ra_guard.v1 import experiment_pb2

READY_TIMEOUT_S = 60.0
STOP_GRACE_S = 20.0
_POLL_S = 0.05
_TRITON_TIMEOUT_MS = 10_000
"""Far above the default: on a small machine the models share two cores with everything else here."""


class DemoFailed(RaGuardError):
    """The demo's server did not come up, or something it was to show did not happen."""


@dataclass(frozen=True)
class Photograph:
    """A photograph inside an installed package."""

    package: str
    path: str
    domain: str
    licence: str

    @property
    def name(self) -> str:
        """Its id in the gallery."""
        return Path(self.path).stem

    def file(self) -> Path:
        """Where it lies. Raises DemoFailed when the package is not installed or no longer carries it."""
        spec = find_spec(self.package)
        path = Path(spec.origin).parent / self.path if spec and spec.origin else None
        if path is None or not path.is_file():
            raise DemoFailed(f"{self.package}: found no {self.path}; install the demo's packages with `make setup`")
        return path


PHOTOGRAPHS = (
    Photograph("skimage", "data/coffee.png", "cocktails", "cc0"),
    Photograph("sklearn", "datasets/images/flower.jpg", "flowers", "cc-by-2.0"),
    Photograph("skimage", "data/grass.png", "flowers", "cc0"),
    Photograph("skimage", "data/astronaut.png", "professional", "public-domain"),
    Photograph("skimage", "data/camera.png", "professional", "cc0"),
    Photograph("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "professional", "public-domain"),
    Photograph("skimage", "data/retina.jpg", "professional", "cc0"),
    Photograph("skimage", "data/page.png", "professional", ""),
    Photograph("skimage", "data/text.png", "professional", "public-domain"),
    Photograph("skimage", "data/chelsea.png", "animals", "cc0"),
    Photograph("skimage", "data/motorcycle_left.png", "places", ""),
    Photograph("skimage", "data/rocket.jpg", "places", "public-domain"),
    Photograph("sklearn", "datasets/images/china.jpg", "places", "cc-by-2.0"),
    Photograph("skimage", "data/brick.png", "places", "cc0"),
    Photograph("skimage", "data/gravel.png", "places", "cc0"),
    Photograph("skimage", "data/moon.png", "science", ""),
    Photograph("skimage", "data/hubble_deep_field.jpg", "science", "public-domain"),
    Photograph("skimage", "data/coins.png", "science", ""),
    Photograph("skimage", "data/clock_motion.png", "science", "public-domain"),
)
COLD_PHOTOGRAPH = "chelsea"
"""Registered without features, to arrive cold."""


@dataclass
class Stage:
    """Everything up and ready."""

    address: str
    experiment: str
    generation: int
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of each step, in order."""


@contextmanager
def stage() -> Iterator[Stage]:
    """Sets the demo up; afterwards no process and no file of it is left. Raises DemoFailed and what its parts raise."""
    with ExitStack() as ending:
        ending.enter_context(_interrupted_by_sigterm())
        state = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="ra-guard-demo-")))
        timings: dict[str, float] = {}
        installed = load()
        space_dir = installed.space_dir()
        if space_dir is None:
            raise ConfigError(f"{installed.models_dir}: found no embedding space; run `make setup` first")
        with _timed(timings, "Triton with three models"):
            environment = TritonEnvironment.inspect(_triton_python(installed))
            triton = TritonServer.start(
                space_dir / REPOSITORY_FOLDER, environment, state / "triton", ports=Ports.free()
            )
            ending.callback(triton.stop)
        settings = load(overrides=_overrides(state, space_dir, triton.url))
        with _timed(timings, f"{len(PHOTOGRAPHS)} photographs embedded and detected"):
            generation = build_gallery(settings, state / "photographs")
        with _timed(timings, "server"):
            server = ending.enter_context(_server(settings, state))
        yield Stage(server, settings.experiment.key, generation, timings)


def build_gallery(settings: Settings, photographs: Path) -> int:
    """Ingests the photographs, domain by domain; returns the generation's number."""
    number = 0
    with open_models(settings) as models:
        for domain, licence in dict.fromkeys((photo.domain, photo.licence) for photo in PHOTOGRAPHS):
            folder = photographs / f"{domain}-{licence or 'unknown'}"
            folder.mkdir(parents=True)
            chosen = [photo for photo in PHOTOGRAPHS if (photo.domain, photo.licence) == (domain, licence)]
            for photo in chosen:
                shutil.copy(photo.file(), folder)
            cold = [photo.name for photo in chosen] == [COLD_PHOTOGRAPH]
            number = _ingest(settings, folder, Provenance(domain, licence, "packages", IdSource.NAME),
                             ModelSource(models.space, None) if cold else models)
    return number
