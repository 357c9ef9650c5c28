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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ra_guard.cli.experiment import control_addresses
from ra_guard.cli.gallery import open_models
from ra_guard.cli.models import DEFAULT_PYTHON
from ra_guard.client import CallFailed, ExperimentClient
from ra_guard.config import Settings, load
from ra_guard.errors import Code, ConfigError, RaGuardError
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

    status_code = Code.INTERNAL


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
EXPERIMENT = "ra_guard_enhancement"
COLD_PHOTOGRAPH = "chelsea"
"""Registered without features, to arrive cold."""


@dataclass(frozen=True)
class Stage:
    """Everything up and ready."""

    address: str
    control: str
    """Address of the control plane."""
    experiment: str
    generation: int


Step = Callable[[str], AbstractContextManager[None]]
"""Says what is being done, for as long as it takes."""


@contextmanager
def stage(step: Step) -> Iterator[Stage]:
    """Sets the demo up; afterwards no process and no file of it is left. Raises DemoFailed and what its parts raise."""
    installed = load()
    space_dir = installed.space_dir()
    if space_dir is None:
        raise ConfigError(f"{installed.models_dir}: found no embedding space; run `make setup` first")
    environment = TritonEnvironment.inspect(Path(installed.triton.python or DEFAULT_PYTHON))
    with ExitStack() as ending:
        ending.enter_context(_sigterm_as_interrupt())
        state = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="ra-guard-demo-")))
        with step("Triton, with the text, image and detector models"):
            repository = space_dir.resolve() / REPOSITORY_FOLDER
            triton = TritonServer.start(repository, environment, state / "run", ports=Ports.free())
            ending.callback(triton.stop)
        settings = _settings(state, space_dir, triton.url)
        with step(f"{len(PHOTOGRAPHS)} photographs: decoded, embedded, objects detected, published"):
            generation = build_gallery(settings, state / "photographs")
        with step("the server, one worker a core"):
            address = ending.enter_context(_server(settings))
        yield Stage(address, control_addresses(settings), settings.experiment.key, generation)


def build_gallery(settings: Settings, folder: Path) -> int:
    """Ingests the photographs by domain and licence; returns the number of the generation that holds them all."""
    number: int | None = None
    with open_models(settings) as models:
        for domain, licence in dict.fromkeys((photo.domain, photo.licence) for photo in PHOTOGRAPHS):
            chosen = [photo for photo in PHOTOGRAPHS if (photo.domain, photo.licence) == (domain, licence)]
            source = folder / f"{domain}-{licence or 'unknown'}"
            source.mkdir(parents=True)
            for photo in chosen:
                shutil.copy(photo.file(), source)
            cold = COLD_PHOTOGRAPH in [photo.name for photo in chosen]
            features = ModelSource(models.space, None) if cold else models
            provenance = Provenance(domain, licence, "packages", IdSource.NAME)
            number = _ingest(settings, source, provenance, features)
    if number is None:
        raise DemoFailed("no photograph could be ingested; run `ra-guard gallery ingest` on a folder to see why")
    return number


def _ingest(settings: Settings, source: Path, provenance: Provenance, models: ModelSource) -> int | None:
    limits = imaging.Limits(settings.gallery.max_image_bytes, settings.gallery.max_image_pixels)
    options = IngestOptions(provenance, limits, settings.gallery.batch_size)
    return ingest(
        source, GalleryFolder(settings.gallery_dir), options, models, lambda: datetime.datetime.now(datetime.UTC)
    ).generation


def _settings(state: Path, space_dir: Path, triton_url: str) -> Settings:
    """The defaults, with everything inside ``state``, free ports, and polls that a person need not wait for."""
    (state / "models").mkdir()
    (state / "models" / space_dir.name).symlink_to(space_dir.resolve(), target_is_directory=True)
    return load(
        overrides={
            "state_dir": str(state),
            "server": {"port": _free_port()},
            "control": {"port": _free_port(), "metrics_port": 0, "address": "", "store": "", "tokens": "", "token": ""},
            "experiment": {"key": EXPERIMENT},
            "gallery": {"path": "", "poll_s": 0.1},
            "triton": {"url": triton_url, "space": space_dir.name, "timeout_ms": _TRITON_TIMEOUT_MS},
            "cold": {"mode": "never_wait", "retry_s": 1.0},
            "log": {"candidate_dir": ""},
            "watch": {"every_s": 0},
            "telemetry": {"metrics_port": 0},
        }
    )


@contextmanager
def _server(settings: Settings) -> Iterator[str]:
    """The product's own server in a process of its own, on ``settings``; yields its address once it answers."""
    log = settings.state_dir / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 -- our own interpreter and files
            [sys.executable, launch.__file__, str(os.getpid()), sys.executable, "-m", "ra_guard.cli.demo_server"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            # A Ctrl-C is ours to handle: the server is stopped before Triton.
            start_new_session=True,
        )
    try:
        assert process.stdin is not None  # noqa: S101 -- it is a pipe
        process.stdin.write(settings.model_dump_json().encode())
        process.stdin.close()
        address = settings.server.address(settings.server.port)
        _wait_until_ready(process, settings, log)
        yield address
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], settings: Settings, log: Path) -> None:
    """Until every worker holds the plan in force: they speak up before they open their port."""
    give_up = time.monotonic() + READY_TIMEOUT_S
    with ExperimentClient(control_addresses(settings), timeout_s=1.0) as client:
        while process.poll() is None and time.monotonic() < give_up:
            try:
                experiment = client.get(experiment_pb2.GetRequest(key=settings.experiment.key)).experiment
                if len(experiment.replicas) >= settings.server.workers and _answers(settings):
                    return
            except CallFailed:
                pass
            time.sleep(_POLL_S)
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise DemoFailed(f"the server did not answer within {READY_TIMEOUT_S:g} s, its last words: {' '.join(last)}")


def _answers(settings: Settings) -> bool:
    """Whether a worker's port is open."""
    try:
        with socket.create_connection((settings.server.host, settings.server.port), timeout=1.0):
            return True
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Drains the server, then makes sure that nothing of its session is left."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A demo that is told to end tidies up as it does on Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
