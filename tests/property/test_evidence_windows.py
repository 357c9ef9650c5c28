"""Windows come to what all rows at once come to, in any order and any cut, corrections included."""

import math
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.evidence.latency import bucket_of, upper_ms
from ra_guard.evidence.tally import CONTROL, PER_USER, TREATMENT, UNIT, Quantity
from ra_guard.evidence.window import MinuteWentBack, PartWindow, Recent, Window
from ra_guard.stats.effects import ArmEstimate, ratio_of
from ra_guard.stats.moments import Moments

from tests.stand_ins.batches import Call, Change, batch

Row = Call | Change
MINUTES = 20
arms = st.sampled_from((CONTROL, TREATMENT))
shares = st.integers(0, UNIT)


@st.composite
def requests(draw: st.DrawFn) -> list[Row]:
    """One call with what became known of it, bit by bit; sometimes asked again, so that its first answer is void."""
    minute, arm, user = draw(st.integers(0, MINUTES - 1)), draw(arms), draw(st.integers(0, 5))
    call = Call(minute, arm, user, draw(st.floats(0.1, 60_000)), draw(st.booleans()))
    rows: list[Row] = [call]
    if draw(st.booleans()):
        before, after = draw(shares), draw(shares)
        rows.append(Change(minute, arm, user, Quantity.NDCG, 1, before))
        rows.append(Change(minute, arm, user, Quantity.NDCG, 0, after - before))
    if draw(st.booleans()):
        rows.append(Change(minute, arm, user, Quantity.RATING, 1, UNIT * draw(st.integers(1, 5))))
    rows.append(Change(minute, arm, user, draw(st.sampled_from(sorted(PER_USER))), 0, UNIT * draw(st.integers(0, 3))))
    if draw(st.integers(0, 4)) == 0:
        rows.extend(
            row._replace(weight=-1) if isinstance(row, Call) else row._replace(counted=-row.counted, total=-row.total)
            for row in list(rows)
        )
    return rows


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row], list[list[Row]]]:
    """All rows, and the same in another order, cut into batches."""
    rows = [row for each in draw(st.lists(requests(), max_size=12)) for row in each]
    shuffled = draw(st.permutations(rows))
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    edges = [0, *cuts, len(rows)]
    return rows, [list(shuffled[start:end]) for start, end in pairwise(edges)]


def added(rows: Sequence[Row]) -> tuple[list[Call], list[Change]]:
    return [row for row in rows if isinstance(row, Call)], [row for row in rows if isinstance(row, Change)]


def assert_is_all_of(contrast: Contrast, rows: Sequence[Row]) -> None:
    for arm, found in ((CONTROL, contrast.control), (TREATMENT, contrast.treatment)):
        assert_arm(found, [row for row in rows if row.arm == arm])


def error_design_effect(calls: Sequence[Call]) -> float:
    """From plain sums of each user."""
    errors, made = Counter[int](), Counter[int]()
    for call in calls:
        made[call.user] += call.weight
        errors[call.user] += call.weight * call.error
    users = [user for user, number in made.items() if number]
    hits, requests_made = (np.array([each[user] for user in users], dtype=np.float64) for each in (errors, made))
    if not users:
        return 1.0
    if len(users) < 2 or min(hits.sum(), (requests_made - hits).sum()) < 2:
        return float((requests_made**2).sum() / requests_made.sum())
    rate = ratio_of(Moments.of(hits, requests_made))
    assert isinstance(rate, ArmEstimate)
    return float(max(1.0, rate.squared_error * requests_made.sum() / (rate.value * (1 - rate.value))))


