#![doc = include_str!("FORMAT.md")]
//!
//! # The modules, in the order in which bytes pass through them
//!
//! [`row`] checks and encodes one image, [`mod@write`] seals many into a file of the [`layout`] above, [`manifest`]
//! publishes files as a generation; [`open`] maps a file again through [`map`], [`verify`] reads all of it,
//! [`index`] finds ids in it, and [`generation`] answers for several files at once.

mod columns;
pub mod durable;
pub mod error;
pub mod generation;
pub mod index;
pub mod layout;
pub mod manifest;
pub mod map;
pub mod open;
pub mod row;
pub mod verify;
pub mod write;

pub use error::{RowFault, ShardError};
pub use generation::{Generation, Handle};
pub use layout::{Dtype, LabelEntry, RowRecord, StoredBox, VERSION, space_fingerprint};
pub use manifest::{PublisherLock, publish_manifest};
pub use open::Shard;
pub use row::Row;
pub use write::{ShardSpec, ShardWriter};
