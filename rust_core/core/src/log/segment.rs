//! One segment as it is written: header, frames, end frame.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::LogError;
use super::thread::LogSettings;
use super::{feedback, record};

/// The version that this build writes, and the newest that it reads.
pub(super) const FORMAT_VERSION: u32 = 2;
pub(super) const MAGIC: [u8; 8] = *b"RAGCLOG\n";
pub(super) const HEADER_BYTES: usize = size_of::<Header>();
pub(super) const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();
pub(super) const END_FRAME_BYTES: usize = FRAME_HEADER_BYTES + 8;
pub(super) const MAX_WRITER_BYTES: usize = 32;

/// What the records of a segment are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[repr(u32)]
pub enum Kind {
    /// Records of calls.
    Candidates = 0,
    /// What users did with a ranking.
    Feedback = 1,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Candidates, Self::Feedback];

    /// The kind of a number in a header.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u32 == number)
    }

    /// The time of a record of this kind.
    pub(super) fn unix_ns(self, payload: &[u8]) -> u64 {
        match self {
            Self::Candidates => record::unix_ns(payload),
            Self::Feedback => feedback::unix_ns(payload),
        }
    }

    /// As messages name it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What tells the segments of one writer apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentName {
    /// Time of the run's first record.
    pub(super) run: u64,
    /// Segments of the run before this one.
    pub(super) sequence: u64,
}

impl SegmentName {
    /// The path of the first name from here on that nothing has yet; moves on behind it.
    fn claim(&mut self, settings: &LogSettings) -> PathBuf {
        loop {
            let Self { run, sequence } = *self;
            let path = settings.folder.join(format!("{}-{run:020}-{sequence:06}.open", settings.writer));
            self.sequence += 1;
            // Sealing renames over what is there, so a name must be free in both of its forms.
            if !path.exists() && !path.with_extension("log").exists() {
                return path;
            }
        }
    }
}

/// See FORMAT.md.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) version: U32,
    /// See [`Kind`]; 0 in version 1.
    pub(super) kind: U32,
    pub(super) created_unix_ns: U64,
    pub(super) writer: [u8; MAX_WRITER_BYTES],
    pub(super) zero_too: U32,
    pub(super) crc: U32,
}

impl Header {
    fn new(writer: &str, kind: Kind, created_unix_ns: u64) -> Self {
        let mut header = Self {
            magic: MAGIC,
            version: U32::new(FORMAT_VERSION),
            kind: U32::new(kind as u32),
            created_unix_ns: U64::new(created_unix_ns),
            writer: padded_writer(writer),
            zero_too: U32::ZERO,
            crc: U32::ZERO,
        };
        header.crc = U32::new(header.computed_crc());
        header
    }

    pub(super) fn computed_crc(&self) -> u32 {
        crc32fast::hash(&self.as_bytes()[..HEADER_BYTES - 4])
    }
}

/// See FORMAT.md.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FrameHeader {
    pub(super) length: U32,
    pub(super) length_check: U32,
    pub(super) crc: U32,
}

impl FrameHeader {
    fn new(length: u32, crc: u32) -> Self {
        Self { length: U32::new(length), length_check: U32::new(!length), crc: U32::new(crc) }
    }
}

pub(super) fn is_writer_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=MAX_WRITER_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

/// A writer's name as headers hold it, padded with zeros.
pub(super) fn padded_writer(name: &str) -> [u8; MAX_WRITER_BYTES] {
    let mut padded = [0; MAX_WRITER_BYTES];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    padded
}

/// The name behind [`padded_writer`].
pub(super) fn writer_of(padded: &[u8; MAX_WRITER_BYTES]) -> String {
    let padding = padded.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&padded[..padding.unwrap_or(padded.len())]).into_owned()
}

