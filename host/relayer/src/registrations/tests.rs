//! What is found in which blocks, and which introductions it makes.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use codec::Compact;
use phala_protocol::{
    attestation::Assurance,
    ceremony::{CeremonyAttempt, Fault},
    identities::{IdentityHolder, IdentityPoints, IdentityRecord},
    AccountId,
};
use std::sync::Mutex as Locked;

const OWN: WorkerId = WorkerId([1; 32]);
const ACCUSER: WorkerId = WorkerId([2; 32]);
const SILENT: WorkerId = WorkerId([3; 32]);
const OPERATOR: AccountId = AccountId([7; 32]);
const ATTEMPT: (u32, u32) = (1, 0);

/// A chain in memory.
#[derive(Default)]
struct Played {
    record: Option<CeremonyRecord>,
    of_identities: Option<IdentityCeremonyRecord>,
    workers: BTreeMap<WorkerId, WorkerRecord>,
    blocks: BTreeMap<BlockNumber, Vec<Vec<u8>>>,
    read: Locked<Vec<BlockNumber>>,
}

impl Registry for Played {
    async fn ceremony(&self) -> Result<Option<CeremonyRecord>, ClientError> {
        self.record.clone().map(Some).ok_or_else(|| ClientError::new(ErrorCode::Unreachable, "the node is gone"))
    }

    async fn identity_ceremony(&self) -> Result<Option<IdentityCeremonyRecord>, ClientError> {
        Ok(self.of_identities.clone())
    }

    async fn worker(&self, identity: &WorkerId) -> Result<Option<WorkerRecord>, ClientError> {
        Ok(self.workers.get(identity).copied())
    }

    async fn extrinsics(&self, number: BlockNumber) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
        self.read.lock().unwrap().push(number);
        Ok(self.blocks.get(&number).cloned())
    }
}

/// What a gatekeeper announced, and the chain took.
fn key(identity: &WorkerId) -> AnnouncedKey {
    AnnouncedKey { of: CeremonyAttempt::root(1, 0), key: vec![identity.0[0]; 4], signature: [5; 64] }
}

fn key_hash(identity: &WorkerId) -> Hash {
    encryption_key_hash(&key(identity).key)
}

fn registration(identity: WorkerId) -> Registration {
    let encryption_key = [identity.0[0]; 32];
    Registration { role: Role::Gatekeeper, identity, encryption_key, operator: OPERATOR, block: 1, block_hash: [0; 32] }
}

fn worker(identity: WorkerId, registered_at: BlockNumber) -> WorkerRecord {
    WorkerRecord {
        role: Role::Gatekeeper,
        operator: OPERATOR,
        encryption_key: registration(identity).encryption_key,
        measurement: [0; 32],
        hardware: [0; 32],
        assurance: Assurance::Simulated,
        registered_at,
        valid_until: 0,
    }
}

fn evidence(byte: u8) -> Vec<u8> {
    Evidence::TdxDcap(vec![byte; 100].try_into().unwrap()).encode()
}

/// A transaction of `signer` with this call.
fn signed(signer: &AccountId, call: &[u8]) -> Vec<u8> {
    let transaction = [&[0x84u8, 0][..], &signer.0[..], &[1; 65][..], &[0; 9][..], call].concat();
    [Compact(transaction.len() as u32).encode(), transaction].concat()
}

fn register(signer: &AccountId, registration: &Registration, evidence: &[u8]) -> Vec<u8> {
    signed(signer, &[&[40u8, 1][..], &registration.encode()[..], evidence].concat())
}

/// An attempt of three seats, of which one complained.
fn played() -> Played {
    let mut record = CeremonyRecord::new(ATTEMPT.0, ATTEMPT.1, &[OWN, ACCUSER, SILENT]);
    record.seats[1].key = Some(key_hash(&ACCUSER));
    let mut played = Played { record: Some(record), ..Played::default() };
    for (identity, block) in [(OWN, 10), (ACCUSER, 11), (SILENT, 12)] {
        played.workers.insert(identity, worker(identity, block));
        let right = register(&OPERATOR, &registration(identity), &evidence(identity.0[0]));
        played.blocks.insert(block, vec![vec![4, 5, 0, 0], right]);
    }
    played
}

fn keys() -> Vec<(u16, AnnouncedKey)> {
    vec![(2, another()), (3, key(&SILENT)), (2, key(&ACCUSER))]
}

fn another() -> AnnouncedKey {
    AnnouncedKey { key: vec![99], ..key(&ACCUSER) }
}

async fn seats(registrations: &Registrations, played: &Played, now: Instant) -> Arc<Seats> {
    registrations.seats(played, |_| b"ours".to_vec(), |_, _| Judged::Proved, now).await.unwrap()
}

/// Of a platform that there is no collateral for.
fn unknown(_: &Evidenced, _: &WorkerRecord) -> Judged {
    Judged::Unknown
}

