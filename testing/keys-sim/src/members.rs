//! Who has a seat: identities, encryption keys, and simulated machines that each of the others verified.
//!
//! INSECURE: the keys are published here, and the evidence is of simulated machines on a development network. That a peer is
//! verified is true all the same: by `phala_gatekeeper::verify_introduction`, the code that ships.

use codec::Encode;
use phala_attest::{AcceptedStatuses, AdvisoryPolicy, Bans, DevelopmentGenesis, Evidence, PolicyTerms};
use phala_crypto::{signature::ed25519::IdentityKey, xwing::DecapsulationKey, Secret};
use phala_gatekeeper::{verify_introduction, Facts, VerifiedPeer, Verifier};
use phala_insecure_tee::InsecureMachine;
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Listing, Registration, Role, Version},
    ceremony::Introduction,
    chain_state::{AllowedMeasurement, WorkerRecord},
    AccountId, Hash, WorkerId,
};
use std::collections::BTreeMap;

/// The chain of these ceremonies.
pub const GENESIS: Hash = [7; 32];
/// Chain time of these ceremonies, in Unix seconds.
pub const NOW: u64 = 1_790_000_000;

/// Gatekeepers that may be elected, by index from 1.
pub struct Members {
    identities: Vec<IdentityKey>,
    receiving: Vec<DecapsulationKey>,
    /// All of them, verified.
    pub peers: BTreeMap<WorkerId, VerifiedPeer>,
}

impl Members {
    /// `count` gatekeepers.
    pub fn new(count: u8) -> Self {
        let mut members = Self { identities: Vec::new(), receiving: Vec::new(), peers: BTreeMap::new() };
        for number in 1..=count {
            let identity = IdentityKey::from_seed(&Secret::new([number; 32]));
            let receiving = DecapsulationKey::from_seed(&Secret::new([number + 100; 32]));
            let machine = InsecureMachine::new(&format!("gatekeeper {number}"), b"the binary", NOW).unwrap();
            let (introduction, facts) = introduce(&identity, &receiving, &machine);
            let id = WorkerId(identity.public());
            members
                .peers
                .insert(id, verify_introduction(&id, &introduction, &facts, &mut Verifier::default()).unwrap());
            members.identities.push(identity);
            members.receiving.push(receiving);
        }
        members
    }

    /// The identities of the first `count`, in order.
    pub fn ids(&self, count: u16) -> Vec<WorkerId> {
        self.identities.iter().take(usize::from(count)).map(|identity| WorkerId(identity.public())).collect()
    }

    /// The identity key of the seat of `index`.
    pub fn identity(&self, index: u16) -> &IdentityKey {
        &self.identities[usize::from(index) - 1]
    }

    /// The encryption key of the seat of `index`.
    pub fn receiving(&self, index: u16) -> &DecapsulationKey {
        &self.receiving[usize::from(index) - 1]
    }

    /// The seat of `index` as the others know it.
    pub fn peer(&self, index: u16) -> &VerifiedPeer {
        &self.peers[&WorkerId(self.identity(index).public())]
    }
}

/// The introduction of a gatekeeper on a simulated machine, and what the chain says of it.
pub fn introduce(
    identity: &IdentityKey,
    receiving: &DecapsulationKey,
    machine: &InsecureMachine,
) -> (Introduction, Facts) {
    let registration = Registration {
        role: Role::Gatekeeper,
        identity: WorkerId(identity.public()),
        encryption_key: encryption_key_hash(receiving.public_key()),
        operator: AccountId([0x0f; 32]),
        block: 90,
        block_hash: [0x90; 32],
    };
    let quote = machine.quote(registration.report_data(&GENESIS));
    let introduction = Introduction {
        registration,
        encryption_key: receiving.public_key().to_vec(),
        evidence: Evidence::TdxDcap(quote.try_into().unwrap()).encode(),
        collateral: machine.collateral().encode(),
    };
    let facts = facts(&registration, machine.measurement());
    (introduction, facts)
}

/// What a chain says, in block 100, of a gatekeeper or worker of this registration on a machine of an allowed measurement, and nothing of
/// roots and clusters.
pub fn facts(registration: &Registration, measurement: Hash) -> Facts {
    Facts {
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
            role: registration.role,
            operator: registration.operator,
            encryption_key: registration.encryption_key,
            measurement,
            hardware: [3; 32],
            assurance: Assurance::Simulated,
            registered_at: 91,
            valid_until: NOW + 1,
        }),
        measurement: Some(AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None }),
        listing: Some(Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None }),
        evaluation_cap: None,
    }
}
