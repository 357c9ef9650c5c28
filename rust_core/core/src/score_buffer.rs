//! The score buffer of one call: what was looked up, computed and ordered, column by column.
//!
//! All columns have one value for each candidate, in baseline order; NaN stands for "missing" and never ranks. The
//! buffers are reused from call to call. Response and candidate log are both written from here, so what is logged is
//! what was ranked.

mod licences;

use std::sync::Arc;

use zerocopy::IntoBytes;

use licences::AllowedLicences;

use crate::detection::{Detection, dequantise_unit};
use crate::interleave::{Coins, Draft, Team};
use crate::kernel::{Kernel, QueryVector};
use crate::limits::MAX_CONSTRAINTS;
use crate::log::ScoreColumns;
use crate::score::PreparedQuery;
use crate::score::{
    CandidateState, Expectation, ExpectationSource, OrderScratch, Rules, SeenLabel, Terms, Weights, WordFacts,
    prior_by_rank, prior_from_scores,
};
use crate::serving::Serving;
use crate::shard::{Dtype, Generation, Handle, RowRecord};
use crate::wire::{Candidates, Counts, Embedding, ExplanationColumns, Request, Strings};

/// Reusable buffers; see the module.
#[derive(Debug, Default)]
pub struct ScoreBuffer {
    /// The text's prepared query, when the query was a text.
    text: Option<Arc<PreparedQuery>>,
    /// `(dim,)`, when the query was an embedding.
    embedding: Vec<f32>,
    query: QueryVector,
    label_query: QueryVector,
    similarities: Vec<f32>,
    expectation: Expectation,
    expected: Vec<(u16, f32)>,
    rules: Rules,

    handles: Vec<Handle>,
    states: Vec<CandidateState>,
    counts: Counts,
    /// Baseline positions of the candidates that have an embedding, and their dot products.
    embedded: Vec<u32>,
    dots: Vec<f32>,

    cosine: Vec<f32>,
    cosine_scaled: Vec<f32>,
    consistency: Vec<f32>,
    contradiction: Vec<f32>,
    prior: Vec<f32>,
    score: Vec<f32>,
    weights: Weights,
    is_scored: bool,

    order: OrderScratch,
    /// What is served.
    ranking: Vec<u32>,
    /// Treatment's, where something else is served.
    treatment_ranking: Vec<u32>,
    draft: Draft,
    ranked_scores: Vec<f32>,
    detections: Vec<Detection>,
    detection_ends: Vec<u32>,
}

impl ScoreBuffer {
    /// Empties the buffers for a call with `n` candidates, about which nothing is known yet.
    pub fn begin(&mut self, n: usize) {
        self.text = None;
        self.embedding.clear();
        self.handles.clear();
        self.states.clear();
        self.states.resize(n, CandidateState::Scored);
        self.counts = Counts { candidates: n as u32, ..Counts::default() };
        self.is_scored = false;
        self.ranking.clear();
        self.treatment_ranking.clear();
        self.draft.clear();
        self.ranked_scores.clear();
    }

    /// The query is a text whose embedding is known.
    pub fn take_text(&mut self, query: Arc<PreparedQuery>) {
        self.text = Some(query);
    }

    /// The query is an embedding that was checked against the gallery.
    pub fn take_embedding(&mut self, embedding: Embedding<'_>) {
        embedding.copy_to(&mut self.embedding);
    }

    /// Step 3: finds the candidates' rows, and with them what each can be scored on.
    pub fn look_up(&mut self, request: &Request<'_>, generation: &Generation) {
        let hashes = request.candidates.hashes().iter().copied();
        generation.lookup_hashed(request.candidates.iter().zip(hashes), &mut self.handles);
        let licences = AllowedLicences::of(request.allowed_licences, generation.licences());
        self.counts = Counts { candidates: self.handles.len() as u32, ..Counts::default() };
        for (state, &handle) in self.states.iter_mut().zip(&self.handles) {
            *state = if handle.is_known() {
                let record = generation.record(handle);
                if licences.allow(record.licence) { state_of(record) } else { CandidateState::Unlicensed }
            } else {
                CandidateState::Unknown
            };
            match *state {
                CandidateState::Cold => self.counts.cold += 1,
                CandidateState::Unknown => self.counts.unknown += 1,
                CandidateState::Unlicensed => self.counts.unlicensed += 1,
                CandidateState::Scored | CandidateState::NoDetections | CandidateState::NoCosine => {
                    self.counts.scored += 1;
                }
            }
        }
    }

    /// Step 4: every term of every candidate that has it, and the scores.
    pub fn score(&mut self, request: &Request<'_>, serving: &Serving, kernel: Kernel, weights: Weights) {
        self.weights = weights;
        self.is_scored = true;
        self.take_cosines(serving, kernel);
        self.set_rules(request, serving, kernel);
        if request.baseline_scores.is_empty() {
            prior_by_rank(self.states.len(), &mut self.prior);
        } else {
            prior_from_scores(request.baseline_scores, &mut self.prior);
        }
        self.combine(serving);
    }

