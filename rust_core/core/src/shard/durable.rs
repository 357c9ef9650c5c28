//! Files that appear whole or not at all: written under a temporary name, synced, renamed, the folder synced.
//!
//! Assumes a file system where `rename` within a folder is atomic, as POSIX asks.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::shard::error::ShardError;

/// A file in the making. Dropped before [`persist`](StagedFile::persist), it leaves nothing behind.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    persisted: bool,
}

impl StagedFile {
    /// Begins a file that shall appear as `target`, beside which the temporary one lies.
    pub fn create(target: &Path) -> Result<StagedFile, ShardError> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        // The process id keeps two writers apart; a leftover of a killed one with the same id is overwritten.
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = target.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .map_err(|source| ShardError::io(&temporary, source))?;
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
