//! A file system with little room, which a test fills. Needs root, to mount one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What takes room: most of it, and the rest.
const BALLASTS: [&str; 2] = ["ballast", "ballast-to-the-last-byte"];
const BLOCK: u64 = 4096;

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
        self.write(BALLASTS[1], None);
    }

    /// Takes room until `left` bytes are left.
    pub fn fill_to(&self, left: u64) {
        self.write(BALLASTS[0], Some(self.free().saturating_sub(left) / BLOCK));
    }

    /// Gives the room back.
    pub fn make_room(&self) {
        let removed = BALLASTS.iter().filter(|name| fs::remove_file(self.path.join(name)).is_ok()).count();
        assert!(removed > 0, "it was filled");
    }

    /// Bytes that are left.
    pub fn free(&self) -> u64 {
        let said = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.path).output().expect("df runs");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        said.lines().nth(1).and_then(|number| number.trim().parse().ok()).expect("df of coreutils is needed")
    }

    fn write(&self, name: &str, blocks: Option<u64>) {
        let file = format!("of={}", self.path.join(name).display());
        let mut command = Command::new("dd");
        command.args(["if=/dev/zero", &format!("bs={BLOCK}"), &file]);
        command.args(blocks.map(|blocks| format!("count={blocks}")));
        let _ = command.stderr(Stdio::null()).status();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.path).status();
        if !unmounted.is_ok_and(|done| done.success()) {
            // Somebody still has a file of it open: it goes with him.
            let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        }
    }
}

/// Copies all that is in one folder into another, with holes where nothing was written: they are what there is no room for.
pub fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    let copied = Command::new("cp").args(["-r", "--sparse=always"]).arg(from.join(".")).arg(to).status();
    assert!(copied.is_ok_and(|copied| copied.success()), "{} cannot be copied", from.display());
}
