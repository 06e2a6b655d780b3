//! Sealing and opening the envelopes of [`phala_protocol::envelope`], kinds `Call` and `SessionOpen`: HPKE with
//! info = `ENVELOPE_INFO || genesis` and the associated data that the protocol defines.
//!
//! Guarantees: an opened envelope was sealed to this key for this chain, cluster, epoch, kind and size class, and not a bit
//! of it was changed; its plaintext was padded exactly as [`pad`] does, so nothing hides in the padding and one plaintext
//! has one form. Says nothing about who sealed it: the signature inside does.
//!
//! Whoever pushes controls every byte of an envelope. What the header says about itself is compared with the destination
//! *before* the costly decapsulation, so a misrouted envelope is refused cheaply and by name. Everything else that can be
//! wrong - another key, another chain, an altered byte - fails in the AEAD, and cannot be told apart: that is what
//! authenticates.

use crate::{
    aead::SealError,
    hpke::{self, Exporter},
    xwing::{DecapsulationKey, EncapsulationKey, CIPHERTEXT_BYTES, ENTROPY_BYTES},
    Secret,
};
use alloc::vec::Vec;
use phala_protocol::{
    domain,
    envelope::{Envelope, EnvelopeHeader, EnvelopeKind, EnvelopeRef, SizeClass, AEAD_TAG_BYTES, VERSION},
    ClusterId, Epoch, Hash,
};

/// Bytes of the length before the data.
const LENGTH_BYTES: usize = 2;

/// Where an envelope belongs: what sender and receiver both know without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Hash of the chain's genesis block.
    pub genesis: Hash,
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch whose key is used.
    pub epoch: Epoch,
}

impl Destination {
    /// The HPKE info of its envelopes.
    fn info(&self) -> Vec<u8> {
        [domain::ENVELOPE_INFO.as_bytes(), &self.genesis].concat()
    }
}

/// Seals `data` for `destination` under its epoch's public key.
///
/// `size` is public: take [`SizeClass::holding`] for the smallest, or always the same one to tell less. `entropy` must be
/// unpredictable and never used again. The exporter derives the session's secret when `kind` is `SessionOpen`.
pub fn seal_envelope(
    recipient: &EncapsulationKey,
    destination: &Destination,
    kind: EnvelopeKind,
    size: SizeClass,
    data: &[u8],
    entropy: &[u8; ENTROPY_BYTES],
) -> Result<(Envelope, Exporter), SealEnvelopeError> {
    if kind == EnvelopeKind::SessionCommand {
        return Err(SealEnvelopeError::Kind);
    }
    let header =
        EnvelopeHeader { version: VERSION, kind, cluster: destination.cluster, epoch: destination.epoch, size };
    let plaintext = pad(data, size)?;
    let (encapsulated, context) = hpke::setup_sender(recipient, &destination.info(), entropy);
    let associated_data = header.associated_data(&destination.genesis, &[]);
    let (body, exporter) = context.seal(&associated_data, plaintext.expose())?;
    Ok((Envelope { header, opening: encapsulated.to_vec(), body }, exporter))
}

/// An opened envelope.
pub struct Opened {
    /// The data that was sealed: an encoded call, still an allegation.
    pub data: Secret<Vec<u8>>,
    /// Derives the session's secret.
    pub exporter: Exporter,
}

/// Opens an envelope that was sealed for `destination` under the public key of `secret`.
pub fn open_envelope<'a>(
    secret: &DecapsulationKey,
    destination: &Destination,
    envelope: impl Into<EnvelopeRef<'a>>,
) -> Result<Opened, OpenEnvelopeError> {
    let EnvelopeRef { header, opening, body } = envelope.into();
    if header.version != VERSION {
        return Err(OpenEnvelopeError::Version(header.version));
    }
    if header.kind == EnvelopeKind::SessionCommand {
        return Err(OpenEnvelopeError::Kind);
    }
    if header.cluster != destination.cluster {
        return Err(OpenEnvelopeError::Cluster { named: header.cluster, expected: destination.cluster });
    }
    if header.epoch != destination.epoch {
        return Err(OpenEnvelopeError::Epoch { named: header.epoch, expected: destination.epoch });
    }
    let encapsulated: &[u8; CIPHERTEXT_BYTES] = opening.try_into().map_err(|_| OpenEnvelopeError::Length)?;
    if body.len() != header.size.bytes() + AEAD_TAG_BYTES {
        return Err(OpenEnvelopeError::Length);
    }
    let context = hpke::setup_receiver(secret, encapsulated, &destination.info());
    let associated_data = header.associated_data(&destination.genesis, &[]);
    let (plaintext, exporter) = context.open(&associated_data, body).map_err(|_| OpenEnvelopeError::Unauthentic)?;
    Ok(Opened { data: unpad(plaintext.expose())?, exporter })
}

