"""`ra-guard serve` with its settings from standard input, as one JSON object. Started by the demo, nobody else.

Settings that come from the demo's own process cannot be overridden by the operator's environment a second time.
"""

import sys

from ra_guard.config import Settings
from ra_guard.serve import Supervisor
from ra_guard.telemetry.log import configure_logging

if __name__ == "__main__":
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    sys.exit(Supervisor(settings, configure_logging(settings.log.level)).run_until_signalled())
