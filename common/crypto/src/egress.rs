//! Signatures of contracts under what they send: the check that anyone can make.
//!
//! Guarantees: [`verify_egress_signature`] returns no error exactly when the signature is by the key that belongs to the item's contract,
//! which follows from the network's key and the contract's id alone ([`contract_key`]), over the item's id and nothing else. The network's
//! key must come from a trusted place: out of a proved record of the chain, or compiled in. Anyone controls item and signature. Does not
//! show that the item left its cluster: that a threshold of gatekeepers signed nothing else is what the signature stands for.

use crate::signature::{ed25519, sr25519, VerifyError};
use curve25519_dalek::{
    edwards::{CompressedEdwardsY, EdwardsPoint},
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
    traits::Identity,
};
use phala_protocol::{
    egress::{EgressAction, EgressItem},
    identities::{derivation_offset, signing::EgressSignature, Scheme},
    ContractId, Hash,
};

/// The contract's public key: the network's, `key`, plus the contract's public offset times the base point. None if `key` is not the
/// canonical encoding of a point of prime order.
pub fn contract_key(genesis: &Hash, scheme: Scheme, key: &[u8; 32], contract: &ContractId) -> Option<[u8; 32]> {
    let offset = Scalar::from_bytes_mod_order_wide(&derivation_offset(genesis, scheme, key, contract));
    match scheme {
        Scheme::Ed25519 => {
            let point = CompressedEdwardsY(*key).decompress()?;
            let good = point.is_torsion_free() && point.compress().0 == *key && point != EdwardsPoint::identity();
            let sum = point + EdwardsPoint::mul_base(&offset);
            (good && sum != EdwardsPoint::identity()).then(|| sum.compress().0)
        }
        Scheme::Ristretto255 => {
            let point = CompressedRistretto(*key).decompress()?;
            let sum = point + RistrettoPoint::mul_base(&offset);
            (point != RistrettoPoint::identity() && sum != RistrettoPoint::identity()).then(|| sum.compress().0)
        }
    }
}

/// Verifies that `signature` is by `item`'s contract over `item`, on the chain with this genesis, whose identity of the signature's scheme
/// has the public key `network`.
pub fn verify_egress_signature(
    genesis: &Hash,
    network: &[u8; 32],
    item: &EgressItem,
    signature: &EgressSignature,
) -> Result<(), EgressSignatureError> {
    if !matches!(item.action, EgressAction::Message { .. }) {
        return Err(EgressSignatureError::NoMessage);
    }
    if signature.item != item.id(genesis) {
        return Err(EgressSignatureError::OtherItem);
    }
    let EgressSignature { item: id, scheme, key, signature } = *signature;
    let verified = verify_signature(genesis, scheme, network, &item.contract, id, signature)?;
    if verified.key != key {
        return Err(EgressSignatureError::OtherKey);
    }
    Ok(())
}

/// Verifies that `signature` is by `contract` over the item with this id, and names the key that it is under: for whoever knows that the
/// item is a message of that contract, without having it.
pub fn verify_signature(
    genesis: &Hash,
    scheme: Scheme,
    network: &[u8; 32],
    contract: &ContractId,
    item: Hash,
    signature: [u8; 64],
) -> Result<EgressSignature, EgressSignatureError> {
    let key = contract_key(genesis, scheme, network, contract).ok_or(EgressSignatureError::Network)?;
    let payload = EgressSignature::payload(genesis, scheme, &item);
    match scheme {
        Scheme::Ed25519 => ed25519::verify(&key, &payload, &signature)?,
        Scheme::Ristretto255 => sr25519::verify(&key, &payload, &signature)?,
    }
    Ok(EgressSignature { item, scheme, key, signature })
}

