//! A record against what it should hold.

use std::fmt::{self, Debug, Display};

use crate::log::{Record, RecordFields, ScoreColumns};
use crate::score::Weights;
use crate::wire::RequestError;

/// Where in a field two records differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The field has one value.
    Whole,
    /// The value of a candidate, by its baseline position.
    Candidate(usize),
    /// The value at a place, counted from 0.
    At(usize),
}

/// The first difference between a record and what is computed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs, by the name that it has in the record.
    pub field: &'static str,
    /// Where in the field.
    pub place: Place,
    /// What the record holds. Floats come with their bits.
    pub found: String,
    /// What it should hold.
    pub wanted: String,
}

impl Difference {
    pub(super) fn of_request(error: &RequestError) -> Difference {
        Difference::whole("request", error, "one that its generation can answer")
    }

    pub(super) fn of_query_vector(found: impl Display) -> Difference {
        Difference::whole("query vector", found, "the unit embedding of the text, in the generation's space")
    }

    fn whole(field: &'static str, found: impl Display, wanted: impl Display) -> Difference {
        Difference { field, place: Place::Whole, found: found.to_string(), wanted: wanted.to_string() }
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { field, place, found, wanted } = self;
        match place {
            Place::Whole => write!(f, "{field}: found {found}, wanted {wanted}"),
            Place::Candidate(position) => write!(f, "{field} of candidate {position}: found {found}, wanted {wanted}"),
            Place::At(index) => write!(f, "{field}, place {index}: found {found}, wanted {wanted}"),
        }
    }
}

/// What comes first explains what comes after it: a wrong arm, wrong scores; wrong scores, a wrong ranking.
pub(super) fn first_difference(found: &Record<'_>, wanted: &RecordFields<'_>) -> Option<Difference> {
    facts(found, wanted)
        .or_else(|| weights(found.weights, wanted.weights))
        .or_else(|| {
            let query_vector = found.query_vector.map(|vector| vector.iter());
            floats("query vector", Place::At, query_vector, wanted.query_vector.iter().copied())
        })
        .or_else(|| {
            // Left out, they are all 0.
            let zeros = || vec![0; if wanted.states.is_empty() { 0 } else { found.candidates }];
            let states = found.states.map_or_else(zeros, <[u8]>::to_vec);
            values("states", Place::Candidate, states.into_iter(), wanted.states.iter().copied())
        })
        .or_else(|| columns(found, wanted))
        .or_else(|| {
            let ranking = found.ranking.iter().map(u32::from);
            values("ranking", Place::At, ranking, wanted.ranking.iter().copied())
        })
        .or_else(|| {
            let teams = found.teams.map_or(&[][..], |teams| teams.as_bytes());
            values("teams", Place::At, teams.iter().copied(), wanted.teams.iter().map(|team| *team as u8))
        })
        .or_else(|| {
            let positions = found.treatment_ranking.into_iter().flat_map(|positions| positions.iter());
            let treatment = wanted.treatment_ranking.iter().copied();
            values("treatment ranking", Place::At, positions.map(u32::from), treatment)
        })
}

fn facts(found: &Record<'_>, wanted: &RecordFields<'_>) -> Option<Difference> {
    one("candidates", found.candidates, wanted.candidates)
        .or_else(|| one("mode", found.mode, wanted.mode))
        .or_else(|| one("assigned arm", found.assigned_arm, wanted.assigned_arm))
        .or_else(|| one("reason", found.reason, wanted.reason))
        .or_else(|| one("status", found.status, wanted.status))
        .or_else(|| one("served arm", found.served_arm, wanted.served_arm))
        .or_else(|| one("experiment key", found.experiment_key, wanted.experiment_key))
        .or_else(|| one("space", found.space, wanted.space))
}

fn weights(found: Weights, wanted: Weights) -> Option<Difference> {
    [
        ("cosine weight", found.cosine, wanted.cosine),
        ("consistency weight", found.consistency, wanted.consistency),
        ("contradiction weight", found.contradiction, wanted.contradiction),
        ("prior weight", found.prior, wanted.prior),
    ]
    .into_iter()
    .find_map(|(field, found, wanted)| {
        let differs = found.to_bits() != wanted.to_bits();
        differs.then(|| Difference::whole(field, float(found), float(wanted)))
    })
}

fn columns(found: &Record<'_>, wanted: &RecordFields<'_>) -> Option<Difference> {
    match (found.columns, wanted.columns) {
        (None, None) => None,
        (Some(_), None) => Some(Difference::whole("score columns", "five", "none: nothing was scored")),
        (None, Some(_)) => Some(Difference::whole("score columns", "none", "five")),
        (Some(found), Some(wanted)) => {
            let pairs = found.in_order().into_iter().zip(wanted.in_order());
            ScoreColumns::<()>::NAMES.into_iter().zip(pairs).find_map(|(name, (found, wanted))| {
                floats(name, Place::Candidate, Some(found.iter()), wanted.iter().copied())
            })
        }
    }
}

fn one<T: PartialEq + Debug>(field: &'static str, found: T, wanted: T) -> Option<Difference> {
    (found != wanted).then(|| Difference::whole(field, format_args!("{found:?}"), format_args!("{wanted:?}")))
}

fn floats(
    field: &'static str,
    place: fn(usize) -> Place,
    found: Option<impl Iterator<Item = f32>>,
    wanted: impl Iterator<Item = f32>,
) -> Option<Difference> {
    let found = found.into_iter().flatten().map(f32::to_bits);
    let different = values(field, place, found, wanted.map(f32::to_bits))?;
    let readable = |bits: String| bits.parse().map_or(bits, |bits| float(f32::from_bits(bits)));
    Some(Difference { found: readable(different.found), wanted: readable(different.wanted), ..different })
}

fn values<T: PartialEq + Display>(
    field: &'static str,
    place: fn(usize) -> Place,
    mut found: impl Iterator<Item = T>,
    mut wanted: impl Iterator<Item = T>,
) -> Option<Difference> {
    let shown = |value: Option<T>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
    for index in 0.. {
        match (found.next(), wanted.next()) {
            (None, None) => return None,
            (found, wanted) if found == wanted => {}
            (found, wanted) => {
                return Some(Difference { field, place: place(index), found: shown(found), wanted: shown(wanted) });
            }
        }
    }
    None
}

/// Enough to tell two floats apart, NaN from NaN included.
fn float(value: f32) -> String {
    format!("{value} ({:#010x})", value.to_bits())
}
