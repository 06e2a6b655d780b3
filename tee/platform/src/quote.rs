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

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use phala_attest::{canonical_quote, DecodeError, Evidence, List, TooLong};

/// How long a quote may take unless said otherwise. TDX takes tens of milliseconds; a quoting service that was just
/// started, seconds.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an answer is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Bytes of the largest answer read. The kernel's own limit is 32 KiB.
const ANSWER_LIMIT: usize = 32 * 1024;

/// Gets evidence about this machine.
pub trait Quote {
    /// Evidence whose report data are these 64 bytes. Blocks until the machine answers or a timeout passes.
    fn quote(&self, report_data: &[u8; 64]) -> Result<Quoted, QuoteError>;
}

/// What the machine's driver answered. Not verified: whoever relies on it does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Which driver answered.
    pub provider: Provider,
    /// Its answer, without padding.
    pub evidence: Evidence,
}

/// A driver behind configfs-tsm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Intel TDX: `tdx_guest`. The simulator answers by this name too; only its root tells.
    TdxGuest,
}

/// Why there is no quote.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    /// There is no such interface here.
    #[error("{0} is no configfs-tsm report directory: not a confidential machine, or configfs is not mounted")]
    NoInterface(PathBuf),
    /// A file of the interface failed.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// No answer in time. Worth another try.
    #[error("no quote within {0:?}: is the quoting service (or the simulator) running?")]
    Timeout(Duration),
    /// Somebody else used our report at the same time. Worth another try.
    #[error("generation is {found} where {expected} was expected: another process wrote into our report")]
    Conflict {
        /// The number if only we wrote.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// `generation` holds no number.
    #[error("generation is not a number")]
    Generation,
    /// A driver whose evidence is not supported.
    #[error("provider {0:?} is not supported, only tdx_guest")]
    Provider(String),
    /// The answer is too long.
    #[error("answer is longer than {ANSWER_LIMIT} bytes")]
    AnswerTooLong,
    /// The answer is not a quote.
    #[error("driver's answer is not a quote")]
    Malformed(#[from] DecodeError),
    /// The quote is longer than evidence may be.
    #[error("quote is longer than evidence may be")]
    QuoteTooLong(#[from] TooLong),
}

/// The configfs-tsm interface at a directory.
#[derive(Clone, Debug)]
pub struct ConfigfsTsm {
    directory: PathBuf,
    timeout: Duration,
}

impl ConfigfsTsm {
    /// Where Linux has it.
    pub const LINUX: &'static str = "/sys/kernel/config/tsm/report";

    /// The interface at `directory`: [`Self::LINUX`], or `report` in the simulator's directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), timeout: DEFAULT_TIMEOUT }
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
        Entry::create(&self.directory)?.ask(report_data, self.timeout)
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
        let answer = self.read("outblob")?;
        let provider = self.read("provider")?;
        let found = self.generation()?.unwrap_or(0);
        if found != expected {
            return Err(QuoteError::Conflict { expected, found });
        }
        if answer.len() > ANSWER_LIMIT {
            return Err(QuoteError::AnswerTooLong);
        }
        let provider = String::from_utf8_lossy(&provider);
        match provider.trim() {
            "tdx_guest" => {
                let evidence = Evidence::TdxDcap(List::try_from(canonical_quote(&answer)?.to_vec())?);
                Ok(Quoted { provider: Provider::TdxGuest, evidence })
            }
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
        let path = self.0.join("generation");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| QuoteError::Generation),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(QuoteError::File { action: "read", path, source }),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, QuoteError> {
        let path = self.0.join(name);
        fs::read(&path).map_err(|source| QuoteError::File { action: "read", path, source })
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
