"""Whether control is as bad as what an alarm found in treatment: then treatment is not the cause, or not alone.

The rule, by the scale of the bound:

- A level: control's own level crosses the same bound.
- A comparison of arms over the last minutes: control over these minutes, compared with control over the epoch before
  them, crosses the same bound. A P95 that is 200 ms above control's, while control's own rose by 200 ms, is shared.
- A comparison over the whole epoch, and what is not measured by arm: never, there is nothing to compare with.

A fault that lasts becomes part of control's own past: what was shared in one minute of a run of crossings stays so to
its end. It is observed, not proven, and changes no verdict: an alarm fires all the same, and says so.
"""

from dataclasses import replace

import numpy as np

from ra_guard.evidence.contrast import ArmStatistics, Contrast
from ra_guard.experiments.definition.measures import MEASURES, Counted, Evidence, Scale
from ra_guard.experiments.monitor.question import Question
from ra_guard.experiments.monitor.reading import Beside, answer


def has_shared_cause(question: Question, found_in: Contrast, epoch: Contrast, beside: Beside) -> bool:
    """Of an alarm whose reading of ``found_in`` crosses."""
    if MEASURES[question.metric].counted is Counted.NOTHING:
        return False
    if question.scale is not Scale.PERCENT and question.over_minutes is None:
        return False
    now = found_in.control
    reading = answer(replace(question, evidence=Evidence.OBSERVED), Contrast(_before(epoch.control, now), now), beside)
    return reading.value is not None and question.holds(reading.value)


def _before(epoch: ArmStatistics, recent: ArmStatistics) -> ArmStatistics:
    """Control without the last minutes; means over users are of the whole epoch, for users do not subtract."""
    return replace(
        epoch,
        calls=max(epoch.calls - recent.calls, 0),
        errors=max(epoch.errors - recent.errors, 0),
        latency=np.maximum(epoch.latency - recent.latency, 0),
    )
