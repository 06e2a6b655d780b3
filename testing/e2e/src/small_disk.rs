//! A file system with little room, which a test fills. Needs root, to mount one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What takes the rest of the room.
const BALLAST: &str = "ballast";

/// A mounted file system, unmounted when dropped.
pub struct SmallDisk {
    /// Where it is mounted.
    pub path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `bytes` at `path`, or says why that cannot be done here.
    pub fn mount(path: &Path, bytes: u64) -> Result<Self, String> {
        fs::create_dir_all(path).expect("a folder");
        let size = format!("size={bytes}");
        match Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output() {
            Ok(mounted) if mounted.status.success() => Ok(Self { path: path.to_owned() }),
            Ok(mounted) => {
                let why = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
                Err(format!("cannot mount a small file system here, which needs root: {why}"))
            }
            Err(error) => Err(format!("cannot mount a small file system here: {error}")),
        }
    }

    /// Takes the rest of the room; the last byte of it is found by asking for more.
    pub fn fill(&self) {
        let file = format!("of={}", self.path.join(BALLAST).display());
        let _ = Command::new("dd").args(["if=/dev/zero", "bs=4096", &file]).stderr(Stdio::null()).status();
    }

    /// Gives the room back.
    pub fn make_room(&self) {
        fs::remove_file(self.path.join(BALLAST)).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

/// Copies all that is in one folder into another, with holes where nothing was written: they are what there is no room for.
pub fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    let copied = Command::new("cp").args(["-r", "--sparse=always"]).arg(from.join(".")).arg(to).status();
    assert!(copied.is_ok_and(|copied| copied.success()), "{} cannot be copied", from.display());
}
