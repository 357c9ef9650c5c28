//! The whole score against the formulas of SCORE.md in f64.

use proptest::prelude::*;
use ra_guard_core::kernel::Kernel;
use ra_guard_core::shard::{Dtype, Handle};

use crate::fixture::{Bench, LABELS, ROWS, unit_vector};
use crate::support::messages::Weights;

/// The score of one row for a request that requires `required` and forbids `forbidden`, from what is stored.
fn reference(
    bench: &Bench,
    handle: Handle,
    rank: usize,
    required: &[u16],
    forbidden: &[u16],
    weights: &Weights,
) -> f64 {
    let (query, record) = (unit_vector(7777), bench.generation.record(handle));
    let row = bench.generation.embedding_f32(handle);
    let dot: f64 = query.iter().zip(&row).map(|(q, x)| f64::from(*q) * f64::from(*x)).sum();
    let cosine = if record.has_embedding() { (dot - 0.1) / 0.5 } else { 0.0 };
    let presence = |label: u16| {
        let shown = record.labels().iter().find(|entry| entry.label() == label);
        shown.map_or(0.0, |entry| f64::from(entry.presence) / 65535.0)
    };
    let consistency: f64 = required.iter().map(|label| presence(*label) / required.len() as f64).sum();
    let contradiction = 1.0 - forbidden.iter().map(|label| 1.0 - presence(*label)).product::<f64>();
    let prior = 1.0 - rank as f64 / ROWS as f64;
    f64::from(weights.cosine) * cosine + f64::from(weights.consistency) * consistency
        - f64::from(weights.contradiction) * contradiction
        + f64::from(weights.prior) * prior
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn scores_follow_the_formulas(
        dtype in prop::sample::select(Dtype::ALL.to_vec()),
        required in prop::collection::btree_set(0u16..4, 1..4),
        forbidden in prop::collection::btree_set(0u16..4, 0..3),
        cosine in 0.0f32..3.0, consistency in 0.0f32..3.0, contradiction in 0.0f32..3.0, prior in 0.0f32..3.0,
    ) {
        let bench = Bench::new(dtype, Kernel::detect(), None);
        let weights = Weights { cosine, consistency, contradiction, prior };
        bench.publish(|plan| plan.default_weights = Some(weights));
        let (required, forbidden): (Vec<u16>, Vec<u16>) = (required.into_iter().collect(), forbidden.into_iter().collect());
        let names = |labels: &[u16]| labels.iter().map(|label| LABELS[usize::from(*label)].to_owned()).collect();
        let mut request = bench.request();
        request.required_labels = names(&required);
        request.forbidden_labels = names(&forbidden);
        let (_, response) = bench.answer(&request);

        let mut handles = Vec::new();
        bench.generation.lookup(request.candidate_ids.iter().map(String::as_bytes), &mut handles);
        // The query is quantised for i8 rows: half a step in each of 24 values, rows of unit length.
        let tolerance = 1e-5 + if dtype == Dtype::I8 { f64::from(cosine) / 0.5 * 24f64.sqrt() / 254.0 } else { 0.0 };
        for (position, score) in response.ranking.iter().zip(&response.scores) {
            let rank = *position as usize;
            let wanted = reference(&bench, handles[rank], rank, &required, &forbidden, &weights);
            prop_assert!((f64::from(*score) - wanted).abs() <= tolerance, "{score} instead of {wanted}");
        }
        let ordered = response.scores.windows(2).zip(response.ranking.windows(2));
        for (scores, ranks) in ordered {
            prop_assert!(scores[0] > scores[1] || (scores[0] == scores[1] && ranks[0] < ranks[1]));
        }
    }
}
