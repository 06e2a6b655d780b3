//! A key stays when its holders change, whoever lies about it is named, and it signs what everyone verifies.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

mod custody;
mod derive;
mod generate;

use super::{
    aggregate, open_share,
    sharing::{evaluate, lagrange},
    sign::ShareSigner,
    verify_key_record, DealerFault, Dealing, EdwardsPoint, Group, IdentityShare, KeyRecord, NonceCommitments, Nonces,
    Package, PartialSignature, RecordError, ReshareError, Resharing, RistrettoPoint, Session, ShareError, SignError,
    Signs, SubShare, VerifiedPackage, VerifiedSubShare,
};
use codec::Encode;
use curve25519_dalek::scalar::Scalar;
use phala_crypto::{
    kdf,
    signature::{ed25519, sr25519, sr25519::Claim},
    Secret,
};
use phala_protocol::{
    ceremony::{threshold_of, tolerated, MAX_SEATS},
    domain, Hash, WorkerId,
};
use serde_json::{json, Value};
use std::{collections::BTreeSet, path::Path};

const GENESIS: Hash = [7; 32];
const MESSAGE: &[u8] = b"an item that left a final result";

fn scalar(seed: u8, number: u8) -> Scalar {
    let wide: Secret<[u8; 64]> = kdf::derive(&Secret::new([seed; 32]), domain::IDENTITY_POLYNOMIAL, &[number]);
    Scalar::from_bytes_mod_order_wide(wide.expose())
}

/// A key and its sharing by a dealer: for tests only, in the network nobody ever holds one.
struct Shared<G> {
    record: KeyRecord<G>,
    shares: Vec<IdentityShare<G>>,
}

fn insecure_split<G: Group>(seed: u8, threshold: u8, holders: u16) -> Shared<G> {
    let polynomial: Vec<Scalar> = (0..threshold).map(|number| scalar(seed, number)).collect();
    let commitments: Vec<G> = polynomial.iter().map(G::base_times).collect();
    let public: Vec<_> = (1..=holders).map(|index| (index, evaluate(&commitments, index).to_encoding())).collect();
    let record: KeyRecord<G> = verify_key_record(threshold.into(), &commitments[0].to_encoding(), &public).unwrap();
    let shares = (1..=holders)
        .map(|index| {
            let at = Scalar::from(index);
            let value = polynomial.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient);
            open_share(&record, index, &Secret::new(value.to_bytes())).unwrap()
        })
        .collect();
    Shared { record, shares }
}

fn holders(seats: u8) -> Vec<WorkerId> {
    (1..=seats).map(|index| WorkerId([index; 32])).collect()
}

fn session(era: u32, seats: u8) -> Session {
    Session { genesis: GENESIS, era, attempt: 0, holders: holders(seats) }
}

/// A dealing of `share`, under a seed of its holder.
fn deal<G: Group>(resharing: &Resharing<G>, share: &IdentityShare<G>) -> Dealing {
    let [holder, _] = share.index().to_le_bytes();
    resharing.deal(share, &Secret::new([holder ^ 0x40; 32])).unwrap()
}

fn verify_dealings<G: Group>(resharing: &Resharing<G>, dealings: &[Dealing]) -> Vec<VerifiedPackage<G>> {
    dealings.iter().map(|dealing| resharing.verify_package(dealing.package()).unwrap()).collect()
}

fn received<G: Group>(
    resharing: &Resharing<G>,
    packages: &[VerifiedPackage<G>],
    dealings: &[Dealing],
    to: u16,
) -> Vec<VerifiedSubShare> {
    let pairs = packages.iter().zip(dealings);
    pairs
        .map(|(package, dealing)| resharing.verify_sub_share(package, &dealing.sub_share(to).unwrap()).unwrap())
        .collect()
}

/// Hands a key to a set of members of their own; the holders in `dealers`, by position, are still there.
fn hand_over<G: Group>(from: &Shared<G>, dealers: &[usize], session: &Session) -> Shared<G> {
    let resharing = Resharing::new(session, from.record.clone()).unwrap();
    let dealings: Vec<Dealing> = dealers.iter().map(|position| deal(&resharing, &from.shares[*position])).collect();
    let packages = verify_dealings(&resharing, &dealings);
    let accepted = resharing.accept(&packages).unwrap();
    let shares = (1..=session.holders.len() as u16)
        .map(|to| accepted.share(to, &received(&resharing, &packages, &dealings, to)).unwrap())
        .collect();
    Shared { record: accepted.record().clone(), shares }
}

