"""Keeps a run: ``python -m bench.record NAME`` copies results.json to results/NAME.json and shows it in both READMEs.

Their table is generated from the record that it names, and a test compares the two: no number in it is typed.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.table import bound, quantity
from bench.targets import KEYS, TARGETS, reached

HERE = Path(__file__).parent
READMES = (HERE / "README.md", HERE.parent / "README.md")
RESULTS = HERE / "results"
BLOCK = re.compile(r"<!-- record: (?P<name>[A-Za-z0-9_.-]+) -->\n.*?<!-- end of record -->\n", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.record", description="Keeps a run and shows it.")
    parser.add_argument("name", help="what the record is called: results/NAME.json")
    parser.add_argument("--run", type=Path, default=HERE / "out" / "results.json", help="the run to keep")
    chosen = parser.parse_args(arguments)
    record = json.loads(chosen.run.read_text())
    if record["details"]["workload"] != "reference":
        print("error: found a quick run, wanted one of the reference workload; run `make bench`", file=sys.stderr)
        return 1
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{chosen.name}.json").write_text(chosen.run.read_text())
    for readme in READMES:
        readme.write_text(BLOCK.sub(lambda _: block(chosen.name, record), readme.read_text()))
    return 0


def block(name: str, record: Mapping[str, Any]) -> str:
    """What stands in a README about a record, markers included."""
    parts = [f"<!-- record: {name} -->\n", _provenance(name, record["details"]), "\n\n", markdown(record)]
    return "".join([*parts, "<!-- end of record -->\n"])


def markdown(record: Mapping[str, Any]) -> str:
    """The table of targets as Markdown; of a record that is older than a target, without that target."""
    results = {key: record[key] for key in KEYS if key in record}
    lines = ["| what | type | target | aim | reached | verdict |", "|---|---|---|---|---|---|"]
    for target in (target for target in TARGETS if target.key in results):
        value = reached(results, target)
        cells = (
            target.what,
            target.dtype or "",
            bound(target, target.floor),
            bound(target, target.aim),
            quantity(value, target.unit),
            target.verdict(value).value,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _provenance(name: str, details: Mapping[str, Any]) -> str:
    machine = details["machine"]
    day = time.strftime("%Y-%m-%d", time.gmtime(details["finished_unix_s"]))
    return (
        f"{day}, revision {machine['revision']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['os']}, Python {machine['python']}, "
        f"kernel {details['kernel']}. By `make bench`; all percentiles: `bench/results/{name}.json`."
    )


if __name__ == "__main__":
    sys.exit(main())
