//! What a hostile host leaves on the disk: the store's file, altered or cut, and sealed blobs.
//!
//! Holds: what is read was committed once, whole; everything else is a typed error, and the process goes on. The storage library sees nothing
//! that the host made up, and so panics nowhere.

use crate::{engine::Choices, Target, Verdict};
use phala_crypto::Secret;
use phala_platform::{Entropy as PlatformEntropy, EntropyError as PlatformEntropyError, KeyFileSeal, Seal};
use phala_protocol::{ContractId, Hash};
use phala_state::{
    ClusterStore, CommitError, Entropy, EntropyError, OpenError, Options, ReadError, StorageBackend, StorageFault,
    StorageKey,
};
use std::{
    io::{Error, ErrorKind},
    sync::{Arc, LazyLock, Mutex},
};

/// A disk in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Vec<u8>>>);

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.lock().unwrap();
        let offset = usize::try_from(offset).map_err(|_| Error::from(ErrorKind::UnexpectedEof))?;
        let found = offset.checked_add(out.len()).and_then(|end| bytes.get(offset..end));
        out.copy_from_slice(found.ok_or(Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        // What a file system would refuse too: a host cannot make this one larger than the machine.
        let length = usize::try_from(length).ok().filter(|length| *length <= 64 << 20);
        self.0.lock().unwrap().resize(length.ok_or(Error::from(ErrorKind::StorageFull))?, 0);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut bytes = self.0.lock().unwrap();
        let offset = usize::try_from(offset).map_err(|_| Error::from(ErrorKind::UnexpectedEof))?;
        let place = offset.checked_add(data.len()).and_then(|end| bytes.get_mut(offset..end));
        place.ok_or(Error::from(ErrorKind::UnexpectedEof))?.copy_from_slice(data);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Not random: the same store every time.
struct Counter(Mutex<u64>);

impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut counter = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(32) {
            *counter += 1;
            chunk.copy_from_slice(&phala_protocol::hash::blake2_256(&counter.to_le_bytes())[..chunk.len()]);
        }
        Ok(())
    }
}

pub(super) fn open(disk: &Disk) -> Result<ClusterStore, OpenError> {
    let key = StorageKey::derive(1, &Secret::new([1; 32]), b"this machine");
    let options = Options { file_cache_bytes: 1 << 20, tree_cache_bytes: 16 << 10, ..Options::default() };
    ClusterStore::open_with_backend(disk.clone(), key, Box::new(Counter(Mutex::new(0))), options)
}

const CONTRACT: ContractId = ContractId([3; 32]);

/// The file after two boundaries, the root after each, and the places where it is not zero.
struct World {
    bytes: Vec<u8>,
    versions: [(Option<Vec<u8>>, Hash); 3],
    used: Vec<usize>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let disk = Disk::default();
    let store = open(&disk).unwrap();
    let empty = (None, store.view().root());
    let commit = |entries: std::ops::Range<u8>, value: &[u8], meta: &[u8]| {
        let mut batch = store.begin();
        for key in entries {
            batch.set(&CONTRACT, &[key], value.to_vec()).unwrap();
        }
        let records = vec![(b"outbox".to_vec(), Some(value.to_vec()))];
        (Some(meta.to_vec()), store.commit(batch, meta.to_vec(), records).unwrap().root)
    };
    let versions = [empty, commit(0..60, b"one", b"first"), commit(7..9, b"two", b"second")];
    drop(store);
    let bytes = disk.0.lock().unwrap().clone();
    let used = (0..bytes.len()).filter(|index| bytes[*index] != 0).collect();
    World { bytes, versions, used }
});

