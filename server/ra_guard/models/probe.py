"""Says what a Python installation offers to Triton, as one line of JSON. Run by that Python; imports only its own.

The packages to look for are the arguments; a missing one is null.
"""

import ctypes
import json
import sys
import sysconfig
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path


def package(name: str) -> dict[str, str] | None:
    """Where a distribution's import package is, and its version."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
    files = metadata.files(name) or []
    module = next(Path(file).parts[0] for file in files if Path(file).name == "__init__.py")
    spec = find_spec(module)
    return {"version": version, "folder": str(Path(spec.origin).parent)} if spec and spec.origin else None


def shared_library() -> str | None:
    """The interpreter as a library, if the machine has it: where it was installed, or where the loader looks."""
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    for candidate in (str(Path(sysconfig.get_config_var("LIBDIR")) / name), name):
        with suppress(OSError):
            ctypes.CDLL(candidate)
            return candidate
    return None


if __name__ == "__main__":
    facts = {
        "version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "home": sys.base_prefix,
        "library_folder": sysconfig.get_config_var("LIBDIR"),
        "shared_library": shared_library(),
        "site_packages": sysconfig.get_path("purelib"),
        "packages": {name: package(name) for name in sys.argv[1:]},
    }
    sys.stdout.write(json.dumps(facts))
