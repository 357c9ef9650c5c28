"""The composition root of a worker: every part is made here, given what it needs, started and stopped in order.

Only this file knows the data path, the control path and the gallery at once.
"""

import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ra_guard import _core
from ra_guard._core import Engine, FeedbackLog, Generation
from ra_guard.client import ControlSource, split_addresses
from ra_guard.config import Settings
from ra_guard.experiments.condition import Condition
from ra_guard.experiments.feed import Pace, PlanFeed
from ra_guard.experiments.plan_files import PlanFiles
from ra_guard.gallery.cold import ColdFeatures
from ra_guard.gallery.folder import GalleryFolder
from ra_guard.gallery.label_embeddings import open_feature_space
from ra_guard.gallery.pools import Pools
from ra_guard.models.imaging import Limits
from ra_guard.models.space import Space
from ra_guard.rpc import feedback, reranker
from ra_guard.rpc.gallery_admin import GalleryAdmin, gallery_admin_handlers
from ra_guard.rpc.health import Health, canary_probe
from ra_guard.rpc.interceptors import ErrorBoundary
from ra_guard.rpc.server import Server, Services
from ra_guard.rpc.streams import OpenStreams
from ra_guard.serving.admission import Admission
from ra_guard.serving.breaker import CircuitBreaker
from ra_guard.serving.cold import ColdQueue
from ra_guard.serving.cold_text import ColdTexts
from ra_guard.serving.cold_wait import ColdWait
from ra_guard.serving.executor import HandlerPool
from ra_guard.serving.generation_watch import GenerationLoader, GenerationWatcher
from ra_guard.serving.pool import PoolDraw
from ra_guard.serving.rerank import Reranking
from ra_guard.serving.rolling import LogRolling
from ra_guard.serving.triton import TritonModels
from ra_guard.telemetry import exporters
from ra_guard.telemetry.drain import Drain
from ra_guard.telemetry.gauges import register_feedback, register_gauges
from ra_guard.telemetry.log import configure_logging
from ra_guard.telemetry.metrics import Metrics, call_histograms
from ra_guard.telemetry.records import Records
from ra_guard.telemetry.traces import Traces

GALLERY_ADMIN = "ra_guard.v1.GalleryAdmin"
MESSAGE_OVERHEAD_BYTES = 65_536
"""Around an image in an admin message."""
COLD_CLOSE_S = 5.0
WRITER_HOST_CHARACTERS = 28
"""Of the 32 that a writer's name may have."""
HOST_NAME_CHARACTERS = 48
"""Leaves room for process id and worker within a replica's 64."""


@dataclass(frozen=True, slots=True)
class SpaceModels:
    """The models behind Triton, with the fingerprint of the space that they embed into."""

    space: str
    folder: Path
    triton: TritonModels

    def embed_text(self, text: str, timeout_s: float) -> npt.NDArray[np.float32]:
        """``(dim,) float32``, unit length."""
        return self.triton.embed_text(text, timeout_s)


@dataclass(frozen=True, slots=True)
class ServedFeatures:
    """Features of cold images, in service here when `embed` returns; other workers see them with their next look."""

    features: ColdFeatures
    generations: GenerationWatcher

    def embed(self, ids: Sequence[bytes]) -> object:
        """Computes, publishes and loads."""
        outcome = self.features.embed(ids)
        self.generations.poll()
        return outcome


class CurrentPools:
    """The candidate pools of the generation in service."""

    def __init__(self, folder: GalleryFolder) -> None:
        self._folder = folder
        self._pools: Pools | None = None

    def prepare(self, generation: Generation) -> None:
        """Opens the pools of the generation that is about to serve."""
        self._pools = Pools.open(self._folder.path, generation)

    def search(self, vector: bytes, domain: str, k: int) -> list[bytes]:
        """Ids nearest to a vector; none before the first generation."""
        pools = self._pools
        return [] if pools is None else pools.search(vector, domain, k)


