//! Files that appear whole or not at all: written under a temporary name, synced, renamed, the folder synced.
//!
//! Assumes a file system where `rename` within a folder is atomic, as POSIX asks.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FlockOperation, fadvise, flock};

use crate::shard::error::ShardError;

/// End of the name of a file in the making. No reader opens such a file.
const TEMPORARY: &str = ".tmp";

/// A file in the making. Dropped before [`persist`](StagedFile::persist), it leaves nothing behind.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    persisted: bool,
}

impl StagedFile {
    /// Begins a file that shall appear as `target`, beside which the temporary one lies, locked while it is written.
    pub fn create(target: &Path) -> Result<StagedFile, ShardError> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        // The process id keeps two writers apart.
        name.push(format!(".{}{TEMPORARY}", std::process::id()));
        let temporary = target.with_file_name(name);
        let file = create_locked(&temporary)?;
        Ok(StagedFile { file, temporary, target: target.to_path_buf(), persisted: false })
    }

    /// Writes all of `bytes` at `offset`. After an error the file's contents there are undefined; writing again heals it.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), ShardError> {
        self.file.write_all_at(bytes, offset).map_err(|source| ShardError::io(&self.temporary, source))
    }

    /// Cuts the file, or extends it with zeros.
    pub fn set_len(&self, length: u64) -> Result<(), ShardError> {
        self.file.set_len(length).map_err(|source| ShardError::io(&self.temporary, source))
    }

    /// Syncs the contents, gives the file its final name, and syncs the folder.
    pub fn persist(mut self) -> Result<(), ShardError> {
        let fail = |source| ShardError::io(&self.temporary, source);
        self.file.sync_all().map_err(fail)?;
        // Writing left small pages in the page cache; without them, readers get the large ones they ask for. A hint.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        std::fs::rename(&self.temporary, &self.target).map_err(fail)?;
        self.persisted = true;
        sync_folder_of(&self.target)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.persisted {
            // Nothing is lost when this fails: the leftover has a temporary name that no reader opens.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Puts `contents` at `path` in one step, replacing what is there.
pub fn replace_file(path: &Path, contents: &[u8]) -> Result<(), ShardError> {
    let staged = StagedFile::create(path)?;
    staged.write_at(contents, 0)?;
    staged.persist()
}

/// Removes what killed writers left in a folder: temporary files that no living process has locked.
pub fn sweep_leftovers(folder: &Path) -> Result<(), ShardError> {
    let entries = std::fs::read_dir(folder).map_err(|source| ShardError::io(folder, source))?;
    for entry in entries {
        let path = entry.map_err(|source| ShardError::io(folder, source))?.path();
        if !path.as_os_str().as_encoded_bytes().ends_with(TEMPORARY.as_bytes()) {
            continue;
        }
        // Each of these may fail because the file's writer just finished: then there is nothing to sweep.
        if let Ok(file) = File::open(&path)
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Creates an empty file and locks it, so that [`sweep_leftovers`] knows that somebody is writing it.
fn create_locked(path: &Path) -> Result<File, ShardError> {
    let fail = |source| ShardError::io(path, source);
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(fail)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| fail(errno.into()))?;
        // A sweep between the two calls has taken the name away: a file without a name cannot be renamed.
        if file.metadata().map_err(fail)?.nlink() > 0 {
            file.set_len(0).map_err(fail)?;
            return Ok(file);
        }
    }
}

/// Makes the names in the folder of `path` survive a crash.
fn sync_folder_of(path: &Path) -> Result<(), ShardError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| ShardError::io(folder, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_room_is_a_full_disk() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut staged = StagedFile::create(&folder.path().join("a.shard")).expect("an empty folder");
        staged.file = OpenOptions::new().write(true).open("/dev/full").expect("the device that is always full");
        let error = staged.write_at(b"x", 0).expect_err("no room");
        assert_eq!(error.variant(), "DiskFull");
        drop(staged);
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }
}
