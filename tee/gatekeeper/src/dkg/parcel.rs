//! Sealed messages between seats.
//!
//! Guarantees: a parcel opens for the holder of the key that it was sealed to (`receiving.rs`), with the header that it was
//! sealed with, on this chain. [`verify_sender`] says whether the seat that it names sent it, at the cost of one signature: before
//! that, nothing is decapsulated. Neither says that what is inside is right: the chain's hash does, or a package.
//! Anyone may make parcels, and the host carries, drops and repeats them.

use super::package::{package_bytes, SHARE_BYTES};
use codec::Encode;
use phala_crypto::{
    aead::TAG_BYTES,
    entropy::EntropyBuilder,
    hpke,
    signature::ed25519::{self, IdentityKey},
    xwing::{DecapsulationKey, EncapsulationKey, CIPHERTEXT_BYTES, ENTROPY_BYTES},
    Secret,
};
use phala_protocol::{
    ceremony::{threshold_of, Parcel, ParcelHeader, MAX_SEATS},
    domain, Hash, WorkerId,
};

/// Why a parcel was not sealed or did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParcelError {
    /// Its parts have lengths that no parcel has.
    #[error("parcel is malformed")]
    Malformed,
    /// The seat that it names did not sign it: the fault is whoever made it.
    #[error("parcel is not signed by the seat that it names")]
    NotSender,
    /// It was not sealed to this seat with this header on this chain.
    #[error("parcel does not open for this seat")]
    Unauthentic,
    /// More than the cipher takes: the sender's fault.
    #[error("message is too long to be sealed")]
    TooLong,
}

/// Seals `content` to `recipient` and signs it with `identity`, the one of the seat `header.from`. `entropy` is unpredictable; one may
/// serve many parcels, since header and content are mixed in.
pub fn seal_parcel(
    genesis: &Hash,
    identity: &IdentityKey,
    recipient: &EncapsulationKey,
    header: ParcelHeader,
    content: &[u8],
    entropy: &Secret<[u8; 32]>,
) -> Result<Parcel, ParcelError> {
    let associated = header.encode();
    let stream = EntropyBuilder::new(domain::CEREMONY_ENTROPY, entropy.expose()).bind(&associated).bind(content);
    let drawn = stream.finish().secret::<ENTROPY_BYTES>();
    let (encapsulated, context) = hpke::setup_sender(recipient, &info(genesis), drawn.expose());
    let (body, _) = context.seal(&associated, content).map_err(|_| ParcelError::TooLong)?;
    let unsigned = Parcel { header, encapsulated: encapsulated.to_vec(), body, signature: [0; 64] };
    Ok(Parcel { signature: identity.sign(&unsigned.signing_payload(genesis)), ..unsigned })
}

/// Whether `sender` signed the parcel, which has the lengths of one. Cheap: to be asked before anything is opened.
pub fn verify_sender(genesis: &Hash, sender: &WorkerId, parcel: &Parcel) -> Result<(), ParcelError> {
    encapsulated(parcel)?;
    ed25519::verify(&sender.0, &parcel.signing_payload(genesis), &parcel.signature).map_err(|_| ParcelError::NotSender)
}

/// Opens a parcel with the seat's key of the attempt.
pub fn open_parcel(genesis: &Hash, secret: &DecapsulationKey, parcel: &Parcel) -> Result<Secret<Vec<u8>>, ParcelError> {
    let encapsulated = encapsulated(parcel)?;
    let context = hpke::setup_receiver(secret, encapsulated, &info(genesis));
    let (content, _) = context.open(&parcel.header.encode(), &parcel.body).map_err(|_| ParcelError::Unauthentic)?;
    Ok(content)
}

/// The ciphertext of a parcel whose parts have lengths that a parcel has.
fn encapsulated(parcel: &Parcel) -> Result<&[u8; CIPHERTEXT_BYTES], ParcelError> {
    // A delivery is a seat's shares and a package.
    let longest = SHARE_BYTES + u16::try_from(threshold_of(MAX_SEATS)).map_or(0, package_bytes) + TAG_BYTES;
    if parcel.body.len() > longest {
        return Err(ParcelError::Malformed);
    }
    parcel.encapsulated.as_slice().try_into().map_err(|_| ParcelError::Malformed)
}

