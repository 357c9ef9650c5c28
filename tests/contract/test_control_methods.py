"""No method of ExperimentAdmin without a role that may call it, a handler that answers it, and a client that asks."""

from ra_guard.client import ControlSource, ExperimentClient
from ra_guard.rpc.auth import REQUIRED, Role
from ra_guard.rpc.experiment_admin import _METHODS, ExperimentAdmin
from ra_guard.v1 import experiment_pb2 as wire

METHODS = {method.name: method for method in wire.DESCRIPTOR.services_by_name["ExperimentAdmin"].methods}
FEED = {"Watch", "Poll"}
"""Of replicas: the server answers them from memory."""
UNSIGNED = {"Attest"}
"""For operators, and no line of the ledger."""


def test_every_method_requires_a_role() -> None:
    assert set(REQUIRED) == set(METHODS)


def test_whatever_changes_an_experiment_is_for_operators() -> None:
    signed = {name for name, method in METHODS.items() if "who" in method.input_type.fields_by_name}
    assert signed | UNSIGNED == {name for name, role in REQUIRED.items() if role is Role.OPERATOR}


def test_every_method_is_answered_and_asked() -> None:
    assert set(_METHODS) == set(METHODS) - FEED
    for name in set(_METHODS.values()):
        assert callable(getattr(ExperimentAdmin, name))
        assert callable(getattr(ExperimentClient, name))
    assert all(callable(getattr(ControlSource, name.lower())) for name in FEED)
