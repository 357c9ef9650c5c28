"""Where tests find the Triton environment: where the configuration says, as the commands do."""

from pathlib import Path

from ra_guard.cli.models import DEFAULT_PYTHON
from ra_guard.config import load
from ra_guard.models.environment import TritonEnvironment

ROOT = Path(__file__).parents[1]


def triton_environment() -> TritonEnvironment:
    """Raises EnvironmentBroken, whose message says how to set it up."""
    return TritonEnvironment.inspect(ROOT / (load().triton.python or DEFAULT_PYTHON))
