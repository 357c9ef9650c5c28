"""Who may import whom. Each rule keeps a part replaceable; each is checked on the text of every file."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
PACKAGE = TREE / "server" / "ra_guard"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "v1")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """A file, parsed once for all rules."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Dotted names that a file imports anywhere, ``from a import b`` as both ``a`` and ``a.b``."""
    return frozenset(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def importers_of(package: str) -> set[str]:
    return {name_of(path) for path in FILES if any(is_within(name, package) for name in imports(path))}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("grpc", ("ra_guard.rpc", "ra_guard.client")),
        ("grpc_health", ("ra_guard.rpc", "ra_guard.client")),
        ("grpc_reflection", ("ra_guard.rpc",)),
        ("grpc_channelz", ("ra_guard.rpc",)),
        ("sqlite3", ("ra_guard.gallery", "ra_guard.experiments.control_store")),
        ("sqlalchemy", ("ra_guard.experiments.control_store",)),
        ("psycopg", ("ra_guard.experiments.control_store.postgres",)),
        ("usearch", ("ra_guard.gallery.pools",)),
        ("scipy", ("ra_guard.stats",)),
        ("tritonclient", ("ra_guard.serving.triton",)),
        ("obstore", ("ra_guard.logs.objects",)),
        ("pyarrow", ("ra_guard.logs.columns", "ra_guard.logs.parquet")),
        ("duckdb", ("ra_guard.logs.exposures", "ra_guard.logs.judged", "ra_guard.evidence.join")),
        ("prometheus_client", ("ra_guard.telemetry",)),
        ("opentelemetry.sdk", ("ra_guard.telemetry",)),
        ("openfeature", ("ra_guard.experiments.flag",)),
        ("apprise", ("ra_guard.alerts.receivers",)),
        ("matplotlib", ("ra_guard.reports.drawing", "ra_guard.reports.plots")),
        (
            "ra_guard.serve",
            ("ra_guard.cli.serve", "ra_guard.cli.control", "ra_guard.cli.demo_stage", "ra_guard.cli.demo_server"),
        ),
        ("ra_guard.control", ("ra_guard.cli.control",)),
        ("ra_guard.serving.triton", ("ra_guard.assembly", "ra_guard.cli")),
        ("ra_guard.simulation", ("ra_guard.simulation", "ra_guard.cli")),
        ("ra_guard.cli", ("ra_guard.cli",)),
        ("ra_guard.launch", ("ra_guard.launch", "ra_guard.cli")),
        ("ra_guard.assembly", ("ra_guard.worker",)),
        ("ra_guard.rpc", ("ra_guard.rpc", "ra_guard.assembly", "ra_guard.control", "ra_guard.cli")),
    ],
)
def test_only_some_import(package: str, allowed: tuple[str, ...]) -> None:
    strangers = {name for name in importers_of(package) if not any(is_within(name, each) for each in allowed)}
    assert not strangers, f"{package} is imported by {strangers}, allowed: {allowed}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ra_guard.serving", "ra_guard.experiments"),
        ("ra_guard.experiments", "ra_guard.serving"),
        ("ra_guard.serving", "ra_guard.gallery"),
        ("ra_guard.serving", "ra_guard.rpc"),
        ("ra_guard.telemetry", "ra_guard.rpc"),
        ("ra_guard.models", "ra_guard.serving"),
        ("ra_guard.models", "ra_guard.gallery"),
        ("ra_guard.experiments", "ra_guard.rpc"),
        ("ra_guard.gallery", "ra_guard.rpc"),
        ("ra_guard.gallery", "ra_guard.serving"),
        ("ra_guard.experiments", "ra_guard.gallery"),
        ("ra_guard.gallery", "ra_guard.experiments"),
        ("ra_guard.logs", "ra_guard.serving"),
        ("ra_guard.logs", "ra_guard.experiments"),
        ("ra_guard.logs", "ra_guard.gallery"),
        ("ra_guard.logs", "ra_guard.rpc"),
        ("ra_guard.serving", "ra_guard.logs"),
        ("ra_guard.gallery", "ra_guard.logs"),
        ("ra_guard.evaluation", "ra_guard.logs"),
        ("ra_guard.serving", "ra_guard.simulation"),
        ("ra_guard.rpc", "ra_guard.simulation"),
        ("ra_guard.experiments", "ra_guard.alerts"),
        ("ra_guard.alerts", "ra_guard.serving"),
        ("ra_guard.alerts", "ra_guard.rpc"),
        ("ra_guard.alerts", "ra_guard.config"),
        ("ra_guard.experiments", "ra_guard.launch"),
        ("ra_guard.launch", "ra_guard.rpc"),
        ("ra_guard.launch", "ra_guard.serving"),
        ("ra_guard.logs", "ra_guard.evidence"),
        ("ra_guard.evidence", "ra_guard.reports"),
        ("ra_guard.evidence", "ra_guard.experiments.monitor"),
        ("ra_guard.evidence.sums", "ra_guard.logs"),
        ("ra_guard.evidence.window", "ra_guard.logs"),
        ("ra_guard.evidence.window", "ra_guard.experiments"),
        ("ra_guard.experiments.monitor", "ra_guard.logs"),
        ("ra_guard.reports", "ra_guard.rpc"),
        ("ra_guard.reports", "ra_guard.serving"),
        ("ra_guard.reports", "ra_guard.gallery"),
        ("ra_guard.experiments", "ra_guard.reports"),
    ],
)
def test_some_never_meet(one: str, other: str) -> None:
    assert not {name for name in importers_of(other) if is_within(name, one)}


