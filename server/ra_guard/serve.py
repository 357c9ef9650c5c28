"""The supervisor: reserves ports, starts the workers and what stands beside them, starts dead ones again.

Beside the workers stand a control plane, unless one is named elsewhere, the shipper of their logs, and the watch over
the experiment. It answers no calls and imports no gRPC. Programs are started fresh, never forked.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel
from structlog.typing import FilteringBoundLogger

from ra_guard.config import Settings, address_of, child_environment
from ra_guard.errors import PortInUse
from ra_guard.orders import ControlOrders, Orders, ShipperOrders, WatchOrders
from ra_guard.worker import EXIT_DRAINED, EXIT_REFUSED, READY

POLL_S: Final = 0.05
LONGEST_BACKOFF_S: Final = 30.0
MOST_DOUBLINGS: Final = 16
"""Enough to reach the longest pause from the shortest, and few enough for a float."""
STABLE_AFTER_S: Final = 60.0
"""A worker that lived this long starts its count of deaths over."""
HOPELESS_DEATHS: Final = 3
"""So many deaths of one worker before any was ever ready: starting again would not help."""
KILL_AFTER_GRACE_S: Final = 10.0
"""On top of server.drain_grace_s, for logs to be flushed."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1


@dataclass(frozen=True)
class Program:
    """What runs in a slot: ``python -m module``, told its orders in one line of JSON on standard input."""

    name: str
    module: str
    orders: BaseModel


@dataclass
class Slot:
    """One program's place: the process in it, and when the next one may start."""

    program: Program
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    deaths: int = 0
    start_at: float = 0.0
    ready: threading.Event = field(default_factory=threading.Event)


