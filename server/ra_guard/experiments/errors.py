"""What the control path refuses: one class for each cause, each with what was found, what is wanted, and the cure."""

from ra_guard.errors import Code, Refused


class ExperimentError(Refused):
    """Base of what the control path refuses."""


# A caller's mistake


class InvalidInput(ExperimentError):
    """A caller's mistake, whatever the experiment's state."""

    status_code = Code.INVALID_ARGUMENT


class BadKey(InvalidInput):
    """An experiment key that is not 1..64 of ``[A-Za-z0-9_.-]``, or that would name another folder."""


class BadDefinition(InvalidInput):
    """A definition with a value of the wrong type, out of bounds, or at odds with another one."""


class UnknownOption(InvalidInput):
    """A definition with a word that means nothing here."""


class UnknownFormat(InvalidInput):
    """A definition of a format that this version does not read."""


class RampOutOfRange(InvalidInput):
    """A ramp outside 0..50 %."""


class UnknownPace(InvalidInput):
    """A ramp at a pace that this version does not know."""


class WhoMissing(InvalidInput):
    """A change without a name of 1..128 bytes behind it."""


class WhyMissing(InvalidInput):
    """A change without a reason of 1..512 bytes."""


class BadNote(InvalidInput):
    """A ledger line without a word, with one too long, or with numbers that are none."""


class BadReplica(InvalidInput):
    """A replica's name that is not 1..64 of ``[A-Za-z0-9_.-]``, or begins with a dot."""


class BadUnit(InvalidInput):
    """A unit of assignment that is not 1..128 bytes."""


class PlanRefused(InvalidInput):
    """The core refused the plan that a change would publish; nothing was recorded."""


class UnknownExperiment(ExperimentError):
    """No experiment of that key is stored."""

    status_code = Code.NOT_FOUND


class UnknownRevision(ExperimentError):
    """No plan of that revision was published."""

    status_code = Code.NOT_FOUND


# A change that the experiment's state does not allow


class NotAllowedNow(ExperimentError):
    """A change that the experiment's state does not allow."""

    status_code = Code.FAILED_PRECONDITION


class AlreadyKilled(NotAllowedNow):
    """A ramp or an approval of a killed experiment: nobody would be treated, and a resume starts from zero."""


class AlreadyLive(NotAllowedNow):
    """A resume of an experiment that was not killed."""


class RolledBack(NotAllowedNow):
    """A ramp or an approval in an epoch that a rollback closed."""


class NotAStage(NotAllowedNow):
    """A ramp to, or an approval of, a share that the definition does not declare."""


class StageSkipped(NotAllowedNow):
    """A ramp over a declared stage without saying so."""


class ApprovalMissing(NotAllowedNow):
    """A ramp to or over a stage that nobody has approved in this epoch."""


class ApprovalNotNeeded(NotAllowedNow):
    """An approval of a stage that asks for none."""


class KeyChanged(NotAllowedNow):
    """A definition applied to an experiment of another key."""


class UsersEnrolled(NotAllowedNow):
    """A change of treatment or analysis in an epoch that has enrolled users."""


class SaltInUse(NotAllowedNow):
    """A change of the salt after the first users were drawn with it."""


class StageInForce(NotAllowedNow):
    """A definition without the stage that the ramp stands on."""


class StaleRevision(ExperimentError):
    """The experiment moved on since the caller read it."""

    status_code = Code.ABORTED


class WriterBusy(ExperimentError):
    """Another writer held the experiment's lock for too long."""

    status_code = Code.ABORTED


# What was stored and does not hold


class StateCorrupt(ExperimentError):
    """A stored state that is not what `model.state_of` writes."""

    status_code = Code.DATA_LOSS


class HistoryCorrupt(ExperimentError):
    """A history line that cannot be read, other than a torn last one."""

    status_code = Code.DATA_LOSS


class PlanAhead(ExperimentError):
    """The published plan is newer than the history: the history lost lines."""

    status_code = Code.DATA_LOSS


class PlanUnreadable(ExperimentError):
    """The plan file exists and cannot be read."""

    status_code = Code.INTERNAL


# The control plane


class NotTheWriter(ExperimentError):
    """Another instance holds the writer lease, or none does yet."""

    status_code = Code.UNAVAILABLE


class KillNotStored(ExperimentError):
    """The replicas were told to halt, and the store refused the kill."""

    status_code = Code.FAILED_PRECONDITION


class FlagIsOff(ExperimentError):
    """A resume while the feature flag says off."""

    status_code = Code.FAILED_PRECONDITION


class FlagUnread(ExperimentError):
    """The feature flag was never read: whether treatment is allowed is not known."""

    status_code = Code.UNAVAILABLE
