//! Shards from the outside: what is written comes back, what is damaged is refused, what is killed stays whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage should say where it stopped")]

mod fixture;
mod round_trip;
