//! A worker before its relayer: whole deliveries, altered anywhere.
//!
//! Holds: nothing panics; after any delivery the worker believes a head that the chain has, and nothing of a delivery that was refused
//! at its finality is used. INSECURE: the machine is simulated.

use crate::{Target, Verdict};
use codec::Encode;
use phala_attest::Evidence;
use phala_core::{Machine, MachineFault, Settings, Tee};
use phala_crypto::{signature::ed25519::IdentityKey, Secret};
use phala_insecure_tee::InsecureMachine;
use phala_light_client::testing::TestChain;
use phala_protocol::{
    attestation::{Registration, Role},
    ceremony::{
        AnnouncedKey, Attachment, CeremonyAttempt, CeremonyRecord, Introduction, Parcel, ParcelHeader, ParcelKind,
        Phase,
    },
    egress::{EgressAction, EgressItem},
    identities::{
        signing::{PartialSignature, SigningLetter, SigningMessage, SigningSession},
        IdentityCeremonyRecord, Scheme,
    },
    keys::KeyAnswer,
    relay::{Delivery, InboxItems, PlacedAttachment},
    result::Boundary,
    snapshot::{SnapshotHeader, SnapshotPart},
    storage, AccountId, ClusterId, ContractId, WorkerId,
};
use phala_state::{ClusterStore, Entropy, EntropyError, OpenError, Options, StorageKey};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
};

const CLUSTER: ClusterId = ClusterId(1);
const NOW: u64 = 1_790_000_000;
/// The second seat of the ceremony.
const OTHER: WorkerId = WorkerId([2; 32]);

static SIMULATED: LazyLock<InsecureMachine> =
    LazyLock::new(|| InsecureMachine::new("machine", b"phala-worker", NOW).unwrap());

/// INSECURE: keeps its "sealed" secrets in a map, and draws the same numbers every time.
#[derive(Default)]
struct MemoryMachine {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// Numbers that repeat with every machine.
struct Constant;

impl Entropy for Constant {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.fill(0x5c);
        Ok(())
    }
}