class Supervisor:
    """Keeps ``server.workers`` workers running until it is told to stop."""

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        """Reserves the port at once. Raises PortInUse."""
        self._settings = settings
        self._log = log
        self._stopping = threading.Event()
        self._was_ready = False
        reservation, self.port = reserve_port(settings.server.host, settings.server.port)
        self._reservations = [reservation]
        self._beside = [Slot(program) for program in self._control_plane()]
        self._workers = [Slot(program) for program in self._worker_programs()]
        self._beside += [Slot(program) for program in (*self._shipper(), *self._watch())]

    @property
    def control(self) -> str:
        """Addresses of the control plane."""
        return self._control

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [slot.process.pid for slot in self._workers if slot.process is not None and slot.process.poll() is None]

    def wait_until_ready(self, timeout_s: float) -> bool:
        """True once every worker has its features warm and its port open, and what stands beside them answers."""
        deadline = time.monotonic() + timeout_s
        return all(slot.ready.wait(max(0.0, deadline - time.monotonic())) for slot in self._slots)

    @property
    def _slots(self) -> Sequence[Slot]:
        return [*self._beside, *self._workers]

    def _control_plane(self) -> list[Program]:
        """The control plane to start; none when one is named elsewhere."""
        control = self._settings.control
        self._control = control.address
        if control.address:
            return []
        reservation, port = reserve_port(control.host, control.port)
        self._reservations.append(reservation)
        self._control = address_of(control.host, port)
        return [Program("control", "ra_guard.control", ControlOrders(settings=self._settings, port=port))]

    def _worker_programs(self) -> list[Program]:
        settings = self._settings
        cpus = sorted(os.sched_getaffinity(0)) if settings.server.pin_workers else []
        return [
            Program(
                f"worker-{index}",
                "ra_guard.worker",
                Orders(
                    settings=settings,
                    index=index,
                    port=self.port,
                    control=self._control,
                    cpu=cpus[index % len(cpus)] if cpus else None,
                ),
            )
            for index in range(settings.server.workers)
        ]

    def _shipper(self) -> list[Program]:
        """The shipper of logs; none when shipping is left to somebody else."""
        if self._settings.log.ship_s == 0:
            return []
        return [Program("shipper", "ra_guard.shipper", ShipperOrders(settings=self._settings))]

    def _watch(self) -> list[Program]:
        """The watch over the experiment, where its control plane is; none when it runs elsewhere."""
        if self._settings.watch.every_s == 0 or self._settings.control.address:
            return []
        return [Program("watch", "ra_guard.watcher", WatchOrders(settings=self._settings, control=self._control))]

    def stop(self) -> None:
        """Asks `run` to drain and return. Safe in a signal handler and from any thread."""
        self._stopping.set()

    def run(self) -> int:
        """Serves until `stop`, then drains. Returns 0, or 1 when a worker refused to start or had to be killed."""
        try:
            while not self._stopping.wait(POLL_S):
                for slot in self._slots:
                    if self._refused(slot):
                        return EXIT_FAILED
        finally:
            drained = self._drain()
            for reservation in self._reservations:
                reservation.close()
        return EXIT_OK if drained else EXIT_FAILED

    def run_until_signalled(self) -> int:
        """`run`, stopped by SIGTERM or SIGINT. Call from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        return self.run()

    def _refused(self, slot: Slot) -> bool:
        """Starts what should run and does not. True when a worker says that it never will."""
        if slot.process is None:
            if time.monotonic() >= slot.start_at:
                self._start(slot)
            return self._is_hopeless(slot)
        code = slot.process.poll()
        if code is None:
            return False
        if code == EXIT_REFUSED and not self._was_ready:
            return True
        # Once there was a worker, what keeps the next from starting may be repaired, and the others go on serving.
        self._bury(slot, code)
        return self._is_hopeless(slot)

    def _is_hopeless(self, slot: Slot) -> bool:
        return slot.deaths >= HOPELESS_DEATHS and not self._was_ready

    def _start(self, slot: Slot) -> None:
        experiments = "" if self._settings.server.event_engine_listener else "-event_engine_listener"
        slot.ready.clear()
        slot.started_at = time.monotonic()
        try:
            slot.process = subprocess.Popen(  # noqa: S603 (a module of ours)
                [sys.executable, "-m", slot.program.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=child_environment(GRPC_EXPERIMENTS=experiments, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
                text=True,
            )
        except OSError as error:  # no memory or no process left: the others go on, this one is tried again
            pause_s = self._postpone(slot)
            self._log.error("not_started", program=slot.program.name, error=str(error), restart_in_s=pause_s)
            return
        threading.Thread(target=self._announce, args=(slot, slot.process), daemon=True).start()

    def _announce(self, slot: Slot, process: subprocess.Popen[str]) -> None:
        """Gives a worker its orders and waits for its word."""
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 (both are pipes)
            process.stdin.write(slot.program.orders.model_dump_json() + "\n")
            process.stdin.flush()
            if process.stdout.readline().strip() != READY:
                return
        except BrokenPipeError:
            return  # it died; `run` sees that
        slot.ready.set()
        orders = slot.program.orders
        if isinstance(orders, Orders):
            self._was_ready = True
            self._log.info("worker_ready", worker=orders.index, pid=process.pid, port=self.port)
        else:
            self._log.info("ready", program=slot.program.name, pid=process.pid)

    def _bury(self, slot: Slot, code: int) -> None:
        """Notes that a worker died, and when the next may start."""
        slot.process = None
        slot.ready.clear()
        pause_s = self._postpone(slot)
        self._log.error("died", program=slot.program.name, exit_code=code, restart_in_s=pause_s)

    def _postpone(self, slot: Slot) -> float:
        """Schedules the next start of a worker; returns the pause before it."""
        now = time.monotonic()
        slot.deaths = 1 if now - slot.started_at > STABLE_AFTER_S else slot.deaths + 1
        doublings = min(slot.deaths - 1, MOST_DOUBLINGS)
        pause_s = min(self._settings.worker.restart_backoff_s * 2.0**doublings, LONGEST_BACKOFF_S)
        slot.start_at = now + pause_s
        return pause_s

    def _drain(self) -> bool:
        """Tells the workers to drain, then what stands beside them. False when one had to be killed or failed."""
        workers_ended, others_ended = self._end(self._workers), self._end(self._beside)
        return workers_ended and others_ended

    def _end(self, slots: Sequence[Slot]) -> bool:
        running = [slot.process for slot in slots if slot.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._settings.server.drain_grace_s + KILL_AFTER_GRACE_S
        ended_well = [_ended_well(process, deadline - time.monotonic()) for process in running]
        return all(ended_well)


def _ended_well(process: subprocess.Popen[str], timeout_s: float) -> bool:
    try:
        return process.wait(max(0.0, timeout_s)) == EXIT_DRAINED
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def reserve_port(host: str, port: int) -> tuple[socket.socket, int]:
    """Holds a TCP port for the workers: bound, shareable, never listening. Returns the socket and the port.

    Raises PortInUse when somebody listens there; without that look, the kernel would share the port with another
    server of the same user and split its calls between the two.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        reservation = socket.socket(family, socket.SOCK_STREAM)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind((host, port))
    except OSError as error:
        raise PortInUse(
            f"{host}:{port}: {error.strerror}; stop what listens there, or choose another server.host or server.port"
        ) from None
    return reservation, reservation.getsockname()[1]
