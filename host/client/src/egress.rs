//! Signatures of contracts under messages that have left, for whoever carries the messages on.
//!
//! Guarantees: what [`signature`] and [`signatures`] return was read with proofs of the pinned chain's finalised state, and holds under the
//! key that follows from the identities in that state. The node controls whether it answers. Whoever has item and signature needs neither
//! node nor chain afterwards: `phala_crypto::egress::verify_egress_signature` says it again, from the network's key.

use crate::{chain::map_key, ClientError, ErrorCode, Network};
use codec::Encode;
use phala_crypto::egress::{contract_key, verify_egress_signature, verify_signature, EgressSignatureError};
use phala_protocol::{
    egress::{EgressFate, EgressItem},
    identities::{signing::EgressSignature, IdentityPoints, IdentityRecord, Scheme},
    storage, ClusterId, ContractId, Hash,
};

/// The schemes under which a message is signed, in the order in which they are shown.
pub const SCHEMES: [Scheme; 2] = [Scheme::Ed25519, Scheme::Ristretto255];

/// The signature of `scheme` by `item`'s contract under `item`, if the chain has it: it is made after the message has left, and forgotten
/// with its fate.
pub async fn signature(
    network: &Network,
    item: &EgressItem,
    scheme: Scheme,
) -> Result<Option<EgressSignature>, ClientError> {
    let key = storage::egress_signature_key(item.cluster, item.sequence, scheme);
    let identity = storage::identity_key();
    let proved = network.read(&[key.clone(), identity.clone()]).await?;
    let Some(signature) = proved.get::<EgressSignature>(&key)? else { return Ok(None) };
    let record: Option<IdentityRecord> = proved.get(&identity)?;
    check(network.genesis(), record.as_ref(), item, &signature).map_err(|error| {
        does_not_hold(error).with_hint("the chain keeps only what it has verified: ask for the item as it left")
    })?;
    Ok(Some(signature))
}

fn does_not_hold(error: EgressSignatureError) -> ClientError {
    ClientError::new(ErrorCode::Unverified, format!("the chain's signature under the message does not hold: {error}"))
}

/// The signatures that the chain has under the item `sequence` of `cluster`, for whoever does not have the item: none of what is no message
/// that has left, nor after its fate is forgotten.
///
/// # Errors
/// `unverified` when one does not hold under the key of the contract that the chain says sent the item.
pub async fn signatures(
    network: &Network,
    cluster: ClusterId,
    sequence: u64,
) -> Result<Vec<EgressSignature>, ClientError> {
    let sender_key = map_key("Egress", "Senders", &(cluster, sequence).encode());
    let (fate_key, identity_key) = (storage::egress_fate_key(cluster, sequence), storage::identity_key());
    let signature_keys = SCHEMES.map(|scheme| storage::egress_signature_key(cluster, sequence, scheme));
    let mut keys = vec![sender_key.clone(), fate_key.clone(), identity_key.clone()];
    keys.extend(signature_keys.iter().cloned());
    let proved = network.read(&keys).await?;
    let mut signatures = Vec::new();
    for key in &signature_keys {
        signatures.extend(proved.get::<EgressSignature>(key)?);
    }
    let sender: Option<ContractId> = proved.get(&sender_key)?;
    let fate: Option<EgressFate> = proved.get(&fate_key)?;
    let record: Option<IdentityRecord> = proved.get(&identity_key)?;
    let of = sender.zip(fate).map(|(contract, fate)| (contract, fate.id));
    check_all(network.genesis(), record.as_ref(), of, &signatures).map_err(does_not_hold)?;
    Ok(signatures)
}

/// Whether signatures are under the item with this id by the contract that sent it.
fn check_all(
    genesis: &Hash,
    record: Option<&IdentityRecord>,
    of: Option<(ContractId, Hash)>,
    signatures: &[EgressSignature],
) -> Result<(), EgressSignatureError> {
    for signature in signatures {
        let keys = record.map(|record| record.keys).ok_or(EgressSignatureError::Network)?;
        let (contract, id) = of.ok_or(EgressSignatureError::OtherItem)?;
        if signature.item != id {
            return Err(EgressSignatureError::OtherItem);
        }
        let EgressSignature { scheme, key, signature, .. } = *signature;
        if verify_signature(genesis, scheme, keys.of(scheme), &contract, id, signature)?.key != key {
            return Err(EgressSignatureError::OtherKey);
        }
    }
    Ok(())
}

/// A contract's public keys of both schemes, which are its addresses elsewhere: they follow from the network's `keys` and stay for ever.
/// None where these are no keys.
pub fn contract_keys(genesis: &Hash, keys: &IdentityPoints, contract: &ContractId) -> Option<IdentityPoints> {
    let of = |scheme| contract_key(genesis, scheme, keys.of(scheme), contract);
    Some(IdentityPoints { ed25519: of(Scheme::Ed25519)?, sr25519: of(Scheme::Ristretto255)? })
}