/// What interpolation makes of shares, whoever they are of.
fn insecure_key_of<G: Group>(shares: &[&IdentityShare<G>]) -> [u8; 32] {
    let indices: Vec<u16> = shares.iter().map(|share| share.index()).collect();
    let values = shares.iter().zip(lagrange(&indices, 0));
    let sum = values.fold(Scalar::ZERO, |sum, (share, weight)| sum + share.scalar().expose() * weight);
    G::base_times(&sum).to_encoding()
}

/// Who committed, with the nonces, and what they committed to.
type FirstRound<G> = (Vec<(ShareSigner<G>, Nonces<G>)>, Vec<NonceCommitments>);

fn committed<G: Signs>(key: &Shared<G>, positions: &[usize]) -> FirstRound<G> {
    let first = |position: &usize| {
        let mut signer = ShareSigner::new(key.record.clone(), &key.shares[*position]).unwrap();
        let (nonces, commitments) = signer.commit(Secret::new([*position as u8; 32])).unwrap();
        ((signer, nonces), commitments)
    };
    positions.iter().map(first).unzip()
}

fn parts<G: Signs>(
    signers: Vec<(ShareSigner<G>, Nonces<G>)>,
    commitments: &[NonceCommitments],
) -> Vec<PartialSignature> {
    signers.into_iter().map(|(signer, nonces)| signer.sign(nonces, commitments, MESSAGE).unwrap()).collect()
}

fn signature<G: Signs>(key: &Shared<G>, positions: &[usize]) -> [u8; 64] {
    let (signers, commitments) = committed(key, positions);
    aggregate(&key.record, &commitments, &parts(signers, &commitments), MESSAGE).unwrap()
}

#[test]
fn a_key_stays_through_sets_of_other_members_and_thresholds() {
    fn three_sets<G: Group>() -> [Shared<G>; 3] {
        let first = insecure_split::<G>(1, 3, 4);
        // One of the first set and two of the second are gone.
        let second = hand_over(&first, &[0, 2, 3], &session(1, 7));
        let third = hand_over(&second, &[1, 2, 3, 5, 6], &session(2, 4));
        for (set, threshold, holders) in [(&first, 3, 4), (&second, 5, 7), (&third, 3, 4)] {
            assert_eq!(set.record.key(), first.record.key());
            assert_eq!(usize::from(set.record.threshold()), threshold);
            assert_eq!(set.shares.len(), holders);
            // The record is what anyone would make of it, and each share is its holder's.
            let again =
                verify_key_record::<G>(set.record.threshold(), &set.record.key(), &set.record.holders()).unwrap();
            assert!(again == set.record);
            for share in &set.shares {
                assert!(open_share(&set.record, share.index(), &share.to_bytes()).is_ok());
            }
            let all: Vec<_> = set.shares.iter().collect();
            assert_eq!(insecure_key_of(&all[holders - threshold..]), first.record.key());
        }
        [first, second, third]
    }
    fn signs_through<G: Signs>() -> ([u8; 32], Vec<[u8; 64]>) {
        let [first, second, third] = three_sets::<G>();
        let sets = [(&first, &[0, 1, 3][..]), (&second, &[0, 1, 3, 5, 6]), (&third, &[1, 2, 3])];
        (first.record.key(), sets.map(|(set, signers)| signature(set, signers)).to_vec())
    }
    let (key, signatures) = signs_through::<EdwardsPoint>();
    signatures.iter().for_each(|signature| assert_eq!(ed25519::verify(&key, MESSAGE, signature), Ok(())));
    let (key, signatures) = signs_through::<RistrettoPoint>();
    signatures.iter().for_each(|signature| assert_eq!(sr25519::verify(&key, MESSAGE, signature), Ok(())));
}

