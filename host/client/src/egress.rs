//! Signatures of contracts under messages that have left, for whoever carries the messages on.
//!
//! Guarantees: what [`signature`] returns was read with proofs of the pinned chain's finalised state, and holds under the key that follows
//! from the identities in that state. The node controls whether it answers. Whoever has item and signature needs neither node nor chain
//! afterwards: `phala_crypto::egress::verify_egress_signature` says it again, from the network's key.

use crate::{ClientError, ErrorCode, Network};
use phala_crypto::egress::{verify_egress_signature, EgressSignatureError};
use phala_protocol::{
    egress::EgressItem,
    identities::{signing::EgressSignature, IdentityRecord, Scheme},
    storage, Hash,
};

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
        ClientError::new(
            ErrorCode::Unverified,
            format!("the chain's signature under the message does not hold: {error}"),
        )
        .with_hint("the chain keeps only what it has verified: ask for the item as it left")
    })?;
    Ok(Some(signature))
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
    use phala_crypto::{egress::contract_key, signature::sr25519::AccountKey, Secret};
    use phala_protocol::{
        egress::EgressAction,
        identities::{derivation_offset, IdentityPoints},
        ClusterId, ContractId,
    };

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
        let strangers = IdentityRecord { keys: swapped, ..record };
        assert!(check(&GENESIS, Some(&strangers), &item, &signed).is_err());
    }
}
