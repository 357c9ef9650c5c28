"""No error without a status, and no status for an error that does not exist."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
import ra_guard
from ra_guard import _core, errors
from ra_guard.client import CallFailed
from ra_guard.errors import CORE_STATUS, Code, RaGuardError, Refused, status_of
from ra_guard.experiments.errors import ExperimentError
from ra_guard.gallery.errors import BadName, GalleryError, NoSuchImage
from ra_guard.models.space import UnknownSpace

from tests.stand_ins.serving_core import core_error


def descendants(kind: type[RaGuardError]) -> Iterator[type[RaGuardError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_error_class_states_its_status() -> None:
    for module in pkgutil.walk_packages(ra_guard.__path__, "ra_guard."):
        importlib.import_module(module.name)
    # Never raised themselves; a failed call brings its own.
    bases = {GalleryError, ExperimentError, Refused, CallFailed}
    silent = {
        kind
        for kind in descendants(RaGuardError)
        if kind.__module__.startswith("ra_guard.")
        and kind not in bases
        and not any("status_code" in vars(parent) for parent in kind.__mro__ if parent is not RaGuardError)
    }
    assert not silent


def test_every_variant_of_the_core_has_a_status() -> None:
    assert {kind: set(variants) for kind, variants in CORE_STATUS.items()} == {
        kind: set(variants) for kind, variants in _core.VARIANTS.items()
    }


def test_codes_are_grpcs_own() -> None:
    import grpc

    for code in Code:
        assert grpc.StatusCode[code].name == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (core_error(_core.RequestError, "TopK"), Code.INVALID_ARGUMENT),
        (core_error(_core.ShardError, "DiskFull"), Code.RESOURCE_EXHAUSTED),
        (errors.TooManyCandidates("many"), Code.RESOURCE_EXHAUSTED),
        (BadName("domain: found ''"), Code.INVALID_ARGUMENT),
        (NoSuchImage("no row"), Code.NOT_FOUND),
        (UnknownSpace("no space"), Code.NOT_FOUND),
        (KeyError("nobody foresaw this"), Code.INTERNAL),
        (BaseException("nor this"), Code.INTERNAL),
    ],
)
def test_an_error_is_worth_what_the_tables_say(error: BaseException, code: Code) -> None:
    assert status_of(error) is code


def test_a_subclass_is_worth_what_its_nearest_relative_is() -> None:
    class CloseRelative(errors.TritonTimeout):
        pass

    assert status_of(CloseRelative("late")) is Code.DEADLINE_EXCEEDED
    assert CloseRelative("late").variant == "CloseRelative"
