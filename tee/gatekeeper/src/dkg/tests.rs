//! What a seat says, takes and refuses, case by case. `testing/keys-sim` runs whole ceremonies among liars.
//!
//! The evidence is INSECURE: genuine formats under the published development root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::{verify_introduction, Facts, Refusal, VerifiedPeer};
use codec::Encode;
use phala_attest::{AcceptedStatuses, AdvisoryPolicy, Ban, Bans, DevelopmentGenesis, Evidence, PolicyTerms, Subject};
use phala_crypto::{
    prf::PublicShare, signature::ed25519, signature::ed25519::IdentityKey, xwing::DecapsulationKey, Secret,
};
use phala_insecure_tee::InsecureMachine;
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Registration, Role},
    ceremony::{
        delivery_hash, package_hash, Attachment, CeremonyRecord, Complaint, Fault, Introduction, Parcel, ParcelHeader,
        ParcelKind, Phase, Reason, SignedStatement, Statement, LAST_CALL_BLOCKS,
    },
    chain_state::{AllowedMeasurement, WorkerRecord},
    AccountId, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

const GENESIS: Hash = [7; 32];
const NOW: u64 = 1_790_000_000;
const SEATS: u16 = 4;
const UNTIL: u32 = 100;

fn identity(index: u16) -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([index as u8; 32]))
}

fn id(index: u16) -> WorkerId {
    WorkerId(identity(index).public())
}

fn receiving(index: u16) -> DecapsulationKey {
    DecapsulationKey::from_seed(&Secret::new([index as u8 + 100; 32]))
}

/// An introduction, and everything that it is judged by.
struct Case {
    machine: InsecureMachine,
    introduction: Introduction,
    facts: Facts,
}

