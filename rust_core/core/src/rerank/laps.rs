//! The time of each step of a call.

use super::Call;
use crate::engine::Clock;
use crate::wire::StageTimes;

/// The time of each step, and the deadline.
pub(super) struct Laps<'a, C> {
    clock: &'a C,
    deadline_ns: u64,
    pub(super) lap_began_ns: u64,
    pub(super) stages: StageTimes,
}

impl<'a, C: Clock> Laps<'a, C> {
    pub(super) fn start(clock: &'a C, call: &Call<'_>) -> Self {
        Laps {
            clock,
            deadline_ns: call.deadline_ns.unwrap_or(u64::MAX),
            lap_began_ns: clock.monotonic_ns(),
            stages: StageTimes { wait_ns: saturate(call.wait_ns), ..StageTimes::default() },
        }
    }

    /// Ends the step that began with the end of the previous one.
    pub(super) fn end(&mut self, stage: impl FnOnce(&mut StageTimes) -> &mut u32) {
        let now_ns = self.clock.monotonic_ns();
        *stage(&mut self.stages) = saturate(now_ns.saturating_sub(self.lap_began_ns));
        self.lap_began_ns = now_ns;
    }

    /// Whether the caller's deadline had passed when the last step ended.
    pub(super) fn is_late(&self) -> bool {
        self.lap_began_ns > self.deadline_ns
    }
}

fn saturate(ns: u64) -> u32 {
    u32::try_from(ns).unwrap_or(u32::MAX)
}
