//! What a seat says, takes and refuses, case by case. `testing/keys-sim` runs whole ceremonies among liars.
//!
//! The evidence is INSECURE: genuine formats under the published development root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod beacon;
mod derivations;
mod disputes;

use super::*;
use crate::{verify_introduction, Facts, ReceivingKey, Refusal, VerifiedPeer, Verifier};
use codec::Encode;
use phala_attest::{AcceptedStatuses, AdvisoryPolicy, Ban, Bans, DevelopmentGenesis, Evidence, PolicyTerms, Subject};
use phala_crypto::{
    beacon::verify_beacon_record,
    prf::PublicShare,
    signature::{ed25519, ed25519::IdentityKey},
    Secret,
};
use phala_insecure_tee::InsecureMachine;
use phala_protocol::{
    attestation::{Assurance, Listing, Registration, Role, Version},
    ceremony::{
        delivery_hash, package_hash, AnnouncedKey, Attachment, CeremonyAttempt, CeremonyRecord, Complaint, Confirmed,
        Fault, Introduction, Parcel, ParcelHeader, ParcelKind, Phase, Reason, SignedStatement, Statement,
        LAST_CALL_BLOCKS,
    },
    chain_state::{AllowedMeasurement, WorkerRecord},
    AccountId, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const GENESIS: Hash = [7; 32];
pub(crate) const NOW: u64 = 1_790_000_000;
const SEATS: u16 = 4;
const UNTIL: u32 = 100;

pub(crate) fn identity(index: u16) -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([index as u8; 32]))
}

pub(crate) fn id(index: u16) -> WorkerId {
    WorkerId(identity(index).public())
}

/// The attempt of these seats.
const OF: CeremonyAttempt = CeremonyAttempt::root(1, 0);

pub(crate) fn receiving(index: u16, of: CeremonyAttempt) -> ReceivingKey {
    ReceivingKey::derive(&seed(index), &GENESIS, of)
}

/// An introduction, and everything that it is judged by.
pub(crate) struct Case {
    machine: InsecureMachine,
    introduction: Introduction,
    facts: Facts,
}

impl Case {
    pub(crate) fn new(index: u16) -> Self {
        let machine = InsecureMachine::new(&format!("gatekeeper {index}"), b"the binary", NOW).unwrap();
        let registration = Registration {
            role: Role::Gatekeeper,
            identity: id(index),
            encryption_key: [0x0e; 32],
            operator: AccountId([0x0f; 32]),
            block: 90,
            block_hash: [0x90; 32],
        };
        let introduction = Introduction {
            registration,
            announced: receiving(index, OF).announce(&identity(index)),
            evidence: evidence(&machine, &registration),
            collateral: machine.collateral().encode(),
        };
        let facts = Facts {
            genesis: GENESIS,
            gatekeeper: WorkerId([0; 32]),
            head: (100, [0x64; 32]),
            now: NOW,
            development: DevelopmentGenesis::for_genesis(GENESIS, &[GENESIS]),
            terms: PolicyTerms { accepted: AcceptedStatuses::UP_TO_DATE, minimum_tcb_evaluation_number: 0 },
            advisories: AdvisoryPolicy::default(),
            bans: Bans::default(),
            root: None,
            coming_era: None,
            cluster: None,
            seen_since: None,
            worker: Some(WorkerRecord {
                role: Role::Gatekeeper,
                operator: registration.operator,
                encryption_key: registration.encryption_key,
                measurement: machine.measurement(),
                hardware: [3; 32],
                assurance: Assurance::Simulated,
                registered_at: 91,
                valid_until: NOW + 1,
            }),
            measurement: Some(AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None }),
            listing: Some(Listing {
                source: [0; 32],
                version: Version(0, 1, 0),
                role: None,
                not_before: 0,
                sunset: None,
            }),
            evaluation_cap: None,
        };
        Self { machine, introduction, facts }
    }

    fn registration(&mut self, change: impl FnOnce(&mut Registration)) {
        change(&mut self.introduction.registration);
        self.introduction.evidence = evidence(&self.machine, &self.introduction.registration);
    }

    fn record(&mut self) -> &mut WorkerRecord {
        self.facts.worker.as_mut().unwrap()
    }

    /// The same gatekeeper in another attempt.
    pub(crate) fn announcing(mut self, index: u16, of: CeremonyAttempt) -> Self {
        self.introduction.announced = receiving(index, of).announce(&identity(index));
        self
    }

    pub(crate) fn verified(&self, index: u16) -> VerifiedPeer {
        verify_introduction(&id(index), &self.introduction, &self.facts, &mut Verifier::default()).ok().unwrap()
    }

    fn verify(&self) -> Result<VerifiedPeer, Refusal> {
        verify_introduction(&id(1), &self.introduction, &self.facts, &mut Verifier::default())
    }
}