/// `length u16 LE | data | zeros` up to the size class.
pub fn pad(data: &[u8], size: SizeClass) -> Result<Secret<Vec<u8>>, PadError> {
    let oversized = PadError { data: data.len(), room: size.bytes() - LENGTH_BYTES };
    let length = u16::try_from(data.len()).map_err(|_| oversized)?;
    if data.len() > oversized.room {
        return Err(oversized);
    }
    // The whole size at once: a vector that grew would leave copies of the data behind.
    let mut padded = Vec::with_capacity(size.bytes());
    padded.extend_from_slice(&length.to_le_bytes());
    padded.extend_from_slice(data);
    padded.resize(size.bytes(), 0);
    Ok(Secret::new(padded))
}

/// The data that [`pad`] padded to the length of `padded`, which must be that of a size class.
pub fn unpad(padded: &[u8]) -> Result<Secret<Vec<u8>>, UnpadError> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_BYTES>().ok_or(UnpadError::Length)?;
    let (data, zeros) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or(UnpadError::Length)?;
    // All of them at once, which the compiler turns into vectors: nearly every plaintext is padded well.
    if zeros.iter().fold(0u8, |any, byte| any | *byte) != 0 {
        return Err(UnpadError::NonZero);
    }
    Ok(Secret::new(data.to_vec()))
}

/// Why data cannot be padded; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{data} bytes do not fit a size class with room for {room}; take a larger class, or split")]
pub struct PadError {
    /// Bytes of data.
    pub data: usize,
    /// Bytes that the class has room for.
    pub room: usize,
}

/// Why a plaintext is not padded data; the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpadError {
    /// The length points beyond the end.
    #[error("plaintext names more data than it holds")]
    Length,
    /// Something other than zeros follows the data.
    #[error("padding holds bytes other than zero")]
    NonZero,
}

/// Why nothing was sealed; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealEnvelopeError {
    /// A session command is sealed under its session's secret.
    #[error("a session command is sealed under its session's secret, not under the epoch's key")]
    Kind,
    /// The data is too long.
    #[error(transparent)]
    Oversized(#[from] PadError),
    /// The AEAD refused the length.
    #[error(transparent)]
    Aead(#[from] SealError),
}

/// Why an envelope was not opened; the fault is whoever pushed it, or routed it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenEnvelopeError {
    /// Another version of the format.
    #[error("envelope version {0} is not supported; this network speaks version 1")]
    Version(u8),
    /// A session command is opened with its session's secret.
    #[error("a session command is opened with its session's secret, not with the epoch's key")]
    Kind,
    /// Sealed for another cluster.
    #[error("envelope is for cluster {named}, not for cluster {expected}")]
    Cluster {
        /// The cluster that it names.
        named: ClusterId,
        /// The cluster that opens.
        expected: ClusterId,
    },
    /// Sealed for another epoch.
    #[error("envelope is for epoch {named}, not for epoch {expected}; seal it again for the open epoch")]
    Epoch {
        /// The epoch that it names.
        named: Epoch,
        /// The epoch of the key.
        expected: Epoch,
    },
    /// Opening or body do not have the length that kind and size class imply.
    #[error("envelope length does not match its kind and size class")]
    Length,
    /// Another key, another chain, or altered bytes: the AEAD cannot say which.
    #[error("envelope is not authentic: sealed for another key or chain, or altered")]
    Unauthentic,
    /// Authentic, but not padded as the format says.
    #[error(transparent)]
    Padding(#[from] UnpadError),
}
