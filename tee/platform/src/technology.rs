//! Which TEE this process runs in: looked for, named, and never guessed.
//!
//! Guarantees: exactly one technology is found, or there is an error that says what was looked for and what was there; nothing falls
//! back to a weaker one. What is found is what the file system presents: inside a TEE the library OS or the measured kernel makes
//! these files, outside one the host does, and then its evidence does not verify. Does not: look into the processor, or ask for a
//! quote; `phala worker check` explains a machine to its operator.

use crate::quote::{ConfigfsTsm, Gramine, Quote, QuoteError, Quoted};
use std::path::{Path, PathBuf};

/// A supported TEE, by the interface through which it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Technology {
    /// An Intel SGX enclave under Gramine. It has a sealing key of its own.
    SgxGramine,
    /// An Intel TDX virtual machine under Linux. It has no sealing key.
    TdxGuest,
}

/// Why no technology is chosen.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// Nothing that is known.
    #[error(
        "no TEE: neither {gramine} (SGX under Gramine) nor {tsm} with {device} (TDX) is there; \
         `phala worker check` says what is missing"
    )]
    None {
        /// Gramine's file.
        gramine: PathBuf,
        /// The report directory.
        tsm: PathBuf,
        /// TDX's device.
        device: PathBuf,
    },
    /// Two at once, which no machine presents.
    #[error("both SGX under Gramine and TDX are presented at once: name one")]
    Both,
    /// A report directory of another vendor's driver.
    #[error("{tsm} is there and {device} is not: the report driver is not TDX's, and no other is supported")]
    OtherDriver {
        /// The report directory.
        tsm: PathBuf,
        /// TDX's device.
        device: PathBuf,
    },
    /// The interface is there and not usable.
    #[error("the TEE's interface cannot be used")]
    Interface(#[from] QuoteError),
}

impl Technology {
    /// The one that the file system at `root` presents; `/` outside tests.
    pub fn detect(root: &Path) -> Result<Self, DetectError> {
        let (gramine, tsm, device) =
            (at(root, Gramine::DIRECTORY), at(root, ConfigfsTsm::LINUX), at(root, TDX_GUEST_DEVICE));
        let is_gramine = crate::quote::attestation_type(&gramine)?.is_some();
        match (is_gramine, tsm.is_dir(), device.exists()) {
            (true, true, true) => Err(DetectError::Both),
            (true, _, _) => Ok(Self::SgxGramine),
            (false, true, true) => Ok(Self::TdxGuest),
            (false, true, false) => Err(DetectError::OtherDriver { tsm, device }),
            (false, false, _) => Err(DetectError::None { gramine: gramine.join("attestation_type"), tsm, device }),
        }
    }

    /// Who makes its quotes, at `root`. Fails if the interface is not there or not set up for quotes.
    pub fn quotes(self, root: &Path) -> Result<Quotes, QuoteError> {
        match self {
            Self::SgxGramine => Gramine::new(at(root, Gramine::DIRECTORY)).map(Quotes::Gramine),
            Self::TdxGuest => Ok(Quotes::Tsm(ConfigfsTsm::new(at(root, ConfigfsTsm::LINUX)))),
        }
    }

    /// The file of the key that it seals with, at `root`: bound to the processor and to the measurement. None if it has no such key.
    pub fn sealing_key(self, root: &Path) -> Option<PathBuf> {
        match self {
            Self::SgxGramine => Some(Gramine::sealing_key(&at(root, Gramine::DIRECTORY))),
            Self::TdxGuest => None,
        }
    }

    /// Whether the page tables of a process are the TEE's own, and its address space as large as the processor's: a fault is then what the
    /// process did and nothing else, and guard pages guard. Those of an enclave are the host's. It can make any access fault, and
    /// Gramine without EDMM leaves every page of the enclave readable and writable, whatever `mprotect(2)` was asked for.
    pub const fn has_own_page_tables(self) -> bool {
        match self {
            Self::SgxGramine => false,
            Self::TdxGuest => true,
        }
    }

    /// Its name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SgxGramine => "SGX under Gramine",
            Self::TdxGuest => "TDX guest",
        }
    }
}

/// The device that Linux's TDX guest driver makes.
const TDX_GUEST_DEVICE: &str = "/dev/tdx_guest";

/// Quotes of the chosen technology.
#[derive(Clone, Debug)]
pub enum Quotes {
    /// SGX under Gramine.
    Gramine(Gramine),
    /// Linux's interface.
    Tsm(ConfigfsTsm),
}

impl Quote for Quotes {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Quoted, QuoteError> {
        match self {
            Self::Gramine(gramine) => gramine.quote(report_data),
            Self::Tsm(tsm) => tsm.quote(report_data),
        }
    }
}

/// An absolute path below another root.
fn at(root: &Path, absolute: &str) -> PathBuf {
    root.join(absolute.trim_start_matches('/'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    /// A file system with these files and (names that end in `/`) folders.
    fn tree(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in entries {
            let path = root.path().join(name);
            if name.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, content).unwrap();
            }
        }
        root
    }

    const GRAMINE: (&str, &str) = ("dev/attestation/attestation_type", "dcap");
    const TSM: (&str, &str) = ("sys/kernel/config/tsm/report/", "");
    const TDX: (&str, &str) = ("dev/tdx_guest", "");

    #[test]
    fn finds_the_one_that_is_presented_with_its_key_or_without() {
        let sgx = tree(&[GRAMINE]);
        let found = Technology::detect(sgx.path()).unwrap();
        assert_eq!(found, Technology::SgxGramine);
        assert!(!found.has_own_page_tables());
        assert_eq!(found.sealing_key(sgx.path()), Some(sgx.path().join("dev/attestation/keys/_sgx_mrenclave")));
        assert!(matches!(found.quotes(sgx.path()), Ok(Quotes::Gramine(_))));

        let tdx = tree(&[TSM, TDX]);
        let found = Technology::detect(tdx.path()).unwrap();
        assert_eq!(found, Technology::TdxGuest);
        assert!(found.has_own_page_tables());
        assert_eq!(found.sealing_key(tdx.path()), None);
        assert!(matches!(found.quotes(tdx.path()), Ok(Quotes::Tsm(_))));
        assert!(matches!(Technology::SgxGramine.quotes(tdx.path()), Err(QuoteError::NoInterface(_))));
    }

    #[test]
    fn nothing_and_too_much_are_errors_and_never_a_fallback() {
        let detect = |entries: &[(&str, &str)]| Technology::detect(tree(entries).path());
        assert!(matches!(detect(&[]), Err(DetectError::None { .. })));
        assert!(matches!(detect(&[TDX]), Err(DetectError::None { .. })), "a device alone makes no quotes");
        assert!(matches!(detect(&[TSM]), Err(DetectError::OtherDriver { .. })));
        assert!(matches!(detect(&[GRAMINE, TSM, TDX]), Err(DetectError::Both)));
        // Gramine outside an enclave has the folder of keys, and no type of attestation.
        assert!(matches!(detect(&[("dev/attestation/keys/", "")]), Err(DetectError::None { .. })));
        // An enclave that does not attest is an enclave still, and says what is wrong when it is asked for quotes.
        let mute = tree(&[("dev/attestation/attestation_type", "none")]);
        let found = Technology::detect(mute.path()).unwrap();
        assert!(matches!(found.quotes(mute.path()), Err(QuoteError::AttestationType(name)) if name == "none"));
    }
}