#[tokio::test]
async fn whoever_complained_is_introduced_with_what_stands_on_chain_and_nobody_else() {
    let (played, now) = (played(), Instant::now());
    let found = seats(&Registrations::default(), &played, now).await;
    let expected = Introduction {
        registration: registration(ACCUSER),
        announced: key(&ACCUSER),
        evidence: evidence(2),
        collateral: b"ours".to_vec(),
    };
    assert_eq!(found.accusers(&OWN, ATTEMPT, &keys()), std::slice::from_ref(&expected));
    assert_eq!(found.accusers(&SILENT, ATTEMPT, &keys()), [expected]);
    assert!(found.accusers(&ACCUSER, ATTEMPT, &keys()).is_empty(), "not to itself");
    assert!(found.accusers(&OWN, (1, 1), &keys()).is_empty(), "another attempt");
    assert!(found.accusers(&OWN, ATTEMPT, &[(2, another())]).is_empty(), "another key");
    assert_eq!(found.registered.len(), 3, "whose introductions are told from forged ones");
    // Without collateral for its platform nobody can verify it.
    let without = Registrations::default().seats(&played, |_| vec![], unknown, now).await.unwrap();
    assert!(without.accusers(&OWN, ATTEMPT, &keys()).is_empty());
    assert_eq!(without.registered.len(), 3);
}

#[tokio::test]
async fn a_holder_that_lacks_shares_of_identities_is_introduced_to_dealers_of_either_set() {
    // A former set that hands its keys over, of which one is in the new one too; the second holder complained.
    let former_dealer = WorkerId([4; 32]);
    let points = IdentityPoints { ed25519: [1; 32], sr25519: [2; 32] };
    let holder = |index, gatekeeper| IdentityHolder { index, gatekeeper, shares: points };
    let former_holders = vec![holder(1, former_dealer), holder(2, OWN)];
    let former = IdentityRecord { era: 1, threshold: 2, keys: points, holders: former_holders };
    let holders = [OWN, ACCUSER, SILENT];
    let mut record = IdentityCeremonyRecord::new(2, 5, Some(&former), &holders, |holder| *holder != SILENT);
    record.holders[1].key = Some(key_hash(&ACCUSER));
    let mut played = played();
    played.of_identities = Some(record.clone());
    played.workers.insert(former_dealer, worker(former_dealer, 13));
    let right = register(&OPERATOR, &registration(former_dealer), &evidence(4));
    played.blocks.insert(13, vec![right]);
    let now = Instant::now();
    let found = seats(&Registrations::default(), &played, now).await;
    let expected = Introduction {
        registration: registration(ACCUSER),
        announced: key(&ACCUSER),
        evidence: evidence(2),
        collateral: b"ours".to_vec(),
    };
    for own in [OWN, former_dealer] {
        assert_eq!(found.accusers_of_identities(&own, (2, 5), &keys()), std::slice::from_ref(&expected));
    }
    assert!(found.registered.contains_key(&former_dealer), "a dealer's introduction is told from a forged one");
    assert!(found.accusers_of_identities(&ACCUSER, (2, 5), &keys()).is_empty(), "not to itself");
    assert!(found.accusers_of_identities(&OWN, (2, 4), &keys()).is_empty(), "another attempt");
    assert!(found.accusers(&OWN, (2, 5), &keys()).is_empty(), "the attempts of roots are others");
    // One that has confirmed lacks nothing, and one that is left out is not waited for.
    record.holders[1].confirmed = Some([9; 32]);
    played.of_identities = Some(record.clone());
    let found = seats(&Registrations::default(), &played, now).await;
    assert!(found.accusers_of_identities(&OWN, (2, 5), &keys()).is_empty());
    record.holders[1].confirmed = None;
    record.holders[1].left_out = Some(Fault::Absent);
    played.of_identities = Some(record);
    let found = seats(&Registrations::default(), &played, now).await;
    assert!(found.accusers_of_identities(&OWN, (2, 5), &keys()).is_empty());
}

#[tokio::test]
async fn a_seat_that_lacks_nothing_any_more_is_not_introduced() {
    let mut played = played();
    let record = played.record.as_mut().unwrap();
    let confirmed = phala_protocol::ceremony::Confirmed { share_list: [0; 32], beacon: [0; 32] };
    record.seats[1].confirmed = Some(confirmed);
    let found = seats(&Registrations::default(), &played, Instant::now()).await;
    assert!(found.accusers(&OWN, ATTEMPT, &keys()).is_empty());
}

#[tokio::test]
async fn blocks_are_read_once_and_again_when_somebody_registers_anew() {
    let (mut played, registrations, now) = (played(), Registrations::default(), Instant::now());
    seats(&registrations, &played, now).await;
    seats(&registrations, &played, now + INTERVAL).await;
    assert_eq!(std::mem::take(&mut *played.read.lock().unwrap()), [10, 11, 12]);
    played.workers.insert(ACCUSER, worker(ACCUSER, 20));
    played.blocks.insert(20, vec![register(&OPERATOR, &registration(ACCUSER), &evidence(77))]);
    let early = seats(&registrations, &played, now + INTERVAL).await;
    assert_eq!(early.registered[&ACCUSER].evidence, evidence(2), "looked at every few seconds");
    let found = seats(&registrations, &played, now + 2 * INTERVAL).await;
    assert_eq!(found.registered[&ACCUSER].evidence, evidence(77));
    assert_eq!(*played.read.lock().unwrap(), [20]);
    // A node that does not answer is not asked more often either.
    played.record = None;
    let late = now + 3 * INTERVAL;
    assert!(registrations.seats(&played, |_| vec![], unknown, late).await.is_err());
    assert!(registrations.seats(&played, |_| vec![], unknown, late).await.is_ok());
}

