//! Asks Gramine for a quote of the SGX enclave that it runs this process in.
//!
//! `/dev/attestation` (Gramine's documentation, "Attestation and Secret Provisioning"; `libos/src/fs/dev/attestation.c`) is a file
//! system that the library OS makes inside the enclave: `attestation_type` is a word, `user_report_data` takes 64 bytes, and opening
//! `quote` makes a quote about them. The three files are one per process and know no requests, so two threads would get each
//! other's quotes: here one request at a time is in them, and a quote about other bytes than were asked for is thrown away.
//!
//! Inside the enclave the host controls only whether and when the quoting service answers: the file system is not the host's.

use super::{read, Provider, Quote, QuoteError, Quoted, DEFAULT_TIMEOUT};
use crate::bounded::Places;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// Gramine's attestation files at a directory.
#[derive(Clone, Debug)]
pub struct Gramine {
    directory: PathBuf,
    timeout: Duration,
    /// One for all clones: the files are the process's.
    place: Places,
}

impl Gramine {
    /// Where Gramine has them.
    pub const DIRECTORY: &'static str = "/dev/attestation";
    /// The only type of attestation whose evidence is supported.
    pub const DCAP: &'static str = "dcap";

    /// The files at `directory`, which say that they attest by DCAP.
    pub fn new(directory: impl Into<PathBuf>) -> Result<Self, QuoteError> {
        let directory = directory.into();
        match attestation_type(&directory)? {
            Some(found) if found == Self::DCAP => {
                Ok(Self { directory, timeout: DEFAULT_TIMEOUT, place: Places::new(1) })
            }
            Some(other) => Err(QuoteError::AttestationType(other)),
            None => Err(QuoteError::NoInterface(directory)),
        }
    }

    /// The same files with another timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The key that this very binary has on this processor: 16 bytes.
    pub fn sealing_key(directory: &Path) -> PathBuf {
        directory.join("keys").join("_sgx_mrenclave")
    }
}

/// What `attestation_type` says; none where there is no such file. Gramine has it in an SGX enclave only.
pub(crate) fn attestation_type(directory: &Path) -> Result<Option<String>, QuoteError> {
    match read(&directory.join("attestation_type")) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().chars().take(64).collect())),
        Err(QuoteError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Quote for Gramine {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Quoted, QuoteError> {
        let (directory, report_data) = (self.directory.clone(), *report_data);
        let answered = self.place.run(self.timeout, move || ask(&directory, &report_data));
        answered.map_err(|_| QuoteError::Timeout(self.timeout))?
    }
}

fn ask(directory: &Path, report_data: &[u8; 64]) -> Result<Quoted, QuoteError> {
    let path = directory.join("user_report_data");
    // The file takes what was written when it is closed; a refusal then shows as a quote about other bytes.
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(report_data))
        .map_err(|source| QuoteError::File { action: "write", path, source })?;
    let answer = read(&directory.join("quote"))?;
    Quoted::take(Provider::Gramine, &answer, report_data)
}

#[cfg(test)]
mod tests;
