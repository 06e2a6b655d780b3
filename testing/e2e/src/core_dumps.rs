//! What a crash leaves on the disk: processes end by SIGABRT, and the kernel writes their memory and registers into a file.
//!
//! A TEE's process forbids itself to leave one, which is looked at the same way: it is ended, and no file may be there. Guarantees: a
//! file is searched whole but for its holes, which the kernel leaves for memory that was never touched, and removed. Linux only, where
//! `core_pattern` names a file in the process's own folder, and where this user may raise the limit on such files.

use crate::{processes::is_dead, signal, wait_until};
use rustix::fs::{seek, SeekFrom};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// For a process to die, with its memory written down.
const DIES_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of a file searched at once.
const PIECE: u64 = 16 * 1024 * 1024;

/// Lets this process, and all that it starts from now on, leave core dumps.
///
/// # Errors
/// What keeps this machine from writing them where they are looked for.
pub fn allow() -> Result<(), String> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim() != "core" {
        return Err(format!("core_pattern of this machine is `{}`, and not `core`", pattern.trim()));
    }
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &own, "--core=unlimited"]).output();
    match raised {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("prlimit: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("prlimit of util-linux cannot be run: {error}")),
    }
}

/// Ends a process by SIGABRT, and gives the file that it left, if it left one.
///
/// # Panics
/// When it does not die.
pub fn crash(id: u32) -> Option<PathBuf> {
    let folder = fs::read_link(format!("/proc/{id}/cwd")).ok()?;
    let places = [folder.join("core"), folder.join(format!("core.{id}"))];
    places.iter().for_each(|place| drop(fs::remove_file(place)));
    signal(id, "-ABRT");
    wait_until("a process that crashes is dead", DIES_WITHIN, || is_dead(id));
    places.into_iter().find(|place| place.exists())
}

/// Gives what a file holds to `look`, in pieces that overlap by `overlap` bytes, without its holes. Returns how many bytes.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path, overlap: usize, mut look: impl FnMut(&[u8])) -> std::io::Result<u64> {
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let (mut bytes, mut next) = (0, 0);
    // An error says that only a hole follows.
    while let Ok(start) = seek(&file, SeekFrom::Data(next)) {
        next = seek(&file, SeekFrom::Hole(start)).unwrap_or(end);
        let mut at = start;
        while at < next {
            let length = (next - at).min(PIECE);
            let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
            file.read_exact_at(&mut piece, at)?;
            look(&piece);
            bytes += length;
            if at + length >= next {
                break;
            }
            at += length - (overlap as u64).min(length - 1);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn a_file_is_read_whole_without_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"the beginning").unwrap();
        file.seek(std::io::SeekFrom::Start(40 * PIECE)).unwrap();
        // A word that two pieces share.
        let mut tail = vec![1; PIECE as usize + 100];
        tail[PIECE as usize - 3..PIECE as usize + 3].copy_from_slice(b"across");
        file.write_all(&tail).unwrap();
        let (mut seen, mut across) = (Vec::new(), 0);
        let bytes = read(&path, 8, |piece| {
            seen.extend_from_slice(&piece[..13]);
            across += piece.windows(6).filter(|window| *window == b"across").count();
        });
        assert!(seen.starts_with(b"the beginning"));
        assert_eq!(across, 1);
        assert!(bytes.unwrap() < 3 * PIECE, "holes are not read");
    }
}
