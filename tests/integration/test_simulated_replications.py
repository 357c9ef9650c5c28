"""Replications: what they leave out changes nothing that decides, and a small A/A keeps its promises."""

import pytest
from ra_guard.simulation.people import Allocation
from ra_guard.simulation.play import Detail, Run, Script, play
from ra_guard.simulation.replicate import Share, replicate, seeds_of, summarise
from ra_guard.simulation.scenario import Fault, FaultKind, Ndcg
from ra_guard.stats.outcome import Insufficient

from tests.stand_ins.simulations import Deaf, one_stage, short

DEFINITION = one_stage()
ONE_DAY = one_stage(**{"look_days = [3]\nend_day = 7\n": "look_days = []\nend_day = 1\n"})
NEAR_ERRORS = Fault(kind=FaultKind.ERRORS, at_hour=0.7, hours=9.0, size=2.6)
NEAR_LATENCY = Fault(kind=FaultKind.LATENCY, at_hour=0.7, hours=9.0, size=205.0)
BRIEF_ERRORS = Fault(kind=FaultKind.ERRORS, at_hour=1.8, hours=0.4, size=6.0)


def silent(done: int) -> None: ...


@pytest.mark.parametrize("faults", [(), (NEAR_ERRORS,), (NEAR_LATENCY,), (BRIEF_ERRORS,)])
@pytest.mark.parametrize("visitors_per_day", [3_000.0, 12_000.0])
def test_minutes_that_are_passed_over_roll_nothing_back(faults: tuple[Fault, ...], visitors_per_day: float) -> None:
    """With few visitors a reading is there in some minutes only; sizes near the bounds cross them now and then."""
    scenario = short(4, *faults, visitors_per_day=visitors_per_day)

    def run(detail: Detail) -> Run:
        return play(Script(scenario, DEFINITION, Allocation.DRAWN, detail=detail), 7, Deaf())

    whole, deciding = run(Detail.ALL), run(Detail.DECIDING)
    assert deciding.ending == whole.ending
    assert deciding.ledger == whole.ledger
    assert deciding.decision == whole.decision
    assert deciding.evidence.exposure == whole.evidence.exposure
    assert deciding.assessment.primary == whole.assessment.primary


def test_a_small_a_a_rejects_as_seldom_as_it_says() -> None:
    """40 experiments of a day: more than 7 false findings at 5 % have probability 0.002, as has less coverage."""
    scenario = short(24, visitors_per_day=1_000.0).model_copy(update={"ndcg": Ndcg(effect_points=0.0)})
    script = Script(scenario, ONE_DAY, Allocation.DRAWN, 60, Detail.DECIDING)
    summary = summarise(script, replicate(script, seeds_of(11, 40), 1, silent))
    assert summary.crossed.events <= 7
    assert summary.anytime_covers is not None
    assert summary.anytime_covers.events >= 33
    assert summary.looks_cover is not None
    assert summary.looks_cover.events >= 33
    assert summary.uniformity_p is not None
    assert summary.uniformity_p > 1e-3
    assert summary.rolled_back.events == 0


def test_processes_play_what_one_process_plays() -> None:
    script = Script(short(2, visitors_per_day=1_000.0), ONE_DAY, Allocation.DRAWN, 60, Detail.DECIDING)
    seeds = seeds_of(3, 5)
    told: list[int] = []
    apart = replicate(script, seeds, 2, told.append)
    assert apart == replicate(script, seeds, 1, silent)
    assert told[-1] == len(seeds)


def test_more_replications_keep_the_seeds_of_fewer() -> None:
    assert seeds_of(5, 9)[:4] == seeds_of(5, 4)
    assert len(set(seeds_of(5, 50))) == 50


def test_a_share_says_what_so_many_can_tell() -> None:
    """Clopper and Pearson: 0 of n is at most 1 - (alpha / 2) ** (1 / n)."""
    found = Share(0, 1_000).interval
    assert found is not None
    assert found.high == pytest.approx(100 * (1 - 0.025 ** (1 / 1_000)))
    assert Share(0, 0).interval is None
    assert not isinstance(found, Insufficient)