def test_statistics_are_numbers_in_and_numbers_out() -> None:
    allowed = {"collections", "dataclasses", "enum", "functools", "math", "numpy", "ra_guard", "scipy", "typing"}
    files = [path for path in FILES if is_within(name_of(path), "ra_guard.stats")]
    assert files
    for path in files:
        names = set(imports(path))
        assert {name.split(".")[0] for name in names} <= allowed, path
        own = {name for name in names if is_within(name, "ra_guard")}
        assert all(is_within(name, "ra_guard.stats") or is_within(name, "ra_guard.errors") for name in own), path


def test_what_is_told_is_decided_without_clock_thread_or_network() -> None:
    allowed = {
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "itertools",
        "math",
        "pathlib",
        "pydantic",
        "re",
        "typing",
    }
    for name in ("addresses", "board", "message", "notices", "wording"):
        path = PACKAGE / "alerts" / f"{name}.py"
        assert {each.split(".")[0] for each in imports(path)} <= allowed | {"ra_guard"}, path
        assert not re.search(r"\bnow\(|\bimport apprise", path.read_text(encoding="utf-8")), path


def test_monitoring_is_evidence_in_and_outcomes_out() -> None:
    """No clock, no thread, no file, no store: the watch and a simulation must come to the same."""
    strangers = {"asyncio", "logging", "os", "pathlib", "random", "socket", "subprocess", "threading", "time"}
    allowed = (
        "ra_guard.errors",
        "ra_guard.evidence",
        "ra_guard.stats",
        "ra_guard.experiments.allocation",
        "ra_guard.experiments.definition",
        "ra_guard.experiments.model",
        "ra_guard.experiments.monitor",
    )
    files = [path for path in FILES if is_within(name_of(path), "ra_guard.experiments.monitor")]
    assert files
    for path in files:
        names = set(imports(path))
        assert not {name.split(".")[0] for name in names} & strangers, path
        own = {name for name in names if is_within(name, "ra_guard")}
        assert all(any(is_within(name, each) for each in allowed) for name in own), path
        assert not re.search(r"\b(now|today|utcnow)\(\)|\bnow\(UTC", path.read_text(encoding="utf-8")), path


def environment_readers() -> set[str]:
    """Files that name ``os.environ`` or ``os.getenv``, other than to hand the whole environment on."""
    found = set()
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Attribute) or node.attr not in {"environ", "getenv", "environb"}:
                continue
            if isinstance(node.value, ast.Name) and node.value.id == "os":
                found.add(name_of(path))
    return found


def test_the_environment_is_read_in_one_place() -> None:
    handing_on = {"ra_guard.models.environment", "ra_guard.models.triton_server"}
    assert environment_readers() - handing_on == {"ra_guard.config"}


def test_nothing_is_printed_outside_the_command_line() -> None:
    printing = {
        name_of(path)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    allowed = {"ra_guard.worker", "ra_guard.control", "ra_guard.shipper", "ra_guard.watcher"}
    assert not {name for name in printing if not is_within(name, "ra_guard.cli")} - allowed


UNSAFE = {"shard/map.rs", "log/page.rs", "kernel/avx2.rs", "kernel/avx512.rs", "kernel/prefetch.rs"}
"""The mappings and the SIMD leaves, below rust_core/core/src."""


def rust_naming(crate: str, pattern: str) -> set[str]:
    """Files below a crate's ``src`` whose code, comments aside, holds the pattern."""
    source = TREE / "rust_core" / crate / "src"
    files = {path: re.sub(r"//.*", "", path.read_text(encoding="utf-8")) for path in source.rglob("*.rs")}
    assert files
    return {str(path.relative_to(source)) for path, code in files.items() if re.search(pattern, code)}


def test_unsafe_code_stays_in_the_mappings_and_the_simd_leaves() -> None:
    assert rust_naming("core", r"\bunsafe\b") == UNSAFE
    assert rust_naming("py", r"\bunsafe\b") == set()


def test_the_core_knows_no_python_no_clock_and_says_nothing() -> None:
    assert "pyo3" not in (TREE / "rust_core" / "core" / "Cargo.toml").read_text(encoding="utf-8")
    assert rust_naming("core", r"\bpyo3\b|\bSystemTime\b|\bInstant\b|\be?print(ln)?!|\bdbg!|\bstd::env\b") == set()
