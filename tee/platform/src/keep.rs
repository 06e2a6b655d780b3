//! Keeps a TEE's secrets over a restart, or says that its machine cannot.
//!
//! Two backends, and the machine decides which:
//!
//! - [`SealedFiles`] where the TEE serves a key that is bound to its processor and measurement (SGX). A file is replaced whole and
//!   durably or not at all.
//! - [`Readmission`] where there is no such key (TDX, and later Arm CCA). Nothing is kept: a process that starts makes its secrets anew,
//!   registers with fresh evidence, and gets network keys when the gatekeepers have verified that evidence and the chain has assigned
//!   the new identity. That is the only road by which anything secret comes back.
//!
//! What neither can do is tell an old file from the newest: the host owns the disk. A rewound file shows on the chain instead. What is
//! sealed is an identity; of one machine the registry holds the identity that registered last (`Hardware` and `Workers` of
//! `chain/pallets/attestation`), so an older one that is put back finds no registration of its own and has to be admitted like any
//! other. State and cursor are no concern of this module: `phala-core` compares them with the finalised head before it serves.
//!
//! Names come from the logic, never from outside. The host controls whether files come back, not what is in them.

use crate::seal::{Seal, SealError};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::PathBuf,
};
use zeroize::Zeroizing;

/// Bytes of a sealed file that are read: more than any sealed blob has.
const FILE_LIMIT: u64 = 2 * 1024 * 1024;

/// Keeps named secrets.
pub trait Keep: Send + Sync {
    /// Keeps `secret` as `name`, replacing what was there.
    fn keep(&self, name: &str, secret: &[u8]) -> Result<(), KeepError>;

    /// What was kept as `name`; none if there is nothing. Wiped when dropped.
    fn kept(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeepError>;

    /// Forgets what was kept as `name`; there may be nothing.
    fn forget(&self, name: &str) -> Result<(), KeepError>;

    /// Whether a secret is there again after a restart.
    fn survives_restart(&self) -> bool;
}

/// Why a secret was not kept, or not given back.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The disk.
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
    /// The file does not open.
    #[error(
        "{path} does not open; after an update of firmware or program it never will again: \
         move it away, and the machine is admitted anew under another identity"
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
    /// Nothing could be sealed.
    #[error("cannot seal")]
    Seal(#[source] SealError),
}

/// Sealed files in a folder.
#[derive(Clone, Debug)]
pub struct SealedFiles<S> {
    seal: S,
    folder: PathBuf,
}

impl<S: Seal + Send + Sync> SealedFiles<S> {
    /// Keeps in `folder`, which exists.
    pub fn new(seal: S, folder: impl Into<PathBuf>) -> Self {
        Self { seal, folder: folder.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.sealed"))
    }

    /// Written aside, synced, renamed, and the folder synced.
    fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), KeepError> {
        let (path, aside) = (self.path(name), self.folder.join(format!("{name}.sealed.new")));
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| KeepError::File { action: "write", path: path.clone(), source })
    }
}

impl<S: Seal + Send + Sync> Keep for SealedFiles<S> {
    fn keep(&self, name: &str, secret: &[u8]) -> Result<(), KeepError> {
        let sealed = self.seal.seal(name, secret).map_err(KeepError::Seal)?;
        self.write_whole(name, &sealed)
    }

    fn kept(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeepError> {
        let path = self.path(name);
        let mut sealed = Vec::new();
        match File::open(&path).and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut sealed)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeepError::File { action: "read", path, source }),
        }
        // Where `forget` was interrupted: no sealed bytes begin with a zero. The host could remove the file as well.
        if sealed.first() == Some(&0) {
            return Ok(None);
        }
        self.seal.open(name, &sealed).map(Some).map_err(|source| KeepError::Open { path, source })
    }

    /// Overwritten, synced, removed, and the folder synced. What the disk, or its host, has beside the file stays.
    fn forget(&self, name: &str) -> Result<(), KeepError> {
        let path = self.path(name);
        let remove = || {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            let length = file.metadata()?.len().min(FILE_LIMIT);
            io::copy(&mut io::repeat(0).take(length), &mut file)?;
            file.sync_all()?;
            fs::remove_file(&path)?;
            File::open(&self.folder)?.sync_all()
        };
        match remove() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| KeepError::File { action: "remove", path: path.clone(), source }),
        }
    }

    fn survives_restart(&self) -> bool {
        true
    }
}

