"""The Triton client against a server that misbehaves in every way that the contract knows."""

import threading
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from ra_guard.errors import (
    RaGuardError,
    SpaceMismatch,
    TritonBusy,
    TritonRejected,
    TritonTimeout,
    TritonUnavailable,
    TritonWrongShape,
)
from ra_guard.models.space import Space, Tower
from ra_guard.serving.breaker import CircuitBreaker
from ra_guard.serving.triton import Detection, TritonModels

from tests.stand_ins.kserve import Abort, StandIn, Tensors, healthy, serving

SPACE = Space("stand-in", 4, (0.1, 0.6), "none", Tower("none", "00"), Tower("none", "00"), ("person", "cup"))
TIMEOUT_S = 5.0


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with serving(SPACE) as stand_in:
        yield stand_in


@pytest.fixture
def models(stand_in: StandIn) -> Iterator[TritonModels]:
    models = client(stand_in.url)
    yield models
    models.close()


def client(url: str, *, timeout_s: float = TIMEOUT_S, max_in_flight: int = 2, failures: int = 3) -> TritonModels:
    breaker = CircuitBreaker(failures=failures, reset_s=3600)
    return TritonModels(url, space=SPACE, timeout_s=timeout_s, max_in_flight=max_in_flight, breaker=breaker)


def test_a_healthy_answer(models: TritonModels) -> None:
    assert models.ready()
    assert models.embed_text("a cup", 1).tolist() == [1, 0, 0, 0]
    assert models.embed_images([b"1", b"2"], 1).shape == (2, 4)
    assert models.detect([b"1"], 1) == [[Detection(0, 0.75, (0.25, 0.25, 0.5, 0.75))]]


def test_no_images_ask_nobody(models: TritonModels, stand_in: StandIn) -> None:
    assert models.embed_images([], 1).shape == (0, 4)
    assert models.detect([], 1) == []
    assert stand_in.seen.inferences == 0


def test_many_images_go_in_batches(models: TritonModels, stand_in: StandIn) -> None:
    assert models.embed_images([b"x"] * 33, 1).shape == (33, 4)
    assert stand_in.seen.inferences == 3


def test_triton_is_told_less_time_than_the_caller_waits(models: TritonModels, stand_in: StandIn) -> None:
    models.embed_text("a cup", 2)
    assert stand_in.seen.timeout_us is not None
    assert stand_in.seen.time_remaining_s is not None
    assert 0 < stand_in.seen.timeout_us / 1e6 < stand_in.seen.time_remaining_s


def instead(name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[str, int], Tensors]:
    """The healthy answer with one output changed, or left out."""

    def answer(model: str, items: int) -> Tensors:
        tensors = healthy(SPACE)(model, items)
        changed = {key: change(values) if key == name else values for key, values in tensors.items()}
        return {key: values for key, values in changed.items() if values is not None}

    return answer


def filled(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.full_like(values, value)


BREACHES = {
    "text_embeds": [
        lambda _: None,
        lambda values: values[:, :3],
        lambda values: np.concatenate([values, values]),
        lambda values: values.astype(np.float64),
        filled(np.nan),
        filled(np.inf),
        filled(0.0),
        filled(1.0),
    ],
    "labels": [lambda _: None, filled(2), lambda values: values[:, :5], lambda values: values.astype(np.float32)],
    "scores": [filled(-0.1), filled(1.1), filled(np.nan), lambda values: values[:, :5]],
    "boxes": [filled(0.5), filled(1.5), filled(np.nan), lambda values: values[:, :, :3]],
}


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, all_ in BREACHES.items() for change in all_])
def test_a_breach_of_the_model_contract(
    models: TritonModels, stand_in: StandIn, name: str, change: Callable[[np.ndarray], np.ndarray | None]
) -> None:
    stand_in.answer = instead(name, change)
    with pytest.raises(TritonWrongShape, match=name):
        models.embed_text("a cup", 1) if name == "text_embeds" else models.detect([b"x"], 1)


def test_another_space_is_refused_before_any_inference(models: TritonModels, stand_in: StandIn) -> None:
    stand_in.fingerprint = "0" * 32
    with pytest.raises(SpaceMismatch, match=SPACE.fingerprint):
        models.embed_text("a cup", 1)
    assert stand_in.seen.inferences == 0


def test_other_labels_are_refused(models: TritonModels, stand_in: StandIn) -> None:
    stand_in.labels_digest = ""
    with pytest.raises(SpaceMismatch, match="detector with labels_digest not set"):
        models.check_space()


