"""GalleryAdmin over the wire, behind the error boundary, with the real core."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from ra_guard._core import Engine
from ra_guard.gallery.intake import IdSource, Provenance
from ra_guard.rpc.gallery_admin import SERVICE, GalleryAdmin, gallery_admin_handlers
from ra_guard.rpc.interceptors import ErrorBoundary
from ra_guard.serving.generation_watch import GenerationLoader
from ra_guard.v1 import gallery_pb2 as wire

from tests.stand_ins.gallery_models import LABELS, SPACE
from tests.stand_ins.gallery_setup import Studio
from tests.stand_ins.pictures import write_pictures

FLOWERS = Provenance("flowers", "cc0", id_source=IdSource.NAME)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def channel(studio: Studio) -> Iterator[grpc.Channel]:
    core = Engine(query_cache_entries=8)
    loader = GenerationLoader(core, studio.folder.path, memory_limit_bytes=1 << 30, prepare=lambda generation: None)
    server = grpc.server(ThreadPoolExecutor(2))
    handlers = gallery_admin_handlers(GalleryAdmin(core, loader.load))
    server.add_generic_rpc_handlers((ErrorBoundary(handlers, lambda error: None),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


def describe(channel: grpc.Channel) -> wire.DescribeResponse:
    call = channel.unary_unary(
        f"/{SERVICE}/Describe",
        request_serializer=wire.DescribeRequest.SerializeToString,
        response_deserializer=wire.DescribeResponse.FromString,
    )
    response: wire.DescribeResponse = call(wire.DescribeRequest(), timeout=10)
    return response


def publish(channel: grpc.Channel, generation: int) -> wire.PublishResponse:
    call = channel.unary_unary(
        f"/{SERVICE}/Publish",
        request_serializer=wire.PublishRequest.SerializeToString,
        response_deserializer=wire.PublishResponse.FromString,
    )
    response: wire.PublishResponse = call(wire.PublishRequest(generation=generation), timeout=10)
    return response


def test_nothing_is_described_as_nothing(channel: grpc.Channel) -> None:
    assert describe(channel) == wire.DescribeResponse()


def test_a_published_generation_is_described(studio: Studio, channel: grpc.Channel, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 3)
    studio.ingest(tmp_path / "in", FLOWERS)
    assert publish(channel, 0) == wire.PublishResponse(generation=1, previous=0)
    found = describe(channel)
    assert (found.generation, found.rows, found.dtype, found.space) == (1, 3, "f16", SPACE.fingerprint)
    assert (list(found.domains), list(found.licences), list(found.labels)) == (["flowers"], ["cc0"], list(LABELS))
    assert [shard.rows for shard in found.shards] == [3]


def test_an_older_generation_can_be_served_again(studio: Studio, channel: grpc.Channel, tmp_path: Path) -> None:
    for count in (2, 4):
        write_pictures(tmp_path / "in", count)
        studio.ingest(tmp_path / "in", FLOWERS)
    publish(channel, 0)
    assert publish(channel, 1) == wire.PublishResponse(generation=1, previous=2)
    assert describe(channel).rows == 2


def test_a_generation_that_is_not_there_is_refused_and_the_old_one_serves(
    studio: Studio, channel: grpc.Channel, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 2)
    studio.ingest(tmp_path / "in", FLOWERS)
    publish(channel, 0)
    with pytest.raises(grpc.RpcError) as refused:
        publish(channel, 99)
    assert refused.value.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND)
    assert describe(channel).generation == 1
