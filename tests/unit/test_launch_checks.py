"""Checks of the checklist against stand-in answers: what each of them takes for a failure, and what it says then."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ra_guard import _core
from ra_guard.alerts.addresses import Address
from ra_guard.alerts.delivery import Delivered
from ra_guard.alerts.message import Message
from ra_guard.experiments.definition import Definition
from ra_guard.experiments.definition.measures import Metric
from ra_guard.experiments.definition.vocabulary import Team
from ra_guard.launch.checks.alerting import Deliver, alerting_tested
from ra_guard.launch.checks.evidence import analysis_scripts_prepared, consistency_verified, go_no_go_defined
from ra_guard.launch.checks.gallery import (
    feature_latency_verified,
    features_precomputed,
    gallery_deployed,
    gallery_validated,
    pools_prepared,
)
from ra_guard.launch.checks.service import dashboards_operational, is_drawn_from, series_of, service_deployed
from ra_guard.launch.checks.system import System
from ra_guard.launch.errors import EverybodyEnrolled, NothingToRehearse
from ra_guard.launch.readiness import Result
from ra_guard.v1 import experiment_pb2 as wire

from tests.stand_ins.definitions import definition
from tests.stand_ins.gallery_setup import Studio
from tests.stand_ins.launch_system import Calls, experiment, fails, settings, system
from tests.stand_ins.pictures import write_pictures
from tests.stand_ins.serving_process import publish_gallery


def replica(**changes: Any) -> wire.Replica:
    return wire.Replica(**{"replica": "w0", "revision": 4, "age_s": 0.5, **changes})


@pytest.mark.parametrize(
    ("replicas", "words"),
    [
        ((), ("no replica", "ra-guard serve")),
        ((replica(), replica(replica="w1", age_s=61)), ("w1 silent for 61 s", "within 60 s")),
        ((replica(revision=3),), ("w0 at revision 3", "wanted 4")),
        ((replica(failing=True),), ("w0 failing its health check",)),
    ],
)
def test_a_replica_that_is_missing_silent_behind_or_ill(
    tmp_path: Path, replicas: tuple[wire.Replica, ...], words: tuple[str, ...]
) -> None:
    fails(service_deployed(system(tmp_path, experiment(*replicas))), *words)


def test_a_service_is_deployed_once_its_health_says_so(tmp_path: Path) -> None:
    found = system(tmp_path, experiment(replica()))
    assert service_deployed(found).evidence == "1 replica with revision 4; server:50051 is SERVING"
    fails(service_deployed(replace(found, answers=Calls(status="NOT_SERVING"))), "NOT_SERVING")


def test_a_gallery_that_is_not_there_or_only_in_part(tmp_path: Path) -> None:
    with pytest.raises(_core.ShardError):
        gallery_deployed(system(tmp_path))
    publish_gallery(tmp_path)
    fails(gallery_deployed(system(tmp_path)), "catalogue.sqlite", "wanted the metadata")


def test_an_image_without_its_object(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.ingest(write_pictures(tmp_path / "pictures", 3)[0].parent)
    found = gallery_deployed(system(tmp_path))
    assert found.result is Result.PASS
    assert found.evidence.startswith(f"folder {tmp_path / 'gallery'}: generation 1, 3 images")
    assert "3 in the metadata (SQLite, catalogue.sqlite)" in found.evidence
    lost = next(path for path in studio.folder.objects.rglob("*") if path.is_file())
    lost.unlink()
    fails(gallery_deployed(system(tmp_path)), "no object of")


def test_cold_images_are_counted(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.register(write_pictures(tmp_path / "cold", 2)[0].parent)
    with pytest.raises(NothingToRehearse, match="no embedding"):
        features_precomputed(system(tmp_path))
    studio.ingest(write_pictures(tmp_path / "warm", 4)[3].parent)
    assert features_precomputed(system(tmp_path)).evidence == (
        "4 images: 100.00% with embeddings, 100.00% complete, 0 cold"
    ), "an ingest warms what it finds cold"
    studio.register(add_pictures(tmp_path / "more", 8))
    fails(features_precomputed(system(tmp_path)), "8 images: 50.00% with embeddings, 50.00% complete, 4 cold")


def add_pictures(folder: Path, count: int) -> Path:
    """A folder of ``count`` pictures, of which the first ones are those of smaller folders."""
    return write_pictures(folder, count)[0].parent


def test_a_pool_that_is_too_small_and_nobody_to_draw_it_for(tmp_path: Path) -> None:
    publish_gallery(tmp_path, objects=1)
    found = system(tmp_path)
    assert pools_prepared(found).evidence == "pets by an image 200"
    fails(pools_prepared(replace(found, answers=Calls(pool=49))), "49 in pets by an image", "wanted 50 to 200")
    full = experiment()
    full.plan.ramp_bp = 5000
    with pytest.raises(EverybodyEnrolled, match="before the launch"):
        pools_prepared(replace(found, experiment=full))


def test_another_generation_than_the_one_in_force_or_no_candidates(tmp_path: Path) -> None:
    publish_gallery(tmp_path, objects=1)
    found = system(tmp_path)
    fails(gallery_validated(replace(found, answers=Calls(generation=7))), "generation 7", "wanted 1")
    for check in (gallery_validated, feature_latency_verified):
        fails(check(found), "no candidates", "ra-guard gallery pools")


def test_a_gallery_of_another_space_than_the_definition_asks_for(tmp_path: Path) -> None:
    Studio(tmp_path).ingest(write_pictures(tmp_path / "pictures", 3)[0].parent)
    other = definition(("spaces = []", f'spaces = ["{"0" * 32}"]'))
    for check in (gallery_validated, features_precomputed):
        fails(check(system(tmp_path, definition=other)), "MODEL_MISMATCH")


def test_which_series_a_dashboard_is_drawn_from() -> None:
    page = 'ra_guard_trigger_bound{experiment="x",metric="ndcg_at_10"} -1.0\nra_guard_rerank_calls_total 1\n'
    assert is_drawn_from(page, Metric.NDCG_AT_10)
    assert is_drawn_from(page, Metric.ERROR_RATE)
    assert not is_drawn_from(page, Metric.LATENCY_P95)
    assert not is_drawn_from(page.replace("ndcg_at_10", "ndcg_at_100"), Metric.NDCG_AT_10)
    assert not is_drawn_from(f"# HELP {page}".replace("\nra", "\n# TYPE ra"), Metric.ERROR_RATE)
    assert series_of(Metric.NDCG_AT_10) == 'ra_guard_trigger_bound{metric="ndcg_at_10"}'


def test_endpoints_that_are_off_are_named_by_their_option_and_dead_ones_by_their_address(tmp_path: Path) -> None:
    off = settings(tmp_path, telemetry={"metrics_port": 0}, watch={"metrics_port": 0})
    fails(dashboards_operational(system(tmp_path, settings=off)), "telemetry.metrics_port and watch.metrics_port = 0")
    dead = settings(tmp_path, telemetry={"metrics_port": 1})
    fails(dashboards_operational(system(tmp_path, settings=dead)), "nobody at http://127.0.0.1:1/metrics")


TOLD: list[str] = []


def answering(why_not: str) -> Deliver:
    """Remembers in ``TOLD`` whom it was to tell."""
    TOLD.clear()

    def deliver(addresses: Sequence[Address], message: Message, within_s: float) -> tuple[Delivered, ...]:
        TOLD.extend(each.place for each in addresses)
        return tuple(Delivered(each.route, each.place, each.readers_in_words, why_not) for each in addresses)

    return deliver


def told_of(tmp_path: Path, **alerts: Any) -> System:
    return system(tmp_path, settings=settings(tmp_path, alerts=alerts))


def test_alerting_needs_an_address_for_each_route_and_every_receiver(tmp_path: Path) -> None:
    fails(alerting_tested(system(tmp_path), answering("")), "alerts.slack and alerts.email empty")
    fails(alerting_tested(told_of(tmp_path, slack=("json://x",)), answering("")), "found alerts.email empty")
    assert TOLD == [], "nobody is told before all of them can be"
    whole = told_of(tmp_path, slack=("json://x",), email=("json://y",))
    assert alerting_tested(whole, answering("")).evidence == (
        "a test message reached slack 1, email 1; without addresses of their own: "
        "slack for technical team, product management, executive leadership; "
        "email for technical team, product management, executive leadership, stakeholders"
    )
    fails(alerting_tested(whole, answering("no answer")), "slack 1: no answer; email 1: no answer")


def test_alerting_tries_the_addresses_of_teams_that_the_definition_tells_and_no_others(tmp_path: Path) -> None:
    both = {"slack": ("json://x",), "email": ("json://y",)}
    called = dict.fromkeys(("technical_team", "product_management", "executive_leadership"), both)
    unused = {"qa_team": {"slack": ("json://qa",)}, "stakeholders": {"slack": ("json://nobody-by-slack",)}}
    found = told_of(tmp_path, teams=called | unused)
    fails(alerting_tested(found, answering("")), "found alerts.email empty", "(email for stakeholders)")
    whole = told_of(tmp_path, slack=("json://spare",), email=("json://rest",), teams=called | unused)
    assert alerting_tested(whole, answering("")).evidence.endswith("of their own: email for stakeholders")
    assert TOLD == ["slack 1 of technical team", "email 1", "email 1 of technical team"]
    nobody_lacks_any = told_of(tmp_path, teams=called | {"stakeholders": both})
    assert alerting_tested(nobody_lacks_any, answering("")).evidence == (
        "a test message reached slack 1 of technical team, email 1 of technical team"
    )


def test_an_alert_that_calls_nobody_at_once_needs_a_general_address(tmp_path: Path) -> None:
    both = {"slack": ("json://x",), "email": ("json://y",)}
    later = definition(('response = "immediate response"\nafter_minutes = 0', 'response = "soon"\nafter_minutes = 10'))
    found = replace(told_of(tmp_path, teams=dict.fromkeys(Team, both)), definition=later)
    fails(alerting_tested(found, answering("")), "alerts.slack and alerts.email empty", "slack for no team")


def small() -> Definition:
    return definition(("users = 5000", "users = 4000"), ("users_per_arm = 2500", "users_per_arm = 2000"))


def test_evidence_that_is_missing_names_its_cure(tmp_path: Path) -> None:
    publish_gallery(tmp_path)
    found = system(tmp_path)
    fails(consistency_verified(found), "no record", "ra-guard log ship --once")
    fails(analysis_scripts_prepared(found), "ra-guard log export")
    fails(analysis_scripts_prepared(replace(found, definition=small())), "2,000 users planned", "wanted 2,181")
    assert go_no_go_defined(found).result is Result.PASS
