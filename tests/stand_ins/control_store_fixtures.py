"""Fixtures: empty stores on SQLite and on a real PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ra_guard.experiments.control_store import ControlStore

from tests.stand_ins.control_stores import new_schema
from tests.stand_ins.postgres import PostgresServer, public_folder
from tests.stand_ins.store_processes import Started, StoreProcess


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for every test that leaves it running."""
    server = PostgresServer(public_folder())
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/control/control.db"
    return new_schema(request.getfixturevalue("postgres"))


@pytest.fixture
def opened() -> Iterator[Callable[[str], ControlStore]]:
    """Opens stores and closes them in the end."""
    stores: list[ControlStore] = []

    def open_store(url: str) -> ControlStore:
        stores.append(ControlStore.open(url))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def store(store_url: str, opened: Callable[[str], ControlStore]) -> ControlStore:
    return opened(store_url)


@pytest.fixture
def started() -> Iterator[Started]:
    """Starts processes and ends them with the test."""
    processes: list[StoreProcess] = []

    def start(*arguments: str, launcher: tuple[str, ...] = ()) -> StoreProcess:
        processes.append(StoreProcess(*arguments, launcher=launcher))
        return processes[-1]

    yield start
    for process in processes:
        process.close()
