"""Rules of the Rust core that its compiler does not know: what it may depend on, and where unsafe may live."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "rust_core" / "core"
SOURCES = sorted((CORE / "src").rglob("*.rs"))
MAY_BE_UNSAFE = re.compile(r"shard/map\.rs|log/page\.rs|kernel/\w+\.rs")
COMMENT = re.compile(r"//.*")


def code(path: Path) -> str:
    return COMMENT.sub("", path.read_text(encoding="utf-8"))


def test_the_core_knows_no_python_and_no_logger() -> None:
    manifest = tomllib.loads((CORE / "Cargo.toml").read_text())
    named = {name for table in ("dependencies", "dev-dependencies") for name in manifest.get(table, {})}
    assert named
    assert not {name for name in named if "pyo3" in name or name in {"log", "tracing"}}


def test_unsafe_lives_where_memory_is_mapped_and_vectors_are_loaded() -> None:
    found = {str(path.relative_to(CORE / "src")) for path in SOURCES if re.search(r"\bunsafe\b", code(path))}
    assert {"shard/map.rs", "log/page.rs"} <= found, "the search finds what is there"
    assert {name for name in found if not MAY_BE_UNSAFE.fullmatch(name)} == set()


@pytest.mark.parametrize("what", [r"SystemTime::now", r"Instant::now", r"\be?println!"])
def test_the_core_reads_no_clock_and_prints_nothing(what: str) -> None:
    assert [str(path) for path in SOURCES if "tests" not in path.stem and re.search(what, code(path))] == []
