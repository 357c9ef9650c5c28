"""The object store of logs: the same promises from a folder and from a real S3, and every refusal by its name."""

import io
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from ra_guard.logs.errors import BadObjectsUrl, NoSuchObject, ObjectsDenied, ObjectsFull, ObjectsUnreachable
from ra_guard.logs.layout import Kind
from ra_guard.logs.objects import Listed, Put, StoredObjects

from tests.stand_ins.s3 import BUCKET, S3, s3

KEY = "candidates/day=2026-01-02/0-00000000000000000007-000000.log"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredObjects:
    if request.param == "folder":
        return StoredObjects.open(str(tmp_path / "objects"))
    running: S3 = request.getfixturevalue("store")
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return StoredObjects.open(f"s3://{BUCKET}/{tmp_path.name}")


def test_an_object_is_put_once_and_stays_as_it_was(objects: StoredObjects) -> None:
    assert objects.put_new(KEY, b"first") is Put.STORED
    assert objects.put_new(KEY, io.BytesIO(b"second")) is Put.PRESENT
    assert (objects.read(KEY), objects.size(KEY)) == (b"first", 5)
    objects.replace(KEY, b"third time")
    assert (objects.read(KEY), objects.size(KEY)) == (b"third time", 10)


def test_what_is_not_there_is_said_to_be_missing(objects: StoredObjects) -> None:
    assert objects.size(KEY) is None
    for ask in (objects.read, lambda key: objects.local_copy(key).__enter__()):
        with pytest.raises(NoSuchObject, match="found no such object"):
            ask(KEY)
    objects.delete([KEY, "plans/never/1.plan"])
    assert list(objects.under("candidates/")) == []
    assert objects.days(Kind.CANDIDATES) == []


def test_listing_days_and_deleting(objects: StoredObjects) -> None:
    keys = [f"feedback/day=2026-01-0{day}/0-{number:020}-000000.log" for day in (3, 1) for number in range(3)]
    for key in keys:
        objects.put_new(key, key.encode())
    assert objects.days(Kind.FEEDBACK) == [date(2026, 1, 1), date(2026, 1, 3)]
    assert objects.days(Kind.CANDIDATES) == []
    listed = {Listed(key, len(key)) for key in keys[:3]}
    assert set(objects.under("feedback/day=2026-01-03/")) == listed
    objects.delete([*keys[:3], keys[0]])
    assert objects.days(Kind.FEEDBACK) == [date(2026, 1, 1)]


def test_a_local_copy_holds_the_bytes_under_the_objects_name(objects: StoredObjects) -> None:
    data = bytes(range(256)) * 20_000
    objects.put_new(KEY, io.BytesIO(data))
    with objects.local_copy(KEY) as path:
        assert path.read_bytes() == data
        assert path.name == KEY.rpartition("/")[2]


@pytest.mark.parametrize(
    ("url", "word"),
    [("ftp://host/x", "ftp"), ("s3://", "s3"), ("gs://bucket", "gs"), ("file://relative", "relative"), ("  ", "path")],
)
def test_a_store_that_cannot_be_named_so(url: str, word: str) -> None:
    with pytest.raises(BadObjectsUrl, match=word):
        StoredObjects.open(url)


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:1", "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    objects = StoredObjects.open(f"s3://{BUCKET}/x")
    with pytest.raises(ObjectsUnreachable, match="nothing is lost"):
        objects.put_new(KEY, b"data")
    with pytest.raises(ObjectsUnreachable):
        list(objects.under("candidates/"))


def test_a_wrong_key_is_no_outage(store: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**store.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ObjectsDenied, match="let this process"):
        StoredObjects.open(f"s3://{BUCKET}/x").put_new(KEY, b"data")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_folder_is_named_and_leaves_no_half_object(small_disk: Path) -> None:
    objects = StoredObjects.open(str(small_disk))
    with pytest.raises(ObjectsFull, match="free space"):
        objects.put_new(KEY, bytes(1 << 20))
    assert objects.size(KEY) is None
    assert objects.put_new(KEY, b"small") is Put.STORED
