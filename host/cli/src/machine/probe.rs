//! Reads a machine's files, and judges nothing.
//!
//! Every read is bounded; what is not there is a fact, what cannot be read is treated as not there, and what can be opened is opened
//! and closed. The administrator controls the content.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::Read,
    path::{Path, PathBuf},
};

/// Bytes of the longest file read: /proc/cpuinfo of a machine with hundreds of processors; the first one says it all.
const MAX_BYTES: u64 = 64 * 1024;

/// A machine's file system.
#[derive(Clone, Debug)]
pub struct Probe {
    root: PathBuf,
    vendor: String,
    model: String,
    flags: BTreeSet<String>,
    kernel: Option<(u32, u32)>,
}

/// How a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// Not there.
    Absent,
    /// There, and this user may use it.
    Usable,
    /// There, and this user may not.
    Denied,
}

impl Probe {
    /// Reads what is below `root`.
    pub fn new(root: &Path) -> Self {
        let cpuinfo = read(&root.join("proc/cpuinfo")).unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let flags = field("flags").split_whitespace().map(str::to_owned).collect();
        let release = read(&root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
        let mut numbers = release.trim().split(['.', '-', '+']);
        let mut number = || numbers.next().and_then(|digits| digits.parse().ok());
        let kernel = number().zip(number());
        Self { root: root.to_path_buf(), vendor: field("vendor_id"), model: field("model name"), flags, kernel }
    }

    /// The processor, in words.
    pub fn processor(&self) -> String {
        match (self.model.as_str(), self.vendor.as_str()) {
            ("", "") => "unknown: /proc/cpuinfo names none".to_owned(),
            ("", vendor) => vendor.to_owned(),
            (model, _) => model.to_owned(),
        }
    }

    /// Whether Intel made it.
    pub fn is_intel(&self) -> bool {
        self.vendor == "GenuineIntel"
    }

    /// Whether Linux shows this flag of the processor.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    /// Linux's version, if it is known.
    pub fn kernel(&self) -> Option<(u32, u32)> {
        self.kernel
    }

    /// Whether there is such a file or folder, by its absolute path.
    pub fn has(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// Whether there is such a folder, and something in it.
    pub fn has_entries(&self, path: &str) -> bool {
        fs::read_dir(self.at(path)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// The trimmed text of a file, if it can be read.
    pub fn text(&self, path: &str) -> Option<String> {
        read(&self.at(path)).map(|text| text.trim().to_owned())
    }

    /// How a device stands for this user.
    pub fn device(&self, path: &str) -> Device {
        let path = self.at(path);
        if !path.exists() {
            return Device::Absent;
        }
        match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Device::Denied,
            // Busy or otherwise unwilling, but not on our account.
            _ => Device::Usable,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
