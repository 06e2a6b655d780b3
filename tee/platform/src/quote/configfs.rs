//! Asks the machine's driver for a quote, by Linux's one interface for all TEEs.
//!
//! `/sys/kernel/config/tsm/report` (Linux 6.7; Documentation/ABI/testing/configfs-tsm): a directory made there is a report
//! of its own with the files `inblob`, `outblob`, `provider` and `generation`. Writing `inblob` adds one to `generation`;
//! reading `outblob` makes the quote. If `generation` is not the one expected afterwards, somebody else wrote into our
//! report and the quote may be about *his* bytes: it is thrown away.
//!
//! The simulator serves the same files as ordinary ones. The only difference a client must know: the kernel's `inblob`
//! exists as soon as the directory does and is written in place in one write, and the simulator's does not, so that it is
//! made under another name and renamed. `testing/insecure-tee/src/serve.rs` has that protocol in full.

use super::{read, Provider, Quote, QuoteError, Quoted, DEFAULT_TIMEOUT};
use crate::bounded::Places;
use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How often an answer is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Requests that may be in the driver at once.
const PLACES: usize = 16;
/// How much longer than its own patience a request may take to give up: to remove its entry.
const GRACE: Duration = Duration::from_secs(1);

/// The configfs-tsm interface at a directory.
#[derive(Clone, Debug)]
pub struct ConfigfsTsm {
    directory: PathBuf,
    timeout: Duration,
    places: Places,
}

impl ConfigfsTsm {
    /// Where Linux has it.
    pub const LINUX: &'static str = "/sys/kernel/config/tsm/report";

    /// The interface at `directory`: [`Self::LINUX`], or `report` in the simulator's directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), timeout: DEFAULT_TIMEOUT, places: Places::new(PLACES) }
    }

    /// The same interface with another timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Quote for ConfigfsTsm {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Quoted, QuoteError> {
        let (directory, timeout, report_data) = (self.directory.clone(), self.timeout, *report_data);
        // The kernel's `outblob` blocks for as long as the quoting service takes.
        let answered = self
            .places
            .run(timeout.saturating_add(GRACE), move || Entry::create(&directory)?.ask(&report_data, timeout));
        answered.map_err(|_| QuoteError::Timeout(timeout))?
    }
}

/// One report of ours, removed when dropped.
struct Entry(PathBuf);

impl Entry {
    fn create(directory: &Path) -> Result<Self, QuoteError> {
        // A report per request: requests of one process never meet, and those of two differ by the process id.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        if !directory.is_dir() {
            return Err(QuoteError::NoInterface(directory.to_path_buf()));
        }
        loop {
            let name = format!("phala-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
            let path = directory.join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                // Left behind by a killed process that had our id. Taking another name is enough.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(QuoteError::File { action: "make", path, source }),
            }
        }
    }

    fn ask(&self, report_data: &[u8; 64], timeout: Duration) -> Result<Quoted, QuoteError> {
        let deadline = Instant::now() + timeout;
        let before = self.generation()?.unwrap_or(0);
        let expected = before.wrapping_add(1);
        self.request(report_data)?;
        // The kernel has counted by now; the simulator counts when it has made the quote.
        loop {
            match self.generation()? {
                Some(found) if found == expected => break,
                Some(found) if found != before => return Err(QuoteError::Conflict { expected, found }),
                _ if Instant::now() >= deadline => return Err(QuoteError::Timeout(timeout)),
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
        let answer = read(&self.0.join("outblob"))?;
        let provider = read(&self.0.join("provider"))?;
        let found = self.generation()?.unwrap_or(0);
        if found != expected {
            return Err(QuoteError::Conflict { expected, found });
        }
        let provider = String::from_utf8_lossy(&provider);
        match provider.trim() {
            "tdx_guest" => Quoted::take(Provider::TdxGuest, &answer, report_data),
            other => Err(QuoteError::Provider(other.chars().take(64).collect())),
        }
    }

    fn request(&self, report_data: &[u8; 64]) -> Result<(), QuoteError> {
        let path = self.0.join("inblob");
        let result = match fs::OpenOptions::new().write(true).open(&path) {
            // The kernel's: it takes the bytes when the file is closed, so they are written at once and the file is closed
            // here. A refusal at the close is not reported to us; `generation` then stays, and we run into the timeout.
            Ok(mut file) => file.write_all(report_data),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let whole = self.0.join("inblob.new");
                fs::write(&whole, report_data).and_then(|()| fs::rename(&whole, &path))
            }
            Err(error) => Err(error),
        };
        result.map_err(|source| QuoteError::File { action: "write", path, source })
    }

    /// The number in `generation`; none if the simulator has not answered yet.
    fn generation(&self) -> Result<Option<u64>, QuoteError> {
        match read(&self.0.join("generation")) {
            Ok(text) => {
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
                number.map(Some).ok_or(QuoteError::Generation)
            }
            Err(QuoteError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // The kernel's files vanish with their directory and cannot be removed one by one; ordinary ones must be. A report
        // that stays costs a little kernel memory and nothing else.
        if fs::remove_dir(&self.0).is_err() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests;
