"""Reports as files: an HTML file and a Markdown file beside it, each whole or not there.

    <folder>/<epoch>/<yyyy-mm-dd>-<kind>.html, .md     the day is that of the evidence, in UTC

The same report of the same day takes the place of the one before; other days stay.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ra_guard.experiments.definition.vocabulary import ReportKind
from ra_guard.logs.durable import appearing, sync
from ra_guard.reports.content import Content
from ra_guard.reports.errors import ReportNotWritten
from ra_guard.reports.render import html, markdown

_CURES: Final[Mapping[int, tuple[str, str]]] = {
    errno.ENOSPC: ("room for the report", "make room there, or name another folder"),
    errno.EDQUOT: ("room for the report", "make room there, or name another folder"),
    errno.EACCES: ("a folder that may be written to", "allow it to this user, or name another folder"),
    errno.EPERM: ("a folder that may be written to", "allow it to this user, or name another folder"),
    errno.EROFS: ("a folder that may be written to", "mount it for writing, or name another folder"),
    errno.ENOTDIR: ("a folder", "name a folder, or a path that does not exist yet"),
    errno.EEXIST: ("a folder", "name a folder, or a path that does not exist yet"),
}


@dataclass(frozen=True)
class Written:
    """Where a report is."""

    html: Path
    markdown: Path


def write(folder: Path, content: Content, kind: ReportKind) -> Written:
    """Writes both files. Raises ReportNotWritten; then neither is there in part, and older ones are as they were."""
    place = folder / str(content.epoch)
    name = f"{content.as_of.astimezone(UTC):%Y-%m-%d}-{kind}"
    written = Written(place / f"{name}.html", place / f"{name}.md")
    page, text = html(content, kind), markdown(content, kind)
    try:
        with appearing(written.html) as for_page, appearing(written.markdown) as for_text:
            for_page.write_text(page, encoding="utf-8")
            for_text.write_text(text, encoding="utf-8")
            # Both are on disk before either takes its name: a full disk is found out here.
            sync(for_page)
    except OSError as refused:
        wanted, cure = _CURES.get(refused.errno or 0, ("a file that can be written", "see to the disk"))
        raise ReportNotWritten(found=f"{written.html}: {refused.strerror}", wanted=wanted, cure=cure) from refused
    return written


def latest_made(folder: Path, epoch: int) -> dict[ReportKind, datetime]:
    """When the latest report of each kind in an epoch was written, by the files. Raises OSError."""
    made: dict[ReportKind, datetime] = {}
    for kind in ReportKind:
        times = [path.stat().st_mtime for path in (folder / str(epoch)).glob(f"????-??-??-{kind}.html")]
        if times:
            made[kind] = datetime.fromtimestamp(max(times), UTC)
    return made
