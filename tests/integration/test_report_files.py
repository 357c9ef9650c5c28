"""Reports on disk: both files or neither, whatever the disk does, and nothing lost that was there."""

import sys
from pathlib import Path
from subprocess import run

import pytest
from ra_guard.experiments.definition.vocabulary import ReportKind
from ra_guard.reports.errors import ReportNotWritten
from ra_guard.reports.render import html, markdown
from ra_guard.reports.write import latest_made, write

from tests.stand_ins.report_content import empty
from tests.stand_ins.small_disk import needs_mount, on_small_disk

TREE = Path(__file__).parents[2]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_both_files_stand_under_the_epoch_the_day_and_the_kind(tmp_path: Path) -> None:
    content = empty()
    written = write(tmp_path / "reports", content, ReportKind.INTERIM_REVIEW)
    assert files(tmp_path) == {
        "reports/1/2026-03-02-interim_review.html": html(content, ReportKind.INTERIM_REVIEW).encode(),
        "reports/1/2026-03-02-interim_review.md": markdown(content, ReportKind.INTERIM_REVIEW).encode(),
    }
    assert written.html.stat().st_mode & 0o444 == 0o444
    write(tmp_path / "reports", content, ReportKind.SUMMARY)
    assert set(latest_made(tmp_path / "reports", 1)) == {ReportKind.INTERIM_REVIEW, ReportKind.SUMMARY}
    assert latest_made(tmp_path / "reports", 2) == {}


def test_a_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "reports").write_bytes(b"mine")
    with pytest.raises(ReportNotWritten) as refused:
        write(tmp_path / "reports", empty(), ReportKind.SUMMARY)
    assert str(tmp_path / "reports") in refused.value.found
    assert refused.value.wanted == "a folder"
    assert files(tmp_path) == {"reports": b"mine"}


IN_THE_SMALL_DISK = """
import sys
from pathlib import Path
from ra_guard.experiments.definition.vocabulary import ReportKind
from ra_guard.reports.errors import ReportNotWritten
from ra_guard.reports.write import write
from tests.integration.test_report_files import files
from tests.stand_ins.report_content import empty

disk = Path(sys.argv[1])
write(disk / "space", empty(), ReportKind.SUMMARY)
before = files(disk / "space")
assert len(before) == 2
with (disk / "filling").open("wb", buffering=0) as filling:
    while True:
        try:
            filling.write(bytes(4096))
        except OSError:
            break
for kind in (ReportKind.SUMMARY, ReportKind.RESULTS):
    try:
        write(disk / "space", empty(), kind)
    except ReportNotWritten as refused:
        assert refused.wanted == "room for the report", refused
        assert "No space left" in refused.found, refused
    else:
        raise AssertionError("there was room")
    assert files(disk / "space") == before
(disk / "ballast").unlink()
write(disk / "space", empty(), ReportKind.RESULTS)
assert len(files(disk / "space")) == 4
print("held")
"""


@needs_mount
def test_a_full_disk_leaves_no_half_report_and_loses_none(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    launched = [*on_small_disk(disk, megabytes=5), sys.executable, "-c", IN_THE_SMALL_DISK, str(disk)]
    told = run(launched, capture_output=True, text=True, check=False, cwd=TREE)
    assert told.stdout == "held\n", told.stderr
