"""Settings: read once, checked whole, frozen. The only file that reads the environment.

`default.toml` holds every default, a file of the operator's and then ``RA_GUARD_`` variables override it, and
what does not exist is refused with the words that do.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from ra_guard.errors import ConfigError
from ra_guard.experiments.definition.vocabulary import Route, Team

ENV_PREFIX = "RA_GUARD_"
ENV_NESTING = "__"
CONFIG_VARIABLE = "RA_GUARD_CONFIG"

_TEAMS = ("alerts", "teams")
"""The table whose keys are words of a definition: teams, and routes below them."""
_SECRET = {("alerts", "slack"), ("alerts", "email"), _TEAMS}
"""Options whose values no error shows."""


class Section(BaseModel):
    """One table of the configuration. Fields carry no defaults: those are in default.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Port = Annotated[int, Field(ge=0, le=65535)]


class Server(Section):
    """The listening side and its limits."""

    host: Annotated[str, Field(min_length=1)]
    port: Port
    workers: Annotated[int, Field(ge=1, le=64)]
    pin_workers: bool
    handler_threads: Annotated[int, Field(ge=2, le=32)]
    max_streams: Annotated[int, Field(ge=0, le=256)]
    max_request_bytes: Annotated[int, Field(ge=1024, le=64 << 20)]
    capacity_candidates: Annotated[int, Field(ge=200, le=1_000_000)]
    shed_queue_delay_ms: Annotated[int, Field(ge=1, le=10_000)]
    drain_grace_s: Annotated[float, Field(ge=0, le=600)]
    event_engine_listener: bool

    def address(self, port: int) -> str:
        """Host and port as gRPC and people write them."""
        return address_of(self.host, port)


class Worker(Section):
    """The life of one worker process."""

    canary_s: Annotated[float, Field(ge=0.1, le=60)]
    restart_backoff_s: Annotated[float, Field(ge=0.05, le=60)]


class Control(Section):
    """The control plane: where it is, and how one runs."""

    address: str
    host: Annotated[str, Field(min_length=1)]
    port: Port
    store: str
    writer_lease_s: Annotated[float, Field(ge=1, le=600)]
    tokens: str
    token: str
    flag_provider: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.]+:[A-Za-z0-9_]+)?$")]
    flag_poll_s: Annotated[float, Field(ge=0.05, le=60)]
    heartbeat_s: Annotated[float, Field(ge=0.05, le=10)]
    silence_s: Annotated[float, Field(ge=0.1, le=5)]
    start_wait_s: Annotated[float, Field(ge=0, le=600)]
    metrics_port: Port

    # Of the field, not of the section: an error shows what it found, and the section holds secrets.
    @field_validator("silence_s")
    @classmethod
    def _speaks_before_it_is_taken_for_dead(cls, silence_s: float, found: ValidationInfo) -> float:
        heartbeat_s = found.data.get("heartbeat_s", 0.0)
        if silence_s <= heartbeat_s:
            raise ValueError(f"must be longer than heartbeat_s, which is {heartbeat_s}")
        return silence_s


class Experiment(Section):
    """Which experiment this server takes part in, and under which name."""

    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    replica: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9_.-]{0,60})?$")]


class Gallery(Section):
    """Features at rest, and the caps of ingest."""

    path: str
    poll_s: Annotated[float, Field(ge=0.05, le=60)]
    memory_limit_bytes: Annotated[int, Field(ge=1)]
    max_image_bytes: Annotated[int, Field(ge=1024, le=1 << 30)]
    max_image_pixels: Annotated[int, Field(ge=1024, le=1_000_000_000)]
    dtype: Literal["f32", "f16", "i8"]
    batch_size: Annotated[int, Field(ge=1, le=1024)]


class Triton(Section):
    """The model server."""

    url: str
    timeout_ms: Annotated[int, Field(ge=1, le=60_000)]
    max_in_flight: Annotated[int, Field(ge=1, le=256)]
    breaker_failures: Annotated[int, Field(ge=1, le=1000)]
    breaker_reset_s: Annotated[float, Field(ge=0.1, le=600)]
    space: str
    python: str


