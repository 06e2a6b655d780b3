//! Who gets keys, who does not and why, and what a worker makes of an answer.
//!
//! The evidence is INSECURE: genuine formats under the published development root, so the genesis of these tests is marked as a
//! development one. The delay that other networks put before a new measurement is tested on its own function.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod age;
mod kept;
mod several;
mod sgx;

use crate::{
    open_grant, policy::is_allowed, verify_request, Facts, GrantError, Grants, Refusal, Seat, SeatError, Verifier,
    MEASUREMENT_DELAY_BLOCKS,
};
use codec::{Decode, Encode};
use phala_attest::{
    AcceptedStatuses, Advisory, AdvisoryPolicy, Ban, Bans, DevelopmentGenesis, Evidence, PolicyTerms, Root, Subject,
    TcbStatus, Vendor,
};
use phala_crypto::{
    hpke,
    prf::KeyShare,
    signature::ed25519::IdentityKey,
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_insecure_tee::{InsecureMachine, InsecureVendor, Processor, QuoteFields, QuoteSigner};
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Listing, Registration, Role, Version},
    chain_state::{AllowedMeasurement, ClusterRecord, RootRecord, WorkerRecord},
    ids::BlockNumber,
    keys::{answer_key_hash, Evaluation, KeyAnswer, KeyGrant, KeyPurpose, KeyRequest, SignedKeyRequest},
    relay::KeyInquiry,
    AccountId, ClusterId, Epoch, Hash, WorkerId,
};

const GENESIS: Hash = [7; 32];
const NOW: u64 = 1_790_000_000;
const CLUSTER: ClusterId = ClusterId(3);
const GATEKEEPER: WorkerId = WorkerId([0x6a; 32]);
const OPERATOR: AccountId = AccountId([0x0f; 32]);

fn token(genesis: Hash) -> DevelopmentGenesis {
    DevelopmentGenesis::for_genesis(genesis, &[genesis]).unwrap()
}

fn lone_seat() -> Seat {
    Seat::lone(token(GENESIS), 0, &Secret::new([9; 32])).unwrap()
}

/// A worker with a simulated machine, and what the chain says of it.
struct Worker {
    machine: InsecureMachine,
    signing: IdentityKey,
    receiving: DecapsulationKey,
    /// What answers to its requests are sealed to; a worker that ships draws one for each.
    answers: DecapsulationKey,
}

impl Worker {
    fn new() -> Self {
        Self::numbered(1)
    }

    fn numbered(number: u8) -> Self {
        Self {
            machine: InsecureMachine::new(&format!("machine {number}"), b"the binary", NOW).unwrap(),
            signing: IdentityKey::from_seed(&Secret::new([number; 32])),
            receiving: DecapsulationKey::from_seed(&Secret::new([number + 100; 32])),
            answers: DecapsulationKey::from_seed(&Secret::new([number + 50; 32])),
        }
    }

    fn id(&self) -> WorkerId {
        WorkerId(self.signing.public())
    }

    fn registration(&self) -> Registration {
        Registration {
            role: Role::Worker,
            identity: self.id(),
            encryption_key: encryption_key_hash(self.receiving.public_key()),
            operator: OPERATOR,
            block: 90,
            block_hash: [0x90; 32],
        }
    }

    fn evidence(&self, registration: &Registration) -> Vec<u8> {
        let quote = self.machine.quote(registration.report_data(&GENESIS));
        Evidence::TdxDcap(quote.try_into().unwrap()).encode()
    }

    fn request(&self, epoch: Epoch) -> KeyRequest {
        KeyRequest {
            genesis: GENESIS,
            worker: self.id(),
            gatekeeper: GATEKEEPER,
            cluster: CLUSTER,
            era: 0,
            epoch,
            nonce: [5; 32],
            answer_key: answer_key_hash(self.answers.public_key()),
            at: 98,
        }
    }

    /// A request for the next epoch, made at a later head.
    fn later(&self, epoch: Epoch, at: BlockNumber) -> KeyRequest {
        KeyRequest { at, ..self.request(epoch) }
    }

    fn sign(&self, request: KeyRequest) -> SignedKeyRequest {
        SignedKeyRequest {
            request,
            public_key: self.answers.public_key().to_vec(),
            signature: self.signing.sign(&request.signing_payload()),
        }
    }

