#![doc = include_str!("SCORE.md")]
//!
//! # The modules, in the order in which a call meets them
//!
//! `lexicon` binds words to a detector's labels and [`query_words`] reads a query with it; [`expectation`]
//! decides which labels the query expects; [`terms`] computes what a candidate shows of them and its score;
//! [`order`] ranks. What a candidate is scored on goes in as plain values: no module here knows a shard.

pub mod expectation;
mod lexicon;
pub mod order;
mod plural;
pub mod query_words;
pub mod terms;

#[cfg(test)]
mod tests;

pub use expectation::{Expectation, ExpectationSource, ExpectedLabel, LabelSpace, PreparedQuery};
pub use lexicon::Side;
pub use order::{OrderScratch, prior_by_rank, prior_from_scores};
pub use query_words::{CountFact, RelationFact, WordFacts};
pub use terms::{CandidateState, CosineRange, Evidence, Features, Rules, SeenLabel, Terms, Weights};
