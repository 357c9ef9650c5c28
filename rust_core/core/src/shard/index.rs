//! The id index: open addressing over 16-byte slots, xxh3-64, linear probing, every hit verified against the id.
//!
//! Assumes nothing about the slots it reads: rows, places and the chain itself may be damaged, and then an id is
//! not found. A lookup of many ids goes through memory in waves, so that the cache misses of a wave overlap: the
//! slots of all, then the id bytes and the row records of all, then the comparison.

use crate::shard::layout::{RowRecord, Slot, hash_of, tag_of};
use crate::shard::map::prefetch;

/// Ids of one wave: their lines fit into the first-level cache, and far more than the line-fill buffers.
pub const WAVE: usize = 128;

/// The sections of a shard that finding an id reads.
#[derive(Debug, Clone, Copy)]
pub struct IdIndex<'a> {
    /// A power of two of them, at least one.
    pub slots: &'a [Slot],
    /// The ids, one after the other.
    pub ids: &'a [u8],
    /// Fetched for the ids found, so that the scorer finds them in cache.
    pub records: &'a [RowRecord],
}

/// Up to [`WAVE`] ids on their way to rows, on the stack.
pub struct Wave<'i> {
    ids: [&'i [u8]; WAVE],
    hashes: [u64; WAVE],
    rows: [Option<(u32, u32)>; WAVE],
    len: usize,
    open: usize,
}

impl<'i> Wave<'i> {
    /// No ids.
    pub fn new() -> Wave<'i> {
        Wave { ids: [&[]; WAVE], hashes: [0; WAVE], rows: [None; WAVE], len: 0, open: 0 }
    }

    /// Takes the next ids with their [`hash_of`]; false when there are none.
    #[inline]
    pub fn refill(&mut self, ids: &mut impl Iterator<Item = (&'i [u8], u64)>) -> bool {
        self.len = 0;
        for (id, hash) in ids.take(WAVE) {
            self.ids[self.len] = id;
            self.hashes[self.len] = hash;
            self.rows[self.len] = None;
            self.len += 1;
        }
        self.open = self.len;
        self.len > 0
    }

    /// Whether every id has been found.
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// `(shard, row)` of each id, in order.
    #[inline]
    pub fn rows(&self) -> &[Option<(u32, u32)>] {
        &self.rows[..self.len]
    }

    /// Looks for the ids not found yet in one shard.
    #[inline]
    pub fn search(&mut self, shard: u32, index: &IdIndex<'_>) {
        let mask = index.slots.len() - 1;
        for i in 0..self.len {
            prefetch(index.slots, self.hashes[i] as usize & mask);
        }
        let mut candidates = [Slot::EMPTY; WAVE];
        for (i, candidate) in candidates[..self.len].iter_mut().enumerate() {
            if self.rows[i].is_none() {
                *candidate = index.first_like(self.hashes[i], self.ids[i]);
            }
        }
        for (i, slot) in candidates[..self.len].iter().enumerate() {
            if slot.row == Slot::FREE {
                continue;
            }
            let row = if index.ids.get(slot.id_range()) == Some(self.ids[i]) {
                Some(slot.row)
            } else {
                // Another id with the same tag and length came first: rare enough to start over without haste.
                index.find(self.hashes[i], self.ids[i])
            };
            // A damaged slot may name a row that is not there.
            if let Some(row) = row.filter(|row| (*row as usize) < index.records.len()) {
                self.rows[i] = Some((shard, row));
                self.open -= 1;
            }
        }
    }
}

impl Default for Wave<'_> {
    fn default() -> Self {
        Wave::new()
    }
}

impl IdIndex<'_> {
    /// The first slot of the probe whose tag and length fit, its id bytes and record on their way into cache;
    /// [`Slot::EMPTY`] without one.
    #[inline(always)]
    fn first_like(&self, hash: u64, id: &[u8]) -> Slot {
        for slot in probe(self.slots, hash) {
            if slot.tag == tag_of(hash) && slot.id_length() == id.len() {
                let place = slot.id_range();
                prefetch(self.ids, place.start);
                // An id that straddles two lines needs both.
                prefetch(self.ids, place.end.wrapping_sub(1));
                prefetch(self.records, slot.row as usize);
                return slot;
            }
        }
        Slot::EMPTY
    }

    /// The row of one id.
    pub fn row_of(&self, id: &[u8]) -> Option<u32> {
        self.find(hash_of(id), id)
    }

    fn find(&self, hash: u64, id: &[u8]) -> Option<u32> {
        probe(self.slots, hash)
            .find(|slot| slot.tag == tag_of(hash) && self.ids.get(slot.id_range()) == Some(id))
            .map(|slot| slot.row)
            .filter(|row| (*row as usize) < self.records.len())
    }
}

