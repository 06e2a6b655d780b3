//! A wall clock that a test moves: for every process that is started with [`Clock::variables`], also while it runs.
//!
//! Made of `clock/shifted.c`, which the C compiler that also links Rust makes into a library for `LD_PRELOAD`. Guarantees: only
//! wall clocks move, as when a machine's clock is set; those by which programs wait do not. Linux with glibc only.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Names the shift to the library.
const SHIFT: &str = "PHALA_SHIFTED_CLOCK";
const NANOSECONDS: i64 = 1_000_000_000;

/// The clock.
pub struct Clock {
    library: PathBuf,
    shift: PathBuf,
}

impl Clock {
    /// A clock that is right. Keeps its two files in `folder`.
    ///
    /// # Panics
    /// When there is no C compiler.
    pub fn new(folder: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clock/shifted.c");
        let (library, shift) = (folder.join("shifted.so"), folder.join("shift"));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&library, &source])
            .output()
            .expect("cc runs: Rust links with it");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        fs::write(&shift, 0_i64.to_ne_bytes()).expect("a file");
        Self { library, shift }
    }

    /// What a process needs in its environment to have this clock.
    pub fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        vec![("LD_PRELOAD".to_owned(), text(&self.library)), (SHIFT.to_owned(), text(&self.shift))]
    }

    /// Sets the clock to the right time and so many seconds, at once and for everybody who has it.
    pub fn set(&self, seconds: i64) {
        let shift = seconds.checked_mul(NANOSECONDS).expect("less than 292 years").to_ne_bytes();
        // In place: the processes have the file mapped.
        let file = File::options().write(true).open(&self.shift).expect("the file");
        file.write_all_at(&shift, 0).expect("the clock is set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_the_clock_that_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new(folder.path());
        let read = |variables: Vec<(String, String)>| -> i64 {
            let date = Command::new("date").arg("+%s").envs(variables).output().unwrap();
            String::from_utf8(date.stdout).unwrap().trim().parse().unwrap()
        };
        for shift in [0, 40 * 86_400, -86_400] {
            clock.set(shift);
            let moved = read(clock.variables()) - read(Vec::new());
            assert!((moved - shift).abs() <= 1, "{moved} instead of {shift}");
        }
    }
}