/// Keeps nothing: a restarted machine is admitted anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readmission;

impl Keep for Readmission {
    /// Does nothing: whoever made the secret has it for as long as the process lives, and nobody has it after.
    fn keep(&self, _name: &str, _secret: &[u8]) -> Result<(), KeepError> {
        Ok(())
    }

    fn kept(&self, _name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeepError> {
        Ok(None)
    }

    fn forget(&self, _name: &str) -> Result<(), KeepError> {
        Ok(())
    }

    fn survives_restart(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{
        entropy::{Entropy, EntropyError, KernelEntropy},
        seal::KeyFileSeal,
    };
    use std::{
        collections::BTreeSet,
        path::Path,
        sync::{Arc, Mutex},
    };

    /// A machine whose TEE serves `key`, with its disk at `disk`.
    fn machine(tee: &Path, key: &[u8], disk: &Path) -> SealedFiles<KeyFileSeal<KernelEntropy>> {
        let path = tee.join("_sgx_mrenclave");
        fs::write(&path, key).unwrap();
        SealedFiles::new(KeyFileSeal::new(path, KernelEntropy).unwrap(), disk)
    }

    #[test]
    fn the_same_binary_on_the_same_processor_finds_what_it_kept_and_no_other_does() {
        let (tee, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keep = machine(tee.path(), &[7; 16], disk.path());
        assert!(keep.survives_restart());
        assert_eq!(keep.kept("identity").unwrap(), None);
        keep.keep("identity", b"secret").unwrap();
        keep.keep("identity", b"newer").unwrap();
        let again = machine(tee.path(), &[7; 16], disk.path());
        assert_eq!(again.kept("identity").unwrap().unwrap().as_slice(), b"newer");
        let on_disk = fs::read(disk.path().join("identity.sealed")).unwrap();
        assert!(!on_disk.windows(5).any(|window| window == b"newer"));
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1, "no file is left aside");
        // Another program, or the same on another processor: the TEE serves it another key.
        let other = machine(tee.path(), &[8; 16], disk.path());
        assert!(matches!(other.kept("identity"), Err(KeepError::Open { source: SealError::Open, .. })));
    }

    /// Gives what the kernel gives, and remembers it.
    #[derive(Clone, Default)]
    struct Noted(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Entropy for Noted {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            KernelEntropy.fill(bytes)?;
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(())
        }
    }

    /// Gives the same all the time.
    struct Stuck;

    impl Entropy for Stuck {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(7);
            Ok(())
        }
    }

    #[test]
    fn each_sealing_has_a_nonce_that_was_drawn_for_it_over_restarts_threads_and_old_disks() {
        let (tee, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = tee.path().join("_sgx_mrenclave");
        fs::write(&key, [7; 16]).unwrap();
        let drawn = Noted::default();
        // A process of the machine: key and disk are those of the one before.
        let process = || SealedFiles::new(KeyFileSeal::new(&key, drawn.clone()).unwrap(), disk.path());
        let file = |name: &str| disk.path().join(format!("{name}.sealed"));
        // Behind the version.
        let nonce = |name: &str| fs::read(file(name)).unwrap()[1..13].to_vec();
        process().keep("identity", b"secret").unwrap();
        let (old, mut nonces) = (fs::read(file("identity")).unwrap(), vec![nonce("identity")]);
        for _ in 0..12 {
            let keep = process();
            for name in ["identity", "seat"] {
                keep.keep(name, b"secret").unwrap();
                nonces.push(nonce(name));
            }
            keep.forget("seat").unwrap();
            // Its host puts the oldest file back.
            fs::write(file("identity"), &old).unwrap();
            assert_eq!(keep.kept("identity").unwrap().unwrap().as_slice(), b"secret");
        }
        let (keep, names) = (process(), ["a", "b", "c", "d"]);
        std::thread::scope(|scope| {
            for name in names {
                let keep = &keep;
                scope.spawn(move || keep.keep(name, b"secret").unwrap());
            }
        });
        nonces.extend(names.map(nonce));
        let distinct: BTreeSet<Vec<u8>> = nonces.iter().cloned().collect();
        assert_eq!((nonces.len(), distinct.len()), (1 + 2 * 12 + 4, nonces.len()), "each seals once");
        let drawn: BTreeSet<Vec<u8>> = drawn.0.lock().unwrap().drain(..).collect();
        assert_eq!(drawn, distinct, "and is what was drawn for it, all of it");
        // A source that repeats itself would be seen, and tells no more than that two files are equal.
        let stuck = SealedFiles::new(KeyFileSeal::new(&key, Stuck).unwrap(), disk.path());
        for name in ["a", "b"] {
            stuck.keep(name, name.as_bytes()).unwrap();
        }
        assert_eq!(nonce("a"), nonce("b"));
    }

    #[test]
    fn a_file_that_the_host_altered_cut_swapped_or_blew_up_does_not_open() {
        let (tee, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keep = machine(tee.path(), &[7; 16], disk.path());
        keep.keep("identity", b"secret").unwrap();
        let path = disk.path().join("identity.sealed");
        let good = fs::read(&path).unwrap();
        fs::write(disk.path().join("root.sealed"), &good).unwrap();
        assert!(matches!(keep.kept("root"), Err(KeepError::Open { .. })), "sealed as something else");
        for bad in [good[..good.len() - 1].to_vec(), Vec::new(), vec![1; 3 << 20]] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(keep.kept("identity"), Err(KeepError::Open { .. })));
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(keep.kept("identity"), Err(KeepError::File { action: "read", .. })));
        assert!(matches!(keep.keep("identity", b"secret"), Err(KeepError::File { action: "write", .. })));
    }

    #[test]
    fn what_is_forgotten_is_gone_and_nothing_else() {
        let (tee, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keep = machine(tee.path(), &[7; 16], disk.path());
        keep.forget("seat").unwrap();
        keep.keep("seat", b"secret").unwrap();
        keep.keep("identity", b"other").unwrap();
        // Whoever holds the file open sees it overwritten.
        let mut open = File::open(disk.path().join("seat.sealed")).unwrap();
        keep.forget("seat").unwrap();
        let mut left = Vec::new();
        open.read_to_end(&mut left).unwrap();
        assert!(!left.is_empty() && left.iter().all(|byte| *byte == 0));
        assert_eq!(keep.kept("seat").unwrap(), None);
        assert_eq!(keep.kept("identity").unwrap().unwrap().as_slice(), b"other");
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
        // Interrupted between overwriting and removing.
        fs::write(disk.path().join("seat.sealed"), [0; 64]).unwrap();
        assert_eq!(keep.kept("seat").unwrap(), None);
        keep.forget("seat").unwrap();
        fs::create_dir(disk.path().join("seat.sealed")).unwrap();
        assert!(matches!(keep.forget("seat"), Err(KeepError::File { action: "remove", .. })));
    }

    #[test]
    fn a_machine_without_a_sealing_key_keeps_nothing_and_says_so() {
        let keep = Readmission;
        keep.keep("identity", b"secret").unwrap();
        keep.forget("identity").unwrap();
        assert_eq!(keep.kept("identity").unwrap(), None);
        assert!(!keep.survives_restart());
    }
}
