//! The wire form of a sealed command.
//!
//! ```text
//! version u8 | kind u8 | cluster u32 | epoch u32 | size class u8 | opening | AEAD body
//!   opening   kinds 0 and 1: the X-Wing ciphertext, 1120 bytes      kind 2: a one-time tag, 16 bytes
//!   body      the padded plaintext of the size class, then a 16-byte AEAD tag
//! ```
//! Integers are little-endian. Every length follows from kind and size class, so there is no length field to lie with.
//! The plaintext is `length u16 | data | zeros` up to the class. AAD = label, version, kind, genesis, cluster, epoch, size
//! class and, for kind 2, the tag. How tags and keys of kind 2 follow from the opener is the text of `phala_crypto::session`.
//!
//! Guarantees: [`Envelope::decode_exact`] accepts exactly one encoding per envelope. It does not open anything: the AEAD
//! decides. Whoever pushes controls every byte. Visible to all: cluster, epoch, kind, size class.

use crate::{
    domain,
    ids::{ClusterId, Epoch},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// The only version there is.
pub const VERSION: u8 = 1;
/// Bytes of an X-Wing public key (ML-KEM-768 then X25519).
pub const PUBLIC_KEY_BYTES: usize = 1216;
/// Bytes of an X-Wing ciphertext.
pub const ENCAPSULATED_BYTES: usize = 1120;
/// Bytes of a session command's tag.
pub const TAG_BYTES: usize = 16;
/// Bytes an AEAD adds.
pub const AEAD_TAG_BYTES: usize = 16;
/// Bytes before the opening.
pub const HEADER_BYTES: usize = 11;

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum EnvelopeKind {
    /// One signed call, under a fresh hybrid encapsulation.
    #[codec(index = 0)]
    Call,
    /// A signed call that also names a session's Ed25519 key; the session's secret is the HPKE export.
    #[codec(index = 1)]
    SessionOpen,
    /// A command of an open session: found by its tag, authorised by the session key's signature inside.
    #[codec(index = 2)]
    SessionCommand,
}

/// Size of the padded plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum SizeClass {
    /// 256 bytes.
    #[codec(index = 0)]
    B256,
    /// 1,024 bytes.
    #[codec(index = 1)]
    K1,
    /// 4,096 bytes.
    #[codec(index = 2)]
    K4,
    /// 16,384 bytes.
    #[codec(index = 3)]
    K16,
}

impl SizeClass {
    /// All classes, smallest first.
    pub const ALL: [Self; 4] = [Self::B256, Self::K1, Self::K4, Self::K16];

    /// Bytes of padded plaintext.
    pub const fn bytes(self) -> usize {
        match self {
            Self::B256 => 256,
            Self::K1 => 1024,
            Self::K4 => 4096,
            Self::K16 => 16384,
        }
    }

    /// The smallest class that holds `data` bytes and their two-byte length, or `None`.
    pub fn holding(data: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|class| data.checked_add(2).is_some_and(|total| total <= class.bytes()))
    }
}

/// The public part of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct EnvelopeHeader {
    /// [`VERSION`].
    pub version: u8,
    /// What is inside.
    pub kind: EnvelopeKind,
    /// For which cluster.
    pub cluster: ClusterId,
    /// Under which epoch's key; the chain takes the open epoch's only.
    pub epoch: Epoch,
    /// Padded to which size.
    pub size: SizeClass,
}

impl EnvelopeHeader {
    /// Bytes of the opening of this kind.
    pub const fn opening_bytes(&self) -> usize {
        match self.kind {
            EnvelopeKind::Call | EnvelopeKind::SessionOpen => ENCAPSULATED_BYTES,
            EnvelopeKind::SessionCommand => TAG_BYTES,
        }
    }

    /// Bytes of the whole envelope.
    pub const fn envelope_bytes(&self) -> usize {
        HEADER_BYTES + self.opening_bytes() + self.size.bytes() + AEAD_TAG_BYTES
    }

    /// The AEAD's associated data for this header on the chain that `genesis` names. `tag` is empty but for session commands.
    pub fn associated_data(&self, genesis: &Hash, tag: &[u8]) -> Vec<u8> {
        let label = domain::ENVELOPE_AAD.as_bytes();
        let mut data = Vec::with_capacity(label.len() + 32 + HEADER_BYTES + tag.len());
        data.extend_from_slice(label);
        data.push(self.version);
        self.kind.encode_to(&mut data);
        data.extend_from_slice(genesis);
        self.cluster.encode_to(&mut data);
        self.epoch.encode_to(&mut data);
        self.size.encode_to(&mut data);
        data.extend_from_slice(tag);
        data
    }
}

/// A sealed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The public part.
    pub header: EnvelopeHeader,
    /// The X-Wing ciphertext, or a session command's tag.
    pub opening: Vec<u8>,
    /// The AEAD's output.
    pub body: Vec<u8>,
}

/// A sealed command, where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeRef<'a> {
    /// The public part.
    pub header: EnvelopeHeader,
    /// The X-Wing ciphertext, or a session command's tag.
    pub opening: &'a [u8],
    /// The AEAD's output.
    pub body: &'a [u8],
}

impl<'a> EnvelopeRef<'a> {
    /// Decodes an envelope whose length is exactly what its header says.
    pub fn decode_exact(bytes: &'a [u8]) -> Result<Self, EnvelopeDecodeError> {
        let header = decode_header(bytes)?;
        let rest = bytes.get(HEADER_BYTES..).ok_or(EnvelopeDecodeError::Length)?;
        let (opening, body) = rest.split_at_checked(header.opening_bytes()).ok_or(EnvelopeDecodeError::Length)?;
        Ok(Self { header, opening, body })
    }
}