fn evidence(machine: &InsecureMachine, registration: &Registration) -> Vec<u8> {
    Evidence::TdxDcap(machine.quote(registration.report_data(&GENESIS)).try_into().unwrap()).encode()
}

#[test]
fn an_introduced_gatekeeper_is_verified_by_each_check_on_its_own() {
    type Mutation = fn(&mut Case);
    let cases: &[(&str, Refusal, Mutation)] = &[
        ("not registered", Refusal::NotRegistered, |c| c.facts.worker = None),
        ("registered as a worker", Refusal::NotRegistered, |c| c.record().role = Role::Worker),
        ("lapsed", Refusal::Lapsed, |c| c.record().valid_until = NOW),
        ("a key that another announced", Refusal::BadAnnouncement, |c| {
            c.introduction.announced = receiving(1, OF).announce(&identity(2));
        }),
        ("a key that nobody announced", Refusal::BadAnnouncement, |c| {
            c.introduction.announced.key = receiving(2, OF).public_key().to_vec();
        }),
        ("a key of another attempt", Refusal::BadAnnouncement, |c| {
            let other = receiving(1, CeremonyAttempt::root(1, 1)).announce(&identity(1));
            c.introduction.announced = AnnouncedKey { of: OF, ..other };
        }),
        ("a key of the other ceremony", Refusal::BadAnnouncement, |c| {
            let other = receiving(1, CeremonyAttempt::identities(1, 0)).announce(&identity(1));
            c.introduction.announced = AnnouncedKey { of: OF, ..other };
        }),
        ("a key of another chain", Refusal::BadAnnouncement, |c| {
            c.introduction.announced = ReceivingKey::derive(&seed(1), &[8; 32], OF).announce(&identity(1));
        }),
        ("a key that is none", Refusal::BadEncryptionKey, |c| c.introduction.announced.key = vec![1, 2, 3]),
        ("evidence of another registration", Refusal::WrongReportData, |c| {
            c.introduction.registration.encryption_key = [1; 32];
        }),
        ("no collateral", Refusal::Collateral, |c| c.introduction.collateral.clear()),
        ("simulated elsewhere", Refusal::Collateral, |c| c.facts.development = None),
        ("no evidence", Refusal::Evidence, |c| c.introduction.evidence.clear()),
        ("evidence as a worker", Refusal::WrongReportData, |c| c.registration(|r| r.role = Role::Worker)),
        ("evidence of another", Refusal::WrongReportData, |c| c.registration(|r| r.identity = id(2))),
        ("evidence of another operator", Refusal::WrongReportData, |c| {
            c.registration(|r| r.operator = AccountId([1; 32]));
        }),
        ("evidence of another chain", Refusal::WrongReportData, |c| {
            let other = c.introduction.registration.report_data(&[8; 32]);
            c.introduction.evidence = Evidence::TdxDcap(c.machine.quote(other).try_into().unwrap()).encode();
        }),
        ("another measurement", Refusal::WrongMeasurement, |c| c.record().measurement = [1; 32]),
        ("shut out", Refusal::Barred, |c| {
            let subject = Subject::Measurement(c.record().measurement);
            c.facts.bans.put(Ban { subject, from: 0, until: None }, 0).unwrap();
        }),
        ("not listed", Refusal::MeasurementNotAllowed, |c| c.facts.measurement = None),
        ("listed for workers", Refusal::RoleNotAllowed, |c| {
            c.facts.listing.as_mut().unwrap().role = Some(Role::Worker);
        }),
        ("collateral over the cap", Refusal::EvaluationTooEarly, |c| c.facts.evaluation_cap = Some(0)),
    ];
    let peer = Case::new(1).verify().ok().unwrap();
    assert_eq!((peer.identity(), peer.key_hash()), (id(1), receiving(1, OF).hash()));
    // It has registered another long-lived key since: nothing is sealed to that one, and whose identity it is, is shown all the same.
    let mut registered_anew = Case::new(1);
    registered_anew.record().encryption_key = [9; 32];
    assert_eq!(registered_anew.verify().ok().unwrap().key_hash(), receiving(1, OF).hash());
    for (name, refusal, mutate) in cases {
        let mut case = Case::new(1);
        mutate(&mut case);
        assert_eq!(case.verify().err(), Some(*refusal), "{name}");
    }
}

