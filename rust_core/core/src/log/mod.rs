#![doc = include_str!("FORMAT.md")]
//!
//! # In memory
//!
//! [`RecordFields::encode`] makes a record, [`CandidateLog::push`] counts it and copies it into a bounded queue, and a
//! thread writes what is queued every few milliseconds. A full queue or a failing disk costs records, which are counted
//! by arm, and never time.
//!
//! A [`FeedbackLog`] has the same queue, thread and files, and other duties: a full queue refuses, and what was taken
//! stays in memory until it is on disk.

mod accounts;
mod candidates;
mod columns;
mod counts;
mod decode;
mod error;
mod feedback;
mod page;
mod queue;
mod read;
mod record;
mod recover;
mod segment;
mod thread;
mod writer;

pub use accounts::Dropped;
pub use candidates::{CandidateLog, LogCounters};
pub use columns::{ColumnBuffers, columns_of, read_columns};
pub use counts::{ByArm, Counts, Writing, read_counts};
pub use decode::{Column, PoolIds, Positions, Record, Teams};
pub use error::LogError;
pub use feedback::{FeedbackCounters, FeedbackLog, FeedbackRecord};
pub use read::{Ending, Records, Segment, SegmentFile, read_segment};
pub use record::{RecordFields, ScoreColumns};
pub use recover::{Recovered, recover, recover_folder};
pub use segment::Kind;
pub use thread::LogSettings;
