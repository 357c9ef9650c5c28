"""One worker process: ``python -m ra_guard.worker``, started by serve.py and by nothing else.

Its orders are one line of JSON on standard input; when standard input ends, so does the worker, whatever became of
its supervisor. It says "ready" on standard output once its features are warm and its port is open.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

from ra_guard.errors import RaGuardError
from ra_guard.orders import Orders

READY = "ready"
EXIT_DRAINED = 0
EXIT_REFUSED = 78
"""Starting again would change nothing: configuration, or what lies on disk (sysexits' EX_CONFIG)."""


def main() -> int:
    """Serves until SIGTERM or the end of standard input; returns the exit code."""
    orders = Orders.model_validate_json(sys.stdin.readline())
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor hears Ctrl-C and decides
    watch_supervisor(stopping.set)
    if orders.cpu is not None:
        os.sched_setaffinity(0, {orders.cpu})

    # gRPC and numpy read the environment and the affinity when they are imported, so not before this line.
    from ra_guard.assembly import Worker

    try:
        worker = Worker(orders.settings, index=orders.index, port=orders.port, control=orders.control)
        worker.start()
    except RaGuardError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_REFUSED
    print(READY, flush=True)
    stopping.wait()
    worker.drain()
    return EXIT_DRAINED


def watch_supervisor(stop: Callable[[], None]) -> None:
    """Calls ``stop``, on a thread of its own, when standard input ends."""

    def watch() -> None:
        sys.stdin.read()
        stop()

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
