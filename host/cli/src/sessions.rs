//! The sessions that this user has open, one for each account, cluster and network: `$PHALA_HOME/sessions`.
//!
//! Guarantees: a file is its owner's alone (mode 0600, in a folder of mode 0700), sealed by its account's key, which lies encrypted in a
//! key file of its own, replaced whole and durably, and gives a number to one command only, also when two processes use it at once or
//! one is killed. INSECURE: a development account's key is published, so whoever reads the file of its session has the session. Whoever
//! owns the folder controls what is in it: also that an older file comes back, whose numbers are given again then. What two commands
//! under one number show is whether they are equal, and the cluster takes one of them.

use crate::{
    error::{io, CliError},
    home,
};
use phala_client::{command::session::Session, Account, ErrorCode};
use phala_protocol::{AccountId, ClusterId, Hash};
use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
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
    /// The file's name: what it is sealed for.
    name: String,
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
        home::private_folder(&self.folder)?;
        let Place { genesis, cluster, account } = &place;
        let name = format!("{}-{cluster}-{}", hex::encode(genesis), hex::encode(account.0));
        let lock = self.folder.join(format!("{name}.lock"));
        let name = format!("{name}.session");
        let path = self.folder.join(&name);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
        let file = file.map_err(io("open", &lock))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Held { path, name, place, _lock: file }),
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
    /// The session that `account` keeps here.
    pub fn read(&self, account: &Account) -> Result<Session, CliError> {
        let Some(bytes) = home::read_private(&self.path, MAX_BYTES)? else {
            let message = format!("the account has no session in cluster {} here", self.place.cluster);
            return Err(CliError::new(ErrorCode::NotFound, message).with_hint(OPEN));
        };
        let session = account.open_own(&self.name, &bytes).and_then(Session::from_kept);
        let session = session.map_err(|error| CliError::from(error).with_hint(OPEN))?;
        let found = Place { genesis: *session.genesis(), cluster: session.cluster(), account: session.account() };
        if found != self.place {
            return Err(CliError::invalid(format!("{} is another session than its name says", self.path.display()))
                .with_hint(OPEN));
        }
        Ok(session)
    }

    /// Keeps these bytes of a session, sealed by `account`.
    pub fn write(&self, account: &Account, bytes: &[u8]) -> Result<(), CliError> {
        home::write_private(&self.path, &account.seal_own(&self.name, bytes)?)
    }
}

/// What to do about a session that is none.
pub const OPEN: &str = "`phala session open --from ACCOUNT` opens one";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use codec::Encode;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn alice() -> Account {
        Account::development("alice").unwrap()
    }

    fn place(cluster: u32) -> Place {
        Place { genesis: [1; 32], cluster: ClusterId(cluster), account: alice().id() }
    }

    /// As `Session::keep` gives it, with the number of its next command.
    fn kept(cluster: u32, next: u64) -> Vec<u8> {
        (2u8, alice().id(), [1u8; 32], ClusterId(cluster), 7u32, next, 0u64, [3u8; 32], [4u8; 32]).encode()
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
        let missing = held.read(&alice()).err().unwrap();
        assert_eq!((missing.code.as_str(), missing.hint.as_deref()), ("not_found", Some(OPEN)));
        for next in [1, 2] {
            held.write(&alice(), &kept(0, next)).unwrap();
            let session = held.read(&alice()).unwrap();
            assert_eq!(session.keep().expose(), &kept(0, next));
            assert_eq!(session.epoch(), 7);
        }
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&held.path), mode(&store.folder)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 2, "the session and its lock, and nothing besides");
        assert_eq!(store.hold(place(1)).await.unwrap().read(&alice()).err().unwrap().code.as_str(), "not_found");
    }

    #[tokio::test]
    async fn a_kept_session_is_sealed_by_its_account() {
        let (_folder, store) = store();
        let held = store.hold(place(0)).await.unwrap();
        held.write(&alice(), &kept(0, 1)).unwrap();
        let on_disk = fs::read(&held.path).unwrap();
        for secret in [[3u8; 32], [4; 32]] {
            assert!(!on_disk.windows(8).any(|window| secret.starts_with(window)), "its key or its secret");
        }
        let stranger = held.read(&Account::generate("mallory").unwrap()).err().unwrap();
        assert_eq!((stranger.code.as_str(), stranger.hint.as_deref()), ("invalid", Some(OPEN)));
        // Nor does it open where the session of another cluster is looked for.
        let other = store.hold(place(1)).await.unwrap();
        fs::write(&other.path, &on_disk).unwrap();
        fs::set_permissions(&other.path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(other.read(&alice()).err().unwrap().code.as_str(), "invalid");
    }

    #[tokio::test]
    async fn what_is_damaged_or_another_session_is_refused_with_what_to_do() {
        let (_folder, store) = store();
        let held = store.hold(place(0)).await.unwrap();
        for bytes in [Vec::new(), kept(0, 1)[1..].to_vec(), kept(1, 1), vec![1; 2_000]] {
            held.write(&alice(), &bytes).unwrap();
            let refused = held.read(&alice()).err().unwrap();
            assert_eq!((refused.code.as_str(), refused.hint.as_deref()), ("invalid", Some(OPEN)));
        }
        // In clear, as an earlier version kept it; and more than any has.
        for bytes in [kept(0, 1), vec![1; 100_000]] {
            home::write_private(&held.path, &bytes).unwrap();
            assert_eq!(held.read(&alice()).err().unwrap().code.as_str(), "invalid");
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
