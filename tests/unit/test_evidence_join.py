"""What evidence says of small logs: each quantity at its edges, and what cannot be read or used."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from ra_guard.evidence.join import MAX_DOMAINS, Follower, FollowerBroken, QueryTally
from ra_guard.evidence.latency import bucket_of
from ra_guard.evidence.tally import UNIT, Batch, Quantity
from ra_guard.experiments.definition.vocabulary import Labels
from ra_guard.logs.columns import RunCounts
from ra_guard.logs.layout import Run
from ra_guard.stats.ndcg import ndcg
from ra_guard.v1 import plan_pb2, rerank_pb2

from tests.stand_ins.evidence_log import (
    EPOCH,
    KEY,
    MINUTE_S,
    NS,
    START_S,
    Call,
    Event,
    write_calls,
    write_counts,
    write_events,
    write_plans,
)

LATER = START_S // MINUTE_S + 60
WINDOW_S = 100


class Log:
    """An export's folder and whoever follows it."""

    def __init__(self, folder: Path, labels: Labels, propensity: Sequence[float] | None = None) -> None:
        self.folder = folder
        self.follower = Follower(KEY, EPOCH, labels, folder / ".duckdb", propensity)
        self.segments = 0
        write_plans(folder, [(KEY, 1, EPOCH, WINDOW_S), (KEY, 2, EPOCH + 1, WINDOW_S)])
        write_counts(folder, [])

    def calls(self, *calls: Call) -> Path:
        self.segments += 1
        return write_calls(self.folder, self.segments, calls)

    def events(self, *events: Event) -> Path:
        self.segments += 1
        return write_events(self.folder, self.segments, events)

    def look(self, as_of: int = LATER) -> Batch:
        news = self.follower.follow(self.folder, as_of)
        assert news.refused == ()
        return news.batch


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path, Labels.JUDGMENTS)
    yield made
    made.follower.close()


def said(batch: Batch, quantity: Quantity) -> list[tuple[int, int]]:
    """Counts and totals of one quantity, row by row."""
    rows = batch.changes.quantity == quantity
    return list(zip(batch.changes.count[rows].tolist(), batch.changes.total[rows].tolist(), strict=True))


def test_an_empty_export_says_nothing(tmp_path: Path) -> None:
    follower = Follower(KEY, EPOCH, Labels.JUDGMENTS, tmp_path)
    news = follower.follow(tmp_path / "nothing", LATER)
    assert (news.refused, news.batch.calls.minute.size, news.batch.changes.minute.size) == ((), 0, 0)
    assert (follower.newest_call_unix_ns, follower.newest_sign_of_life_unix_ns) == (None, None)
    assert follower.exposure().control_users == follower.left_out().feedback.received == 0
    assert follower.top_queries(5) == ()
    assert follower.domains == ()


