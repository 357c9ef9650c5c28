//! One record read in place, from bytes that nothing vouches for. FORMAT.md has the bytes.

use zerocopy::little_endian::{F32, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::LogError;
use super::record::{
    Extension, HAS_COLUMNS, HAS_POOL, HAS_QUERY_VECTOR, HAS_STATES, HAS_TEAMS, HAS_TREATMENT_RANKING, Header,
    ScoreColumns, VERSION,
};
use crate::assign::{Arm, ServedArm};
use crate::interleave::Team;
use crate::plan::Mode;
use crate::score::Weights;
use crate::wire::{Reason, Status};

/// A record read in place; every part lies within its bounds.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// When the call was answered.
    pub unix_ns: u64,
    /// From the arrival of the request to the making of the record; 0 where unknown.
    pub elapsed_us: u32,
    /// What was done for enrolled users; `None` without a plan.
    pub mode: Option<Mode>,
    /// The serialised request.
    pub request: &'a [u8],
    /// How many candidates there were.
    pub candidates: usize,
    /// Ids that the server drew.
    pub pool: Option<PoolIds<'a>>,
    /// By the hash alone.
    pub assigned_arm: Option<Arm>,
    /// What was served.
    pub served_arm: Option<ServedArm>,
    /// How the ranking came about.
    pub status: Status,
    /// Why it is the baseline.
    pub reason: Reason,
    /// Empty without a plan.
    pub experiment_key: &'a str,
    /// 0 without a plan.
    pub plan_revision: u64,
    /// 0 without a generation.
    pub generation: u64,
    /// Empty without a generation.
    pub space: &'a str,
    /// Those that the scores were made with.
    pub weights: Weights,
    /// What a text query was embedded to.
    pub query_vector: Option<Column<'a>>,
    /// Absent when all are 0.
    pub states: Option<&'a [u8]>,
    /// The terms and the score.
    pub columns: Option<ScoreColumns<Column<'a>>>,
    /// What was served: baseline positions, best first, each below `candidates`.
    pub ranking: Positions<'a>,
    /// Whose pick each of the ranking is, where the orders were interleaved.
    pub teams: Option<Teams<'a>>,
    /// Treatment's order, where something else was served.
    pub treatment_ranking: Option<Positions<'a>>,
}

/// Floats of a record, exact to the bit.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a>(&'a [F32]);

impl<'a> Column<'a> {
    /// The values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f32> + Clone + use<'a> {
        self.0.iter().map(|value| value.get())
    }

    /// The values as they lie in the record, little-endian.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

/// Positions of a record's ranking.
#[derive(Debug, Clone, Copy)]
pub struct Positions<'a>(&'a [U16]);

impl<'a> Positions<'a> {
    /// The positions in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u16> + Clone + use<'a> {
        self.0.iter().map(|position| position.get())
    }
}

/// Teams of a record, one for each of its ranking.
#[derive(Debug, Clone, Copy)]
pub struct Teams<'a>(&'a [u8]);

impl<'a> Teams<'a> {
    /// The teams in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Team> + Clone + use<'a> {
        self.0.iter().map(|&team| if team == Team::Control as u8 { Team::Control } else { Team::Treatment })
    }

    /// The teams by number.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// Ids of a record's pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolIds<'a> {
    lengths: &'a [U16],
    bytes: &'a [u8],
}

impl<'a> PoolIds<'a> {
    /// The ids in baseline order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.lengths.iter().scan(self.bytes, |rest, length| {
            let (id, after) = rest.split_at_checked(usize::from(length.get()))?;
            *rest = after;
            Some(id)
        })
    }
}

