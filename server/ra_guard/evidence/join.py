"""Follows an export as it grows, and says after each look what changed in the evidence: calls and feedback, joined.

Whatever order and pieces the files come in, what was said adds up to what one look at all of them says; EVIDENCE.md
defines each quantity. What an update touches (requests with a new record or event, users of those requests, calls that
have settled) is worked out afresh and compared with what was said of it before; the rest of the history is not read.
All state is in memory, or beside it in ``scratch``, and can be had again from the Parquet.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt

from ra_guard.errors import Code, RaGuardError
from ra_guard.evidence import intake_sql, join_sql
from ra_guard.evidence.contrast import Exposure
from ra_guard.evidence.latency import bucket_of
from ra_guard.evidence.left_out import Left, LeftOut
from ra_guard.evidence.relevance import Labelled, scored
from ra_guard.evidence.tally import CONTROL, TREATMENT, UNIT, Batch, Calls, Changes
from ra_guard.experiments.definition.vocabulary import Labels
from ra_guard.logs.exposures import MEMORY_LIMIT, Arm, feedback_counts, losses_of
from ra_guard.logs.exposures_sql import LOSSES_SQL, WINDOW_SQL
from ra_guard.logs.layout import Kind
from ra_guard.logs.parquet import COUNTS_FILE, PLANS_FILE
from ra_guard.logs.plans import DEFAULT_WINDOW_S
from ra_guard.stats.ndcg import POINTS

NS_PER_S: Final = 1_000_000_000
NS_PER_MINUTE: Final = 60 * NS_PER_S
AHEAD_NS: Final = 10 * NS_PER_MINUTE
"""Beyond the last complete minute: what says it is later than that has a clock that is wrong."""
MAX_DOMAINS: Final = 255
"""Those seen later share the next number: a tally holds a domain in one byte."""

Columns = dict[str, npt.NDArray[Any]]


class FollowerBroken(RaGuardError):
    """An update ended half-way, so that nobody knows what was said."""

    status_code = Code.FAILED_PRECONDITION

    def __init__(self, *, found: str) -> None:
        super().__init__(f"found {found}, wanted a whole update; follow anew, from all files")


@dataclass(frozen=True)
class News:
    """What one look at an export brought."""

    batch: Batch
    refused: tuple[str, ...]
    """Files that could not be read, and runs whose counts went back. Files are tried again when they are told again."""


@dataclass(frozen=True)
class QueryTally:
    """One query text in the epoch, as `reports.content.QueryLine`."""

    query: str
    calls: int
    control_ndcg: float | None
    """Mean over requests, times 100; None where none was judged."""
    treatment_ndcg: float | None


class Follower:
    """One experiment in one epoch. Not for several threads at once.

    ``propensity`` (depth,) is the chance that a result at rank 1, 2, ... is looked at, relative to the first; with it,
    labels that are clicks give a second nDCG that is corrected for position.
    """

    def __init__(
        self, key: str, epoch: int, labels: Labels, scratch: Path, propensity: Sequence[float] | None = None
    ) -> None:
        self.newest_call_unix_ns: int | None = None
        """Of this experiment and epoch, by the worker's clock: how fresh the evidence is."""
        self.newest_sign_of_life_unix_ns: int | None = None
        """Of any record of any experiment: whether anything is logged, shipped and exported at all."""
        self.unsettled = 0
        """Records that living workers offered to their logs and that are not here: on their way, or lost."""
        self._labels = labels
        self._propensity = propensity if labels is Labels.CLICKS else None
        self._scope: dict[str, object] = {"key": key, "epoch": epoch}
        self._clock = {"as_of": 0, "window_ns": DEFAULT_WINDOW_S * NS_PER_S, "settled_before_ns": 0, "settled_ns": 0}
        self._clock["future_ns"] = 0
        self._known: set[Path] = set()
        self._left = Counter[tuple[int, int]]()
        self._received = 0
        # By user: calls in control, in treatment, and calls that were served what their arm is not.
        self._served = np.zeros((0, 3), np.int64)
        self._is_broken = False
        self._db = duckdb.connect(config={"autoinstall_known_extensions": "false", "memory_limit": MEMORY_LIMIT})
        self._db.execute("SET temp_directory = ?", [str(scratch)])
        for statement in intake_sql.TABLES_SQL:
            self._db.execute(statement)

    def close(self) -> None:
        """Gives the memory back."""
        self._db.close()

    def follow(self, folder: Path, as_of: int) -> News:
        """What an export's folder has that was not read yet, as `tell` says it."""
        tables = (folder / name for name in (PLANS_FILE, COUNTS_FILE))
        segments = (path for kind in Kind for path in sorted((folder / kind.value).glob("day=*/*.parquet")))
        return self.tell((*(path for path in tables if path.exists()), *segments), as_of)

    def tell(self, files: Iterable[Path], as_of: int) -> News:
        """Reads files of an export that are new, and says what changed.

        Segments that were read are passed over; plans and counts replace those before. ``as_of`` is the last complete
        minute since the Unix epoch: it settles which requests were completed, and an earlier one than before settles
        nothing. What cannot be read is named and passed over. Raises FollowerBroken after an update that failed.
        """
        if self._is_broken:
            raise FollowerBroken(found="an update that ended half-way")
        self._is_broken = True
        try:
            news = self._update([path for path in files if path not in self._known], as_of)
        except duckdb.Error as error:
            raise FollowerBroken(found=_first_line(error)) from error
        self._is_broken = False
        return news

    @property
    def domains(self) -> tuple[str, ...]:
        """Names by number; an empty one is of requests that name none."""
        names = self._names("domains")
        return names if len(names) <= MAX_DOMAINS else (*names[:MAX_DOMAINS], "others")

    @property
    def users(self) -> tuple[str, ...]:
        """Ids by number, in the order in which they were first seen, of every experiment in the logs."""
        return self._names("units")

    def exposure(self) -> Exposure:
        """How the users of the epoch were drawn and served, and what the log lost of the experiment's records."""
        control, treatment, crossed = (self._served > 0).T
        found = losses_of(self._run(LOSSES_SQL).fetchall())
        lost = {each.arm: each.lost for each in found.arms}
        self.unsettled = sum(each.unsettled for each in found.arms)
        return Exposure(
            control_users=int(control.sum()),
            treatment_users=int(treatment.sum()),
            crossed_users=int(((control & treatment) | crossed).sum()),
            control_lost=lost[Arm.control],
            treatment_lost=lost[Arm.treatment],
        )

    def left_out(self) -> LeftOut:
        """What was read and not used."""
        fates = dict(self._run(join_sql.FATES_SQL).fetchall())
        fates["duplicates"] = self._received - sum(fates.values())
        return LeftOut(
            feedback=feedback_counts(fates),
            late=self._left_of(Left.LATE),
            not_relevant={arm: self._left[Left.NOT_RELEVANT, arm] for arm in (CONTROL, TREATMENT)},
            strangers=self._left_of(Left.STRANGERS),
            ambiguous_calls=self._left_of(Left.AMBIGUOUS),
            untimed_calls=self._left_of(Left.UNTIMED),
            unplanned_calls=self._left_of(Left.UNPLANNED),
            unassigned_calls=self._left_of(Left.UNASSIGNED),
        )

    def top_queries(self, limit: int) -> tuple[QueryTally, ...]:
        """The most frequent query texts of the epoch, ties by text. Reads the epoch's calls: for reports."""
        rows = self._db.execute(join_sql.QUERIES_SQL, {"limit": limit}).fetchall()
        return tuple(
            QueryTally(query, calls, _points(control), _points(treated)) for query, calls, control, treated in rows
        )

    def _update(self, files: Sequence[Path], as_of: int) -> News:
        refused = self._read(files)
        self._move_clock(as_of)
        self._run(*intake_sql.TAKE_IN_SQL, *join_sql.REACH_SQL)
        calls = self._columns(join_sql.SAY_CALLS_SQL)
        changes = [self._columns(join_sql.SAY_SQL), self._relevance(refused)]
        self._count(calls, changes)
        return News(Batch(_calls(calls), _changes(changes)), tuple(refused))

    def _read(self, files: Sequence[Path]) -> list[str]:
        refused: list[str] = []
        segments: dict[Kind, list[Path]] = {kind: [] for kind in Kind}
        for path in files:
            try:
                if path.name == PLANS_FILE:
                    self._run(*intake_sql.PLANS_SQL, path=str(path))
                elif path.name == COUNTS_FILE:
                    refused += self._read_counts(path)
                else:
                    segments[Kind(path.parents[1].name)].append(path)
            except duckdb.Error as error:
                refused.append(f"{path}: {_first_line(error)}")
            except (ValueError, IndexError):
                refused.append(
                    f"{path}: found no log's folder, wanted {[kind.value for kind in Kind]}; tell an export's"
                )
        for kind, paths in segments.items():
            failed = self._insert(intake_sql.READ_SQL[f"logged_{kind.value}"], [str(path) for path in paths])
            self._known.update(path for path in paths if str(path) not in failed)
            refused += failed.values()
        return refused

    def _read_counts(self, path: Path) -> list[str]:
        read, gone_back, *replace = intake_sql.COUNTS_SQL
        self._run(read, path=str(path))
        went_back = self._run(gone_back).fetchall()
        self._run(*replace)
        return [
            f"{path}: found {now} control and {treated_now} treatment records offered by {writer}-{run}, wanted at "
            f"least {before} and {treated_before} as before; the new counts hold, look at that writer's disk"
            for writer, run, before, treated_before, now, treated_now in went_back
        ]

    def _insert(self, statement: str, paths: Sequence[str]) -> dict[str, str]:
        """All files in one statement; where that fails each by itself. Returns why by path, of those that failed."""
        if not paths:
            return {}
        try:
            self._run(statement, paths=list(paths))
        except duckdb.Error as error:
            if len(paths) == 1:
                return {paths[0]: f"{paths[0]}: {_first_line(error)}"}
            return {failed: why for path in paths for failed, why in self._insert(statement, [path]).items()}
        return {}

    def _move_clock(self, as_of: int) -> None:
        """To the end of a minute. A user has five minutes to ask again before a request is settled."""
        end_ns = max((as_of + 1) * NS_PER_MINUTE, self._clock["as_of"])
        ((window_s,),) = self._run(WINDOW_SQL).fetchall()
        self._clock = {
            "as_of": end_ns,
            "window_ns": (window_s or DEFAULT_WINDOW_S) * NS_PER_S,
            "settled_before_ns": self._clock["settled_ns"],
            "settled_ns": max(0, end_ns - join_sql.ASK_AGAIN_NS),
            "future_ns": end_ns + AHEAD_NS,
        }

    def _relevance(self, refused: list[str]) -> Columns:
        """Changes of nDCG. Requests whose file cannot be read any more keep what was said, and are tried again."""
        self._run(join_sql.LABELS_SQL[self._labels.value], join_sql.NO_PLACES_SQL)
        failed = self._insert(
            join_sql.PLACES_SQL, [path for (path,) in self._run(join_sql.LABELLED_FILES_SQL).fetchall()]
        )
        for path, why in failed.items():
            self._run(join_sql.UNPLACED_SQL, path=path)
            refused.append(why)
        labelled = self._run(join_sql.LABELLED_SQL).fetchnumpy()
        values = scored(Labelled(**labelled), self._propensity)
        self._db.register("scored", vars(values))
        self._run(*join_sql.RELEVANCE_SQL[self._labels.value])
        self._db.unregister("scored")
        return self._columns(join_sql.SAY_RELEVANCE_SQL)

    def _count(self, calls: Columns, changes: Iterable[Columns]) -> None:
        users = self._run("SELECT count(*) FROM units").fetchall()[0][0]
        self._served = np.pad(self._served, ((0, users - len(self._served)), (0, 0)))
        for column, which in enumerate((calls["arm"] == CONTROL, calls["arm"] == TREATMENT, calls["crossed"])):
            np.add.at(self._served[:, column], calls["user"][which], calls["weight"][which])
        for said in changes:
            left = said["quantity"] >= min(Left)
            rows = (said[name][left].tolist() for name in ("quantity", "arm", "count"))
            for quantity, arm, count in zip(*rows, strict=True):
                self._left[quantity, arm] += count
        ((call, life, received),) = self._run(join_sql.NEWEST_SQL).fetchall()
        self.newest_call_unix_ns = _later(self.newest_call_unix_ns, call)
        self.newest_sign_of_life_unix_ns = _later(self.newest_sign_of_life_unix_ns, life)
        self._received += received

    def _left_of(self, left: Left) -> int:
        return sum(count for (quantity, _), count in self._left.items() if quantity == left)

    def _names(self, table: str) -> tuple[str, ...]:
        return tuple(name for (name,) in self._run(f"SELECT id FROM {table} ORDER BY number").fetchall())  # noqa: S608

    def _columns(self, statements: Sequence[str]) -> Columns:
        return self._run(*statements).fetchnumpy()

    def _run(self, *statements: str, **values: object) -> duckdb.DuckDBPyConnection:
        """Runs statements with the parameters that each names. Returns what the last one found."""
        known = self._scope | self._clock | values
        for statement in statements:
            self._db.execute(statement, {name: value for name, value in known.items() if f"${name}" in statement})
        return self._db


def _calls(rows: Columns) -> Calls:
    return Calls(
        minute=rows["minute"],
        arm=rows["arm"],
        user=rows["user"],
        domain=rows["domain"],
        bucket=bucket_of(rows["elapsed_us"]),
        error=rows["error"],
        weight=rows["weight"],
    )


def _changes(parts: Sequence[Columns]) -> Changes:
    kept = [rows["quantity"] < min(Left) for rows in parts]
    return Changes(
        **{
            name: np.concatenate([rows[name][which] for rows, which in zip(parts, kept, strict=True)])
            for name in Changes.__dataclass_fields__
        }
    )


def _points(billionths: float | None) -> float | None:
    return None if billionths is None else billionths / UNIT * POINTS


def _later(before: int | None, found: int | None) -> int | None:
    return found if before is None else max(before, found or 0)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
