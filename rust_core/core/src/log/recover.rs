//! Makes a sealed segment of one that its writer left behind.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::LogError;
use super::read::Segment;
use super::segment::{end_frame, sync_folder};

/// Seals the intact records of an `.open` segment under its `.log` name, which is returned; `None` when it held none.
///
/// The `.open` file is never changed, only removed once the sealed one is on disk. A segment whose writer is alive, and
/// one that is corrupt before its tail, are refused and left as they are.
pub fn recover(path: &Path) -> Result<Option<PathBuf>, LogError> {
    if path.extension().is_none_or(|extension| extension != "open") {
        return Err(LogError::NotOpen { path: path.to_owned() });
    }
    let file = File::open(path).map_err(LogError::io("open", path))?;
    // Held until the file is gone, so that two recoveries do not meet.
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(LogError::InUse { path: path.to_owned() });
    }
    let bytes = std::fs::read(path).map_err(LogError::io("read", path))?;
    let sealed = match sealed_bytes(&bytes)? {
        Some(sealed) => Some(publish(path, &sealed)?),
        None => None,
    };
    std::fs::remove_file(path).map_err(LogError::io("remove", path))?;
    sync_folder(path)?;
    Ok(sealed)
}

/// The intact records with an end frame; `None` when there are none.
fn sealed_bytes(bytes: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
    let segment = match Segment::parse(bytes) {
        Err(LogError::TornHeader { .. }) => return Ok(None),
        parsed => parsed?,
    };
    let mut records = segment.records();
    records.by_ref().try_for_each(|record| record.map(drop))?;
    if records.count_so_far() == 0 {
        return Ok(None);
    }
    let mut sealed = bytes[..records.intact_bytes()].to_vec();
    sealed.extend_from_slice(&end_frame(records.count_so_far()));
    Ok(Some(sealed))
}

fn publish(open: &Path, sealed: &[u8]) -> Result<PathBuf, LogError> {
    let (temporary, target) = (open.with_extension("recovering"), open.with_extension("log"));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(sealed)?;
        file.sync_all()
    });
    written.map_err(LogError::io("write", &temporary))?;
    std::fs::rename(&temporary, &target).map_err(LogError::io("rename", &temporary))?;
    sync_folder(&target)?;
    Ok(target)
}

/// What became of the segments that writers left behind in a folder.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Segments sealed.
    pub sealed: Vec<PathBuf>,
    /// Segments left as they are, and why. Those whose writer is alive are not among them.
    pub refused: Vec<LogError>,
}

/// Recovers every `.open` segment of a folder whose writer is gone. A folder that does not exist holds none.
pub fn recover_folder(folder: &Path) -> Result<Recovered, LogError> {
    let mut recovered = Recovered::default();
    if !folder.is_dir() {
        return Ok(recovered);
    }
    for entry in std::fs::read_dir(folder).map_err(LogError::io("list", folder))? {
        let path = entry.map_err(LogError::io("list", folder))?.path();
        match recover(&path) {
            Ok(sealed) => recovered.sealed.extend(sealed),
            Err(LogError::NotOpen { .. } | LogError::InUse { .. }) => {}
            // Another process sealed it, or recovered it, while we looked.
            Err(LogError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => recovered.refused.push(error),
        }
    }
    recovered.sealed.sort();
    Ok(recovered)
}
