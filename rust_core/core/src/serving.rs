//! A generation made ready for calls: its labels bound to words, its cosine range read, once.

use std::sync::Arc;

use serde::Deserialize;

use crate::score::{CosineRange, LabelSpace};
use crate::shard::{Generation, ShardError};

/// What a call reads of the gallery.
#[derive(Debug)]
pub struct Serving {
    /// The mapped shards.
    pub generation: Arc<Generation>,
    /// The detector's labels, ready for queries.
    pub labels: LabelSpace,
    /// The scale of cosines in this space.
    pub cosine_range: CosineRange,
}

/// The part of a space's description that scoring needs.
#[derive(Deserialize)]
struct SpaceDescription {
    cosine_range: [f32; 2],
}

impl Serving {
    /// Refuses a generation whose space says nothing about its cosines.
    pub fn new(generation: Arc<Generation>) -> Result<Serving, ShardError> {
        let cosine_range = cosine_range(generation.space_json())?;
        let labels = LabelSpace::new(generation.labels(), generation.label_embeddings(), generation.dim());
        Ok(Serving { generation, labels, cosine_range })
    }
}

fn cosine_range(space_json: &str) -> Result<CosineRange, ShardError> {
    let refused = |found: String| ShardError::BadSpec {
        field: "space_json.cosine_range",
        found,
        wanted: "two finite numbers, the lower first; describe the space's cosines".to_owned(),
    };
    let space: SpaceDescription = serde_json::from_str(space_json).map_err(|error| refused(error.to_string()))?;
    let [low, high] = space.cosine_range;
    CosineRange::new(low, high).ok_or_else(|| refused(format!("[{low}, {high}]")))
}