/// Why a signature is not a contract's under an item; the fault is whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressSignatureError {
    /// The item is a transfer, which is paid by vote and never signed.
    #[error("the item is no message: nothing else is signed")]
    NoMessage,
    /// It names another item.
    #[error("signature is of another item, or of one of another chain")]
    OtherItem,
    /// The network's key is no key; the caller's fault.
    #[error("the network's key is not a canonical point of prime order")]
    Network,
    /// The key is not the contract's.
    #[error("key is not that of the item's contract")]
    OtherKey,
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] VerifyError),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::entropy::EntropyBuilder;
    use alloc::{vec, vec::Vec};
    use phala_protocol::{domain, AccountId, ClusterId};
    use sha2::{Digest, Sha512};

    const GENESIS: Hash = [7; 32];
    const SECRET: u64 = 12_345;

    fn item() -> EgressItem {
        let action = EgressAction::Message { destination: b"there".to_vec(), payload: b"hello".to_vec() };
        EgressItem { cluster: ClusterId(1), sequence: 7, contract: ContractId([3; 32]), action }
    }

    fn network(scheme: Scheme) -> [u8; 32] {
        match scheme {
            Scheme::Ed25519 => EdwardsPoint::mul_base(&Scalar::from(SECRET)).compress().0,
            Scheme::Ristretto255 => RistrettoPoint::mul_base(&Scalar::from(SECRET)).compress().0,
        }
    }

    fn offset(scheme: Scheme) -> Scalar {
        let wide = derivation_offset(&GENESIS, scheme, &network(scheme), &item().contract);
        Scalar::from_bytes_mod_order_wide(&wide)
    }

    /// What gatekeepers make together, by whoever would know the whole key.
    fn insecure_sign(scheme: Scheme, id: &Hash) -> EgressSignature {
        let secret = Scalar::from(SECRET) + offset(scheme);
        let message = EgressSignature::payload(&GENESIS, scheme, id);
        let (key, signature) = match scheme {
            Scheme::Ed25519 => {
                let key = EdwardsPoint::mul_base(&secret).compress().0;
                let nonce = Scalar::from(99u8);
                let commitment = EdwardsPoint::mul_base(&nonce).compress().0;
                let wide: [u8; 64] = Sha512::digest([&commitment[..], &key, &message].concat()).into();
                let response = nonce + Scalar::from_bytes_mod_order_wide(&wide) * secret;
                (key, [commitment, response.to_bytes()].concat().try_into().unwrap())
            }
            Scheme::Ristretto255 => {
                let expanded = [secret.to_bytes(), [1; 32]].concat();
                let pair = schnorrkel::SecretKey::from_bytes(&expanded).unwrap().to_keypair();
                let transcript = schnorrkel::signing_context(sr25519::CONTEXT).bytes(&message);
                let stream = EntropyBuilder::new(domain::SIGNATURE_NONCE, &[0; 32]).finish();
                let signature = pair.sign(schnorrkel::context::attach_rng(transcript, stream)).to_bytes();
                (pair.public.to_bytes(), signature)
            }
        };
        EgressSignature { item: *id, scheme, key, signature }
    }

    #[test]
    fn a_contracts_signature_holds_for_its_item_and_for_nothing_else() {
        for scheme in [Scheme::Ed25519, Scheme::Ristretto255] {
            let id = item().id(&GENESIS);
            let good = insecure_sign(scheme, &id);
            let verdict = |item: &EgressItem, signature: &EgressSignature| {
                verify_egress_signature(&GENESIS, &network(scheme), item, signature)
            };
            assert_eq!(verdict(&item(), &good), Ok(()), "{scheme:?}");
            let mut others: Vec<EgressItem> = vec![
                EgressItem { cluster: ClusterId(2), ..item() },
                EgressItem { sequence: 8, ..item() },
                EgressItem { contract: ContractId([4; 32]), ..item() },
            ];
            for (destination, payload) in [("there", "hell0"), ("here", "hello"), ("therehello", "")] {
                let action = EgressAction::Message { destination: destination.into(), payload: payload.into() };
                others.push(EgressItem { action, ..item() });
            }
            for other in &others {
                assert_eq!(verdict(other, &good), Err(EgressSignatureError::OtherItem));
                // Renamed it is still no signature over the other.
                let renamed = EgressSignature { item: other.id(&GENESIS), ..good };
                assert!(verdict(other, &renamed).is_err());
            }
            let transfer = EgressAction::Transfer { to: AccountId([1; 32]), amount: 1 };
            let transfer = EgressItem { action: transfer, ..item() };
            let signed = insecure_sign(scheme, &transfer.id(&GENESIS));
            assert_eq!(verdict(&transfer, &signed), Err(EgressSignatureError::NoMessage));
            let elsewhere = verify_egress_signature(&[8; 32], &network(scheme), &item(), &good);
            assert_eq!(elsewhere, Err(EgressSignatureError::OtherItem));
            for (index, flipped) in [(0, 1u8), (31, 1), (32, 1), (62, 1)] {
                let mut wrong = good;
                wrong.signature[index] ^= flipped;
                assert!(verdict(&item(), &wrong).is_err(), "{scheme:?} {index}");
            }
        }
    }

    #[test]
    fn the_key_is_the_contracts_own_and_of_its_scheme() {
        for (scheme, other) in [(Scheme::Ed25519, Scheme::Ristretto255), (Scheme::Ristretto255, Scheme::Ed25519)] {
            let good = insecure_sign(scheme, &item().id(&GENESIS));
            let verdict = |network: [u8; 32], signature: EgressSignature| {
                verify_egress_signature(&GENESIS, &network, &item(), &signature)
            };
            let contract = item().contract;
            assert_eq!(contract_key(&GENESIS, scheme, &network(scheme), &contract), Some(good.key));
            let neighbour = contract_key(&GENESIS, scheme, &network(scheme), &ContractId([4; 32])).unwrap();
            assert_ne!(neighbour, good.key);
            assert_ne!(contract_key(&[8; 32], scheme, &network(scheme), &contract), Some(good.key));
            let renamed = EgressSignature { key: neighbour, ..good };
            assert_eq!(verdict(network(scheme), renamed), Err(EgressSignatureError::OtherKey));
            let network_itself = EgressSignature { key: network(scheme), ..good };
            assert_eq!(verdict(network(scheme), network_itself), Err(EgressSignatureError::OtherKey));
            let other_scheme = EgressSignature { scheme: other, ..good };
            assert!(matches!(verdict(network(other), other_scheme), Err(EgressSignatureError::Signature(_))));
            for bad in [[0xff; 32], identity(scheme)] {
                assert_eq!(verdict(bad, good), Err(EgressSignatureError::Network));
            }
        }
    }

    fn identity(scheme: Scheme) -> [u8; 32] {
        match scheme {
            Scheme::Ed25519 => EdwardsPoint::identity().compress().0,
            Scheme::Ristretto255 => RistrettoPoint::identity().compress().0,
        }
    }
}
