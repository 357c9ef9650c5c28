"""Whether the gallery is there, whole and warm, and whether pools can be drawn and real candidates reranked."""

from collections import Counter
from typing import Final

import numpy as np

from ra_guard import _core
from ra_guard.gallery.catalogue import Catalogue
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.objects import Objects
from ra_guard.gallery.pools import Pools
from ra_guard.launch.checks.rehearsal import Rehearsal
from ra_guard.launch.checks.system import System
from ra_guard.launch.readiness import Found, failed, passed
from ra_guard.v1 import rerank_pb2 as wire

LEAST_POOL: Final = 50
MOST_POOL: Final = _core.MAX_POOL
"""Candidates of one query, as the plan asks for them."""
SHOWN_POOLS: Final = 3
OBJECTS_TRIED: Final = 20
WARM_UP: Final = 20
TIMED_CALLS: Final = 300
TARGET_MS: Final = 1.0
"""For the features of all candidates of one call: looked up and scored."""
_SCORED, _NO_DETECTIONS = 0, 1
"""In RerankResponse.candidate_states."""


def gallery_deployed(system: System) -> Found:
    """The generation opens and is whole; the metadata and the images behind it are there."""
    folder = GalleryFolder(system.settings.gallery_dir)
    generation = _core.Generation.open(str(folder.path))
    generation.verify()
    if not folder.catalogue.exists():
        return failed(f"found no {folder.catalogue}, wanted the metadata of every image; ingest the images")
    some = [image_id.decode() for image_id in generation.ids(0, OBJECTS_TRIED)]
    with Catalogue.open(folder.catalogue) as catalogue:
        number = len(catalogue)
        unknown = [image_id for image_id in some if catalogue.by_id(image_id) is None]
    objects = Objects(folder.objects)
    gone = [image_id for image_id in some if not objects.path(image_id).is_file()]
    for what, missing in (("metadata", unknown), ("object", gone)):
        if missing:
            return failed(f"found no {what} of {missing[0]!r}, wanted one for each image; ingest the images again")
    return passed(
        f"folder {folder.path.absolute()}: generation {generation.number}, {generation.rows:,} images, every byte as "
        f"its checksum says; {number:,} in the metadata (SQLite, {folder.catalogue.name}), the first {len(some)} "
        "objects are there"
    )


def features_precomputed(system: System) -> Found:
    """Every image of the gallery has an embedding and detections, as a real call finds them."""
    rehearsal = Rehearsal.of(system)
    images = cold = 0
    states: Counter[int] = Counter()
    for ids in rehearsal.portions(_core.MAX_CANDIDATES):
        answer = rehearsal.rerank(ids)
        if not answer.candidate_states and answer.status != wire.STATUS_RERANKED:
            return failed(f"found {_outcome(answer)} for {len(ids)} images, wanted them looked up")
        images += len(ids)
        cold += answer.counts.cold
        states.update(answer.candidate_states or bytes(len(ids)))
    embedded = states[_SCORED] + states[_NO_DETECTIONS]
    complete = states[_SCORED]
    told = (
        f"{images:,} images: {embedded / images:.2%} with embeddings, {complete / images:.2%} complete, {cold:,} cold"
    )
    if complete < images:
        return failed(f"found {told}, wanted all of them complete; run ra-guard gallery ingest with Triton at hand")
    return passed(told)


