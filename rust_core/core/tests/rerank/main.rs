//! Whole calls, from request bytes to response bytes, over a real gallery on disk.

#[path = "../support/mod.rs"]
mod support;

mod allocation;
mod baseline;
mod determinism;
mod fixture;
mod logged;
mod modes;
mod reference;
mod replay;
mod scenes;