/// Four seats, all of one mind, and a record that the test writes.
struct Table {
    peers: BTreeMap<WorkerId, VerifiedPeer>,
    record: CeremonyRecord,
    seats: Vec<Ceremony>,
    now: u64,
    since: u32,
}

fn seed(index: u16) -> Secret<[u8; 32]> {
    Secret::new([index as u8 + 50; 32])
}

fn record(attempt: u32) -> CeremonyRecord {
    let ids: Vec<WorkerId> = (1..=SEATS).map(id).collect();
    CeremonyRecord { until: UNTIL, ..CeremonyRecord::new(1, attempt, &ids) }
}

fn begin(index: u16, record: &CeremonyRecord) -> Result<Ceremony, CeremonyError> {
    Ceremony::begin(&GENESIS, &id(index), &seed(index), record)
}

#[test]
fn a_later_attempt_of_an_era_goes_on_with_its_seed_and_no_other_does() {
    let first = begin(1, &record(0)).unwrap();
    let next = first.begin_next(&id(1), &record(2)).unwrap();
    assert_eq!((next.attempt(), next.own_package()), ((1, 2), begin(1, &record(2)).unwrap().own_package()));
    assert_ne!(next.own_package(), first.own_package());
    let other_era = CeremonyRecord { era: 2, ..record(3) };
    for refused in
        [next.begin_next(&id(1), &record(2)), next.begin_next(&id(1), &record(1)), next.begin_next(&id(1), &other_era)]
    {
        assert_eq!(refused.err(), Some(CeremonyError::OtherAttempt));
    }
    assert_eq!(first.begin_next(&WorkerId([9; 32]), &record(1)).err(), Some(CeremonyError::NoSeat));
}

impl Table {
    fn new() -> Self {
        let record = record(0);
        let peers = (1..=SEATS).map(|index| {
            let case = Case::new(index);
            (id(index), case.verified(index))
        });
        let seats = (1..=SEATS).map(|index| begin(index, &record).unwrap()).collect();
        Self { peers: peers.collect(), seats, record, now: NOW, since: 0 }
    }

    /// A table at which all have committed, and the first `participants` did in time.
    fn dealt(participants: u16) -> Self {
        let mut table = Self::new();
        for index in 1..=participants {
            let said = table.step(index, 1).unwrap().statements;
            let [SignedStatement { statement: Statement::Commit { package }, .. }] = said[..] else { panic!() };
            table.record.seats[usize::from(index) - 1].package = Some(package);
        }
        table.record.phase = Phase::Share;
        table
    }