fn info(genesis: &Hash) -> Vec<u8> {
    [domain::CEREMONY_PARCEL.as_bytes(), genesis].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::ceremony::{Attachment, ParcelKind, MAX_ATTACHMENT_BYTES};

    fn sender(byte: u8) -> IdentityKey {
        IdentityKey::from_seed(&Secret::new([byte; 32]))
    }

    #[test]
    fn a_parcel_is_of_whoever_signed_all_of_it_on_its_chain() {
        let recipient = DecapsulationKey::from_seed(&Secret::new([1; 32]));
        let recipient = EncapsulationKey::from_bytes(recipient.public_key()).unwrap();
        let header = ParcelHeader { era: 1, attempt: 2, from: 3, to: 4, kind: ParcelKind::Share };
        let parcel = seal_parcel(&[7; 32], &sender(3), &recipient, header, b"a share", &Secret::new([9; 32])).unwrap();
        let verdict = |genesis: u8, by: u8, parcel: &Parcel| {
            verify_sender(&[genesis; 32], &WorkerId(sender(by).public()), parcel).err()
        };
        assert_eq!(verdict(7, 3, &parcel), None);
        assert_eq!(verdict(8, 3, &parcel), Some(ParcelError::NotSender));
        assert_eq!(verdict(7, 4, &parcel), Some(ParcelError::NotSender));
        let altered: [fn(&mut Parcel); 4] = [
            |parcel| parcel.header.to = 5,
            |parcel| parcel.encapsulated[0] ^= 1,
            |parcel| parcel.body[0] ^= 1,
            |parcel| parcel.signature[0] ^= 1,
        ];
        for alter in altered {
            let mut parcel = parcel.clone();
            alter(&mut parcel);
            assert_eq!(verdict(7, 3, &parcel), Some(ParcelError::NotSender));
        }
        let long = Parcel { body: vec![0; 100_000], ..parcel };
        assert_eq!(verdict(7, 3, &long), Some(ParcelError::Malformed), "before it is hashed");
    }

    #[test]
    fn a_parcel_opens_for_its_recipient_with_its_header_on_its_chain_alone() {
        let keys = [1, 2].map(|byte| DecapsulationKey::from_seed(&Secret::new([byte; 32])));
        let recipient = EncapsulationKey::from_bytes(keys[0].public_key()).unwrap();
        let header = ParcelHeader { era: 1, attempt: 2, from: 3, to: 4, kind: ParcelKind::Share };
        let entropy = Secret::new([9; 32]);
        let parcel = seal_parcel(&[7; 32], &sender(3), &recipient, header, b"a share", &entropy).unwrap();
        assert_eq!(open_parcel(&[7; 32], &keys[0], &parcel).unwrap().expose(), b"a share");
        let refused = |genesis: u8, key: usize, parcel: &Parcel| open_parcel(&[genesis; 32], &keys[key], parcel).err();
        assert_eq!(refused(8, 0, &parcel), Some(ParcelError::Unauthentic));
        assert_eq!(refused(7, 1, &parcel), Some(ParcelError::Unauthentic));
        for header in [
            ParcelHeader { era: 2, ..header },
            ParcelHeader { attempt: 3, ..header },
            ParcelHeader { from: 4, ..header },
            ParcelHeader { to: 3, ..header },
            ParcelHeader { kind: ParcelKind::Package, ..header },
        ] {
            assert_eq!(refused(7, 0, &Parcel { header, ..parcel.clone() }), Some(ParcelError::Unauthentic));
        }
        let mut altered = parcel.clone();
        altered.body[0] ^= 1;
        assert_eq!(refused(7, 0, &altered), Some(ParcelError::Unauthentic));
        let short = Parcel { encapsulated: parcel.encapsulated[1..].to_vec(), ..parcel.clone() };
        assert_eq!(refused(7, 0, &short), Some(ParcelError::Malformed));
        let long = Parcel { body: vec![0; 100_000], ..parcel.clone() };
        assert_eq!(refused(7, 0, &long), Some(ParcelError::Malformed));
    }

    #[test]
    fn the_longest_delivery_is_not_too_long_for_the_chain() {
        assert_eq!(threshold_of(MAX_SEATS), 67);
        let recipient = DecapsulationKey::from_seed(&Secret::new([1; 32]));
        let key = EncapsulationKey::from_bytes(recipient.public_key()).unwrap();
        let header = ParcelHeader { era: 1, attempt: 2, from: 3, to: 4, kind: ParcelKind::Delivery };
        let content = vec![5; SHARE_BYTES + package_bytes(67)];
        let parcel = seal_parcel(&[7; 32], &sender(3), &key, header, &content, &Secret::new([9; 32])).unwrap();
        let bytes = parcel.encapsulated.len() + parcel.body.len();
        assert_eq!(bytes, 5_620);
        assert!(bytes <= MAX_ATTACHMENT_BYTES);
        // With header, lengths and signature too.
        assert!(Attachment::Parcel(parcel.clone()).encoded_size() <= MAX_ATTACHMENT_BYTES);
        assert_eq!(open_parcel(&[7; 32], &recipient, &parcel).unwrap().expose(), &content);
        let longer =
            seal_parcel(&[7; 32], &sender(3), &key, header, &[&content[..], &[5]].concat(), &Secret::new([9; 32]));
        assert_eq!(open_parcel(&[7; 32], &recipient, &longer.unwrap()).err(), Some(ParcelError::Malformed));
    }

    #[test]
    fn one_entropy_seals_each_message_under_its_own_key() {
        let recipient = DecapsulationKey::from_seed(&Secret::new([1; 32]));
        let recipient = EncapsulationKey::from_bytes(recipient.public_key()).unwrap();
        let header = ParcelHeader { era: 1, attempt: 2, from: 3, to: 4, kind: ParcelKind::Share };
        let sealed = |header, content: &[u8], entropy: u8| {
            seal_parcel(&[7; 32], &sender(3), &recipient, header, content, &Secret::new([entropy; 32])).unwrap()
        };
        let base = sealed(header, b"one", 1);
        assert_eq!(base, sealed(header, b"one", 1));
        assert_ne!(base.encapsulated, sealed(header, b"two", 1).encapsulated);
        assert_ne!(base.encapsulated, sealed(header, b"one", 2).encapsulated);
        assert_ne!(base.encapsulated, sealed(ParcelHeader { to: 5, ..header }, b"one", 1).encapsulated);
    }
}
