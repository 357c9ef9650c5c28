"""How `ra-guard log exposures` looks: one table an epoch, then feedback, then losses."""

from collections.abc import Iterator, Mapping

from rich.table import Table

from ra_guard.logs.exposures import EpochExposure, Exposures, FeedbackCounts, Losses


def exposure_tables(found: Exposures) -> Iterator[Table]:
    """Tables for a terminal or a file."""
    for epoch in found.epochs:
        yield _epoch_table(found.key, epoch)
    yield _feedback_table(found.feedback)
    yield _losses_table(found.losses)


def _epoch_table(key: str, epoch: EpochExposure) -> Table:
    name = "of plans that were not found" if epoch.epoch is None else str(epoch.epoch)
    crossed = (
        f"{epoch.crossed_users} users in both arms, {epoch.control_served_treatment} control calls served treatment"
    )
    table = Table(
        "arm",
        "users",
        "calls",
        "asked again",
        "served another arm",
        "feedback",
        title=f"{key}, epoch {name}, revisions {epoch.first_revision}..{epoch.last_revision}",
        caption=crossed,
        title_justify="left",
        caption_justify="left",
    )
    for arm in epoch.arms:
        table.add_row(
            arm.arm.name,
            f"{arm.users:,}",
            f"{arm.calls:,}",
            f"{arm.repeated:,}",
            _listed(arm.mismatched),
            _listed(arm.feedback),
        )
    return table


def _feedback_table(feedback: FeedbackCounts) -> Table:
    table = Table("feedback", "events", title_justify="left")
    for name, meaning in (
        ("matched", "matched to a call"),
        ("late", "late: after the feedback window"),
        ("ambiguous", "ambiguous: their request id names several users"),
        ("elsewhere", "of another experiment, or of none"),
        ("waiting", "waiting: their request may still come"),
        ("unknown", "unknown: no such request a window later"),
        ("duplicates", "repetitions"),
        ("received", "received"),
    ):
        table.add_row(meaning, f"{getattr(feedback, name):,}")
    return table


def _losses_table(losses: Losses) -> Table:
    unsaid = {
        "in part here": losses.partial_runs,
        "without counts": losses.uncounted_runs,
        "ahead of their counts": losses.outrun_runs,
    }
    runs = f"{losses.ended_runs} ended runs, {losses.living_runs} living"
    not_judged = ", ".join(f"{number} {why}" for why, number in unsaid.items() if number)
    table = Table(
        "assigned arm",
        "offered to the log",
        "sealed",
        "lost",
        "on their way or lost",
        caption=f"{runs}; not judged: {not_judged}" if not_judged else runs,
        caption_justify="left",
    )
    for arm in losses.arms:
        table.add_row(arm.arm.name, f"{arm.offered:,}", f"{arm.sealed:,}", f"{arm.lost:,}", f"{arm.unsettled:,}")
    return table


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "-"
