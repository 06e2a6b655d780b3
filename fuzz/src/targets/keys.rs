//! Key requests, grants and sealed seats: a hostile worker before a gatekeeper, and a hostile gatekeeper before a worker.
//!
//! INSECURE: the machine is simulated, on a genesis that is marked as a development one.

use crate::{assert_bounded, measured, Target, Verdict};
use codec::{Decode, DecodeAll, Encode};
use phala_attest::{DevelopmentGenesis, Evidence};
use phala_crypto::{
    hpke,
    signature::ed25519::IdentityKey,
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_gatekeeper::{open_grant, verify_request, Facts, Grants, Refusal, Seat, Sightings, Verifier, MOST_SIGHTINGS};
use phala_insecure_tee::InsecureMachine;
use phala_keys_sim::members::{facts, GENESIS, NOW};
use phala_protocol::{
    attestation::{encryption_key_hash, Listing, Registration, Role, Version},
    chain_state::{AllowedMeasurement, ClusterRecord, RootRecord},
    domain,
    keys::{answer_key_hash, KeyAnswer, KeyGrant, KeyPurpose, KeyRequest, SignedKeyRequest},
    relay::KeyInquiry,
    AccountId, ClusterId, WorkerId,
};
use std::sync::{LazyLock, Mutex, PoisonError};

const GATEKEEPER: WorkerId = WorkerId([0x6a; 32]);
const OPERATOR: AccountId = AccountId([0x0f; 32]);

/// A registered worker, the seat it asks, and the honest exchange between them.
struct World {
    /// What the answer is sealed to.
    answers: DecapsulationKey,
    seat: Seat,
    facts: Facts,
    root: RootRecord,
    inquiry: KeyInquiry,
    answer: KeyAnswer,
    grant: KeyGrant,
    keys: Vec<Vec<u8>>,
    /// What the gatekeeper remembers of what it was shown.
    remembers: Mutex<Verifier>,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let machine = InsecureMachine::new("a machine", b"the binary", NOW).unwrap();
        let signing = IdentityKey::from_seed(&Secret::new([1; 32]));
        let [receiving, answers] = [2, 3].map(|seed| DecapsulationKey::from_seed(&Secret::new([seed; 32])));
        let worker = WorkerId(signing.public());
        let encryption_key = encryption_key_hash(receiving.public_key());
        let registration = Registration {
            role: Role::Worker,
            identity: worker,
            encryption_key,
            operator: OPERATOR,
            block: 90,
            block_hash: [0x90; 32],
        };
        let quote = machine.quote(registration.report_data(&GENESIS));
        let request = KeyRequest {
            genesis: GENESIS,
            worker,
            gatekeeper: GATEKEEPER,
            cluster: ClusterId(3),
            era: 0,
            epoch: 5,
            nonce: [5; 32],
            answer_key: answer_key_hash(answers.public_key()),
            at: 100,
        };
        let inquiry = KeyInquiry {
            request: SignedKeyRequest {
                request,
                public_key: answers.public_key().to_vec(),
                signature: signing.sign(&request.signing_payload()),
            },
            registration,
            evidence: Evidence::TdxDcap(quote.try_into().unwrap()).encode(),
            collateral: machine.collateral().encode(),
        };
        let development = DevelopmentGenesis::for_genesis(GENESIS, &[GENESIS]).unwrap();
        let seat = Seat::lone(development, 0, &Secret::new([9; 32])).unwrap();
        let root = seat.root_record(vec![GATEKEEPER]);
        let facts = Facts {
            gatekeeper: GATEKEEPER,
            root: Some(root.clone()),
            coming_era: Some(0),
            cluster: Some(ClusterRecord {
                era: 0,
                era_before: 0,
                epoch: 5,
                opened_at: 80,
                opened_count: 4,
                final_count: 4,
                bound_epoch: 5,
                epoch_length: 1_000,
                envelope_key: Vec::new(),
                replicas: vec![worker],
            }),
            ..facts(&registration, machine.measurement())
        };
        let mut verifier = Verifier::default();
        let answer = answer(&seat, &inquiry, &facts, &mut verifier).unwrap();
        let context = hpke::setup_receiver(&answers, answer.encapsulated.as_slice().try_into().unwrap(), &info());
        let (plain, _) = context.open(&request.signing_payload(), &answer.body).unwrap();
        let grant = KeyGrant::decode(&mut plain.expose().as_slice()).unwrap();
        let remembers = Mutex::new(verifier);
        let mut world = Self { answers, seat, facts, root, inquiry, answer, grant, keys: Vec::new(), remembers };
        world.keys = world.keys_of(&world.answer).unwrap();
        world
    }

    /// The keys that the worker takes out of an answer.
    fn keys_of(&self, answer: &KeyAnswer) -> Result<Vec<Vec<u8>>, String> {
        let opened = open_grant(&self.answers, &self.inquiry.request.request, &self.root, answer)
            .map_err(|error| error.to_string())?;
        let mut grants = Grants::default();
        grants.add(opened);
        let keys = KeyPurpose::ALL.map(|purpose| grants.key(1, purpose));
        Ok(keys.into_iter().flatten().map(|key| key.expose().to_vec()).collect())
    }

    /// What a gatekeeper that lies seals.
    fn sealed(&self, plaintext: &[u8]) -> KeyAnswer {
        let recipient = EncapsulationKey::from_bytes(self.answers.public_key()).unwrap();
        let (encapsulated, context) = hpke::setup_sender(&recipient, &info(), &[13; 64]);
        let (body, _) = context.seal(&self.inquiry.request.request.signing_payload(), plaintext).unwrap();
        KeyAnswer { encapsulated: encapsulated.to_vec(), body }
    }
}

