//! The folder of a development network: who holds it, what is in it, and how it is emptied.
//!
//! Guarantees: one `phala dev` at a time, by a lock that the system drops when its holder dies; only what `phala dev` makes is ever
//! removed, and only from a folder that `phala dev` marked as its own.

use crate::{
    error::{io, CliError},
    home,
};
use phala_client::ErrorCode;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

/// The mark, and what the network was made with.
const SETTINGS: &str = "dev.json";
const LOCK: &str = "lock";
/// All that `phala dev` makes in the folder, the lock aside.
const MADE: [&str; 12] = [
    super::network_file::NAME,
    "chain.json",
    "anchor.json",
    "anchor.scale",
    "pids.json",
    "programs",
    "nodes",
    "tee",
    "workers",
    "snapshots",
    "logs",
    SETTINGS,
];

/// What a network was made with; kept so that starting again needs no flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Chain authorities.
    pub authorities: u32,
    /// Workers.
    pub workers: u32,
    /// Gatekeepers: 1 that holds the whole root, or as many as make one in a ceremony.
    #[serde(default = "lone")]
    pub gatekeepers: u32,
    /// Blocks of a session, where it is not the chain's usual number.
    #[serde(default)]
    pub session_blocks: Option<u32>,
    /// Milliseconds between two blocks, where they are not the chain's usual ones.
    #[serde(default)]
    pub block_milliseconds: Option<u32>,
    /// The sample token, once it is deployed.
    #[serde(default)]
    pub token: Option<String>,
}

/// Networks were made with one before there was a choice.
const fn lone() -> u32 {
    1
}

/// A folder that this process holds.
pub struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Takes the folder, making it if need be.
    ///
    /// # Errors
    /// `refused` when another `phala dev` holds it.
    pub fn take(path: &Path) -> Result<Self, CliError> {
        fs::create_dir_all(path).map_err(io("make", path))?;
        // Processes are handed paths, and run elsewhere than we do.
        let path = fs::canonicalize(path).map_err(io("find", path))?;
        let file = path.join(LOCK);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file);
        let mut lock = open.map_err(io("open", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut lock).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                return Err(CliError::new(
                    ErrorCode::Refused,
                    format!("a `phala dev` with process id {pid} runs in {} already", path.display()),
                )
                .with_hint("`phala stop` ends it; --base-path makes another network"));
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", &file)(error)),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{}", std::process::id()))
            .and_then(|()| lock.flush());
        written.map_err(io("write", &file))?;
        Ok(Self { path, lock })
    }

    /// Who holds the folder, if anybody does.
    pub fn holder(path: &Path) -> Result<Option<u32>, CliError> {
        let file = path.join(LOCK);
        let mut lock = match OpenOptions::new().read(true).write(true).open(&file) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("open", &file)(error)),
        };
        match lock.try_lock() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(read_pid(&mut lock)),
            Err(TryLockError::Error(error)) => Err(io("lock", &file)(error)),
        }
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what `phala dev` made.
    ///
    /// # Errors
    /// `refused` when things with such names lie there and the mark does not.
    pub fn wipe(&self) -> Result<(), CliError> {
        let marked = self.path.join(SETTINGS).exists();
        for name in MADE {
            let path = self.path.join(name);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if !marked {
                return Err(CliError::new(
                    ErrorCode::Refused,
                    format!("{} was not made by `phala dev`, and is not removed", path.display()),
                )
                .with_hint("use an empty folder"));
            }
            let removed = if metadata.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(io("remove", &path))?;
        }
        Ok(())
    }

    /// What the network here was made with, if there is one.
    pub fn settings(&self) -> Result<Option<Settings>, CliError> {
        let path = self.path.join(SETTINGS);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                CliError::invalid(format!("{} is damaged: {error}", path.display()))
                    .with_hint("--fresh starts another network")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("read", &path)(error)),
        }
    }

    /// Keeps what the network was made with.
    pub fn keep(&self, settings: &Settings) -> Result<(), CliError> {
        let json = serde_json::to_vec_pretty(settings)
            .map_err(|error| CliError::new(ErrorCode::Internal, error.to_string()))?;
        home::write_whole(&self.path.join(SETTINGS), &json)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SETTINGS_2: Settings = Settings {
        authorities: 1,
        workers: 2,
        gatekeepers: 1,
        session_blocks: None,
        block_milliseconds: None,
        token: None,
    };

    #[test]
    fn a_network_of_a_release_without_the_choice_has_one_gatekeeper() {
        let settings: Settings = serde_json::from_str(r#"{"authorities": 1, "workers": 2}"#).unwrap();
        assert_eq!(settings, SETTINGS_2);
    }

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Folder::holder(folder.path()).unwrap(), None);
        let held = Folder::take(folder.path()).unwrap();
        let pid = std::process::id();
        let error = Folder::take(folder.path()).err().unwrap();
        assert_eq!(error.code.as_str(), "refused");
        assert!(error.message.contains(&pid.to_string()));
        assert_eq!(Folder::holder(folder.path()).unwrap(), Some(pid));
        drop(held);
        assert_eq!(Folder::holder(folder.path()).unwrap(), None);
        assert!(Folder::take(folder.path()).is_ok());
    }

    #[test]
    fn fresh_removes_what_dev_made_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let held = Folder::take(folder.path()).unwrap();
        held.keep(&SETTINGS_2).unwrap();
        assert_eq!(held.settings().unwrap(), Some(SETTINGS_2));
        fs::create_dir_all(held.path().join("nodes/node-0")).unwrap();
        fs::write(held.path().join("mine.txt"), b"x").unwrap();
        held.wipe().unwrap();
        assert!(!held.path().join("nodes").exists());
        assert!(held.path().join("mine.txt").exists());
        assert_eq!(held.settings().unwrap(), None);
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_wiped() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let held = Folder::take(folder.path()).unwrap();
        assert_eq!(held.wipe().unwrap_err().code.as_str(), "refused");
        assert!(folder.path().join("logs").exists());
    }
}
