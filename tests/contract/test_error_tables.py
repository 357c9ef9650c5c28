"""No error without a status, and no status for an error that does not exist."""

import inspect

import pytest
from ra_guard import _core, errors
from ra_guard.errors import CORE_STATUS, STATUS, Code, RaGuardError, status_of

from tests.stand_ins.serving_core import core_error


def test_every_error_class_has_a_status() -> None:
    classes = {
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, RaGuardError) and member is not RaGuardError
    }
    assert set(STATUS) == classes


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