/// A worker's request with its evidence, and the answer to it.
pub(super) fn exchange() -> (KeyInquiry, KeyAnswer) {
    (WORLD.inquiry.clone(), WORLD.answer.clone())
}

/// What a gatekeeper says that remembers what `verifier` saw.
fn answer(seat: &Seat, inquiry: &KeyInquiry, facts: &Facts, verifier: &mut Verifier) -> Result<KeyAnswer, Refusal> {
    let signed = verify_request(inquiry.clone(), &GENESIS, &GATEKEEPER)?;
    seat.answer(&signed, facts, verifier, &[11; 32], &[12; 64])
}

fn info() -> Vec<u8> {
    [domain::KEY_ANSWER.as_bytes(), &GENESIS].concat()
}

/// Before a worker. The first byte says whether the others are the sealed answer, or its plaintext, sealed by the gatekeeper itself.
pub static GRANTS: Target = Target {
    name: "grants",
    covers: &["tee/gatekeeper/src/grant.rs::open_grant"],
    samples: LazyLock::new(|| {
        vec![[vec![0], WORLD.answer.encode()].concat(), [vec![1], WORLD.grant.encode()].concat()]
    }),
    check: |bytes| {
        let (which, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let lying = !which.is_multiple_of(2);
        let answer = match KeyAnswer::decode_all(&mut &bytes[..]) {
            _ if lying => WORLD.sealed(bytes),
            Ok(answer) => answer,
            Err(_) => return Verdict::refused("shape"),
        };
        match WORLD.keys_of(&answer) {
            Ok(keys) => {
                assert!(lying || answer == WORLD.answer, "an altered answer opened");
                // A gatekeeper may give the storage key alone, and cannot make a key another one.
                assert!(keys.iter().all(|key| WORLD.keys.contains(key)), "a key that the share does not give");
                assert!([1, KeyPurpose::ALL.len()].contains(&keys.len()), "an answer that leaves something out");
                Verdict::accepted("x".repeat(keys.len()))
            }
            Err(error) => Verdict::refused(error),
        }
    },
    iterations: 700,
};

/// Before a gatekeeper: one that has seen nothing, and one that has answered the honest inquiry.
pub static INQUIRIES: Target = Target {
    name: "inquiries",
    covers: &["tee/gatekeeper/src/policy.rs::verify_request"],
    samples: LazyLock::new(|| vec![WORLD.inquiry.encode()]),
    check: |bytes| {
        let (decoded, peak) = measured(|| KeyInquiry::decode_all(&mut &bytes[..]));
        assert_bounded(peak, bytes.len(), 4);
        let Ok(inquiry) = decoded else { return Verdict::refused("shape") };
        let fresh = answer(&WORLD.seat, &inquiry, &WORLD.facts, &mut Verifier::default());
        let mut remembers = WORLD.remembers.lock().unwrap_or_else(PoisonError::into_inner);
        let again = answer(&WORLD.seat, &inquiry, &WORLD.facts, &mut remembers);
        assert_eq!(again, fresh, "what is remembered says something else");
        match fresh {
            Ok(answer) => {
                assert_eq!(inquiry.request, WORLD.inquiry.request, "keys for a request that the worker did not sign");
                assert_eq!(inquiry.registration, WORLD.inquiry.registration);
                assert_eq!(WORLD.keys_of(&answer).as_ref(), Ok(&WORLD.keys));
                Verdict::accepted("")
            }
            Err(refusal) => Verdict::refused(refusal),
        }
    },
    iterations: 500,
};

/// What a gatekeeper unsealed. Trusted for content; of one encoding, and never a panic.
pub static SEATS: Target = Target {
    name: "seats",
    covers: &["tee/gatekeeper/src/seat.rs::from_secret_bytes"],
    samples: LazyLock::new(|| vec![WORLD.seat.to_secret_bytes().expose().clone(), super::ceremony::dealt_seat()]),
    check: |bytes| match Seat::from_secret_bytes(&Secret::new(bytes.to_vec())) {
        Ok(seat) => {
            assert_eq!(seat.to_secret_bytes().expose(), bytes);
            let _ = seat.is_recorded_as(&WORLD.root);
            // Only what its own share is the other half of: nothing that it says is of another holder.
            if let Some(beacon) = seat.beacon() {
                let own = beacon.record().holders.iter().any(|holder| holder.index == beacon.index());
                assert!(own && beacon.record().era == seat.era());
            }
            Verdict::accepted("")
        }
        Err(error) => Verdict::refused(error),
    },
    iterations: 2_000,
};

/// What a gatekeeper remembers of the allow-list, unsealed. Trusted for content; of one encoding, bounded, and never a panic.
pub static SIGHTINGS: Target = Target {
    name: "sightings",
    covers: &["tee/gatekeeper/src/sightings.rs::from_bytes"],
    samples: LazyLock::new(|| {
        let entry = AllowedMeasurement { source: [0; 32], listed_at: 3, not_before: 0, sunset: None };
        let listing = Listing {
            source: [0; 32],
            version: Version(1, 0, 0),
            role: Some(Role::Worker),
            not_before: 0,
            sunset: None,
        };
        let mut sightings = Sightings::default();
        for measurement in [[1; 32], [2; 32]] {
            assert!(sightings.observe(&measurement, Some((&entry, &listing)), 5));
        }
        vec![sightings.to_bytes(), Sightings::default().to_bytes()]
    }),
    check: |bytes| match Sightings::from_bytes(bytes) {
        Some(sightings) => {
            assert_eq!(sightings.to_bytes(), bytes);
            assert!(sightings.measurements().count() <= MOST_SIGHTINGS);
            Verdict::accepted("")
        }
        None => Verdict::refused("no memory of this version"),
    },
    iterations: 2_000,
};
