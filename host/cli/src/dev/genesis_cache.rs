//! Genesis files that were made before: a node computes them by executing its runtime, which an unoptimised node compiles first.
//!
//! An entry's name is the hash of all that decides its content: the node's binary, byte by byte, the preset, and what of it was changed.
//! So a rebuilt node, another preset or other settings find nothing here, and a network is the same whether it was here or not.
//! Guarantees: an entry is read whole and unaltered, as the one that its name says, or not at all; what cannot be read or kept costs
//! time and nothing else; the number of entries is bounded. Only what the user who runs this could have written is believed: the folder
//! is a folder of this user's (mode 0700), an entry a file of this user's that nobody else may read or write (0600), and neither is a
//! link. A name cannot be verified by the content, which only the node can compute; it is part of what an entry's hash is over, so that
//! one entry does not serve as another. Whoever can write as this user can make a false one, and replace the binaries too.

use super::folder::Settings;
use crate::{error::CliError, home};
use codec::{Decode, Encode};
use phala_protocol::{hash::blake2_256, Hash};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The folder of entries.
const FOLDER: &str = "genesis";
/// Entries that are kept: the newest ones.
const MAX_ENTRIES: usize = 8;
/// Bytes of an entry that are read; one has about 5 MB.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of the binary that are hashed at once.
const PIECE: usize = 1 << 20;
/// The node's preset with several authorities.
pub const LOCAL: &str = "local";
/// Changes with what an entry holds.
const FORMAT: &str = "phala dev: genesis 3";

/// The genesis of a chain, as files.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Genesis {
    /// The raw specification.
    pub specification: Vec<u8>,
    /// The anchor, in JSON.
    pub anchor: Vec<u8>,
}

/// Which genesis is wanted of a node.
pub struct Wanted<'a> {
    /// The node's name for it.
    pub preset: &'static str,
    /// What is changed in it.
    pub settings: &'a Settings,
}

impl Wanted<'_> {
    /// Whether anything is not the preset's own.
    pub fn is_changed(&self) -> bool {
        self.settings.session_blocks.is_some()
            || self.settings.block_milliseconds.is_some()
            || (self.preset == LOCAL && self.is_lone())
    }

    /// Whether one gatekeeper may hold the whole root.
    fn is_lone(&self) -> bool {
        self.settings.gatekeepers <= 1
    }

    fn entry(&self, node: &Hash) -> String {
        let Settings { session_blocks, block_milliseconds, .. } = self.settings;
        let name = (FORMAT, node, self.preset, session_blocks, block_milliseconds, self.is_lone()).encode();
        hex::encode(blake2_256(&name))
    }
}

/// The genesis that `node` makes: what is kept of it under `cache`, or what `make` gives.
pub async fn made(
    cache: Option<&Path>,
    node: &Path,
    wanted: &Wanted<'_>,
    make: impl AsyncFnOnce() -> Result<Genesis, CliError>,
) -> Result<Genesis, CliError> {
    let folder = cache.map(|cache| cache.join(FOLDER));
    let (Some(folder), Some(before)) = (folder, hash_of(node)) else { return make().await };
    let entry = folder.join(wanted.entry(&before));
    // Whoever could write to the folder could have put an entry there, or another one in its place.
    if folder.exists() && home::private_folder(&folder).is_ok() {
        if let Some(genesis) = read(&entry) {
            return Ok(genesis);
        }
    }
    let genesis = make().await?;
    // A node that was built anew meanwhile may have made it.
    if hash_of(node) == Some(before) {
        keep(&folder, &entry, &genesis);
    }
    Ok(genesis)
}

/// A hash over all of a file, piece by piece.
fn hash_of(path: &Path) -> Option<Hash> {
    let mut file = File::open(path).ok()?;
    let mut hash = Hash::default();
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        if file.by_ref().take(PIECE as u64).read_to_end(&mut piece).ok()? == 0 {
            return Some(hash);
        }
        hash = blake2_256(&(hash, blake2_256(&piece)).encode());
    }
}

/// An entry: the hash of its name and the rest, then the rest.
fn read(path: &Path) -> Option<Genesis> {
    let bytes = home::read_private(path, MAX_BYTES).ok().flatten()?;
    let (hash, mut rest) = bytes.split_first_chunk()?;
    let hash: &Hash = hash;
    (hash_of_entry(path, rest) == *hash).then(|| Genesis::decode(&mut rest).ok()).flatten()
}

fn hash_of_entry(path: &Path, rest: &[u8]) -> Hash {
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    blake2_256(&(name, blake2_256(rest)).encode())
}

/// Without it the next start takes longer: nobody is told.
fn keep(folder: &Path, entry: &Path, genesis: &Genesis) {
    let rest = genesis.encode();
    let bytes = [hash_of_entry(entry, &rest).as_slice(), &rest].concat();
    if home::private_folder(folder).is_ok() && home::write_private(entry, &bytes).is_ok() {
        forget_oldest(folder);
    }
}

