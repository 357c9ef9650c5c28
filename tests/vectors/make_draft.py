"""Writes team_draft.json: team drafts as rust_core/core/src/interleave/DRAFT.md defines them, in plain Python.

Run from the repository root. The Rust core is held to these drafts.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import xxhash

HERE = Path(__file__).parent
MASK = (1 << 64) - 1
CONTROL, TREATMENT = 1, 2


def coins(seed: str, request_id: str) -> Iterator[int]:
    state = xxhash.xxh3_64_intdigest(request_id.encode(), seed=xxhash.xxh3_64_intdigest(seed.encode()))
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield (z ^ (z >> 31)) >> 63


def draft(orders: dict[int, list[int]], limit: int, coin: Iterator[int]) -> list[tuple[int, int]]:
    """(position, team) of each result."""
    shown: list[tuple[int, int]] = []

    def best(team: int) -> int | None:
        taken = {position for position, _ in shown}
        return next((position for position in orders[team] if position not in taken), None)

    while len(shown) < limit and best(CONTROL) is not None and best(TREATMENT) is not None:
        of_control = sum(team == CONTROL for _, team in shown)
        of_treatment = len(shown) - of_control
        if of_control == of_treatment:
            team = CONTROL if next(coin) else TREATMENT
        else:
            team = CONTROL if of_control < of_treatment else TREATMENT
        position = best(team)
        assert position is not None
        shown.append((position, team))
    return shown


def case(key: str, salt: str, request_id: str, candidates: int, limit: int) -> dict[str, object]:
    treatment = list(range(candidates))
    random.Random(request_id).shuffle(treatment)
    seed = f"{key}:{salt}" if salt else key
    orders = {CONTROL: list(range(candidates)), TREATMENT: treatment}
    shown = draft(orders, limit or candidates, coins(seed, request_id))
    return {
        "key": key,
        "salt": salt,
        "request_id": request_id,
        "top_k": limit,
        "treatment": treatment,
        "ranking": [position for position, _ in shown],
        "teams": [team for _, team in shown],
    }


CASES = [
    case("ra_guard_enhancement", "", "r-1", 1, 0),
    case("ra_guard_enhancement", "", "r-2", 12, 0),
    case("ra_guard_enhancement", "epoch-2", "r-2", 12, 0),
    case("ra_guard_enhancement", "epoch-2", "Anfrage-ö", 40, 10),
    case("k", "s", "0" * 64, 25, 7),
    case("k", "s", "long", 200, 0),
]

if __name__ == "__main__":
    text = json.dumps(CASES, ensure_ascii=False).replace("}, {", "},\n {")
    (HERE / "team_draft.json").write_text(text + "\n", encoding="utf-8")