impl Machine for MemoryMachine {
    fn evidence(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, MachineFault> {
        Ok(Evidence::TdxDcap(SIMULATED.quote(*report_data).try_into().unwrap()).encode())
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), MachineFault> {
        buffer.fill(0x5c);
        Ok(())
    }

    fn keep(&self, name: &str, secret: &Secret<Vec<u8>>) -> Result<(), MachineFault> {
        self.kept.lock().unwrap().insert(name.to_owned(), secret.expose().clone());
        Ok(())
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        Ok(self.kept.lock().unwrap().get(name).cloned().map(Secret::new))
    }

    fn open_store(&self, _: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        ClusterStore::open_with_backend(super::disk::Disk::default(), key, Box::new(Constant), Options::default())
    }

    fn fresh_store(&self, cluster: ClusterId, key: StorageKey) -> Result<ClusterStore, OpenError> {
        self.open_store(cluster, key)
    }

    fn adopt_store(&self, _: ClusterId) -> Result<(), OpenError> {
        Ok(())
    }
}

thread_local! {
    static CHAIN: TestChain = chain();
}

fn chain() -> TestChain {
    let storage = [(storage::DEVELOPMENT.to_vec(), vec![1]), (storage::TIMESTAMP_NOW.to_vec(), (NOW * 1000).encode())];
    let mut chain = TestChain::new(5, 1, storage);
    chain.build_blocks(1);
    chain.build_set_change(1);
    // Ceremonies in which the gatekeeper has the first seat: its identity follows from the numbers that every machine here draws.
    let own = WorkerId(IdentityKey::from_seed(&Secret::new([0x5c; 32])).public());
    let seats = [own, OTHER, WorkerId([3; 32]), WorkerId([4; 32])];
    let mut record = CeremonyRecord::new(1, 0, &seats);
    record.begin(Phase::Commit, 1, 100);
    let mut identities = IdentityCeremonyRecord::new(1, 0, None, &seats, |_| true);
    identities.begin(Phase::Commit, 1, 100);
    chain.build_block([
        (storage::TIMESTAMP_NOW.to_vec(), Some((NOW * 1000 + 6000).encode())),
        (storage::ceremony_key(), Some(record.encode())),
        (storage::identity_ceremony_key(), Some(identities.encode())),
    ]);
    chain
}

/// What the relayer has from the other seats of the ceremonies, and of what is signed.
fn from_others(delivery: Delivery) -> Delivery {
    let registration = Registration {
        role: Role::Gatekeeper,
        identity: OTHER,
        encryption_key: [1; 32],
        operator: AccountId([1; 32]),
        block: 1,
        block_hash: [1; 32],
    };
    let announced = AnnouncedKey { of: CeremonyAttempt::root(1, 0), key: vec![1; 8], signature: [0; 64] };
    let header = |kind| ParcelHeader { era: 1, attempt: 0, from: 2, to: 1, kind };
    let parcel = |kind| Parcel { header: header(kind), encapsulated: vec![1; 8], body: vec![2; 8], signature: [0; 64] };
    let placed = |attachment| PlacedAttachment { era: 1, attempt: 0, index: 2, attachment };
    let action = EgressAction::Message { destination: vec![1; 8], payload: vec![2; 8] };
    let session = SigningSession { scheme: Scheme::Ed25519, sharing: [1; 32], item: [2; 32], attempt: 0 };
    let part = PartialSignature { index: 2, part: [0; 32] };
    let message = SigningMessage::Part { session, list: [3; 32], part };
    Delivery {
        introductions: vec![Introduction {
            registration,
            announced: announced.clone(),
            evidence: vec![2; 8],
            collateral: vec![3; 8],
        }],
        parcels: vec![parcel(ParcelKind::Package), parcel(ParcelKind::Share), parcel(ParcelKind::Identities)],
        attachments: vec![
            placed(Attachment::Key(announced)),
            placed(Attachment::Parcel(parcel(ParcelKind::Delivery))),
            placed(Attachment::Package(vec![1; 8])),
        ],
        identity_attachments: vec![
            placed(Attachment::Parcel(parcel(ParcelKind::Identities))),
            placed(Attachment::Package(vec![1; 8])),
        ],
        messages: vec![EgressItem { cluster: CLUSTER, sequence: 0, contract: ContractId([3; 32]), action }],
        letters: vec![SigningLetter { from: 2, to: 1, message, signature: [0; 64] }],
        ..delivery
    }
}

/// What a worker drops, as it lacks no state here: what becomes of parts, `snapshots` looks at.
fn snapshot_part() -> SnapshotPart {
    let boundary = Boundary { block: 1, count: 1, link: [1; 32] };
    let header = SnapshotHeader { cluster: CLUSTER, era: 0, epoch: 0, boundary, salt: [2; 32] };
    SnapshotPart { header, index: 0, last: true, sealed: vec![3; 40] }
}

fn start(chain: &TestChain, role: Role) -> Tee {
    let mut anchor = chain.anchor();
    anchor.authorities_proof = chain.read_proof(0, &[&storage::GRANDPA_AUTHORITIES, &storage::DEVELOPMENT]);
    let settings = Settings {
        genesis: chain.genesis_hash(),
        role,
        operator: AccountId([1; 32]),
        cluster: CLUSTER,
        lone_root: true,
    };
    Tee::start(settings, &anchor, Arc::new(MemoryMachine::default())).unwrap()
}

/// The first byte says in which role; the others are a delivery.
pub static DELIVERED: Target = Target {
    name: "delivered",
    covers: &[],
    samples: LazyLock::new(|| {
        CHAIN.with(|chain| {
            let best = chain.best();
            let mut builder = self::chain();
            let samples = [Role::Worker, Role::Gatekeeper].into_iter().enumerate().flat_map(|(which, role)| {
                let wanted = start(chain, role).status().wanted_keys;
                let wanted: Vec<&[u8]> = wanted.iter().map(Vec::as_slice).collect();
                let known = Delivery {
                    finality: builder.proof(0, best).encode(),
                    proof: chain.read_proof(best, &wanted),
                    ..Delivery::default()
                };
                let more = Delivery {
                    items: vec![InboxItems { cluster: CLUSTER, items: vec![vec![0; 120]] }],
                    codes: vec![vec![1; 8]],
                    ..known.clone()
                };
                let brought = Delivery {
                    answers: vec![([9; 32], KeyAnswer { encapsulated: vec![1; 8], body: vec![2; 8] })],
                    snapshot: vec![snapshot_part()],
                    ..known.clone()
                };
                [known.clone(), more, brought, from_others(known)]
                    .map(|delivery| [vec![which as u8], delivery.encode()].concat())
            });
            samples.collect()
        })
    }),
    check: |bytes| {
        let (which, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let delivery = match Delivery::decode_bounded(bytes) {
            Ok(delivery) => delivery,
            Err(error) => return Verdict::refused(error),
        };
        CHAIN.with(|chain| {
            let role = if which.is_multiple_of(2) { Role::Worker } else { Role::Gatekeeper };
            let mut tee = start(chain, role);
            let again = (role == Role::Gatekeeper).then(|| delivery.clone());
            let (notices, result) = tee.deliver(delivery);
            // What others send to a seat of a ceremony is looked at once it knows of the ceremony.
            if let Some(again) = again {
                let _ = tee.deliver(again);
            }
            let (height, hash) = tee.head();
            assert_eq!(hash, chain.header(height).hash().0, "a head that the chain never had");
            let status = tee.status();
            assert_eq!((status.height, status.head), (height, hash));
            match result {
                Ok(()) => Verdict::accepted(format_args!("{height} {}", "x".repeat(notices.len()))),
                Err(error) => {
                    let mut reasons = error.to_string();
                    let mut source = std::error::Error::source(&error);
                    while let Some(reason) = source {
                        reasons.push_str(&reason.to_string());
                        source = reason.source();
                    }
                    assert!(error.is_the_relayers(), "the relayer's fault is called another's: {reasons}");
                    Verdict::refused(reasons)
                }
            }
        })
    },
    iterations: 60,
};