impl Case {
    fn new(index: u16) -> Self {
        let machine = InsecureMachine::new(&format!("gatekeeper {index}"), b"the binary", NOW).unwrap();
        let encryption_key = receiving(index).public_key().to_vec();
        let registration = Registration {
            role: Role::Gatekeeper,
            identity: id(index),
            encryption_key: encryption_key_hash(&encryption_key),
            operator: AccountId([0x0f; 32]),
            block: 90,
            block_hash: [0x90; 32],
        };
        let introduction = Introduction {
            registration,
            encryption_key,
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

    fn verify(&self) -> Result<VerifiedPeer, Refusal> {
        verify_introduction(&id(1), &self.introduction, &self.facts)
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
        ("another key", Refusal::BadEncryptionKey, |c| {
            c.introduction.encryption_key = receiving(2).public_key().to_vec();
        }),
        ("a key that is none", Refusal::BadEncryptionKey, |c| {
            c.introduction.encryption_key = vec![1, 2, 3];
            let hash = encryption_key_hash(&[1, 2, 3]);
            c.record().encryption_key = hash;
            c.registration(|r| r.encryption_key = hash);
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
    ];
    let peer = Case::new(1).verify().ok().unwrap();
    assert_eq!((peer.identity(), peer.key_hash()), (id(1), encryption_key_hash(receiving(1).public_key())));
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

impl Table {
    fn new() -> Self {
        let record = record(0);
        let peers = (1..=SEATS).map(|index| {
            let case = Case::new(index);
            (id(index), verify_introduction(&id(index), &case.introduction, &case.facts).ok().unwrap())
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
            receiving: &receiving(index),
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
        self.seats[usize::from(to) - 1].accept(&receiving(to), parcel)
    }

    /// Every seat that takes part sends, and all arrives but what `dropped` says.
    fn exchange(&mut self, dropped: impl Fn(&ParcelHeader) -> bool) {
        let participants: Vec<u16> = self.record.participants().collect();
        let turns: Vec<Turn> = participants.iter().map(|index| self.step(*index, 1).unwrap()).collect();
        for parcel in turns.iter().flat_map(|turn| &turn.parcels).filter(|parcel| !dropped(&parcel.header)) {
            self.accept(parcel).unwrap();
        }
    }

    fn share(&self, dealer: u16, recipient: u16) -> [u8; 32] {
        *self.seats[usize::from(dealer) - 1].dealt.share(recipient).unwrap().expose()
    }

    fn complain(&mut self, accuser: u16, dealer: u16) {
        self.record.seats[usize::from(accuser) - 1].key = Some(self.peers[&id(accuser)].key_hash());
        self.record.complaints.push(Complaint::new(accuser, dealer));
    }

    /// A complaint whose delivery is disputed, and answered or not.
    fn dispute(&mut self, accuser: u16, dealer: u16, answer: Option<[u8; 32]>) {
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
    let mut lists = BTreeSet::new();
    for index in 1..=SEATS {
        let turn = table.step(index, 2).unwrap();
        assert!(turn.seal_first, "what is confirmed is sealed first");
        let [signed] = turn.statements[..] else { panic!() };
        let Statement::Confirm { share_list } = signed.statement else { panic!() };
        ed25519::verify(&id(index).0, &signed.signing_payload(&GENESIS), &signed.signature).unwrap();
        lists.insert(share_list);
        assert_eq!(table.said(index, 3), [signed.statement]);
        table.record.seats[usize::from(index) - 1].confirmed = Some(share_list);
        assert_eq!(table.said(index, 4), []);
        assert_eq!(table.seats[usize::from(index) - 1].seat().unwrap().share_list(), share_list);
    }
    assert_eq!(lists.len(), 1);
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
    let (_, _, _, _, shares): (u32, u16, u16, [u8; 32], Vec<[u8; 32]>) =
        codec::Decode::decode(&mut seat.to_secret_bytes().expose().as_slice()).unwrap();
    assert_eq!((shares.len(), shares[3]), (4, [0; 32]));
    assert!(PublicShare::from_bytes(3, &shares[2]).is_ok() && PublicShare::from_bytes(4, &shares[3]).is_err());
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
    let other = table.seats[0].accept(&receiving(1), &with(ParcelHeader { to: 3, ..header }));
    assert_eq!(other, Err(ParcelRefusal::WrongAddressee));
    let outsider = with(ParcelHeader { from: 4, ..header });
    assert_eq!(table.accept(&outsider), Err(ParcelRefusal::NoParticipant));
    let renamed = with(ParcelHeader { from: 3, ..header });
    assert_eq!(table.accept(&renamed), Err(ParcelRefusal::Parcel(ParcelError::NotSender)));
    let forged = table.forge(2, 1, ParcelKind::Package, b"not what was committed");
    assert_eq!(table.accept(&forged), Err(ParcelRefusal::WrongHash));
    assert!(table.seats[0].to_secret_bytes().equals(&before));

    assert_eq!(table.accept(&package), Ok(()));
    for content in [&table.share(2, 3)[..], &[0xff; 32], &[1; 31], &[]] {
        let wrong = table.forge(2, 1, ParcelKind::Share, content);
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
        let content = if kind == ParcelKind::Package { table.package(3) } else { table.share(3, 1).to_vec() };
        let parcel = table.forge(3, 1, kind, &content);
        assert_eq!(table.accept(&parcel), Ok(()));
    }
}

#[test]
fn complaints_wait_for_the_last_call_and_bring_the_key_of_whoever_is_cut_off() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.from == 2 && header.to == 1);
    assert_eq!(table.said(1, LAST_CALL - 1), []);
    let turn = table.step(1, LAST_CALL).unwrap();
    let [(signed, Attachment::Key(key))] = &turn.attached[..] else { panic!() };
    assert_eq!((signed.statement, &key[..]), (Statement::Complain { dealer: 2 }, &receiving(1).public_key()[..]));
    table.complain(1, 2);
    assert_eq!(table.said(1, LAST_CALL), []);

    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.to == 1);
    assert_eq!(table.said(1, LAST_CALL), [2, 3, 4].map(|dealer| Statement::Complain { dealer }));
    table.complain(1, 4);
    let turn = table.step(1, LAST_CALL).unwrap();
    assert_eq!((turn.attached.len(), turn.statements.len()), (0, 2), "the key stands");
}

#[test]
fn what_is_delivered_on_chain_is_taken_and_disputed_only_if_it_is_useless() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.to == 1);
    (2..=4).for_each(|dealer| table.complain(1, dealer));
    assert_eq!(table.said(2, 2).len(), 1, "a confirmation: nothing is delivered in this phase");
    table.record.phase = Phase::Deliver;
    let turn = table.step(2, 2).unwrap();
    let [(signed, Attachment::Parcel(parcel))] = &turn.attached[..] else { panic!() };
    assert_eq!(table.said(1, 2), []);
    assert_eq!(table.accept(parcel), Err(ParcelRefusal::NotDelivered), "the chain does not have it");
    let hash = table.delivered(0, parcel);
    assert_eq!(signed.statement, Statement::Deliver { accuser: 1, parcel: hash });
    assert!(table.step(2, 3).unwrap().attached.is_empty(), "it stands");

    // The third delivers what is nothing; the host of the first shows it nothing of the fourth's.
    let useless = table.forge(3, 1, ParcelKind::Delivery, b"nothing");
    let hash = table.delivered(1, &useless);
    let withheld = table.forge(4, 1, ParcelKind::Delivery, b"nothing");
    table.record.complaints[2].delivered = Some([1; 32]);
    assert_eq!(table.said(1, 3), [], "no bytes, no dispute");
    assert_eq!(table.accept(parcel), Ok(()));
    assert_eq!(table.accept(&withheld), Err(ParcelRefusal::NotDelivered), "not what the chain has");
    assert_eq!(table.accept(&useless), Err(ParcelRefusal::WrongShare));
    assert_eq!(table.said(1, 4), [Statement::Dispute { dealer: 3, parcel: hash }]);
    // A restored state says it again when it has seen it again.
    let sealed = table.seats[0].to_secret_bytes();
    table.seats[0] = Ceremony::from_secret_bytes(&sealed).unwrap();
    assert_eq!(table.said(1, 5), []);
    assert_eq!(table.accept(&useless), Err(ParcelRefusal::WrongShare));
    assert_eq!(table.said(1, 6), [Statement::Dispute { dealer: 3, parcel: hash }]);
    table.record.complaints[1].disputed = true;
    assert_eq!(table.said(1, 7), []);
}

#[test]
fn a_delivery_is_sealed_to_the_key_of_the_complaint_before_the_last_call() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.to == 1);
    table.complain(1, 2);
    table.record.phase = Phase::Deliver;
    assert!(table.step(2, LAST_CALL).unwrap().attached.is_empty());
    table.record.seats[0].key = Some([1; 32]);
    let turn = table.step(2, 2).unwrap();
    assert_eq!((turn.attached.len(), turn.strangers), (0, vec![id(1)]), "this key nobody introduced");
    table.record.seats[0].key = Some(table.peers[&id(1)].key_hash());
    table.record.seats[0].confirmed = Some([1; 32]);
    assert!(table.step(2, 2).unwrap().attached.is_empty(), "it lacks nothing");
}

#[test]
fn a_share_is_answered_in_settle_to_a_dispute_that_stands_and_to_as_many_as_may_lie() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.from == 1);
    table.dispute(2, 1, None);
    table.dispute(3, 1, None);
    table.dispute(3, 4, None);
    let share = table.share(1, 2);
    let answers = |said: Vec<Statement>| -> Vec<Statement> {
        said.into_iter().filter(|statement| matches!(statement, Statement::Answer { .. })).collect()
    };
    assert_eq!(answers(table.said(1, 2)), [], "not in this phase");
    table.record.phase = Phase::Deliver;
    assert_eq!(answers(table.said(1, 2)), [], "nor in this");
    table.settle();
    table.record.complaints.iter_mut().for_each(|complaint| complaint.disputed = false);
    assert_eq!(answers(table.said(1, 2)), [], "nor what was delivered and is not disputed");
    table.record.complaints.iter_mut().for_each(|complaint| complaint.disputed = true);
    let expected = [Statement::Answer { accuser: 2, share }];
    assert_eq!(answers(table.said(1, 2)), expected, "the first of two");
    let turn = table.step(1, 3).unwrap();
    assert!(turn.attached.iter().all(|(_, beside)| *beside == Attachment::Package(table.package(1))));
    assert_eq!(answers(table.said(1, LAST_CALL - 1)), expected, "until it stands");
    assert_eq!(answers(table.said(1, LAST_CALL)), [], "the chain would not take it, and all would have read it");
    // An old state that is restored answers the same one, and no other.
    table.record.complaints[0].answer = Some(share);
    table.seats[0] = begin(1, &table.record).unwrap();
    assert_eq!(answers(table.said(1, 4)), []);
    // On a fork the disputes come in another order: the bound holds.
    table.record.complaints.swap(0, 1);
    assert_eq!(answers(table.said(1, 5)), []);
}

