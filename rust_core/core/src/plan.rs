//! The plan in force: what a replica knows about the experiment.
//!
//! A plan is immutable. It arrives sealed: the bytes as they were published and their checksum, never encoded
//! again. [`PlanCell`] swaps it whole, never to a lower revision, and remembers when the control plane last confirmed
//! it; without contact for the plan's lease, treatment stops.

mod cell;
mod error;

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

pub use cell::{InForce, PlanCell};
pub use error::PlanError;

use crate::assign::{Arm, CONTROL_START, Seed};
use crate::interleave::{Coins, DraftSeed};
use crate::limits::MAX_NAME_BYTES;
use crate::score::Weights;
use crate::wire::check_fingerprint;
use crate::wire::reader::{Reader, WireType};
use crate::wire::writer::Writer;

/// Bytes of an experiment key, and of a salt, at most.
pub const MAX_KEY_BYTES: usize = 64;
/// Seconds of a lease, at most (at least 1).
pub const MAX_LEASE_S: u32 = 3600;

/// What is done for the users of both arms: `ra_guard.v1.Mode`. Everyone else is served the baseline in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Treatment is served the reranked order, control the baseline.
    Ab = 1,
    /// Both arms are scored as treatment would be, and served the baseline.
    Shadow = 2,
    /// Both arms are served a team draft of the baseline and the reranked order.
    Interleaving = 3,
    /// Both arms are served the reranked order: at a ramp of 5000, everyone.
    Rollout = 4,
}

impl Mode {
    /// Every mode, in the order of its number on the wire, which starts at 1.
    pub const ALL: [Self; 4] = [Self::Ab, Self::Shadow, Self::Interleaving, Self::Rollout];

    /// The mode of a number on the wire, where 0, "unspecified", means A/B.
    pub fn from_wire(number: u64) -> Option<Self> {
        let number = number.max(Self::Ab as u64);
        Self::ALL.into_iter().find(|&mode| mode as u64 == number)
    }
}

/// A validated plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// 1 or more.
    pub revision: u64,
    /// 1..=64 bytes of `[A-Za-z0-9_.-]`.
    pub experiment_key: String,
    /// Up to 64 bytes; changes with every epoch.
    pub salt: String,
    /// Buckets in each arm, `0..=5000` of 10,000.
    pub ramp_bp: u16,
    /// Everyone is served the baseline.
    pub killed: bool,
    /// Seconds that treatment may go on without contact, `1..=3600`.
    pub lease_s: u32,
    /// What is done for enrolled users.
    pub mode: Mode,
    /// Where no domain matches.
    pub default_weights: Weights,
    /// Sorted by domain.
    domain_weights: Vec<(String, Weights)>,
    /// Spaces that treatment may be served from; empty means any.
    spaces: Vec<String>,
    seed: Seed,
    draft_seed: DraftSeed,
    checksum: u64,
}

impl Plan {
    /// Reads and validates a serialised `Plan`.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        let fields = Fields::read(bytes)?;
        fields.validate(xxh3_64(bytes))
    }

    /// The user's arm, by the hash alone.
    pub fn assign(&self, user_id: &str) -> Arm {
        self.seed.assign(self.ramp_bp, user_id)
    }

    /// The coins of a call's team draft.
    pub fn coins(&self, request_id: &str) -> Coins {
        self.draft_seed.coins(request_id)
    }

    /// The weights for a domain, or the default ones.
    pub fn weights_for(&self, domain: &str) -> Weights {
        let found = self.domain_weights.binary_search_by(|(name, _)| name.as_str().cmp(domain));
        found.map_or(self.default_weights, |index| self.domain_weights[index].1)
    }

    /// Whether treatment may be served from an embedding space.
    pub fn allows_space(&self, fingerprint: &str) -> bool {
        self.spaces.is_empty() || self.spaces.iter().any(|space| space == fingerprint)
    }

    /// The lease in nanoseconds.
    pub fn lease_ns(&self) -> u64 {
        u64::from(self.lease_s) * 1_000_000_000
    }
}

/// Validates a serialised `Plan` and wraps it as a `SealedPlan`.
pub fn seal(plan: &[u8]) -> Result<Vec<u8>, PlanError> {
    Plan::decode(plan)?;
    let mut sealed = Vec::with_capacity(plan.len() + 16);
    let mut writer = Writer::new(&mut sealed);
    writer.bytes(1, plan);
    writer.fixed64(2, xxh3_64(plan));
    Ok(sealed)
}

/// The serialised `Plan` inside a `SealedPlan`, once its checksum holds.
pub fn unseal(sealed: &[u8]) -> Result<&[u8], PlanError> {
    let (mut plan, mut wanted) = (&sealed[..0], 0);
    let mut reader = Reader::new(sealed);
    while let Some((field, wire_type)) = reader.tag()? {
        match (field, wire_type) {
            (1, WireType::Length) => plan = reader.bytes()?,
            (2, WireType::Fixed64) => wanted = reader.fixed64()?,
            _ => reader.skip(wire_type)?,
        }
    }
    let found = xxh3_64(plan);
    if found != wanted {
        return Err(PlanError::Checksum { found, wanted });
    }
    Ok(plan)
}

