"""The thread that tells: takes records off the queue and turns each into a line, metrics and spans."""

import threading
import time
from collections.abc import Callable
from typing import Final, Literal

from structlog.typing import FilteringBoundLogger

from ra_guard.errors import Code, status_of
from ra_guard.telemetry.failures import Failures
from ra_guard.telemetry.metrics import CORE_STAGES, Metrics, stage_times_ns
from ra_guard.telemetry.names import ARMS, REASONS, STATUSES
from ra_guard.telemetry.records import CallRecord, Records
from ra_guard.telemetry.traces import Traces

POLL_S: Final = 0.02

CRITICAL_CODES: Final = frozenset({"INTERNAL", "DATA_LOSS"})
"""Of an answer, or of a failure that no caller saw: the server broke, or what it stored did."""
_OF_THE_ARM: Final = frozenset(REASONS.index(name) for name in ("unspecified", "control", "not_enrolled"))


class Drain:
    """Tells what `Records` holds. Between records it lets go of the interpreter, so that no call waits for a line."""

    def __init__(
        self,
        records: Records,
        *,
        log: FilteringBoundLogger,
        calls: Literal["all", "fallbacks", "none"],
        metrics: Metrics,
        traces: Traces,
        wall_ns: Callable[[], int] = time.time_ns,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._records = records
        self._log = log
        self._calls = calls
        self._metrics = metrics
        self._traces = traces
        self._wall_ns = wall_ns
        self._clock_ns = clock_ns
        self._failures = Failures(log, clock_ns)
        self._critical_errors = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    @property
    def critical_errors(self) -> int:
        """Answers with a critical code, and stored data found damaged, so far."""
        return self._critical_errors

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Tells everything that is queued, then exports it."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self.tell_all()
        self._metrics.close()
        self._traces.close()

    def tell_all(self) -> None:
        """Empties the queue."""
        wall_offset_ns = self._wall_ns() - self._clock_ns()
        while (record := self._records.take()) is not None:
            if isinstance(record, CallRecord):
                self._tell_call(record, wall_offset_ns)
            else:
                self._critical_errors += _lost_data(record.error)
                self._metrics.failure(record.error)
                self._failures.tell(record.error, record.at_ns)
            time.sleep(0)

    def _run(self) -> None:
        while not self._closing.wait(POLL_S):
            try:
                self.tell_all()
            except Exception as error:  # noqa: BLE001 (telemetry that fails must not fall silent)
                self._log.exception("telemetry", exc_info=error)

    def _tell_call(self, record: CallRecord, wall_offset_ns: int) -> None:
        self._metrics.call(record)
        self._critical_errors += record.code in CRITICAL_CODES
        trace_id = self._traces.call(record, wall_offset_ns)
        answer = record.answer
        took_us = (record.finished_ns - record.started_ns) // 1000
        if answer is None:
            self._log.warning("rerank", method=record.method, code=record.code, took_us=took_us, trace_id=trace_id)
            return
        if self._calls == "none" or (self._calls == "fallbacks" and answer.reason in _OF_THE_ARM):
            return
        self._log.info(
            "rerank",
            method=record.method,
            request_id=answer.request_id,
            assigned=ARMS[answer.assigned_arm],
            served=ARMS[answer.served_arm],
            status=STATUSES[answer.status],
            reason=REASONS[answer.reason],
            plan_revision=answer.plan_revision,
            generation=answer.generation,
            candidates=answer.candidates,
            scored=answer.scored,
            cold=answer.cold,
            unknown=answer.unknown,
            unlicensed=answer.unlicensed,
            took_us=took_us,
            stages_ns=dict(zip(CORE_STAGES, stage_times_ns(answer), strict=True)),
            trace_id=trace_id,
        )


def _lost_data(error: BaseException) -> bool:
    """Whether a failure is stored data that does not hold, such as a generation refused as damaged."""
    return status_of(error) is Code.DATA_LOSS
