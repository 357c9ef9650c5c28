//! Writes the protobuf wire format into a reusable buffer, in one pass.
//!
//! Canonical proto3: scalars of value zero are left out, packed fields are packed, lengths are shortest.

/// Appends fields to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

impl<'a> Writer<'a> {
    /// Appends to `out`; what it holds already stays.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// An unsigned integer or enum; left out when zero.
    pub fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, VARINT);
            self.varint(value);
        }
    }

    /// A float; left out when it is +0.
    pub fn float(&mut self, field: u32, value: f32) {
        if value.to_bits() != 0 {
            self.tag(field, FIXED32);
            self.out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// Eight bytes, written even when zero: a checksum of zero is one.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, FIXED64);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A string or bytes field; left out when empty.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.element(field, value);
        }
    }

    /// One element of a repeated string or bytes field, empty or not.
    pub fn element(&mut self, field: u32, value: &[u8]) {
        self.tag(field, LENGTH);
        self.varint(value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// A packed field of floats; left out when empty.
    pub fn floats(&mut self, field: u32, values: &[f32]) {
        if values.is_empty() {
            return;
        }
        self.tag(field, LENGTH);
        self.varint(values.len() as u64 * 4);
        let start = self.out.len();
        self.out.resize(start + values.len() * 4, 0);
        let (places, _) = self.out[start..].as_chunks_mut();
        for (place, value) in places.iter_mut().zip(values) {
            *place = value.to_le_bytes();
        }
    }

    /// A packed field of unsigned integers; left out when empty.
    pub fn uints(&mut self, field: u32, values: &[u32]) {
        if values.is_empty() {
            return;
        }
        self.message(field, |writer| {
            for &value in values {
                writer.varint(u64::from(value));
            }
        });
    }

    /// An embedded message, present even when nothing is written into it.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, LENGTH);
        let start = self.out.len();
        write(&mut Writer { out: self.out });
        let length = self.out.len() - start;
        // The length goes in front of what it counts: a short move within the cache, against a second pass to
        // compute sizes.
        self.varint(length as u64);
        let prefix = self.out.len() - start - length;
        self.out[start..].rotate_right(prefix);
    }

    #[inline]
    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
