//! Who has a seat: identities, keys of attempts, and simulated machines that each of the others verified.
//!
//! INSECURE: the keys are published here, and the evidence is of simulated machines on a development network. That a peer is
//! verified is true all the same: by `phala_gatekeeper::verify_introduction`, the code that ships, anew for each attempt. Seeds of the
//! members' receiving keys are of no ceremony here, and never end.

use codec::Encode;
use phala_attest::{AcceptedStatuses, AdvisoryPolicy, Bans, DevelopmentGenesis, Evidence, PolicyTerms};
use phala_crypto::{signature::ed25519::IdentityKey, xwing::DecapsulationKey, Secret};
use phala_gatekeeper::{verify_introduction, Facts, ReceivingKey, VerifiedPeer, Verifier};
use phala_insecure_tee::InsecureMachine;
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Listing, Registration, Role, Version},
    ceremony::{AnnouncedKey, CeremonyAttempt, Introduction, Parcel, ParcelHeader, ParcelKind},
    chain_state::{AllowedMeasurement, WorkerRecord},
    AccountId, Hash, WorkerId,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// The chain of these ceremonies.
pub const GENESIS: Hash = [7; 32];
/// Chain time of these ceremonies, in Unix seconds.
pub const NOW: u64 = 1_790_000_000;

/// Attempts of which it is kept who was verified.
const MOST_KEPT: usize = 64;

/// Gatekeepers as the others know them in one attempt.
pub type Peers = BTreeMap<WorkerId, VerifiedPeer>;
/// Those of an attempt, by the numbers of those that are among them.
type Verified = BTreeMap<(CeremonyAttempt, Vec<u16>), Arc<Peers>>;

/// Gatekeepers that may be elected, by number from 1: one for each seat, by its index, then one for each that its validator binds in the place
/// of the first.
pub struct Members {
    seats: u16,
    identities: Vec<IdentityKey>,
    lasting: Vec<DecapsulationKey>,
    machines: Vec<InsecureMachine>,
    receiving: Mutex<BTreeMap<(CeremonyAttempt, u16), Arc<ReceivingKey>>>,
    verified: Mutex<(Verifier, Verified)>,
}

impl Members {
    /// Gatekeepers for `seats` seats, twice as many.
    pub fn new(seats: u8) -> Self {
        let count = seats * 2;
        let machine = |number| InsecureMachine::new(&format!("gatekeeper {number}"), b"the binary", NOW).unwrap();
        Self {
            seats: seats.into(),
            identities: (1..=count).map(|number| IdentityKey::from_seed(&Secret::new([number; 32]))).collect(),
            lasting: (1..=count).map(|number| DecapsulationKey::from_seed(&Secret::new([number + 100; 32]))).collect(),
            machines: (1..=count).map(machine).collect(),
            receiving: Mutex::default(),
            verified: Mutex::default(),
        }
    }

    /// Seats that they are enough for.
    pub fn seats(&self) -> u16 {
        self.seats
    }

    /// The number of the gatekeeper that its validator binds in the place of the first one of the seat of `index`.
    pub fn spare(&self, index: u16) -> u16 {
        self.seats + index
    }

    /// The identities of the first `count`, in order.
    pub fn ids(&self, count: u16) -> Vec<WorkerId> {
        self.identities.iter().take(usize::from(count)).map(|identity| WorkerId(identity.public())).collect()
    }

    /// The identity key of the gatekeeper of this number.
    pub fn identity(&self, index: u16) -> &IdentityKey {
        &self.identities[usize::from(index) - 1]
    }

    /// The long-lived encryption key of the gatekeeper of this number, which its evidence binds.
    pub fn lasting(&self, index: u16) -> &DecapsulationKey {
        &self.lasting[usize::from(index) - 1]
    }

    /// The key under which the gatekeeper of this number receives in an attempt.
    pub fn receiving(&self, index: u16, of: CeremonyAttempt) -> Arc<ReceivingKey> {
        let mut known = self.receiving.lock().unwrap();
        if known.len() >= MOST_KEPT * self.identities.len() {
            known.clear();
        }
        let derive = || Arc::new(ReceivingKey::derive(&Secret::new([index as u8 + 150; 32]), &GENESIS, of));
        known.entry((of, index)).or_insert_with(derive).clone()
    }

    /// What opens a parcel, where each seat is its first gatekeeper's.
    pub fn opener(&self, parcel: &Parcel) -> Arc<ReceivingKey> {
        self.receiving(parcel.header.to, attempt_of(parcel))
    }

    /// The first gatekeepers of all seats as the others know them in an attempt.
    pub fn peers(&self, of: CeremonyAttempt) -> Arc<Peers> {
        self.peers_among(of, (1..=self.seats).collect())
    }

    /// Those of these numbers as the others know them in an attempt.
    pub fn peers_among(&self, of: CeremonyAttempt, numbers: Vec<u16>) -> Arc<Peers> {
        let mut verified = self.verified.lock().unwrap();
        let (verifier, known) = &mut *verified;
        let who = (of, numbers);
        if let Some(peers) = known.get(&who) {
            return peers.clone();
        }
        if known.len() >= MOST_KEPT {
            known.clear();
        }
        let mut peers = Peers::new();
        for number in who.1.iter().copied() {
            let (identity, machine) = (self.identity(number), &self.machines[usize::from(number) - 1]);
            let announced = self.receiving(number, of).announce(identity);
            let (introduction, facts) = introduce(identity, self.lasting(number), announced, machine);
            let id = WorkerId(identity.public());
            peers.insert(id, verify_introduction(&id, &introduction, &facts, verifier).unwrap());
        }
        let peers = Arc::new(peers);
        known.insert(who, peers.clone());
        peers
    }
}

/// The attempt that a parcel is of.
pub fn attempt_of(parcel: &Parcel) -> CeremonyAttempt {
    let ParcelHeader { era, attempt, kind, .. } = parcel.header;
    match kind {
        ParcelKind::Identities => CeremonyAttempt::identities(era, attempt),
        ParcelKind::Package | ParcelKind::Share | ParcelKind::Delivery => CeremonyAttempt::root(era, attempt),
    }
}

/// The introduction of a gatekeeper on a simulated machine with a long-lived key, which announces another for an attempt; and what the chain
/// says of it.
pub fn introduce(
    identity: &IdentityKey,
    lasting: &DecapsulationKey,
    announced: AnnouncedKey,
    machine: &InsecureMachine,
) -> (Introduction, Facts) {
    let registration = Registration {
        role: Role::Gatekeeper,
        identity: WorkerId(identity.public()),
        encryption_key: encryption_key_hash(lasting.public_key()),
        operator: AccountId([0x0f; 32]),
        block: 90,
        block_hash: [0x90; 32],
    };
    let quote = machine.quote(registration.report_data(&GENESIS));
    let introduction = Introduction {
        registration,
        announced,
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