/// The input is what the host does to the file: places and bytes, and perhaps a length.
pub static STORES: Target = Target {
    name: "stores",
    covers: &["tee/state/src/store.rs::open_with_backend", "tee/state/src/store.rs::open"],
    samples: LazyLock::new(|| vec![vec![], vec![1, 2, 3, 4, 5, 6], vec![0; 12]]),
    check: |bytes| {
        let mut image = WORLD.bytes.clone();
        let mut choices = Choices::new(bytes);
        let cut = choices.byte();
        while !choices.is_empty() {
            let at = match choices.byte() % 4 {
                // One of the two places of the file's header.
                0 => choices.below(540),
                1 => choices.below(image.len()),
                _ => WORLD.used[choices.below(WORLD.used.len())],
            };
            image[at] =
                if choices.byte().is_multiple_of(2) { choices.byte() } else { image[at] ^ (1 << choices.below(8)) };
        }
        if cut % 8 == 7 {
            image.truncate(choices.below(image.len()) + usize::from(cut));
        }
        stored(Disk(Arc::new(Mutex::new(image))))
    },
    iterations: 150,
};

fn stored(disk: Disk) -> Verdict {
    let store = match open(&disk) {
        Ok(store) => store,
        Err(OpenError::Storage(StorageFault::DriverPanicked)) => panic!("the library was shown what the host made up"),
        Err(error) => return Verdict::refused(error),
    };
    let view = store.view();
    let version = WORLD.versions.iter().find(|(meta, _)| meta.as_deref() == view.meta());
    let (meta, root) = version.expect("a cursor that was never committed");
    assert_eq!(view.root(), *root, "half of a boundary");
    let mut errors = 0_u32;
    for key in 0..60 {
        match view.get(&CONTRACT, &[key]) {
            Ok(value) => {
                let expected: Option<&[u8]> = match meta.as_deref() {
                    None => None,
                    Some(b"second") if (7..9).contains(&key) => Some(b"two"),
                    Some(_) => Some(b"one"),
                };
                assert_eq!(value.as_deref(), expected, "the host chose a value");
            }
            Err(ReadError::Storage(StorageFault::DriverPanicked)) => panic!("the library read what the host made up"),
            Err(_) => errors += 1,
        }
    }
    drop(view);
    let mut batch = store.begin();
    batch.set(&CONTRACT, b"after", vec![1; 100]).unwrap();
    let written = match store.commit(batch, b"after".to_vec(), Vec::new()) {
        Ok(_) => "written",
        Err(
            CommitError::Storage(StorageFault::DriverPanicked)
            | CommitError::OutcomeUnknown(StorageFault::DriverPanicked),
        ) => {
            panic!("the library met with what the host made up in a commit")
        }
        Err(CommitError::Storage(_) | CommitError::Read(_) | CommitError::OutcomeUnknown(_)) => "not written",
        Err(error) => panic!("{error}"),
    };
    Verdict::accepted(format_args!("{} {written} {}", meta.is_some(), errors == 0))
}

struct Fixed;

impl PlatformEntropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), PlatformEntropyError> {
        buffer.fill(9);
        Ok(())
    }
}

/// A seal over a key file that lives as long as the process.
static SEAL: LazyLock<(tempfile::TempDir, KeyFileSeal<Fixed>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, [7; 32]).unwrap();
    let seal = KeyFileSeal::new(path, Fixed).unwrap();
    (folder, seal)
});

/// Blobs that a machine reads back from its host.
pub static SEALED_BLOBS: Target = Target {
    name: "sealed-blobs",
    covers: &["tee/platform/src/seal.rs::open"],
    samples: LazyLock::new(|| {
        let seal = &SEAL.1;
        vec![seal.seal("identity", b"secret").unwrap(), seal.seal("identity", &[1; 300]).unwrap()]
    }),
    check: |bytes| {
        assert!(SEAL.1.open("cursor", bytes).is_err(), "a blob opened as another thing");
        match SEAL.1.open("identity", bytes) {
            Ok(_) => {
                assert!(SEALED_BLOBS.samples.iter().any(|sample| sample == bytes), "an altered blob opened");
                Verdict::accepted("")
            }
            Err(error) => Verdict::refused(error),
        }
    },
    iterations: 1_500,
};
