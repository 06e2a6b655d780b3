//! Watches the disk under the chain's database, and ends the node before the disk ends it.
//!
//! The database maps files into memory and keeps a log that it replays when it is opened. On a full disk a write into a mapped file ends
//! the process ([`crate::fault`]), also while the log is replayed; a write that fails otherwise closes the database for good, and a node that
//! only reads goes on looking well. So a node refuses to start with less room than the threshold, ends when the room falls below it, and
//! ends when its database takes no more writes, whatever the cause: a full disk, a quota, a file-size limit.
//!
//! Guarantees: each of these has words that say what to do, and all have an exit code of their own; what the database's log holds is there
//! when the node is started again. A write beyond the file-size limit (`RLIMIT_FSIZE`) is an error of that write, not the end of the process.
//! The operator controls disk and threshold. Does not: free room, help where all of the threshold is taken within a second (the tables grow by
//! `set_len`, which allocates nothing, so that only the database itself could allocate before it writes), or keep changes that the database
//! took and had not written to its log when it closed.

use sc_client_api::AuxStore;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::signal::unix::{signal, SignalKind};

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(1);
const MEBIBYTE: u64 = 1024 * 1024;
/// Room to keep, in MiB. What a node still writes when it ends: the database's logs, 64 MiB and more, go into its tables, and each key into a
/// page of an index whose file has holes where nothing was written yet.
const THRESHOLD: u64 = 1024;
/// The same on a development chain, which is small, as its disk may be: its indices have 32 MiB each.
const DEVELOPMENT_THRESHOLD: u64 = 256;
/// SIGXFSZ: Linux numbers it 25 on x86, Arm and RISC-V.
const FILE_SIZE_EXCEEDED: i32 = 25;

const NOTHING_TO_SET: &[(&[u8], &[u8])] = &[];
const NOTHING_TO_REMOVE: &[&[u8]] = &[];

/// Flags about the disk.
#[derive(Debug, Clone, clap::Args)]
pub struct DiskArguments {
    /// Stop when the database's file system has less room than this, and do not start there; 0 does not look. [default: 1024, 256 on
    /// development chains]
    #[arg(long, value_name = "MIB")]
    db_storage_threshold: Option<u64>,
}

/// Why a node stops for the sake of its disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskFailure {
    /// There is less room than the threshold.
    #[error(
        "disk_low: the file system of {path} has {free} MiB left, and the node stops below {threshold} MiB, so that its database is \
         not cut short; nothing is lost: make room, or move the base path to a larger disk, and start the node again \
         (--db-storage-threshold sets the bound)"
    )]
    Low {
        /// The database.
        path: PathBuf,
        /// What is left, in MiB.
        free: u64,
        /// What has to be left, in MiB.
        threshold: u64,
    },
    /// The database refuses writes, and will until it is opened again.
    #[error(
        "database_closed: the database at {path} takes no more writes ({reason}); what it had written is kept: make room, or raise the \
         quota or the file-size limit (RLIMIT_FSIZE), and start the node again"
    )]
    Closed {
        /// The database.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// A file of the database does not have a length that the database gives it: see [`crate::whole`].
    #[error(
        "database_cut: {file} of the database at {path} has {length} bytes, which the database never gave it: it was cut, or the disk lost \
         a part of it; put back a copy of the whole folder, or remove the folder (`phala-node purge-chain`) and let the node get the chain \
         from its peers again"
    )]
    Cut {
        /// The database.
        path: PathBuf,
        /// Which of its files.
        file: String,
        /// How long that is, in bytes.
        length: u64,
    },
}

/// The watch over one database.
#[derive(Clone)]
pub struct Watch(Arc<Watched>);

struct Watched {
    path: PathBuf,
    /// In MiB.
    threshold: u64,
    failure: OnceLock<DiskFailure>,
}

impl Watch {
    /// Over the database at `path`, which need not exist yet.
    pub fn new(arguments: &DiskArguments, path: &Path, development: bool) -> Self {
        let usual = if development { DEVELOPMENT_THRESHOLD } else { THRESHOLD };
        let threshold = arguments.db_storage_threshold.unwrap_or(usual);
        Self(Arc::new(Watched { path: path.to_owned(), threshold, failure: OnceLock::new() }))
    }