#[test]
fn an_account_of_the_chain_signs_by_a_threshold_and_a_wrong_part_names_its_signer() {
    let key = insecure_split::<RistrettoPoint>(21, 3, 5);
    let account = key.record.key();
    for signers in [&[0, 1, 2][..], &[0, 2, 4], &[4, 3, 1], &[0, 1, 2, 3, 4]] {
        let signed = signature(&key, signers);
        assert_eq!(sr25519::verify(&account, MESSAGE, &signed), Ok(()), "{signers:?}");
        assert!(sr25519::verify(&account, b"another item", &signed).is_err());
    }
    let (signers, commitments) = committed(&key, &[0, 2, 4]);
    let honest = parts(signers, &commitments);
    let mut wrong = honest.clone();
    wrong[1].part[0] ^= 1;
    let refused = aggregate(&key.record, &commitments, &wrong, MESSAGE).err();
    assert_eq!(refused, Some(SignError::Wrong(vec![3])));
    assert_eq!(aggregate(&key.record, &commitments, &honest[..2], MESSAGE).err(), Some(SignError::Missing(5)));
    let (_, few) = committed(&key, &[0, 2]);
    assert_eq!(aggregate(&key.record, &few, &honest, MESSAGE).err(), Some(SignError::TooFew { have: 2, need: 3 }));
    // An account signs hashes, as the chain's own messages are.
    let message = *b"as long as the hashes we sign...";
    let (signers, commitments) = committed(&key, &[1, 2, 3]);
    let parts: Vec<_> =
        signers.into_iter().map(|(signer, nonces)| signer.sign(nonces, &commitments, &message).unwrap()).collect();
    let signature = aggregate(&key.record, &commitments, &parts, &message).unwrap();
    assert!(sr25519::verify_all(&[Claim { public: account, message, signature }]));
}

#[test]
fn shares_of_two_sets_do_not_combine() {
    let old = insecure_split::<RistrettoPoint>(2, 3, 4);
    let new = hand_over(&old, &[0, 1, 2], &session(1, 7));
    let key = old.record.key();
    assert_eq!(insecure_key_of(&old.shares.iter().take(3).collect::<Vec<_>>()), key);
    assert_eq!(insecure_key_of(&new.shares.iter().take(5).collect::<Vec<_>>()), key);
    // One fewer than a threshold of each set, in every combination.
    let mixed: Vec<_> = old.shares.iter().take(2).chain(new.shares.iter().skip(2).take(4)).collect();
    for mask in 1u32..1 << mixed.len() {
        let chosen: Vec<_> = (0..mixed.len()).filter(|bit| mask & (1 << bit) != 0).map(|bit| mixed[bit]).collect();
        assert_ne!(insecure_key_of(&chosen), key, "{mask:06b}");
    }
}

#[test]
fn any_threshold_of_old_holders_hands_over_and_fewer_cannot() {
    let old = insecure_split::<RistrettoPoint>(3, 3, 5);
    let resharing = Resharing::new(&session(1, 3), old.record.clone()).unwrap();
    let dealings: Vec<_> = old.shares.iter().map(|share| deal(&resharing, share)).collect();
    let packages = verify_dealings(&resharing, &dealings);
    for chosen in [&[0, 1, 2][..], &[0, 2, 4], &[4, 3, 1]] {
        let list: Vec<_> = chosen.iter().map(|position| packages[*position].clone()).collect();
        assert_eq!(resharing.accept(&list).unwrap().record().key(), old.record.key());
    }
    // Of more dealers than it takes the lowest decide, in whatever order they are listed.
    let mut reversed = packages.clone();
    reversed.reverse();
    let accepted = resharing.accept(&reversed).unwrap();
    assert_eq!(accepted.dealers(), [1, 2, 3]);
    assert!(accepted.record() == resharing.accept(&packages[..3]).unwrap().record());
    let refusal = |packages: &[VerifiedPackage<RistrettoPoint>]| resharing.accept(packages).err();
    assert_eq!(refusal(&packages[..2]), Some(ReshareError::TooFew { have: 2, need: 3 }));
    let repeated = [packages[0].clone(), packages[4].clone(), packages[4].clone()];
    assert_eq!(refusal(&repeated), Some(ReshareError::Duplicate(5)));
    // Who lacks the sub-share of one who decides has no share, and knows whom to accuse.
    let sub_shares = received(&resharing, &packages, &dealings, 2);
    let lacking: Vec<_> = sub_shares.into_iter().filter(|sub| sub.dealer() != 3).collect();
    assert_eq!(accepted.share(2, &lacking).err(), Some(ReshareError::NoSubShare(3)));
    assert_eq!(accepted.share(4, &lacking).err(), Some(ReshareError::NotAHolder(4)));
}