def pools_prepared(system: System) -> Found:
    """The server draws a pool of 50 to 200 candidates in every domain of the gallery."""
    unit = system.bystander()
    rehearsal = Rehearsal.of(system)
    queries: dict[str, str | wire.QueryEmbedding] = {"an image": rehearsal.query}
    if system.settings.triton.url and rehearsal.generation.labels:
        label = rehearsal.generation.labels[0]
        queries[f"the text {label!r}"] = label
    drawn: dict[str, int] = {}
    with system.calls() as client:
        for named, query in queries.items():
            for domain in rehearsal.generation.domains:
                answer = client.rerank(query=query, user_id=unit, domain=domain, pool_size=MOST_POOL)
                drawn[f"{domain} by {named}"] = len(answer.ranked_ids)
    small = sorted((number, name) for name, number in drawn.items() if number < LEAST_POOL)
    if small:
        told = ", ".join(f"{number} in {name}" for number, name in small[:SHOWN_POOLS])
        told += f" and {len(small) - SHOWN_POOLS} more too small" if len(small) > SHOWN_POOLS else ""
        return failed(
            f"found {told}, wanted {LEAST_POOL} to {MOST_POOL}; ingest more images, or ra-guard gallery pools"
        )
    return passed(", ".join(f"{name} {number}" for name, number in drawn.items()))


def gallery_validated(system: System) -> Found:
    """Real candidates of every domain are reranked, and the server serves the generation that they were read from."""
    rehearsal = Rehearsal.of(system)
    number = rehearsal.generation.number
    served = _served_generation(system)
    if served != number:
        return failed(f"found generation {served} at {system.server}, wanted {number}, the one in force; see its log")
    told = []
    for domain, ids in _candidates(system, rehearsal).items():
        answer = rehearsal.rerank(ids, domain)
        if answer.status != wire.STATUS_RERANKED:
            return failed(f"found {_outcome(answer)} for {len(ids)} candidates of {domain}, wanted STATUS_RERANKED")
        if not np.isfinite(answer.scores).all():
            return failed(f"found a score that is no number among candidates of {domain}, wanted finite ones")
        moved = sum(place != position for place, position in enumerate(answer.ranking))
        why = "" if moved else " (the order by name is the best one)" if len(ids) > 1 else " (there is only one)"
        told.append(f"{domain} {moved} of {len(ids)} moved{why}")
    if not told:
        return failed("found no candidates in any domain, wanted some; run ra-guard gallery pools")
    return passed(f"generation {number}, rehearsed: {', '.join(told)}")


def feature_latency_verified(system: System) -> Found:
    """The features of all candidates of a call are looked up and scored in less than a millisecond."""
    rehearsal = Rehearsal.of(system)
    pools = [(ids, domain) for domain, ids in _candidates(system, rehearsal).items()]
    if not pools:
        return failed("found no candidates in any domain, wanted some; run ra-guard gallery pools")
    stages = [rehearsal.rerank(*pools[call % len(pools)]).stages for call in range(WARM_UP + TIMED_CALLS)][WARM_UP:]
    took_ms = np.array([(stage.lookup_ns + stage.score_ns) / 1e6 for stage in stages])
    p50, p99 = np.percentile(took_ms, [50, 99])
    candidates = max(len(ids) for ids, _ in pools)
    told = f"p50 {p50:.3f} ms, p99 {p99:.3f} ms to look up and score up to {candidates} candidates, {len(stages)} calls"
    if p99 >= TARGET_MS:
        return failed(f"found {told}, wanted p99 below {TARGET_MS:g} ms; is the gallery in memory, the machine busy?")
    return passed(told)


def _candidates(system: System, rehearsal: Rehearsal) -> dict[str, list[bytes]]:
    """By domain, a pool as the server would draw it, in the order of names: as a tier without a ranker sends it."""
    pools = Pools.open(system.settings.gallery_dir, rehearsal.generation)
    found = {
        domain: sorted(pools.search(rehearsal.query.values, domain, MOST_POOL))
        for domain in rehearsal.generation.domains
    }
    return {domain: ids for domain, ids in found.items() if ids}


def _outcome(answer: wire.RerankResponse) -> str:
    reason = f" ({wire.Reason.Name(answer.reason)})" if answer.reason else ""
    return f"{wire.Status.Name(answer.status)}{reason}"


def _served_generation(system: System) -> int:
    with system.calls() as client:
        return client.rerank(query="anything", user_id=system.bystander(), candidate_ids=["any"]).generation
