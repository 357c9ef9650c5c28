//! Several shards that answer as one: newest first, a newer row hiding an older one, a tombstone hiding both.
//!
//! Assumes that the manifest's shards agree in space, dtype, dim and labels, and that their domain and licence
//! tables are prefixes of one another, so that a code in any record means the same; all of that is checked once,
//! at open. After that nothing here allocates, locks or reads a clock.

use std::path::Path;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::shard::error::ShardError;
use crate::shard::index::Wave;
use crate::shard::layout::{Dtype, RowRecord, StoredBox, fingerprint_hex, hash_of};
use crate::shard::manifest::{Manifest, current_number, shard_path};
use crate::shard::map::prefetch;
use crate::shard::open::Shard;
use crate::shard::row::decode_embedding;

/// A row of a generation. Only good for the generation whose lookup gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Handle(u64);

impl Handle {
    /// No row: an id that no shard holds, or that a tombstone hides.
    pub const UNKNOWN: Handle = Handle(u64::MAX);

    /// The row of a shard, shards counted from the newest.
    #[inline(always)]
    pub const fn new(shard: u32, row: u32) -> Handle {
        Handle((shard as u64) << 32 | row as u64)
    }

    /// The handle behind a number that [`bits`](Handle::bits) gave. Check it with [`Generation::contains`].
    pub const fn from_bits(bits: u64) -> Handle {
        Handle(bits)
    }

    /// `shard << 32 | row`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether there is a row.
    #[inline(always)]
    pub const fn is_known(self) -> bool {
        self.0 != Handle::UNKNOWN.0
    }

    #[inline(always)]
    const fn shard(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline(always)]
    const fn row(self) -> usize {
        self.0 as u32 as usize
    }
}

/// An immutable set of mapped shards in one embedding space.
#[derive(Debug)]
pub struct Generation {
    manifest: Manifest,
    shards: Vec<Shard>,
    /// The shards with the longest tables: they know every code.
    domains_from: usize,
    licences_from: usize,
}

impl Generation {
    /// Opens the numbered generation of a gallery folder, or the one CURRENT names.
    ///
    /// Cheap: headers, bounds and small tables. What it opens has the checksum that the manifest gives.
    pub fn open(gallery: &Path, number: Option<u64>) -> Result<Generation, ShardError> {
        let number = number.map_or_else(|| current_number(gallery), Ok)?;
        let manifest = Manifest::read(gallery, number)?;
        let open = |entry| open_listed(gallery, entry);
        let shards = manifest.shards.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Generation::assemble(manifest, shards)
    }

    /// Puts opened shards together, newest first, refusing those that do not fit.
    pub(crate) fn assemble(manifest: Manifest, shards: Vec<Shard>) -> Result<Generation, ShardError> {
        let longest = |table: fn(&Shard) -> &[String]| {
            // The first of the longest, so that the choice does not depend on how ties are broken.
            (0..shards.len()).rev().max_by_key(|at| table(&shards[*at]).len()).unwrap_or(0)
        };
        let (domains_from, licences_from) = (longest(Shard::domains), longest(Shard::licences));
        for shard in &shards {
            check_same_space(&shards[0], shard)?;
            check_prefix("domain", shard, shard.domains(), shards[domains_from].domains())?;
            check_prefix("licence", shard, shard.licences(), shards[licences_from].licences())?;
        }
        Ok(Generation { manifest, shards, domains_from, licences_from })
    }

    /// Reads every byte of every shard against its checksum and checks that its parts agree.
    pub fn verify(&self) -> Result<(), ShardError> {
        self.shards.iter().try_for_each(Shard::verify)
    }

    /// Reads every byte of the shards that `checked` does not hold against its checksum: what can befall a file
    /// between its writer and here. Far cheaper than [`verify`](Generation::verify), which also doubts the writer.
    pub fn verify_checksums(&self, checked: Option<&Generation>) -> Result<(), ShardError> {
        let known = checked.map_or(&[][..], |generation| &generation.manifest.shards);
        let listed = self.manifest.shards.iter().zip(&self.shards);
        listed.filter(|(entry, _)| !known.contains(entry)).try_for_each(|(_, shard)| shard.verify_checksums())
    }