#[test]
fn a_new_set_is_of_two_different_holders_at_least_and_never_has_a_dealers_share_in_one_value() {
    let old = insecure_split::<RistrettoPoint>(15, 3, 4);
    let refused =
        |holders: Vec<WorkerId>| Resharing::new(&Session { holders, ..session(1, 4) }, old.record.clone()).err();
    for seats in [0, 1, 101] {
        assert_eq!(refused(holders(seats)), Some(ReshareError::Holders(seats.into())));
    }
    assert_eq!(refused([holders(3), holders(1)].concat()), Some(ReshareError::Holders(4)), "one twice");
    assert_eq!((refused(holders(2)), refused(holders(100))), (None, None));
    let least = Resharing::new(&session(1, 2), old.record.clone()).unwrap();
    let dealing = deal(&least, &old.shares[0]);
    let own = old.shares[0].to_bytes();
    assert!((1..=2).all(|to| !dealing.sub_share(to).unwrap().value().equals(&own)));
    // So many as may be answered in public never decide a dealer's polynomial.
    assert!((2..=MAX_SEATS).all(|seats| tolerated(seats) < threshold_of(seats) - 1));
}

#[test]
fn a_dealer_who_lies_is_named() {
    let old = insecure_split::<EdwardsPoint>(4, 3, 4);
    let resharing = Resharing::new(&session(1, 4), old.record.clone()).unwrap();
    let dealing = deal(&resharing, &old.shares[1]);
    let refusal = |change: &dyn Fn(&mut Package)| {
        let mut package = dealing.package().clone();
        change(&mut package);
        resharing.verify_package(&package).err()
    };
    assert_eq!(refusal(&|_| {}), None);
    // A polynomial that is right in all but what it shares: the key would become another.
    let other = EdwardsPoint::base_times(&scalar(5, 0)).to_encoding();
    assert_eq!(refusal(&|package| package.commitments[0] = other), Some(DealerFault::ConstantTerm(2)));
    assert_eq!(refusal(&|package| package.dealer = 3), Some(DealerFault::ConstantTerm(3)));
    assert_eq!(refusal(&|package| package.dealer = 5), Some(DealerFault::NoSuchHolder(5)));
    assert_eq!(refusal(&|package| package.commitments.push(other)), Some(DealerFault::Degree(2)));
    assert_eq!(refusal(&|package| package.commitments.truncate(1)), Some(DealerFault::Degree(2)));
    assert_eq!(refusal(&|package| package.commitments[1] = [0xff; 32]), Some(DealerFault::Commitment(2)));

    // The same check serves the new holder, and everyone once a complaint is answered in public.
    let package = resharing.verify_package(dealing.package()).unwrap();
    let honest = *dealing.sub_share(3).unwrap().value().expose();
    let verdict = |dealer, to, value: [u8; 32]| {
        resharing.verify_sub_share(&package, &SubShare::new(dealer, to, Secret::new(value))).err()
    };
    assert_eq!(verdict(2, 3, honest), None);
    assert_eq!(verdict(2, 4, honest), Some(DealerFault::SubShare { dealer: 2, to: 4 }));
    let off = Scalar::from_canonical_bytes(honest).unwrap() + Scalar::ONE;
    assert_eq!(verdict(2, 3, off.to_bytes()), Some(DealerFault::SubShare { dealer: 2, to: 3 }));
    assert_eq!(verdict(2, 3, [0xff; 32]), Some(DealerFault::SubShare { dealer: 2, to: 3 }));
    assert_eq!(verdict(2, 0, honest), Some(DealerFault::NoSuchSeat { dealer: 2, to: 0 }));
    assert_eq!(verdict(2, 5, honest), Some(DealerFault::NoSuchSeat { dealer: 2, to: 5 }));
    assert_eq!(verdict(1, 3, honest), Some(DealerFault::OtherPackage(1)));
    assert!(dealing.sub_share(0).is_none() && dealing.sub_share(5).is_none());
    // Nobody deals a share that is not of this record.
    let stranger = insecure_split::<EdwardsPoint>(6, 3, 4);
    let refused = resharing.deal(&stranger.shares[0], &Secret::new([1; 32])).err();
    assert_eq!(refused, Some(ReshareError::NotAHolder(1)));
}