def test_a_call_has_its_minute_time_and_error(log: Log) -> None:
    log.calls(
        Call("r", "u", START_S + 61, arm=2, reason=rerank_pb2.REASON_OVERLOAD, elapsed_us=320_000, domain="birds")
    )
    calls = log.look().calls
    assert (calls.minute.tolist(), calls.arm.tolist(), calls.error.tolist()) == ([START_S // 60 + 1], [2], [True])
    assert calls.bucket.tolist() == bucket_of(np.array([320_000], np.uint32)).tolist()
    assert log.follower.domains[calls.domain[0]] == "birds"
    assert log.follower.newest_call_unix_ns == (START_S + 61) * NS


def test_a_call_that_was_asked_again_is_taken_back_and_its_last_answer_counts(log: Log) -> None:
    log.calls(Call("r", "u", START_S))
    log.look()
    log.calls(Call("r", "u", START_S + 120, elapsed_us=2_000))
    batch = log.look()
    assert list(zip(batch.calls.minute.tolist(), batch.calls.weight.tolist(), strict=True)) == [
        (START_S // 60, -1),
        (START_S // 60 + 2, 1),
    ]
    assert said(batch, Quantity.CLICK_THROUGH) == [(-1, 0), (1, 0)]
    log.calls(Call("r", "u", START_S + 60))
    assert log.look().calls.minute.size == 0


def test_a_late_click_adds_to_the_minute_of_its_call_and_one_after_the_window_does_not(log: Log) -> None:
    log.calls(Call("r", "u"))
    assert said(log.look(), Quantity.CLICK_THROUGH) == [(1, 0)]
    log.events(Event("1", "r", occurred_s=START_S + 3_000, late_s=WINDOW_S + 1, candidate_id="a"))
    assert log.look().changes.minute.size == 0
    assert (log.follower.left_out().late, log.follower.left_out().feedback.late) == (1, 1)
    log.events(Event("2", "r", occurred_s=START_S + 3_000, late_s=WINDOW_S, candidate_id="a"))
    batch = log.look()
    assert said(batch, Quantity.CLICK_THROUGH) == [(0, UNIT)]
    assert set(batch.changes.minute.tolist()) == {START_S // 60}
    log.events(Event("2", "r", occurred_s=START_S + 3_000, late_s=WINDOW_S, candidate_id="b"))
    assert log.look().changes.minute.size == 0
    assert log.follower.left_out().feedback.duplicates == 1


def test_of_one_event_id_what_was_received_first_holds_even_when_it_is_found_last(log: Log) -> None:
    log.calls(Call("r", "u"), Call("s", "v", START_S + 60))
    log.events(Event("1", "r", late_s=10, candidate_id="a"))
    log.look()
    log.events(Event("1", "s", candidate_id="a"))
    assert said(log.look(), Quantity.CLICK_THROUGH) == [(0, -UNIT), (0, UNIT)]
    log.events(Event("1", "r", late_s=20, candidate_id="a"))
    assert log.look().changes.minute.size == 0


def test_a_changed_judgment_is_a_difference_and_what_was_not_served_counts_for_the_ideal(log: Log) -> None:
    log.calls(Call("r", "u", candidates=("a", "b", "c"), ranking=(2, 0, 1), top_k=2))
    log.events(
        Event("1", "r", "judgment", candidate_id="a", grade=1),
        Event("2", "r", "judgment", candidate_id="b", grade=3),
        Event("3", "r", "judgment", candidate_id="elsewhere", grade=10),
    )
    before = round((ndcg([0, 1], [1, 3]) or 0) / 100 * UNIT)
    assert said(log.look(), Quantity.NDCG) == [(1, before)]
    assert log.follower.left_out().strangers == 1
    log.events(Event("4", "r", "judgment", START_S + 9, candidate_id="a", grade=2))
    after = round((ndcg([0, 2], [2, 3]) or 0) / 100 * UNIT)
    assert said(log.look(), Quantity.NDCG) == [(0, after - before)]
    log.events(
        Event("5", "r", "judgment", START_S + 10, candidate_id="a", grade=0),
        Event("6", "r", "judgment", START_S + 10, candidate_id="b", grade=0),
    )
    assert said(log.look(), Quantity.NDCG) == [(-1, -after)]
    assert log.follower.left_out().not_relevant == {1: 1, 2: 0}


def test_clicks_are_relevance_and_stand_beside_a_value_corrected_for_position(tmp_path: Path) -> None:
    log = Log(tmp_path, Labels.CLICKS, propensity=[1.0, 0.5])
    log.calls(Call("r", "u"), Call("s", "u", START_S + 1))
    assert log.look().changes.quantity.tolist().count(Quantity.NDCG) == 0
    assert log.follower.left_out().not_relevant == {1: 2, 2: 0}
    log.events(Event("1", "r", candidate_id="a"), Event("2", "r", candidate_id="c"))
    batch = log.look()
    assert said(batch, Quantity.NDCG) == [(1, round((ndcg([1, 0, 1], [1, 1]) or 0) / 100 * UNIT))]
    assert said(batch, Quantity.NDCG_CORRECTED) == [(1, round((ndcg([1, 0, 2], [1, 2]) or 0) / 100 * UNIT))]
    assert log.follower.left_out().not_relevant == {1: 1, 2: 0}


@pytest.mark.parametrize(("next_after_s", "click_after_s", "completed"), [
    (300, None, 0), (301, None, 1), (300, 299, 1), (300, 300, 0),
])  # fmt: skip
def test_a_request_is_completed_unless_the_user_asks_again_within_five_minutes_without_a_click(
    log: Log, next_after_s: int, click_after_s: int | None, completed: int
) -> None:
    log.calls(Call("r", "u"), Call("s", "u", START_S + next_after_s), Call("t", "other", START_S + 1))
    if click_after_s is not None:
        log.events(Event("1", "r", occurred_s=START_S + click_after_s, candidate_id="a"))
    batch = log.look(START_S // 60 + 5)
    assert said(batch, Quantity.COMPLETION)[0] == (1, UNIT * completed)


def test_a_request_is_settled_when_five_minutes_have_passed_and_stays_so(log: Log) -> None:
    log.calls(Call("r", "u"))
    assert said(log.look(START_S // 60 + 4), Quantity.COMPLETION) == []
    assert said(log.look(START_S // 60 + 5), Quantity.COMPLETION) == [(1, UNIT)]
    assert said(log.look(START_S // 60), Quantity.COMPLETION) == []
    log.calls(Call("s", "u", START_S + 200))
    assert said(log.look(START_S // 60 + 5), Quantity.COMPLETION) == [(0, -UNIT)]


def test_an_image_is_discovered_once_by_a_user_whichever_click_comes_first(log: Log) -> None:
    log.calls(Call("r", "u"), Call("s", "u", START_S + 60), Call("t", "v", START_S))
    log.events(Event("1", "s", occurred_s=START_S + 70, candidate_id="a"), Event("2", "t", candidate_id="a"))
    batch = log.look()
    assert said(batch, Quantity.DISCOVERY) == [(0, UNIT), (0, UNIT)]
    log.events(Event("3", "r", occurred_s=START_S + 20, late_s=90, candidate_id="a"))
    batch = log.look()
    rows = batch.changes.quantity == Quantity.DISCOVERY
    found = zip(batch.changes.minute[rows].tolist(), batch.changes.total[rows].tolist(), strict=True)
    assert list(found) == [(START_S // 60, UNIT), (START_S // 60 + 1, -UNIT)]


def test_a_request_id_of_two_users_is_nobodys_feedback(log: Log) -> None:
    log.calls(Call("r", "u"))
    log.events(Event("1", "r", candidate_id="a"), Event("2", "r", "judgment", candidate_id="a", grade=1))
    log.look()
    log.calls(Call("r", "v", arm=2))
    batch = log.look()
    assert (batch.calls.weight.tolist(), said(batch, Quantity.CLICK_THROUGH)) == ([1], [(-1, -UNIT)])
    assert said(batch, Quantity.NDCG) == [(-1, -UNIT)]
    left = log.follower.left_out()
    assert (left.ambiguous_calls, left.feedback.ambiguous) == (2, 2)


def test_a_call_without_its_plan_waits_for_it(log: Log) -> None:
    log.calls(Call("r", "u", revision=7), Call("s", "u", revision=2), Call("t", "u", key="other"))
    assert log.look().calls.minute.size == 0
    assert log.follower.left_out().unplanned_calls == 1
    write_plans(log.folder, [(KEY, 7, EPOCH, WINDOW_S)])
    assert log.look().calls.weight.tolist() == [1]
    assert log.follower.left_out().unplanned_calls == 1, "revision 2 is gone now"


K = rerank_pb2


@pytest.mark.parametrize(("arm", "served", "reason", "crossed"), [
    (2, 1, K.REASON_KILLED, 0), (2, 1, K.REASON_LEASE_EXPIRED, 0), (2, 1, K.REASON_SHADOW, 0),
    (2, 1, K.REASON_DEADLINE, 0), (2, 4, K.REASON_UNSPECIFIED, 0), (2, 2, K.REASON_UNSPECIFIED, 0),
    (2, 1, K.REASON_CONTROL, 1), (2, 1, 99, 1), (1, 2, K.REASON_UNSPECIFIED, 1), (1, 1, K.REASON_CONTROL, 0),
])  # fmt: skip
def test_crossing_over_is_being_served_another_arm_although_nothing_failed(
    log: Log, arm: int, served: int, reason: int, crossed: int
) -> None:
    log.calls(Call("r", "u", arm=arm, served=served, reason=reason))
    log.look()
    assert log.follower.exposure().crossed_users == crossed


def test_control_is_served_the_reranked_order_where_it_is_rolled_out(log: Log) -> None:
    log.calls(Call("r", "u", arm=1, served=2, mode=plan_pb2.MODE_ROLLOUT), Call("s", "v", arm=1, served=2))
    log.look()
    assert log.follower.exposure().crossed_users == 1, "v, in A/B"


def test_a_user_in_both_arms_has_crossed_over_until_the_call_is_answered_again(log: Log) -> None:
    log.calls(Call("r", "u", arm=1), Call("s", "u", arm=2), Call("t", "v", arm=2))
    log.look()
    exposure = log.follower.exposure()
    assert (exposure.control_users, exposure.treatment_users, exposure.crossed_users) == (1, 2, 1)
    log.calls(Call("r", "u", START_S + 1, arm=2))
    log.look()
    exposure = log.follower.exposure()
    assert (exposure.control_users, exposure.treatment_users, exposure.crossed_users) == (0, 2, 0)


def counts(control: int, treatment: int, *, ended: bool) -> RunCounts:
    offered = {"offered_control": control, "offered_treatment": treatment}
    return RunCounts(
        Run("0", 7),
        ended,
        closed=ended,
        segments=1,
        whole=True,
        offered_unassigned=0,
        offered_not_enrolled=0,
        **offered,
    )


def test_lost_is_what_ended_runs_offered_and_counts_that_go_back_are_named(log: Log) -> None:
    log.calls(Call("r", "u"), Call("s", "v", arm=2))
    write_counts(log.folder, [counts(5, 6, ended=False)])
    log.look()
    assert (log.follower.exposure().control_lost, log.follower.exposure().treatment_lost) == (0, 0)
    write_counts(log.folder, [counts(4, 6, ended=True)])
    (why,) = log.follower.follow(log.folder, LATER).refused
    assert "found 4 control and 6 treatment" in why
    assert (log.follower.exposure().control_lost, log.follower.exposure().treatment_lost) == (3, 5)
    write_counts(log.folder, [counts(0, 0, ended=True)])
    log.follower.follow(log.folder, LATER)
    assert log.follower.exposure().control_lost == 0


def test_files_that_cannot_be_read_are_named_and_the_others_go_on(log: Log) -> None:
    whole, broken = log.calls(Call("r", "u")), log.calls(Call("s", "v"))
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    stray = log.folder / "stray.parquet"
    news = log.follower.tell([log.folder / "plans.parquet", whole, broken, stray], LATER)
    assert news.batch.calls.weight.tolist() == [1]
    assert sorted(why.partition(": ")[0] for why in news.refused) == sorted(map(str, [broken, stray]))
    broken.write_bytes(content)
    assert log.look().calls.weight.tolist() == [1]


def test_a_file_that_is_gone_when_its_call_is_judged_keeps_what_was_said(log: Log) -> None:
    path = log.calls(Call("r", "u"))
    log.events(Event("1", "r", "judgment", candidate_id="a", grade=1))
    log.look()
    moved = path.rename(path.with_suffix(".away"))
    log.events(Event("2", "r", "judgment", START_S + 1, candidate_id="b", grade=9))
    news = log.follower.follow(log.folder, LATER)
    assert said(news.batch, Quantity.NDCG) == []
    assert [why.partition(": ")[0] for why in news.refused] == [str(path)]
    moved.rename(path)
    ((count, total),) = said(log.look(), Quantity.NDCG)
    assert count == 0
    assert total < 0


def test_queries_are_the_most_frequent_first_with_the_mean_of_each_arm(log: Log) -> None:
    log.calls(
        Call("r", "u", query="cats"),
        Call("s", "v", query="cats", arm=2),
        Call("t", "v", query="birds", arm=2),
        Call("w", "v", query="ants", arm=2, revision=2),
        Call("x", "v", arm=2),
    )
    log.events(Event("1", "s", "judgment", candidate_id="a", grade=1))
    log.look()
    assert log.follower.top_queries(9) == (QueryTally("cats", 2, None, 100.0), QueryTally("birds", 1, None, None))
    assert log.follower.top_queries(1)[0].query == "cats"


def test_more_domains_than_a_tally_holds_share_the_last_number(log: Log) -> None:
    log.calls(*(Call(f"{number}", "u", START_S + number, domain=f"{number:03}") for number in range(MAX_DOMAINS + 5)))
    batch = log.look()
    assert len(log.follower.domains) == MAX_DOMAINS + 1
    assert np.count_nonzero(batch.calls.domain == MAX_DOMAINS) == 5
    assert log.follower.domains[MAX_DOMAINS] == "others"


def test_after_an_update_that_failed_nothing_more_is_said(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.calls(Call("r", "u"))
    monkeypatch.setattr("ra_guard.evidence.join.scored", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        log.look()
    with pytest.raises(FollowerBroken, match="follow anew"):
        log.look()


def test_a_clock_that_is_ahead_is_no_sign_of_life(log: Log) -> None:
    log.calls(Call("r", "u"), Call("s", "v", START_S + 400 * 86_400))
    log.look(START_S // 60)
    assert log.follower.newest_sign_of_life_unix_ns == log.follower.newest_call_unix_ns == START_S * NS