fn forget_oldest(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<(SystemTime, PathBuf)> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    entries.sort_unstable();
    let old = entries.len().saturating_sub(MAX_ENTRIES);
    for (_, path) in entries.into_iter().take(old) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::{
        cell::Cell,
        os::unix::fs::{symlink, PermissionsExt},
    };

    const USUAL: Settings = Settings {
        authorities: 1,
        workers: 2,
        gatekeepers: 1,
        session_blocks: None,
        block_milliseconds: None,
        token: None,
    };

    /// Asks for it, and says whether it had to be made.
    async fn ask(cache: &Path, node: &Path, preset: &'static str, settings: &Settings) -> (Genesis, bool) {
        let asked = Cell::new(false);
        let content = [fs::read(node).unwrap(), preset.into(), format!("{settings:?}").into()].concat();
        let wanted = Wanted { preset, settings };
        let genesis = made(Some(cache), node, &wanted, async || {
            asked.set(true);
            Ok(Genesis { specification: content.clone(), anchor: b"anchor".to_vec() })
        });
        let genesis = genesis.await.unwrap();
        assert_eq!(genesis.specification, content, "it is what this node makes of this");
        (genesis, asked.get())
    }

    #[tokio::test]
    async fn a_genesis_is_made_once_for_a_node_a_preset_and_what_is_changed_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, node) = (folder.path().join("cache"), folder.path().join("node"));
        // Two that differ behind the first piece only.
        let [first, second] = [b'a', b'b'].map(|last| [vec![7; PIECE + 10], vec![last]].concat());
        fs::write(&node, &first).unwrap();
        let short = Settings { session_blocks: Some(10), ..USUAL };
        let fast = Settings { block_milliseconds: Some(500), ..USUAL };
        let many = Settings { gatekeepers: 4, ..USUAL };
        let all = [("dev", &USUAL), (LOCAL, &USUAL), (LOCAL, &many), ("dev", &short), ("dev", &fast)];
        for (preset, settings) in all {
            assert!(ask(&cache, &node, preset, settings).await.1, "{preset} {settings:?} is another one");
        }
        for (preset, settings) in all {
            assert!(!ask(&cache, &node, preset, settings).await.1, "{preset} {settings:?} is there");
        }
        fs::write(&node, &second).unwrap();
        assert!(ask(&cache, &node, "dev", &USUAL).await.1, "a node that was built anew");
        fs::write(&node, &first).unwrap();
        assert!(!ask(&cache, &node, "dev", &USUAL).await.1);
    }

    #[tokio::test]
    async fn an_entry_that_is_damaged_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, node) = (folder.path().join("cache"), folder.path().join("node"));
        fs::write(&node, b"node").unwrap();
        assert!(ask(&cache, &node, "dev", &USUAL).await.1);
        let entry = fs::read_dir(cache.join(FOLDER)).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&entry).unwrap();
        let mut altered = whole.clone();
        *altered.last_mut().unwrap() ^= 1;
        for bytes in [&whole[..whole.len() / 2], &altered, b""] {
            fs::write(&entry, bytes).unwrap();
            assert!(ask(&cache, &node, "dev", &USUAL).await.1);
            assert_eq!(fs::read(&entry).unwrap(), whole, "and kept again");
        }
        // One that is whole and another one's.
        assert!(ask(&cache, &node, "local", &USUAL).await.1);
        let mut names = fs::read_dir(cache.join(FOLDER)).unwrap().map(|found| found.unwrap().path());
        let other = names.find(|path| *path != entry).unwrap();
        fs::copy(&other, &entry).unwrap();
        assert!(ask(&cache, &node, "dev", &USUAL).await.1);
    }

    #[tokio::test]
    async fn only_what_nobody_else_could_have_written_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, node) = (folder.path().join("cache"), folder.path().join("node"));
        fs::write(&node, b"node").unwrap();
        assert!(ask(&cache, &node, "dev", &USUAL).await.1);
        let entries = cache.join(FOLDER);
        let entry = fs::read_dir(&entries).unwrap().next().unwrap().unwrap().path();
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&entries), mode(&entry)), (0o700, 0o600));
        // A file that others may write, or a link to one that is whole.
        chmod(&entry, 0o622);
        assert!(ask(&cache, &node, "dev", &USUAL).await.1);
        assert_eq!(mode(&entry), 0o600, "it is kept anew");
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&entry, &elsewhere).unwrap();
        symlink(&elsewhere, &entry).unwrap();
        assert!(ask(&cache, &node, "dev", &USUAL).await.1);
        assert!(!ask(&cache, &node, "dev", &USUAL).await.1);
        // A folder that others may write, and one behind a link: neither read nor written to.
        chmod(&entries, 0o777);
        for _ in 0..2 {
            assert!(ask(&cache, &node, "dev", &USUAL).await.1);
        }
        chmod(&entries, 0o700);
        assert!(!ask(&cache, &node, "dev", &USUAL).await.1);
        fs::rename(&entries, folder.path().join("moved")).unwrap();
        symlink(folder.path().join("moved"), &entries).unwrap();
        for _ in 0..2 {
            assert!(ask(&cache, &node, "dev", &USUAL).await.1);
        }
    }

    #[tokio::test]
    async fn what_a_node_made_while_it_was_replaced_is_not_kept_and_old_entries_go() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, node) = (folder.path().join("cache"), folder.path().join("node"));
        fs::write(&node, b"old").unwrap();
        let genesis = Genesis { specification: b"new".to_vec(), anchor: Vec::new() };
        let wanted = Wanted { preset: "dev", settings: &USUAL };
        let made_by_new = made(Some(&cache), &node, &wanted, async || {
            fs::write(&node, b"new").unwrap();
            Ok(genesis.clone())
        });
        assert_eq!(made_by_new.await.unwrap(), genesis);
        assert!(!cache.join(FOLDER).exists());
        for sessions in 10..30 {
            ask(&cache, &node, "dev", &Settings { session_blocks: Some(sessions), ..USUAL }).await;
        }
        assert_eq!(fs::read_dir(cache.join(FOLDER)).unwrap().count(), MAX_ENTRIES);
        // Where nothing can be kept, it is made each time.
        let nowhere = folder.path().join("file");
        fs::write(&nowhere, b"").unwrap();
        assert!(ask(&nowhere, &node, "dev", &USUAL).await.1);
        assert!(ask(&nowhere, &node, "dev", &USUAL).await.1);
    }
}
