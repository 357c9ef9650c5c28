"""``ra-guard demo``: the product at work on real photographs, through its own client. Every number is measured.

The acts check what they show: a demo that ends with exit code 0 has seen the ranking change, a cold image become
warm, a pool drawn, and the killswitch turn treatment into baseline and back.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cyclopts
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ra_guard.cli.demo_stage import COLD_PHOTOGRAPH, PHOTOGRAPHS, DemoFailed, Stage, stage
from ra_guard.cli.rerank import Row, rows_of
from ra_guard.client import Detail, ExperimentClient, RerankClient
from ra_guard.v1 import experiment_pb2 as control
from ra_guard.v1 import rerank_pb2 as wire

app = cyclopts.App(name="demo", help="Show the product at work on real photographs.")

QUERIES = (
    ("an espresso in a red cup", "cocktails"),
    ("a motorcycle parked in a garage", "places"),
    ("a person in uniform", "professional"),
    ("a dahlia in bloom", "flowers"),
)
COLD_QUERY = ("a sleepy tabby cat", "animals")
POOL_QUERY = ("someone with a camera on a tripod", "professional")
KILL_QUERY = QUERIES[0]

SHOWN_USERS = 3
SHOWN_ROWS = 5
SHOWN_CONFIDENCE = 0.3
POOL_SIZE = 5
FIRST_STAGE_BP, RAMP_BP = 100, 5000
"""Of each arm, in hundredths of a percent. The first stage is the one that asks for approval."""
WHO, WHY = "demo", "a demonstration"
CALL_TIMEOUT_S = 15.0
PATIENCE_S = 30.0
_POLL_S = 0.05
_NOTABLE_WAIT_NS = 1_000_000


@app.default
def demo() -> None:
    """Build a gallery from photographs in installed packages, start Triton and the server, rerank, kill, resume."""
    console = Console(highlight=False)
    console.print("\n[bold]RA-Guard[/] reranks image search results. Here it is on real photographs.\n")
    with stage(lambda what: _step(console, what)) as ready:
        with (
            RerankClient(ready.address, timeout_s=CALL_TIMEOUT_S) as reranker,
            ExperimentClient(ready.control) as admin,
        ):
            _play(Play(console, ready, reranker, admin))
        ending = time.monotonic()
    console.print(f"\nServer drained and Triton stopped in {time.monotonic() - ending:.1f} s; nothing is left running.")
    console.print("[bold]make serve[/] keeps a server up; [bold]ra-guard gallery ingest[/] takes in your own images.\n")


def _play(play: "Play") -> None:
    play.enrol()
    for query, domain in QUERIES:
        play.rerank(query, domain)
    play.arrive_cold()
    play.draw_pool()
    play.kill_and_resume()


@dataclass
class Play:
    """The acts, in order, against one running server."""

    console: Console
    ready: Stage
    reranker: RerankClient
    experiment: ExperimentClient
    user: str = ""
    """A user that the hash puts into treatment."""

    def enrol(self) -> None:
        """Starts the experiment."""
        self._act("The experiment", "a hash of the user decides the arm, and a ramp never moves anyone between arms")
        self.ramp()

    def ramp(self) -> None:
        """Ramps to 50 % and finds a treated user."""
        key = self.ready.experiment
        self.experiment.approve(control.ApproveRequest(key=key, ramp_bp=FIRST_STAGE_BP, who=WHO, why=WHY))
        pace = control.PACE_SKIPPING_STAGES
        request = control.RampRequest(key=key, ramp_bp=RAMP_BP, who=WHO, why=WHY, pace=pace)
        plan = self.experiment.ramp(request).experiment.plan
        self.console.print(f"  {self.ready.experiment} at {2 * RAMP_BP / 100:g} % of users, half of them treated")
        self.user = ""
        for number in itertools.count(1):
            unit = f"user-{number}"
            found = self.experiment.assign(control.AssignRequest(key=key, unit=unit))
            arm = wire.Arm.Name(found.arm).removeprefix("ARM_").lower()
            self.console.print(f"  {unit} hashes to bucket {found.bucket / 10_000:.4f}: [bold]{arm}[/]")
            if found.arm == wire.ARM_TREATMENT:
                self.user = self.user or unit
            if self.user and number >= SHOWN_USERS:
                break
        response = self._call("anything", "")
        self._require(response.plan_revision >= plan.revision, "the ramp on every worker", response)

    def rerank(self, query: str, domain: str) -> None:
        """One query before and after."""
        self._act(f"“{query}”", f"domain {domain}, the search tier sends {_shortened(candidates())}")
        first = self._call(query, domain)
        call_ms, response = self._timed(query, domain)
        self._require(response.status in (wire.STATUS_RERANKED, wire.STATUS_PARTIAL), "a reranked answer", response)
        self._show(response, candidates())
        self._footer(response, call_ms)
        waited_ms = first.stages.wait_ns / 1e6
        self.console.print(
            f"  [dim]the first call waited {waited_ms:.1f} ms for Triton to embed the text, now cached[/]"
        )

    def arrive_cold(self) -> None:
        """An image without features keeps its place; a moment later it is scored."""
        query, domain = COLD_QUERY
        self._act(f"“{query}”", f"domain {domain}, and no model has looked at the photograph {COLD_PHOTOGRAPH} yet")
        ids = candidates(cold=True)
        call_ms, response = self._timed(query, domain, ids)
        is_cold = response.status == wire.STATUS_PARTIAL and response.counts.cold == 1
        self._require(is_cold, "a partial answer with one cold image", response)
        self._show(response, ids, keep=COLD_PHOTOGRAPH)
        self._footer(response, call_ms)
        started = time.monotonic()
        self._await(lambda: self._call(query, domain, ids).counts.cold == 0, "the cold image to become warm")
        self.console.print(
            f"\n  [green]{time.monotonic() - started:.1f} s later[/]: embedded, its objects detected, published in a "
            "new generation.\n  No call waited for it.\n"
        )
        call_ms, response = self._timed(query, domain, ids)
        self._require(ids[response.ranking[0]] == COLD_PHOTOGRAPH, "the cat on top once it is warm", response)
        self._show(response, ids)
        self._footer(response, call_ms)

    def draw_pool(self) -> None:
        """No candidates: the server draws them from its nearest-neighbour index."""
        query, domain = POOL_QUERY
        self._act(f"“{query}”", f"domain {domain}, no candidates: the server draws {POOL_SIZE} from its own index")
        call_ms, response = self._timed(query, domain, [], POOL_SIZE)
        self._require(len(response.ranked_ids) == POOL_SIZE, f"{POOL_SIZE} candidates", response)
        self._show(response, [])
        self._footer(response, call_ms)

    def kill_and_resume(self) -> None:
        """The killswitch serves the baseline to everyone; a resume starts a new epoch."""
        key = self.ready.experiment
        self._act("The killswitch", f"{key} off, then on again")
        self._line(self._call(*KILL_QUERY), "before")
        spread = self.experiment.kill(control.KillRequest(key=key, who=WHO, why=WHY)).spread
        response = self._call(*KILL_QUERY)
        self._require(response.reason == wire.REASON_KILLED, "a killed experiment on every worker", response)
        self._require(list(response.ranking) == list(range(len(candidates()))), "the baseline order", response)
        self._line(response, f"killed, acknowledged by {len(spread.acked)} workers in {spread.seconds * 1e3:.0f} ms")
        self.experiment.resume(control.ResumeRequest(key=key, who=WHO, why=WHY))
        self.console.print("  resumed: a new epoch at ramp 0 %, with a new salt, so users are drawn anew")
        self.ramp()
        response = self._call(*KILL_QUERY)
        self._require(response.status == wire.STATUS_RERANKED, "treatment again", response)
        self._line(response, "after")

    def _call(
        self, query: str, domain: str, ids: Sequence[str] | None = None, pool_size: int = 0
    ) -> wire.RerankResponse:
        return self.reranker.rerank(
            query=query,
            domain=domain,
            user_id=self.user,
            candidate_ids=candidates() if ids is None else ids,
            pool_size=pool_size,
            detail=Detail.EXPLAINED,
        )

    def _timed(
        self, query: str, domain: str, ids: Sequence[str] | None = None, pool_size: int = 0
    ) -> tuple[float, wire.RerankResponse]:
        started = time.perf_counter()
        response = self._call(query, domain, ids, pool_size)
        return (time.perf_counter() - started) * 1e3, response

    def _await(self, holds: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > give_up:
                raise DemoFailed(f"waited {PATIENCE_S:g} s for {what}; the machine may be overloaded, run it again")
            time.sleep(_POLL_S)

    def _require(self, holds: bool, wanted: str, found: wire.RerankResponse) -> None:  # noqa: FBT001 -- a condition
        if not holds:
            raise DemoFailed(f"found {_status(found)} with ranking {list(found.ranking)}, wanted {wanted}")

    def _act(self, title: str, subtitle: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{escape(title)}[/]", align="left", style="dim")
        self.console.print(f"  [dim]{escape(subtitle)}[/]")

    def _show(self, response: wire.RerankResponse, ids: Sequence[str], keep: str | None = None) -> None:
        """The top of the ranking, and the row of ``keep`` wherever it is."""
        table = Table(box=None, header_style="dim", padding=(0, 0, 0, 1))
        for name in ("now", "was"):
            table.add_column(name, justify="right", width=4)
        table.add_column("photograph", no_wrap=True, min_width=18)
        for name in ("cosine", "consistency", "score"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column(f"detected at {SHOWN_CONFIDENCE} or more", no_wrap=True)
        rows = rows_of(response, ids)
        for row in rows[:SHOWN_ROWS] + [row for row in rows[SHOWN_ROWS:] if row.id == keep]:
            table.add_row(*_cells(row))
        self.console.print(table)

    def _footer(self, response: wire.RerankResponse, call_ms: float) -> None:
        expected = ", ".join(f"{found.label} {found.weight:.2f}" for found in response.explanation.expectation)
        stages = response.stages
        core_us = {
            part.name.removesuffix("_ns"): getattr(stages, part.name) / 1e3
            for part in stages.DESCRIPTOR.fields
            if part.name != "wait_ns"
        }
        waited = f", {stages.wait_ns / 1e6:.1f} ms of it for Triton" if stages.wait_ns > _NOTABLE_WAIT_NS else ""
        self.console.print(f"  [bold]{_status(response)}[/], expects {expected or 'no object that the detector knows'}")
        self.console.print(f"  the call {call_ms:.2f} ms{waited}, the core {sum(core_us.values()):.1f} µs:")
        self.console.print("  [dim]" + ", ".join(f"{name} {spent:.1f}" for name, spent in core_us.items()) + " µs[/]")

    def _line(self, response: wire.RerankResponse, when: str) -> None:
        top = _shortened([candidates()[position] for position in response.ranking])
        self.console.print(f"  {when}: [bold]{_status(response)}[/], {top}")


def candidates(*, cold: bool = False) -> list[str]:
    """The baseline order: by name, as a search tier without a ranker would send it."""
    return sorted(photo.name for photo in PHOTOGRAPHS if cold or photo.name != COLD_PHOTOGRAPH)


def _shortened(ids: Sequence[str]) -> str:
    return f"{', '.join(ids[:3])}, ..."


def _cells(row: Row) -> tuple[str, ...]:
    change = "green" if row.after < row.before else "red" if row.after > row.before else "dim"
    features = [row.features.get("cosine"), row.features.get("consistency"), row.score]
    return (
        f"[bold]{row.after}[/]",
        f"[{change}]{row.before}[/]",
        escape(row.id) if row.state == "scored" else f"{escape(row.id)} [yellow]({row.state})[/]",
        *("-" if value is None else f"{value:.3f}" for value in features),
        escape(_seen(row.detections)),
    )


def _seen(detections: Sequence[tuple[str, float]]) -> str:
    """The most confident box of each label, best first; detections come in that order."""
    best: dict[str, float] = {}
    for label, confidence in detections:
        if confidence >= SHOWN_CONFIDENCE:
            best.setdefault(label, confidence)
    return ", ".join(f"{label} {confidence:.2f}" for label, confidence in list(best.items())[:2])


def _status(response: wire.RerankResponse) -> str:
    status = wire.Status.Name(response.status).removeprefix("STATUS_")
    reason = wire.Reason.Name(response.reason).removeprefix("REASON_") if response.reason else ""
    return f"{status}, {reason}" if reason else status


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    """A spinner while it lasts, a line with its seconds when it is done."""
    started = time.monotonic()
    with console.status(what):
        yield
    console.print(f"  [green]✓[/] {what} [dim]{time.monotonic() - started:.1f} s[/]")