/// Whether a signature is the item's contract's, by the network's identities.
fn check(
    genesis: &Hash,
    record: Option<&IdentityRecord>,
    item: &EgressItem,
    signature: &EgressSignature,
) -> Result<(), EgressSignatureError> {
    let keys = record.map(|record| record.keys).ok_or(EgressSignatureError::Network)?;
    verify_egress_signature(genesis, keys.of(signature.scheme), item, signature)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use curve25519_dalek::{edwards::EdwardsPoint, ristretto::RistrettoPoint, scalar::Scalar};
    use phala_crypto::{signature::sr25519::AccountKey, Secret};
    use phala_protocol::{egress::EgressAction, identities::derivation_offset};

    const GENESIS: Hash = [7; 32];
    const SCHEME: Scheme = Scheme::Ristretto255;

    #[test]
    fn a_signature_counts_under_the_networks_own_identities_and_for_its_item() {
        let secret = Scalar::from(12_345u64);
        let keys = IdentityPoints {
            ed25519: EdwardsPoint::mul_base(&secret).compress().to_bytes(),
            sr25519: RistrettoPoint::mul_base(&secret).compress().to_bytes(),
        };
        let record = IdentityRecord { era: 1, threshold: 3, keys, holders: Vec::new() };
        let action = EgressAction::Message { destination: b"there".to_vec(), payload: b"hello".to_vec() };
        let item = EgressItem { cluster: ClusterId(1), sequence: 7, contract: ContractId([3; 32]), action };
        // The contract's secret key, which nobody has, as polkadot.js keeps one: the scalar times eight, then a seed.
        let offset = derivation_offset(&GENESIS, SCHEME, &keys.sr25519, &item.contract);
        let own = secret + Scalar::from_bytes_mod_order_wide(&offset);
        let (mut expanded, mut carry) = ([1; 64], 0);
        for (to, byte) in expanded.iter_mut().zip(own.to_bytes()) {
            (*to, carry) = (byte << 3 | carry, byte >> 5);
        }
        let id = item.id(&GENESIS);
        let payload = EgressSignature::payload(&GENESIS, SCHEME, &id);
        let signature = AccountKey::from_polkadot_js(&Secret::new(expanded)).unwrap().sign(&payload, &[0; 32]);
        let key = contract_key(&GENESIS, SCHEME, &keys.sr25519, &item.contract).unwrap();
        let signed = EgressSignature { item: id, scheme: SCHEME, key, signature };

        assert_eq!(check(&GENESIS, Some(&record), &item, &signed), Ok(()));
        assert_eq!(check(&GENESIS, None, &item, &signed), Err(EgressSignatureError::Network));
        let other = EgressItem { sequence: 8, ..item.clone() };
        assert_eq!(check(&GENESIS, Some(&record), &other, &signed), Err(EgressSignatureError::OtherItem));
        let swapped =
            IdentityPoints { ed25519: keys.sr25519, sr25519: RistrettoPoint::mul_base(&own).compress().to_bytes() };
        let strangers = IdentityRecord { keys: swapped, ..record.clone() };
        assert!(check(&GENESIS, Some(&strangers), &item, &signed).is_err());

        // Without the item, by what the chain says of it: its id, and who sent it.
        let check_one = |record, of, signed| check_all(&GENESIS, record, of, &[signed]);
        let of = Some((item.contract, id));
        assert_eq!(check_one(Some(&record), of, signed), Ok(()));
        assert_eq!(check_all(&GENESIS, None, None, &[]), Ok(()), "nothing is claimed");
        assert_eq!(check_one(None, of, signed), Err(EgressSignatureError::Network));
        let item_of_another = Some((item.contract, other.id(&GENESIS)));
        for wrong in [None, item_of_another] {
            assert_eq!(check_one(Some(&record), wrong, signed), Err(EgressSignatureError::OtherItem));
        }
        assert!(check_one(Some(&record), Some((ContractId([4; 32]), id)), signed).is_err(), "another contract");
        assert!(check_one(Some(&strangers), of, signed).is_err(), "another network");
        let renamed = EgressSignature { key: [9; 32], ..signed };
        assert_eq!(check_one(Some(&record), of, renamed), Err(EgressSignatureError::OtherKey));
        let both = contract_keys(&GENESIS, &record.keys, &item.contract).unwrap();
        assert_eq!((both.sr25519, both == record.keys), (key, false));
        assert_eq!(
            contract_keys(&GENESIS, &IdentityPoints { ed25519: [0xff; 32], ..record.keys }, &item.contract),
            None
        );
    }
}
