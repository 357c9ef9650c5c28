//! The whole score against a reference in `f64`, and what must hold for any input.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::expectation::{MAX_EXPECTED, MAX_SIMILAR};
use super::*;
use crate::detection::Detection;
use crate::kernel::{Dtype, Kernel, QueryVector};

const N_LABELS: usize = 12;

#[derive(Debug, Clone)]
struct Asked {
    expected: Vec<u16>,
    forbidden: Vec<u16>,
    words: WordFacts,
}

fn label() -> impl Strategy<Value = u16> {
    0..N_LABELS as u16
}

fn sides() -> impl Strategy<Value = Side> {
    prop::sample::select(vec![Side::Left, Side::Right, Side::Above, Side::Below])
}

prop_compose! {
    fn asked()(
        expected in prop::collection::vec(label(), 0..6),
        forbidden in prop::collection::vec(label(), 0..3),
        ruled_out in prop::collection::vec(label(), 0..3),
        counts in prop::collection::btree_map(label(), 1u8..=12, 0..3),
        relations in prop::collection::vec((label(), sides(), label()), 0..3),
    ) -> Asked {
        let counts = counts.into_iter().map(|(label, count)| CountFact { label, count }).collect();
        let relations = relations.into_iter().filter(|(subject, _, object)| subject != object);
        let relations = relations.map(|(subject, side, object)| RelationFact { subject, side, object }).collect();
        Asked { expected, forbidden, words: WordFacts { named: Vec::new(), ruled_out, counts, relations } }
    }
}

prop_compose! {
    fn boxes()(boxes in prop::collection::vec((label(), 0.05f32..=1.0, [0.0f32..0.9, 0.0f32..0.9], [0.01f32..0.1, 0.01f32..0.1]), 0..12)) -> Vec<Detection> {
        let detection = |(label, confidence, [x, y], [w, h]): (u16, f32, [f32; 2], [f32; 2])| Detection {
            label,
            confidence,
            corners: [x, y, x + w, y + h],
        };
        boxes.into_iter().map(detection).collect()
    }
}

/// What a row records of its boxes.
fn seen(boxes: &[Detection]) -> Vec<SeenLabel> {
    let mut seen: Vec<SeenLabel> = (0..N_LABELS as u16)
        .filter(|label| boxes.iter().any(|b| b.label == *label))
        .map(|label| {
            let of_label = || boxes.iter().filter(|b| b.label == label);
            let count = of_label().filter(|b| b.confidence >= crate::detection::COUNTED_CONFIDENCE).count() as u8;
            SeenLabel { label, count, presence: crate::detection::presence(of_label()) }
        })
        .collect();
    seen.sort_by(|a, b| b.presence.total_cmp(&a.presence));
    seen
}

fn prepared(asked: &Asked) -> Rules {
    let mut rules = Rules::default();
    let expectation = Expectation::uniform(&asked.expected, ExpectationSource::Request);
    rules.prepare(N_LABELS, &expectation, &asked.forbidden, &asked.words);
    rules
}

fn evidence(asked: &Asked, boxes: &[Detection]) -> Evidence {
    prepared(asked).evidence(seen(boxes).into_iter(), || boxes.iter().copied())
}

