//! Reads the protobuf wire format, field by field, without allocating.
//!
//! The rules are proto3's: unknown fields are skipped, a field with another wire type than its declared one
//! counts as unknown, the last value of a scalar wins, repeated scalars come packed or not. Groups, which
//! proto3 never writes, are refused. Every slice that comes out borrows from the bytes that went in.

use thiserror::Error;

/// Bytes that are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed at byte {offset}: {cause}")]
pub struct Malformed {
    /// Where, counted from the start of the outermost message.
    pub offset: usize,
    /// What is wrong there.
    pub cause: Cause,
}

/// Why bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Cause {
    /// The message ends inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A variable-length integer of more than 64 bits.
    #[error("a varint holds more than 64 bits")]
    Varint,
    /// A tag of field 0, or beyond 32 bits.
    #[error("a tag names no possible field")]
    Tag,
    /// Wire types 3, 4 (groups), 6 and 7.
    #[error("found a wire type other than 0, 1, 2 and 5")]
    WireType,
    /// Packed fixed-width values that do not fill whole values.
    #[error("a packed field ends inside a value")]
    Packed,
}

/// How the value after a tag is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireType {
    /// One variable-length integer.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length, and as many bytes.
    Length,
    /// Four bytes.
    Fixed32,
}

/// A position in the bytes of one message.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Where `bytes` starts in the outermost message.
    base: usize,
}

impl<'a> Reader<'a> {
    /// Reads a whole message.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, base: 0 }
    }

    /// Where the next byte is, counted from the start of the outermost message.
    pub fn offset(&self) -> usize {
        self.base + self.position
    }

    /// The next field's number and wire type; `None` at the end of the message.
    #[inline]
    pub fn tag(&mut self) -> Result<Option<(u32, WireType)>, Malformed> {
        if self.position == self.bytes.len() {
            return Ok(None);
        }
        let start = self.position;
        let tag = self.varint()?;
        let tag = u32::try_from(tag).map_err(|_| self.malformed(start, Cause::Tag))?;
        if tag >> 3 == 0 {
            return Err(self.malformed(start, Cause::Tag));
        }
        let wire_type = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Length,
            5 => WireType::Fixed32,
            _ => return Err(self.malformed(start, Cause::WireType)),
        };
        Ok(Some((tag >> 3, wire_type)))
    }

    /// A variable-length integer, 1..10 bytes.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let start = self.position;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(self.malformed(start, Cause::Varint));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed(start, Cause::Varint))
    }

    /// Eight bytes.
    pub fn fixed64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    /// Four bytes as a float.
    pub fn float(&mut self) -> Result<f32, Malformed> {
        self.take().map(f32::from_le_bytes)
    }

    /// A length-delimited value.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.position;
        let length = self.varint()?;
        let rest = &self.bytes[self.position..];
        let value = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let value = value.ok_or_else(|| self.malformed(start, Cause::Truncated))?;
        self.position += value.len();
        Ok(value)
    }

    /// Steps over the next field when it has this one-byte tag and is shorter than 128 bytes; returns its length.
    ///
    /// The quick way through a long run of short strings: two bytes to look at, no error to carry.
    #[inline]
    pub fn short_field(&mut self, tag: u8) -> Option<usize> {
        match self.bytes.get(self.position..)? {
            [found, length @ 0..0x80, rest @ ..] if *found == tag && rest.len() >= usize::from(*length) => {
                self.position += 2 + usize::from(*length);
                Some(usize::from(*length))
            }
            _ => None,
        }
    }

    /// A length-delimited value, to be read as a message of its own.
    pub fn message(&mut self) -> Result<Reader<'a>, Malformed> {
        let bytes = self.bytes()?;
        Ok(Reader { bytes, position: 0, base: self.offset() - bytes.len() })
    }

    /// The floats of one occurrence of a repeated field, packed or single.
    ///
    /// `wire_type` must be the one that [`Reader::tag`] gave; `None` (with the value skipped) when it is neither.
    pub fn floats(&mut self, wire_type: WireType) -> Result<Option<Floats<'a>>, Malformed> {
        let start = self.position;
        let bytes = match wire_type {
            WireType::Length => self.bytes()?,
            WireType::Fixed32 => self.slice(4)?,
            WireType::Varint | WireType::Fixed64 => {
                self.skip(wire_type)?;
                return Ok(None);
            }
        };
        match bytes.as_chunks() {
            (values, []) => Ok(Some(values.iter().copied().map(f32::from_le_bytes))),
            _ => Err(self.malformed(start, Cause::Packed)),
        }
    }

    /// Passes over the value of an unknown field.
    pub fn skip(&mut self, wire_type: WireType) -> Result<(), Malformed> {
        match wire_type {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.slice(8).map(drop),
            WireType::Length => self.bytes().map(drop),
            WireType::Fixed32 => self.slice(4).map(drop),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let start = self.position;
        let taken = self.bytes[start..].first_chunk::<N>();
        let taken = *taken.ok_or_else(|| self.malformed(start, Cause::Truncated))?;
        self.position += N;
        Ok(taken)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let start = self.position;
        let taken = self.bytes[start..].get(..length);
        let taken = taken.ok_or_else(|| self.malformed(start, Cause::Truncated))?;
        self.position += length;
        Ok(taken)
    }

    #[cold]
    fn malformed(&self, position: usize, cause: Cause) -> Malformed {
        Malformed { offset: self.base + position, cause }
    }
}

