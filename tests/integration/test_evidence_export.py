"""Evidence from calls of a real engine, by way of segments, objects and Parquet."""

import time
from pathlib import Path

import pytest
from ra_guard.evidence.join import Follower
from ra_guard.evidence.tally import CONTROL, TREATMENT, UNIT, Quantity
from ra_guard.experiments.definition.vocabulary import Labels
from ra_guard.logs.exposures import exposures

from tests.stand_ins.judged_log import JudgedWorld, call, judgment, sealed_plan
from tests.stand_ins.serving_process import KEY

CALLS = 80
NS_PER_MINUTE = 60_000_000_000


def test_an_export_of_a_real_engine_becomes_evidence(tmp_path: Path) -> None:
    world = JudgedWorld(tmp_path)
    plan = sealed_plan([1.0, 0.3, 0.5, 0.1])
    world.answers(plan, range(CALLS), world.folders.candidates)
    judged = range(0, CALLS, 2)
    world.judge([judgment(number, call(number).candidate_ids[0], 1) for number in judged])
    world.judge([judgment(number, "nobody", 3, event=f"stranger-{number}") for number in judged])
    world.export(plan)
    as_of = time.time_ns() // NS_PER_MINUTE
    follower = Follower(KEY, 1, Labels.JUDGMENTS, tmp_path / "scratch")
    news = follower.follow(world.state / "evidence", as_of)
    assert news.refused == ()
    calls, changes, left = news.batch.calls, news.batch.changes, follower.left_out()
    counted = exposures(world.state / "evidence", KEY, (as_of + 1) * NS_PER_MINUTE)
    arms = {int(arm.arm): arm for arm in counted.epochs[0].arms}
    assert {arm: int((calls.arm == arm).sum()) for arm in (CONTROL, TREATMENT)} == {
        arm: arms[arm].calls for arm in (CONTROL, TREATMENT)
    }
    exposure = follower.exposure()
    assert (exposure.control_users, exposure.treatment_users) == (arms[CONTROL].users, arms[TREATMENT].users)
    assert (exposure.crossed_users, left.strangers, left.untimed_calls) == (0, len(judged), 0)
    assert left.feedback == counted.feedback
    totals = changes.total[changes.quantity == Quantity.NDCG]
    assert totals.size == len(judged)
    assert totals.max() <= UNIT
    assert set(follower.domains) == {"", "pets"}
    assert follower.newest_call_unix_ns == pytest.approx(time.time_ns(), abs=10 * NS_PER_MINUTE)
    assert follower.follow(world.state / "evidence", as_of).batch.calls.minute.size == 0
