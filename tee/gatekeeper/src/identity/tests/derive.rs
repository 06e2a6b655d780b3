//! Contracts' keys are the network's, moved: the same as another implementation computes, and what they sign verifies.

use super::{
    committed, hand_over, insecure_split, lagrange, open_share, parts, session, signature, text, verify_key_record,
    Shared, GENESIS, MESSAGE,
};
use crate::identity::{
    aggregate, sign::ShareSigner, EdwardsPoint, Group, IdentityShare, RistrettoPoint, SignError, Signs,
};
use curve25519_dalek::Scalar;
use phala_crypto::signature::ed25519;
use phala_protocol::{identities::derivation_offset, ContractId};
use serde_json::Value;
use std::path::Path;

const CONTRACT: ContractId = ContractId([3; 32]);

/// The sharing of a contract's key that holders have without a message.
fn derived<G: Group>(shared: &Shared<G>, genesis: &[u8; 32], contract: &ContractId) -> Shared<G> {
    let record = shared.record.derived(genesis, contract).unwrap();
    let key = shared.record.key();
    let shares = shared.shares.iter().map(|share| share.derived(genesis, &key, contract)).collect();
    Shared { record, shares }
}

/// Golden vectors, of a second implementation.
#[test]
fn contracts_keys_follow_their_vectors() {
    fn check<G: Group>(vectors: &Value, name: &str) {
        let shared = insecure_split::<G>(1, 2, 3);
        let offset = derivation_offset(&GENESIS, G::SCHEME, &shared.record.key(), &CONTRACT);
        assert_eq!(vectors[name]["offset"], text(offset), "{name}");
        let contract = derived(&shared, &GENESIS, &CONTRACT);
        assert_eq!(vectors[name]["key"], text(contract.record.key()), "{name}");
        for (position, (index, public)) in contract.record.holders().into_iter().enumerate() {
            assert_eq!(vectors[name]["public"][position], text(public), "{name} {index}");
            let share = contract.shares[position].to_bytes();
            assert_eq!(vectors[name]["shares"][position], text(share.expose()), "{name} {index}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/vectors/gatekeeper/derivation.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(vectors["genesis"], text(GENESIS));
    assert_eq!(vectors["contract"], text(CONTRACT.0));
    check::<EdwardsPoint>(&vectors, "ed25519");
    check::<RistrettoPoint>(&vectors, "ristretto255");
}

#[test]
fn what_holders_sign_under_a_contracts_key_verifies_under_it_and_no_other() {
    fn check<G: Signs>() {
        let shared = insecure_split::<G>(2, 3, 5);
        let contract = derived(&shared, &GENESIS, &CONTRACT);
        // A record as whoever reads it verifies it, and shares that fit it.
        let holders = contract.record.holders();
        let read = verify_key_record::<G>(3, &contract.record.key(), &holders).unwrap();
        assert!(contract.record == read && read.key() != shared.record.key());
        for share in &contract.shares {
            assert!(open_share(&read, share.index(), &share.to_bytes()).is_ok());
            assert!(open_share(&shared.record, share.index(), &share.to_bytes()).is_err());
        }
        let signed = signature(&contract, &[4, 0, 2]);
        assert_eq!(G::accepted(&contract.record.key(), MESSAGE, signed), Some(signed));
        assert_eq!(G::accepted(&shared.record.key(), MESSAGE, signed), None);
        let other = derived(&shared, &GENESIS, &ContractId([4; 32]));
        assert_eq!(G::accepted(&other.record.key(), MESSAGE, signed), None);
        // Parts for one contract are none for another, nor for the network's key.
        let (signers, commitments) = committed(&contract, &[0, 1, 2]);
        let parts = parts(signers, &commitments);
        assert!(aggregate(&contract.record, &commitments, &parts, MESSAGE).is_ok());
        for record in [&other.record, &shared.record] {
            let refused = aggregate(record, &commitments, &parts, MESSAGE).err();
            assert_eq!(refused, Some(SignError::Wrong(vec![1, 2, 3])));
        }
        let foreign = ShareSigner::new(contract.record.clone(), &shared.shares[0]).err();
        assert_eq!(foreign, Some(SignError::NoSuchHolder(1)));
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
    let contract = derived(&insecure_split::<EdwardsPoint>(2, 3, 5), &GENESIS, &CONTRACT);
    assert_eq!(ed25519::verify(&contract.record.key(), MESSAGE, &signature(&contract, &[0, 1, 2])), Ok(()));
}

#[test]
fn a_contracts_key_binds_chain_scheme_network_key_and_contract() {
    fn keys<G: Group>() -> Vec<[u8; 32]> {
        let (one, other) = (insecure_split::<G>(1, 2, 3), insecure_split::<G>(2, 2, 3));
        let key = |shared: &Shared<G>, genesis: u8, contract: u8| {
            shared.record.derived(&[genesis; 32], &ContractId([contract; 32])).unwrap().key()
        };
        vec![key(&one, 7, 3), key(&one, 8, 3), key(&one, 7, 4), key(&other, 7, 3), one.record.key()]
    }
    let mut all = keys::<EdwardsPoint>();
    all.extend(keys::<RistrettoPoint>());
    for (position, key) in all.iter().enumerate() {
        assert!(!all[..position].contains(key), "{position}");
    }
    let key = [5; 32];
    let offset = |scheme| derivation_offset(&GENESIS, scheme, &key, &CONTRACT);
    assert_ne!(offset(EdwardsPoint::SCHEME), offset(RistrettoPoint::SCHEME));
}

#[test]
fn a_contracts_key_stays_when_the_networks_is_handed_over() {
    fn check<G: Group>() {
        let first = insecure_split::<G>(3, 3, 4);
        let before = derived(&first, &GENESIS, &CONTRACT);
        let second = hand_over(&first, &[0, 2, 3], &session(1, 7));
        let after = derived(&second, &GENESIS, &CONTRACT);
        assert_eq!(after.record.key(), before.record.key());
        assert_eq!((after.record.threshold(), after.shares.len()), (5, 7));
        // Of both sets together there are shares enough for neither.
        let mixed: Vec<_> = before.shares[..2].iter().chain(&after.shares[2..4]).collect();
        let indices: Vec<u16> = mixed.iter().map(|share| share.index()).collect();
        let scalar = |share: &IdentityShare<G>| Scalar::from_bytes_mod_order(*share.to_bytes().expose());
        let mixed = mixed
            .iter()
            .zip(lagrange(&indices, 0))
            .fold(Scalar::ZERO, |sum, (share, weight)| sum + scalar(share) * weight);
        assert_ne!(G::base_times(&mixed).to_encoding(), before.record.key());
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}
