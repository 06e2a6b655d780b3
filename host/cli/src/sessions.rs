//! The sessions that this user has open, one for each account, cluster and network: `$PHALA_HOME/sessions`.
//!
//! Guarantees: a file is its owner's alone (mode 0600, in a folder of mode 0700), is replaced whole and durably, and gives a number to
//! one command only, also when two processes use it at once or one is killed. It is not encrypted: whoever reads it can command in
//! the account's name, at a payer's cost of their own, until the cluster's epoch ends; after that it opens nothing. Whoever owns the
//! folder controls what is in it.

use crate::{
    error::{io, CliError},
    home,
};
use phala_client::{command::session::Session, ErrorCode};
use phala_protocol::{AccountId, ClusterId, Hash};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Bytes of a kept session: more than any has.
const MAX_BYTES: u64 = 4_096;
/// How long to wait for another process that uses the session: as long as a command takes to be in a finalised block.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// The folder of kept sessions.
pub struct Store {
    folder: PathBuf,
}

/// Whose session, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The chain.
    pub genesis: Hash,
    /// The cluster.
    pub cluster: ClusterId,
    /// The account.
    pub account: AccountId,
}

/// A kept session that nobody else uses meanwhile.
pub struct Held {
    path: PathBuf,
    place: Place,
    _lock: File,
}

impl Store {
    /// The user's.
    pub fn open() -> Result<Self, CliError> {
        Ok(Self { folder: home::folder()?.join("sessions") })
    }

    /// Takes the place of a session, whether or not one is kept there, for as long as the value lives.
    pub async fn hold(&self, place: Place) -> Result<Held, CliError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(io("make", &self.folder))?;
        let Place { genesis, cluster, account } = &place;
        let name = format!("{}-{cluster}-{}", hex::encode(genesis), hex::encode(account.0));
        let path = self.folder.join(format!("{name}.session"));
        let lock = self.folder.join(format!("{name}.lock"));
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
        let file = file.map_err(io("open", &lock))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Held { path, place, _lock: file }),
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => tokio::time::sleep(POLL).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(
                        CliError::new(ErrorCode::Busy, "another command uses the session").with_hint("wait for it")
                    )
                }
                Err(TryLockError::Error(error)) => return Err(io("lock", &lock)(error)),
            }
        }
    }
}

impl Held {
    /// The session that is kept here.
    pub fn read(&self) -> Result<Session, CliError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!("the account has no session in cluster {} here", self.place.cluster);
                return Err(CliError::new(ErrorCode::NotFound, message).with_hint(OPEN));
            }
            Err(error) => return Err(io("open", &self.path)(error)),
        };
        let mut bytes = Vec::with_capacity(usize::try_from(MAX_BYTES).unwrap_or_default());
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io("read", &self.path))?;
        let session = Session::from_kept(bytes).map_err(|error| CliError::from(error).with_hint(OPEN))?;
        let found = Place { genesis: *session.genesis(), cluster: session.cluster(), account: session.account() };
        if found != self.place {
            return Err(CliError::invalid(format!("{} is another session than its name says", self.path.display()))
                .with_hint(OPEN));
        }
        Ok(session)
    }

    /// Keeps these bytes of a session.
    pub fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        let aside = self.path.with_extension("new");
        // What a process that was killed left of one is not wanted, nor whatever else lies there.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("replace", &aside)(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        let mut file = file.map_err(io("write", &aside))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write", &aside))?;
        fs::rename(&aside, &self.path).map_err(io("write", &self.path))?;
        // Only the folder knows the new name: without it a power cut brings the old numbers back.
        let folder = self.path.parent().unwrap_or(&self.path);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync", folder))
    }
}

/// What to do about a session that is none.
pub const OPEN: &str = "`phala session open --from ACCOUNT` opens one";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use codec::Encode;
    use std::os::unix::fs::PermissionsExt;

    fn place(cluster: u32) -> Place {
        Place { genesis: [1; 32], cluster: ClusterId(cluster), account: AccountId([2; 32]) }
    }

    /// As `Session::keep` gives it, with the number of its next command.
    fn kept(cluster: u32, next: u64) -> Vec<u8> {
        (1u8, AccountId([2; 32]), [1u8; 32], ClusterId(cluster), 7u32, next, [3u8; 32], [4u8; 32]).encode()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().join("sessions") };
        (folder, store)
    }

    #[tokio::test]
    async fn a_session_is_kept_for_its_owner_alone_and_found_at_its_place() {
        let (_folder, store) = store();
        let held = store.hold(place(0)).await.unwrap();
        let missing = held.read().err().unwrap();
        assert_eq!((missing.code.as_str(), missing.hint.as_deref()), ("not_found", Some(OPEN)));
        for next in [1, 2] {
            held.write(&kept(0, next)).unwrap();
            let session = held.read().unwrap();
            assert_eq!(session.keep().expose(), &kept(0, next));
            assert_eq!(session.epoch(), 7);
        }
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&held.path), mode(&store.folder)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 2, "the session and its lock, and nothing besides");
        assert_eq!(store.hold(place(1)).await.unwrap().read().err().unwrap().code.as_str(), "not_found");
    }

    #[tokio::test]
    async fn what_is_damaged_or_another_session_is_refused_with_what_to_do() {
        let (_folder, store) = store();
        let held = store.hold(place(0)).await.unwrap();
        for bytes in [Vec::new(), kept(0, 1)[1..].to_vec(), kept(1, 1), vec![1; 100_000]] {
            held.write(&bytes).unwrap();
            let refused = held.read().err().unwrap();
            assert_eq!((refused.code.as_str(), refused.hint.as_deref()), ("invalid", Some(OPEN)));
        }
    }

    #[tokio::test]
    async fn two_at_once_wait_for_each_other() {
        let (_folder, store) = store();
        let held = store.hold(place(0)).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(300), store.hold(place(0))).await;
        assert!(waited.is_err(), "it is taken");
        drop(held);
        store.hold(place(0)).await.unwrap();
    }
}
