"""What evaluation refuses: a caller's mistakes, one class for each cause."""

from ra_guard.errors import Code, Refused


class EvaluationError(Refused):
    """Base of what evaluation refuses."""

    status_code = Code.INVALID_ARGUMENT


class BadLine(EvaluationError):
    """A line of a TREC file that does not say what its format says."""

    def __init__(self, *, source: str, line: int, found: str, wanted: str, cure: str) -> None:
        super().__init__(found=f"{source}:{line}: {found}", wanted=wanted, cure=cure)


class NothingJudged(EvaluationError):
    """Judgments without a query: there is nothing to average over."""


class UnknownMetric(EvaluationError):
    """A name that is no metric, or a cut-off where none belongs."""


class OtherScores(EvaluationError):
    """Logged terms and weights that do not give the logged scores: they are scaled otherwise than they were served."""


class BadWeights(EvaluationError):
    """Weights that are not four finite numbers of 0 or more, by their names."""


class UnknownScale(EvaluationError):
    """An embedding space whose cosine_range cannot be found."""


class NothingToRank(EvaluationError):
    """A log without a call that was both scored and judged."""


class NothingToLearn(EvaluationError):
    """Judgments that prefer no candidate to another."""

    status_code = Code.FAILED_PRECONDITION


class TooFewUsers(EvaluationError):
    """Fewer users than cross-validation can deal to its folds."""

    status_code = Code.FAILED_PRECONDITION
