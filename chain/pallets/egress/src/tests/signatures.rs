//! Which signatures of contracts are kept, how long, and which are refused.

use super::*;
use curve25519_dalek::{edwards::EdwardsPoint, ristretto::RistrettoPoint, scalar::Scalar};
use phala_crypto::{
    egress::{contract_key, verify_egress_signature},
    signature::sr25519::AccountKey,
    Secret,
};
use phala_protocol::identities::{derivation_offset, signing::EgressSignature};
use sha2::{Digest, Sha512};

const SCHEMES: [Scheme; 2] = [Scheme::Ed25519, Scheme::Ristretto255];
/// The network's secret key, which nobody has.
const SECRET: u64 = 12_345;

fn keys() -> IdentityPoints {
    let secret = Scalar::from(SECRET);
    let ed25519 = EdwardsPoint::mul_base(&secret).compress().to_bytes();
    IdentityPoints { ed25519, sr25519: RistrettoPoint::mul_base(&secret).compress().to_bytes() }
}

/// What a threshold of gatekeepers makes, by one who has the network's whole key.
fn insecure_sign(scheme: Scheme, contract: &ContractId, id: &Hash) -> [u8; 64] {
    let genesis = Egress::genesis();
    let offset = derivation_offset(&genesis, scheme, keys().of(scheme), contract);
    let secret = Scalar::from(SECRET) + Scalar::from_bytes_mod_order_wide(&offset);
    let message = EgressSignature::payload(&genesis, scheme, id);
    match scheme {
        Scheme::Ed25519 => {
            let nonce = Scalar::from(99u8);
            let key = EdwardsPoint::mul_base(&secret).compress().to_bytes();
            let commitment = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
            let challenge: [u8; 64] = Sha512::digest([&commitment[..], &key, &message].concat()).into();
            let response = nonce + Scalar::from_bytes_mod_order_wide(&challenge) * secret;
            [commitment, response.to_bytes()].concat().try_into().unwrap()
        }
        Scheme::Ristretto255 => {
            // As polkadot.js keeps a key: the scalar times eight, then a seed.
            let (mut expanded, mut carry) = ([1; 64], 0);
            for (to, byte) in expanded.iter_mut().zip(secret.to_bytes()) {
                (*to, carry) = (byte << 3 | carry, byte >> 5);
            }
            AccountKey::from_polkadot_js(&Secret::new(expanded)).unwrap().sign(&message, &[0; 32])
        }
    }
}

fn note(sequence: u64) -> EgressItem {
    item(sequence, EgressAction::Message { destination: b"there".to_vec(), payload: b"hello".to_vec() })
}

fn id(item: &EgressItem) -> Hash {
    item.id(&Egress::genesis())
}

fn attach(sequence: u64, scheme: Scheme, signature: [u8; 64]) -> DispatchResultWithPostInfo {
    RuntimeCall::Egress(Call::attach_signature { cluster: CLUSTER, sequence, scheme, signature })
        .dispatch(RuntimeOrigin::signed(ALICE))
}

#[test]
fn a_message_that_left_gets_its_contracts_signature_once_for_nothing() {
    network(0).execute_with(|| {
        Identities::set(Some(keys()));
        assert_ok!(take(finalised(7, vec![note(0)])));
        for scheme in SCHEMES {
            let (message, genesis) = (note(0), Egress::genesis());
            let signature = insecure_sign(scheme, &CONTRACT, &id(&message));
            assert_eq!(attach(0, scheme, signature).unwrap().pays_fee, Pays::No);
            let signed = Event::<Test>::Signed { id: id(&message), contract: CONTRACT, scheme };
            System::assert_last_event(signed.into());
            // What a carrier reads is good by itself.
            let kept = Signatures::<Test>::get((CLUSTER, 0, scheme)).unwrap();
            assert_eq!(verify_egress_signature(&genesis, keys().of(scheme), &message, &kept), Ok(()));
            assert_eq!(Some(kept.key), contract_key(&genesis, scheme, keys().of(scheme), &CONTRACT));
            assert_noop!(attach(0, scheme, signature), Error::<Test>::AlreadySigned);
        }
    });
}