/// Floats as they stand on the wire.
pub type Floats<'a> = std::iter::Map<std::iter::Copied<std::slice::Iter<'a, [u8; 4]>>, fn([u8; 4]) -> f32>;

#[cfg(test)]
mod tests {
    use super::*;

    fn first_error(bytes: &[u8]) -> Option<Malformed> {
        let mut reader = Reader::new(bytes);
        loop {
            match reader.tag().and_then(|tag| tag.map(|(_, kind)| reader.skip(kind)).transpose()) {
                Ok(Some(())) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    #[test]
    fn names_what_is_malformed_and_where() {
        let cases: [(&[u8], usize, Cause); 9] = [
            (&[0x0a, 0x05, b'a'], 1, Cause::Truncated),
            (&[0x08], 1, Cause::Truncated),
            (&[0x0d, 1, 2, 3], 1, Cause::Truncated),
            (&[0x08, 0x80], 2, Cause::Truncated),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], 1, Cause::Varint),
            (&[0x00, 0x01], 0, Cause::Tag),
            (&[0x80, 0x80, 0x80, 0x80, 0x10], 0, Cause::Tag),
            (&[0x08, 0x01, 0x0b], 2, Cause::WireType),
            (&[0x0e], 0, Cause::WireType),
        ];
        for (bytes, offset, cause) in cases {
            assert_eq!(first_error(bytes), Some(Malformed { offset, cause }), "{bytes:?}");
        }
    }

    #[test]
    fn a_varint_has_at_most_64_bits() {
        let bytes = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(Reader::new(&bytes).varint(), Ok(u64::MAX));
        assert_eq!(Reader::new(&[0xac, 0x02]).varint(), Ok(300));
    }

    #[test]
    fn floats_come_packed_or_single() {
        let packed = [8, 0, 0, 128, 63, 0, 0, 0, 64];
        let values = Reader::new(&packed).floats(WireType::Length).expect("well formed").expect("floats");
        assert_eq!(values.collect::<Vec<_>>(), [1.0, 2.0]);
        let values = Reader::new(&packed[1..]).floats(WireType::Fixed32).expect("well formed").expect("floats");
        assert_eq!(values.collect::<Vec<_>>(), [1.0]);
        let torn = Reader::new(&[3, 0, 0, 0]).floats(WireType::Length).map(|_| ());
        assert_eq!(torn, Err(Malformed { offset: 0, cause: Cause::Packed }));
    }

    #[test]
    fn offsets_inside_a_message_count_from_the_outermost() {
        let bytes = [0x0a, 0x02, 0x08, 0x80];
        let mut outer = Reader::new(&bytes);
        outer.tag().expect("a tag");
        let mut inner = outer.message().expect("a message");
        inner.tag().expect("a tag");
        assert_eq!(inner.varint(), Err(Malformed { offset: 4, cause: Cause::Truncated }));
    }
}