impl<'a> Record<'a> {
    /// Reads a record, refusing parts that do not add up.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, LogError> {
        // The version comes first, so that a newer record is told from a damaged one.
        if let Some(&version) = bytes.first().filter(|&&version| version > VERSION) {
            let (found, supported) = (version.into(), VERSION.into());
            return Err(LogError::FutureVersion { what: "record", found, supported });
        }
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| bad("header", bytes.len(), "96 bytes"))?;
        header.check()?;
        let mut parts = Parts(rest);
        let (mode, elapsed_us, treatment_ranked) = match header.version {
            1 => (header.mode_of_version_1(), 0, 0),
            version => parts.extension(version)?,
        };
        if treatment_ranked != 0 && header.flags & HAS_TREATMENT_RANKING == 0 {
            return Err(bad("treatment ranking", treatment_ranked, "0 unless flagged"));
        }
        let candidates = usize::from(header.candidates.get());
        let has = |flag: u8| header.flags & flag != 0;
        let record = Self {
            unix_ns: header.unix_ns.get(),
            request: parts.take("request", header.request_bytes.get() as usize)?,
            experiment_key: text("experiment key", parts.take("experiment key", header.key_bytes.get().into())?)?,
            query_vector: parts.take_if(has(HAS_QUERY_VECTOR), |parts| {
                parts.take("query vector", header.query_values.get() as usize).map(Column)
            })?,
            pool: parts.take_if(has(HAS_POOL), |parts| parts.pool(candidates, header.pool_bytes.get() as usize))?,
            states: parts.take_if(has(HAS_STATES), |parts| parts.take("states", candidates))?,
            columns: parts.take_if(has(HAS_COLUMNS), |parts| parts.columns(candidates))?,
            ranking: parts.ranking("ranking", header.ranked.get().into(), candidates)?,
            teams: parts.take_if(has(HAS_TEAMS), |parts| parts.teams(header.ranked.get().into()))?,
            treatment_ranking: parts.take_if(has(HAS_TREATMENT_RANKING), |parts| {
                parts.ranking("treatment ranking", treatment_ranked, candidates)
            })?,
            candidates,
            mode,
            elapsed_us,
            assigned_arm: Arm::from_wire(header.assigned_arm),
            served_arm: ServedArm::from_wire(header.served_arm),
            status: Status::from_wire(header.status).ok_or_else(|| bad("status", header.status, "1..3"))?,
            reason: Reason::from_wire(header.reason).ok_or_else(|| bad("reason", header.reason, "0..10"))?,
            plan_revision: header.plan_revision.get(),
            generation: header.generation.get(),
            space: header.space()?,
            weights: header.weights(),
        };
        parts.end()?;
        Ok(record)
    }
}

impl Header {
    fn check(&self) -> Result<(), LogError> {
        let of_version_1 = HAS_POOL | HAS_COLUMNS | HAS_STATES | HAS_QUERY_VECTOR;
        // What a version does not know is damage in its records.
        let (flags, (served, arms), (reason, reasons)) = match self.version {
            1 => (of_version_1, (3, "0..3"), (9, "0..9")),
            _ => (of_version_1 | HAS_TEAMS | HAS_TREATMENT_RANKING, (4, "0..4"), (10, "0..10")),
        };
        let fields = [
            ("version", (1..=VERSION).contains(&self.version), self.version, "1..3"),
            ("flags", self.flags & !flags == 0, self.flags, "known flags"),
            ("assigned arm", self.assigned_arm <= 3, self.assigned_arm, "0..3"),
            ("served arm", self.served_arm <= served, self.served_arm, arms),
            ("reason", self.reason <= reason, self.reason, reasons),
        ];
        match fields.into_iter().find(|(_, holds, ..)| !holds) {
            Some((field, _, found, wanted)) => Err(bad(field, found, wanted)),
            None => Ok(()),
        }
    }

    fn space(&self) -> Result<&str, LogError> {
        match self.space {
            [0, ..] => Ok(""),
            _ => text("space", &self.space),
        }
    }

    /// Everything was A/B then.
    fn mode_of_version_1(&self) -> Option<Mode> {
        (self.plan_revision.get() != 0).then_some(Mode::Ab)
    }

