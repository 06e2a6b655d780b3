//! How the simulator and a worker talk: through files, laid out as the Linux kernel lays out its own.
//!
//! # The protocol
//!
//! ```text
//! DIR/report/<entry>/     made and removed by the client, one per request or kept for several
//!        inblob           the client's 64 bytes of report data
//!        outblob          the quote
//!        provider         "tdx_guest\n"
//!        generation       a decimal number and a newline: how many requests of this entry were answered
//! DIR/keys/sealing        32 bytes: the stand-in for the key file that Gramine serves
//! DIR/collateral          phala_attest::Collateral, SCALE-encoded; written last, so that its presence means "ready"
//! ```
//!
//! In the kernel (`/sys/kernel/config/tsm/report`, Documentation/ABI/testing/configfs-tsm) the files of an entry exist as
//! soon as the directory does, a write to `inblob` adds one to `generation`, and reading `outblob` blocks until the quote
//! is made. Here they are ordinary files, so the order of writes carries what the kernel's locks do:
//!
//! 1. The client makes the entry, and finds no `inblob` in it: that tells it that this is not the kernel.
//! 2. It writes the report data to another name in the entry and renames that to `inblob`: the request appears whole.
//! 3. The simulator, which looks every [`POLL_INTERVAL`], reads `inblob` and **removes** it: a request is taken once.
//! 4. It writes `outblob`, then `provider`, then `generation` as the old number plus one, each by rename.
//! 5. The client waits until `generation` is the number it read before (0 if there was none) plus one, reads `outblob`,
//!    and reads `generation` again: unchanged means that no other request of this entry came between. A different number
//!    is a conflict, exactly as with the kernel.
//! 6. It removes the entry.
//!
//! A request of another length than 64 is removed without an answer; the client runs into its timeout. Entries that were
//! left behind by a killed client are removed at the start, once they are [`LEFT_BEHIND`] old. Only who may write into DIR can ask; that is no protection of
//! anything, since anyone can derive the keys.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use codec::Encode;

use crate::{machine::InsecureMachine, pki::PkiError};

/// How often the simulator looks for requests.
pub const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Age of an entry whose client was killed: no client waits so long for its quote.
const LEFT_BEHIND: Duration = Duration::from_secs(120);
/// After how many looks it looks whether its collateral is due: every ten seconds.
const LOOKS_PER_RENEWAL: u32 = 1_000;

/// Why the simulator could not set itself up.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file of the protocol could not be written.
    #[error("cannot prepare {path}")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// New collateral could not be made.
    #[error("cannot renew the collateral")]
    Renew(#[from] PkiError),
}

/// A simulated machine behind a directory.
pub struct InsecureTee {
    machine: InsecureMachine,
    reports: PathBuf,
    collateral: PathBuf,
}

impl InsecureTee {
    /// Prepares `directory` for `machine`.
    pub fn new(directory: &Path, machine: InsecureMachine) -> Result<Self, ServeError> {
        let prepare = |path: PathBuf, action: &dyn Fn(&Path) -> io::Result<()>| {
            action(&path).map_err(|source| ServeError::Prepare { path, source })
        };
        let reports = directory.join("report");
        let keys = directory.join("keys");
        prepare(reports.clone(), &|path| fs::create_dir_all(path).and_then(|()| remove_left_behind(path)))?;
        prepare(keys.clone(), &|path| fs::create_dir_all(path))?;
        prepare(keys.join("sealing"), &|path| write_whole(path, &machine.sealing_key()))?;
        let collateral = directory.join("collateral");
        prepare(collateral.clone(), &|path| write_whole(path, &machine.collateral().encode()))?;
        Ok(Self { machine, reports, collateral })
    }

    /// Replaces the collateral file when it is due at `now` (Unix seconds); whoever relays it looks at the file again and again.
    /// Says whether it did.
    pub fn renew_collateral(&mut self, now: u64) -> Result<bool, ServeError> {
        if !self.machine.renew_collateral(now)? {
            return Ok(false);
        }
        write_whole(&self.collateral, &self.machine.collateral().encode())
            .map_err(|source| ServeError::Prepare { path: self.collateral.clone(), source })?;
        Ok(true)
    }

    /// The machine.
    pub const fn machine(&self) -> &InsecureMachine {
        &self.machine
    }

    /// Answers requests until `stop`; calls `log` once for each with what to print.
    pub fn run(&self, stop: &AtomicBool, log: &mut dyn FnMut(String)) {
        while !stop.load(Ordering::Relaxed) {
            self.answer_pending(log);
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// [`Self::run`], with collateral that is renewed by `clock`, which gives Unix seconds.
    pub fn run_renewing(&mut self, stop: &AtomicBool, clock: &dyn Fn() -> u64, log: &mut dyn FnMut(String)) {
        let mut looks = 0;
        while !stop.load(Ordering::Relaxed) {
            self.answer_pending(log);
            thread::sleep(POLL_INTERVAL);
            looks = (looks + 1) % LOOKS_PER_RENEWAL;
            if looks == 0 {
                match self.renew_collateral(clock()) {
                    Ok(false) => {}
                    Ok(true) => log("INSECURE: renewed the simulated collateral".to_owned()),
                    Err(error) => log(format!("INSECURE: {error}")),
                }
            }
        }
    }

    /// Answers the requests that are there now.
    pub fn answer_pending(&self, log: &mut dyn FnMut(String)) {
        // A directory that vanished or an entry that its client removed meanwhile is not our failure: look again later.
        let Ok(entries) = fs::read_dir(&self.reports) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            match self.answer(&path) {
                Ok(None) => {}
                Ok(Some(message)) => log(format!("INSECURE: {message} for {}", path.display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => log(format!("INSECURE: cannot answer {}: {error}", path.display())),
            }
        }
    }

    fn answer(&self, entry: &Path) -> io::Result<Option<String>> {
        let request = entry.join("inblob");
        let report_data = match fs::read(&request) {
            Ok(bytes) => bytes,
            // A file beside the entries, or no request yet.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None)
            }
            Err(error) => return Err(error),
        };
        fs::remove_file(&request)?;
        let Ok(report_data) = <[u8; 64]>::try_from(report_data) else {
            return Ok(Some("refused a request that does not have 64 bytes".to_string()));
        };
        let generation: u64 = match fs::read_to_string(entry.join("generation")) {
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(_) => 0,
        };
        write_whole(&entry.join("outblob"), &self.machine.quote(report_data))?;
        write_whole(&entry.join("provider"), b"tdx_guest\n")?;
        write_whole(&entry.join("generation"), format!("{}\n", generation.wrapping_add(1)).as_bytes())?;
        Ok(Some(format!("signed a SIMULATED quote of machine {:?}", self.machine.name())))
    }
}

/// Removes entries that nobody touched for [`LEFT_BEHIND`]. A younger one's client still waits: for us, who were killed and are back.
fn remove_left_behind(reports: &Path) -> io::Result<()> {
    for entry in fs::read_dir(reports)?.flatten() {
        let touched = entry.metadata().and_then(|metadata| metadata.modified());
        if touched.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_BEHIND)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Writes beside `path` and renames, so that a reader sees all of it or none.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let temporary = path.with_file_name(name);
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}
