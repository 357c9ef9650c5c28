"""Where messages lead: every configured address, and who is told there. Pure.

A team is told at its own addresses on a route, or at the general ones where it has none there; so is, at the general
ones, whatever is for no team. An address that a route has several times is one. Addresses hold tokens: a representation
leaves them out.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from ra_guard.alerts.message import Message, Reader
from ra_guard.experiments.definition.vocabulary import Route, Team
from ra_guard.experiments.definition.words import spoken

READERS: Final[tuple[Reader, ...]] = (None, *Team)


class Configured(Protocol):
    """The addresses of each route, as a configuration has them."""

    @property
    def slack(self) -> tuple[str, ...]: ...
    @property
    def email(self) -> tuple[str, ...]: ...
    @property
    def teams(self) -> Mapping[Team, Mapping[Route, tuple[str, ...]]]: ...


@dataclass(frozen=True)
class Address:
    """One address of a route."""

    route: Route
    place: str
    """Where the configuration has it first, numbered from 1: "slack 1", "email 2 of data team"."""
    url: str = field(repr=False)
    readers: frozenset[Reader]
    """Who is told here."""

    def tells(self, route: Route, reader: Reader) -> bool:
        """Whether this is where a reader is told by a route."""
        return route is self.route and reader in self.readers

    def takes(self, message: Message) -> bool:
        """Whether a message goes here."""
        return any(self.tells(route, reader) for route in message.routes for reader in message.readers)

    @property
    def readers_in_words(self) -> str:
        """A list of teams; of a general address, those that are told elsewhere."""
        if None not in self.readers:
            return ", ".join(spoken(team) for team in Team if team in self.readers)
        elsewhere = ", ".join(spoken(team) for team in Team if team not in self.readers)
        return f"everyone but {elsewhere}" if elsewhere else "everyone"


def addresses_of(configured: Configured) -> tuple[Address, ...]:
    """Every address once, by route: the general ones, then the teams' own."""
    general = {Route.SLACK: configured.slack, Route.EMAIL: configured.email}
    places: dict[tuple[Route, str], str] = {}
    readers: dict[tuple[Route, str], set[Reader]] = defaultdict(set)
    for route in Route:
        for reader in READERS:
            own = configured.teams.get(reader, {}).get(route, ()) if reader else general[route]
            for number, url in enumerate(own, start=1):
                places.setdefault((route, url), f"{route} {number}{f' of {spoken(reader)}' if reader else ''}")
            for url in own or general[route]:
                readers[route, url].add(reader)
    return tuple(Address(route, place, url, frozenset(readers[route, url])) for (route, url), place in places.items())