    fn take_cosines(&mut self, serving: &Serving, kernel: Kernel) {
        let generation = &*serving.generation;
        let vector = self.text.as_ref().map_or(&self.embedding[..], |query| query.vector());
        self.query.prepare(vector, generation.dtype(), generation.stride());
        self.embedded.clear();
        let has_embedding = |state| matches!(state, CandidateState::Scored | CandidateState::NoDetections);
        self.embedded.extend((0u32..).zip(&self.states).filter(|(_, state)| has_embedding(**state)).map(|(i, _)| i));
        self.dots.clear();
        self.dots.resize(self.embedded.len(), 0.0);
        let (embedded, handles) = (&self.embedded, &self.handles);
        let row = |i: usize| generation.embedding(handles[embedded[i] as usize]);
        kernel.dot_rows(&self.query, embedded.len(), row, &mut self.dots);

        fill(&mut self.cosine, self.states.len(), f32::NAN);
        for (&position, &dot) in self.embedded.iter().zip(&self.dots) {
            let position = position as usize;
            self.cosine[position] = dot * generation.record(self.handles[position]).scale;
        }
    }

    /// What the query expects and rules out: the request's own labels first, then the text's words, then similarity.
    fn set_rules(&mut self, request: &Request<'_>, serving: &Serving, kernel: Kernel) {
        let labels = &serving.labels;
        let (required, n_required) = label_ids(request.required_labels, serving);
        let (forbidden, n_forbidden) = label_ids(request.forbidden_labels, serving);
        let no_words = WordFacts::default();
        let prepared = self.text.as_deref();
        let words = prepared.map_or(&no_words, |prepared| prepared.words());
        let (label_query, similarities) = (&mut self.label_query, &mut self.similarities);
        let embedding = &self.embedding;
        self.expectation =
            Expectation::uniform(&required[..n_required], ExpectationSource::Request).or(|| match prepared {
                Some(prepared) => prepared.expectation(),
                None => {
                    label_query.prepare(embedding, Dtype::F32, labels.stride());
                    labels.by_similarity(kernel, label_query, serving.label_threshold, &[], similarities)
                }
            });
        self.rules.prepare(labels.len(), &self.expectation, &forbidden[..n_forbidden], words);
    }

    fn combine(&mut self, serving: &Serving) {
        let n = self.states.len();
        for column in [&mut self.cosine_scaled, &mut self.consistency, &mut self.contradiction, &mut self.score] {
            fill(column, n, f32::NAN);
        }
        for i in 0..n {
            if !self.states[i].has_features() {
                continue;
            }
            let mut terms = Terms { prior: self.prior[i], ..Terms::default() };
            if !self.cosine[i].is_nan() {
                self.cosine_scaled[i] = serving.cosine_range.scale(self.cosine[i]);
                terms.cosine_scaled = Some(self.cosine_scaled[i]);
            }
            let (handle, generation) = (self.handles[i], &*serving.generation);
            let record = generation.record(handle);
            if record.has_detections() {
                let boxes = || generation.boxes(handle).iter().map(|stored| stored.detection());
                let evidence = self.rules.evidence(seen_labels(record), boxes);
                (self.consistency[i], self.contradiction[i]) = (evidence.consistency, evidence.contradiction);
                terms.evidence = Some(evidence);
            }
            match terms.score(&self.weights) {
                Some(score) => self.score[i] = score,
                // Weights that overflow leave a candidate in its place, like one without features.
                None => self.counts.scored -= 1,
            }
        }
    }

    /// Step 5: the ranking, `top_k` at most (0 for all).
    pub fn order(&mut self, top_k: usize) {
        self.order.rank(&self.states, &self.score, top_k, &mut self.ranking);
        self.take_ranked_scores();
    }

    /// After step 5, in shadow: what was ranked goes to the log alone, and the baseline order is served.
    pub fn withhold(&mut self, top_k: usize) {
        std::mem::swap(&mut self.ranking, &mut self.treatment_ranking);
        self.take_baseline_order(top_k);
        self.ranked_scores.clear();
    }

    /// After step 5, where the orders are interleaved: a team draft of the baseline's and what was ranked is served.
    pub fn interleave(&mut self, top_k: usize, coins: Coins) {
        std::mem::swap(&mut self.ranking, &mut self.treatment_ranking);
        let limit = if top_k == 0 { usize::MAX } else { top_k };
        let (baseline, treatment) = (baseline_order(&self.states), self.treatment_ranking.iter().copied());
        self.draft.run(baseline, treatment, self.states.len(), limit, coins);
        self.ranking.clear();
        self.ranking.extend_from_slice(self.draft.ranking());
        self.take_ranked_scores();
    }

    fn take_ranked_scores(&mut self) {
        self.ranked_scores.clear();
        self.ranked_scores.extend(self.ranking.iter().map(|&position| self.score[position as usize]));
    }

    fn take_baseline_order(&mut self, top_k: usize) {
        self.ranking.clear();
        self.ranking.extend(baseline_order(&self.states));
        if top_k != 0 {
            self.ranking.truncate(top_k);
        }
    }

