"""Flag files as flagd reads them."""

import json
import os
from pathlib import Path

FLAGD = "openfeature.contrib.provider.flagd:FlagdProvider"


def environment(path: Path) -> dict[str, str]:
    """Settings of the provider: the file, and how often it is looked at."""
    return {"FLAGD_RESOLVER": "file", "FLAGD_OFFLINE_FLAG_SOURCE_PATH": str(path), "FLAGD_DEADLINE_MS": "50"}


def write_flag(path: Path, key: str, variant: str, **flag: object) -> None:
    """A flag with a variant ``on`` and one ``off``; a later file is one with a later time."""
    whole = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": variant, **flag}
    write(path, json.dumps({"flags": {key: whole}}))


def write(path: Path, text: str) -> None:
    before_ns = path.stat().st_mtime_ns if path.exists() else 0
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    if new.stat().st_mtime_ns <= before_ns:
        os.utime(new, ns=(before_ns + 1_000_000, before_ns + 1_000_000))
    new.replace(path)
