"""The boundary to the Rust core: bytes in, bytes out. Checked against the built module by tests/contract.

Calls that compute or wait for a disk detach from the interpreter meanwhile. Vectors are little-endian float32 unless
a name says otherwise; `_ns` are nanoseconds; deadlines are on the clock of `time.monotonic_ns()`.
"""

import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self, final

__all__ = [
    "FORMAT_VERSION",
    "KERNEL",
    "KERNELS",
    "MAX_CANDIDATES",
    "MAX_POOL",
    "VARIANTS",
    "Answer",
    "CoreError",
    "Engine",
    "FeedbackLog",
    "Generation",
    "LogError",
    "PlanError",
    "Replay",
    "RequestError",
    "ShardError",
    "ShardWriter",
    "bucket",
    "check_plan",
    "count_candidates",
    "describe_record",
    "publish_manifest",
    "read_counts",
    "read_feedback",
    "read_log",
    "read_log_columns",
    "recover_logs",
    "seal_plan",
    "space_fingerprint",
]

KERNEL: Final[str]
"""Name of the SIMD kernel in use: ``avx512-vnni``, ``avx512``, ``avx2`` or ``scalar``."""
KERNELS: Final[tuple[str, ...]]
"""Every kernel that this machine can run, best first; ``scalar`` is always last."""
FORMAT_VERSION: Final[int]
"""The shard format version that this build writes."""
MAX_CANDIDATES: Final[int]
MAX_POOL: Final[int]
VARIANTS: Final[dict[str, tuple[str, ...]]]
"""Every ``variant`` by the name of its exception, so that tables of them can be proven complete."""

class CoreError(Exception):
    """Base of all that the core refuses. ``variant`` names the cause: one Rust variant, one name."""

    variant: str

class RequestError(CoreError):
    """A caller's mistake in a request: the message says field, found and allowed."""

class ShardError(CoreError):
    """A shard or generation that cannot be written, opened or verified."""

class PlanError(CoreError):
    """A plan that is malformed, corrupt or older than the one in force."""

class LogError(CoreError):
    """A log that cannot be written or read."""