    /// Touches every page with the CPU; returns the bytes walked. Call before serving.
    pub fn populate(&self) -> u64 {
        self.shards.iter().map(|shard| shard.mapping().populate()).sum()
    }

    /// Share of the mappings in memory, 0..=1.
    pub fn resident(&self) -> f32 {
        let pages = self.shards.iter().map(|shard| shard.mapping().resident_pages());
        let (resident, all) = pages.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
        resident as f32 / all.max(1) as f32
    }

    /// Finds each id: `out` holds a handle for each, in order, and nothing else.
    ///
    /// Does not allocate when `out` has the capacity. The records of the rows found are on their way into cache.
    pub fn lookup<'a>(&self, ids: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<Handle>) {
        self.lookup_hashed(ids.map(|id| (id, hash_of(id))), out);
    }

    /// The same for ids that come with their xxh3-64 (seed 0), as a request's do.
    pub fn lookup_hashed<'a>(&self, mut ids: impl ExactSizeIterator<Item = (&'a [u8], u64)>, out: &mut Vec<Handle>) {
        out.clear();
        out.reserve(ids.len());
        let mut wave = Wave::new();
        while wave.refill(&mut ids) {
            for (number, shard) in self.shards.iter().enumerate() {
                wave.search(number as u32, &shard.index());
                if wave.is_settled() {
                    break;
                }
            }
            out.extend(wave.rows().iter().map(|found| self.serving_handle(*found)));
        }
    }

    #[inline(always)]
    fn serving_handle(&self, found: Option<(u32, u32)>) -> Handle {
        let Some((shard, row)) = found else {
            return Handle::UNKNOWN;
        };
        let handle = Handle::new(shard, row);
        // Shards without tombstones, nearly all of them, do not wait for the record to arrive.
        let tombstones = self.shards[handle.shard()].header().deleted_rows > 0;
        if tombstones && self.record(handle).is_deleted() { Handle::UNKNOWN } else { handle }
    }

    /// Whether the handle names a row: true for every known handle that this generation's lookup gave.
    pub fn contains(&self, handle: Handle) -> bool {
        self.shards.get(handle.shard()).is_some_and(|shard| handle.row() < shard.rows())
    }

    /// The record of a row. Panics for a handle that this generation does not [`contain`](Generation::contains).
    #[inline(always)]
    pub fn record(&self, handle: Handle) -> &RowRecord {
        &self.shards[handle.shard()].records[handle.row()]
    }

    /// The stored embedding of a row, [`stride`](Generation::stride) bytes; zeros where it has none. Panics as `record`.
    #[inline(always)]
    pub fn embedding(&self, handle: Handle) -> &[u8] {
        self.shards[handle.shard()].embedding(handle.row())
    }

    /// The embedding of a row as numbers, `(dim,)`; zeros where it has none. Panics as `record`.
    pub fn embedding_f32(&self, handle: Handle) -> Vec<f32> {
        decode_embedding(self.embedding(handle), self.dim(), self.dtype(), self.record(handle).scale)
    }

    /// Asks for a row's record. A stray handle is harmless and does nothing useful.
    #[inline(always)]
    pub fn prefetch_record(&self, handle: Handle) {
        if let Some(shard) = self.shards.get(handle.shard()) {
            prefetch(&shard.records, handle.row());
        }
    }

    /// The boxes of a row by falling confidence. Panics as `record`.
    #[inline]
    pub fn boxes(&self, handle: Handle) -> &[StoredBox] {
        self.shards[handle.shard()].boxes(handle.row())
    }

    /// The perceptual hash of a row, 0 for none. Panics as `record`.
    pub fn phash(&self, handle: Handle) -> u64 {
        self.shards[handle.shard()].phash(handle.row())
    }

    /// The id of a row. Panics as `record`.
    pub fn id(&self, handle: Handle) -> &[u8] {
        self.shards[handle.shard()].id(handle.row())
    }

    /// The rows that serve, newest shard first: no tombstones, nothing that a newer shard hides.
    pub fn live_rows(&self) -> impl Iterator<Item = Handle> + '_ {
        let handles = (0..self.shards.len()).flat_map(|shard| {
            let rows = self.shards[shard].rows() as u32;
            (0..rows).map(move |row| Handle::new(shard as u32, row))
        });
        handles.filter(|handle| !self.record(*handle).is_deleted() && !self.is_hidden(*handle))
    }

    /// Whether a newer shard holds the row's id too.
    fn is_hidden(&self, handle: Handle) -> bool {
        let newer = &self.shards[..handle.shard()];
        let id = self.id(handle);
        !newer.is_empty() && newer.iter().any(|shard| shard.index().row_of(id).is_some())
    }

    /// Number of the manifest.
    pub fn number(&self) -> u64 {
        self.manifest.number
    }

    /// Rows that serve, as counted when the generation was published.
    pub fn rows(&self) -> u64 {
        self.manifest.rows
    }

    /// Length of all shard files together.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.header().file_bytes).sum()
    }

    /// Values of one embedding.
    pub fn dim(&self) -> usize {
        self.shards[0].header().dim as usize
    }

    /// How embeddings are stored.
    pub fn dtype(&self) -> Dtype {
        self.shards[0].dtype()
    }

    /// Bytes of a stored embedding, padding included.
    pub fn stride(&self) -> usize {
        self.shards[0].stride
    }

    /// 32 hex digits that name the embedding space.
    pub fn space_fingerprint(&self) -> &str {
        &self.manifest.space
    }

    /// Canonical JSON of the embedding space.
    pub fn space_json(&self) -> &str {
        self.shards[0].space_json()
    }

    /// The detector's labels, in id order.
    pub fn labels(&self) -> &[String] {
        self.shards[0].labels()
    }

    /// `(labels, dim)`, unit rows.
    pub fn label_embeddings(&self) -> &[f32] {
        self.shards[0].label_embeddings()
    }

    /// Names of the domain codes.
    pub fn domains(&self) -> &[String] {
        self.shards[self.domains_from].domains()
    }

    /// Names of the licence codes.
    pub fn licences(&self) -> &[String] {
        self.shards[self.licences_from].licences()
    }

    /// The shards, newest first.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// What was published.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