def assert_arm(found: ArmStatistics, rows: Sequence[Row]) -> None:
    """Against sums over plain rows, user by user."""
    calls, changes = added(rows)
    by_user: Counter[int] = Counter()
    for call in calls:
        by_user[call.user] += call.weight
    users = {user for user, number in by_user.items() if number}
    assert (found.users, found.calls) == (len(users), sum(by_user.values()))
    assert found.errors == sum(call.weight for call in calls if call.error)
    assert found.error_design_effect == pytest.approx(error_design_effect(calls))
    times: Counter[int] = Counter()
    for call in calls:
        times[int(bucket_of(np.array([call.ms * 1_000], dtype=np.uint32))[0])] += call.weight
    assert {bucket: int(found.latency[bucket]) for bucket in np.flatnonzero(found.latency)} == {
        bucket: number for bucket, number in times.items() if number
    }
    assert not found.broken
    assert not found.has_broken_calls
    for quantity in Quantity:
        count: defaultdict[int, int] = defaultdict(int)
        total: defaultdict[int, int] = defaultdict(int)
        for change in changes:
            if change.quantity is quantity:
                count[change.user] += change.counted
                total[change.user] += change.total
        if quantity in PER_USER:
            values = [total[user] / UNIT for user in sorted(users)]
        else:
            values = [total[user] / count[user] / UNIT for user in sorted(count) if count[user]]
        wanted = Moments.of(np.array(values, dtype=np.float64))
        moments = found.means[quantity]
        assert moments.n == wanted.n
        assert moments.means == pytest.approx(wanted.means, rel=1e-9, abs=1e-11)
        assert moments.scatter[0] == pytest.approx(wanted.scatter[0], rel=1e-9, abs=1e-11)


@given(histories(), st.integers(0, MINUTES))
def test_a_window_is_what_all_of_its_rows_come_to(history: tuple[list[Row], list[list[Row]]], since: int) -> None:
    rows, cut = history
    window = Window(since)
    for piece in cut:
        window.add(batch(*added(piece)))
        window.contrast()  # sums are kept up to date, not only made once
    assert_is_all_of(window.contrast(), [row for row in rows if row.minute >= since])


@given(histories(), st.integers(0, MINUTES), st.permutations(range(300)))
def test_a_window_of_a_part_is_a_window_to_the_bit(
    history: tuple[list[Row], list[list[Row]]], since: int, numbers: list[int]
) -> None:
    _, cut = history
    plain, part = Window(since), PartWindow(since)
    for piece in cut:
        renamed = batch(*added([row._replace(user=numbers[row.user]) for row in piece]))
        for window in (plain, part):
            window.add(renamed)
        for wanted, found in zip(arms_of(plain.contrast()), arms_of(part.contrast()), strict=True):
            assert found == wanted


def arms_of(contrast: Contrast) -> list[dict[str, object]]:
    """All that the arms say, as what can be compared."""
    return [
        {**vars(arm), "latency": arm.latency.tolist(), "means": dict(arm.means)}
        for arm in (contrast.control, contrast.treatment)
    ]


def test_minutes_and_parts_of_the_traffic_cost_their_own_users() -> None:
    part, recent = PartWindow(0), Recent(5)
    # A thousand users among ten million, for each of which a window of everything would have a place.
    calls = batch([Call(1, CONTROL + user % 2, 10_000 * user) for user in range(1_000)])
    tracemalloc.start()
    for window in (part, recent):
        window.add(calls)
    assert part.contrast().control.users == recent.contrast(1).control.users == 500
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000


@given(histories(), st.integers(1, MINUTES), st.lists(st.integers(0, MINUTES + 5), min_size=1, max_size=6))
def test_recent_minutes_are_a_window_that_moves(
    history: tuple[list[Row], list[list[Row]]], minutes: int, asked: list[int]
) -> None:
    rows, cut = history
    recent = Recent(minutes)
    known: list[Row] = []
    for number, as_of in enumerate(sorted(asked)):
        for piece in cut[number : number + 1] if number < len(asked) - 1 else cut[number:]:
            recent.add(batch(*added(piece)))
            known += piece
        contrast = recent.contrast(as_of)
    assert len(known) == len(rows)
    assert_is_all_of(contrast, [row for row in rows if as_of - minutes < row.minute <= as_of])


