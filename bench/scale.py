"""What ten million rows cost: the call against a small gallery, and the time to open one."""

import tempfile
import time
from pathlib import Path
from statistics import median

from ra_guard import _core

from bench import core, rounds, synth
from bench.findings import Findings, Setting
from bench.reference import check_answer

DTYPE = "i8"
"""The type in which ten million rows fit a machine of moderate size."""
OPENINGS = 11


def measure(setting: Setting) -> Findings:
    """`core_10m_over_10k` and `open_10m_ms`; both skipped where the large gallery does not fit."""
    if reason := synth.room_for(setting.large_rows, DTYPE, setting.state):
        return Findings(skipped={"core_10m_over_10k": reason, "open_10m_ms": reason})
    setting.say("scale: galleries")
    sizes = {"small": setting.small_rows, "large": setting.large_rows}
    galleries = {name: synth.gallery(rows, DTYPE, setting.state) for name, rows in sizes.items()}
    with tempfile.TemporaryDirectory(dir=setting.state) as logs:
        visits: dict[str, rounds.Round] = {}
        for name, gallery in galleries.items():
            asked = core.questions(gallery.rows)
            engine = core.engine_over(gallery.open(), Path(logs) / name)
            for question in asked[: core.CHECKED]:
                check_answer(f"core ({name})", engine.rerank(question.message).response, question, DTYPE)
            visits[name] = core.visiting(
                core.answering(engine), [question.message for question in asked], setting.calls
            )
        setting.say("scale: calls")
        latencies = rounds.measure(visits, setting.rounds)
    # The engine still maps the large gallery: what is timed is opening, not reading from the disk.
    openings = [_opening_ms(galleries["large"].folder) for _ in range(OPENINGS)]
    details = {name: {"rows": sizes[name], **latency.as_dict()} for name, latency in latencies.items()}
    return Findings(
        {
            "core_10m_over_10k": latencies["large"].p50_us / latencies["small"].p50_us,
            "open_10m_ms": median(openings),
        },
        {"scale": {**details, "dtype": DTYPE, "open_ms": openings}},
    )


def _opening_ms(folder: Path) -> float:
    start = time.perf_counter_ns()
    _core.Generation.open(str(folder))
    return (time.perf_counter_ns() - start) / 1e6
