//! Shares are kept until another set has the keys, and no longer.

use super::{generate::made, holders, session};
use crate::identity::{
    ceremony::Outcome, Change, Custody, CustodyError, EdwardsPoint, IdentityKeys, IdentityShares, RistrettoPoint,
};
use phala_crypto::Secret;
use phala_protocol::{identities::IdentityRecord, WorkerId};

/// What a ceremony gives the first of four holders. The keys of each era are others: nothing here looks at that.
fn outcome(era: u32) -> Outcome {
    let session = session(era, 4);
    let (ed25519, sr25519) = (made::<EdwardsPoint>(&session, &[1, 2, 3]), made::<RistrettoPoint>(&session, &[1, 2, 3]));
    let keys = IdentityKeys { ed25519: ed25519.record, sr25519: sr25519.record };
    let record = keys.to_record(era, (1..).zip(holders(4)));
    let (mut first, mut second) = (ed25519.shares.into_iter(), sr25519.shares.into_iter());
    let shares = IdentityShares { ed25519: first.next().unwrap(), sr25519: second.next().unwrap() };
    Outcome { record, shares }
}

const OWN: WorkerId = WorkerId([1; 32]);

/// The record of a set that this gatekeeper is not in.
fn others(era: u32) -> IdentityRecord {
    let mut record = outcome(era).record;
    record.holders.remove(0);
    record
}

fn era(custody: &Custody) -> Option<u32> {
    custody.held().map(|held| held.record().era)
}

fn restarted(custody: &Custody) -> Custody {
    let bytes = custody.to_secret_bytes();
    assert_eq!(bytes.expose().capacity(), bytes.expose().len(), "it outgrew no buffer");
    Custody::from_secret_bytes(&bytes).unwrap()
}

#[test]
fn shares_are_held_when_the_chain_has_their_record_and_dropped_when_it_has_anothers() {
    let (first, second) = (outcome(1), outcome(2));
    let mut custody = Custody::default();
    assert!(custody.is_empty());
    custody.expect(&first).unwrap();
    assert_eq!(era(&custody), None, "a ceremony alone gives nothing");
    assert!(!custody.is_empty() && custody.expects(&first.record) && !custody.expects(&second.record));
    custody = restarted(&custody);
    assert_eq!(custody.observe(&OWN, &first.record), Change::Received);
    custody = restarted(&custody);
    assert_eq!((era(&custody), custody.observe(&OWN, &first.record)), (Some(1), Change::None));
    let held = custody.held().unwrap();
    assert!(held.shares().to_bytes().equals(&first.shares.to_bytes()));
    assert_eq!(held.keys().ed25519.key(), first.record.keys.ed25519);
    // The next set's are coming: the former ones sign and hand over until the chain has the record.
    custody.expect(&second).unwrap();
    assert_eq!((custody.observe(&OWN, &first.record), era(&custody)), (Change::None, Some(1)));
    custody = restarted(&custody);
    assert_eq!((custody.observe(&OWN, &second.record), era(&custody)), (Change::Received, Some(2)));
    let bytes = custody.to_secret_bytes();
    let former = first.shares.to_bytes();
    assert!(!bytes.expose().windows(64).any(|window| window == former.expose()), "nothing of them is sealed any more");
    // After a start the head runs through the past.
    assert_eq!((custody.observe(&OWN, &first.record), era(&custody)), (Change::None, Some(2)));
    assert_eq!((custody.observe(&OWN, &others(3)), era(&custody)), (Change::Dropped, None));
    assert_eq!(custody.observe(&OWN, &others(3)), Change::None);
    assert!(custody.is_empty() && restarted(&custody).is_empty());
}

#[test]
fn what_an_attempt_gave_that_came_to_nothing_is_dropped_with_its_era() {
    let (first, second) = (outcome(1), outcome(2));
    let mut custody = Custody::default();
    custody.expect(&first).unwrap();
    assert_eq!(custody.observe(&OWN, &others(1)), Change::Dropped);
    assert_eq!(custody.observe(&OWN, &first.record), Change::Lost, "it is gone");
    // What comes of a later ceremony stays while the former record is looked at.
    custody.expect(&second).unwrap();
    assert_eq!(custody.observe(&OWN, &others(1)), Change::None);
    assert_eq!((custody.observe(&OWN, &second.record), era(&custody)), (Change::Received, Some(2)));
    // A holder whose shares were lost does not keep the former ones for it.
    assert_eq!((custody.observe(&OWN, &outcome(3).record), era(&custody)), (Change::Lost, None));
}

#[test]
fn what_an_attempt_gave_that_is_given_up_is_dropped_and_what_is_held_stays() {
    let (first, second) = (outcome(1), outcome(2));
    let mut custody = Custody::default();
    assert!(!custody.give_up());
    custody.expect(&first).unwrap();
    assert_eq!(custody.observe(&OWN, &first.record), Change::Received);
    custody.expect(&second).unwrap();
    assert!(custody.give_up() && !custody.give_up());
    assert_eq!((era(&custody), custody.expects(&second.record)), (Some(1), false));
    let (bytes, given_up) = (custody.to_secret_bytes(), second.shares.to_bytes());
    assert!(!bytes.expose().windows(64).any(|window| window == given_up.expose()), "nothing of it is sealed any more");
}

#[test]
fn sealed_shares_that_are_none_or_of_no_record_are_refused() {
    let mut custody = Custody::default();
    let mut unfit = outcome(1);
    unfit.shares = outcome(2).shares;
    assert_eq!(custody.expect(&unfit), Err(CustodyError::Unfit));
    custody.expect(&outcome(1)).unwrap();
    let bytes = custody.to_secret_bytes().expose().clone();
    let refused = |bytes: Vec<u8>| Custody::from_secret_bytes(&Secret::new(bytes)).err();
    assert_eq!(refused(bytes.clone()), None);
    for altered in [Vec::new(), bytes[1..].to_vec(), [&bytes[..], &[0]].concat()] {
        assert_eq!(refused(altered), Some(CustodyError::Malformed));
    }
    let last = bytes.len() - 1;
    let mut other = bytes;
    other[last - 10] ^= 1;
    assert_eq!(refused(other), Some(CustodyError::Malformed), "a share of another key");
}