#[test]
fn a_fitting_answer_is_taken_with_the_package_that_stands_beside_it() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.from == 2 && header.to == 1);
    let share = table.share(2, 1);
    table.dispute(1, 2, Some(share));
    table.settle();
    assert_eq!(table.said(1, 2), [], "an answer without a package proves nothing");
    let package = table.package(2);
    assert_eq!(table.seats[0].accept_package(2, &package[1..]), Err(ParcelRefusal::WrongHash));
    assert_eq!(table.seats[0].accept_package(9, &package), Err(ParcelRefusal::NoParticipant));
    assert_eq!(table.seats[0].accept_package(2, &package), Ok(()));
    assert!(matches!(table.said(1, 3)[..], [Statement::Confirm { .. }]));
}

#[test]
fn a_wrong_answer_and_a_package_that_is_none_are_rejected_and_nothing_for_want_of_a_package() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.from == 2 && header.to == 1);
    let of_another = table.share(2, 3);
    table.dispute(1, 2, Some(of_another));
    table.settle();
    let said = table.said(3, 2);
    assert!(said.contains(&Statement::Reject { dealer: 2 }), "{said:?}");
    table.record.seats[2].rejected.push(2);
    assert!(!table.said(3, 3).contains(&Statement::Reject { dealer: 2 }));
    assert_eq!(table.said(1, LAST_CALL), [], "its host keeps the package from it");
    let package = table.package(2);
    assert_eq!(table.seats[0].accept_package(2, &package), Ok(()));
    assert_eq!(table.said(1, LAST_CALL), [Statement::Reject { dealer: 2 }]);

    // A dealer that committed to what is no package.
    let mut table = Table::dealt(SEATS);
    let garbage = vec![1; package_bytes(3)];
    table.record.seats[1].package = Some(package_hash(&GENESIS, 1, 0, 2, &garbage));
    assert!(table.step(1, 1).unwrap().seal_first);
    let parcel = table.forge(2, 1, ParcelKind::Package, &garbage);
    assert!(matches!(table.accept(&parcel), Err(ParcelRefusal::Package(_))));
    assert_eq!(table.said(1, 2), [], "not before anybody had to answer");
    table.settle();
    assert_eq!(table.said(1, 3), [Statement::Reject { dealer: 2 }]);
}

