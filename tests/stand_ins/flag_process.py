"""Run as a script: reads a flag by the real flagd provider each time it is told to, and says what came of it.

The provider takes its settings from the environment, hence a process of its own.
"""

import json
import sys

from ra_guard.experiments.flag import open_feature_flags


def main() -> None:
    flags = open_feature_flags("openfeature.contrib.provider.flagd:FlagdProvider")
    for key in sys.stdin:
        reading = flags.read(key.strip())
        last = None if reading.last is None else reading.last.value
        print(json.dumps([reading.provider, reading.state.value, last, reading.error]), flush=True)
    flags.close()


if __name__ == "__main__":
    main()
