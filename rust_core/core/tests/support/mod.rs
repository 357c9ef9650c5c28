//! What the tests of the wire share: the messages as another protobuf implementation sees them, and golden vectors.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod messages;
pub mod records;

use serde::de::DeserializeOwned;

/// Reads one of the JSON files in `tests/vectors`.
pub fn vectors<T: DeserializeOwned>(name: &str) -> T {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/");
    let text = std::fs::read_to_string(format!("{path}{name}")).expect("the vectors are in the tree");
    serde_json::from_str(&text).expect("the vectors are JSON of this shape")
}

/// Bytes of a hexadecimal string.
pub fn unhex(digits: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

pub const SPACE: &str = "0123456789abcdef0123456789abcdef";

/// `(dim,)` unit vector as little-endian bytes.
pub fn unit_vector(dim: usize) -> Vec<u8> {
    let value = (1.0 / (dim as f64).sqrt()) as f32;
    (0..dim).flat_map(|i| (if i % 2 == 0 { value } else { -value }).to_le_bytes()).collect()
}