def test_the_space_is_checked_again_after_a_failure(models: TritonModels, stand_in: StandIn) -> None:
    models.embed_text("a cup", 1)
    stand_in.answer = aborting(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(TritonUnavailable):
        models.embed_text("a cup", 1)
    stand_in.answer, stand_in.fingerprint = healthy(SPACE), "0" * 32
    with pytest.raises(SpaceMismatch):
        models.embed_text("a cup", 1)


def aborting(code: grpc.StatusCode) -> Callable[[str, int], Tensors]:
    def answer(_model: str, _items: int) -> Tensors:
        raise Abort(code, "on purpose")

    return answer


@pytest.mark.parametrize(
    ("code", "variant"),
    [
        (grpc.StatusCode.UNAVAILABLE, TritonUnavailable),
        (grpc.StatusCode.NOT_FOUND, TritonUnavailable),
        (grpc.StatusCode.INTERNAL, TritonUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TritonTimeout),
        (grpc.StatusCode.INVALID_ARGUMENT, TritonRejected),
    ],
)
def test_every_status_has_its_error(
    models: TritonModels, stand_in: StandIn, code: grpc.StatusCode, variant: type[RaGuardError]
) -> None:
    stand_in.answer = aborting(code)
    with pytest.raises(variant, match="clip_text"):
        models.embed_text("a cup", 1)


def test_nobody_listening_is_unavailable() -> None:
    with serving(SPACE) as gone:
        url = gone.url
    models = client(url)
    assert not models.ready()
    with pytest.raises(TritonUnavailable):
        models.embed_text("a cup", 1)
    models.close()


def test_a_server_that_dies_in_mid_call_is_unavailable() -> None:
    asked = threading.Event()

    def hang(_model: str, _items: int) -> Tensors:
        asked.set()
        threading.Event().wait(0.3)
        raise Abort(grpc.StatusCode.UNKNOWN, "too late to matter")

    errors: list[RaGuardError] = []

    def ask(models: TritonModels) -> None:
        try:
            models.embed_text("a cup", 5)
        except RaGuardError as error:
            errors.append(error)

    with serving(SPACE) as dying:
        dying.answer = hang
        models = client(dying.url)
        caller = threading.Thread(target=ask, args=(models,))
        caller.start()
        assert asked.wait(5)
    caller.join(10)
    models.close()
    assert [error.variant for error in errors] == ["TritonUnavailable"]


def test_a_slow_server_is_a_timeout(stand_in: StandIn) -> None:
    released = threading.Event()

    def slow(model: str, items: int) -> Tensors:
        released.wait(5)
        return healthy(SPACE)(model, items)

    stand_in.answer = slow
    models = client(stand_in.url, timeout_s=0.2)
    with pytest.raises(TritonTimeout):
        models.embed_text("a cup", 1)
    released.set()
    models.close()


def test_no_time_left_asks_nobody(models: TritonModels, stand_in: StandIn) -> None:
    with pytest.raises(TritonTimeout, match="no time left"):
        models.embed_text("a cup", 0)
    assert stand_in.seen.inferences == 0


def test_more_than_the_cap_is_refused_at_once(stand_in: StandIn) -> None:
    inside, released = threading.Semaphore(0), threading.Event()

    def wait(model: str, items: int) -> Tensors:
        inside.release()
        released.wait(5)
        return healthy(SPACE)(model, items)

    stand_in.answer = wait
    models = client(stand_in.url, max_in_flight=2)
    callers = [threading.Thread(target=models.embed_text, args=("a cup", 5)) for _ in range(2)]
    for caller in callers:
        caller.start()
    assert inside.acquire(timeout=5)
    assert inside.acquire(timeout=5)
    with pytest.raises(TritonBusy):
        models.embed_text("a cup", 5)
    released.set()
    for caller in callers:
        caller.join()
    assert models.embed_text("a cup", 5).shape == (4,)
    models.close()


def test_repeated_failures_stop_the_asking(stand_in: StandIn) -> None:
    stand_in.answer = aborting(grpc.StatusCode.UNAVAILABLE)
    models = client(stand_in.url, failures=3)
    for _ in range(10):
        with pytest.raises(TritonUnavailable):
            models.embed_text("a cup", 1)
    assert stand_in.seen.inferences == 3
    models.close()


def test_bad_inputs_do_not_open_the_breaker(stand_in: StandIn) -> None:
    stand_in.answer = aborting(grpc.StatusCode.INVALID_ARGUMENT)
    models = client(stand_in.url, failures=2)
    for _ in range(5):
        with pytest.raises(TritonRejected):
            models.detect([b"x"], 1)
    assert stand_in.seen.inferences == 5
    models.close()


@pytest.mark.parametrize(("flags", "headers"), [(TraceFlags.SAMPLED, ["traceparent"]), (TraceFlags.DEFAULT, [])])
def test_only_a_sampled_trace_is_continued(
    models: TritonModels, stand_in: StandIn, flags: int, headers: list[str]
) -> None:
    context = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(flags))
    with trace.use_span(NonRecordingSpan(context)):
        models.embed_text("a cup", 1)
    assert [key for key in stand_in.seen.headers if key == "traceparent"] == headers
