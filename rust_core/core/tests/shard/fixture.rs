//! Small galleries with plausible rows, made from a seed.

use std::path::{Path, PathBuf};

use ra_guard_core::detection::Detection;
use ra_guard_core::shard::{Dtype, Generation, Row, ShardError, ShardSpec, ShardWriter, publish_manifest};

/// A row that owns what [`Row`] borrows.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedRow {
    pub id: Vec<u8>,
    pub domain: u8,
    pub licence: u8,
    pub phash: u64,
    pub embedding: Option<Vec<f32>>,
    pub detections: Option<Vec<Detection>>,
}

impl OwnedRow {
    pub fn borrow(&self) -> Row<'_> {
        Row {
            id: &self.id,
            domain: self.domain,
            licence: self.licence,
            phash: self.phash,
            embedding: self.embedding.as_deref(),
            detections: self.detections.as_deref(),
        }
    }
}

/// SplitMix64: the same numbers on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

pub fn unit_vector(random: &mut Random, dim: usize) -> Vec<f32> {
    let raw: Vec<f32> = (0..dim).map(|_| random.unit() - 0.5).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / norm).collect()
}

pub fn spec(dim: usize, dtype: Dtype) -> ShardSpec {
    let labels: Vec<String> = ["person", "dog", "wine glass", "tie"].map(String::from).into();
    let mut random = Random(7);
    ShardSpec {
        dim,
        dtype,
        space_json: format!(r#"{{"cosine_range":[0.0,1.0],"dim":{dim},"name":"test"}}"#),
        label_embeddings: labels.iter().flat_map(|_| unit_vector(&mut random, dim)).collect(),
        labels,
        domains: vec!["photos".into(), "art".into()],
        licences: vec!["".into(), "CC-BY".into()],
    }
}

pub fn detection(random: &mut Random) -> Detection {
    let (x0, y0) = (random.unit() * 0.5, random.unit() * 0.5);
    Detection {
        label: random.below(4) as u16,
        confidence: random.unit(),
        corners: [x0, y0, x0 + 0.1 + random.unit() * 0.3, y0 + 0.1 + random.unit() * 0.3],
    }
}

/// Row `number`, with an embedding and detections or without, as the number says.
pub fn row(random: &mut Random, number: usize, dim: usize) -> OwnedRow {
    OwnedRow {
        id: format!("image-{number:04}").into_bytes(),
        domain: random.below(2) as u8,
        licence: random.below(2) as u8,
        phash: random.next(),
        embedding: (number % 5 != 4).then(|| unit_vector(random, dim)),
        detections: (number % 3 != 2).then(|| (0..number % 4).map(|_| detection(random)).collect()),
    }
}

pub fn rows(seed: u64, count: usize, dim: usize) -> Vec<OwnedRow> {
    let mut random = Random(seed);
    (0..count).map(|number| row(&mut random, number, dim)).collect()
}

pub fn write(path: &Path, spec: ShardSpec, rows: &[OwnedRow]) -> Result<(u64, u64), ShardError> {
    let mut writer = ShardWriter::create(path, spec)?;
    for row in rows {
        writer.push(row.borrow())?;
    }
    writer.finish().map(|written| (written.rows, written.bytes))
}

/// A gallery folder that vanishes with the value.
pub struct Gallery {
    folder: tempfile::TempDir,
}

impl Gallery {
    pub fn new() -> Gallery {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("shards")).unwrap();
        Gallery { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn shard(&self, name: &str) -> PathBuf {
        self.path().join("shards").join(name)
    }

    pub fn add(&self, name: &str, spec: ShardSpec, rows: &[OwnedRow]) {
        write(&self.shard(name), spec, rows).unwrap();
    }

    pub fn publish(&self, names: &[&str]) -> Result<u64, ShardError> {
        publish_manifest(self.path(), names, 1_700_000_000)
    }

    pub fn open(&self) -> Generation {
        Generation::open(self.path(), None).unwrap()
    }
}

/// The name of the refusal, or "accepted".
pub fn refusal<T>(outcome: Result<T, ShardError>) -> &'static str {
    outcome.map_or_else(|error| error.variant(), |_| "accepted")
}
