"""From an ingested gallery to GO, on a server that really runs: drill, signatures, every check, the decision."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ra_guard import _core
from ra_guard.cli import main
from ra_guard.gallery.intake import Provenance
from ra_guard.v1 import plan_pb2, rerank_pb2

from tests.stand_ins.definitions import changed
from tests.stand_ins.gallery_models import SPACE
from tests.stand_ins.gallery_setup import Studio
from tests.stand_ins.pictures import write_pictures
from tests.stand_ins.receivers import Webhook, webhook
from tests.stand_ins.serving_process import KEY, Serving, free_ports, serving

IMAGES = 60
CALLS = 20
ROLES = ("technical_lead", "product_manager", "engineering_manager")
Run = Callable[..., tuple[int, Any]]


@dataclass(frozen=True)
class Launch:
    """A deployment before its launch, and a command line beside it."""

    state: Path
    server: Serving
    hook: Webhook
    run: Run

    def readiness(self, *arguments: str) -> tuple[int, dict[str, Any], dict[str, dict[str, Any]]]:
        """Exit code, everything, and the lines by id."""
        code, found = self.run("readiness", KEY, *arguments, "--server", self.server.address)
        return code, found, {line["id"]: line for line in found["lines"]}


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Launch]:
    state, ports = tmp_path / "state", free_ports(2)
    state.mkdir()
    with webhook() as hook:
        options = {
            "RA_GUARD_TELEMETRY__METRICS_PORT": str(ports),
            "RA_GUARD_CONTROL__METRICS_PORT": str(ports + 1),
            "RA_GUARD_SERVER__WORKERS": "1",
            "RA_GUARD_TRITON__URL": "",
            "RA_GUARD_ALERTS__SLACK": hook.json_address,
            "RA_GUARD_ALERTS__EMAIL": hook.json_address,
        }
        for name, value in {**options, "RA_GUARD_STATE_DIR": str(state), "RA_GUARD_WATCH__EVERY_S": "0"}.items():
            monkeypatch.setenv(name, value)
        Studio(state).ingest(write_pictures(tmp_path / "pictures", IMAGES)[0].parent, Provenance("flowers"))
        log_some_calls(state)
        assert main(("log", "ship", "--once")) == main(("log", "export")) == 0
        with serving(state, workers=1, **options) as server:

            def run(command: str, *arguments: str) -> tuple[int, Any]:
                capsys.readouterr()
                code = main(("experiment", command, *arguments, "--control", server.control, "--json"))
                printed = capsys.readouterr()
                assert not printed.err
                return code, json.loads(printed.out)

            dashboard = (
                'metrics = ["ndcg_at_10", "latency_p95", "error_rate"]',
                'metrics = ["latency_p95", "error_rate"]',
            )
            file = tmp_path / "mine.toml"
            file.write_text(changed(dashboard))
            assert run("apply", str(file), "--why", "no watch runs here")[0] == 0
            yield Launch(state, server, hook, run)


def log_some_calls(state: Path) -> None:
    """Calls of both arms, logged by a real engine, with the plan that they were served by."""
    generation = _core.Generation.open(str(state / "gallery"))
    plan = plan_pb2.Plan(revision=1, experiment_key=KEY, ramp_bp=5000, lease_s=60, epoch=1, retention_days=90)
    plan.default_weights.cosine = 1.0
    sealed = _core.seal_plan(plan.SerializeToString())
    plans = state / "run" / "plans"
    plans.mkdir(parents=True)
    (plans / f"{KEY}-1.sealed").write_bytes(sealed)
    engine = _core.Engine(query_cache_entries=1, log_dir=str(state / "logs" / "candidates"))
    engine.publish_generation(generation)
    engine.publish_plan(sealed)
    ids = generation.ids(0, IMAGES)
    row = np.frombuffer(generation.embeddings(generation.lookup(ids[:1])), np.float32)
    query = rerank_pb2.QueryEmbedding(values=(row / np.linalg.norm(row)).tobytes(), space=SPACE.fingerprint)
    for number in range(CALLS):
        request = rerank_pb2.RerankRequest(
            request_id=f"r-{number}",
            user_id=f"user-{number}",
            embedding=query,
            candidate_ids=[each.decode() for each in ids],
        )
        engine.rerank(request.SerializeToString())
    engine.close_log()


def test_from_no_go_to_go(launch: Launch) -> None:
    code, found, lines = launch.readiness()
    assert (code, found["decision"], found["epoch"]) == (1, "NO-GO", 1)
    series = lines["dashboards_operational"]
    assert series["result"] == "needs a person"
    assert "have rpc_server_call_duration_seconds_bucket, ra_guard_rerank_calls_total" in series["evidence"]
    checked = {name: line for name, line in lines.items() if line["proof"] == "check"}
    timed = checked.pop("feature_latency_verified")
    assert "p99" in timed["evidence"]
    assert {name: line["evidence"] for name, line in checked.items() if line["result"] != "pass"} == {}
    assert f"{IMAGES} images: 100.00% with embeddings" in lines["features_precomputed"]["evidence"]
    assert lines["pools_prepared"]["evidence"] == f"flowers by an image {IMAGES}"
    assert f"of {IMAGES} moved" in lines["gallery_validated"]["evidence"]
    assert (
        f"{CALLS} records of the latest 1 segment: the same, bit for bit" in lines["consistency_verified"]["evidence"]
    )
    assert launch.hook.titles() == ["[TEST] RA-Guard"] * 2
    assert {line["result"] for line in lines.values() if line["proof"] == "signature"} == {"needs a person"}

    approvals = [("stakeholders_approved", "--as", role) for role in ROLES]
    apart = {"rollback_tested", "stakeholders_approved"}
    to_sign = [(name,) for name, line in lines.items() if line["proof"] != "check" and name not in apart]
    for each in (to_sign[0], *approvals[:2]):
        assert launch.run("sign", KEY, *each, "--why", "before the drill", "--who", "ada")[0] == 0
    _, drilled, after = launch.readiness("--drill", "--who", "ada")
    assert (drilled["epoch"], after["rollback_tested"]["result"]) == (2, "pass")
    assert "drilled by ada" in after["rollback_tested"]["evidence"]
    assert "a kill reached 1 replica in" in after["rollback_tested"]["evidence"]
    assert after["stakeholders_approved"]["evidence"].endswith("signed it as engineering_manager in epoch 2; sign it")
    for each in (*to_sign[1:], *approvals[2:]):
        assert launch.run("sign", KEY, *each, "--why", "after the drill", "--who", "grace")[0] == 0
    code, found, lines = launch.readiness()
    assert {name for name, line in lines.items() if line["result"] != "pass"} <= {"feature_latency_verified"}
    assert lines[to_sign[0][0]]["evidence"].startswith("signed by ada on ")
    assert lines["stakeholders_approved"]["evidence"].count("signed as ") == len(ROLES)
    assert lines["dashboards_operational"]["evidence"].startswith(series["evidence"].partition("; nobody")[0])
    is_fast = lines["feature_latency_verified"]["result"] == "pass"
    assert (code, found["decision"]) == ((0, "GO") if is_fast else (1, "NO-GO"))

    code, made = launch.run("package", KEY, "--launch-date", "2025-10-24")
    package = json.loads(Path(made["json"]).read_text())
    assert (code, package["origin"]["revision"], package["rollback"]["last_drill"]["who"]) == (0, 4, "ada")
    assert launch.run("approve", KEY, "1%", "--why", "go decision")[0] == 0
    assert main(("experiment", "readiness", KEY, "--drill", "--control", launch.server.control)) == 1
