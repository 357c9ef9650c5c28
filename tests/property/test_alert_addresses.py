"""Whatever is configured, a message goes to the addresses that the rule names, once each, and to no other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st
from ra_guard.alerts.addresses import addresses_of
from ra_guard.alerts.delivery import Delivery
from ra_guard.alerts.message import Message
from ra_guard.alerts.notices import trial
from ra_guard.experiments.definition.vocabulary import Route, Team

from tests.stand_ins.ticks import START

lists = st.lists(st.sampled_from([f"json://{name}" for name in "abcde"]), max_size=3).map(tuple)
routes = st.lists(st.sampled_from(Route), unique=True).map(tuple)
teams = st.lists(st.sampled_from(Team), max_size=4).map(tuple)
messages = st.builds(replace, st.just(trial(START)), routes=routes, to=teams, was_told_to_no_team=st.booleans())


@dataclass(frozen=True)
class Lists:
    """What an operator wrote."""

    slack: tuple[str, ...]
    email: tuple[str, ...]
    teams: Mapping[Team, Mapping[Route, tuple[str, ...]]]

    def of(self, route: Route, team: Team | None) -> tuple[str, ...]:
        general = self.slack if route is Route.SLACK else self.email
        return (self.teams.get(team, {}).get(route) if team else None) or general


written = st.builds(
    Lists, lists, lists, st.dictionaries(st.sampled_from(Team), st.dictionaries(st.sampled_from(Route), lists))
)


@given(written, messages)
def test_a_message_reaches_exactly_the_addresses_of_its_readers_once_each(configured: Lists, message: Message) -> None:
    readers: set[Team | None] = set(message.to)
    if message.was_told_to_no_team or not message.to:
        readers.add(None)
    wanted = {(route, url) for route in message.routes for reader in readers for url in configured.of(route, reader)}

    addresses = addresses_of(configured)
    delivery = Delivery(addresses, lambda _: None)  # not started: what is offered waits
    delivery.offer(message)
    waiting = zip(addresses, delivery.counts(), strict=True)
    assert sorted((each.route, each.url) for each, counts in waiting for _ in range(counts.waiting)) == sorted(wanted)


@given(written)
def test_every_address_is_one_receiver_with_a_name_of_its_own(configured: Lists) -> None:
    addresses = addresses_of(configured)
    all_written = {(route, url) for route in Route for team in (None, *Team) for url in configured.of(route, team)}
    assert sorted((each.route, each.url) for each in addresses) == sorted(all_written)
    assert len({each.place for each in addresses}) == len(addresses)
