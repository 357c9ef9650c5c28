"""Plans beside the logs: written once, whole, and found again by the highest revision."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.experiments.plan_files import PlanFiles

keys = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)


@pytest.fixture
def plans(tmp_path: Path) -> PlanFiles:
    return PlanFiles(tmp_path / "run" / "plans")


def test_no_folder_is_no_plan(plans: PlanFiles) -> None:
    assert plans.latest("k") is None
    assert plans.list() == []


@given(st.dictionaries(st.tuples(keys, st.integers(1, 2**53)), st.binary(min_size=1, max_size=20), max_size=8))
def test_the_latest_of_each_key_is_found(
    tmp_path_factory: pytest.TempPathFactory, kept: dict[tuple[str, int], bytes]
) -> None:
    plans = PlanFiles(tmp_path_factory.mktemp("plans"))
    for (key, revision), sealed in kept.items():
        plans.keep(key, revision, sealed)
    assert {(key, revision): path.read_bytes() for key, revision, path in plans.list()} == kept
    for key, _ in kept:
        highest = max(revision for other, revision in kept if other == key)
        assert plans.latest(key) == kept[key, highest]


def test_a_plan_is_written_once_and_nothing_temporary_stays(plans: PlanFiles, tmp_path: Path) -> None:
    plans.keep("k", 1, b"first")
    plans.keep("k", 1, b"second")
    assert plans.latest("k") == b"first"
    assert [path.name for path in (tmp_path / "run" / "plans").iterdir()] == ["k-1.sealed"]


def test_files_of_other_names_are_not_ours(plans: PlanFiles, tmp_path: Path) -> None:
    plans.keep("k", 1, b"plan")
    for name in (".k-9.tmp", "k-nine.sealed", "-9.sealed", "k-9.txt", "notes"):
        (tmp_path / "run" / "plans" / name).write_bytes(b"")
    assert [(key, revision) for key, revision, _ in plans.list()] == [("k", 1)]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("")
    with pytest.raises(OSError, match="plans"):
        PlanFiles(tmp_path / "plans").keep("k", 1, b"plan")
