//! The thread that writes: takes what is queued, fills segments, seals them.
//!
//! A failure of the file system costs the records at hand, which are counted; the next ones are tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::LogSettings;
use super::error::LogError;
use super::queue::Shared;
use super::record;
use super::segment::{END_FRAME_BYTES, FRAME_HEADER_BYTES, HEADER_BYTES, OpenSegment, complete_frames, frame_length};

/// How often the thread looks for records.
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    settings: LogSettings,
    segment: Option<OpenSegment>,
    /// Segments begun by this writer.
    sequence: u64,
    /// The first failure since the last flush.
    error: Option<LogError>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, settings: LogSettings) -> Self {
        Self { shared, settings, segment: None, sequence: 0, error: None }
    }

    pub(super) fn run(mut self) {
        let mut batch = self.shared.second_buffer();
        loop {
            // Asked before taking the queue: what was queued before the question is then in the batch.
            let stopping = self.shared.is_stopping();
            let flush = self.shared.requested_flush();
            self.shared.take(&mut batch);
            let idle = batch.is_empty();
            self.write_batch(&mut batch);
            batch.clear();
            if let Some(ticket) = flush {
                self.sync();
                self.shared.complete_flush(ticket, self.error.take());
            }
            if stopping {
                return self.seal();
            }
            if idle {
                std::thread::park_timeout(POLL);
            }
        }
    }

    /// Writes as many frames at a time as fit into the segment.
    fn write_batch(&mut self, batch: &mut [u8]) {
        complete_frames(batch);
        let (mut start, mut end, mut records) = (0, 0, 0);
        while let Some(length) = frame_length(&batch[end..]) {
            if !self.fits(end - start, length) {
                self.write_frames(&batch[start..end], records);
                self.seal();
                (start, records) = (end, 0);
            }
            end += length;
            records += 1;
        }
        self.write_frames(&batch[start..end], records);
    }

    /// Whether one more frame may join the segment and the frames about to be written to it. The first always may.
    fn fits(&self, pending: usize, frame: usize) -> bool {
        let held = self.segment.as_ref().map_or(HEADER_BYTES as u64, OpenSegment::length);
        let is_first = pending == 0 && !self.segment.as_ref().is_some_and(OpenSegment::has_records);
        is_first || held + (pending + frame + END_FRAME_BYTES) as u64 <= self.settings.segment_bytes
    }

    fn write_frames(&mut self, frames: &[u8], records: u64) {
        if records == 0 {
            return;
        }
        match self.try_write(frames, records) {
            Ok(()) => {
                self.shared.written.fetch_add(records, Ordering::Relaxed);
                self.shared.bytes.fetch_add(frames.len() as u64, Ordering::Relaxed);
            }
            Err(error) => {
                self.fail(error);
                self.count_lost(frames);
            }
        }
    }

    fn try_write(&mut self, frames: &[u8], records: u64) -> Result<(), LogError> {
        if self.segment.is_none() {
            self.segment = Some(self.begin_segment(&frames[FRAME_HEADER_BYTES..])?);
        }
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        let outcome = segment.append(frames, records);
        if segment.is_torn() {
            // Readers stop at its torn tail; the next records go to a new one.
            self.segment = None;
        }
        outcome
    }

    /// A segment starts at the time of its first record, so the log needs no clock of its own.
    fn begin_segment(&mut self, first_record: &[u8]) -> Result<OpenSegment, LogError> {
        let start = record::unix_ns(first_record);
        let LogSettings { folder, writer, .. } = &self.settings;
        let path: PathBuf = folder.join(format!("{writer}-{start:020}-{:06}.open", self.sequence));
        self.sequence += 1;
        let segment = OpenSegment::create(path, writer, start)?;
        self.shared.segments.fetch_add(1, Ordering::Relaxed);
        Ok(segment)
    }

    fn sync(&mut self) {
        if let Some(Err(error)) = self.segment.as_ref().map(OpenSegment::sync) {
            self.fail(error);
        }
    }

    fn seal(&mut self) {
        if let Some(Err(error)) = self.segment.take().map(OpenSegment::seal) {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: LogError) {
        self.shared.write_errors.fetch_add(1, Ordering::Relaxed);
        self.error.get_or_insert(error);
    }

    fn count_lost(&self, mut frames: &[u8]) {
        while let Some(length) = frame_length(frames) {
            let (frame, rest) = frames.split_at(length);
            self.shared.count_dropped(&frame[FRAME_HEADER_BYTES..]);
            frames = rest;
        }
    }
}