#[test]
fn complaints_never_make_a_dealer_give_its_share_away() {
    let old = insecure_split::<RistrettoPoint>(14, 2, 3);
    let resharing = Resharing::new(&session(1, 7), old.record.clone()).unwrap();
    let mut dealing = deal(&resharing, &old.shares[0]);
    let package = resharing.verify_package(dealing.package()).unwrap();
    let mut answer = |to: u16, accusers: &[u16]| {
        let answered = resharing.answer(&mut dealing, to, &accusers.iter().copied().collect());
        answered.map(|sub_share| resharing.verify_sub_share(&package, &sub_share).is_ok())
    };
    assert_eq!(answer(3, &[3]), Ok(true));
    assert_eq!(answer(6, &[3, 6]), Ok(true));
    assert_eq!(answer(6, &[3, 6]), Ok(true), "again, after a restart of the accuser");
    assert_eq!(answer(4, &[3, 6]), Err(ReshareError::NoComplaint(4)));
    let exposed = Err(ReshareError::TooManyComplaints { accusers: 3, allowed: 2 });
    assert_eq!(answer(3, &[3, 6, 7]), exposed);
    // A fork of the chain, on which others complain.
    assert_eq!(answer(7, &[3, 7]), exposed);
    let mut fresh = deal(&resharing, &old.shares[0]);
    let stranger = resharing.answer(&mut fresh, 9, &BTreeSet::from([3, 9])).err();
    assert_eq!(stranger, Some(ReshareError::NoComplaint(9)));
    // What that prevents: a threshold of a dealer's values is the share that it deals.
    let seats: BTreeSet<u16> = (1..=5).collect();
    let indices: Vec<u16> = seats.iter().copied().collect();
    let values = indices.iter().map(|to| *fresh.sub_share(*to).unwrap().value().expose());
    let given_away = values
        .zip(lagrange(&indices, 0))
        .fold(Scalar::ZERO, |sum, (value, weight)| sum + Scalar::from_canonical_bytes(value).unwrap() * weight);
    assert_eq!(given_away.to_bytes(), *old.shares[0].to_bytes().expose());
    assert!(resharing.answer(&mut fresh, 1, &seats).is_err());
}

#[test]
fn a_dealing_is_repeated_exactly_and_serves_one_attempt_only() {
    let old = insecure_split::<RistrettoPoint>(7, 2, 3);
    let attempt = |session: &Session| Resharing::new(session, old.record.clone()).unwrap();
    let base = session(1, 4);
    let first = attempt(&base);
    let dealing = deal(&first, &old.shares[0]);
    assert_eq!(deal(&first, &old.shares[0]).package(), dealing.package());
    for changed in [
        Session { genesis: [8; 32], ..base.clone() },
        Session { era: 2, ..base.clone() },
        Session { attempt: 1, ..base.clone() },
        Session { holders: holders(5), ..base.clone() },
        // As many, but others; and the same at other indices.
        Session { holders: [holders(3), vec![WorkerId([9; 32])]].concat(), ..base.clone() },
        Session { holders: holders(4).into_iter().rev().collect(), ..base.clone() },
    ] {
        let other = attempt(&changed);
        let again = deal(&other, &old.shares[0]);
        assert_ne!(again.package().commitments[1], dealing.package().commitments[1], "{changed:?}");
        assert_ne!(other.package_hash(dealing.package()), first.package_hash(dealing.package()), "{changed:?}");
        let package = first.verify_package(dealing.package()).unwrap();
        let second = first.verify_package(deal(&first, &old.shares[1]).package()).unwrap();
        let refused = other.verify_sub_share(&package, &dealing.sub_share(1).unwrap()).err();
        assert_eq!(refused, Some(DealerFault::OtherPackage(1)));
        assert_eq!(other.accept(&[package, second]).err(), Some(ReshareError::OtherAttempt(1)));
    }
    // Of another sharing of the same key the same holder, under the same seed, deals nothing that this one could be subtracted from.
    let resplit = hand_over(&old, &[0, 1], &session(0, 3));
    let elsewhere = Resharing::new(&base, resplit.record.clone()).unwrap();
    let again = deal(&elsewhere, &resplit.shares[0]);
    assert_eq!(resplit.record.key(), old.record.key());
    assert_ne!(again.package().commitments[1], dealing.package().commitments[1]);
}