/// The occupied slots in probe order, up to the first free one. Ends even where a damaged table has no free slot.
#[inline(always)]
fn probe(slots: &[Slot], hash: u64) -> impl Iterator<Item = Slot> {
    let mask = slots.len() - 1;
    (0..slots.len())
        .map(move |step| slots[(hash as usize).wrapping_add(step) & mask])
        .take_while(|slot| slot.row != Slot::FREE)
}

/// The fewest slots, a power of two, that hold `rows` ids at a load of at most 0.6.
pub const fn slots_for(rows: usize) -> usize {
    let needed = (rows * 5).div_ceil(3);
    if needed < 4 { 4 } else { needed.next_power_of_two() }
}

/// An index in the making. The finished slots depend on the ids and their order alone.
#[derive(Debug)]
pub struct IndexBuilder {
    slots: Vec<Slot>,
    rows: usize,
}

impl IndexBuilder {
    /// An index over nothing.
    pub fn new() -> IndexBuilder {
        IndexBuilder { slots: vec![Slot::EMPTY; slots_for(0)], rows: 0 }
    }

    /// Adds the id at `offsets[row]..offsets[row + 1]` of `ids` for the next row; false when it is there already.
    pub fn insert(&mut self, ids: &[u8], offsets: &[u64]) -> bool {
        if slots_for(self.rows + 1) > self.slots.len() {
            self.rebuild(slots_for(self.rows + 1), ids, offsets);
        }
        place(&mut self.slots, ids, offsets, self.rows).inspect(|_| self.rows += 1).is_some()
    }

    /// Takes the last row's id out again. Rows leave in the opposite order to that in which they came.
    pub fn remove_last(&mut self, ids: &[u8], offsets: &[u64]) {
        self.rows -= 1;
        let (start, end) = (offsets[self.rows] as usize, offsets[self.rows + 1] as usize);
        let mask = self.slots.len() - 1;
        let mut at = hash_of(&ids[start..end]) as usize & mask;
        // No later id can have probed past this slot: all later ones are gone.
        while self.slots[at].row != self.rows as u32 {
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot::EMPTY;
    }

    /// Ids in the index.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The slots as they go into the file.
    pub fn into_slots(mut self, ids: &[u8], offsets: &[u64]) -> Vec<Slot> {
        if self.slots.len() != slots_for(self.rows) {
            // A batch that was taken back had made the table grow.
            self.rebuild(slots_for(self.rows), ids, offsets);
        }
        self.slots
    }

    /// Places every row again, in row order, so that growing leaves no trace in the layout.
    fn rebuild(&mut self, slots: usize, ids: &[u8], offsets: &[u64]) {
        self.slots.clear();
        self.slots.resize(slots, Slot::EMPTY);
        for row in 0..self.rows {
            place(&mut self.slots, ids, offsets, row);
        }
    }
}

impl Default for IndexBuilder {
    fn default() -> Self {
        IndexBuilder::new()
    }
}

/// Puts a row into its slot; `None` when another row has the same id.
fn place(slots: &mut [Slot], ids: &[u8], offsets: &[u64], row: usize) -> Option<()> {
    let (start, end) = (offsets[row], offsets[row + 1]);
    let id = &ids[start as usize..end as usize];
    let hash = hash_of(id);
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    loop {
        let slot = slots[at];
        if slot.row == Slot::FREE {
            slots[at] = Slot::new(hash, row as u32, start, id.len() as u16);
            return Some(());
        }
        if slot.tag == tag_of(hash) && &ids[slot.id_range()] == id {
            return None;
        }
        at = (at + 1) & mask;
    }
}
