//! Sealing and opening the commands of a session: envelopes of kind `SessionCommand`.
//!
//! ```text
//! secret = HPKE export of the opener under SESSION_SECRET
//! tag(n) = the first 16 bytes of HKDF(secret, SESSION_TAG, n)      n = 1, 2, ... as u64, little-endian
//! key(n) = HKDF(secret, SESSION_KEY, n)
//! body   = AES-256-GCM-SIV(key(n), nonce zero, associated data of header and tag, padded plaintext)
//! ```
//!
//! Guarantees: without the secret, tags of one session look like those of any other, and a command opens only under the tag that it
//! was sealed with, for its chain, cluster, epoch and size class. A sender that loses count and seals two commands under one number
//! shows by it no more than whether they are equal, which is why the cipher is the misuse-resistant one.
//!
//! Authorises nobody: every replica knows the secret. The session key's signature inside does. Whoever pushes controls every byte.

use crate::{
    aead::SivKey,
    envelope::{pad, unpad, Destination, OpenEnvelopeError, SealEnvelopeError},
    hpke::Exporter,
    kdf, Secret,
};
use alloc::vec::Vec;
use phala_protocol::{
    domain,
    envelope::{Envelope, EnvelopeHeader, EnvelopeKind, EnvelopeRef, SizeClass, AEAD_TAG_BYTES, TAG_BYTES, VERSION},
};

/// What the opener of a session and its cluster share.
pub struct SessionSecret(Secret<[u8; 32]>);

impl SessionSecret {
    /// The secret of the session that an envelope opened.
    pub fn of_opener(exporter: &Exporter) -> Self {
        Self(exporter.export(domain::SESSION_SECRET.as_bytes()))
    }

    /// A secret that was kept; the caller wipes its copy.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Secret::fill(|secret| secret.copy_from_slice(bytes)))
    }

    /// The secret's bytes, for where a session is kept: its cluster's encrypted state, and sealed by its account on its owner's disk.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The tag of the session's command number `counter`.
    pub fn tag(&self, counter: u64) -> [u8; TAG_BYTES] {
        *kdf::derive_for::<TAG_BYTES>(&self.0, domain::SESSION_TAG, &counter).expose()
    }

    /// Seals `data` as the session's command number `counter`, which is used once: also when what it was used for never arrived.
    pub fn seal_command(
        &self,
        destination: &Destination,
        counter: u64,
        size: SizeClass,
        data: &[u8],
    ) -> Result<Envelope, SealEnvelopeError> {
        let header = header(destination, size);
        let tag = self.tag(counter);
        let plaintext = pad(data, size)?;
        let associated_data = header.associated_data(&destination.genesis, &tag);
        let body = self.key(counter).seal(&[0; 12], &associated_data, plaintext.expose())?;
        Ok(Envelope { header, opening: tag.to_vec(), body })
    }

    /// Opens the session's command number `counter`, which is the one that its tag stands for.
    pub fn open_command<'a>(
        &self,
        destination: &Destination,
        counter: u64,
        envelope: impl Into<EnvelopeRef<'a>>,
    ) -> Result<Secret<Vec<u8>>, OpenEnvelopeError> {
        let EnvelopeRef { header: named, opening, body } = envelope.into();
        if named.version != VERSION {
            return Err(OpenEnvelopeError::Version(named.version));
        }
        if named.kind != EnvelopeKind::SessionCommand {
            return Err(OpenEnvelopeError::Kind);
        }
        if named.cluster != destination.cluster {
            return Err(OpenEnvelopeError::Cluster { named: named.cluster, expected: destination.cluster });
        }
        if named.epoch != destination.epoch {
            return Err(OpenEnvelopeError::Epoch { named: named.epoch, expected: destination.epoch });
        }
        if body.len() != named.size.bytes() + AEAD_TAG_BYTES {
            return Err(OpenEnvelopeError::Length);
        }
        let tag = self.tag(counter);
        if opening != tag {
            return Err(OpenEnvelopeError::Unauthentic);
        }
        let associated_data = named.associated_data(&destination.genesis, &tag);
        let plaintext = self.key(counter).open(&[0; 12], &associated_data, body);
        let plaintext = Secret::new(plaintext.map_err(|_| OpenEnvelopeError::Unauthentic)?);
        Ok(unpad(plaintext.expose())?)
    }

    fn key(&self, counter: u64) -> SivKey {
        SivKey::new(&kdf::derive_for(&self.0, domain::SESSION_KEY, &counter))
    }
}

