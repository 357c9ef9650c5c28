"""The evidence of an experiment against a reference in plain Python, and in pieces against all at once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ra_guard.evidence.join import Follower, News
from ra_guard.evidence.left_out import LeftOut
from ra_guard.evidence.tally import UNIT, Quantity
from ra_guard.experiments.definition.vocabulary import Labels
from ra_guard.logs.exposures import exposures
from ra_guard.stats.ndcg import ndcg
from ra_guard.v1 import rerank_pb2

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

PLANS = [(KEY, 1, EPOCH, 100), (KEY, 2, EPOCH, 1_000), (KEY, 3, 2, 10), ("other", 1, EPOCH, 100)]
"""key, revision, epoch, window"""
ASK_AGAIN_S = 300
ERRORS = {rerank_pb2.REASON_DEADLINE, rerank_pb2.REASON_OVERLOAD, rerank_pb2.REASON_INTERNAL}
END = START_S // MINUTE_S + 10
"""The last minute that is looked at; some calls come later than five minutes before it ends."""

calls = st.builds(
    Call,
    request_id=st.sampled_from("prstw"),
    user_id=st.sampled_from("uv"),
    at_s=st.sampled_from([0, 0, 1, 60, 299, 300, 301, 350, 400, 500]).map(START_S.__add__),
    arm=st.sampled_from([1, 2, 2, 3]),
    reason=st.sampled_from([0, 3, 5, 6, 9]),
    key=st.sampled_from([KEY, KEY, KEY, KEY, "other"]),
    revision=st.sampled_from([1, 1, 1, 2, 3, 9]),
    domain=st.sampled_from(["", "birds"]),
    elapsed_us=st.sampled_from([0, 1_000, 2_000]),
    ranking=st.sampled_from([(0, 1, 2), (2, 0, 1), (1,)]),
    top_k=st.sampled_from([0, 1, 2]),
)
events = st.builds(
    Event,
    event_id=st.integers(0, 40).map(str),
    request_id=st.sampled_from("prstwx"),
    kind=st.sampled_from(["click", "click", "judgment", "judgment", "rating", "complaint", "impression"]),
    occurred_s=st.sampled_from([0, 1, 60, 299, 300, 301, 400]).map(START_S.__add__),
    late_s=st.sampled_from([0, 1, 100, 101, 200]),
    candidate_id=st.sampled_from(["a", "b", "c", "stranger"]),
    stars=st.integers(1, 5),
    grade=st.integers(0, 3),
)


@dataclass
class Sums:
    """Everything that batches add up to, by names instead of numbers; nothing that has come to nothing."""

    calls: Counter[tuple[object, ...]] = field(default_factory=Counter)
    counts: Counter[tuple[object, ...]] = field(default_factory=Counter)
    totals: Counter[tuple[object, ...]] = field(default_factory=Counter)

    def add(self, news: News, follower: Follower) -> None:
        users, domains = follower.users, follower.domains
        rows, changes = news.batch.calls, news.batch.changes
        for minute, arm, user, domain, bucket, error, weight in zip(*vars(rows).values(), strict=True):
            self.calls[int(minute), int(arm), users[user], domains[domain], int(bucket), bool(error)] += int(weight)
        for minute, arm, user, domain, quantity, count, total in zip(*vars(changes).values(), strict=True):
            key = (int(minute), int(arm), users[user], domains[domain], Quantity(quantity))
            self.counts[key] += int(count)
            self.totals[key] += int(total)

    def nonzero(self) -> tuple[dict[tuple[object, ...], int], ...]:
        return tuple({key: n for key, n in each.items() if n} for each in (self.calls, self.counts, self.totals))


@dataclass(frozen=True)
class Seen:
    sums: Sums
    left_out: LeftOut
    follower: Follower


def follow(folder: Path, steps: Iterable[tuple[Sequence[Path], int]], labels: Labels) -> Seen:
    follower = Follower(KEY, EPOCH, labels, folder / ".duckdb")
    sums = Sums()
    for files, as_of in steps:
        news = follower.tell(files, as_of)
        assert news.refused == ()
        sums.add(news, follower)
    return Seen(sums, follower.left_out(), follower)


@dataclass
class Reference:
    """The definitions of EVIDENCE.md, one loop each, over all records at once and in the order of writing."""

    logged: Sequence[Call]
    received: Sequence[Event]
    labels: Labels
    sums: Sums = field(default_factory=Sums)

    def __post_init__(self) -> None:
        answers: dict[tuple[str, str], Call] = {}
        for call in self.logged:
            before = answers.get((call.request_id, call.user_id))
            if before is None or before.at_s <= call.at_s:
                answers[call.request_id, call.user_id] = call
        first: dict[str, Event] = {}
        for event in self.received:
            known = first.get(event.event_id)
            if known is None or event.received_s < known.received_s:
                first[event.event_id] = event
        plans = {(key, revision): (epoch, window) for key, revision, epoch, window in PLANS}
        mine = [
            call
            for call in answers.values()
            if call.key == KEY and plans.get((KEY, call.revision), (0, 0))[0] == EPOCH and call.arm in (1, 2)
        ]
        requests = Counter(request for request, _ in answers)
        told: dict[str, list[Event]] = defaultdict(list)
        for call in mine:
            if requests[call.request_id] == 1:
                window = plans[KEY, call.revision][1]
                told[call.request_id] = [
                    event for event in first.values() if event.request_id == call.request_id and event.late_s <= window
                ]
        order = {id(call): place for place, call in enumerate(self.logged)}
        for user in "uv":
            asked = sorted((c for c in mine if c.user_id == user), key=lambda call: (call.at_s, order[id(call)]))
            self._user([(call, told.get(call.request_id)) for call in asked])

    def _user(self, asked: Sequence[tuple[Call, list[Event] | None]]) -> None:
        places = {id(event): place for place, event in enumerate(self.received)}
        clicks = [(e, call) for call, heard in asked for e in heard or [] if e.kind == "click"]
        clicks.sort(key=lambda each: (each[0].occurred_s, each[0].received_s, places[id(each[0])]))
        discovered: dict[str | None, Call] = {}
        for event, call in clicks:
            discovered.setdefault(event.candidate_id, call)
        for (call, heard), later in zip(asked, [*(call for call, _ in asked[1:]), None], strict=False):
            bucket = {0: 0, 1_000: 506, 2_000: 634}[call.elapsed_us]
            row = (call.at_s // MINUTE_S, call.arm, call.user_id, call.domain)
            self.sums.calls[(*row, bucket, call.reason in ERRORS)] += 1
            if heard is None:
                continue
            own = [event for event, of in clicks if of is call]
            self._add(row, Quantity.CLICK_THROUGH, 1, bool(own))
            if call.at_s + ASK_AGAIN_S < (END + 1) * MINUTE_S:
                again = later is not None and later.at_s - call.at_s <= ASK_AGAIN_S
                before = later is not None and any(event.occurred_s < later.at_s for event in own)
                self._add(row, Quantity.COMPLETION, 1, not again or before)
            stars = [event.stars or 0 for event in heard if event.kind == "rating"]
            self._add(row, Quantity.RATING, len(stars), sum(stars))
            self._add(row, Quantity.COMPLAINTS, 0, sum(event.kind == "complaint" for event in heard))
            self._add(row, Quantity.DISCOVERY, 0, sum(of is call for of in discovered.values()))
            self._relevance(row, call, sorted(heard, key=lambda event: (event.received_s, places[id(event)])))

    def _relevance(self, row: tuple[object, ...], call: Call, heard: Sequence[Event]) -> None:
        if self.labels is Labels.CLICKS:
            grades = {event.candidate_id: 1 for event in heard if event.kind == "click"}
        else:
            grades = {event.candidate_id: event.grade or 0 for event in heard if event.kind == "judgment"}
        judged = {each: grade for each, grade in grades.items() if each in call.candidates}
        served = [call.candidates[place] for place in call.ranking][: call.top_k or None]
        value = ndcg([judged.get(each, 0) for each in served], list(judged.values()))
        if value is not None:
            self._add(row, Quantity.NDCG, 1, value / 100)

    def _add(self, row: tuple[object, ...], quantity: Quantity, count: int, total: float) -> None:
        self.sums.counts[(*row, quantity)] += count
        self.sums.totals[(*row, quantity)] += round(total * UNIT)


def cut(data: st.DataObject, rows: int) -> list[tuple[int, int]]:
    """Up to four pieces, in order."""
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=3)))
    return list(zip([0, *cuts], [*cuts, rows], strict=True))


@pytest.mark.parametrize("labels", list(Labels))
@settings(max_examples=10, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(st.lists(calls, min_size=1, max_size=14), st.lists(events, min_size=4, max_size=30), st.data())
def test_pieces_in_any_order_add_up_to_what_the_reference_says(
    labels: Labels, logged: list[Call], received: list[Event], data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        files = [write_plans(folder, PLANS), write_counts(folder, [])]
        for start, end in cut(data, len(logged)):
            files.append(write_calls(folder, len(files), logged[start:end]))
        for start, end in cut(data, len(received)):
            files.append(write_events(folder, len(files), received[start:end]))
        at_once = follow(folder, [(files, END)], labels)
        order = data.draw(st.permutations(files))
        pieces = [order[start:end] for start, end in cut(data, len(order))]
        as_ofs = sorted(data.draw(st.lists(st.integers(END - 10, END), min_size=len(pieces), max_size=len(pieces))))
        in_pieces = follow(folder, [*zip(pieces, as_ofs, strict=True), ([], END)], labels)
        assert in_pieces.sums.nonzero() == at_once.sums.nonzero()
        assert in_pieces.left_out == at_once.left_out
        assert in_pieces.follower.exposure() == at_once.follower.exposure()
        assert in_pieces.follower.top_queries(9) == at_once.follower.top_queries(9)
        found, wanted = at_once.sums.nonzero(), Reference(logged, received, labels).sums.nonzero()
        assert found[:2] == wanted[:2]
        assert found[2].keys() == wanted[2].keys()
        assert all(abs(found[2][key] - wanted[2][key]) <= 5 for key in found[2])
        counted = exposures(folder, KEY, (END + 1) * MINUTE_S * NS)
        assert at_once.left_out.feedback == counted.feedback
