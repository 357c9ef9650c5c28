//! The thread that writes: takes what is queued, fills segments, seals them.
//!
//! What a failure of the file system costs is the log's [`Duty`]: candidates are counted as dropped and the next ones
//! tried again, feedback stays in memory until it is on disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use super::LogSettings;
use super::accounts::Accounts;
use super::counts::CountsFile;
use super::error::LogError;
use super::queue::{Queue, Taken};
use super::segment::{
    END_FRAME_BYTES, FRAME_HEADER_BYTES, HEADER_BYTES, Kind, OpenSegment, SegmentName, complete_frames, frame_length,
};

/// How often the thread looks for records.
const POLL: Duration = Duration::from_millis(10);

/// What a log owes the records that it took in.
#[derive(Debug)]
pub(super) enum Duty {
    /// Candidates: an account by arm. One that cannot be written is dropped.
    Account(Arc<Accounts>),
    /// Feedback: the disk. One that cannot be written stays in memory and is tried again.
    Keep,
}

impl Duty {
    fn kind(&self) -> Kind {
        match self {
            Duty::Account(_) => Kind::Candidates,
            Duty::Keep => Kind::Feedback,
        }
    }

    fn counts(&self) -> Option<&CountsFile> {
        match self {
            Duty::Account(accounts) => accounts.counts(),
            Duty::Keep => None,
        }
    }
}

/// What a caller may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Everything queued so far is on disk.
    OnDisk,
    /// And in a sealed segment.
    Sealed,
}

/// A caller who waits.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) wish: Wish,
    pub(super) answer: SyncSender<Result<(), LogError>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    requests: Receiver<Request>,
    settings: LogSettings,
    duty: Duty,
    /// Taken from the queue and not written yet.
    batch: Vec<u8>,
    segment: Option<OpenSegment>,
    /// The name of the next segment; none before the first record.
    next: Option<SegmentName>,
    /// The first failure since the last answer.
    error: Option<LogError>,
}

impl Writer {
    pub(super) fn new(queue: Arc<Queue>, requests: Receiver<Request>, settings: LogSettings, duty: Duty) -> Self {
        let batch = queue.second_buffer();
        Self { queue, requests, settings, duty, batch, segment: None, next: None, error: None }
    }

    /// Writes until the queue is closed and empty. The error tells what did not reach the disk at the end.
    pub(super) fn run(mut self) -> Result<(), LogError> {
        let mut first = None;
        loop {
            // Asked before taking the queue: what was queued before the question is then in the batch.
            let requests: Vec<_> = first.take().into_iter().chain(self.requests.try_iter()).collect();
            match self.write_queued() {
                Wrote::Some => self.fulfil(requests),
                Wrote::Nothing => {
                    self.fulfil(requests);
                    first = self.requests.recv_timeout(POLL).ok();
                }
                Wrote::Last => return self.finish(&requests),
            }
        }
    }

    /// Writes what an earlier failure left, then what is queued.
    fn write_queued(&mut self) -> Wrote {
        if let Duty::Account(accounts) = &self.duty
            && let Some(error) = accounts.take_failure()
        {
            self.fail(error);
        }
        let mut was_empty = self.batch.is_empty();
        self.write_batch();
        let mut taken = Taken::Running;
        if self.batch.is_empty() {
            taken = self.queue.take(&mut self.batch);
            was_empty &= self.batch.is_empty();
            complete_frames(&mut self.batch);
            self.write_batch();
        } else if self.queue.is_closed() {
            taken = Taken::Last;
        }
        match taken {
            Taken::Last => Wrote::Last,
            // After a failure, too, the thread rests before it tries again.
            Taken::Running if was_empty || !self.batch.is_empty() => Wrote::Nothing,
            Taken::Running => Wrote::Some,
        }
    }

