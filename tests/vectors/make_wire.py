"""Writes wire_requests.json, wire_responses.json and wire_plans.json with Google's protobuf.

Run from the repository root with the server's package on the path, after a change of proto/. Floats are kept as their
32 bits in hexadecimal, so that what is compared is exact.
"""

import json
import math
import struct
from pathlib import Path

from google.protobuf.message import Message
from ra_guard.v1 import plan_pb2, rerank_pb2

HERE = Path(__file__).parent
SPACE = "0123456789abcdef0123456789abcdef"


def bits(value: float) -> str:
    return struct.pack(">f", value).hex()


def unit_vector(dim: int) -> bytes:
    """Alternating signs, every value 1/sqrt(dim)."""
    return struct.pack(f"<{dim}f", *((-1) ** i / math.sqrt(dim) for i in range(dim)))


def case(name: str, message: Message, **fields: object) -> dict[str, object]:
    return {"name": name, "bytes": message.SerializeToString(deterministic=True).hex(), **fields}


def requests() -> list[dict[str, object]]:
    ids = [f"flower-{i:017d}" for i in range(200)]
    reference = rerank_pb2.RerankRequest(
        request_id="r-1",
        user_id="u-1",
        embedding=rerank_pb2.QueryEmbedding(values=unit_vector(512), space=SPACE),
        domain="flowers",
        candidate_ids=ids,
    )
    scores = [1.5, -0.25, 3.4e38]
    full = rerank_pb2.RerankRequest(
        request_id="Anfrage-7",
        user_id="Zoë",
        text="a red flower without a vase",
        domain="flowers",
        candidate_ids=["a", "Blüte", "c" * 128],
        baseline_scores=scores,
        top_k=2,
        required_labels=["potted plant"],
        forbidden_labels=["vase", "person"],
        allowed_licences=["CC0", "CC-BY"],
        explain=True,
    )
    pool = rerank_pb2.RerankRequest(request_id="p", user_id="u", text="dog", pool_size=200)
    return [
        case("reference", reference, candidate_ids=ids, dim=512, space=SPACE),
        case(
            "full",
            full,
            candidate_ids=list(full.candidate_ids),
            baseline_scores=[bits(score) for score in scores],
            text=full.text,
            top_k=2,
            required_labels=["potted plant"],
            forbidden_labels=["vase", "person"],
            allowed_licences=["CC0", "CC-BY"],
            explain=True,
        ),
        case("pool", pool, candidate_ids=[], text="dog", pool_size=200),
    ]


def responses() -> list[dict[str, object]]:
    """The values that these hold are built again in rust_core/core/tests/response.rs."""
    treated = rerank_pb2.RerankResponse(
        request_id="r-1",
        assigned_arm=rerank_pb2.ARM_TREATMENT,
        served_arm=rerank_pb2.ARM_TREATMENT,
        status=rerank_pb2.STATUS_PARTIAL,
        experiment_key="clip-rerank",
        plan_revision=300,
        generation=7,
        space=SPACE,
        ranking=[(i * 7) % 200 for i in range(200)],
        scores=[math.nan if i == 3 else 1 - i / 256 for i in range(200)],
        counts=rerank_pb2.Counts(candidates=200, scored=199, unknown=1),
        candidate_states=bytes(4 if i == 3 else 0 for i in range(200)),
        stages=rerank_pb2.StageTimes(
            decode_ns=3000,
            assign_ns=90,
            lookup_ns=8000,
            score_ns=29000,
            order_ns=2000,
            encode_ns=1500,
            wait_ns=4294967295,
        ),
    )
    pool = rerank_pb2.RerankResponse(
        request_id="p",
        assigned_arm=rerank_pb2.ARM_TREATMENT,
        served_arm=rerank_pb2.ARM_CONTROL,
        status=rerank_pb2.STATUS_BASELINE,
        reason=rerank_pb2.REASON_DEADLINE,
        ranking=[0, 1],
        ranked_ids=["a", "Blüte"],
        counts=rerank_pb2.Counts(candidates=2),
        stages=rerank_pb2.StageTimes(),
    )
    detection = rerank_pb2.Detection(label="vase", confidence=0.75, x0=0, y0=0.25, x1=0.5, y1=1)
    explained = rerank_pb2.RerankResponse(
        request_id="e",
        status=rerank_pb2.STATUS_RERANKED,
        ranking=[1, 0],
        scores=[0.5, 0.25],
        counts=rerank_pb2.Counts(candidates=2, scored=2),
        explanation=rerank_pb2.Explanation(
            cosine=[0.125, 0.5],
            cosine_scaled=[0.25, 1],
            consistency=[0, 0.5],
            contradiction=[math.nan, 0],
            prior=[1, 0.5],
            weights=rerank_pb2.Weights(cosine=1, consistency=0.5, prior=0.25),
            expectation=[
                rerank_pb2.ExpectedLabel(label="vase", weight=0.75),
                rerank_pb2.ExpectedLabel(label="person", weight=0.25),
            ],
            detections=[rerank_pb2.CandidateDetections(), rerank_pb2.CandidateDetections(detections=[detection] * 2)],
            expectation_source=rerank_pb2.EXPECTATION_SOURCE_QUERY_WORDS,
        ),
    )
    return [case("treated", treated), case("pool", pool), case("explained", explained)]


def plans() -> list[dict[str, object]]:
    weights = rerank_pb2.Weights(cosine=1, consistency=0.5, contradiction=0.5, prior=0.25)
    plan = plan_pb2.Plan(
        revision=12,
        experiment_key="clip-rerank",
        salt="epoch-2",
        ramp_bp=500,
        lease_s=60,
        default_weights=weights,
        domain_weights=[
            plan_pb2.DomainWeights(domain="wine", weights=rerank_pb2.Weights(cosine=2)),
            plan_pb2.DomainWeights(domain="flowers", weights=rerank_pb2.Weights(prior=1)),
        ],
        spaces=[SPACE],
    )
    killed = plan_pb2.Plan(
        revision=13, experiment_key="k", killed=True, lease_s=1, default_weights=rerank_pb2.Weights()
    )
    shadow = plan_pb2.Plan(
        revision=14,
        experiment_key="k",
        ramp_bp=5000,
        lease_s=60,
        default_weights=weights,
        mode=plan_pb2.MODE_SHADOW,
        epoch=2,
        feedback_window_s=3600,
        retention_days=30,
    )
    interleaving = plan_pb2.Plan(
        revision=15, experiment_key="k", lease_s=60, default_weights=weights, mode=plan_pb2.MODE_INTERLEAVING
    )
    return [
        case("running", plan),
        case("killed", killed),
        case("shadow", shadow),
        case("interleaving", interleaving),
    ]


if __name__ == "__main__":
    for stem, cases in {"requests": requests(), "responses": responses(), "plans": plans()}.items():
        (HERE / f"wire_{stem}.json").write_text(
            json.dumps(cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
