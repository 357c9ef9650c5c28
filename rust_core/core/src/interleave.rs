#![doc = include_str!("interleave/DRAFT.md")]

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
use zerocopy::{Immutable, IntoBytes};

/// Whose pick a result is. The numbers are those of `ra_guard.v1.Arm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(u8)]
pub enum Team {
    /// The baseline's.
    Control = 1,
    /// The reranked order's.
    Treatment = 2,
}

impl Team {
    /// Both teams, in the order of their number.
    pub const ALL: [Self; 2] = [Self::Control, Self::Treatment];

    /// The team of a number in a record.
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&team| team as u8 == number)
    }
}

/// What all drafts of one epoch of one experiment have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DraftSeed(u64);

impl DraftSeed {
    /// Of the seed string: "key", or "key:salt" when the salt is not empty.
    pub fn new(key: &str, salt: &str) -> Self {
        let seed = if salt.is_empty() { key.to_owned() } else { format!("{key}:{salt}") };
        Self(xxh3_64(seed.as_bytes()))
    }

    /// The coins of one call.
    pub fn coins(self, request_id: &str) -> Coins {
        Coins { state: xxh3_64_with_seed(request_id.as_bytes(), self.0) }
    }
}

/// The coins of one draft.
#[derive(Debug, Clone, Copy)]
pub struct Coins {
    state: u64,
}

impl Coins {
    /// Who begins the next round.
    fn toss(&mut self) -> Team {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        if (z ^ z >> 31) >> 63 == 1 { Team::Control } else { Team::Treatment }
    }
}

/// Reusable buffers, and the draft that was made last.
#[derive(Debug, Default)]
pub struct Draft {
    /// By baseline position.
    is_placed: Vec<bool>,
    ranking: Vec<u32>,
    teams: Vec<Team>,
}

impl Draft {
    /// Forgets the last draft.
    pub fn clear(&mut self) {
        self.ranking.clear();
        self.teams.clear();
    }

    /// Drafts from two orders of baseline positions below `candidates`, best first, at most `limit` results.
    ///
    /// # Panics
    /// When a position is not below `candidates`.
    pub fn run(
        &mut self,
        control: impl Iterator<Item = u32>,
        treatment: impl Iterator<Item = u32>,
        candidates: usize,
        limit: usize,
        mut coins: Coins,
    ) {
        self.clear();
        self.is_placed.clear();
        self.is_placed.resize(candidates, false);
        let (mut control, mut treatment) = (control.peekable(), treatment.peekable());
        let mut of_treatment = 0;
        while self.ranking.len() < limit {
            let is_placed = |position: &u32| self.is_placed[*position as usize];
            while control.next_if(is_placed).is_some() {}
            while treatment.next_if(is_placed).is_some() {}
            let (Some(&best_of_control), Some(&best_of_treatment)) = (control.peek(), treatment.peek()) else { break };
            let of_control = self.ranking.len() - of_treatment;
            let team = match of_control.cmp(&of_treatment) {
                std::cmp::Ordering::Less => Team::Control,
                std::cmp::Ordering::Equal => coins.toss(),
                std::cmp::Ordering::Greater => Team::Treatment,
            };
            let pick = match team {
                Team::Control => best_of_control,
                Team::Treatment => best_of_treatment,
            };
            of_treatment += usize::from(team == Team::Treatment);
            self.is_placed[pick as usize] = true;
            self.ranking.push(pick);
            self.teams.push(team);
        }
    }

    /// The results, best first.
    pub fn ranking(&self) -> &[u32] {
        &self.ranking
    }

    /// Whose pick each result is.
    pub fn teams(&self) -> &[Team] {
        &self.teams
    }
}
