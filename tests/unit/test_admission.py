import pytest
from hypothesis import given
from hypothesis import strategies as st
from ra_guard import _core
from ra_guard.errors import TooManyCandidates
from ra_guard.serving.admission import Admission
from ra_guard.v1.rerank_pb2 import RerankRequest


def request(candidates: int, prefix: str = "image-") -> bytes:
    ids = [f"{prefix}{number}" for number in range(candidates)]
    return RerankRequest(request_id="r", user_id="u", text="dog", candidate_ids=ids).SerializeToString()


@given(st.lists(st.text(min_size=1, max_size=20), max_size=300), st.text(max_size=20))
def test_the_weight_is_the_number_of_candidates(ids: list[str], text: str) -> None:
    serialised = RerankRequest(text=text, candidate_ids=ids, domain="2222").SerializeToString()
    assert Admission(_core.MAX_CANDIDATES).weigh(serialised) == len(ids)


def test_a_request_that_just_fits_is_admitted() -> None:
    assert Admission(200).weigh(request(200, prefix="22222222-")) == 200


def test_a_request_that_can_never_fit_is_refused_with_the_cure() -> None:
    with pytest.raises(TooManyCandidates, match=r"found 201.*at most 200.*server\.capacity_candidates"):
        Admission(200).weigh(request(201))


def test_what_is_no_request_is_left_to_the_core() -> None:
    assert Admission(200).weigh(b"\x32" * 2000) <= 200
    assert Admission(200).weigh(b"") == 0


def test_permits_run_out_and_come_back() -> None:
    admission = Admission(300)
    assert admission.try_acquire(200)
    assert not admission.try_acquire(101)
    assert admission.try_acquire(100)
    admission.release(200)
    assert admission.in_hand == 100
    assert admission.try_acquire(200)
