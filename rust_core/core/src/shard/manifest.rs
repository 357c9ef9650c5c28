//! Generations on disk: a manifest for each, CURRENT for the one to serve, LOCK for the one publisher.
//!
//! ```text
//! CURRENT                       "7\n"
//! LOCK                          held with flock by the publisher
//! generations/0000000007.json   one manifest each, never changed
//! shards/<name>.shard           never changed, shared by generations
//! ```
//!
//! Publishing writes in this order, each step durable before the next: shards, manifest, CURRENT. A process killed
//! anywhere leaves CURRENT on the old generation or on the new one, both whole. A manifest that CURRENT never came
//! to name is left over; its number is not given out again.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::shard::durable::{replace_file, sweep_leftovers};
use crate::shard::error::ShardError;
use crate::shard::generation::Generation;
use crate::shard::layout::fingerprint_hex;
use crate::shard::open::Shard;

/// What a generation consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's layout: 1.
    pub format: u32,
    /// Rises with every publication.
    pub number: u64,
    /// Seconds since 1970-01-01 UTC, from the publisher's clock.
    pub created_unix_s: u64,
    /// Fingerprint of the embedding space, 32 hex digits.
    pub space: String,
    /// Rows that serve: no tombstones, nothing hidden by a newer shard.
    pub rows: u64,
    /// Newest first.
    pub shards: Vec<ShardEntry>,
    /// 16 hex digits: xxh3-64 of this JSON with an empty string here.
    pub checksum: String,
}

/// One shard of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Name in the folder `shards`.
    pub file: String,
    /// Rows, tombstones included.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
    /// 16 hex digits: the checksum of the shard's header, which covers those of its sections.
    pub checksum: String,
}

const FORMAT: u32 = 1;
/// The folders of a gallery that are written to; the first is the gallery itself.
const FOLDERS: [&str; 3] = ["", "generations", "shards"];

impl Manifest {
    /// Reads and checks the manifest of a generation.
    pub fn read(gallery: &Path, number: u64) -> Result<Manifest, ShardError> {
        let path = manifest_path(gallery, number);
        let bytes = std::fs::read(&path).map_err(|source| ShardError::io(&path, source))?;
        let bad = |cause: String| ShardError::BadManifest { path: path.clone(), cause };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if manifest.sealed_json()? != bytes {
            return Err(bad("the checksum does not fit the contents".into()));
        }
        if manifest.format != FORMAT {
            return Err(bad(format!("found format {}, wanted {FORMAT}", manifest.format)));
        }
        if manifest.number != number {
            return Err(bad(format!("found number {}, wanted {number}", manifest.number)));
        }
        if manifest.shards.is_empty() {
            return Err(bad("found no shards, wanted at least one".into()));
        }
        match manifest.shards.iter().find(|entry| !is_file_name(&entry.file)) {
            Some(entry) => Err(bad(format!("found shard name {:?}, wanted a plain file name", entry.file))),
            None => Ok(manifest),
        }
    }

    /// The file's bytes: compact JSON with the checksum of itself, and a newline.
    fn sealed_json(&self) -> Result<Vec<u8>, ShardError> {
        let mut sealed = Manifest { checksum: String::new(), ..self.clone() };
        let open = sealed.to_json()?;
        sealed.checksum = format!("{:016x}", xxh3_64(open.as_bytes()));
        Ok((sealed.to_json()? + "\n").into_bytes())
    }

    fn to_json(&self) -> Result<String, ShardError> {
        serde_json::to_string(self)
            .map_err(|error| ShardError::BadManifest { path: PathBuf::new(), cause: error.to_string() })
    }
}

/// The right to publish in a gallery, until it is dropped.
#[derive(Debug)]
pub struct PublisherLock {
    gallery: PathBuf,
    /// Closing it releases the lock, also when the process is killed.
    _file: File,
}

impl PublisherLock {
    /// Takes the lock, or fails at once with [`ShardError::Locked`]. Creates the gallery's folders.
    pub fn acquire(gallery: &Path) -> Result<PublisherLock, ShardError> {
        for folder in FOLDERS.map(|folder| gallery.join(folder)) {
            std::fs::create_dir_all(&folder).map_err(|source| ShardError::io(&folder, source))?;
        }
        let path = gallery.join("LOCK");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| ShardError::io(&path, source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(PublisherLock { gallery: gallery.to_path_buf(), _file: file }),
            Err(Errno::WOULDBLOCK) => Err(ShardError::Locked { path }),
            Err(errno) => Err(ShardError::io(&path, errno.into())),
        }
    }

