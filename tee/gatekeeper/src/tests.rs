//! Who gets which keys, and what keys and seats are bound to.
//!
//! The evidence is INSECURE: genuine formats under the published development root, so the genesis of these tests is marked as a
//! development one. The delay that other networks put before a new measurement is tested on its own function.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod age;
mod answers;
mod kept;
mod refusals;
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
use phala_crypto::{prf::KeyShare, signature::ed25519::IdentityKey, xwing::DecapsulationKey, Secret};
use phala_insecure_tee::{InsecureMachine, InsecureVendor, Processor, QuoteFields, QuoteSigner};
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Listing, Registration, Role, Version},
    chain_state::{AllowedMeasurement, ClusterRecord, RootRecord, WorkerRecord},
    ids::BlockNumber,
    keys::{answer_key_hash, KeyAnswer, KeyPurpose, KeyRequest, SignedKeyRequest},
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

fn advisory(id: &str) -> Advisory {
    Advisory::decode(&mut &id.encode()[..]).unwrap()
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
