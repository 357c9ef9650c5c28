//! Detections, and how much of a label an image shows.
//!
//! Presence of label `l` in image `i`, the noisy-or over the boxes of that label:
//!
//! ```text
//! p_il = 1 - prod over boxes (1 - s * g(b))
//! g(b) = (1/2 + 1/2 sqrt(area)) * (1 - 1/2 d^2)
//! ```
//!
//! where `s` is the detector's confidence, `area` the share of the image that the box covers, and `d` the
//! distance of the box's centre from the image's, as a share of the half diagonal. So a confident box that
//! fills the image counts as 1, a tiny one in the centre as 1/2, a tiny one in a corner as 1/4.
//!
//! Presence is computed when a shard is written, in f32, over boxes in descending confidence, and stored as
//! `round(p * 65535)`: every reader sees the same bits.

/// One box that the detector reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Position in the generation's label list.
    pub label: u16,
    /// 0..=1.
    pub confidence: f32,
    /// Corners as fractions of width and height, origin top left: `[x0, y0, x1, y1]`, `x0 < x1`, `y0 < y1`.
    pub corners: [f32; 4],
}

/// Confidence from which a box counts as one object of its label.
pub const COUNTED_CONFIDENCE: f32 = 0.5;

impl Detection {
    /// `g(b)`: 1 for a box that fills the image, towards 1/4 for a speck in a corner.
    pub fn geometry(&self) -> f32 {
        let [x0, y0, x1, y1] = self.corners;
        let area = (x1 - x0) * (y1 - y0);
        let (dx, dy) = ((x0 + x1) * 0.5 - 0.5, (y0 + y1) * 0.5 - 0.5);
        // The half diagonal is sqrt(1/2), so its square divides out as a factor of two.
        let distance_squared = (dx * dx + dy * dy) * 2.0;
        (0.5 + 0.5 * area.sqrt()) * (1.0 - 0.5 * distance_squared)
    }
}

/// Presence of one label over its boxes, in `0..=1`; 0 without boxes.
pub fn presence<'a>(boxes: impl IntoIterator<Item = &'a Detection>) -> f32 {
    let absent = boxes.into_iter().fold(1.0f32, |absent, b| absent * (1.0 - b.confidence * b.geometry()));
    (1.0 - absent).clamp(0.0, 1.0)
}

/// The stored form of a presence.
pub fn quantise_unit(value: f32) -> u16 {
    (value.clamp(0.0, 1.0) * 65535.0).round() as u16
}

/// The value that a stored presence stands for.
pub fn dequantise_unit(stored: u16) -> f32 {
    f32::from(stored) / 65535.0
}