#[tokio::test]
async fn a_look_is_bounded_and_what_a_node_lacks_is_not_found() {
    let identities: Vec<_> = (0..40).map(|number| WorkerId([number; 32])).collect();
    let mut played = Played { record: Some(CeremonyRecord::new(1, 0, &identities)), ..Played::default() };
    for (number, identity) in (1..).zip(&identities) {
        played.workers.insert(*identity, worker(*identity, number));
    }
    let (registrations, now) = (Registrations::default(), Instant::now());
    for (look, read) in [(0u32, 16), (1, 16), (2, 8), (3, 0)] {
        let found = seats(&registrations, &played, now + look * INTERVAL).await;
        assert!(found.registered.is_empty());
        assert_eq!(std::mem::take(&mut *played.read.lock().unwrap()).len(), read);
    }
}

#[test]
fn a_registration_is_found_wherever_it_stands_and_garbage_is_not() {
    let (identity, record) = (ACCUSER, worker(ACCUSER, 1));
    let right = register(&OPERATOR, &registration(identity), &evidence(1));
    let found = |extrinsics: &[Vec<u8>]| find(extrinsics, &identity, &record, &unknown).all;
    assert_eq!(found(std::slice::from_ref(&right)), [(registration(identity), evidence(1))]);
    let batched = [&[9u8; 50][..], &registration(identity).encode()[..], &evidence(2)[..], &[1; 30][..]].concat();
    for signer in [OPERATOR, AccountId([8; 32])] {
        assert_eq!(found(&[signed(&signer, &batched)]), [(registration(identity), evidence(2))], "a proxy's, say");
    }
    let another_key = Registration { encryption_key: [0; 32], ..registration(identity) };
    assert!(found(&[register(&OPERATOR, &another_key, &evidence(1))]).is_empty());
    assert!(found(&[register(&OPERATOR, &registration(SILENT), &evidence(1))]).is_empty());
    for length in 0..right.len() {
        assert!(found(&[right[..length].to_vec()]).is_empty());
    }
    assert!(found(&[vec![], vec![0xff; 200], vec![0x84; 40]]).is_empty());
}

#[test]
fn true_evidence_is_found_among_any_that_its_operator_hides_it_with() {
    let (identity, record) = (ACCUSER, worker(ACCUSER, 1));
    let put = |byte: u8| register(&OPERATOR, &registration(identity), &evidence(byte));
    // 7 is true; above 100 it is of an unknown platform, and above 200 it is no evidence at all.
    let judge = |(_, found): &Evidenced, _: &WorkerRecord| match found {
        found if *found == evidence(7) => Judged::Proved,
        found if (100..200).any(|byte| *found == evidence(byte)) => Judged::Unknown,
        found if (200..=255).any(|byte| *found == evidence(byte)) => Judged::Foreign,
        _ => Judged::Refused,
    };
    let is_found =
        |block: &[Vec<u8>]| find(block, &identity, &record, &judge).all == [(registration(identity), evidence(7))];
    let hidden: Vec<_> = (8..=255).filter(|byte| !(50..100).contains(byte)).map(put).collect();
    assert!(is_found(&[put(7)]) && is_found(&[&[put(7)][..], &hidden].concat()), "a remark after it");
    assert!(is_found(&[&hidden[..], &[put(7)]].concat()), "remarks before it");
    let at_once = [
        &[40u8; 9][..],
        &registration(identity).encode(),
        &evidence(8),
        &registration(identity).encode(),
        &evidence(7),
    ];
    assert!(is_found(&[signed(&OPERATOR, &at_once.concat())]), "both in one");
    // What is verified in vain is bounded.
    assert!(!is_found(&[vec![put(8); MOST_REFUSED], vec![put(7)]].concat()));
    // Without collateral nobody can tell: then none is, until there is some.
    let mut candidates = find(&[put(100), put(7), put(7), put(101)], &identity, &record, &unknown);
    assert_eq!(candidates.all.len(), 3, "each once");
    assert!(candidates.the_one(&record, &unknown).is_none());
    assert_eq!(candidates.the_one(&record, &judge).map(|(_, found)| found), Some(&evidence(7)));
    assert_eq!(candidates.the_one(&record, &unknown).map(|(_, found)| found), Some(&evidence(7)), "it was verified");
    let many = find(&(100..150).map(put).collect::<Vec<_>>(), &identity, &record, &unknown);
    assert_eq!(many.all.len(), MOST_CANDIDATES);
}
