//! How many records were offered, in a small file that outlives the process: what is missing from the sealed segments
//! is lost, whoever died. FORMAT.md has the bytes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::LogError;
use super::page::{CounterPage, PAGE_BYTES};
use super::segment::{MAX_WRITER_BYTES, padded_writer, writer_of};

/// The version that this build writes, and the newest that it reads.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"RAGCNTS\n";
/// Words of the page, see FORMAT.md.
const OFFERED: usize = 8;
const CLOSED: usize = OFFERED + 4;

/// One number for each arm that the hash can assign, and one for calls without a plan to assign by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the arms are those of `Arm`")]
pub struct ByArm {
    pub unassigned: u64,
    pub control: u64,
    pub treatment: u64,
    pub not_enrolled: u64,
}

impl ByArm {
    /// From values in the order of `ra_guard.v1.Arm`, with 0 for no arm.
    pub(super) fn from_wire_order([unassigned, control, treatment, not_enrolled]: [u64; 4]) -> Self {
        Self { unassigned, control, treatment, not_enrolled }
    }

    /// The values in the order of `ra_guard.v1.Arm`, with 0 for no arm.
    pub fn in_wire_order(&self) -> [u64; 4] {
        [self.unassigned, self.control, self.treatment, self.not_enrolled]
    }
}

/// See FORMAT.md.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Page {
    header: Header,
    offered: [U64; 4],
    closed: U64,
    zeros: [u8; PAGE_BYTES - 104],
}

#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U32,
    zero: U32,
    run: U64,
    writer: [u8; MAX_WRITER_BYTES],
    zero_too: U32,
    crc: U32,
}

const _: () = assert!(size_of::<Page>() == PAGE_BYTES && size_of::<Header>() == OFFERED * 8);

impl Header {
    fn new(writer: &str, run: u64) -> Self {
        let mut header = Self {
            magic: MAGIC,
            version: U32::new(VERSION),
            zero: U32::ZERO,
            run: U64::new(run),
            writer: padded_writer(writer),
            zero_too: U32::ZERO,
            crc: U32::ZERO,
        };
        header.crc = U32::new(header.computed_crc());
        header
    }

    fn computed_crc(&self) -> u32 {
        crc32fast::hash(&self.as_bytes()[..size_of::<Self>() - 4])
    }
}

/// The counts of a run, being counted.
#[derive(Debug)]
pub(super) struct CountsFile {
    page: CounterPage,
    /// Holds the lock that tells a living writer from a dead one.
    file: File,
    path: PathBuf,
    run: u64,
}

impl CountsFile {
    /// Creates, locks and maps the counts of a run that begins at `unix_ns`, or at the first nanosecond after it that no
    /// other run of this writer began at. Nothing is left behind on failure.
    pub(super) fn create(folder: &Path, writer: &str, unix_ns: u64, offered: [u64; 4]) -> Result<Self, LogError> {
        let mut run = unix_ns;
        let (file, path) = loop {
            let path = folder.join(format!("{writer}-{run:020}.counts"));
            match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => break (file, path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => run = run.wrapping_add(1),
                Err(error) => return Err(LogError::io("create", &path)(error)),
            }
        };
        Self::begin(file, &path, writer, run, offered).inspect_err(|_| {
            // The first error is the one to report, whether or not the empty file can be removed.
            drop(std::fs::remove_file(&path));
        })
    }

    fn begin(mut file: File, path: &Path, writer: &str, run: u64, offered: [u64; 4]) -> Result<Self, LogError> {
        let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        locked.map_err(|error| LogError::io("lock", path)(error.into()))?;
        let page = Page {
            header: Header::new(writer, run),
            offered: offered.map(U64::new),
            closed: U64::ZERO,
            zeros: [0; PAGE_BYTES - 104],
        };
        file.write_all(page.as_bytes()).map_err(LogError::io("write", path))?;
        let page = CounterPage::map(&file).map_err(LogError::io("map", path))?;
        Ok(Self { page, file, path: path.to_owned(), run })
    }

    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// Counts one record, by the number of its arm below 4.
    pub(super) fn offer(&self, arm: usize) {
        add_le(self.page.word(OFFERED + arm));
    }

    pub(super) fn offered(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|arm| u64::from_le(self.page.word(OFFERED + arm).load(Ordering::Relaxed)))
    }

    /// Puts the counts on disk, for the day that the machine dies with the process.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file.sync_all().map_err(LogError::io("fsync", &self.path))
    }

    /// Says that the writer came to its end and sealed what it held.
    pub(super) fn close(&self) -> Result<(), LogError> {
        self.page.word(CLOSED).store(1_u64.to_le(), Ordering::Release);
        self.sync()
    }
}

impl Drop for CountsFile {
    fn drop(&mut self) {
        // Said aloud: a child that is being forked meanwhile shares the lock until it runs its own program.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Adds one to a number that is stored in little-endian order.
#[inline]
fn add_le(word: &AtomicU64) {
    if cfg!(target_endian = "little") {
        word.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let next = |stored: u64| Some(u64::from_le(stored).wrapping_add(1).to_le());
    let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
}

/// What a counts file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Name of the writer.
    pub writer: String,
    /// Time of the run's first record, as in the names of its segments.
    pub run: u64,
    /// The writer came to its end and sealed what it held.
    pub closed: bool,
    /// Records offered so far, by assigned arm.
    pub offered: ByArm,
}

impl Counts {
    /// Reads a whole counts file.
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        let magic = bytes.len().min(MAGIC.len());
        if bytes[..magic] != MAGIC[..magic] {
            return Err(LogError::NotCounts);
        }
        let Ok((page, rest)) = Page::ref_from_prefix(bytes) else {
            return Err(LogError::TornCounts { found: bytes.len() });
        };
        let header = &page.header;
        if header.version.get() > VERSION {
            let (found, supported) = (header.version.get(), VERSION);
            return Err(LogError::FutureVersion { what: "counts", found, supported });
        }
        if header.crc.get() != header.computed_crc() || header.version.get() == 0 {
            return Err(LogError::Corrupt { offset: 0, what: "counts whose header fails its CRC" });
        }
        if !rest.is_empty() {
            return Err(LogError::Corrupt { offset: PAGE_BYTES as u64, what: "bytes after the page of counts" });
        }
        Ok(Self {
            writer: writer_of(&header.writer),
            run: header.run.get(),
            closed: page.closed.get() != 0,
            offered: ByArm::from_wire_order(page.offered.map(U64::get)),
        })
    }
}

/// Whether a counts file's writer lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// It holds the file: the counts go on.
    Alive,
    /// Nobody holds the file: the counts are final, but for a machine that died before they were on disk.
    Gone,
}

/// Reads the counts of a run, and whether its writer lives.
pub fn read_counts(path: &Path) -> Result<(Counts, Writing), LogError> {
    let file = File::open(path).map_err(LogError::io("open", path))?;
    // The lock is taken before the page is written, so a page that holds was locked before it was read. Asked before
    // reading: counts read after their writer's end are final.
    let bytes = std::fs::read(path).map_err(LogError::io("read", path))?;
    Counts::parse(&bytes)?;
    let writing = match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Writing::Gone,
        Err(_) => Writing::Alive,
    };
    let bytes = std::fs::read(path).map_err(LogError::io("read", path))?;
    Ok((Counts::parse(&bytes)?, writing))
}