    fn step(&mut self, index: u16, head: u32) -> Result<Turn, CeremonyError> {
        let view = View {
            record: &self.record,
            head,
            now: self.now,
            since: self.since,
            identity: &identity(index),
            receiving: &receiving(index, OF),
            peers: &self.peers,
            entropy: &Secret::new([9; 32]),
        };
        self.seats[usize::from(index) - 1].step(&view)
    }

    fn said(&mut self, index: u16, head: u32) -> Vec<Statement> {
        let turn = self.step(index, head).unwrap();
        let attached = turn.attached.iter().map(|(signed, _)| signed);
        turn.statements.iter().chain(attached).map(|signed| signed.statement).collect()
    }

    fn accept(&mut self, parcel: &Parcel) -> Result<(), ParcelRefusal> {
        let to = parcel.header.to;
        self.seats[usize::from(to) - 1].accept(&receiving(to, OF), parcel)
    }

    /// Every seat that takes part sends, and all arrives but what `dropped` says.
    fn exchange(&mut self, dropped: impl Fn(&ParcelHeader) -> bool) {
        let participants: Vec<u16> = self.record.participants().collect();
        let turns: Vec<Turn> = participants.iter().map(|index| self.step(*index, 1).unwrap()).collect();
        for parcel in turns.iter().flat_map(|turn| &turn.parcels).filter(|parcel| !dropped(&parcel.header)) {
            self.accept(parcel).unwrap();
        }
    }

    /// Of the root, then of the beacon.
    fn shares(&self, dealer: u16, recipient: u16) -> [[u8; 32]; 2] {
        self.seats[usize::from(dealer) - 1].dealt.share(recipient).unwrap().to_scalars()
    }

    /// As they are sealed.
    fn share(&self, dealer: u16, recipient: u16) -> Vec<u8> {
        self.shares(dealer, recipient).concat()
    }

    fn complain(&mut self, accuser: u16, dealer: u16) {
        self.record.seats[usize::from(accuser) - 1].key = Some(self.peers[&id(accuser)].key_hash());
        self.record.complaints.push(Complaint::new(accuser, dealer));
    }

    /// A complaint whose delivery is disputed, and answered or not.
    fn dispute(&mut self, accuser: u16, dealer: u16, answer: Option<[[u8; 32]; 2]>) {
        self.complain(accuser, dealer);
        let complaint = self.record.complaints.last_mut().unwrap();
        (complaint.delivered, complaint.disputed, complaint.answer) = (Some([9; 32]), true, answer);
    }

    /// The chain takes what was delivered on the complaint at this position.
    fn delivered(&mut self, position: usize, parcel: &Parcel) -> Hash {
        let hash = delivery_hash(&self.peers[&id(parcel.header.to)].key_hash(), parcel);
        self.record.complaints[position].delivered = Some(hash);
        hash
    }

    fn package(&self, dealer: u16) -> Vec<u8> {
        self.seats[usize::from(dealer) - 1].dealt.package.clone()
    }

    fn settle(&mut self) {
        self.record.phase = Phase::Settle;
    }

    fn forge(&self, from: u16, to: u16, kind: ParcelKind, content: &[u8]) -> Parcel {
        let header = ParcelHeader { era: 1, attempt: 0, from, to, kind };
        self.forge_as(from, header, content)
    }

    /// A parcel that the seat of index `signer` signed, whoever it says it is of.
    fn forge_as(&self, signer: u16, header: ParcelHeader, content: &[u8]) -> Parcel {
        let recipient = self.peers[&id(header.to)].key();
        seal_parcel(&GENESIS, &identity(signer), recipient, header, content, &Secret::new([3; 32])).unwrap()
    }
}

const LAST_CALL: u32 = UNTIL - LAST_CALL_BLOCKS + 1;