/// Appends a frame around the parts of a payload. Its CRC is still to be filled in: the caller's time is dearer than the
/// writing thread's.
pub(super) fn append_frame(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(FrameHeader::new(length as u32, 0).as_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Bytes of the frame that `frames` starts with; `None` when there is no whole one.
pub(super) fn frame_length(frames: &[u8]) -> Option<usize> {
    let (header, rest) = FrameHeader::ref_from_prefix(frames).ok()?;
    let payload = rest.get(..header.length.get() as usize)?;
    Some(FRAME_HEADER_BYTES + payload.len())
}

/// Fills in the CRCs that [`append_frame`] left out.
pub(super) fn complete_frames(mut frames: &mut [u8]) {
    while let Some(length) = frame_length(frames) {
        let (frame, rest) = frames.split_at_mut(length);
        let (header, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
        let length = payload.len() as u32;
        header.copy_from_slice(FrameHeader::new(length, crc32fast::hash(payload)).as_bytes());
        frames = rest;
    }
}

pub(super) fn end_frame(records: u64) -> [u8; END_FRAME_BYTES] {
    let mut frame = [0; END_FRAME_BYTES];
    let (header, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
    payload.copy_from_slice(&records.to_le_bytes());
    header.copy_from_slice(FrameHeader::new(0, crc32fast::hash(payload)).as_bytes());
    frame
}

/// A segment being written, under its `.open` name.
#[derive(Debug)]
pub(super) struct OpenSegment {
    file: File,
    path: PathBuf,
    /// Bytes that are whole frames.
    length: u64,
    records: u64,
    /// A failed write left part of a frame behind.
    torn: bool,
}

impl OpenSegment {
    /// Creates and locks a segment, with its header. Nothing is left behind on failure.
    pub(super) fn create(
        settings: &LogSettings,
        name: &mut SegmentName,
        kind: Kind,
        created_unix_ns: u64,
    ) -> Result<Self, LogError> {
        let path = name.claim(settings);
        let file = File::create_new(&path).map_err(LogError::io("create", &path))?;
        let mut segment = Self { file, path, length: 0, records: 0, torn: false };
        if let Err(error) = segment.begin(&Header::new(&settings.writer, kind, created_unix_ns)) {
            // The first error is the one to report, whether or not the empty file can be removed.
            drop(std::fs::remove_file(&segment.path));
            return Err(error);
        }
        Ok(segment)
    }

    fn begin(&mut self, header: &Header) -> Result<(), LogError> {
        let locked = flock(&self.file, FlockOperation::NonBlockingLockExclusive);
        locked.map_err(|error| LogError::io("lock", &self.path)(error.into()))?;
        // A recovery between the two calls takes an empty file without a lock for one left behind, and removes it.
        let names = self.file.metadata().map_err(LogError::io("look at", &self.path))?.nlink();
        if names == 0 {
            return Err(LogError::io("lock", &self.path)(io::ErrorKind::NotFound.into()));
        }
        self.write(header.as_bytes())?;
        sync_folder(&self.path)
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn has_records(&self) -> bool {
        self.records > 0
    }

    /// True when nothing may be appended any more.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Appends whole frames. After a failure the segment ends where it did before, or is torn.
    pub(super) fn append(&mut self, frames: &[u8], records: u64) -> Result<(), LogError> {
        self.write(frames)?;
        self.records += records;
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(LogError::io("fsync", &self.path))
    }

    /// Completes the segment and gives it its `.log` name.
    pub(super) fn seal(mut self) -> Result<PathBuf, LogError> {
        self.write(&end_frame(self.records))?;
        self.file.sync_all().map_err(LogError::io("fsync", &self.path))?;
        let sealed = self.path.with_extension("log");
        std::fs::rename(&self.path, &sealed).map_err(LogError::io("rename", &self.path))?;
        sync_folder(&sealed)?;
        Ok(sealed)
    }

    /// Removes a segment that holds no records.
    pub(super) fn discard(self) -> Result<(), LogError> {
        std::fs::remove_file(&self.path).map_err(LogError::io("remove", &self.path))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if let Err(error) = self.file.write_all(bytes) {
            self.torn = self.cut_back().is_err();
            return Err(LogError::io("write", &self.path)(error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Drops what a failed write left of a frame, so that the next one starts on a boundary.
    fn cut_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length)).map(drop)
    }
}

/// Makes the names in a file's folder durable.
pub(super) fn sync_folder(file: &Path) -> Result<(), LogError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(LogError::io("fsync", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_lost_its_name_before_it_was_locked_takes_no_records() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("w.open");
        let file = File::create_new(&path).expect("an empty folder");
        let mut segment = OpenSegment { file, path: path.clone(), length: 0, records: 0, torn: false };
        std::fs::remove_file(&path).expect("as a recovery does");
        let error = segment.begin(&Header::new("w", Kind::Candidates, 1)).expect_err("nobody would find the records");
        assert_eq!(error.variant(), "Io");
    }

    #[test]
    fn a_full_disk_is_an_error_of_its_own() {
        let path = PathBuf::from("/dev/full");
        let file = File::options().write(true).open(&path).expect("every Linux has it");
        let mut segment = OpenSegment { file, path, length: 0, records: 0, torn: false };
        let error = segment.append(b"frame", 1).expect_err("a full disk");
        assert_eq!(error.variant(), "DiskFull");
        assert!(!segment.has_records());
        assert!(segment.is_torn(), "a device, unlike a file, cannot be cut back");
    }
}
