//! Requests and plans of any bytes: read within bounds or refused, never a panic.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use ra_guard_core::limits::{MAX_CANDIDATES, MAX_CONSTRAINTS, MAX_POOL};
use ra_guard_core::plan::{Plan, unseal};
use ra_guard_core::wire::{Query, RequestScratch, decode};

thread_local! {
    /// Kept from input to input, as a handler thread keeps it: what one request leaves must not reach the next.
    static SCRATCH: RefCell<RequestScratch> = RefCell::default();
}

fn check(bytes: &[u8], scratch: &mut RequestScratch) {
    let Ok(request) = decode(bytes, scratch) else { return };
    let candidates = request.candidates;
    assert!(candidates.len() <= MAX_CANDIDATES && request.pool_size <= MAX_POOL);
    assert!(!candidates.is_empty() || request.pool_size > 0);
    assert!(candidates.iter().all(|id| (1..=128).contains(&id.len()) && std::str::from_utf8(id).is_ok()));
    let mut ids: Vec<_> = candidates.iter().collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), candidates.len());
    assert!(request.baseline_scores.is_empty() || request.baseline_scores.len() == candidates.len());
    assert!(request.required_labels.len() <= MAX_CONSTRAINTS);
    if let Query::Embedding(embedding) = request.query {
        let mut values = Vec::new();
        embedding.copy_to(&mut values);
        assert!(values.len() == embedding.dim() && values.iter().all(|value| value.is_finite()));
    }
}

fuzz_target!(|bytes: &[u8]| {
    SCRATCH.with_borrow_mut(|scratch| check(bytes, scratch));
    if let Ok(plan) = Plan::decode(bytes) {
        assert!(plan.revision > 0 && plan.ramp_bp <= 5000);
        assert!(plan.weights_for("").cosine >= 0.0);
    }
    if let Ok(plan) = unseal(bytes) {
        assert!(plan.len() < bytes.len());
    }
});