    /// Whether there is room. A file system that does not say how much it has is taken to have enough: the database's word remains.
    ///
    /// # Errors
    /// [`DiskFailure::Low`].
    pub fn check_room(&self) -> Result<(), DiskFailure> {
        let Watched { path, threshold, .. } = &*self.0;
        match free_mebibytes(path) {
            Ok(free) if free < *threshold => Err(DiskFailure::Low { path: path.clone(), free, threshold: *threshold }),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Why the node had to stop, if it had to.
    pub fn failure(&self) -> Option<DiskFailure> {
        self.0.failure.get().cloned()
    }

    /// Ends when the node has to stop: an essential task. Also looks once more when it is dropped, because a task that wrote may have
    /// failed first, and ended the node without saying why.
    pub async fn run<Database: AuxStore>(self, database: Arc<Database>) {
        let look = Look { watch: self, database };
        loop {
            tokio::time::sleep(LOOK).await;
            if look.finds_a_failure() {
                return;
            }
        }
    }

    fn check_writes(&self, database: &impl AuxStore) -> Result<(), DiskFailure> {
        // A commit without changes: the database takes it unless an earlier write has failed.
        database
            .insert_aux(NOTHING_TO_SET, NOTHING_TO_REMOVE)
            .map_err(|error| DiskFailure::Closed { path: self.0.path.clone(), reason: error.to_string() })
    }
}

struct Look<Database: AuxStore> {
    watch: Watch,
    database: Arc<Database>,
}

impl<Database: AuxStore> Look<Database> {
    fn finds_a_failure(&self) -> bool {
        let Err(failure) = self.watch.check_room().and_then(|()| self.watch.check_writes(&*self.database)) else {
            return false;
        };
        if self.watch.0.failure.set(failure.clone()).is_ok() {
            tracing::error!(target: "disk", "{failure}");
        }
        true
    }
}

impl<Database: AuxStore> Drop for Look<Database> {
    fn drop(&mut self) {
        self.finds_a_failure();
    }
}

/// Room for this user on the file system of `path`, or of the nearest folder above it that exists.
fn free_mebibytes(path: &Path) -> std::io::Result<u64> {
    let nearest = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let room = rustix::fs::statvfs(nearest)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize) / MEBIBYTE)
}

/// Makes a write beyond the file-size limit an error of that write. By default the kernel ends the process with a signal.
///
/// # Errors
/// When the system has no resources for it.
pub fn survive_file_size_limit() -> std::io::Result<()> {
    // What handles the signal stays for the life of the process, longer than the runtime in which it is asked for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sp_blockchain::{Error, Result as ChainResult};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A database that can be told to fail.
    #[derive(Default)]
    struct Database {
        fails: AtomicBool,
    }

    impl AuxStore for Database {
        fn insert_aux<
            'a,
            'b: 'a,
            'c: 'a,
            I: IntoIterator<Item = &'a (&'c [u8], &'c [u8])>,
            D: IntoIterator<Item = &'a &'b [u8]>,
        >(
            &self,
            _: I,
            _: D,
        ) -> ChainResult<()> {
            if self.fails.load(Ordering::SeqCst) {
                return Err(Error::Backend("File too large".into()));
            }
            Ok(())
        }

        fn get_aux(&self, _: &[u8]) -> ChainResult<Option<Vec<u8>>> {
            Ok(None)
        }
    }

    fn watch(threshold: u64, path: &Path) -> Watch {
        Watch::new(&DiskArguments { db_storage_threshold: Some(threshold) }, path, true)
    }

    #[test]
    fn room_is_that_of_the_file_system_on_which_the_database_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("not/yet/there");
        assert_eq!(watch(0, &database).check_room(), Ok(()));
        assert_eq!(watch(1, &database).check_room(), Ok(()));
        let refused = watch(u64::MAX, &database).check_room().unwrap_err();
        let DiskFailure::Low { path, free, threshold } = &refused else { panic!("{refused}") };
        assert_eq!((path, *threshold), (&database, u64::MAX));
        assert!(*free > 0);
        let said = refused.to_string();
        assert!(said.starts_with("disk_low: ") && said.contains("--db-storage-threshold"), "{said}");
    }

    #[test]
    fn development_chains_need_less() {
        let usual = DiskArguments { db_storage_threshold: None };
        let thresholds = [false, true].map(|development| Watch::new(&usual, Path::new("/"), development).0.threshold);
        assert_eq!(thresholds, [THRESHOLD, DEVELOPMENT_THRESHOLD]);
    }

    #[tokio::test]
    async fn a_node_whose_database_takes_no_writes_ends_and_says_why() {
        let database = Arc::new(Database::default());
        let watch = watch(0, Path::new("/"));
        let running = tokio::spawn(watch.clone().run(database.clone()));
        tokio::time::sleep(LOOK * 2).await;
        assert!(!running.is_finished());
        assert_eq!(watch.failure(), None);
        database.fails.store(true, Ordering::SeqCst);
        running.await.unwrap();
        let failure = watch.failure().unwrap();
        assert!(
            matches!(&failure, DiskFailure::Closed { reason, .. } if reason.contains("File too large")),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn a_node_that_another_task_ended_first_says_why_all_the_same() {
        let database = Arc::new(Database::default());
        let watch = watch(0, Path::new("/"));
        let running = tokio::spawn(watch.clone().run(database.clone()));
        tokio::task::yield_now().await;
        database.fails.store(true, Ordering::SeqCst);
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert!(matches!(watch.failure(), Some(DiskFailure::Closed { .. })));
    }
}