    fn weights(&self) -> Weights {
        let [cosine, consistency, contradiction, prior] = self.weights.map(F32::get);
        Weights { cosine, consistency, contradiction, prior }
    }
}

/// What is left of a record.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take<T: FromBytes + Immutable + Unaligned>(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<&'a [T], LogError>
    where
        [T]: FromBytes + Immutable + KnownLayout<PointerMetadata = usize> + Unaligned,
    {
        let (part, rest) = <[T]>::ref_from_prefix_with_elems(self.0, count)
            .map_err(|_| bad(field, count, "no more than the record holds"))?;
        self.0 = rest;
        Ok(part)
    }

    fn take_if<T>(
        &mut self,
        is_there: bool,
        take: impl FnOnce(&mut Self) -> Result<T, LogError>,
    ) -> Result<Option<T>, LogError> {
        is_there.then(|| take(self)).transpose()
    }

    fn pool(&mut self, candidates: usize, bytes: usize) -> Result<PoolIds<'a>, LogError> {
        let lengths: &[U16] = self.take("pool", candidates)?;
        let total: usize = lengths.iter().map(|length| usize::from(length.get())).sum();
        if total != bytes {
            return Err(bad("pool", total, "lengths that sum to the bytes of the ids"));
        }
        Ok(PoolIds { lengths, bytes: self.take("pool", bytes)? })
    }

    fn columns(&mut self, candidates: usize) -> Result<ScoreColumns<Column<'a>>, LogError> {
        let mut column = || self.take("score columns", candidates).map(Column);
        Ok(ScoreColumns {
            cosine: column()?,
            consistency: column()?,
            contradiction: column()?,
            prior: column()?,
            score: column()?,
        })
    }

    fn extension(&mut self, version: u8) -> Result<(Option<Mode>, u32, usize), LogError> {
        let (extension, rest) = Extension::ref_from_prefix(self.0)
            .map_err(|_| bad("header", self.0.len(), "8 bytes after the first 96"))?;
        self.0 = rest;
        let mode = match extension.mode {
            0 => None,
            number => Some(Mode::from_wire(number.into()).ok_or_else(|| bad("mode", number, "0..4"))?),
        };
        let elapsed_us = extension.elapsed_us.get();
        let zeros = [u32::from(extension.zero), if version == 2 { elapsed_us } else { 0 }];
        match zeros.into_iter().find(|&zero| zero != 0) {
            Some(found) => Err(bad("zeros", found, "0")),
            None => Ok((mode, elapsed_us, extension.treatment_ranked.get().into())),
        }
    }

    fn teams(&mut self, ranked: usize) -> Result<Teams<'a>, LogError> {
        let teams: &[u8] = self.take("teams", ranked)?;
        match teams.iter().find(|&&team| Team::from_wire(team).is_none()) {
            Some(&team) => Err(bad("teams", team, "1..2")),
            None => Ok(Teams(teams)),
        }
    }

    fn ranking(&mut self, field: &'static str, ranked: usize, candidates: usize) -> Result<Positions<'a>, LogError> {
        let positions: &[U16] = self.take(field, ranked)?;
        match positions.iter().find(|position| usize::from(position.get()) >= candidates) {
            Some(position) => Err(bad(field, position.get(), "positions of candidates")),
            None => Ok(Positions(positions)),
        }
    }

    fn end(self) -> Result<(), LogError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(bad("end", self.0.len(), "no bytes after the last part"))
    }
}

fn text<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a str, LogError> {
    std::str::from_utf8(bytes).map_err(|error| bad(field, error.valid_up_to(), "UTF-8 throughout"))
}

fn bad(field: &'static str, found: impl TryInto<u64>, wanted: &'static str) -> LogError {
    LogError::BadRecord { field, found: found.try_into().unwrap_or(u64::MAX), wanted }
}
