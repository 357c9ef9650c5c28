"""How long users have been treated without anybody seeing what it does to them.

A watch attests up to when it has evidence. Times are of one steady clock; what an attestation says of wall clocks is
only ever how old the evidence is, and evidence of the future counts as of now.
"""

from collections.abc import Callable

from ra_guard.experiments.model import Experiment


def why_unseen(minutes: float, allowed: int) -> str:
    """Why an experiment is rolled back without evidence, for the ledger."""
    return f"no evidence for {minutes:.0f} minutes while users are treated; {allowed} are allowed"


class Vigil:
    """The age of the evidence, by experiment. Patience starts anew with a new writer, and with the first users."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._seen_s: dict[str, float] = {}

    def begin(self, key: str) -> None:
        """From now on somebody must see."""
        self._seen_s[key] = self._steady()

    def attest(self, key: str, age_s: float) -> None:
        """There is evidence up to so long ago. An older word than the last one changes nothing."""
        at_s = self._steady() - max(0.0, age_s)
        self._seen_s[key] = max(at_s, self._seen_s.get(key, at_s))

    def unseen_s(self, key: str) -> float:
        """Since the latest evidence."""
        return self._steady() - self._seen_s.setdefault(key, self._steady())

    def patience_s(self, experiment: Experiment) -> float | None:
        """Until the experiment must be rolled back, 0 or less when it is due; None while nobody is treated."""
        if experiment.killed or experiment.ramp_bp == 0:
            return None
        return experiment.definition.rollback.without_evidence_minutes * 60 - self.unseen_s(experiment.key)