#[test]
fn seats_that_hear_everything_confirm_one_list_and_repeat_it_until_it_stands() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|_| false);
    let mut confirmed = BTreeSet::new();
    for index in 1..=SEATS {
        let turn = table.step(index, 2).unwrap();
        assert!(turn.seal_first, "what is confirmed is sealed first");
        let [signed] = turn.statements[..] else { panic!() };
        let Statement::Confirm(keys) = signed.statement else { panic!() };
        ed25519::verify(&id(index).0, &signed.signing_payload(&GENESIS), &signed.signature).unwrap();
        confirmed.insert(keys);
        assert_eq!(table.said(index, 3), [signed.statement]);
        table.record.seats[usize::from(index) - 1].confirmed = Some(keys);
        assert_eq!(table.said(index, 4), []);
        let seat = table.seats[usize::from(index) - 1].seat().unwrap();
        assert_eq!((seat.share_list(), seat.keys()), (keys.share_list, Some(keys)));
        assert_eq!(seat.beacon().unwrap().record().hash(), keys.beacon);
    }
    assert_eq!(confirmed.len(), 1, "one root and one beacon key");
    assert!(table.step(1, 5).unwrap().parcels.is_empty(), "nobody lacks anything");
}

#[test]
fn what_is_repeated_waits_for_the_disk_until_it_is_sealed() {
    let mut table = Table::dealt(SEATS);
    assert!(table.step(1, 1).unwrap().seal_first, "who takes part");
    assert!(table.step(1, 1).unwrap().seal_first, "the write failed");
    table.seats[0].mark_sealed();
    assert!(!table.step(1, 1).unwrap().seal_first);

    // A turn that fails takes nothing back.
    table.exchange(|_| false);
    let said = table.step(1, 2).unwrap();
    assert!(said.seal_first && said.statements.len() == 1);
    table.record.seats[0].left_out = Some(Fault::Absent);
    assert!(table.step(1, 3).is_err());
    table.record.seats[0].left_out = None;
    let again = table.step(1, 4).unwrap();
    assert!(again.seal_first && again.statements == said.statements);
    table.seats[0].mark_sealed();
    assert!(!table.step(1, 5).unwrap().seal_first);

    // What is restored is what is on disk.
    let bytes = table.seats[0].to_secret_bytes();
    table.seats[0] = Ceremony::from_secret_bytes(&bytes).unwrap();
    assert!(!table.step(1, 6).unwrap().seal_first);

    table.dispute(2, 1, None);
    table.settle();
    for _ in 0..2 {
        let turn = table.step(1, 7).unwrap();
        assert!(turn.seal_first && turn.attached.len() == 1, "an answer");
    }
    table.seats[0].mark_sealed();
    assert!(!table.step(1, 8).unwrap().seal_first);
}