class Worker:
    """One serving process, from settings. `start` returns once it serves, `drain` once every call is answered."""

    def __init__(self, settings: Settings, *, index: int, port: int, control: str) -> None:
        """``control``: addresses of the control plane to watch."""
        self._settings = settings
        self._started_unix_ns = time.time_ns()
        replica = f"{settings.experiment.replica or _own_name()}-{index}"
        self._log = configure_logging(settings.log.level, worker=index)
        self._records = Records(settings.telemetry.queue, time.monotonic_ns)
        self._recover_logs()
        self._core = _engine(settings, index)
        self._feedback_log = FeedbackLog(
            folder=str(settings.feedback_log_dir),
            writer=_writer_name(index),
            queue_bytes=settings.log.queue_bytes,
            segment_bytes=settings.log.segment_bytes,
        )
        self._rolling = LogRolling(
            (self._core.roll_log, self._feedback_log.roll),
            every_s=settings.log.segment_s,
            report=self._records.report,
        )
        self._telemetry = self._make_telemetry(index, replica)
        self._models = _models(settings)
        self._feed = self._make_feed(replica, control)
        self._make_generations()
        self._cold = self._make_cold()
        self._make_server(port)
        register_gauges(self._metrics, self._core, self._records, self._admission, self._pool, self._cold)
        register_feedback(self._metrics, self._feedback.counters, self._feedback_log)

    def start(self) -> None:
        """Loads plan and generation, warms them, then opens the port."""
        self._telemetry.start()
        self._feed.start()
        self._rolling.start()
        self._generations.start()
        if self._cold is not None:
            self._cold.start()
        self._feed.wait_for_answer()
        self._server.start()
        generation = self._core.generation()
        self._log.info(
            "serving",
            port=self._server.port,
            kernel=_core.KERNEL,
            generation=0 if generation is None else generation.number,
            rows=0 if generation is None else generation.rows,
            plan_revision=self._core.plan_revision(),
        )

    def drain(self) -> None:
        """Ends in the order in which calls depend on the parts: no call in flight is lost, no record unwritten."""
        self._log.info("draining", grace_s=self._settings.server.drain_grace_s)
        self._server.drain()
        self._pool.shutdown()
        if self._cold is not None:
            self._cold.close(COLD_CLOSE_S)
        self._generations.close()
        self._feed.stop()
        if self._models is not None:
            self._models.triton.close()
        try:
            self._core.close_log()
        except _core.LogError as error:
            self._records.report(error)
        self._telemetry.close()
        self._log.info("drained")

    def _recover_logs(self) -> None:
        """Seals what dead workers left of their logs; a log that cannot be recovered stays as it is."""
        for folder in (self._settings.candidate_log_dir, self._settings.feedback_log_dir):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                sealed, refused = _core.recover_logs(str(folder))
            except _core.LogError as error:
                self._records.report(error)
                continue
            if sealed or refused:
                self._log.warning("logs_recovered", sealed=[path.name for path in sealed], refused=refused)

    def _make_telemetry(self, index: int, replica: str) -> Drain:
        settings, report = self._settings, self._records.report
        resource = exporters.resource(index, replica)
        histograms = call_histograms()
        readers = exporters.metric_readers(
            settings.telemetry, histograms, host=settings.server.host, worker=index, report=report
        )
        self._metrics = Metrics(readers, resource, histograms)
        return Drain(
            self._records,
            log=self._log,
            calls=settings.log.calls,
            metrics=self._metrics,
            traces=Traces(exporters.span_processors(settings.telemetry), resource, settings.telemetry.sample),
        )

    def _make_cold(self) -> ColdQueue | None:
        settings, models = self._settings, self._models
        if models is None or settings.cold.queue == 0:
            return None
        space_dir = models.folder
        timeout_s = settings.triton.timeout_ms / 1000
        features = ColdFeatures(
            GalleryFolder(settings.gallery_dir),
            models.triton,
            lambda: open_feature_space(models.triton, space_dir, settings.gallery.dtype, timeout_s),
            Limits(settings.gallery.max_image_bytes, settings.gallery.max_image_pixels),
            lambda: datetime.now(UTC),
            timeout_s=timeout_s * settings.cold.batch,
        )
        return ColdQueue(
            ServedFeatures(features, self._generations),
            capacity=settings.cold.queue,
            batch=settings.cold.batch,
            retry_s=settings.cold.retry_s,
            report=self._records.report,
        )

    def _make_feed(self, replica: str, control: str) -> PlanFeed:
        settings = self._settings.control
        return PlanFeed(
            [
                ControlSource(address, token=settings.token, timeout_s=settings.silence_s)
                for address in split_addresses(control)
            ],
            self._core,
            key=self._settings.experiment.key,
            replica=replica,
            pace=Pace(settings.heartbeat_s, settings.silence_s, settings.start_wait_s),
            plans=PlanFiles(self._settings.plan_dir),
            report=self._records.report,
            condition=self._condition,
        )

    def _condition(self) -> Condition:
        """How this replica is, for the control plane."""
        return Condition(self._health.failing, self._telemetry.critical_errors, self._started_unix_ns)

    def _make_generations(self) -> None:
        gallery = self._settings.gallery
        self._pools = CurrentPools(GalleryFolder(self._settings.gallery_dir))
        self._loader = GenerationLoader(
            self._core,
            self._settings.gallery_dir,
            memory_limit_bytes=gallery.memory_limit_bytes,
            prepare=self._pools.prepare,
        )
        self._generations = GenerationWatcher(self._loader, poll_s=gallery.poll_s, report=self._records.report)

    def _make_server(self, port: int) -> None:
        server, cold_mode, report = self._settings.server, self._settings.cold.mode, self._records.report
        self._admission = Admission(server.capacity_candidates)
        self._pool = HandlerPool(server.handler_threads, server.shed_queue_delay_ms * 1_000_000)
        waits = server.handler_threads - 1
        texts = ColdTexts(self._core, self._models, waits=waits, report=report)
        reranking = Reranking(
            self._core,
            self._admission,
            texts=texts,
            pools=PoolDraw(self._core, texts, self._pools),
            cold=self._cold,
            cold_wait=ColdWait(self._core, self._cold, waits=waits) if self._cold and cold_mode == "wait" else None,
            report=report,
        )
        streams = OpenStreams(server.max_streams)
        size = server.max_request_bytes
        unary = reranker.Rerank(reranking, self._pool, self._records, max_request_bytes=size)
        stream = reranker.RerankStream(reranking, streams, self._records, max_request_bytes=size)
        self._feedback = feedback.Feedback(self._feedback_log, lambda: self._feed.feedback_window_s)
        record = feedback.RecordStream(self._feedback, streams, report)
        gallery_admin = gallery_admin_handlers(GalleryAdmin(self._core, self._loader.load))
        self._health = Health(
            {
                reranker.SERVICE: canary_probe(self._core),
                feedback.SERVICE: self._feedback_log_writes,
                GALLERY_ADMIN: self._gallery_answers,
            },
            interval_s=self._settings.worker.canary_s,
            report=report,
        )
        services = Services(
            handlers=(
                reranker.reranker_handlers(unary, stream),
                feedback.feedback_handlers(record),
                ErrorBoundary(gallery_admin, report),
            ),
            names=(reranker.SERVICE, feedback.SERVICE, GALLERY_ADMIN),
            health=self._health,
            streams=streams,
            pool=self._pool,
        )
        self._server = Server(
            services,
            address=server.address(port),
            max_message_bytes=max(size, self._settings.gallery.max_image_bytes) + MESSAGE_OVERHEAD_BYTES,
            drain_grace_s=server.drain_grace_s,
        )

    def _feedback_log_writes(self) -> bool:
        """All that was taken in is on disk; raises when it is not."""
        self._feedback_log.flush()
        return True

    def _gallery_answers(self) -> bool:
        """A generation is published in the gallery folder, and it can be read which."""
        return self._loader.named() is not None


