//! The time of each step of a call, and of all of it.

use super::Call;
use crate::engine::Clock;
use crate::wire::StageTimes;

/// The time of each step, the time since the request arrived, and the deadline.
pub(super) struct Laps<'a, C> {
    clock: &'a C,
    deadline_ns: u64,
    waited_ns: u64,
    began_ns: u64,
    pub(super) lap_began_ns: u64,
    pub(super) stages: StageTimes,
}

impl<'a, C: Clock> Laps<'a, C> {
    pub(super) fn start(clock: &'a C, call: &Call<'_>) -> Self {
        let began_ns = clock.monotonic_ns();
        Laps {
            clock,
            deadline_ns: call.deadline_ns.unwrap_or(u64::MAX),
            waited_ns: call.wait_ns,
            began_ns,
            lap_began_ns: began_ns,
            stages: StageTimes { wait_ns: saturate(call.wait_ns), ..StageTimes::default() },
        }
    }

    /// Ends the step that began with the end of the previous one.
    pub(super) fn end(&mut self, stage: impl FnOnce(&mut StageTimes) -> &mut u32) {
        let now_ns = self.clock.monotonic_ns();
        *stage(&mut self.stages) = saturate(now_ns.saturating_sub(self.lap_began_ns));
        self.lap_began_ns = now_ns;
    }

    /// Time since the request arrived, what it waited before the core could start included. Never 0, which in a record
    /// means unknown.
    pub(super) fn elapsed_us(&self) -> u32 {
        let in_core_ns = self.clock.monotonic_ns().saturating_sub(self.began_ns);
        saturate(self.waited_ns.saturating_add(in_core_ns) / 1_000).max(1)
    }

    /// Whether the caller's deadline had passed when the last step ended.
    pub(super) fn is_late(&self) -> bool {
        self.lap_began_ns > self.deadline_ns
    }
}

fn saturate(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}