#[test]
fn a_record_of_shares_that_are_not_of_one_key_is_refused() {
    let key = insecure_split::<EdwardsPoint>(8, 3, 5);
    let stranger = insecure_split::<EdwardsPoint>(9, 3, 5).record;
    let refusal = |threshold, key: [u8; 32], holders: &[(u16, [u8; 32])]| {
        verify_key_record::<EdwardsPoint>(threshold, &key, holders).err()
    };
    let (good, holders) = (key.record.key(), key.record.holders());
    assert_eq!(refusal(3, good, &holders), None);
    assert_eq!(refusal(3, stranger.key(), &holders), Some(RecordError::Inconsistent(0)));
    assert_eq!(refusal(2, good, &holders), Some(RecordError::Inconsistent(0)));
    let mut swapped = holders.clone();
    swapped[4].1 = stranger.holders()[4].1;
    assert_eq!(refusal(3, good, &swapped), Some(RecordError::Inconsistent(5)));
    swapped[4] = holders[3];
    assert_eq!(refusal(3, good, &swapped), Some(RecordError::Index(4)));
    swapped[4] = (0, holders[4].1);
    assert_eq!(refusal(3, good, &swapped), Some(RecordError::Index(0)));
    swapped[4] = (5, [0xff; 32]);
    assert_eq!(refusal(3, good, &swapped), Some(RecordError::Share(5)));
    assert_eq!(refusal(3, [0xff; 32], &holders), Some(RecordError::Key));
    assert_eq!(refusal(0, good, &holders), Some(RecordError::Size { threshold: 0, holders: 5 }));
    assert_eq!(refusal(6, good, &holders), Some(RecordError::Size { threshold: 6, holders: 5 }));

    let open = |index, bytes: [u8; 32]| open_share(&key.record, index, &Secret::new(bytes)).err();
    let share = *key.shares[0].to_bytes().expose();
    assert_eq!(open(1, share), None);
    assert_eq!(open(2, share), Some(ShareError::Mismatch(2)));
    assert_eq!(open(6, share), Some(ShareError::NoSuchHolder(6)));
    assert_eq!(open(1, [0xff; 32]), Some(ShareError::Scalar));
}

#[test]
fn any_threshold_signs_and_whoever_spoils_it_is_named() {
    let key = insecure_split::<EdwardsPoint>(10, 3, 5);
    for signers in [&[0, 1, 2][..], &[4, 0, 2], &[0, 1, 2, 3, 4]] {
        let signed = signature(&key, signers);
        assert_eq!(ed25519::verify(&key.record.key(), MESSAGE, &signed), Ok(()));
        assert!(ed25519::verify(&key.record.key(), b"another item", &signed).is_err());
    }
    let (signers, commitments) = committed(&key, &[0, 1, 3]);
    let honest = parts(signers, &commitments);
    let refusal = |parts: &[PartialSignature]| aggregate(&key.record, &commitments, parts, MESSAGE).err();
    assert_eq!(refusal(&honest), None);
    let mut wrong = honest.clone();
    wrong[1].part = wrong[0].part;
    assert_eq!(refusal(&wrong), Some(SignError::Wrong(vec![2])));
    wrong[2].part = wrong[0].part;
    assert_eq!(refusal(&wrong), Some(SignError::Wrong(vec![2, 4])));
    wrong[2].part = [0xff; 32];
    assert_eq!(refusal(&wrong), Some(SignError::Part(4)));
    assert_eq!(refusal(&honest[..2]), Some(SignError::Missing(4)));
    assert_eq!(refusal(&[honest[0], honest[1], honest[1]]), Some(SignError::Duplicate(2)));
    wrong[2] = PartialSignature { index: 5, ..honest[2] };
    assert_eq!(refusal(&wrong), Some(SignError::NotCommitted(5)));
    // Parts over one message make no signature over another.
    let elsewhere = aggregate(&key.record, &commitments, &honest, b"another item").err();
    assert_eq!(elsewhere, Some(SignError::Wrong(vec![1, 2, 4])));
}

#[test]
fn commitments_that_are_too_few_repeated_or_of_strangers_are_not_signed() {
    let key = insecure_split::<EdwardsPoint>(11, 3, 4);
    let refusal = |change: &dyn Fn(&mut Vec<NonceCommitments>)| {
        let (signers, mut commitments) = committed(&key, &[0, 1, 2]);
        let (signer, nonces) = signers.into_iter().next().unwrap();
        change(&mut commitments);
        signer.sign(nonces, &commitments, MESSAGE).err()
    };
    assert_eq!(refusal(&|_| {}), None);
    assert_eq!(refusal(&|list| list.truncate(2)), Some(SignError::TooFew { have: 2, need: 3 }));
    assert_eq!(refusal(&|list| list[2] = list[1]), Some(SignError::Duplicate(2)));
    assert_eq!(refusal(&|list| list[2].index = 5), Some(SignError::NoSuchHolder(5)));
    assert_eq!(refusal(&|list| list[2].hiding = [0xff; 32]), Some(SignError::Commitment(3)));
    // Another's commitment under the signer's own index, or none of its own.
    assert_eq!(refusal(&|list| list[0].hiding = list[1].hiding), Some(SignError::OwnCommitment));
    assert_eq!(refusal(&|list| list[0].index = 4), Some(SignError::OwnCommitment));
    // A share of another key is none of this one's.
    let stranger = insecure_split::<EdwardsPoint>(12, 3, 4);
    assert_eq!(ShareSigner::new(key.record.clone(), &stranger.shares[1]).err(), Some(SignError::NoSuchHolder(2)));
}

