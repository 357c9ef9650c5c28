"""A publisher killed at any moment leaves a gallery that opens, verifies and has lost nothing it acknowledged."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS = 60

PUBLISH_AND_DIE = """
import os, random, signal, sys, time
from pathlib import Path
from ra_guard._core import Generation
from ra_guard.gallery.compaction import compact
from ra_guard.gallery.pools import Pools
from ra_guard.gallery.publish import publish_rows
from ra_guard.gallery.rows import Features, Row
from tests.stand_ins.gallery_models import direction
from tests.stand_ins.gallery_setup import Studio
import numpy as np

studio = Studio(Path(sys.argv[1]))
space = studio.space()
folder, acknowledged, random_moment = studio.folder, set(), random.Random(7)

def publish_forever(kill, pipe):
    for number in range(1000):
        name = f"kill{kill}-row{number}"
        features = Features(direction(name.encode()), np.zeros((0, 6), np.float32))
        publish_rows(folder, space, [Row(name, "flowers", "", number, features)])
        compact(folder, space, most=3)
        os.write(pipe, f"{name}\\n".encode())

span_s = 0.0
for kill in range(int(sys.argv[2])):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        publish_forever(kill, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        if kill == 0:
            # The first is let live for three publications; the others die within the time that those took.
            started_s = time.monotonic()
            acknowledged |= {pipe.readline().strip() for _ in range(3)}
            span_s = time.monotonic() - started_s
        time.sleep(random_moment.uniform(0.0, span_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acknowledged |= {line.strip() for line in pipe if line.endswith(b"\\n")}
    generation = folder.current()
    if generation is not None:
        generation.verify()
        assert Pools.open(folder.path, generation).missing == ()
        assert acknowledged <= set(generation.ids(0, generation.rows))
    else:
        assert not acknowledged
publish_rows(folder, space, [Row("last", "flowers", "", 0, None)])
assert not list(folder.shards.glob("*.tmp"))
print(len(acknowledged), folder.current().number)
"""


def test_a_publisher_killed_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH_AND_DIE, str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server")]),
            "OPENBLAS_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    acknowledged, generation = map(int, done.stdout.split())
    assert generation >= acknowledged > 0