#[test]
fn a_seat_that_took_no_part_has_no_public_share_and_the_threshold_stays() {
    let mut table = Table::dealt(3);
    table.exchange(|_| false);
    assert!(table.step(1, 2).unwrap().seal_first);
    let seat = table.seats[0].seat().unwrap();
    let root = seat.root_record((1..=SEATS).map(id).collect());
    assert_eq!((root.threshold, root.seats.len()), (3, 4));
    let sealed = seat.to_secret_bytes();
    // After form, era, threshold, index and share.
    let shares: Vec<[u8; 32]> = codec::Decode::decode(&mut &sealed.expose()[8 + 4 + 2 + 2 + 32..]).unwrap();
    assert_eq!((shares.len(), shares[3]), (4, [0; 32]));
    assert!(PublicShare::from_bytes(3, &shares[2]).is_ok() && PublicShare::from_bytes(4, &shares[3]).is_err());
    // The beacon's record names those that hold a share, and no others.
    let beacon = seat.beacon().unwrap().record();
    assert_eq!((beacon.era, beacon.threshold), (1, 3));
    assert_eq!(beacon.holders.iter().map(|holder| holder.index).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(verify_beacon_record(&GENESIS, beacon).is_ok());
    assert_eq!(table.step(4, 2).err(), Some(CeremonyError::NotCommitted));
}

#[test]
fn nothing_of_a_package_leaves_before_every_hash_stands() {
    let mut table = Table::new();
    let turn = table.step(1, 1).unwrap();
    assert!(turn.parcels.is_empty() && turn.strangers.is_empty());
    let parcel = table.forge(2, 1, ParcelKind::Package, b"anything");
    assert_eq!(table.accept(&parcel), Err(ParcelRefusal::TooEarly));
}

#[test]
fn nothing_is_sealed_to_a_stranger() {
    let mut table = Table::dealt(SEATS);
    table.peers.remove(&id(2));
    let turn = table.step(1, 1).unwrap();
    assert_eq!(turn.strangers, [id(2)]);
    assert!(turn.parcels.iter().all(|parcel| parcel.header.to != 2) && turn.parcels.len() == 4);
}

#[test]
fn nothing_is_sealed_to_whom_an_earlier_attempt_verified_or_whose_registration_lapsed() {
    let strangers = |change: fn(&mut Table)| {
        let mut table = Table::dealt(SEATS);
        table.complain(2, 1);
        change(&mut table);
        let shared = table.step(1, 1).unwrap();
        table.record.phase = Phase::Deliver;
        let delivered = table.step(1, 1).unwrap();
        assert_eq!(shared.strangers.contains(&id(2)), delivered.attached.is_empty(), "one rule for both");
        (shared.strangers.len(), shared.parcels.len())
    };
    // All were verified at block 100, and are registered for one second more.
    assert_eq!(strangers(|table| table.since = 100), (0, 6));
    assert_eq!(strangers(|table| table.since = 101), (3, 0));
    assert_eq!(strangers(|table| table.now = NOW + 1), (3, 0));
    let mixed_up = |table: &mut Table| {
        let (second, third) = (table.peers.remove(&id(2)).unwrap(), table.peers.remove(&id(3)).unwrap());
        table.peers.insert(id(2), third);
        table.peers.insert(id(3), second);
    };
    assert_eq!(strangers(mixed_up), (2, 2));
}

#[test]
fn nothing_is_sealed_to_a_key_of_another_attempt_or_ceremony() {
    for of in [CeremonyAttempt::root(1, 1), CeremonyAttempt::root(0, 0), CeremonyAttempt::identities(1, 0)] {
        let mut table = Table::dealt(SEATS);
        table.peers.insert(id(2), Case::new(2).announcing(2, of).verified(2));
        let turn = table.step(1, 1).unwrap();
        assert_eq!((turn.strangers, turn.parcels.len()), (vec![id(2)], 4), "{of:?}");
        // Not even if it complains under that key, which the chain does not take.
        table.complain(2, 1);
        table.record.phase = Phase::Deliver;
        let turn = table.step(1, 1).unwrap();
        assert!(turn.attached.is_empty() && turn.strangers.contains(&id(2)));
    }
}

#[test]
fn a_seat_receives_under_one_key_an_attempt_and_has_it_again_after_a_restart() {
    let first = begin(1, &record(0)).unwrap();
    let key = first.receiving();
    assert_eq!((key.of(), key.public_key()), (OF, receiving(1, OF).public_key()));
    let restored = Ceremony::from_secret_bytes(&first.to_secret_bytes()).unwrap();
    assert_eq!(restored.receiving().public_key(), key.public_key());
    let next = first.begin_next(&id(1), &record(1)).unwrap().receiving();
    assert_eq!(next.of(), CeremonyAttempt::root(1, 1));
    assert_ne!(next.public_key(), key.public_key());

    // What an attempt leaves its seat with does not hold what the key follows from.
    let mut table = Table::dealt(SEATS);
    table.exchange(|_| false);
    assert!(table.step(1, 2).unwrap().seal_first);
    let holds_seed = |bytes: &Secret<Vec<u8>>| bytes.expose().windows(32).any(|window| window == seed(1).expose());
    assert!(holds_seed(&table.seats[0].to_secret_bytes()));
    assert!(!holds_seed(&table.seats[0].seat().unwrap().to_secret_bytes()));
}

#[test]
fn a_parcel_opens_with_the_key_of_its_attempt_alone() {
    let mut table = Table::dealt(SEATS);
    let parcels = table.step(2, 1).unwrap().parcels;
    let package = parcels.iter().find(|parcel| parcel.header.to == 1).unwrap();
    assert!(table.step(1, 1).unwrap().seal_first);
    for of in [CeremonyAttempt::root(1, 1), CeremonyAttempt::root(0, 0), CeremonyAttempt::identities(1, 0)] {
        let refused = table.seats[0].accept(&receiving(1, of), package);
        assert_eq!(refused, Err(ParcelRefusal::Parcel(ParcelError::Unauthentic)), "{of:?}");
    }
    assert_eq!(table.accept(package), Ok(()));
}

#[test]
fn a_record_that_is_not_of_this_attempt_or_contradicts_it_is_refused() {
    let refused = |change: fn(&mut Table)| {
        let mut table = Table::dealt(SEATS);
        assert!(table.step(1, 1).unwrap().seal_first);
        change(&mut table);
        table.step(1, 2).err()
    };
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|t| t.record.era = 2), Some(CeremonyError::OtherAttempt));
    assert_eq!(refused(|t| t.record.attempt = 1), Some(CeremonyError::OtherAttempt));
    assert_eq!(refused(|t| t.record.threshold = 2), Some(CeremonyError::Contradiction));
    assert_eq!(refused(|t| t.record.seats.swap(1, 2)), Some(CeremonyError::Contradiction));
    assert_eq!(refused(|t| t.record.seats[3].package = None), Some(CeremonyError::Contradiction));
    assert_eq!(refused(|t| t.record.seats[3].package = Some([1; 32])), Some(CeremonyError::Contradiction));
    assert_eq!(refused(|t| t.record.seats[0].package = Some([1; 32])), Some(CeremonyError::Foreign));
    assert_eq!(refused(|t| t.record.seats[0].package = None), Some(CeremonyError::NotCommitted));
    let left_out = Some(CeremonyError::LeftOut(Fault::Absent));
    assert_eq!(refused(|t| t.record.seats[0].left_out = Some(Fault::Absent)), left_out);
    let too_few = |t: &mut Table| (2..4).for_each(|seat: usize| t.record.seats[seat].package = None);
    assert_eq!(refused(too_few), Some(CeremonyError::TooFew));
}