    /// The baseline order instead, without candidates known to be unlicensed.
    pub fn keep_baseline(&mut self, request: &Request<'_>, generation: Option<&Generation>) {
        if self.handles.is_empty()
            && !request.allowed_licences.is_empty()
            && let Some(generation) = generation
        {
            self.look_up(request, generation);
        }
        self.counts.scored = 0;
        self.ranked_scores.clear();
        self.take_baseline_order(request.top_k);
    }

    /// Baseline positions, best first.
    pub fn ranking(&self) -> &[u32] {
        &self.ranking
    }

    /// Treatment's order where something else was served; empty otherwise.
    pub fn treatment_ranking(&self) -> &[u32] {
        &self.treatment_ranking
    }

    /// Whose pick each of the ranking is, where the orders were interleaved; empty otherwise.
    pub fn teams(&self) -> &[Team] {
        self.draft.teams()
    }

    /// Scores along the ranking, NaN for "kept its place"; empty for the baseline.
    pub fn ranked_scores(&self) -> &[f32] {
        &self.ranked_scores
    }

    /// One byte for each candidate, as on the wire.
    pub fn states(&self) -> &[u8] {
        self.states.as_bytes()
    }

    /// What became of the candidates.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether every candidate was scored with every term, or left out as unlicensed.
    pub fn is_complete(&self) -> bool {
        let complete = |state: &CandidateState| matches!(state, CandidateState::Scored | CandidateState::Unlicensed);
        self.states.iter().all(complete) && self.counts.scored + self.counts.unlicensed == self.counts.candidates
    }

    /// The vector that a text was embedded to, for the log; empty for other queries.
    pub fn text_vector(&self) -> &[f32] {
        self.text.as_ref().map_or(&[], |query| query.vector())
    }

    /// The weights of the scores, zeros when nothing was scored.
    pub fn weights(&self) -> Weights {
        if self.is_scored { self.weights } else { Weights::default() }
    }

    /// The columns for the log, when something was scored.
    pub fn columns(&self) -> Option<ScoreColumns<&[f32]>> {
        self.is_scored.then_some(ScoreColumns {
            cosine: &self.cosine,
            consistency: &self.consistency,
            contradiction: &self.contradiction,
            prior: &self.prior,
            score: &self.score,
        })
    }

    /// Ids of the candidates that lack every feature.
    pub fn featureless(&self, candidates: &Candidates<'_>) -> Vec<Box<[u8]>> {
        if self.counts.cold + self.counts.unknown == 0 {
            return Vec::new();
        }
        let is_featureless = |state: CandidateState| matches!(state, CandidateState::Cold | CandidateState::Unknown);
        let ids = candidates.iter().zip(&self.states).filter(|(_, state)| is_featureless(**state));
        ids.map(|(id, _)| id.into()).collect()
    }

    /// Collects what people who ask why are shown besides the columns. Not for the hot path.
    pub fn collect_explanation(&mut self, generation: &Generation) {
        self.expected.clear();
        self.expected.extend(self.expectation.labels().iter().map(|expected| (expected.label, expected.weight)));
        self.detections.clear();
        self.detection_ends.clear();
        for &handle in &self.handles {
            if handle.is_known() {
                self.detections.extend(generation.boxes(handle).iter().map(|stored| stored.detection()));
            }
            self.detection_ends.push(self.detections.len() as u32);
        }
    }

    /// The columns, once collected.
    pub fn explanation<'a>(&'a self, generation: &'a Generation) -> ExplanationColumns<'a> {
        ExplanationColumns {
            cosine: &self.cosine,
            cosine_scaled: &self.cosine_scaled,
            consistency: &self.consistency,
            contradiction: &self.contradiction,
            prior: &self.prior,
            weights: self.weights,
            expectation: &self.expected,
            source: self.expectation.source(),
            detections: &self.detections,
            detection_ends: &self.detection_ends,
            labels: generation.labels(),
        }
    }
}

/// Baseline positions of the candidates that may be shown.
fn baseline_order(states: &[CandidateState]) -> impl Iterator<Item = u32> + '_ {
    let licensed = |(_, state): &(u32, &CandidateState)| **state != CandidateState::Unlicensed;
    (0u32..).zip(states).filter(licensed).map(|(position, _)| position)
}

fn fill(column: &mut Vec<f32>, n: usize, value: f32) {
    column.clear();
    column.resize(n, value);
}

fn state_of(record: &RowRecord) -> CandidateState {
    CandidateState::of(crate::score::Features {
        embedding: record.has_embedding(),
        detections: record.has_detections(),
    })
}

fn seen_labels(record: &RowRecord) -> impl Iterator<Item = SeenLabel> + Clone + '_ {
    record.labels().iter().map(|entry| SeenLabel {
        label: entry.label(),
        count: entry.count() as u8,
        presence: dequantise_unit(entry.presence),
    })
}

/// Ids of labels that were checked to be the gallery's, and how many.
fn label_ids(names: Strings<'_>, serving: &Serving) -> ([u16; MAX_CONSTRAINTS], usize) {
    let (mut ids, mut n) = ([0; MAX_CONSTRAINTS], 0);
    for id in names.iter().filter_map(|name| serving.labels.id(name)) {
        ids[n] = id;
        n += 1;
    }
    (ids, n)
}