#[test]
fn nonces_never_repeat_within_a_signer_even_with_constant_entropy() {
    let key = insecure_split::<EdwardsPoint>(13, 2, 3);
    let mut signer = ShareSigner::new(key.record.clone(), &key.shares[0]).unwrap();
    let mut commit = || signer.commit(Secret::new([5; 32])).unwrap().1;
    let mut seen: Vec<[u8; 32]> = Vec::new();
    for _ in 0..20 {
        let NonceCommitments { hiding, binding, .. } = commit();
        assert!(!seen.contains(&hiding) && !seen.contains(&binding) && hiding != binding);
        seen.extend([hiding, binding]);
    }
    // Nor do those of another holder of the same entropy.
    let mut other = ShareSigner::new(key.record.clone(), &key.shares[1]).unwrap();
    assert!(!seen.contains(&other.commit(Secret::new([5; 32])).unwrap().1.hiding));
}

/// Golden vectors: `PHALA_BLESS=1 cargo test -p phala-gatekeeper` writes them, which approves a new format.
#[test]
fn vectors_of_identities() {
    fn resharing<G: Group>() -> Value {
        let old = insecure_split::<G>(1, 2, 3);
        let session = session(4, 3);
        let resharing = Resharing::new(&session, old.record.clone()).unwrap();
        let dealings: Vec<_> = old.shares[1..].iter().map(|share| deal(&resharing, share)).collect();
        let dealt: Vec<Value> = dealings
            .iter()
            .map(|dealing| {
                let subs: Vec<_> = (1..=3).map(|to| text(dealing.sub_share(to).unwrap().value().expose())).collect();
                let package = dealing.package();
                json!({
                    "package": text(package.encode()), "package_hash": text(resharing.package_hash(package)),
                    "sub_shares": subs,
                })
            })
            .collect();
        let new = hand_over(&old, &[1, 2], &session);
        json!({ "session": text(session.encode()), "old": record(&old), "dealt": dealt, "new": record(&new) })
    }
    fn record<G: Group>(shared: &Shared<G>) -> Value {
        let public: Vec<_> = shared.record.holders().iter().map(|(_, share)| text(share)).collect();
        let shares: Vec<_> = shared.shares.iter().map(|share| text(share.to_bytes().expose())).collect();
        json!({ "threshold": shared.record.threshold(), "key": text(shared.record.key()), "public": public, "shares": shares })
    }
    let key = insecure_split::<EdwardsPoint>(1, 2, 3);
    let (signers, commitments) = committed(&key, &[0, 2]);
    let parts = parts(signers, &commitments);
    let signature = aggregate(&key.record, &commitments, &parts, MESSAGE).unwrap();
    let actual = json!({
        "labels": {
            "session": domain::IDENTITY_SESSION.as_str(), "package": domain::IDENTITY_PACKAGE.as_str(),
            "polynomial": domain::IDENTITY_POLYNOMIAL.as_str(), "nonce": domain::IDENTITY_NONCE.as_str(),
        },
        "ed25519": resharing::<EdwardsPoint>(), "ristretto255": resharing::<RistrettoPoint>(),
        "signature": {
            "message": text(MESSAGE), "commitments": commitments.iter().map(|one| text(one.encode())).collect::<Vec<_>>(),
            "parts": parts.iter().map(|one| text(one.encode())).collect::<Vec<_>>(), "signature": text(signature),
        },
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/vectors/gatekeeper/identity.json");
    if std::env::var_os("PHALA_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, serde_json::to_string_pretty(&actual).unwrap() + "\n").unwrap();
    }
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(actual, expected, "identity.json changed: a change of format needs PHALA_BLESS=1 and a reason");
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}
