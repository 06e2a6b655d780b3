//! A key that nobody deals: it is shared as it should be, and whoever lies about it is named.

use super::{holders, insecure_key_of, session, signature, text, Shared, GENESIS};
use crate::identity::{
    DealerFault, Dealing, EdwardsPoint, Generation, Group, IdentityShare, Package, Possession, ReshareError, Resharing,
    RistrettoPoint, Session, Signs, SubShare, VerifiedPackage,
};
use codec::Encode;
use curve25519_dalek::Scalar;
use phala_crypto::Secret;
use phala_protocol::ceremony::tolerated;
use serde_json::Value;
use std::{collections::BTreeSet, path::Path};

fn seed(dealer: u16) -> Secret<[u8; 32]> {
    let [low, _] = dealer.to_le_bytes();
    Secret::new([low ^ 0x40; 32])
}

fn dealt<G: Group>(generation: &Generation<G>, dealers: &[u16]) -> Vec<(Dealing, VerifiedPackage<G>)> {
    let deal = |dealer: &u16| {
        let (dealing, proof) = generation.deal(*dealer, &seed(*dealer)).unwrap();
        let package = generation.verify_package(dealing.package(), &proof).unwrap();
        (dealing, package)
    };
    dealers.iter().map(deal).collect()
}

pub(super) fn made<G: Group>(session: &Session, dealers: &[u16]) -> Shared<G> {
    let generation = Generation::<G>::new(session).unwrap();
    let (dealings, packages): (Vec<_>, Vec<_>) = dealt(&generation, dealers).into_iter().unzip();
    let accepted = generation.accept(&packages).unwrap();
    let share = |to: u16| -> IdentityShare<G> {
        let pairs = packages.iter().zip(&dealings);
        let verified: Vec<_> = pairs
            .map(|(package, dealing)| generation.verify_sub_share(package, &dealing.sub_share(to).unwrap()).unwrap())
            .collect();
        accepted.share(to, &verified).unwrap()
    };
    let shares = (1..=session.holders.len() as u16).map(share).collect();
    Shared { record: accepted.record().clone(), shares }
}

