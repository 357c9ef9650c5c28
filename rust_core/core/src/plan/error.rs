//! Why a plan is refused: one variant per cause.

use thiserror::Error;

use super::{MAX_KEY_BYTES, MAX_LEASE_S};
use crate::assign::CONTROL_START;
use crate::limits::MAX_NAME_BYTES;
use crate::wire::reader::Malformed;

/// A plan that is refused; the one in force stays.
#[derive(Debug, Clone, PartialEq, Error, strum::IntoStaticStr, strum::VariantNames)]
pub enum PlanError {
    /// The bytes are not a protobuf message.
    #[error("plan: {0}; wanted a serialised ra_guard.v1.SealedPlan")]
    Malformed(#[from] Malformed),
    /// A string that is not UTF-8.
    #[error("plan.{field}: found bytes that are not UTF-8; wanted text")]
    NotUtf8 {
        /// The field.
        field: &'static str,
    },
    /// The checksum is not that of the plan's bytes.
    #[error("plan: found checksum {found:016x}, wanted {wanted:016x}: damaged on its way; fetch it again")]
    Checksum {
        /// As computed from the bytes.
        found: u64,
        /// As stated by the seal.
        wanted: u64,
    },
    /// Revision 0.
    #[error("plan.revision: found 0, wanted 1 or more")]
    Revision,
    /// A key of another form.
    #[error("plan.experiment_key: found {found:?}, wanted 1..64 characters of A-Z a-z 0-9 _ . -")]
    Key {
        /// The key.
        found: String,
    },
    /// A salt that is too long.
    #[error("plan.salt: found {found} bytes, wanted at most {MAX_KEY_BYTES}")]
    Salt {
        /// Bytes found.
        found: usize,
    },
    /// A ramp that would make the arms meet.
    #[error("plan.ramp_bp: found {found}, wanted 0..{CONTROL_START} hundredths of a percent in each arm")]
    Ramp {
        /// The value found.
        found: u32,
    },
    /// A lease out of bounds.
    #[error("plan.lease_s: found {found}, wanted 1..{MAX_LEASE_S} seconds")]
    Lease {
        /// The value found.
        found: u32,
    },
    /// A mode that this build does not know.
    #[error(
        "plan.mode: found {found}, wanted 1 (A/B), 2 (shadow), 3 (interleaving) or 4 (rollout); a newer build may know it"
    )]
    Mode {
        /// The value found.
        found: u64,
    },
    /// A plan that a record names and nobody added.
    #[error("plan: found none of revision {revision} of {key:?}, wanted the one that the record names; add it first")]
    UnknownPlan {
        /// The experiment's key.
        key: String,
        /// The revision.
        revision: u64,
    },
    /// Two plans under one key and revision.
    #[error("plan: found two plans of revision {revision} of {key:?}, wanted one; name the one that was published")]
    Conflict {
        /// The experiment's key.
        key: String,
        /// The revision.
        revision: u64,
    },
    /// No weights where they are required.
    #[error("plan: found no weights for {domain}, wanted all four (0 turns a term off)")]
    MissingWeights {
        /// "the default" or the quoted domain.
        domain: String,
    },
    /// A weight that is negative, NaN or infinite.
    #[error("plan: found {term} weight {found} for {domain}, wanted a finite number, 0 or more")]
    Weight {
        /// "the default" or the quoted domain.
        domain: String,
        /// The term of the score.
        term: &'static str,
        /// The value found.
        found: f32,
    },
    /// A domain name that is empty or too long.
    #[error("plan.domain_weights: found domain {found:?}, wanted 1..{MAX_NAME_BYTES} bytes")]
    Domain {
        /// The name.
        found: String,
    },
    /// A domain with two sets of weights.
    #[error("plan.domain_weights: found {found:?} twice, wanted each domain once")]
    DuplicateDomain {
        /// The name.
        found: String,
    },
    /// Something that is not the fingerprint of an embedding space.
    #[error("plan.spaces: found {found:?}, wanted 32 lower-case hex digits")]
    Space {
        /// The value found.
        found: String,
    },
    /// An older plan than the one in force, or another one of the same revision.
    #[error("plan: found revision {found}, wanted more than {in_force}, which is in force")]
    Stale {
        /// Revision found.
        found: u64,
        /// Revision in force.
        in_force: u64,
    },
}

impl PlanError {
    /// The variant's name.
    pub fn variant(&self) -> &'static str {
        self.into()
    }
}
