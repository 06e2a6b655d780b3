//! What a seat says, takes and refuses, case by case. `testing/keys-sim` runs whole ceremonies among liars.
//!
//! The evidence is INSECURE: genuine formats under the published development root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod beacon;
mod derivations;
mod disputes;
mod introductions;
mod parcels;

use super::*;
use crate::{verify_introduction, Facts, ReceivingKey, VerifiedPeer, Verifier};
use codec::Encode;
use phala_attest::{AcceptedStatuses, AdvisoryPolicy, Bans, DevelopmentGenesis, Evidence, PolicyTerms};
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
        delivery_hash, package_hash, Attachment, CeremonyAttempt, CeremonyRecord, Complaint, Confirmed, Fault,
        Introduction, Parcel, ParcelHeader, ParcelKind, Phase, Reason, SignedStatement, Statement, LAST_CALL_BLOCKS,
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

    /// The same gatekeeper in another attempt.
    pub(crate) fn announcing(mut self, index: u16, of: CeremonyAttempt) -> Self {
        self.introduction.announced = receiving(index, of).announce(&identity(index));
        self
    }

    pub(crate) fn verified(&self, index: u16) -> VerifiedPeer {
        verify_introduction(&id(index), &self.introduction, &self.facts, &mut Verifier::default()).ok().unwrap()
    }
}

fn evidence(machine: &InsecureMachine, registration: &Registration) -> Vec<u8> {
    Evidence::TdxDcap(machine.quote(registration.report_data(&GENESIS)).try_into().unwrap()).encode()
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
