//! Reads a segment from bytes that nothing vouches for.

use std::path::Path;

use zerocopy::FromBytes;

use super::error::LogError;
use super::segment::{FORMAT_VERSION, FRAME_HEADER_BYTES, FrameHeader, HEADER_BYTES, Header, Kind, MAGIC, writer_of};

/// A segment whose header holds.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    kind: Kind,
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With its end frame.
    Sealed,
    /// After a whole frame, without an end frame: being written, or left behind.
    Open,
    /// Inside a frame, which is left out.
    Torn,
}

impl<'a> Segment<'a> {
    /// Checks the header of a whole segment.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LogError> {
        let magic = bytes.len().min(MAGIC.len());
        if bytes[..magic] != MAGIC[..magic] {
            return Err(LogError::NotALog);
        }
        let header = Header::ref_from_prefix(bytes);
        let (header, _) = header.map_err(|_| LogError::TornHeader { found: bytes.len() })?;
        if header.version.get() > FORMAT_VERSION {
            let (found, supported) = (header.version.get(), FORMAT_VERSION);
            return Err(LogError::FutureVersion { what: "format", found, supported });
        }
        if header.crc.get() != header.computed_crc() || header.version.get() == 0 {
            return Err(LogError::Corrupt { offset: 0, what: "a header that fails its CRC" });
        }
        // Version 1 knew no other kind.
        let kind = Kind::from_number(header.kind.get());
        let kind = kind.filter(|&kind| header.version.get() > 1 || kind == Kind::Candidates);
        let kind = kind.ok_or(LogError::Corrupt { offset: 12, what: "a kind that its version does not have" })?;
        Ok(Self { bytes, header, kind })
    }

    /// What the records are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Time of the first record, Unix nanoseconds.
    pub fn created_unix_ns(&self) -> u64 {
        self.header.created_unix_ns.get()
    }

    /// Name of the writer.
    pub fn writer(&self) -> String {
        writer_of(&self.header.writer)
    }

    /// The intact records in order. Corruption comes out as an error, after the records before it, and ends them.
    pub fn records(&self) -> Records<'a> {
        Records { bytes: self.bytes, position: HEADER_BYTES, count: 0, ending: None, corrupted: false }
    }
}

/// Iterator over the intact records of a segment.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    /// End of the last intact frame.
    position: usize,
    count: u64,
    ending: Option<Ending>,
    /// Nothing comes after corruption.
    corrupted: bool,
}

enum Frame<'a> {
    Record(&'a [u8]),
    End(Ending),
}

impl<'a> Records<'a> {
    /// How the segment ends; `None` before the iterator has come to its end, or when that is corrupt.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Bytes up to the end of the last intact record.
    pub fn intact_bytes(&self) -> usize {
        self.position
    }

    /// Records that came out so far.
    pub fn count_so_far(&self) -> u64 {
        self.count
    }

    fn frame(&self) -> Result<Frame<'a>, LogError> {
        let rest = &self.bytes[self.position..];
        if rest.is_empty() {
            return Ok(Frame::End(Ending::Open));
        }
        let Ok((header, after)) = FrameHeader::ref_from_prefix(rest) else {
            return Ok(Frame::End(Ending::Torn));
        };
        let length = header.length.get();
        if header.length_check.get() != !length {
            return self.torn_if(is_zero(after), "a frame's length that fails its check");
        }
        if length == 0 {
            return self.end_frame(header, after);
        }
        let Some((payload, next)) = after.split_at_checked(length as usize) else {
            return Ok(Frame::End(Ending::Torn));
        };
        if crc32fast::hash(payload) != header.crc.get() {
            return self.torn_if(is_zero(next), "a frame that fails its CRC");
        }
        Ok(Frame::Record(payload))
    }

    fn end_frame(&self, header: &FrameHeader, payload: &[u8]) -> Result<Frame<'a>, LogError> {
        let Some((&count, next)) = payload.split_first_chunk() else {
            return Ok(Frame::End(Ending::Torn));
        };
        if crc32fast::hash(&count) != header.crc.get() {
            return self.torn_if(is_zero(next), "an end frame that fails its CRC");
        }
        if !next.is_empty() {
            return Err(self.corrupt("bytes after the end frame"));
        }
        if u64::from_le_bytes(count) != self.count {
            return Err(self.corrupt("an end frame that counts other records"));
        }
        Ok(Frame::End(Ending::Sealed))
    }

    fn torn_if(&self, torn: bool, otherwise: &'static str) -> Result<Frame<'a>, LogError> {
        if torn { Ok(Frame::End(Ending::Torn)) } else { Err(self.corrupt(otherwise)) }
    }

    fn corrupt(&self, what: &'static str) -> LogError {
        LogError::Corrupt { offset: self.position as u64, what }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.corrupted || self.ending.is_some() {
            return None;
        }
        match self.frame() {
            Ok(Frame::Record(payload)) => {
                self.position += FRAME_HEADER_BYTES + payload.len();
                self.count += 1;
                Some(Ok(payload))
            }
            Ok(Frame::End(ending)) => {
                self.ending = Some(ending);
                None
            }
            Err(error) => {
                self.corrupted = true;
                Some(Err(error))
            }
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// A segment file in memory, to be read as one kind or whichever it is.
#[derive(Debug)]
pub struct SegmentFile {
    bytes: Vec<u8>,
    sealed_by_name: bool,
}

impl SegmentFile {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let bytes = std::fs::read(path).map_err(LogError::io("read", path))?;
        Ok(Self { bytes, sealed_by_name: path.extension().is_some_and(|extension| extension == "log") })
    }

    /// The records: all of a `.log`, those before a torn tail of an `.open`.
    pub fn records(&self) -> Result<Vec<&[u8]>, LogError> {
        let mut records = Segment::parse(&self.bytes)?.records();
        let read = records.by_ref().collect::<Result<Vec<_>, _>>()?;
        if self.sealed_by_name && records.ending() != Some(Ending::Sealed) {
            return Err(LogError::Unsealed { records: records.count_so_far() });
        }
        Ok(read)
    }

    /// The records, refusing a segment of another kind.
    pub fn records_of(&self, wanted: Kind) -> Result<Vec<&[u8]>, LogError> {
        match Segment::parse(&self.bytes)?.kind() {
            kind if kind == wanted => self.records(),
            kind => Err(LogError::WrongKind { found: kind.name(), wanted: wanted.name() }),
        }
    }
}

/// The records of a segment file: all of a `.log`, those before a torn tail of an `.open`.
pub fn read_segment(path: &Path) -> Result<Vec<Vec<u8>>, LogError> {
    Ok(SegmentFile::read(path)?.records()?.into_iter().map(<[u8]>::to_vec).collect())
}