@final
class Answer:
    """What one Rerank call came to. Enum values are those of ra_guard.v1 as integers."""

    @property
    def response(self) -> bytes:
        """Serialised RerankResponse. Empty when ``cold_text`` is set: the call is not finished and not logged."""
    @property
    def cold_text(self) -> str | None:
        """The text to score by whose embedding the core lacks: `Engine.put_query` and call again, or `fall_back`."""
    @property
    def cold_ids(self) -> list[str]:
        """Candidates without features, cold or unknown, in request order. Built only when read."""
    @property
    def request_id(self) -> str: ...
    @property
    def user_id(self) -> str: ...
    @property
    def assigned_arm(self) -> int: ...
    @property
    def served_arm(self) -> int:
        """ARM_INTERLEAVED where a team draft was served."""
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> int: ...
    @property
    def plan_revision(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def candidates(self) -> int: ...
    @property
    def scored(self) -> int: ...
    @property
    def cold(self) -> int: ...
    @property
    def unknown(self) -> int: ...
    @property
    def unlicensed(self) -> int: ...
    @property
    def decode_ns(self) -> int: ...
    @property
    def assign_ns(self) -> int: ...
    @property
    def lookup_ns(self) -> int: ...
    @property
    def score_ns(self) -> int: ...
    @property
    def order_ns(self) -> int: ...
    @property
    def encode_ns(self) -> int: ...

@final
class Engine:
    """The data path of one process: plan and generation in force, query cache, candidate log. Thread-safe."""

    def __new__(
        cls,
        *,
        query_cache_entries: int,
        log_dir: str | None = None,
        log_queue_bytes: int = 8388608,
        log_segment_bytes: int = 67108864,
        log_writer: str = "0",
        kernel: str | None = None,
    ) -> Self:
        """``log_writer`` tells the segments of processes that share a folder apart. ``kernel`` is one of `KERNELS`."""
    def rerank(self, request: bytes, deadline_ns: int | None = None, wait_ns: int = 0) -> Answer:
        """Answers a serialised RerankRequest that names its candidates.

        ``wait_ns``: time since the request arrived, spent before the core could start; a stage, and part of what the
        log says that the call took. Raises RequestError.
        """
    def rerank_pool(
        self, request: bytes, pool: Sequence[bytes], deadline_ns: int | None = None, wait_ns: int = 0
    ) -> Answer:
        """The same for a request without candidates: ``pool`` are the ids drawn for it, best first."""
    def fall_back(self, request: bytes, reason: int, pool: Sequence[bytes] | None = None, wait_ns: int = 0) -> Answer:
        """The baseline order, for a reason known outside the core.

        DEADLINE, OVERLOAD, NO_FEATURES, MODEL_MISMATCH or INTERNAL.
        """
    def put_query(self, text: str, space: str, embedding: bytes) -> None:
        """Caches a text's unit embedding. Raises RequestError for a wrong length, space, NaN or zero norm."""
    def query_embedding(self, text: str) -> bytes | None:
        """The cached embedding of a text in the space of the generation in force."""
    def publish_plan(self, sealed: bytes, contact_ns: int | None = None) -> int:
        """Swaps in a serialised SealedPlan, returns its revision. PlanError: the old one stays.

        Its lease runs from ``contact_ns``, when the control plane was asked for it; now when not given.
        """
    def restore_plan(self, sealed: bytes) -> int:
        """The same for a plan from an earlier life: it assigns users and grants no lease until it is confirmed."""
    def renew_lease(self, revision: int, contact_ns: int | None = None) -> bool:
        """The control plane confirmed ``revision`` in answer to what it was asked at ``contact_ns`` (default now).

        Returns whether that counts: only when that revision is in force, and the question is younger than the last
        `revoke_lease`.
        """
    def revoke_lease(self) -> None:
        """Ends the lease until a contact that begins after this moment: answers already on their way grant nothing."""
    def plan_revision(self) -> int:
        """0 before the first plan."""
    def plan_age_s(self) -> float | None:
        """Seconds since the last contact that confirmed the plan in force; None without one that counts."""
    def publish_generation(self, generation: Generation) -> int:
        """Swaps a generation in; returns the number of the previous one, 0 for none, once no call is left on it.

        Raises ShardError when the space's description has no cosine range.
        """
    def generation(self) -> Generation | None: ...
    def canary(self) -> float:
        """Scores the first scorable row against itself: near 1 when healthy, NaN when no generation is loaded."""
    def log_counters(self) -> dict[str, int]:
        """offered_* and dropped_* by assigned arm (unassigned, control, treatment, not_enrolled), written, bytes,
        segments, write_errors."""
    def flush_log(self) -> None:
        """Blocks until everything queued is on disk. LogError: records since the last flush are not."""
    def roll_log(self) -> None:
        """Blocks until everything queued is in a sealed segment; where there is nothing to seal, none is made."""
    def close_log(self) -> None:
        """Seals what is queued and marks the counts closed; later records are counted as offered and dropped.

        LogError: something was not sealed, and the counts are not marked.
        """

@final
class FeedbackLog:
    """Events on their way to the disk. Thread-safe. What was appended stays in memory until it is on disk."""

    def __new__(cls, *, folder: str, writer: str, queue_bytes: int = 8388608, segment_bytes: int = 67108864) -> Self:
        """``writer`` tells the segments of processes that share a folder apart. Half of the queue takes events in."""
    def append(self, received_unix_ns: int, events: Sequence[bytes]) -> None:
        """Queues serialised FeedbackEvents, all or none. LogError: ``QueueFull``, ``Closed``."""
    def flush(self) -> None:
        """Blocks until everything appended so far is on disk. LogError: it is not, and is tried again."""
    def roll(self) -> None:
        """Blocks until everything appended so far is in a sealed segment."""
    def counters(self) -> dict[str, int]:
        """written (events on disk), bytes, segments, write_errors."""
    def close(self) -> None:
        """Seals what was appended and takes nothing more. LogError: something is not on disk, or not sealed."""

@final
class Generation:
    """An immutable set of mapped shards in one embedding space."""

    @staticmethod
    def open(gallery: str, number: int | None = None) -> Generation:
        """Opens the numbered generation of a gallery folder, or the one CURRENT names. Cheap: headers and bounds."""
    def verify(self) -> None:
        """Reads every byte against its checksum. Raises ShardError."""
    def verify_checksums(self, checked: Generation | None = None) -> None:
        """Reads every byte of the shards that ``checked`` does not hold against its checksum. Raises ShardError."""
    def populate(self) -> int:
        """Touches every page with the CPU, returns the bytes walked. Call before serving."""
    def resident(self) -> float:
        """Share of the mappings in memory, 0..1."""

    @property
    def number(self) -> int: ...
    @property
    def space(self) -> str: ...
    @property
    def space_json(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def domains(self) -> list[str]: ...
    @property
    def licences(self) -> list[str]: ...
    @property
    def shards(self) -> list[tuple[str, int, int]]:
        """(file, rows, bytes), newest first."""

    def lookup(self, ids: list[builtins.bytes]) -> builtins.bytes:
        """``(n,) uint64``: a row handle for each id, all ones where unknown."""
    def cosines(self, query: builtins.bytes, handles: builtins.bytes) -> builtins.bytes:
        """``(n,) float32``: dot products of a ``(dim,) float32`` query with the rows, by the serving kernel."""
    def touch(self, handles: builtins.bytes) -> int:
        """Reads one word of every cache line of the rows' embeddings: the floor that a kernel can reach."""
    def ids(self, start: int, stop: int) -> list[builtins.bytes]:
        """Ids of the rows in serving order (rows shadowed by a newer shard are left out)."""
    def embeddings(self, handles: builtins.bytes) -> builtins.bytes:
        """``(n, dim) float32``; NaN rows where a row has no embedding."""
    def describe_row(self, id: builtins.bytes) -> dict[str, object] | None:
        """domain, licence, phash, has_embedding, has_detections, detections [(label, confidence, x0, y0, x1, y1)]."""

@final
class Replay:
    """Logged calls, computed again against a gallery's generations and the plans that were added. Thread-safe."""

    def __new__(cls, gallery: str, *, kernel: str | None = None) -> Self:
        """``gallery``: the folder whose generations records name. ``kernel``: any of `KERNELS` gives the same bits."""
    def add_plan(self, sealed: bytes) -> None:
        """Adds a plan that records may name. PlanError: malformed, or another one under a key and revision known."""
    def check(self, record: bytes) -> str | None:
        """None when the record holds the same bits; otherwise the first difference: field, place, found, wanted.

        Raises what makes it impossible to tell: LogError for what is no record, ShardError when its generation cannot
        be opened, PlanError (UnknownPlan) when its plan was not added.
        """

@final
class ShardWriter:
    """Writes one shard: temporary file, fsync, rename. Nothing appears under the final name before `finish`."""

    def __new__(
        cls,
        path: str,
        *,
        dim: int,
        dtype: str,
        space_json: str,
        labels: Sequence[str],
        label_embeddings: bytes,
        domains: Sequence[str],
        licences: Sequence[str],
    ) -> Self:
        """``label_embeddings``: ``(n_labels, dim) float32`` unit rows. ``space_json``: canonical JSON, see models/."""
    def append(
        self,
        ids: Sequence[bytes],
        *,
        embeddings: bytes,
        domains: bytes,
        licences: bytes,
        phashes: bytes,
        detection_counts: bytes,
        detections: bytes,
    ) -> None:
        """Adds n rows.

        embeddings ``(n, dim) float32``, a row of NaN for "no embedding"; domains and licences ``(n,) uint8`` codes;
        phashes ``(n,) uint64``; detection_counts ``(n,) int32``, -1 for "not detected yet"; detections
        ``(sum of counts, 6) float32``: label, confidence, x0, y0, x1, y1. Raises ShardError and adds nothing.
        """
    def delete(self, ids: Sequence[bytes]) -> None:
        """Adds tombstones: ids of older shards that are unknown from now on."""
    def finish(self) -> tuple[int, int]:
        """Seals the file; returns (rows, bytes)."""

def publish_manifest(gallery: str, shards: Sequence[str]) -> int:
    """Writes the next manifest over files in the shards folder, newest first, and points CURRENT at it.

    Returns the generation's number. Raises ShardError, Locked while another process publishes.
    """

def space_fingerprint(space_json: str) -> str:
    """32 hex digits over the canonical JSON bytes (xxh3-128)."""

def count_candidates(request: bytes) -> int:
    """How many candidates a serialised RerankRequest names, by its tags alone: what cannot be read ends the count."""

def bucket(seed: str, unit: str) -> int:
    """GrowthBook hash version 2, 0..9999 of 10000."""

def seal_plan(plan: bytes) -> bytes:
    """Validates a serialised Plan and wraps it as a SealedPlan. Raises PlanError."""

def check_plan(sealed: bytes) -> bytes:
    """The serialised Plan inside, once checksum and contents hold. Raises PlanError."""

def read_log(path: str) -> list[bytes]:
    """The intact records of a log segment of either kind; a torn tail ends the list. LogError: corrupt before it.

    A feedback record is its time of arrival (u64, little-endian, Unix ns) and the serialised FeedbackEvent.
    """

def read_feedback(path: str) -> list[tuple[int, bytes]]:
    """The intact events of a feedback segment, each after its time of arrival. LogError: ``WrongKind`` for others."""

def read_counts(path: str) -> dict[str, object]:
    """A run's counts file: writer (str), run (int), closed (bool), alive (bool: its writer holds it), offered (a dict).

    ``offered`` counts by assigned arm: unassigned, control, treatment, not_enrolled. See log/FORMAT.md.
    LogError: ``TornCounts`` for one whose writer died before it offered anything.
    """

def read_log_columns(path: str) -> dict[str, tuple[str, list[bytes]]]:
    """A candidate segment as columns: layout and buffers by name, as `pyarrow.Array.from_buffers` takes them.

    Nothing is null, so there are no validity buffers. Layouts: ``u8``, ``u32``, ``u64`` (values); ``utf8`` (32-bit
    offsets, bytes); ``list<u8>``, ``list<u16>``, ``list<f32>`` (offsets, values); ``list<utf8>`` (list offsets, text
    offsets, bytes).

    Lists by candidate are in baseline order: candidate_ids (the request's, or the server's pool), baseline_scores
    (empty without), states (empty: all 0), cosine, consistency, contradiction, prior, score (empty when nothing was
    scored, NaN where missing). ``ranking`` holds baseline positions as served, ``treatment_ranking`` treatment's where
    something else was served, ``teams`` whose pick each of an interleaved ranking is (1 control, 2 treatment),
    ``weights`` cosine, consistency, contradiction, prior. ``query_text`` is empty for embeddings. ``elapsed_us`` is 0
    where the record's version does not say how long the call took.

    LogError: ``WrongKind`` for feedback, ``BadRequest``, ``TooLarge``, and those of `read_log`.
    """

def recover_logs(folder: str) -> tuple[list[Path], list[str]]:
    """Seals the segments that dead writers left open; returns their new paths, and why others were refused.

    Segments of living writers are left alone. Raises LogError when the folder cannot be read.
    """

def describe_record(record: bytes) -> dict[str, object]:
    """One candidate log record of any version as plain values; see log/FORMAT.md. Absent parts are None or left out."""