    /// Writes the next manifest over shard files (names in `shards/`, newest first), points CURRENT at it, and
    /// returns its number.
    ///
    /// The shards must fit together as [`Generation::open`] asks; nothing is published otherwise. Temporary files that
    /// killed writers left in the gallery are removed.
    pub fn publish(&self, shards: &[impl AsRef<str>], created_unix_s: u64) -> Result<u64, ShardError> {
        let number = last_number(&self.gallery)? + 1;
        let path = manifest_path(&self.gallery, number);
        let generation = self.draft(&path, number, shards, created_unix_s)?;
        let mut manifest = generation.manifest().clone();
        manifest.rows = generation.live_rows().count() as u64;
        replace_file(&path, &manifest.sealed_json()?)?;
        replace_file(&self.gallery.join("CURRENT"), format!("{number}\n").as_bytes())?;
        for folder in FOLDERS {
            // The generation is published whatever becomes of the litter; the next publisher sweeps again.
            let _ = sweep_leftovers(&self.gallery.join(folder));
        }
        Ok(number)
    }

    /// The generation as it would be, opened and checked, with its rows not yet counted.
    fn draft(
        &self,
        path: &Path,
        number: u64,
        shards: &[impl AsRef<str>],
        created_unix_s: u64,
    ) -> Result<Generation, ShardError> {
        let bad = |cause: String| ShardError::BadManifest { path: path.to_path_buf(), cause };
        let names: Vec<&str> = shards.iter().map(AsRef::as_ref).collect();
        if let Some(name) = names.iter().find(|name| !is_file_name(name)) {
            return Err(bad(format!("found shard name {name:?}, wanted the name of a file in the folder shards")));
        }
        if let Some(at) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            return Err(bad(format!("found shard {:?} twice, wanted each once", names[at])));
        }
        let open = |name: &&str| Shard::open(&shard_path(&self.gallery, name));
        let shards = names.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let newest = shards.first().ok_or_else(|| bad("found no shards, wanted at least one".into()))?;
        let manifest = Manifest {
            format: FORMAT,
            number,
            created_unix_s,
            space: fingerprint_hex(&newest.header().space),
            rows: 0,
            shards: names.iter().zip(&shards).map(|(name, shard)| entry(name, shard)).collect(),
            checksum: String::new(),
        };
        Generation::assemble(manifest, shards)
    }
}

/// Takes the lock, publishes, and releases it. See [`PublisherLock::publish`].
pub fn publish_manifest(gallery: &Path, shards: &[impl AsRef<str>], created_unix_s: u64) -> Result<u64, ShardError> {
    PublisherLock::acquire(gallery)?.publish(shards, created_unix_s)
}

/// The number in CURRENT.
pub fn current_number(gallery: &Path) -> Result<u64, ShardError> {
    let path = gallery.join("CURRENT");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ShardError::NoGeneration { gallery: gallery.to_path_buf() });
        }
        Err(source) => return Err(ShardError::io(&path, source)),
    };
    text.trim_end().parse().map_err(|_| ShardError::BadManifest {
        path,
        cause: format!("found {text:?}, wanted the number of a generation"),
    })
}

/// Where a shard of a gallery lies.
pub fn shard_path(gallery: &Path, file: &str) -> PathBuf {
    gallery.join("shards").join(file)
}

fn manifest_path(gallery: &Path, number: u64) -> PathBuf {
    gallery.join("generations").join(format!("{number:010}.json"))
}

/// The highest number ever given to a manifest, 0 before the first.
fn last_number(gallery: &Path) -> Result<u64, ShardError> {
    let folder = gallery.join("generations");
    let entries = std::fs::read_dir(&folder).map_err(|source| ShardError::io(&folder, source))?;
    let mut last = 0;
    for entry in entries {
        let name = entry.map_err(|source| ShardError::io(&folder, source))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|stem| stem.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

fn entry(name: &str, shard: &Shard) -> ShardEntry {
    ShardEntry {
        file: name.to_owned(),
        rows: shard.header().rows,
        bytes: shard.header().file_bytes,
        checksum: format!("{:016x}", shard.header().checksum),
    }
}

/// Whether the name stays in its folder.
fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|file| file == name) && !name.contains('/')
}