fn header(destination: &Destination, size: SizeClass) -> EnvelopeHeader {
    EnvelopeHeader {
        version: VERSION,
        kind: EnvelopeKind::SessionCommand,
        cluster: destination.cluster,
        epoch: destination.epoch,
        size,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use alloc::collections::BTreeSet;
    use phala_protocol::ClusterId;

    const HERE: Destination = Destination { genesis: [1; 32], cluster: ClusterId(2), epoch: 3 };

    fn secret(byte: u8) -> SessionSecret {
        SessionSecret::from_bytes(&[byte; 32])
    }

    #[test]
    fn a_command_opens_under_its_number_and_session_and_nowhere_else() {
        let session = secret(1);
        let envelope = session.seal_command(&HERE, 5, SizeClass::B256, b"command").unwrap();
        let bytes = envelope.to_bytes();
        assert_eq!(bytes.len(), 11 + 16 + 256 + 16);
        let envelope = Envelope::decode_exact(&bytes).unwrap();
        assert_eq!(session.open_command(&HERE, 5, &envelope).unwrap().expose(), b"command");
        let failed = |session: &SessionSecret, destination: &Destination, counter, envelope: &Envelope| {
            session.open_command(destination, counter, envelope).err().unwrap()
        };
        assert_eq!(failed(&session, &HERE, 6, &envelope), OpenEnvelopeError::Unauthentic);
        assert_eq!(failed(&secret(2), &HERE, 5, &envelope), OpenEnvelopeError::Unauthentic);
        let elsewhere = Destination { genesis: [2; 32], ..HERE };
        assert_eq!(failed(&session, &elsewhere, 5, &envelope), OpenEnvelopeError::Unauthentic);
        let elsewhere = Destination { cluster: ClusterId(3), ..HERE };
        assert!(matches!(failed(&session, &elsewhere, 5, &envelope), OpenEnvelopeError::Cluster { .. }));
        let elsewhere = Destination { epoch: 4, ..HERE };
        assert!(matches!(failed(&session, &elsewhere, 5, &envelope), OpenEnvelopeError::Epoch { .. }));
        for position in [11, 26, 27, 100, bytes.len() - 1] {
            let mut altered = bytes.clone();
            altered[position] ^= 1;
            let altered = Envelope::decode_exact(&altered).unwrap();
            assert_eq!(failed(&session, &HERE, 5, &altered), OpenEnvelopeError::Unauthentic, "byte {position}");
        }
        let relabelled =
            Envelope { header: EnvelopeHeader { kind: EnvelopeKind::Call, ..envelope.header }, ..envelope };
        assert_eq!(failed(&session, &HERE, 5, &relabelled), OpenEnvelopeError::Kind);
    }

    /// Nothing that is the same in two commands of a session is in their envelopes, beside what all envelopes of a size share.
    #[test]
    fn commands_of_one_session_share_no_bytes_that_those_of_two_do_not() {
        let sealed =
            |session: u8, counter| secret(session).seal_command(&HERE, counter, SizeClass::B256, &[7; 200]).unwrap();
        let mut tags = BTreeSet::new();
        for session in 0..4 {
            for counter in 1..=64 {
                let envelope = sealed(session, counter);
                assert!(tags.insert(envelope.opening.clone()), "a tag repeats");
                assert_eq!(envelope.opening.len(), TAG_BYTES);
            }
        }
        let common = |one: &Envelope, other: &Envelope| {
            let pairs = one.opening.iter().chain(&one.body).zip(other.opening.iter().chain(&other.body));
            pairs.filter(|(one, other)| one == other).count()
        };
        let base = sealed(0, 1);
        // Of 288 bytes of noise about one is equal by chance.
        assert!(common(&base, &sealed(0, 2)) < 12 && common(&base, &sealed(1, 1)) < 12);
    }
}