class Cold(Section):
    """Texts and images whose features are not there yet."""

    mode: Literal["never_wait", "wait"]
    queue: Annotated[int, Field(ge=0, le=1_000_000)]
    batch: Annotated[int, Field(ge=1, le=256)]
    retry_s: Annotated[float, Field(ge=1, le=86_400)]
    query_cache_entries: Annotated[int, Field(ge=1, le=10_000_000)]


class Log(Section):
    """The line per call, and the candidate log."""

    calls: Literal["all", "fallbacks", "none"]
    level: Literal["debug", "info", "warning", "error"]
    candidate_dir: str
    queue_bytes: Annotated[int, Field(ge=65_536, le=1 << 30)]
    segment_bytes: Annotated[int, Field(ge=65_536, le=1 << 30)]
    segment_s: Annotated[float, Field(ge=1, le=86_400)]
    objects: str
    ship_s: Annotated[float, Field(ge=0, le=3600)]
    verify_share: Annotated[float, Field(ge=0, le=1)]


class Watch(Section):
    """Who looks after the experiment, and how closely."""

    every_s: Annotated[float, Field(ge=0, le=600)]
    token: Annotated[str, Field(repr=False)]
    lag_s: Annotated[float, Field(ge=0, le=3600)]
    reports: str
    report_hour: Annotated[int, Field(ge=0, le=23)]
    metrics_port: Port


def _separated_by_spaces(found: object) -> object:
    """As an environment variable has them."""
    return found.split() if isinstance(found, str) else found


Addresses = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z0-9]{2,20}://\S+$")], ...], BeforeValidator(_separated_by_spaces)
]


class Alerts(Section):
    """Where people are told, and what they are pointed to."""

    slack: Annotated[Addresses, Field(repr=False)]
    email: Annotated[Addresses, Field(repr=False)]
    teams: Annotated[Mapping[Team, Mapping[Route, Addresses]], Field(repr=False)]
    dashboard: Annotated[str, Field(pattern=r"^(https?://\S+)?$")]
    report: Annotated[str, Field(pattern=r"^(https?://\S+)?$")]
    runbook: Annotated[str, Field(pattern=r"^(https?://\S+)?$")]


class Telemetry(Section):
    """Metrics and traces."""

    metrics_port: Port
    otlp_endpoint: Annotated[str, Field(pattern=r"^(https?://.+)?$")]
    sample: Annotated[float, Field(ge=0, le=1)]
    queue: Annotated[int, Field(ge=64, le=10_000_000)]


class Settings(Section):
    """Everything that can be configured. Built by `load`, then passed down; nothing reads it from a global."""

    state_dir: Path
    server: Server
    worker: Worker
    control: Control
    experiment: Experiment
    gallery: Gallery
    triton: Triton
    cold: Cold
    log: Log
    watch: Watch
    alerts: Alerts
    telemetry: Telemetry

    @property
    def gallery_dir(self) -> Path:
        """Generations and shards."""
        return Path(self.gallery.path) if self.gallery.path else self.state_dir / "gallery"

    @property
    def candidate_log_dir(self) -> Path:
        """Segments of the candidate log."""
        return Path(self.log.candidate_dir) if self.log.candidate_dir else self.state_dir / "logs" / "candidates"

    @property
    def store_url(self) -> str:
        """Where the control plane keeps definitions, revisions and the ledger."""
        return self.control.store or f"sqlite:///{(self.state_dir / 'control' / 'control.db').absolute()}"

    @property
    def feedback_log_dir(self) -> Path:
        """Segments of the feedback log."""
        return self.state_dir / "logs" / "feedback"

    @property
    def objects_url(self) -> str:
        """Where sealed segments, plans and counts go: a folder or an S3 URL."""
        return self.log.objects or str(self.state_dir / "objects")

    @property
    def evidence_dir(self) -> Path:
        """Parquet of the logs, by day."""
        return self.state_dir / "evidence"

    @property
    def reports_dir(self) -> Path:
        """Reports, a folder an experiment."""
        return Path(self.watch.reports) if self.watch.reports else self.state_dir / "reports"

    @property
    def plan_dir(self) -> Path:
        """Sealed plans as workers took them up, ``<key>-<revision>.sealed``."""
        return self.run_dir / "plans"

    @property
    def models_dir(self) -> Path:
        """Embedding spaces, a folder each."""
        return self.state_dir / "models"

    def space_dir(self) -> Path | None:
        """Folder of the embedding space to serve: the named one, or the only one there; None where none is built.

        Raises ConfigError when there are several and none is named.
        """
        if self.triton.space:
            return self.models_dir / self.triton.space
        found = sorted(path.parent for path in self.models_dir.glob("[!.]*/space.json"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ConfigError(f"triton.space: found none named and several built ({names}); name one of them")
        return found[0] if found else None

    @property
    def run_dir(self) -> Path:
        """What running processes leave for each other."""
        return self.state_dir / "run"


def address_of(host: str, port: int) -> str:
    """Host and port as gRPC and people write them: an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def default_toml() -> str:
    """The text of default.toml, comments and all."""
    return files("ra_guard").joinpath("default.toml").read_text(encoding="utf-8")


def load(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Defaults, then the file (``config``, else RA_GUARD_CONFIG), then the environment, then ``overrides`` by section.

    Raises ConfigError: a file that cannot be read, an option that does not exist, a value out of bounds.
    """
    named = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    values = tomllib.loads(default_toml())
    for layer in (_parsed(named) if named else {}, _from_environment(environ), overrides or {}):
        values = _merged(values, layer)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, named)) from None