#[test]
fn a_restored_old_disk_continues_with_the_same_package_and_no_second_polynomial() {
    let mut table = Table::dealt(SEATS);
    let oldest = begin(1, &record(0)).unwrap().to_secret_bytes();
    table.exchange(|header| header.from == 3);
    let middle = table.seats[0].to_secret_bytes();
    let shares: Vec<[u8; 32]> = (1..=SEATS).map(|to| table.share(1, to)).collect();
    table.exchange(|_| false);
    let list = table.said(1, 2);
    assert!(matches!(list[..], [Statement::Confirm { .. }]));
    for state in [oldest, middle] {
        table.seats[0] = Ceremony::from_secret_bytes(&state).unwrap();
        assert_eq!((1..=SEATS).map(|to| table.share(1, to)).collect::<Vec<_>>(), shares);
        assert!(table.said(1, 2).is_empty(), "something is missing again");
        table.exchange(|_| false);
        table.exchange(|_| false);
        assert_eq!(table.said(1, 3), list, "and confirms what it would have confirmed");
    }
    // Another attempt, other seats or another seed: another polynomial.
    let package = |ceremony: &Ceremony| ceremony.own_package();
    let mut more = record(0);
    more.seats[3].gatekeeper = id(5);
    let other_seed = Ceremony::begin(&GENESIS, &id(1), &seed(2), &record(0)).unwrap();
    for other in [begin(1, &record(1)).unwrap(), begin(1, &more).unwrap(), other_seed] {
        assert_ne!(package(&other), package(&table.seats[0]));
        assert_ne!(other.dealt.share(2).unwrap().expose(), &shares[1]);
    }
}

