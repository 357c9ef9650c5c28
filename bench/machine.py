"""The machine under the numbers: what it is, which cores a run pins to, and what fits on it."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ra-guard", "grpcio", "protobuf", "numpy", "numkong", "usearch", "faiss-cpu", "hdrhistogram")

QUIET_LOAD = 0.5
"""Runnable programs, averaged over a minute, that a run may find."""

ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""Environment of every measuring process, set before numpy loads: rivals and product both score on one thread."""


@dataclass(frozen=True)
class Pinning:
    """The cores of a run. Server and client sit on one each; with a single core nothing is pinned."""

    server: int | None
    client: int | None

    @property
    def both(self) -> bool:
        """Whether there are two cores to tell apart."""
        return self.server is not None and self.client is not None


def choose_cores() -> Pinning:
    """The first two cores that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    return Pinning(cores[0], cores[1]) if len(cores) > 1 else Pinning(None, None)


def pin(core: int | None) -> None:
    """Ties the calling process to one core; None leaves it where it is. Threads started later inherit it."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def available_memory_bytes() -> int:
    """What can be allocated or cached without swapping."""
    return _meminfo()["MemAvailable"]


def free_disk_bytes(folder: Path) -> int:
    """Free space of the file system that holds an existing folder."""
    return shutil.disk_usage(folder).free


def others_at_work() -> str | None:
    """A warning when other programs kept the machine busy over the last minute."""
    load = os.getloadavg()[0]
    busy = f"the machine was busy before the run (load {load:.1f}): numbers of this run do not stand for it"
    return busy if load > QUIET_LOAD else None


def describe(pinning: Pinning) -> dict[str, object]:
    """Processor, memory, kernel, versions and revision, as a run records them."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(_meminfo()["MemTotal"] / 2**30, 1),
        "huge_pages": _first_line(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "revision": revision(Path(__file__).parent),
        "pinned": {"server": pinning.server, "client": pinning.client},
        "grpc_experiments": os.environ.get("GRPC_EXPERIMENTS", ""),
    }


def revision(folder: Path) -> str:
    """The commit that was measured, marked when the tree differs from it; "unknown" outside a clone."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _meminfo() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":", 1) for line in lines)}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _first_line(path: Path) -> str:
    return path.read_text().splitlines()[0] if path.exists() else "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