#[test]
fn a_ceremony_that_the_rules_do_not_allow_is_not_begun() {
    let refused = |change: fn(&mut CeremonyRecord)| {
        let mut record = record(0);
        change(&mut record);
        begin(1, &record).err()
    };
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|r| r.threshold = 2), Some(CeremonyError::Unsound), "a lower threshold");
    assert_eq!(refused(|r| r.seats[1] = r.seats[2].clone()), Some(CeremonyError::Unsound), "a seat twice");
    assert_eq!(refused(|r| r.seats.truncate(1)), Some(CeremonyError::Unsound));
    assert_eq!(refused(|r| drop(r.seats.remove(0))), Some(CeremonyError::NoSeat));
}

#[test]
fn parcels_that_prove_nothing_change_nothing() {
    let mut table = Table::dealt(3);
    let turns: Vec<Turn> = (1..=3).map(|index| table.step(index, 1).unwrap()).collect();
    let find = |kind| {
        let mut all = turns.iter().flat_map(|turn| &turn.parcels);
        all.find(|parcel| (parcel.header.from, parcel.header.to, parcel.header.kind) == (2, 1, kind)).unwrap().clone()
    };
    let (package, share) = (find(ParcelKind::Package), find(ParcelKind::Share));
    let before = table.seats[0].to_secret_bytes();

    assert_eq!(table.accept(&share), Err(ParcelRefusal::PackageMissing));
    let with = |header: ParcelHeader| Parcel { header, ..package.clone() };
    let header = package.header;
    for header in
        [ParcelHeader { era: 2, ..header }, ParcelHeader { attempt: 1, ..header }, ParcelHeader { from: 1, ..header }]
    {
        assert_eq!(table.accept(&with(header)), Err(ParcelRefusal::WrongAddressee));
    }
    let other = table.seats[0].accept(&receiving(1, OF), &with(ParcelHeader { to: 3, ..header }));
    assert_eq!(other, Err(ParcelRefusal::WrongAddressee));
    let outsider = with(ParcelHeader { from: 4, ..header });
    assert_eq!(table.accept(&outsider), Err(ParcelRefusal::NoParticipant));
    let renamed = with(ParcelHeader { from: 3, ..header });
    assert_eq!(table.accept(&renamed), Err(ParcelRefusal::Parcel(ParcelError::NotSender)));
    let forged = table.forge(2, 1, ParcelKind::Package, b"not what was committed");
    assert_eq!(table.accept(&forged), Err(ParcelRefusal::WrongHash));
    assert!(table.seats[0].to_secret_bytes().equals(&before));

    assert_eq!(table.accept(&package), Ok(()));
    let (own, other) = (table.share(2, 1), table.share(2, 3));
    for content in [&other[..], &[0xff; 64], &[1; 31], &[], &own[..32]] {
        let wrong = table.forge(2, 1, ParcelKind::Share, content);
        assert_eq!(table.accept(&wrong), Err(ParcelRefusal::WrongShare));
    }
    // Right in one half alone.
    for content in [[&own[..32], &other[32..]].concat(), [&other[..32], &own[32..]].concat()] {
        let wrong = table.forge(2, 1, ParcelKind::Share, &content);
        assert_eq!(table.accept(&wrong), Err(ParcelRefusal::WrongShare));
    }
    assert_eq!((table.accept(&share), table.accept(&share), table.accept(&package)), (Ok(()), Ok(()), Ok(())));
    let late = table.said(1, LAST_CALL);
    assert_eq!(late, [Statement::Complain { dealer: 3 }], "of what is missing, not of what was wrong");
}

