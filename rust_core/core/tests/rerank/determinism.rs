//! The same request gives the same ranking and the same score bits: on any thread, any kernel, after a restart.

use ra_guard_core::kernel::Kernel;
use ra_guard_core::log::Record;
use ra_guard_core::rerank::Scratch;
use ra_guard_core::shard::Dtype;

use crate::fixture::Bench;
use crate::support::messages::{Query, RerankRequest};

fn bits(bench: &Bench, request: &RerankRequest) -> (Vec<u32>, Vec<u32>) {
    let (_, response) = bench.answer(request);
    (response.ranking, response.scores.iter().map(|score| score.to_bits()).collect())
}

#[test]
fn every_kernel_and_every_restart_give_the_same_bits() {
    for dtype in Dtype::ALL {
        let mut seen = Vec::new();
        for kernel in Kernel::available() {
            let bench = Bench::new(dtype, kernel, None);
            bench.warm("two dogs without a cup");
            let mut text = bench.request();
            text.query = Some(Query::Text("two dogs without a cup".into()));
            seen.push((bits(&bench, &bench.request()), bits(&bench, &text)));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{dtype:?}: kernels differ");
    }
}

#[test]
fn a_score_does_not_depend_on_the_other_candidates() {
    let bench = Bench::new(Dtype::I8, Kernel::detect(), None);
    // Without the prior, which is relative to the request.
    bench.publish(|plan| plan.default_weights.as_mut().expect("weights").prior = 0.0);
    let (ranking, scores) = bits(&bench, &bench.request());
    for (position, score) in ranking.into_iter().zip(scores) {
        let mut alone = bench.request();
        alone.candidate_ids = vec![alone.candidate_ids[position as usize].clone()];
        assert_eq!(bits(&bench, &alone).1, [score]);
    }
}

#[test]
fn buffers_remember_nothing() {
    let bench = Bench::new(Dtype::F16, Kernel::detect(), None);
    bench.warm("a cat left of a dog");
    let mut small = bench.request();
    small.candidate_ids = vec!["cold".into(), "image-001".into(), "stranger".into()];
    small.query = Some(Query::Text("a cat left of a dog".into()));
    small.allowed_licences = vec!["cc0".into()];
    let fresh = |request: &RerankRequest| {
        let mut scratch = Scratch::default();
        bench.outcome(request, &mut scratch).expect("a valid request");
        scratch.response().to_vec()
    };
    let mut reused = Scratch::default();
    for request in [&bench.request(), &small, &bench.request(), &small] {
        bench.outcome(request, &mut reused).expect("a valid request");
        assert_eq!(reused.response(), fresh(request), "the clock stands still, so every byte is the same");
    }
}

#[test]
fn the_log_holds_what_was_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::new(Dtype::F16, Kernel::detect(), Some(Bench::log(&folder)));
    let (_, response) = bench.answer(&bench.request());
    let mut stranger = bench.request();
    stranger.user_id = bench.user(0..5000);
    bench.publish(|plan| plan.ramp_bp = 0);
    bench.answer(&stranger);
    let records = bench.records(&folder);
    assert_eq!(records.len(), 1, "a user who is not enrolled leaves no record");
    let record = Record::decode(&records[0]).expect("a record");
    assert_eq!(record.ranking.iter().map(u32::from).collect::<Vec<_>>(), response.ranking);
    let scores: Vec<u32> = record.columns.expect("columns").score.iter().map(f32::to_bits).collect();
    let ranked: Vec<u32> = response.ranking.iter().map(|position| scores[*position as usize]).collect();
    assert_eq!(ranked, response.scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>());
}