#[test]
fn sealed_bytes_that_are_no_view_are_refused() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|_| false);
    let bytes = table.seats[0].to_secret_bytes();
    assert_eq!(bytes.expose().capacity(), bytes.expose().len(), "it outgrew no buffer");
    let bytes = bytes.expose().clone();
    let refused = |bytes: Vec<u8>| Ceremony::from_secret_bytes(&Secret::new(bytes)).err();
    assert_eq!(refused(bytes.clone()), None);
    for altered in [Vec::new(), bytes[1..].to_vec(), [&bytes[..], &[0]].concat()] {
        assert!(refused(altered).is_some());
    }
}

#[test]
fn a_transcript_that_does_not_hold_is_refused_for_what_is_wrong_with_it() {
    let mut table = Table::dealt(SEATS);
    let mut good = Transcript::default();
    let mut commit = record(0);
    good.observe(1, &commit);
    commit.seats[0].package = table.record.seats[0].package;
    good.observe(2, &commit);
    good.observe(3, &commit);
    table.exchange(|header| header.from == 2);
    good.observe(4, &table.record);
    let signed = begin(1, &record(0)).map(|mut seat| {
        let view = View {
            record: &record(0),
            head: 1,
            now: NOW,
            since: 0,
            identity: &identity(1),
            receiving: &receiving(1),
            peers: &table.peers,
            entropy: &Secret::new([9; 32]),
        };
        seat.step(&view).unwrap().statements
    });
    signed.unwrap().iter().for_each(|statement| good.note(statement));
    table.complain(1, 2);
    table.settle();
    (1..4).for_each(|seat: usize| table.record.seats[seat].confirmed = Some([5; 32]));
    good.observe(UNTIL, &table.record);
    let mut next = record(1);
    next.seats[1].left_out = Some(Fault::Absent);
    good.observe(UNTIL + 1, &next);
    assert_eq!((good.records.len(), good.statements.len()), (5, 1), "a record that is no news is not noted");

    let blamed = |transcript: &Transcript| {
        let outcome = verify_transcript(&GENESIS, transcript).unwrap();
        assert_eq!(outcome.root, None);
        outcome.blamed[&0].clone()
    };
    assert_eq!(blamed(&good), BTreeMap::from([(2, (Fault::Absent, Some(Reason::NotDelivered)))]));

    // What an exporter leaves out gives nobody a reason: the attempt's last record, an attempt, or what else was left out.
    let unexplained = BTreeMap::from([(2, (Fault::Absent, None))]);
    let without = |change: fn(&mut Transcript)| {
        let mut transcript = good.clone();
        change(&mut transcript);
        blamed(&transcript)
    };
    assert_eq!(without(|t| t.records[3].0 = UNTIL - 1), unexplained);
    assert_eq!(without(|t| drop(t.records.remove(3))), unexplained);
    assert_eq!(without(|t| t.records[4].1.attempt = 2), unexplained);
    assert_eq!(without(|t| t.records[3].1.seats[2].confirmed = None), unexplained, "the third would be left out too");
    let mut waiting = Transcript::default();
    waiting.observe(UNTIL - 1, &table.record);
    waiting.observe(UNTIL, &table.record);
    waiting.observe(UNTIL + 1, &table.record);
    assert_eq!(waiting.records.len(), 2, "that nothing was added until the end is news");

    // Whoever does not commit is left out when the phase ends, and nobody else is left out within an attempt.
    let late = |change: fn(&mut CeremonyRecord)| {
        let mut transcript = Transcript::default();
        let mut shown = record(0);
        (0..3).for_each(|position: usize| shown.seats[position].package = Some([1; 32]));
        transcript.observe(1, &shown);
        shown.phase = Phase::Share;
        change(&mut shown);
        transcript.observe(2, &shown);
        verify_transcript(&GENESIS, &transcript).map(|outcome| outcome.blamed)
    };
    let blamed = BTreeMap::from([(0, BTreeMap::from([(4, (Fault::Absent, Some(Reason::NotCommitted)))]))]);
    assert_eq!(late(|shown| shown.seats[3].left_out = Some(Fault::Absent)), Ok(blamed));
    let contradiction = Err(TranscriptError::Contradiction(1));
    assert_eq!(late(|shown| shown.seats[3].left_out = Some(Fault::WrongShare)), contradiction);
    assert_eq!(late(|shown| shown.seats[2].left_out = Some(Fault::Absent)), contradiction);

    let refused = |change: fn(&mut Transcript)| {
        let mut transcript = good.clone();
        change(&mut transcript);
        verify_transcript(&GENESIS, &transcript).err()
    };
    assert_eq!(refused(|t| t.records.clear()), Some(TranscriptError::Empty));
    let many = |t: &mut Transcript| t.statements = vec![t.statements[0]; MAX_TRANSCRIPT_STATEMENTS + 1];
    assert_eq!(refused(many), Some(TranscriptError::TooLong));
    for (accuser, dealer) in [(1, 2), (1, 1), (0, 1), (1, 5), (u16::MAX, 1)] {
        let mut transcript = good.clone();
        transcript.records[3].1.complaints.push(Complaint::new(accuser, dealer));
        assert_eq!(verify_transcript(&GENESIS, &transcript), Err(TranscriptError::Unsound(3)));
        let mut transcript = good.clone();
        transcript.records[3].1.seats[0].rejected = vec![2, if accuser == 1 { dealer } else { accuser }];
        assert_eq!(verify_transcript(&GENESIS, &transcript), Err(TranscriptError::Unsound(3)));
    }
    assert_eq!(refused(|t| t.records[4].0 = UNTIL), Some(TranscriptError::Contradiction(4)), "two at one block");
    assert_eq!(refused(|t| t.records[1].1.threshold = 2), Some(TranscriptError::Unsound(1)));
    assert_eq!(refused(|t| t.records[1].1.era = 2), Some(TranscriptError::OtherCeremony(1)));
    assert_eq!(refused(|t| t.records[1].1.seats.swap(0, 1)), Some(TranscriptError::OtherCeremony(1)));
    assert_eq!(refused(|t| t.records[2].0 = 1), Some(TranscriptError::OutOfOrder(2)));
    assert_eq!(refused(|t| t.records.swap(0, 2)), Some(TranscriptError::OutOfOrder(1)));
    assert_eq!(refused(|t| t.records[2].1.seats[0].package = Some([1; 32])), Some(TranscriptError::Contradiction(2)));
    assert_eq!(refused(|t| t.records[3].1.seats[3].package = None), Some(TranscriptError::Contradiction(3)));
    assert_eq!(refused(|t| t.records[0].1.seats[0].confirmed = Some([1; 32])), Some(TranscriptError::Contradiction(0)));
    assert_eq!(refused(|t| t.records[2].1.complaints.push(Complaint::new(1, 3))), {
        Some(TranscriptError::Contradiction(3))
    });
    assert_eq!(refused(|t| t.statements[0].attempt = 7), Some(TranscriptError::NoSuchSeat(0)));
    assert_eq!(refused(|t| t.statements[0].index = 9), Some(TranscriptError::NoSuchSeat(0)));
    assert_eq!(refused(|t| t.statements[0].index = 2), Some(TranscriptError::BadSignature(0)));
    let restated = |t: &mut Transcript| {
        let unsigned = SignedStatement { statement: Statement::Commit { package: [1; 32] }, ..t.statements[0] };
        t.statements[0] =
            SignedStatement { signature: identity(1).sign(&unsigned.signing_payload(&GENESIS)), ..unsigned };
    };
    assert_eq!(refused(restated), Some(TranscriptError::OtherStatement(0)));
}
