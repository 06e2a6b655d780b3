//! File systems for tests.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

/// A file system with these files; names that end in `/` are folders.
pub fn tree(entries: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in entries {
        let path = root.path().join(name.trim_start_matches('/'));
        if name.ends_with('/') {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
        }
    }
    root
}
