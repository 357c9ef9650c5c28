//! The clocks of this process, as the core asks for them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ra_guard_core::engine::Clock;

/// CLOCK_MONOTONIC, which is also Python's `time.monotonic_ns()`, and the wall clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
    }

    fn unix_ns(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos() as u64
    }
}