    /// Writes as many frames at a time as fit into the segment. What must be kept and could not be written stays.
    fn write_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let done = self.write_frames(&batch);
        self.batch = batch;
        self.batch.drain(..done);
    }

    /// Bytes of the frames that need no more care.
    fn write_frames(&mut self, batch: &[u8]) -> usize {
        let mut start = 0;
        while let Some(first) = frame_length(&batch[start..]) {
            if !self.fits(0, first) {
                self.seal();
            }
            let (mut end, mut records) = (start + first, 1);
            while let Some(length) = frame_length(&batch[end..]).filter(|&length| self.fits(end - start, length)) {
                end += length;
                records += 1;
            }
            let frames = &batch[start..end];
            match self.append(frames, records) {
                Ok(()) => self.queue.tallies.written(records, frames.len()),
                Err(error) => {
                    self.fail(error);
                    match &self.duty {
                        Duty::Account(accounts) => payloads(frames).for_each(|record| accounts.count_dropped(record)),
                        Duty::Keep => return start,
                    }
                }
            }
            start = end;
        }
        if matches!(self.duty, Duty::Keep) && !batch.is_empty() {
            // Whatever failed before, all of it is on disk now.
            self.error = None;
        }
        batch.len()
    }

    /// Whether one more frame may join the segment and the frames about to be written to it. The first always may.
    fn fits(&self, pending: usize, frame: usize) -> bool {
        let held = self.segment.as_ref().map_or(HEADER_BYTES as u64, OpenSegment::length);
        let is_first = pending == 0 && !self.segment.as_ref().is_some_and(OpenSegment::has_records);
        is_first || held + (pending + frame + END_FRAME_BYTES) as u64 <= self.settings.segment_bytes
    }

    fn append(&mut self, frames: &[u8], records: u64) -> Result<(), LogError> {
        if self.segment.is_none() {
            self.segment = Some(self.begin_segment(&frames[FRAME_HEADER_BYTES..])?);
        }
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        let mut outcome = segment.append(frames, records);
        let mut usable = !segment.is_torn();
        if matches!(self.duty, Duty::Keep) && outcome.is_ok() {
            outcome = segment.sync();
            // The system forgets what it could not write, and says so once: nothing may build on this segment.
            usable &= outcome.is_ok();
        }
        if !usable {
            // Readers stop at its torn tail, and recovery seals it; the next records go to a new one.
            self.segment = None;
        }
        outcome
    }

    /// Times come from records, so the log needs no clock of its own.
    fn begin_segment(&mut self, first_record: &[u8]) -> Result<OpenSegment, LogError> {
        let unix_ns = self.duty.kind().unix_ns(first_record);
        // The counts first: a machine that dies must not leave a segment of a run without them.
        self.duty.counts().map_or(Ok(()), CountsFile::sync)?;
        let run = self.duty.counts().map_or(unix_ns, CountsFile::run);
        let name = self.next.get_or_insert(SegmentName { run, sequence: 0 });
        let segment = OpenSegment::create(&self.settings, name, self.duty.kind(), unix_ns)?;
        self.queue.tallies.segments.fetch_add(1, Ordering::Relaxed);
        Ok(segment)
    }

    fn fulfil(&mut self, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        // To seal is to sync, too.
        let sealed = requests.iter().any(|request| request.wish == Wish::Sealed);
        if sealed {
            self.seal()
        } else {
            self.sync()
        }
        answer(&requests, &self.error.take().map_or(Ok(()), Err));
    }

    fn sync(&mut self) {
        let counts = self.duty.counts().map_or(Ok(()), CountsFile::sync);
        let segment = self.segment.as_ref().map_or(Ok(()), OpenSegment::sync);
        counts.and(segment).unwrap_or_else(|error| self.fail(error));
    }

    /// Seals the segment where it holds records.
    fn seal(&mut self) {
        let Some(segment) = self.segment.take_if(|segment| segment.has_records()) else { return };
        // The counts first, again: what is sealed was counted.
        let counts = self.duty.counts().map_or(Ok(()), CountsFile::sync);
        let sealed = segment.seal().map(drop);
        counts.and(sealed).unwrap_or_else(|error| self.fail(error));
    }

    fn finish(mut self, requests: &[Request]) -> Result<(), LogError> {
        self.seal();
        if let Some(Err(error)) = self.segment.take().map(OpenSegment::discard) {
            self.fail(error);
        }
        if self.error.is_none()
            && let Err(error) = self.duty.counts().map_or(Ok(()), CountsFile::close)
        {
            self.fail(error);
        }
        let outcome = self.error.map_or(Ok(()), Err);
        answer(requests, &outcome);
        outcome
    }

    fn fail(&mut self, error: LogError) {
        self.queue.tallies.write_errors.fetch_add(1, Ordering::Relaxed);
        self.error.get_or_insert(error);
    }
}

fn answer(requests: &[Request], outcome: &Result<(), LogError>) {
    for request in requests {
        // Who no longer waits has lost interest.
        let _ = request.answer.send(outcome.clone());
    }
}

/// What the thread found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    Some,
    Nothing,
    /// The queue is closed.
    Last,
}

/// The payloads of whole frames.
fn payloads(mut frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (frame, rest) = frames.split_at(frame_length(frames)?);
        frames = rest;
        Some(&frame[FRAME_HEADER_BYTES..])
    })
}