def _own_name() -> str:
    """Host name and process id of the server, cut to what a replica's name may have."""
    return f"{socket.gethostname().lstrip('.')[:HOST_NAME_CHARACTERS]}-{os.getppid()}"


def _writer_name(index: int) -> str:
    """Names a worker's log segments among those of all machines: the host's name and the worker's number."""
    host = re.sub(r"[^A-Za-z0-9]", "-", socket.gethostname())
    return f"{host[:WRITER_HOST_CHARACTERS]}-{index}"


def _engine(settings: Settings, index: int) -> Engine:
    return Engine(
        query_cache_entries=settings.cold.query_cache_entries,
        log_dir=str(settings.candidate_log_dir),
        log_queue_bytes=settings.log.queue_bytes,
        log_segment_bytes=settings.log.segment_bytes,
        log_writer=_writer_name(index),
    )


def _models(settings: Settings) -> SpaceModels | None:
    """The models behind Triton; None when Triton is not configured or no space is built."""
    folder = settings.space_dir() if settings.triton.url else None
    if folder is None:
        return None
    space = Space.load(folder)
    breaker = CircuitBreaker(failures=settings.triton.breaker_failures, reset_s=settings.triton.breaker_reset_s)
    triton = TritonModels(
        settings.triton.url,
        space=space,
        timeout_s=settings.triton.timeout_ms / 1000,
        max_in_flight=settings.triton.max_in_flight,
        breaker=breaker,
    )
    return SpaceModels(space.fingerprint, folder, triton)