/// The formulas of SCORE.md, in `f64` and the plainest words.
fn reference(asked: &Asked, boxes: &[Detection]) -> (f64, f64) {
    let seen = seen(boxes);
    let presence = |label: u16| seen.iter().find(|s| s.label == label).map_or(0.0, |s| f64::from(s.presence));
    let mut expected = asked.expected.clone();
    expected.sort_unstable();
    expected.dedup();
    let consistency = expected.iter().map(|label| presence(*label)).sum::<f64>() / expected.len().max(1) as f64;

    let mut absent: Vec<u16> = asked.forbidden.iter().chain(&asked.words.ruled_out).copied().collect();
    absent.sort_unstable();
    absent.dedup();
    let mut facts: Vec<f64> = absent.into_iter().map(presence).collect();
    for fact in &asked.words.counts {
        let counted = boxes.iter().filter(|b| b.label == fact.label && b.confidence >= 0.5).count() as f64;
        let wanted = f64::from(fact.count);
        facts.push(presence(fact.label) * (counted - wanted).abs() / counted.max(wanted));
    }
    for fact in &asked.words.relations {
        let centres = |label: u16| {
            boxes
                .iter()
                .filter(move |b| b.label == label)
                .map(|b| (b.corners[0] + b.corners[2], b.corners[1] + b.corners[3]))
        };
        let holds = centres(fact.subject).any(|(sx, sy)| {
            centres(fact.object).any(|(ox, oy)| match fact.side {
                Side::Left => sx < ox,
                Side::Right => sx > ox,
                Side::Above => sy < oy,
                Side::Below => sy > oy,
            })
        });
        facts.push(if holds { 0.0 } else { presence(fact.subject).min(presence(fact.object)) });
    }
    (consistency, 1.0 - facts.iter().map(|c| 1.0 - c).product::<f64>())
}

proptest! {
    #[test]
    fn the_score_follows_the_reference(
        asked in asked(),
        boxes in boxes(),
        cosine in -1.0f32..1.0,
        prior in 0.0f32..=1.0,
        weights in [0.0f32..4.0, 0.0f32..4.0, 0.0f32..4.0, 0.0f32..4.0],
    ) {
        let found = evidence(&asked, &boxes);
        let (consistency, contradiction) = reference(&asked, &boxes);
        // At most thirty roundings of numbers in 0..=1.
        prop_assert!((f64::from(found.consistency) - consistency).abs() < 30.0 * f64::from(f32::EPSILON));
        prop_assert!((f64::from(found.contradiction) - contradiction).abs() < 30.0 * f64::from(f32::EPSILON));

        let range = CosineRange::new(0.1, 0.35).unwrap();
        let terms = Terms { cosine_scaled: Some(range.scale(cosine)), evidence: Some(found), prior };
        let [w_cos, w_con, w_ctr, w_pri] = weights;
        let score = terms.score(&Weights { cosine: w_cos, consistency: w_con, contradiction: w_ctr, prior: w_pri }).unwrap();
        let scaled = (f64::from(cosine) - f64::from(0.1f32)) / (f64::from(0.35f32) - f64::from(0.1f32));
        let wanted = f64::from(w_cos) * scaled + f64::from(w_con) * consistency - f64::from(w_ctr) * contradiction + f64::from(w_pri) * f64::from(prior);
        // |cos~| < 5 and weights < 4 keep every partial sum below 32.
        prop_assert!((f64::from(score) - wanted).abs() < 32.0 * 40.0 * f64::from(f32::EPSILON), "{score} against {wanted}");
    }

    #[test]
    fn evidence_is_a_share(asked in asked(), boxes in boxes()) {
        let Evidence { consistency, contradiction } = evidence(&asked, &boxes);
        prop_assert!((0.0..=1.0).contains(&consistency) && (0.0..=1.0).contains(&contradiction));
    }

    #[test]
    fn another_prohibition_never_lowers_the_contradiction(asked in asked(), boxes in boxes(), also in label()) {
        let before = evidence(&asked, &boxes);
        let mut more = asked;
        more.forbidden.push(also);
        let after = evidence(&more, &boxes);
        prop_assert!(after.contradiction >= before.contradiction);
        prop_assert_eq!(after.consistency.to_bits(), before.consistency.to_bits());
    }

    #[test]
    fn contradiction_rises_with_the_presence_of_what_is_forbidden(low in 0.0f32..=1.0, high in 0.0f32..=1.0) {
        let mut rules = Rules::default();
        rules.prepare(1, &Expectation::default(), &[0], &WordFacts::default());
        let of = |presence| rules.evidence([SeenLabel { label: 0, count: 1, presence }].into_iter(), std::iter::empty).contradiction;
        prop_assert!(of(low.min(high)) <= of(low.max(high)));
    }

    #[test]
    fn reused_rules_hold_nothing_of_the_call_before(first in asked(), second in asked(), boxes in boxes()) {
        let mut rules = prepared(&first);
        rules.prepare(N_LABELS, &Expectation::uniform(&second.expected, ExpectationSource::Request), &second.forbidden, &second.words);
        let found = rules.evidence(seen(&boxes).into_iter(), || boxes.iter().copied());
        prop_assert_eq!(found, evidence(&second, &boxes));
    }

    #[test]
    fn an_expectation_sums_to_one(labels in prop::collection::vec(0u16..40, 1..40)) {
        let expectation = Expectation::uniform(&labels, ExpectationSource::QueryWords);
        let sum: f32 = expectation.labels().iter().map(|label| label.weight).sum();
        prop_assert!((sum - 1.0).abs() < 16.0 * f32::EPSILON);
        prop_assert!(expectation.labels().len() <= MAX_EXPECTED);
        prop_assert!(expectation.labels().windows(2).all(|pair| pair[0].weight >= pair[1].weight));
    }
}

