"""A deployment before its launch whose server and control plane answer as a test tells them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import grpc
from ra_guard.client import CallFailed
from ra_guard.config import Settings, load
from ra_guard.launch.checks.system import System
from ra_guard.launch.readiness import Found, Result
from ra_guard.v1 import experiment_pb2 as wire
from ra_guard.v1 import plan_pb2, rerank_pb2

from tests.stand_ins.definitions import definition

KEY = "ra_guard_enhancement"


def settings(state: Path, **sections: Mapping[str, Any]) -> Settings:
    overrides = {"state_dir": str(state), "triton": {"url": ""}, **sections}
    return load(overrides=overrides, environ={})


def experiment(*replicas: wire.Replica, **changes: Any) -> wire.Experiment:
    plan = plan_pb2.Plan(experiment_key=KEY, revision=4, lease_s=60)
    found = wire.Experiment(key=KEY, epoch=1, plan=plan, replicas=replicas)
    found.MergeFrom(wire.Experiment(**changes))
    return found


@dataclass
class Calls:
    """A rerank server of one answer."""

    pool: int = 200
    generation: int = 1
    status: str = "SERVING"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def health(self) -> str:
        return self.status

    def rerank(self, **fields: Any) -> rerank_pb2.RerankResponse:
        ids = [f"image-{number}" for number in range(min(self.pool, fields.get("pool_size", 0)))]
        return rerank_pb2.RerankResponse(generation=self.generation, ranked_ids=ids)


@dataclass
class Admin:
    """A control plane that remembers what it was asked."""

    waiting: tuple[str, ...] = ()
    acked: tuple[str, ...] = ("w0", "w1")
    refuses_to_resume: bool = False
    asked: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)

    def kill(self, request: wire.KillRequest) -> wire.KillResponse:
        self.asked.append("kill")
        return wire.KillResponse(spread=wire.Spread(acked=self.acked, waiting=self.waiting, seconds=0.5))

    def resume(self, request: wire.ResumeRequest) -> wire.ResumeResponse:
        self.asked.append("resume")
        if self.refuses_to_resume:
            raise CallFailed(grpc.StatusCode.FAILED_PRECONDITION, "found a flag that is off", "control")
        return wire.ResumeResponse(experiment=wire.Experiment(epoch=2), spread=wire.Spread(seconds=0.25))

    def note(self, key: str, *, what: str, who: str, why: str, numbers: Mapping[str, float]) -> wire.NoteResponse:
        self.asked.append(what)
        self.numbers = dict(numbers)
        return wire.NoteResponse(change=wire.Change(who=who, why=why, what=what, numbers=numbers))


@dataclass(frozen=True)
class StandIn(System):
    """A system whose server answers as told."""

    answers: Calls = field(default_factory=Calls)

    def calls(self) -> Any:
        return self.answers


def system(state: Path, found: wire.Experiment | None = None, **changes: Any) -> StandIn:
    made = StandIn(settings(state), "server:50051", definition(), found or experiment(), (), Admin())
    return replace(made, **changes)


def fails(found: Found, *words: str) -> None:
    assert found.result is Result.FAIL, found
    assert all(word in found.evidence for word in words), found.evidence