@given(histories(), histories(), st.integers(1, MINUTES))
def test_what_was_asked_for_earlier_does_not_move(
    one: tuple[list[Row], list[list[Row]]], other: tuple[list[Row], list[list[Row]]], minutes: int
) -> None:
    window, recent = Window(0), Recent(minutes)
    for each in (window, recent):
        each.add(batch(*added(one[0])))
    before = window.contrast(), recent.contrast(MINUTES // 2)
    for each in (window, recent):
        each.add(batch(*added(other[0])))
    window.contrast()
    recent.contrast(MINUTES)
    assert_is_all_of(before[0], one[0])
    last = MINUTES // 2
    assert_is_all_of(before[1], [row for row in one[0] if last - minutes < row.minute <= last])


def test_what_nobody_asks_for_does_not_pile_up() -> None:
    recent = Recent(1)
    for minute in range(40):
        recent.add(batch([Call(minute, CONTROL, user) for user in range(2_000)]))
        recent.keep_up(minute)
    assert recent.contrast(39).control.calls == 2_000
    tracemalloc.start()
    for minute in range(40, 120):
        recent.add(batch([Call(minute, CONTROL, user) for user in range(2_000)]))
        recent.keep_up(minute)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 65_536 * 5 * 8 + 1_000_000  # a row of a call is five whole numbers


def test_time_does_not_go_back() -> None:
    recent = Recent(5)
    recent.contrast(10)
    with pytest.raises(MinuteWentBack):
        recent.contrast(9)


def test_a_correction_of_what_is_not_there_is_broken_until_it_is() -> None:
    window = Window(0)
    window.add(batch([Call(1, TREATMENT, 3)], [Change(1, TREATMENT, 3, Quantity.NDCG, -1, -UNIT // 2)]))
    assert window.contrast().treatment.broken == {Quantity.NDCG}
    assert Quantity.NDCG not in window.contrast().treatment.means
    assert not window.contrast().control.broken
    window.add(batch([], [Change(1, TREATMENT, 3, Quantity.NDCG, 2, UNIT)]))
    assert not window.contrast().treatment.broken
    assert window.contrast().treatment.means[Quantity.NDCG] == Moments.of([0.5])


@pytest.mark.parametrize(
    ("quantity", "total"),
    [
        (Quantity.NDCG, 2 * UNIT),
        (Quantity.RATING, 6 * UNIT),
        (Quantity.COMPLAINTS, -UNIT),
        (Quantity.DISCOVERY, UNIT << 21),
    ],
)
def test_values_that_cannot_be_are_broken(quantity: Quantity, total: int) -> None:
    window = Window(0)
    window.add(batch([Call(1, CONTROL, 0)], [Change(1, CONTROL, 0, quantity, 1, total)]))
    assert window.contrast().control.broken == {quantity}


def test_calls_below_zero_are_broken() -> None:
    window, recent = Window(0), Recent(5)
    for each in (window, recent):
        each.add(batch([Call(1, CONTROL, 0, weight=-1)]))
    assert window.contrast().control.has_broken_calls
    assert recent.contrast(2).control.has_broken_calls
    window.add(batch([Call(1, CONTROL, 0)]))
    assert not window.contrast().control.has_broken_calls


@given(st.integers(0, 2**32), st.integers(20, 60), st.floats(0.0, 0.6))
def test_the_design_effect_is_that_of_the_share_at_the_edge_nearest_to_p95(
    seed: int, users: int, between: float
) -> None:
    rng = np.random.default_rng(seed)
    calls = [
        Call(1, CONTROL, user, float(ms))
        for user, level in enumerate(rng.normal(5.5, between, users))
        for ms in np.exp(rng.normal(level, 0.5, rng.integers(5, 20)))
    ]
    window = Window(0)
    window.add(batch(calls))
    found = window.contrast().control.latency_design_effect
    # Half octaves start with every 64th bucket.
    edges = upper_ms()[np.arange(9, 40) * 64 - 1]
    times = upper_ms()[bucket_of(np.array([call.ms * 1_000 for call in calls], dtype=np.uint32))]
    edge = min(edges, key=lambda each: abs(np.count_nonzero(times <= each) - 0.95 * times.size))
    hits, requests_made = np.zeros(users), np.zeros(users)
    for call, time in zip(calls, times, strict=True):
        hits[call.user] += time <= edge
        requests_made[call.user] += 1
    share = ratio_of(Moments.of(hits, requests_made))
    assert isinstance(share, ArmEstimate)
    independent = share.value * (1 - share.value) / times.size
    if 0.5 <= share.value <= 0.995:
        assert found == pytest.approx(max(1.0, share.squared_error / independent))
    else:
        assert found == pytest.approx(max(1.0, float((requests_made**2).sum() / requests_made.sum())))


def test_where_no_edge_splits_the_calls_each_user_counts_as_one_call() -> None:
    window = Window(0)
    window.add(batch([Call(1, CONTROL, user, 300.0) for user in range(20) for _ in range(10)]))
    assert window.contrast().control.latency_design_effect == 10
    assert window.contrast().treatment.latency_design_effect == 1
    assert math.isclose(window.contrast().control.calls, 200)


@given(st.integers(0, 2**32), st.integers(2, 40), st.floats(0.05, 2.0))
def test_the_design_effect_of_errors_is_that_of_their_share_whatever_the_cut(
    seed: int, users: int, alike: float
) -> None:
    rng = np.random.default_rng(seed)
    calls = [
        Call(1, CONTROL, user, error=bool(error))
        for user, rate in enumerate(rng.beta(alike, 4 * alike, users))
        for error in rng.random(rng.integers(1, 30)) < rate
    ]
    once = Window(0)
    once.add(batch(calls))
    wanted = once.contrast().control.error_design_effect
    assert wanted == pytest.approx(error_design_effect(calls))
    cut, shuffled = Window(0), [calls[place] for place in rng.permutation(len(calls))]
    for piece in np.array_split(np.arange(len(calls)), 5):
        cut.add(batch([shuffled[place] for place in piece]))
        cut.contrast()
    assert cut.contrast().control.error_design_effect == wanted


@pytest.mark.parametrize(
    ("erring", "wanted"),
    [
        ({}, 10),  # no error: each user's calls count as one
        ({(3, 0)}, 10),  # one error falls together with no other
        ({(3, 0), (5, 0)}, 1),
        ({(3, call) for call in range(10)}, 10),  # those of one user, all of them
        ({(user, call) for user in range(20) for call in range(10)}, 10),
        ({(user, call) for user in range(20) for call in range(10)} - {(3, 0)}, 10),
    ],
)
def test_where_errors_do_not_show_whether_they_fall_together_each_user_counts_as_one_call(
    erring: set[tuple[int, int]], wanted: float
) -> None:
    window = Window(0)
    window.add(
        batch([Call(1, CONTROL, user, error=(user, call) in erring) for user in range(20) for call in range(10)])
    )
    assert window.contrast().control.error_design_effect == pytest.approx(wanted, rel=0.06)
    assert window.contrast().treatment.error_design_effect == 1


def test_the_errors_of_one_user_count_as_one_call() -> None:
    window = Window(0)
    window.add(batch([Call(1, CONTROL, 0, error=call < 5) for call in range(10)]))
    assert window.contrast().control.error_design_effect == 10


def test_errors_of_a_user_below_zero_are_broken() -> None:
    window = Window(0)
    window.add(batch([Call(1, CONTROL, 0), Call(1, CONTROL, 0), Call(1, CONTROL, 1, error=True)]))
    window.add(batch([Call(1, CONTROL, 0, error=True, weight=-1)]))
    assert window.contrast().control.errors == 0
    assert window.contrast().control.has_broken_calls
    window.add(batch([Call(1, CONTROL, 0, error=True)]))
    assert not window.contrast().control.has_broken_calls