#[test]
fn a_label_beyond_the_list_is_ignored() {
    let asked = Asked { expected: vec![1], forbidden: vec![2], words: WordFacts::default() };
    let hostile = SeenLabel { label: 4095, count: 15, presence: 1.0 };
    let found = prepared(&asked).evidence([hostile].into_iter(), std::iter::empty);
    assert_eq!(found, Evidence::default());
    let mut rules = Rules::default();
    rules.prepare(2, &Expectation::uniform(&[1, 9], ExpectationSource::Request), &[7], &asked.words);
    assert_eq!(rules.evidence([SeenLabel { label: 9, ..hostile }].into_iter(), std::iter::empty), Evidence::default());
}

#[test]
fn a_relation_that_cannot_be_told_contradicts_nothing() {
    let words =
        WordFacts { relations: vec![RelationFact { subject: 0, side: Side::Left, object: 1 }], ..WordFacts::default() };
    let mut rules = Rules::default();
    rules.prepare(2, &Expectation::default(), &[], &words);
    let shown = [0, 1].map(|label| SeenLabel { label, count: 1, presence: 0.75 });
    let at = |label, x0| Detection { label, confidence: 0.9, corners: [x0, 0.4, x0 + 0.1, 0.6] };
    let contradiction = |boxes: &[Detection]| rules.evidence(shown.into_iter(), || boxes.iter().copied()).contradiction;
    assert_eq!(contradiction(&[at(0, 0.1), at(1, 0.8)]), 0.0);
    assert_eq!(contradiction(&[at(0, 0.8), at(1, 0.1)]), 0.75);
    assert_eq!(contradiction(&[at(0, 0.8), at(1, 0.1), at(1, 0.9)]), 0.0);
    assert_eq!(contradiction(&[at(0, 0.8)]), 0.0);
}

#[test]
fn missing_terms_are_left_out_and_no_score_is_invented() {
    let weights = Weights { cosine: 1.0, consistency: 2.0, contradiction: 4.0, prior: 8.0 };
    let evidence = Evidence { consistency: 0.5, contradiction: 0.25 };
    let all = Terms { cosine_scaled: Some(0.5), evidence: Some(evidence), prior: 0.5 };
    assert_eq!(all.score(&weights), Some(4.5));
    assert_eq!(Terms { evidence: None, ..all }.score(&weights), Some(4.5));
    assert_eq!(Terms { evidence: None, cosine_scaled: None, ..all }.score(&weights), Some(4.0));
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(Terms { cosine_scaled: Some(broken), ..all }.score(&weights), None);
    }
}

#[test]
fn states_by_features() {
    for (number, state) in (0u8..).zip(CandidateState::ALL) {
        assert_eq!(state as u8, number);
    }
    let of = |embedding, detections| CandidateState::of(Features { embedding, detections });
    assert_eq!([of(true, true), of(true, false), of(false, true), of(false, false)], CandidateState::ALL[..4]);
}