/// The fields as they stand on the wire.
#[derive(Default)]
struct Fields {
    revision: u64,
    experiment_key: String,
    salt: String,
    ramp_bp: u32,
    killed: bool,
    lease_s: u32,
    mode: u64,
    default_weights: Option<Weights>,
    domain_weights: Vec<(String, Option<Weights>)>,
    spaces: Vec<String>,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, PlanError> {
        let mut fields = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((field, wire_type)) = reader.tag()? {
            match (field, wire_type) {
                (1, WireType::Varint) => fields.revision = reader.varint()?,
                (2, WireType::Length) => fields.experiment_key = text(&mut reader, "experiment_key")?,
                (3, WireType::Length) => fields.salt = text(&mut reader, "salt")?,
                (4, WireType::Varint) => fields.ramp_bp = reader.varint()? as u32,
                (5, WireType::Varint) => fields.killed = reader.varint()? != 0,
                (6, WireType::Varint) => fields.lease_s = reader.varint()? as u32,
                (7, WireType::Length) => read_weights(reader.message()?, &mut fields.default_weights)?,
                (8, WireType::Length) => fields.domain_weights.push(read_domain(reader.message()?)?),
                (9, WireType::Length) => fields.spaces.push(text(&mut reader, "spaces")?),
                (10, WireType::Varint) => fields.mode = reader.varint()?,
                _ => reader.skip(wire_type)?,
            }
        }
        Ok(fields)
    }

    fn validate(self, checksum: u64) -> Result<Plan, PlanError> {
        if self.revision == 0 {
            return Err(PlanError::Revision);
        }
        check_key(&self.experiment_key)?;
        if self.salt.len() > MAX_KEY_BYTES {
            return Err(PlanError::Salt { found: self.salt.len() });
        }
        let ramp_bp = u16::try_from(self.ramp_bp).ok().filter(|&ramp| ramp <= CONTROL_START);
        let ramp_bp = ramp_bp.ok_or(PlanError::Ramp { found: self.ramp_bp })?;
        if !(1..=MAX_LEASE_S).contains(&self.lease_s) {
            return Err(PlanError::Lease { found: self.lease_s });
        }
        if let Some(found) = self.spaces.iter().find(|space| check_fingerprint(space).is_err()) {
            return Err(PlanError::Space { found: found.clone() });
        }
        Ok(Plan {
            seed: Seed::new(&self.experiment_key, &self.salt),
            draft_seed: DraftSeed::new(&self.experiment_key, &self.salt),
            revision: self.revision,
            experiment_key: self.experiment_key,
            salt: self.salt,
            ramp_bp,
            killed: self.killed,
            lease_s: self.lease_s,
            mode: Mode::from_wire(self.mode).ok_or(PlanError::Mode { found: self.mode })?,
            default_weights: check_weights(self.default_weights, || "the default".to_owned())?,
            domain_weights: check_domains(self.domain_weights)?,
            spaces: self.spaces,
            checksum,
        })
    }
}

/// Repeated occurrences of an embedded message merge, as protobuf has it.
fn read_weights(mut reader: Reader<'_>, weights: &mut Option<Weights>) -> Result<(), PlanError> {
    let weights = weights.get_or_insert_default();
    while let Some((field, wire_type)) = reader.tag()? {
        match (field, wire_type) {
            (1, WireType::Fixed32) => weights.cosine = reader.float()?,
            (2, WireType::Fixed32) => weights.consistency = reader.float()?,
            (3, WireType::Fixed32) => weights.contradiction = reader.float()?,
            (4, WireType::Fixed32) => weights.prior = reader.float()?,
            _ => reader.skip(wire_type)?,
        }
    }
    Ok(())
}

fn read_domain(mut reader: Reader<'_>) -> Result<(String, Option<Weights>), PlanError> {
    let (mut domain, mut weights) = (String::new(), None);
    while let Some((field, wire_type)) = reader.tag()? {
        match (field, wire_type) {
            (1, WireType::Length) => domain = text(&mut reader, "domain_weights.domain")?,
            (2, WireType::Length) => read_weights(reader.message()?, &mut weights)?,
            _ => reader.skip(wire_type)?,
        }
    }
    Ok((domain, weights))
}

fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, PlanError> {
    let text = std::str::from_utf8(reader.bytes()?).map_err(|_| PlanError::NotUtf8 { field })?;
    Ok(text.to_owned())
}

fn check_key(key: &str) -> Result<(), PlanError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(allowed) {
        return Ok(());
    }
    Err(PlanError::Key { found: key.to_owned() })
}

fn check_weights(weights: Option<Weights>, domain: impl Fn() -> String) -> Result<Weights, PlanError> {
    let weights = weights.ok_or_else(|| PlanError::MissingWeights { domain: domain() })?;
    let terms = [
        ("cosine", weights.cosine),
        ("consistency", weights.consistency),
        ("contradiction", weights.contradiction),
        ("prior", weights.prior),
    ];
    match terms.into_iter().find(|(_, weight)| !(weight.is_finite() && *weight >= 0.0)) {
        Some((term, found)) => Err(PlanError::Weight { domain: domain(), term, found }),
        None => Ok(weights),
    }
}

fn check_domains(domains: Vec<(String, Option<Weights>)>) -> Result<Vec<(String, Weights)>, PlanError> {
    let mut seen = BTreeSet::new();
    let mut checked = Vec::with_capacity(domains.len());
    for (domain, weights) in &domains {
        if !(1..=MAX_NAME_BYTES).contains(&domain.len()) {
            return Err(PlanError::Domain { found: domain.clone() });
        }
        if !seen.insert(domain) {
            return Err(PlanError::DuplicateDomain { found: domain.clone() });
        }
        checked.push((domain.clone(), check_weights(*weights, || format!("{domain:?}"))?));
    }
    checked.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(checked)
}