def child_environment(**values: str) -> dict[str, str]:
    """The environment for a child process: this one's, with ``values`` set unless the operator set them."""
    return {**values, **os.environ}


def variables() -> dict[str, tuple[str, ...]]:
    """Every environment variable that overrides an option, and the path of that option."""
    paths: list[tuple[str, ...]] = []
    for name, field in Settings.model_fields.items():
        paths += [(name, option) for option in _options(field.annotation)] or [(name,)]
    paths.remove(_TEAMS)
    paths += [(*_TEAMS, team, route) for team in Team for route in Route]
    return {f"{ENV_PREFIX}{ENV_NESTING.join(path)}".upper(): path for path in paths}


def _options(annotation: object) -> Sequence[str]:
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    return list(annotation.model_fields) if is_section else []  # type: ignore[attr-defined]


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """A misspelt variable is refused: it would otherwise be a silent default."""
    known = variables()
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX) or name == CONFIG_VARIABLE:
            continue
        if name not in known:
            raise ConfigError(f"{name}: no such option{_suggestion(name, sorted(known))}")
        layer: Any = text
        for key in reversed(known[name]):
            layer = {key: layer}
        values = _merged(values, layer)
    return values


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a readable TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error}); compare with default.toml") from None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both_tables = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both_tables else value  # type: ignore[arg-type]
    return result


def _explain(error: ValidationError, file: Path | None) -> str:
    lines = []
    for problem in error.errors():
        is_key = problem["type"] == "enum"  # of alerts.teams: no value is of a closed set of words
        path = [str(part) for part in (problem["loc"][:-1] if is_key else problem["loc"])]
        name = ".".join(path)
        if is_key or problem["type"] == "extra_forbidden":
            lines.append(f"{name}: no such option{_suggestion(path[-1], _allowed(path))}")
        else:
            found = "what is not shown" if tuple(path[:2]) in _SECRET else repr(problem.get("input"))
            lines.append(f"{name}: found {found}; {problem['msg']}")
    where = f"{file}: " if file else ""
    return where + "; ".join(lines)


def _allowed(path: Sequence[str]) -> list[str]:
    if len(path) == 1:
        return sorted(Settings.model_fields)
    if tuple(path[:-1]) == _TEAMS:
        return sorted(Team)
    if tuple(path[:-2]) == _TEAMS:
        return sorted(Route)
    return sorted(_options(Settings.model_fields[path[0]].annotation))


def _suggestion(found: str, allowed: Sequence[str]) -> str:
    close = get_close_matches(found, allowed, n=1)
    guess = f", did you mean {close[0]}?" if close else "."
    return f"{guess} Allowed: {', '.join(allowed)}"
