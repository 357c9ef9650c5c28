"""The killswitch as a feature flag: off means killed, read through any OpenFeature provider by the control plane.

The flag's key is the experiment's. It is read by the control plane, never on the path of a call, and it only ever
stops: a flag that comes on again resumes nothing, a person does.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from openfeature import api
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider import AbstractProvider

from ra_guard.experiments.errors import InvalidInput

DOMAIN = "ra-guard"


class BadFlagProvider(InvalidInput):
    """control.flag_provider names nothing that can be imported and built."""


class FlagState(Enum):
    """What a reading came to."""

    ON = "on"
    OFF = "off"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class FlagReading:
    """One reading of one flag."""

    provider: str
    state: FlagState
    last: FlagState | None
    """The last value that could be read, which still holds; None before the first."""
    error: str = ""


class FlagSource(Protocol):
    """Flags by experiment key."""

    def read(self, key: str) -> FlagReading | None: ...
    def reading(self, key: str) -> FlagReading | None: ...


class NoFlag:
    """No provider is configured: the killswitch is turned by people and triggers alone."""

    def read(self, key: str) -> None:
        """None."""

    def reading(self, key: str) -> None:
        """None."""


class OpenFeatureFlags:
    """Flags of one OpenFeature provider. `read` evaluates and may take as long as the provider does."""

    def __init__(self, provider: AbstractProvider, name: str) -> None:
        self._name = name
        self._readings: dict[str, FlagReading] = {}
        # Not the call that waits: a provider that is not ready yet must not keep the control plane from starting.
        api.set_provider(provider, DOMAIN)
        self._client = api.get_client(DOMAIN)

    def read(self, key: str) -> FlagReading:
        """Evaluates the flag now."""
        found = self._client.get_boolean_details(key, default_value=False)
        before = self._readings.get(key)
        reading = self._judge(found, None if before is None else before.last)
        self._readings[key] = reading
        return reading

    def reading(self, key: str) -> FlagReading:
        """The latest reading; unreadable before the first."""
        return self._readings.get(key, FlagReading(self._name, FlagState.UNREADABLE, None, "not read yet"))

    def close(self) -> None:
        """Ends the provider's threads."""
        api.shutdown()

    def _judge(self, found: FlagEvaluationDetails[bool], last: FlagState | None) -> FlagReading:
        # The default is what an error is answered with, so an error must be told from a value.
        if found.error_code is not None:
            error = f"{found.error_code.value}: {found.error_message or 'no message'}"
            return FlagReading(self._name, FlagState.UNREADABLE, last, error)
        state = FlagState.ON if found.value else FlagState.OFF
        return FlagReading(self._name, state, state)


def open_feature_flags(named: str) -> OpenFeatureFlags:
    """The provider that ``module:Class`` names, built without arguments: providers take theirs from the environment.

    Raises BadFlagProvider.
    """
    module, _, attribute = named.partition(":")
    try:
        build: Callable[[], AbstractProvider] = getattr(importlib.import_module(module), attribute)
        provider = build()
    except Exception as cause:
        raise BadFlagProvider(
            found=f"control.flag_provider {named!r} ({type(cause).__name__}: {cause})",
            wanted="module:Class of an OpenFeature provider that is installed",
            cure="for flagd: pip install 'ra-guard[flagd]' and openfeature.contrib.provider.flagd:FlagdProvider",
        ) from cause
    return OpenFeatureFlags(provider, attribute)
