"""``ra-guard serve``: answers calls until SIGTERM or Ctrl-C."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import cyclopts
from structlog.typing import FilteringBoundLogger

from ra_guard.config import Settings, load
from ra_guard.errors import ConfigError
from ra_guard.serve import Supervisor
from ra_guard.telemetry.log import configure_logging

app = cyclopts.App(name="serve", help="Serve until SIGTERM.")

Flag = Annotated[bool, cyclopts.Parameter(negative="")]


@app.default
def serve(*, config: Path | None = None, with_triton: Flag = False, with_photographs: Flag = False) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain: calls in flight are answered.

    Parameters
    ----------
    config
        A TOML file with options to override; default.toml documents all of them.
    with_triton
        Also start Triton on the models built here, and stop it afterwards.
    with_photographs
        First ingest the demo's photographs into a gallery that is still empty; needs a running Triton.
    """
    settings = load(config)
    log = configure_logging(settings.log.level)
    with ExitStack() as after:
        if with_triton:
            _start_triton(settings, after)
        if with_photographs:
            _fill_gallery(settings, log)
        supervisor = Supervisor(settings, log)
        log.info(
            "serving",
            address=settings.server.address(supervisor.port),
            workers=settings.server.workers,
            control=supervisor.control,
        )
        return supervisor.run_until_signalled()


def _start_triton(settings: Settings, after: ExitStack) -> None:
    from ra_guard.models.environment import TritonEnvironment
    from ra_guard.models.space import REPOSITORY_FOLDER
    from ra_guard.models.triton_server import TritonServer

    folder = settings.space_dir()
    if folder is None:
        raise ConfigError(f"{settings.models_dir}: found no embedding space; run `ra-guard models build` first")
    environment = TritonEnvironment.inspect(Path(settings.triton.python or ".venv-triton/bin/python"))
    after.enter_context(TritonServer.start(folder / REPOSITORY_FOLDER, environment, settings.run_dir / "triton"))


def _fill_gallery(settings: Settings, log: FilteringBoundLogger) -> None:
    from ra_guard.cli.demo_stage import build_gallery
    from ra_guard.gallery.folder import GalleryFolder

    if GalleryFolder(settings.gallery_dir).current() is None:
        with tempfile.TemporaryDirectory(prefix="ra-guard-photographs-") as folder:
            log.info("photographs ingested", generation=build_gallery(settings, Path(folder)))
