"""The numbers in the READMEs are those of the record that they name."""

import json
from pathlib import Path

import pytest

from bench import record, run
from bench.findings import Findings


@pytest.mark.parametrize("readme", record.READMES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_readme_shows_the_record_that_it_names(readme: Path) -> None:
    shown = record.BLOCK.search(readme.read_text())
    assert shown is not None
    if shown["name"] == "none":
        assert not list(record.RESULTS.glob("*.json")), "records are kept, and README.md shows none"
        return
    kept = json.loads((record.RESULTS / f"{shown['name']}.json").read_text())
    assert shown[0] == record.block(shown["name"], kept)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(record, "READMES", (tmp_path / "README.md",))
    (tmp_path / "README.md").write_text("before\n<!-- record: none -->\n<!-- end of record -->\nafter\n")
    return tmp_path


def _run(out: Path, workload: str) -> Path:
    machine = {"processor": "p", "cores": 2, "memory_gib": 8, "os": "o", "python": "3.11", "revision": "abc"}
    details = {"workload": workload, "machine": machine, "finished_unix_s": 0, "kernel": "avx2"}
    path = out / "results.json"
    run.write(path, {**run.merge([Findings({"lookup_vs_dict": 17.0})]), "details": details})
    return path


def test_keeping_a_run_puts_its_table_into_the_readme(out: Path) -> None:
    assert record.main(["first", "--run", str(_run(out, "reference"))]) == 0
    text = (out / "README.md").read_text()
    assert text.startswith("before\n<!-- record: first -->\n1970-01-01, revision abc")
    assert "| id lookup against a Python dict |  | >= 15.0x | >= 20.0x | 17.0x | met |" in text
    assert text.endswith("<!-- end of record -->\nafter\n")
    assert record.main(["second", "--run", str(_run(out, "reference"))]) == 0
    assert "first" not in (out / "README.md").read_text()
    assert {path.name for path in (out / "results").iterdir()} == {"first.json", "second.json"}


def test_a_quick_run_is_not_kept(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert record.main(["first", "--run", str(_run(out, "quick"))]) == 1
    assert "make bench" in capsys.readouterr().err
    assert not (out / "results").exists()
