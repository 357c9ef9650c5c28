//! Which arm a user belongs to.
//!
//! GrowthBook's hash, version 2: `fnv1a32(decimal(fnv1a32(seed + unit))) % 10000`, over UTF-8 bytes. Treatment is
//! `[0, r)` of the 10,000 buckets, control `[5000, 5000 + r)`: raising `r` adds users to both arms and moves nobody
//! from one to the other. Published cases of the hash are in `tests/vectors/growthbook_hash.json`.

/// Buckets of the hash.
pub const BUCKETS: u16 = 10_000;
/// Where control's range starts: no ramp can make the arms meet.
pub const CONTROL_START: u16 = BUCKETS / 2;

const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// What the experiment makes of a user. The numbers are those of `ra_guard.v1.Arm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Arm {
    /// Served the baseline, and compared with treatment.
    Control = 1,
    /// Served the reranked order.
    Treatment = 2,
    /// Served the baseline, and left out of the analysis.
    NotEnrolled = 3,
}

impl Arm {
    /// Every arm.
    pub const ALL: [Self; 3] = [Self::Control, Self::Treatment, Self::NotEnrolled];

    /// The arm of a number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&arm| arm as u8 == number)
    }
}

/// What a user is served. The numbers are those of `ra_guard.v1.Arm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ServedArm {
    /// The baseline, as control is.
    Control = 1,
    /// The reranked order.
    Treatment = 2,
    /// The baseline, outside the analysis.
    NotEnrolled = 3,
    /// A team draft of both orders.
    Interleaved = 4,
}

impl ServedArm {
    /// Every arm.
    pub const ALL: [Self; 4] = [Self::Control, Self::Treatment, Self::NotEnrolled, Self::Interleaved];

    /// The arm of a number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&arm| arm as u8 == number)
    }
}

impl From<Arm> for ServedArm {
    fn from(arm: Arm) -> Self {
        match arm {
            Arm::Control => Self::Control,
            Arm::Treatment => Self::Treatment,
            Arm::NotEnrolled => Self::NotEnrolled,
        }
    }
}

/// The seed of one epoch of one experiment, hashed as far as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u32);

impl Seed {
    /// The seed is the key, or "key:salt" when the salt is not empty.
    pub fn new(key: &str, salt: &str) -> Self {
        let state = fnv1a32(FNV_OFFSET, key.as_bytes());
        if salt.is_empty() {
            return Self(state);
        }
        Self(fnv1a32(fnv1a32(state, b":"), salt.as_bytes()))
    }

    /// The unit's bucket, `0..`[`BUCKETS`].
    pub fn bucket(self, unit: &str) -> u16 {
        let inner = fnv1a32(self.0, unit.as_bytes());
        let mut digits = [0; 10];
        let outer = fnv1a32(FNV_OFFSET, decimal(inner, &mut digits));
        (outer % u32::from(BUCKETS)) as u16
    }

    /// The unit's arm when each arm holds `ramp` buckets, `0..=`[`CONTROL_START`].
    pub fn assign(self, ramp: u16, unit: &str) -> Arm {
        let bucket = self.bucket(unit);
        if bucket < ramp {
            Arm::Treatment
        } else if bucket >= CONTROL_START && bucket - CONTROL_START < ramp {
            Arm::Control
        } else {
            Arm::NotEnrolled
        }
    }
}

/// Continues FNV-1a over more bytes.
fn fnv1a32(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(state, |state, &byte| (state ^ u32::from(byte)).wrapping_mul(FNV_PRIME))
}

/// Decimal digits, without the allocation of a string.
fn decimal(mut value: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[start..];
        }
    }
}
