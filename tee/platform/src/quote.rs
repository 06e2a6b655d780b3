//! Evidence about this machine, by either of two file protocols.
//!
//! Guarantees of both backends: the answer is one quote of the kind that its machine makes, without padding; it is about the very
//! bytes that were asked for, or it is thrown away; and whoever asks gets an answer or an error in time. Whether it is genuine is not
//! judged here. Outside a TEE the host plays the driver and controls every byte of the answer.

mod configfs;
mod gramine;

pub use configfs::ConfigfsTsm;
pub use gramine::Gramine;

pub(crate) use gramine::attestation_type;

use crate::frame::{frame, FrameError, QuoteKind};
use phala_attest::{Evidence, List, TooLong};
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a quote may take unless said otherwise. Hardware takes tens of milliseconds; a quoting service that was just
/// started, seconds.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the largest answer read. configfs-tsm's own limit is 32 KiB, Gramine's 8 KiB.
const ANSWER_LIMIT: usize = 32 * 1024;

/// Gets evidence about this machine.
pub trait Quote {
    /// A quote whose report data are these 64 bytes. Blocks until the machine answers or a timeout passes.
    fn quote(&self, report_data: &[u8; 64]) -> Result<Quoted, QuoteError>;
}

/// What the machine's driver answered. Not verified: whoever relies on it does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Which driver answered.
    pub provider: Provider,
    /// Which kind of quote it is.
    pub kind: QuoteKind,
    /// The quote, without padding.
    pub quote: Vec<u8>,
}

impl Quoted {
    /// The quote as evidence, which travels and is verified.
    pub fn evidence(&self) -> Result<Evidence, QuoteError> {
        match self.kind {
            QuoteKind::TdxV4 | QuoteKind::TdxV5 => Ok(Evidence::TdxDcap(List::try_from(self.quote.clone())?)),
            QuoteKind::SgxV3 => Ok(Evidence::SgxDcap(List::try_from(self.quote.clone())?)),
        }
    }

    /// Takes a driver's answer to `report_data`, if it is a quote of its machine about them.
    fn take(provider: Provider, answer: &[u8], report_data: &[u8; 64]) -> Result<Self, QuoteError> {
        let found = frame(answer)?;
        let expected = match provider {
            Provider::Gramine => matches!(found.kind, QuoteKind::SgxV3),
            Provider::TdxGuest => matches!(found.kind, QuoteKind::TdxV4 | QuoteKind::TdxV5),
        };
        if !expected {
            return Err(QuoteError::OtherMachine { provider, kind: found.kind });
        }
        if found.report_data != *report_data {
            return Err(QuoteError::OtherData);
        }
        Ok(Self { provider, kind: found.kind, quote: found.quote.to_vec() })
    }
}

/// A driver that makes quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Intel TDX: `tdx_guest` of configfs-tsm. The simulator answers by this name too; only its root tells.
    TdxGuest,
    /// Intel SGX: Gramine's `/dev/attestation`.
    Gramine,
}

/// Why there is no quote.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    /// There is no such interface here.
    #[error("{0} is no interface for quotes: not a confidential machine, or its file system is not mounted")]
    NoInterface(PathBuf),
    /// A file of the interface failed.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// No answer in time. Worth another try.
    #[error("no quote within {0:?}: is the quoting service (or the simulator) running?")]
    Timeout(Duration),
    /// Somebody else used our report at the same time. Worth another try.
    #[error("generation is {found} where {expected} was expected: another process wrote into our report")]
    Conflict {
        /// The number if only we wrote.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// `generation` holds no number.
    #[error("generation is not a number")]
    Generation,
    /// A driver whose evidence is not supported.
    #[error("provider {0:?} is not supported, only tdx_guest")]
    Provider(String),
    /// Gramine was told to attest otherwise, or not at all.
    #[error("gramine attests by {0:?}: the manifest has to say sgx.remote_attestation = \"dcap\"")]
    AttestationType(String),
    /// The answer is too long.
    #[error("answer is longer than {ANSWER_LIMIT} bytes")]
    AnswerTooLong,
    /// The answer is not a quote.
    #[error("driver's answer is not a quote")]
    Malformed(#[from] FrameError),
    /// The answer is a quote of another technology.
    #[error("driver {provider:?} answered with a quote of kind {kind:?}")]
    OtherMachine {
        /// Who answered.
        provider: Provider,
        /// With what.
        kind: QuoteKind,
    },
    /// The answer is about other bytes. Worth another try.
    #[error("driver's answer is about other report data: another process asked at the same time")]
    OtherData,
    /// The quote is longer than evidence may be.
    #[error("quote is longer than evidence may be")]
    QuoteTooLong(#[from] TooLong),
}

/// All bytes of a driver's file, up to one more than [`ANSWER_LIMIT`].
fn read(path: &Path) -> Result<Vec<u8>, QuoteError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(ANSWER_LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| QuoteError::File { action: "read", path: path.to_path_buf(), source })?;
    if bytes.len() > ANSWER_LIMIT {
        return Err(QuoteError::AnswerTooLong);
    }
    Ok(bytes)
}