    fn inquiry(&self, request: KeyRequest) -> KeyInquiry {
        let registration = self.registration();
        KeyInquiry {
            request: self.sign(request),
            registration,
            evidence: self.evidence(&registration),
            collateral: self.machine.collateral().encode(),
        }
    }

    fn facts(&self, seat: &Seat) -> Facts {
        Facts {
            genesis: GENESIS,
            gatekeeper: GATEKEEPER,
            head: (100, [0x64; 32]),
            now: NOW,
            development: Some(token(GENESIS)),
            terms: PolicyTerms { accepted: AcceptedStatuses::UP_TO_DATE, minimum_tcb_evaluation_number: 0 },
            advisories: AdvisoryPolicy::default(),
            bans: Bans::default(),
            root: Some(seat.root_record(vec![GATEKEEPER])),
            coming_era: Some(seat.era()),
            cluster: Some(ClusterRecord {
                era: seat.era(),
                era_before: seat.era(),
                epoch: 5,
                opened_at: 80,
                opened_count: 4,
                final_count: 4,
                bound_epoch: 5,
                epoch_length: 1_000,
                envelope_key: Vec::new(),
                replicas: vec![WorkerId([0xaa; 32]), self.id()],
            }),
            worker: Some(WorkerRecord {
                role: Role::Worker,
                operator: OPERATOR,
                encryption_key: encryption_key_hash(self.receiving.public_key()),
                measurement: self.machine.measurement(),
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
            seen_since: None,
        }
    }

    fn open(&self, request: &KeyRequest, root: &RootRecord, answer: &KeyAnswer) -> Result<Grants, GrantError> {
        let mut grants = Grants::default();
        grants.add(open_grant(&self.answers, request, root, answer)?);
        Ok(grants)
    }
}

/// Asks a gatekeeper that has seen nothing before.
fn ask(seat: &Seat, inquiry: &KeyInquiry, facts: &Facts) -> Result<KeyAnswer, Refusal> {
    ask_again(seat, inquiry, facts, &mut Verifier::default())
}

/// Asks one that remembers what `verifier` saw.
fn ask_again(seat: &Seat, inquiry: &KeyInquiry, facts: &Facts, verifier: &mut Verifier) -> Result<KeyAnswer, Refusal> {
    let signed = verify_request(inquiry.clone(), &facts.genesis, &facts.gatekeeper)?;
    seat.answer(&signed, facts, verifier, &[11; 32], &[12; 64])
}

/// The keys that a worker gets from the lone seat.
fn keys(seat: &Seat, request: KeyRequest, alter: impl FnOnce(&mut Facts)) -> [Option<Secret<[u8; 32]>>; 4] {
    let worker = Worker::new();
    let mut facts = worker.facts(seat);
    alter(&mut facts);
    let answer = ask(seat, &worker.inquiry(request), &facts).unwrap();
    let grants = worker.open(&request, facts.root.as_ref().unwrap(), &answer).unwrap();
    KeyPurpose::ALL.map(|purpose| grants.key(1, purpose))
}

fn all(keys: [Option<Secret<[u8; 32]>>; 4]) -> [[u8; 32]; 4] {
    keys.map(|key| *key.unwrap().expose())
}

#[test]
fn an_assigned_worker_gets_all_four_keys_of_the_open_epoch() {
    let worker = Worker::new();
    let seat = lone_seat();
    let (request, facts) = (worker.request(5), worker.facts(&seat));
    let answer = ask(&seat, &worker.inquiry(request), &facts).unwrap();
    let opened = open_grant(&worker.answers, &request, facts.root.as_ref().unwrap(), &answer).unwrap();
    assert_eq!(opened.head, facts.head);
    let mut grants = Grants::default();
    assert!(grants.is_empty());
    grants.add(opened);
    assert_eq!(grants.len(), 1);
    let keys = all(KeyPurpose::ALL.map(|purpose| grants.key(1, purpose)));
    for (index, key) in keys.iter().enumerate() {
        assert!(keys.iter().skip(index + 1).all(|other| other != key), "each purpose has its own key");
    }
    assert!(grants.key(2, KeyPurpose::Envelope).is_none(), "one answer is not two");
    assert!(!answer.encode().windows(32).any(|window| keys.iter().any(|key| key == window)));
}

#[test]
fn keys_repeat_exactly_and_differ_by_cluster_epoch_and_root() {
    let worker = Worker::new();
    let seat = lone_seat();
    let base = all(keys(&seat, worker.request(5), |_| {}));
    let again = KeyRequest { nonce: [6; 32], ..worker.request(5) };
    assert_eq!(base, all(keys(&seat, again, |_| {})), "another request, the same keys");

    let elsewhere = KeyRequest { cluster: ClusterId(4), ..worker.request(5) };
    let later = keys(&seat, worker.later(6, 1_080), |facts| facts.head.0 = 1_080);
    let other_root = Seat::lone(token(GENESIS), 0, &Secret::new([10; 32])).unwrap();
    let other_era = Seat::lone(token(GENESIS), 1, &Secret::new([9; 32])).unwrap();
    let others = [
        keys(&seat, elsewhere, |_| {}),
        later,
        keys(&other_root, worker.request(5), |_| {}),
        keys(&other_era, KeyRequest { era: 1, ..worker.request(5) }, |_| {}),
    ];
    for other in others.map(all) {
        assert!(base.iter().all(|key| !other.contains(key)));
    }
}

#[test]
fn the_input_of_a_key_binds_the_genesis() {
    let share = KeyShare::from_bytes(1, &Secret::new([1; 32])).unwrap();
    let point =
        |genesis| share.partial(&crate::seat::prf_input(&genesis, 0, CLUSTER, 5, KeyPurpose::Storage), &[0; 32]).point;
    assert_eq!(point(GENESIS), point(GENESIS));
    assert_ne!(point(GENESIS), point([8; 32]));
}

#[test]
fn a_seat_survives_sealing_and_refuses_other_bytes() {
    let worker = Worker::new();
    let seat = lone_seat();
    let restored = Seat::from_secret_bytes(&seat.to_secret_bytes()).unwrap();
    assert!(restored.is_recorded_as(&seat.root_record(vec![GATEKEEPER])));
    assert_eq!(all(keys(&seat, worker.request(5), |_| {})), all(keys(&restored, worker.request(5), |_| {})));

    let bytes = seat.to_secret_bytes().expose().clone();
    let longer = [&bytes[..], &[0]].concat();
    let mut not_a_scalar = bytes.clone();
    not_a_scalar[16..48].fill(0xff);
    let mut no_index = bytes.clone();
    no_index[14..16].fill(0);
    // As it was sealed when there was a root alone; and another form than this.
    let former = bytes[8..bytes.len() - 1].to_vec();
    let mut other_form = bytes.clone();
    other_form[6] += 1;
    let refused = [bytes[..bytes.len() - 1].to_vec(), longer, not_a_scalar, no_index, former, other_form, Vec::new()];
    for altered in refused {
        assert_eq!(Seat::from_secret_bytes(&Secret::new(altered)).err(), Some(SeatError::Malformed));
    }
}

#[test]
fn a_seat_knows_its_own_root_alone() {
    let seat = lone_seat();
    let record = seat.root_record(vec![GATEKEEPER]);
    assert!(seat.is_recorded_as(&record));
    assert!(!seat.is_recorded_as(&RootRecord { era: 1, ..record.clone() }));
    assert!(!seat.is_recorded_as(&RootRecord { threshold: 2, ..record.clone() }));
    assert!(!seat.is_recorded_as(&RootRecord { share_list: [0; 32], ..record }));
}

/// Everything that an inquiry is judged by.
struct Case {
    worker: Worker,
    inquiry: KeyInquiry,
    facts: Facts,
}

impl Case {
    fn request(&mut self, change: impl FnOnce(&mut KeyRequest)) {
        let mut request = self.inquiry.request.request;
        change(&mut request);
        self.inquiry.request = self.worker.sign(request);
    }

    /// Changes the registration, and makes evidence that binds it as it is now.
    fn registration(&mut self, change: impl FnOnce(&mut Registration)) {
        change(&mut self.inquiry.registration);
        self.inquiry.evidence = self.worker.evidence(&self.inquiry.registration);
    }

    fn record(&mut self) -> &mut WorkerRecord {
        self.facts.worker.as_mut().unwrap()
    }

    fn cluster(&mut self) -> &mut ClusterRecord {
        self.facts.cluster.as_mut().unwrap()
    }

    fn listed(&mut self) -> &mut AllowedMeasurement {
        self.facts.measurement.as_mut().unwrap()
    }

    fn bar(&mut self, subject: Subject) {
        self.facts.bans.put(Ban { subject, from: 0, until: None }, 0).unwrap();
    }

    /// The machine's TDX module is out of date, which the terms accept.
    fn outdated(&mut self) {
        self.facts.terms.accepted = AcceptedStatuses::UP_TO_DATE.with(TcbStatus::OutOfDate);
        let mut fields = QuoteFields::of(b"the binary");
        fields.report.tee_tcb_svn[0] = 2;
        fields.report.report_data = self.inquiry.registration.report_data(&GENESIS);
        let signer = QuoteSigner::new(&InsecureVendor::new().unwrap(), &Processor::named("machine 1")).unwrap();
        self.inquiry.evidence = Evidence::TdxDcap(signer.sign(&fields).try_into().unwrap()).encode();
    }
}

fn advisory(id: &str) -> Advisory {
    Advisory::decode(&mut &id.encode()[..]).unwrap()
}

#[test]
fn each_check_refuses_on_its_own() {
    type Mutation = fn(&mut Case);
    let cases: &[(&str, Refusal, Mutation)] = &[
        ("request of another chain", Refusal::WrongAddressee, |c| c.request(|r| r.genesis = [8; 32])),
        ("facts of another chain", Refusal::WrongAddressee, |c| c.facts.genesis = [8; 32]),
        ("request to another gatekeeper", Refusal::WrongAddressee, |c| c.request(|r| r.gatekeeper = WorkerId([1; 32]))),
        ("altered signature", Refusal::BadSignature, |c| c.inquiry.request.signature[0] ^= 1),
        ("signed before it was altered", Refusal::BadSignature, |c| c.inquiry.request.request.nonce = [1; 32]),
        ("in the name of another worker", Refusal::BadSignature, |c| {
            c.request(|r| r.worker = WorkerId(IdentityKey::from_seed(&Secret::new([77; 32])).public()));
        }),
        ("another block than was signed", Refusal::BadSignature, |c| c.inquiry.request.request.at += 1),
        ("request of long ago", Refusal::Stale { at: 39, head: 100 }, |c| c.request(|r| r.at = 39)),
        ("request that was recorded", Refusal::Stale { at: 98, head: 159 }, |c| c.facts.head.0 = 159),
        ("not registered", Refusal::NotRegistered, |c| c.facts.worker = None),
        ("registered as a gatekeeper", Refusal::NotRegistered, |c| c.record().role = Role::Gatekeeper),
        ("lapsed", Refusal::Lapsed, |c| c.record().valid_until = NOW),
        ("another's key to answer to", Refusal::BadEncryptionKey, |c| {
            let other = DecapsulationKey::from_seed(&Secret::new([3; 32]));
            c.inquiry.request.public_key = other.public_key().to_vec();
        }),
        ("another's key to answer to, with its hash", Refusal::BadSignature, |c| {
            let other = DecapsulationKey::from_seed(&Secret::new([3; 32]));
            c.inquiry.request.public_key = other.public_key().to_vec();
            c.inquiry.request.request.answer_key = answer_key_hash(other.public_key());
        }),
        ("long-lived key to answer to", Refusal::BadEncryptionKey, |c| {
            c.inquiry.request.public_key = c.worker.receiving.public_key().to_vec();
        }),
        ("signed key that is none", Refusal::BadEncryptionKey, |c| {
            c.request(|r| r.answer_key = answer_key_hash(&[1, 2, 3]));
            c.inquiry.request.public_key = vec![1, 2, 3];
        }),
        ("signed key that nobody can seal to", Refusal::BadEncryptionKey, |c| {
            c.request(|r| r.answer_key = answer_key_hash(&[0xff; 1_216]));
            c.inquiry.request.public_key = vec![0xff; 1_216];
        }),
        ("no such cluster", Refusal::NotAssigned, |c| c.facts.cluster = None),
        ("cluster of others", Refusal::NotAssigned, |c| c.cluster().replicas = vec![WorkerId([0xaa; 32])]),
        ("cluster of nobody", Refusal::NotAssigned, |c| c.cluster().replicas.clear()),
        ("no collateral", Refusal::Collateral, |c| c.inquiry.collateral.clear()),
        ("garbage for collateral", Refusal::Collateral, |c| c.inquiry.collateral = vec![0xff; 100]),
        ("bytes after the collateral", Refusal::Collateral, |c| c.inquiry.collateral.push(0)),
        ("altered collateral", Refusal::Collateral, |c| c.inquiry.collateral[100] ^= 1),
        ("expired collateral", Refusal::Collateral, |c| {
            c.facts.now = NOW + 31 * 86_400;
            let until = c.facts.now + 1;
            c.record().valid_until = until;
        }),
        ("simulated on a network that is no development one", Refusal::Collateral, |c| c.facts.development = None),
        ("no evidence", Refusal::Evidence, |c| c.inquiry.evidence.clear()),
        ("bytes after the evidence", Refusal::Evidence, |c| c.inquiry.evidence.push(0)),
        ("altered evidence", Refusal::Evidence, |c| c.inquiry.evidence[700] ^= 1),
        ("a level that governance does not accept", Refusal::Evidence, |c| {
            c.facts.terms.minimum_tcb_evaluation_number = u32::MAX;
        }),
        ("evidence of another block than it says", Refusal::WrongReportData, |c| c.inquiry.registration.block = 91),
        ("registration of another identity", Refusal::WrongReportData, |c| {
            c.registration(|r| r.identity = WorkerId([1; 32]));
        }),
        ("registration of another operator", Refusal::WrongReportData, |c| {
            c.registration(|r| r.operator = AccountId([1; 32]));
        }),
        ("registration of another key", Refusal::WrongReportData, |c| c.registration(|r| r.encryption_key = [1; 32])),
        ("registered with another key", Refusal::WrongReportData, |c| c.record().encryption_key = [1; 32]),
        ("registration as a gatekeeper", Refusal::WrongReportData, |c| c.registration(|r| r.role = Role::Gatekeeper)),
        ("another program", Refusal::WrongMeasurement, |c| {
            let other = InsecureMachine::new("a machine", b"another binary", NOW).unwrap();
            let quote = other.quote(c.inquiry.registration.report_data(&GENESIS));
            c.inquiry.evidence = Evidence::TdxDcap(quote.try_into().unwrap()).encode();
        }),
        ("vendor is revoked", Refusal::Barred, |c| c.bar(Subject::Vendor(Vendor::IntelTdx))),
        ("root is ended", Refusal::Barred, |c| c.bar(Subject::Root(Root::InsecureDevelopment))),
        ("measurement is suspended", Refusal::Barred, |c| {
            let subject = Subject::Measurement(c.record().measurement);
            let ban = Ban { subject, from: 100, until: Some(100) };
            c.facts.bans.put(ban, 100).unwrap();
        }),
        ("collateral of a generation that is shut out", Refusal::Barred, |c| {
            c.bar(Subject::Evaluation { vendor: Vendor::IntelTdx, below: 2 });
        }),
        ("forbidden advisory", Refusal::Advisory, |c| {
            c.outdated();
            c.facts.advisories.forbidden = vec![advisory("INSECURE-SA-00001")].try_into().unwrap();
        }),
        ("measurement not listed", Refusal::MeasurementNotAllowed, |c| c.facts.measurement = None),
        ("measurement not yet accepted", Refusal::MeasurementNotAllowed, |c| c.listed().not_before = 101),
        ("measurement after its sunset", Refusal::MeasurementNotAllowed, |c| c.listed().sunset = Some(99)),
        ("measurement listed for gatekeepers", Refusal::RoleNotAllowed, |c| {
            c.facts.listing.as_mut().unwrap().role = Some(Role::Gatekeeper);
        }),
        ("measurement of whose listing nothing is known", Refusal::RoleNotAllowed, |c| c.facts.listing = None),
        // The simulator's documents are of evaluation 1.
        ("collateral over the cap", Refusal::EvaluationTooEarly, |c| c.facts.evaluation_cap = Some(0)),
        ("epoch that was", Refusal::EpochNotOpen, |c| c.request(|r| r.epoch = 3)),
        ("epoch before the first", Refusal::EpochNotOpen, |c| c.request(|r| r.epoch = 0)),
        ("epoch after the next", Refusal::EpochNotOpen, |c| c.request(|r| r.epoch = 7)),
        ("next epoch before its lead", Refusal::EpochNotOpen, |c| {
            c.request(|r| (r.epoch, r.at) = (6, 1_049));
            c.facts.head.0 = 1_049;
        }),
        ("request of another era", Refusal::WrongEra, |c| c.request(|r| r.era = 1)),
        ("open epoch of another era", Refusal::WrongEra, |c| c.cluster().era = 1),
        ("next epoch of the era that comes", Refusal::WrongEra, |c| {
            c.request(|r| (r.epoch, r.at) = (6, 1_050));
            c.facts.head.0 = 1_050;
            c.facts.coming_era = Some(1);
        }),
        ("epoch before, of another era", Refusal::WrongEra, |c| {
            c.request(|r| r.epoch = 4);
            c.cluster().era_before = 1;
        }),
        ("no era known to come", Refusal::WrongEra, |c| c.facts.coming_era = None),
        ("no root", Refusal::RootNotRecorded, |c| c.facts.root = None),
        ("another root", Refusal::RootNotRecorded, |c| {
            let other = Seat::lone(token(GENESIS), 0, &Secret::new([1; 32])).unwrap();
            c.facts.root = Some(other.root_record(vec![GATEKEEPER]));
        }),
    ];
    let seat = lone_seat();
    for (name, refusal, mutate) in cases {
        let worker = Worker::new();
        let mut case = Case { inquiry: worker.inquiry(worker.request(5)), facts: worker.facts(&seat), worker };
        let mut remembers = Verifier::default();
        assert!(ask_again(&seat, &case.inquiry, &case.facts, &mut remembers).is_ok(), "{name}: unaltered");
        assert_eq!(remembers.machines(), 1);
        mutate(&mut case);
        let mut knows_nothing = Verifier::default();
        let refused = ask_again(&seat, &case.inquiry, &case.facts, &mut knows_nothing);
        assert_eq!((refused.err(), knows_nothing.machines()), (Some(*refusal), 0), "{name}");
        let refused = ask_again(&seat, &case.inquiry, &case.facts, &mut remembers);
        assert_eq!(refused.err(), Some(*refusal), "{name}: of a machine that was verified before");
    }
}

#[test]
fn the_epoch_before_gives_its_storage_key_alone_unless_it_closes() {
    let worker = Worker::new();
    let seat = lone_seat();
    let given = |keys: [Option<Secret<[u8; 32]>>; 4]| keys.map(|key| key.is_some());
    assert_eq!(given(keys(&seat, worker.request(4), |_| {})), [false, true, false, false]);
    let closing = keys(&seat, worker.request(4), |facts| facts.cluster.as_mut().unwrap().final_count = 3);
    assert_eq!(given(closing), [true; 4]);
    let next = keys(&seat, worker.later(6, 1_050), |facts| facts.head.0 = 1_050);
    assert_eq!(given(next), [true; 4], "within the lead");
}

#[test]
fn a_new_measurement_waits_except_on_a_development_network() {
    let listed = 1_000;
    let entry = AllowedMeasurement { source: [0; 32], listed_at: listed, not_before: 0, sunset: None };
    let due = listed + MEASUREMENT_DELAY_BLOCKS;
    let seen = Some(listed);
    assert!(is_allowed(&entry, seen, listed, true) && is_allowed(&entry, None, listed, true));
    assert!(!is_allowed(&entry, seen, listed, false) && !is_allowed(&entry, seen, due - 1, false));
    assert!(is_allowed(&entry, seen, due, false));
    assert!(!is_allowed(&entry, None, due, false), "what the chain says alone is not enough");
    assert!(!is_allowed(&entry, Some(listed + 1), due, false) && is_allowed(&entry, Some(listed + 1), due + 1, false));
    let sunset = AllowedMeasurement { sunset: Some(due), ..entry };
    assert!(is_allowed(&sunset, seen, due, false) && !is_allowed(&sunset, seen, due + 1, false));
    let never = AllowedMeasurement { listed_at: u32::MAX, ..entry };
    assert!(!is_allowed(&never, seen, u32::MAX, false), "an overflow is not an early date");
    assert!(!is_allowed(&entry, Some(u32::MAX), u32::MAX, false), "nor is one of the sight");
    // And so is asked of a request, whose facts say what this gatekeeper has seen.
    let facts = |seen_since, now| {
        let known = Worker::new().facts(&lone_seat());
        Facts { development: None, head: (now, [0x64; 32]), measurement: Some(entry), seen_since, ..known }
    };
    let refused = Err(Refusal::MeasurementNotAllowed);
    assert_eq!(facts(Some(listed + 1), due).check_listed(Role::Worker), refused);
    assert_eq!(facts(None, due).check_listed(Role::Worker), refused);
    assert_eq!(facts(seen, due - 1).check_listed(Role::Worker), refused);
    assert_eq!(facts(seen, due).check_listed(Role::Worker), Ok(()));
}

/// An answer to `request` with a plaintext that the test chose, sealed as a gatekeeper would.
fn forge(worker: &Worker, request: &KeyRequest, plaintext: &[u8]) -> KeyAnswer {
    let recipient = EncapsulationKey::from_bytes(worker.answers.public_key()).unwrap();
    let (encapsulated, context) = hpke::setup_sender(&recipient, &crate::seat::answer_info(&GENESIS), &[1; 64]);
    let (body, _) = context.seal(&request.signing_payload(), plaintext).unwrap();
    KeyAnswer { encapsulated: encapsulated.to_vec(), body }
}

fn plaintext(worker: &Worker, request: &KeyRequest, answer: &KeyAnswer) -> KeyGrant {
    let encapsulated = answer.encapsulated.as_slice().try_into().unwrap();
    let context = hpke::setup_receiver(&worker.answers, encapsulated, &crate::seat::answer_info(&GENESIS));
    let (plaintext, _) = context.open(&request.signing_payload(), &answer.body).unwrap();
    KeyGrant::decode(&mut plaintext.expose().as_slice()).unwrap()
}

#[test]
fn a_worker_refuses_what_does_not_answer_it() {
    let worker = Worker::new();
    let seat = lone_seat();
    let (request, facts) = (worker.request(5), worker.facts(&seat));
    let root = facts.root.clone().unwrap();
    let answer = ask(&seat, &worker.inquiry(request), &facts).unwrap();
    let open = |request: &KeyRequest, root: &RootRecord, answer: &KeyAnswer| {
        open_grant(&worker.answers, request, root, answer).err()
    };
    assert_eq!(open(&request, &root, &answer), None);

    let newer = KeyRequest { nonce: [6; 32], ..request };
    assert_eq!(open(&newer, &root, &answer), Some(GrantError::Unauthentic), "answers another request");
    let elsewhere = KeyRequest { genesis: [8; 32], ..request };
    assert_eq!(open(&elsewhere, &root, &answer), Some(GrantError::Unauthentic));
    let stranger = DecapsulationKey::from_seed(&Secret::new([3; 32]));
    assert_eq!(open_grant(&stranger, &request, &root, &answer).err(), Some(GrantError::Unauthentic));
    let long_lived = open_grant(&worker.receiving, &request, &root, &answer).err();
    assert_eq!(long_lived, Some(GrantError::Unauthentic), "what the chain registers opens none");
    for position in [0, answer.body.len() / 2, answer.body.len() - 1] {
        let mut altered = answer.clone();
        altered.body[position] ^= 1;
        assert_eq!(open(&request, &root, &altered), Some(GrantError::Unauthentic));
    }
    let cut = KeyAnswer { encapsulated: answer.encapsulated[1..].to_vec(), body: answer.body.clone() };
    assert_eq!(open(&request, &root, &cut), Some(GrantError::Malformed));

    let wrong_root = Some(GrantError::WrongRoot);
    assert_eq!(open(&request, &RootRecord { era: 1, ..root.clone() }, &answer), wrong_root);
    assert_eq!(open(&request, &RootRecord { threshold: 2, ..root.clone() }, &answer), wrong_root);
    assert_eq!(open(&request, &RootRecord { share_list: [0; 32], ..root.clone() }, &answer), wrong_root);
    let others = RootRecord { seats: vec![WorkerId([1; 32])], ..root.clone() };
    assert_eq!(open(&request, &others, &answer), Some(GrantError::NoSuchSeat), "from another seat than was asked");

    let grant = plaintext(&worker, &request, &answer);
    let forged = |change: fn(&mut KeyGrant)| {
        let mut grant = grant.clone();
        change(&mut grant);
        open(&request, &root, &forge(&worker, &request, &grant.encode()))
    };
    assert_eq!(forged(|_| {}), None);
    assert_eq!(forged(|grant| grant.request = [0; 32]), Some(GrantError::Malformed));
    assert_eq!(forged(|grant| grant.era = 1), wrong_root);
    assert_eq!(forged(|grant| grant.shares = Vec::new()), wrong_root);
    assert_eq!(forged(|grant| grant.index = 0), Some(GrantError::NoSuchSeat));
    assert_eq!(forged(|grant| grant.index = 2), Some(GrantError::NoSuchSeat));
    let wrong = Some(GrantError::WrongEvaluation);
    assert_eq!(forged(|grant| grant.evaluations[0].proof[0] ^= 1), wrong);
    assert_eq!(forged(|grant| grant.evaluations[0].point = [0; 32]), wrong);
    assert_eq!(forged(|grant| grant.evaluations.swap(0, 1)), None, "order means nothing");
    let exchanged = |grant: &mut KeyGrant| {
        (grant.evaluations[0].purpose, grant.evaluations[2].purpose) = (KeyPurpose::Commit, KeyPurpose::Envelope);
    };
    assert_eq!(forged(exchanged), wrong, "each is proved for its purpose");
    // Nobody proves anything by what it leaves out, and nobody makes the worker verify more than there is.
    let purposes = Some(GrantError::WrongPurposes);
    assert_eq!(forged(|grant| grant.evaluations.clear()), purposes);
    assert_eq!(forged(|grant| grant.evaluations.truncate(3)), purposes);
    assert_eq!(forged(|grant| grant.evaluations.truncate(2)), purposes);
    assert_eq!(forged(|grant| grant.evaluations.truncate(1)), purposes, "another key than the storage key alone");
    assert_eq!(forged(|grant| grant.evaluations.push(grant.evaluations[0])), purposes, "one twice beside the others");
    assert_eq!(forged(|grant| grant.evaluations[0] = grant.evaluations[1]), purposes, "one twice in another's place");
    assert_eq!(forged(|grant| grant.evaluations = vec![grant.evaluations[1]; 100]), purposes);
    assert_eq!(forged(|grant| grant.evaluations = vec![grant.evaluations[1]]), None, "the storage key alone");
    let storage_of_another = |grant: &mut KeyGrant| {
        grant.evaluations = vec![Evaluation { purpose: KeyPurpose::Storage, ..grant.evaluations[0] }];
    };
    assert_eq!(forged(storage_of_another), wrong);
    let longer = [grant.encode(), vec![0]].concat();
    assert_eq!(open(&request, &root, &forge(&worker, &request, &longer)), Some(GrantError::Malformed));
    assert_eq!(open(&request, &root, &forge(&worker, &request, &[])), Some(GrantError::Malformed));
}

#[test]
fn what_a_seat_gave_is_not_taken_away_by_an_answer_with_less() {
    let worker = Worker::new();
    let seat = lone_seat();
    let (request, facts) = (worker.request(5), worker.facts(&seat));
    let root = facts.root.clone().unwrap();
    let whole = ask(&seat, &worker.inquiry(request), &facts).unwrap();
    let mut grant = plaintext(&worker, &request, &whole);
    grant.evaluations.retain(|evaluation| evaluation.purpose == KeyPurpose::Storage);
    let less = forge(&worker, &request, &grant.encode());
    let opened = |answer: &KeyAnswer| open_grant(&worker.answers, &request, &root, answer).unwrap();
    assert!(opened(&whole).is_whole() && !opened(&less).is_whole());
    let given = |answers: &[&KeyAnswer]| {
        let mut grants = Grants::default();
        for answer in answers {
            grants.add(opened(answer));
        }
        assert_eq!(grants.len(), 1);
        KeyPurpose::ALL.map(|purpose| grants.key(1, purpose).map(|key| *key.expose()))
    };
    let keys = given(&[&whole]);
    assert!(keys.iter().all(Option::is_some));
    assert_eq!(given(&[&less]), [None, keys[1], None, None]);
    for answers in [[&whole, &less], [&less, &whole]] {
        assert_eq!(given(&answers), keys);
    }
    // Only what is not here yet is news, of which keys are made.
    let mut grants = Grants::default();
    let news = [&less, &less, &whole, &less, &whole].map(|answer| grants.add(opened(answer)));
    assert_eq!(news, [true, false, true, false, false]);
}