#[test]
fn what_is_no_signature_of_the_messages_contract_is_refused() {
    network(500).execute_with(|| {
        Identities::set(Some(keys()));
        assert_ok!(take(finalised(7, vec![note(0), pay(1, 100), note(2)])));
        for (scheme, other) in [(SCHEMES[0], SCHEMES[1]), (SCHEMES[1], SCHEMES[0])] {
            let good = insecure_sign(scheme, &CONTRACT, &id(&note(0)));
            let mut flipped = good;
            flipped[40] ^= 1;
            let wrong = [
                insecure_sign(scheme, &ContractId([0xc1; 32]), &id(&note(0))),
                insecure_sign(scheme, &CONTRACT, &id(&note(2))),
                insecure_sign(scheme, &CONTRACT, &[0; 32]),
                insecure_sign(other, &CONTRACT, &id(&note(0))),
                flipped,
                [0; 64],
                [0xff; 64],
            ];
            for (number, wrong) in wrong.into_iter().enumerate() {
                assert_noop!(attach(0, scheme, wrong), Error::<Test>::BadSignature);
                assert!(Signatures::<Test>::get((CLUSTER, 0, scheme)).is_none(), "{scheme:?} {number}");
            }
            // A transfer is never signed, nor what was not taken.
            let transfer = insecure_sign(scheme, &CONTRACT, &id(&pay(1, 100)));
            assert_noop!(attach(1, scheme, transfer), Error::<Test>::NotLeft);
            let early = insecure_sign(scheme, &CONTRACT, &id(&note(3)));
            assert_noop!(attach(3, scheme, early), Error::<Test>::NotLeft);
            let (cluster, sequence) = (CLUSTER, 0);
            let unsigned = Egress::attach_signature(RuntimeOrigin::none(), cluster, sequence, scheme, good);
            assert_noop!(unsigned, DispatchError::BadOrigin);
            Identities::set(None);
            assert_noop!(attach(0, scheme, good), Error::<Test>::NoIdentities);
            Identities::set(Some(keys()));
            assert_ok!(attach(0, scheme, good));
        }
    });
}

#[test]
fn a_message_that_failed_is_not_signed() {
    network(0).execute_with(|| {
        Identities::set(Some(keys()));
        // The other cluster's replicas speak for this one's contract.
        let forged = EgressItem { cluster: OTHER_CLUSTER, ..note(0) };
        assert_ok!(take(finalised(7, vec![forged.clone()])));
        for scheme in SCHEMES {
            let signature = insecure_sign(scheme, &CONTRACT, &id(&forged));
            let (cluster, sequence) = (OTHER_CLUSTER, 0);
            let call = RuntimeCall::Egress(Call::attach_signature { cluster, sequence, scheme, signature });
            assert_noop!(call.dispatch(RuntimeOrigin::signed(ALICE)), Error::<Test>::NotLeft);
        }
    });
}

#[test]
fn signatures_are_kept_as_long_as_the_fates_of_their_messages() {
    network(0).execute_with(|| {
        Identities::set(Some(keys()));
        let items = finalised(7, (0..EGRESS_FATES_KEPT + 3).map(note).collect());
        let mut batches = items.chunks(16);
        assert_ok!(take(batches.next().unwrap().to_vec()));
        for scheme in SCHEMES {
            for sequence in [2, 3] {
                assert_ok!(attach(sequence, scheme, insecure_sign(scheme, &CONTRACT, &id(&note(sequence)))));
            }
        }
        assert_eq!(Signatures::<Test>::iter().count(), 4);
        for batch in batches {
            assert_ok!(take(batch.to_vec()));
        }
        let kept: Vec<_> = Signatures::<Test>::iter_keys().map(|(_, sequence, _)| sequence).collect();
        assert_eq!(kept, [3, 3]);
        assert_eq!(Senders::<Test>::iter().count() as u64, EGRESS_FATES_KEPT);
        let late = insecure_sign(SCHEMES[0], &CONTRACT, &id(&note(2)));
        assert_noop!(attach(2, SCHEMES[0], late), Error::<Test>::NotLeft);
    });
}