impl<'a> From<&'a Envelope> for EnvelopeRef<'a> {
    fn from(envelope: &'a Envelope) -> Self {
        Self { header: envelope.header, opening: &envelope.opening, body: &envelope.body }
    }
}

impl Envelope {
    /// The envelope's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.encode();
        bytes.extend_from_slice(&self.opening);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Decodes an envelope whose length is exactly what its header says.
    pub fn decode_exact(bytes: &[u8]) -> Result<Self, EnvelopeDecodeError> {
        let EnvelopeRef { header, opening, body } = EnvelopeRef::decode_exact(bytes)?;
        Ok(Self { header, opening: opening.to_vec(), body: body.to_vec() })
    }
}

/// Decodes the public part and checks that the envelope has the length it implies; what the chain does for every push.
pub fn decode_header(bytes: &[u8]) -> Result<EnvelopeHeader, EnvelopeDecodeError> {
    let mut public = bytes.get(..HEADER_BYTES).ok_or(EnvelopeDecodeError::Length)?;
    let header = EnvelopeHeader::decode(&mut public).map_err(|_| EnvelopeDecodeError::Header)?;
    if header.version != VERSION {
        return Err(EnvelopeDecodeError::Version(header.version));
    }
    if bytes.len() != header.envelope_bytes() {
        return Err(EnvelopeDecodeError::Length);
    }
    Ok(header)
}

/// Hash of an epoch's envelope public key, which every signed call names.
pub fn public_key_hash(public_key: &[u8]) -> Hash {
    crate::hash(domain::ENVELOPE_KEY, public_key)
}

/// The 32 bytes that a replica signs to announce an epoch's envelope key, of the root of `era`.
pub fn announcement_payload(genesis: &Hash, cluster: ClusterId, era: u32, epoch: Epoch, public_key: &[u8]) -> Hash {
    crate::hash_value(domain::EPOCH_KEY, &(genesis, cluster, era, epoch, public_key_hash(public_key)))
}

/// Why bytes are not an envelope; the fault is the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeDecodeError {
    /// A kind or size class that does not exist.
    #[error("envelope header names an unknown kind or size class")]
    Header,
    /// Another version of the format.
    #[error("envelope version {0} is not supported; this network speaks version 1")]
    Version(u8),
    /// Not the length that kind and size class imply.
    #[error("envelope length does not match its kind and size class")]
    Length,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(kind: EnvelopeKind) -> Envelope {
        let header = EnvelopeHeader { version: VERSION, kind, cluster: ClusterId(3), epoch: 9, size: SizeClass::B256 };
        Envelope {
            header,
            opening: alloc::vec![1; header.opening_bytes()],
            body: alloc::vec![2; header.size.bytes() + AEAD_TAG_BYTES],
        }
    }

    #[test]
    fn round_trips_and_refuses_any_other_length() {
        for kind in [EnvelopeKind::Call, EnvelopeKind::SessionOpen, EnvelopeKind::SessionCommand] {
            let envelope = sample(kind);
            let bytes = envelope.to_bytes();
            assert_eq!(bytes.len(), envelope.header.envelope_bytes());
            assert_eq!(EnvelopeRef::decode_exact(&bytes), Ok(EnvelopeRef::from(&envelope)));
            assert_eq!(Envelope::decode_exact(&bytes), Ok(envelope));
            for length in 0..bytes.len() {
                assert!(Envelope::decode_exact(&bytes[..length]).is_err());
            }
            let mut longer = bytes;
            longer.push(0);
            assert_eq!(Envelope::decode_exact(&longer), Err(EnvelopeDecodeError::Length));
        }
    }

    #[test]
    fn refuses_unknown_version_kind_and_size() {
        let mut bytes = sample(EnvelopeKind::Call).to_bytes();
        bytes[0] = 2;
        assert_eq!(decode_header(&bytes), Err(EnvelopeDecodeError::Version(2)));
        bytes[0] = 1;
        bytes[1] = 3;
        assert_eq!(decode_header(&bytes), Err(EnvelopeDecodeError::Header));
        bytes[1] = 0;
        bytes[10] = 4;
        assert_eq!(decode_header(&bytes), Err(EnvelopeDecodeError::Header));
    }

    #[test]
    fn associated_data_binds_every_public_field_and_the_chain() {
        let header = sample(EnvelopeKind::Call).header;
        let base = header.associated_data(&[0; 32], &[]);
        assert_ne!(base, header.associated_data(&[1; 32], &[]));
        assert_ne!(base, header.associated_data(&[0; 32], &[0]));
        let changes = [
            EnvelopeHeader { kind: EnvelopeKind::SessionOpen, ..header },
            EnvelopeHeader { cluster: ClusterId(4), ..header },
            EnvelopeHeader { epoch: 10, ..header },
            EnvelopeHeader { size: SizeClass::K1, ..header },
            EnvelopeHeader { version: 2, ..header },
        ];
        for changed in changes {
            assert_ne!(base, changed.associated_data(&[0; 32], &[]));
        }
    }

    #[test]
    fn size_classes_hold_their_length_prefix() {
        assert_eq!(SizeClass::holding(254), Some(SizeClass::B256));
        assert_eq!(SizeClass::holding(255), Some(SizeClass::K1));
        assert_eq!(SizeClass::holding(16382), Some(SizeClass::K16));
        assert_eq!(SizeClass::holding(16383), None);
        assert_eq!(SizeClass::holding(usize::MAX), None);
    }
}