fn open_listed(gallery: &Path, entry: &crate::shard::manifest::ShardEntry) -> Result<Shard, ShardError> {
    let shard = Shard::open(&shard_path(gallery, &entry.file))?;
    let found = shard.header().checksum;
    if entry.checksum != format!("{found:016x}") {
        return Err(ShardError::ChecksumMismatch {
            path: shard.path().to_path_buf(),
            section: "header",
            found,
            wanted: u64::from_str_radix(&entry.checksum, 16).unwrap_or_default(),
        });
    }
    Ok(shard)
}

fn check_same_space(newest: &Shard, shard: &Shard) -> Result<(), ShardError> {
    let path = || shard.path().to_path_buf();
    if shard.header().space != newest.header().space {
        return Err(ShardError::SpaceMismatch {
            path: path(),
            found: fingerprint_hex(&shard.header().space),
            wanted: fingerprint_hex(&newest.header().space),
        });
    }
    let form = |shard: &Shard| format!("{} x {}", shard.header().dim, shard.dtype().name());
    if form(shard) != form(newest) {
        return Err(ShardError::DtypeMismatch { path: path(), found: form(shard), wanted: form(newest) });
    }
    check_same_labels(newest, shard)
}

fn check_same_labels(newest: &Shard, shard: &Shard) -> Result<(), ShardError> {
    let mismatch = |position| ShardError::LabelsMismatch { path: shard.path().to_path_buf(), position };
    if shard.labels() != newest.labels() {
        let same = shard.labels().iter().zip(newest.labels()).take_while(|(a, b)| a == b).count();
        return Err(mismatch(same));
    }
    // Bits, not numbers: the same labels embedded by the same model.
    let bits = |shard: &Shard| shard.label_embeddings().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    match bits(shard).iter().zip(bits(newest)).position(|(a, b)| *a != b) {
        Some(value) => Err(mismatch(value / newest.header().dim as usize)),
        None => Ok(()),
    }
}

fn check_prefix(table: &'static str, shard: &Shard, names: &[String], longest: &[String]) -> Result<(), ShardError> {
    match names.iter().zip(longest).position(|(a, b)| a != b) {
        Some(code) => Err(ShardError::CodesMismatch {
            path: shard.path().to_path_buf(),
            table,
            code,
            found: names[code].clone(),
            wanted: longest[code].clone(),
        }),
        None => Ok(()),
    }
}
