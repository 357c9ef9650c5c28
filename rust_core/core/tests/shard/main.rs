//! Shards from the outside: what is written comes back, what is damaged is refused, what is killed stays whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage should say where it stopped")]

mod crash;
mod damage;
mod disk_full;
mod fixture;
mod generations;
mod golden;
mod lookup;
mod refusals;
mod reseal;
mod round_trip;