#[test]
fn strangers_have_nothing_opened_and_a_dealer_that_sends_wrong_parcels_only_so_many() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.to == 1);
    let package = table.forge(2, 1, ParcelKind::Package, &table.package(2));
    let share = table.forge(2, 1, ParcelKind::Share, &table.share(2, 1));
    for _ in 0..20 {
        let forged = table.forge_as(3, package.header, b"in another's name");
        assert_eq!(table.accept(&forged), Err(ParcelRefusal::Parcel(ParcelError::NotSender)));
    }
    assert_eq!(table.accept(&package), Ok(()), "which costs the dealer nothing");
    let forged = table.forge_as(3, share.header, &table.share(2, 1));
    assert_eq!(table.accept(&forged), Err(ParcelRefusal::Parcel(ParcelError::NotSender)), "not even what is right");
    let wrong = table.forge(2, 1, ParcelKind::Share, b"wrong");
    for _ in 0..8 {
        assert_eq!(table.accept(&wrong), Err(ParcelRefusal::WrongShare));
    }
    assert_eq!(table.accept(&share), Err(ParcelRefusal::TooManyWrong));
    // What it owes comes on chain all the same, and other dealers are not concerned.
    let content = [&table.share(2, 1)[..], &table.package(2)[..]].concat();
    let delivery = table.forge(2, 1, ParcelKind::Delivery, &content);
    table.complain(1, 2);
    table.record.phase = Phase::Deliver;
    table.delivered(0, &delivery);
    assert_eq!(table.said(1, 2), []);
    assert_eq!(table.accept(&delivery), Ok(()));
    for kind in [ParcelKind::Package, ParcelKind::Share] {
        let content = if kind == ParcelKind::Package { table.package(3) } else { table.share(3, 1) };
        let parcel = table.forge(3, 1, kind, &content);
        assert_eq!(table.accept(&parcel), Ok(()));
    }
}