#[test]
fn a_key_that_nobody_deals_is_shared_and_any_threshold_signs_with_it() {
    fn check<G: Signs>() {
        let shared = made::<G>(&session(0, 4), &[1, 2, 4]);
        assert_eq!((shared.record.threshold(), shared.record.holders().len()), (3, 4));
        for trio in [[0usize, 1, 2], [1, 2, 3], [3, 0, 1]] {
            assert_eq!(insecure_key_of(&trio.map(|position| &shared.shares[position])), shared.record.key());
            signature(&shared, &trio);
        }
        assert_ne!(insecure_key_of(&[&shared.shares[0], &shared.shares[1]]), shared.record.key());
        // The lowest of those that are there decide, and a later set takes the key over.
        assert!(shared.record == made::<G>(&session(0, 4), &[1, 2, 4]).record);
        assert!(made::<G>(&session(0, 4), &[1, 2, 3, 4]).record == made::<G>(&session(0, 4), &[1, 2, 3]).record);
        let second = super::hand_over(&shared, &[0, 1, 3], &session(1, 7));
        assert_eq!(second.record.key(), shared.record.key());
        assert_eq!(signature(&second, &[0, 1, 2, 3, 4]).len(), 64);
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

/// Golden vectors, of a second implementation.
#[test]
fn keys_that_nobody_deals_follow_their_vectors() {
    fn check<G: Group>(vectors: &Value, session: &Session, name: &str) {
        let generation = Generation::<G>::new(session).unwrap();
        for (position, dealer) in [1, 2, 3].into_iter().enumerate() {
            let expected = &vectors[name]["dealt"][position];
            let (dealing, proof) = generation.deal(dealer, &seed(dealer)).unwrap();
            for (number, commitment) in dealing.package().commitments.iter().enumerate() {
                assert_eq!(expected["commitments"][number], text(commitment), "{name} {dealer} {number}");
            }
            assert_eq!(expected["commitment"], text(proof.commitment), "{name} {dealer}");
            assert_eq!(expected["response"], text(proof.response), "{name} {dealer}");
            for to in 1..=4u16 {
                let value = text(dealing.sub_share(to).unwrap().value().expose());
                assert_eq!(expected["sub_shares"][usize::from(to) - 1], value, "{name} {dealer} {to}");
            }
        }
        let shared = made::<G>(session, &[1, 2, 3]);
        assert_eq!(vectors[name]["key"], text(shared.record.key()), "{name}");
        for (position, (_, public)) in shared.record.holders().into_iter().enumerate() {
            assert_eq!(vectors[name]["public"][position], text(public), "{name}");
            let share = shared.shares[position].to_bytes();
            assert_eq!(vectors[name]["shares"][position], text(share.expose()), "{name}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/vectors/gatekeeper/generation.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let session = session(0, 4);
    assert_eq!(vectors["session"], text(session.encode()));
    check::<EdwardsPoint>(&vectors, &session, "ed25519");
    check::<RistrettoPoint>(&vectors, &session, "ristretto255");
}

#[test]
fn whoever_deals_what_it_does_not_know_is_named() {
    fn check<G: Group>() {
        let generation = Generation::<G>::new(&session(0, 4)).unwrap();
        let (dealing, proof) = generation.deal(2, &seed(2)).unwrap();
        let package = dealing.package();
        let refusal = |package: &Package, proof: &Possession| generation.verify_package(package, proof).err();
        assert_eq!(refusal(package, &proof), None);
        let named = Some(DealerFault::Possession(2));
        // The constant term that makes the sum one's own: the other's, subtracted from a known one.
        let other = generation.deal(1, &seed(1)).unwrap();
        let point = G::from_encoding(&other.0.package().commitments[0]).unwrap();
        let rogue = G::base_times(&Scalar::from(5u8)) + G::vartime_multiscalar_mul([-Scalar::ONE], [point]);
        let mut stolen = package.clone();
        stolen.commitments[0] = rogue.to_encoding();
        assert_eq!(refusal(&stolen, &proof), named);
        assert_eq!(refusal(package, &other.1), named);
        for altered in [
            Possession { commitment: other.1.commitment, ..proof },
            Possession { response: other.1.response, ..proof },
            Possession { response: [0xff; 32], ..proof },
            Possession { commitment: [0xff; 32], ..proof },
        ] {
            assert_eq!(refusal(package, &altered), named);
        }
        // Another's package and proof under one's own index; of another attempt; of another set.
        let taken = Package { dealer: 3, ..package.clone() };
        assert_eq!(refusal(&taken, &proof), Some(DealerFault::Possession(3)));
        for session in [Session { attempt: 1, ..session(0, 4) }, session(1, 4), session(0, 5)] {
            let (later, _) = Generation::<G>::new(&session).unwrap().deal(2, &seed(2)).unwrap();
            assert_ne!(later.package().commitments[0], package.commitments[0]);
            if session.holders.len() == 4 {
                let elsewhere = Generation::<G>::new(&session).unwrap().verify_package(package, &proof).err();
                assert_eq!(elsewhere, named);
            }
        }
        let mut short = package.clone();
        short.commitments.pop();
        assert_eq!(refusal(&short, &proof), Some(DealerFault::Degree(2)));
        let mut none = package.clone();
        none.commitments[1] = [0xff; 32];
        assert_eq!(refusal(&none, &proof), Some(DealerFault::Commitment(2)));
        for dealer in [0, 5] {
            let stranger = Package { dealer, ..package.clone() };
            assert_eq!(refusal(&stranger, &proof), Some(DealerFault::NoSuchHolder(dealer)));
            assert_eq!(generation.deal(dealer, &seed(1)).err(), Some(ReshareError::NotAHolder(dealer)));
        }
        let verified = generation.verify_package(package, &proof).unwrap();
        let wrong = SubShare::new(2, 1, Secret::new(*dealing.sub_share(3).unwrap().value().expose()));
        let refused = generation.verify_sub_share(&verified, &wrong).err();
        assert_eq!(refused, Some(DealerFault::SubShare { dealer: 2, to: 1 }));
        let few = [verified];
        assert_eq!(generation.accept(&few).err(), Some(ReshareError::TooFew { have: 1, need: 3 }));
    }
    check::<EdwardsPoint>();
    check::<RistrettoPoint>();
}

#[test]
fn a_dealer_of_a_new_key_answers_no_more_than_may_lie() {
    let generation = Generation::<RistrettoPoint>::new(&session(0, 7)).unwrap();
    let (mut dealing, _) = generation.deal(1, &seed(1)).unwrap();
    assert!(generation.answer(&mut dealing, 3, &BTreeSet::from([3, 6])).is_ok());
    assert!(generation.answer(&mut dealing, 6, &BTreeSet::from([3, 6])).is_ok());
    assert_eq!(tolerated(7), 2);
    let refused = generation.answer(&mut dealing, 4, &BTreeSet::from([4])).err();
    assert_eq!(refused, Some(ReshareError::TooManyComplaints { accusers: 3, allowed: 2 }));
}

#[test]
fn what_is_made_and_what_is_handed_over_have_nothing_in_common() {
    let session = Session { genesis: GENESIS, era: 3, attempt: 0, holders: holders(4) };
    let shared = made::<EdwardsPoint>(&session, &[1, 2, 3]);
    let resharing = Resharing::new(&session, shared.record.clone()).unwrap();
    let handed = resharing.deal(&shared.shares[0], &seed(1)).unwrap();
    let (new, _) = Generation::<EdwardsPoint>::new(&session).unwrap().deal(1, &seed(1)).unwrap();
    let mut pairs = handed.package().commitments.iter().zip(&new.package().commitments);
    assert!(pairs.all(|(one, other)| one != other), "under one seed, session and index");
}
