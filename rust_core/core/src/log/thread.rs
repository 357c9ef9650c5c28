//! A running log: its queue, and the thread that writes.

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::error::LogError;
use super::queue::{Queue, lock};
use super::segment::is_writer_name;
use super::writer::{Duty, Request, Wish, Writer};

/// Where and how a log is written.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The folder; made when missing.
    pub folder: PathBuf,
    /// Tells the segments of several processes apart: 1..=32 characters of `A-Z a-z 0-9 _ . -`.
    pub writer: String,
    /// Memory for records on their way to the disk, taken once.
    pub queue_bytes: usize,
    /// A segment is sealed before it grows beyond this.
    pub segment_bytes: u64,
}

#[derive(Debug)]
pub(super) struct WritingThread {
    pub(super) queue: Arc<Queue>,
    requests: Sender<Request>,
    /// Gone once closed.
    thread: Mutex<Option<JoinHandle<Result<(), LogError>>>>,
}

impl WritingThread {
    /// Makes the folder and starts the thread. The first segment appears with the first record.
    pub(super) fn start(settings: LogSettings, name: &str, duty: Duty) -> Result<Self, LogError> {
        if !is_writer_name(&settings.writer) {
            return Err(LogError::WriterName { found: settings.writer });
        }
        std::fs::create_dir_all(&settings.folder).map_err(LogError::io("make the folder", &settings.folder))?;
        let queue = Arc::new(Queue::new(settings.queue_bytes));
        let (requests, asked) = channel();
        let writer = Writer::new(Arc::clone(&queue), asked, settings, duty);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|source| LogError::Thread { source: Arc::new(source) })?;
        Ok(Self { queue, requests, thread: Mutex::new(Some(thread)) })
    }

    /// Blocks until the wish is fulfilled for everything queued so far.
    pub(super) fn wait_for(&self, wish: Wish) -> Result<(), LogError> {
        let (answer, answered) = sync_channel(1);
        let gone = || if self.queue.is_closed() { LogError::Closed } else { LogError::WriterGone };
        self.requests.send(Request { wish, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    /// Takes nothing more, writes and seals what is queued, and ends the thread. The second time there is nothing to do.
    pub(super) fn close(&self) -> Result<(), LogError> {
        let Some(thread) = lock(&self.thread).take() else {
            return Ok(());
        };
        self.queue.close();
        // Wakes the thread; it answers to nobody.
        let (answer, _) = sync_channel(1);
        drop(self.requests.send(Request { wish: Wish::OnDisk, answer }));
        // A writer that panicked has nothing left to seal; its segment is recovered later.
        thread.join().unwrap_or(Err(LogError::WriterGone))
    }
}

impl Drop for WritingThread {
    fn drop(&mut self) {
        // Whoever wants to know closes before.
        drop(self.close());
    }
}