#[test]
fn a_cosine_range_must_be_an_interval() {
    assert_eq!(CosineRange::new(0.5, 0.5), None);
    assert_eq!(CosineRange::new(0.5, f32::NAN), None);
    assert_eq!(CosineRange::new(f32::NEG_INFINITY, 0.5), None);
    let range = CosineRange::new(0.25, 0.75).unwrap();
    assert_eq!([range.scale(0.25), range.scale(0.75), range.scale(1.0), range.high()], [0.0, 1.0, 1.5, 0.75]);
}

/// Labels whose embeddings are the axes of their space, so that a query's values are its similarities.
fn axes(names: &[&str]) -> LabelSpace {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let n = names.len();
    let embeddings: Vec<f32> = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
    LabelSpace::new(&names, &embeddings, n)
}

fn by_similarity(labels: &LabelSpace, query: &[f32], ruled_out: &[u16]) -> Expectation {
    let mut prepared = QueryVector::default();
    prepared.prepare(query, Dtype::F32, labels.stride());
    labels.by_similarity(Kernel::detect(), &prepared, 0.5, ruled_out, &mut Vec::new())
}

fn pairs(expectation: &Expectation) -> Vec<(u16, f32)> {
    expectation.labels().iter().map(|label| (label.label, label.weight)).collect()
}

#[test]
fn similarity_takes_the_nearest_above_the_threshold() {
    let labels = axes(&["a", "b", "c", "d", "e", "f"]);
    assert_eq!(pairs(&by_similarity(&labels, &[0.0, 0.75, 0.5, 0.625, f32::NAN, 0.625], &[])), []);
    let of = |query: [f32; 6]| pairs(&by_similarity(&labels, &query, &[]));
    assert_eq!(of([0.0, 0.75, 0.5, 0.625, 0.25, 0.625]), [(1, 0.5), (3, 0.25), (5, 0.25)]);
    assert_eq!(of([0.75; 6]), [(0, 0.25), (1, 0.25), (2, 0.25), (3, 0.25)]);
    assert_eq!(
        of([0.51, 0.52, 0.53, 0.54, 0.55, 0.56]).iter().map(|(label, _)| *label).collect::<Vec<_>>(),
        [5, 4, 3, 2]
    );
    assert_eq!(of([0.5; 6]), []);
    assert_eq!(pairs(&by_similarity(&labels, &[0.75; 6], &[0, 1, 2, 3, 4])), [(5, 1.0)]);
    assert_eq!(by_similarity(&labels, &[0.75; 6], &[]).labels().len(), MAX_SIMILAR);
    assert_eq!(by_similarity(&labels, &[0.75; 6], &[]).source(), ExpectationSource::Similarity);
}

#[test]
fn words_come_before_similarity_and_keep_negated_labels_out_of_it() {
    let labels = axes(&["dog", "cat"]);
    let prepare = |text| PreparedQuery::new(text, vec![0.75, 0.625], &labels, Kernel::detect(), 0.5);
    let named = prepare("a cat");
    assert_eq!(
        (pairs(&named.expectation()), named.expectation().source()),
        (vec![(1, 1.0)], ExpectationSource::QueryWords)
    );
    let similar = prepare("a pet");
    assert_eq!(similar.expectation().source(), ExpectationSource::Similarity);
    assert_eq!(similar.expectation().labels()[0].label, 0);
    assert_eq!(pairs(&prepare("a pet, no dogs").expectation()), [(1, 1.0)]);
    assert_eq!(similar.vector(), [0.75, 0.625]);
    assert!(similar.is_for(&labels) && !similar.is_for(&axes(&["cat", "dog"])));
    let required = Expectation::uniform(&[0], ExpectationSource::Request).or(|| named.expectation());
    assert_eq!(required.source(), ExpectationSource::Request);
    assert_eq!(Expectation::default().or(|| named.expectation()), named.expectation());
}

#[test]
fn labels_are_found_by_their_exact_names() {
    let labels = axes(&["dog", "cat", "dog"]);
    assert_eq!([labels.id("dog"), labels.id("cat"), labels.id("Dog")], [Some(0), Some(1), None]);
    assert_eq!(labels.len(), 3);
    assert!(!labels.is_empty() && LabelSpace::new(&[], &[], 4).is_empty());
}
