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
    /// The cosine from which a label's text is taken to be what a query text expects.
    pub label_threshold: f32,
}

/// The part of a space's description that scoring needs.
#[derive(Deserialize)]
struct SpaceDescription {
    cosine_range: [f32; 2],
    /// Between two texts. Spaces whose texts lie closer to each other than to images (CLIP) need one above
    /// `cosine_range`'s high end, which it is where nothing is said.
    label_threshold: Option<f32>,
}

impl Serving {
    /// Refuses a generation whose space says nothing about its cosines.
    pub fn new(generation: Arc<Generation>) -> Result<Serving, ShardError> {
        let (cosine_range, label_threshold) = cosine_scale(generation.space_json())?;
        let labels = LabelSpace::new(generation.labels(), generation.label_embeddings(), generation.dim());
        Ok(Serving { generation, labels, cosine_range, label_threshold })
    }
}

fn cosine_scale(space_json: &str) -> Result<(CosineRange, f32), ShardError> {
    let refused = |field, found: String| {
        let wanted = "two finite numbers, the lower first; and a label_threshold, if any, within -1..1".to_owned();
        ShardError::BadSpec { field, found, wanted }
    };
    let space: SpaceDescription =
        serde_json::from_str(space_json).map_err(|error| refused("space_json", error.to_string()))?;
    let [low, high] = space.cosine_range;
    let range =
        CosineRange::new(low, high).ok_or_else(|| refused("space_json.cosine_range", format!("[{low}, {high}]")))?;
    let threshold = space.label_threshold.unwrap_or(high);
    if !(-1.0..=1.0).contains(&threshold) {
        return Err(refused("space_json.label_threshold", threshold.to_string()));
    }
    Ok((range, threshold))
}
