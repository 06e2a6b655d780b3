//! INSECURE: a root of several seats that one dealer made out of small numbers, and gatekeepers that answer for it.
//!
//! Independent of the gatekeeper's own code: answers are built from the protocol's types, and who may have one is judged here by the
//! chain's records. Whoever plays the chain says what those are.

use codec::Encode;
use phala_crypto::{
    hpke,
    prf::{combine, verify_partial, Input, KeyShare},
    signature::ed25519::{self, IdentityKey},
    xwing::{EncapsulationKey, ENTROPY_BYTES},
    Secret,
};
use phala_protocol::{
    chain_state::{next_epoch_era, ClusterRecord, RootRecord, WorkerRecord},
    domain,
    hash::blake2_256,
    ids::BlockNumber,
    keys::{answer_key_hash, share_list_hash, Evaluation, KeyAnswer, KeyGrant, KeyPurpose, PrfInput},
    relay::KeyInquiry,
    ClusterId, Epoch, Hash, WorkerId,
};
use std::collections::BTreeSet;

/// What the chain says at the block by which an inquiry is judged.
pub struct Facts {
    pub genesis: Hash,
    pub head: (BlockNumber, Hash),
    pub worker: Option<WorkerRecord>,
    pub cluster: Option<ClusterRecord>,
    pub root: Option<RootRecord>,
    pub next_root: Option<RootRecord>,
}

/// A root with all its seats.
pub struct PlayedRoot {
    era: u32,
    threshold: u16,
    shares: Vec<KeyShare>,
    seats: Vec<WorkerId>,
    /// Seats that answer nothing, by index from 1.
    pub silent: BTreeSet<u16>,
}

impl PlayedRoot {
    /// The root of `seed` and `era`, of which `threshold` out of `seats` give keys.
    pub fn deal(seed: u64, era: u32, threshold: u16, seats: u16) -> Self {
        // Values of the polynomial stay under 2^128, far below the group's order, so that they need no reduction.
        assert!((1..=3).contains(&threshold) && (threshold..=16).contains(&seats));
        let secret = |what: &str, number: u16| blake2_256(&("INSECURE root", seed, era, what, number).encode());
        let coefficient = |power: u16| {
            let bytes = secret("coefficient", power);
            bytes.iter().take(14).fold(0u128, |number, byte| (number << 8) | u128::from(*byte))
        };
        let share = |index: u16| {
            let value = (0..threshold).rev().fold(0u128, |value, power| value * u128::from(index) + coefficient(power));
            let scalar = Secret::fill(|bytes: &mut [u8; 32]| bytes[..16].copy_from_slice(&value.to_le_bytes()));
            KeyShare::from_bytes(index, &scalar).unwrap()
        };
        let seat = |index: u16| WorkerId(IdentityKey::from_seed(&Secret::new(secret("seat", index))).public());
        Self {
            era,
            threshold,
            shares: (1..=seats).map(share).collect(),
            seats: (1..=seats).map(seat).collect(),
            silent: BTreeSet::new(),
        }
    }

    /// A root that gatekeepers made together: all their shares, by index from 1.
    pub fn of(root: &RootRecord, shares: &[[u8; 32]]) -> Self {
        let share = |(index, scalar): (u16, &[u8; 32])| KeyShare::from_bytes(index, &Secret::new(*scalar)).unwrap();
        let played = Self {
            era: root.era,
            threshold: root.threshold,
            shares: (1..).zip(shares).map(share).collect(),
            seats: root.seats.clone(),
            silent: BTreeSet::new(),
        };
        assert_eq!(played.record(), *root, "these are not its shares");
        played
    }

    fn points(&self) -> Vec<[u8; 32]> {
        self.shares.iter().map(|share| share.public_share().to_bytes()).collect()
    }

    /// What the chain records of it.
    pub fn record(&self) -> RootRecord {
        let share_list = share_list_hash(self.era, self.threshold, &self.points());
        RootRecord { era: self.era, threshold: self.threshold, seats: self.seats.clone(), share_list }
    }

    /// The era it is of.
    pub fn era(&self) -> u32 {
        self.era
    }

    /// Whether this is one of its seats.
    pub fn has(&self, gatekeeper: &WorkerId) -> bool {
        self.seats.contains(gatekeeper)
    }

    /// The answer of the seat that is asked, if the records let it answer.
    pub fn answer(&self, inquiry: &KeyInquiry, facts: &Facts) -> Option<KeyAnswer> {
        let (signed, request) = (&inquiry.request, &inquiry.request.request);
        let payload = request.signing_payload();
        let position = self.seats.iter().position(|seat| *seat == request.gatekeeper)?;
        let share = &self.shares[position];
        let cluster = facts.worker.as_ref().and(facts.cluster.as_ref())?;
        let known = [&facts.root, &facts.next_root].into_iter().flatten().any(|root| *root == self.record());
        let coming = next_epoch_era(facts.root.as_ref(), facts.next_root.as_ref())?;
        let may = known
            && !self.silent.contains(&share.index())
            && request.genesis == facts.genesis
            && request.era == self.era
            && cluster.era_of(request.epoch, coming) == Some(self.era)
            && cluster.replicas.contains(&request.worker)
            && answer_key_hash(&signed.public_key) == request.answer_key
            && ed25519::verify(&request.worker.0, &payload, &signed.signature).is_ok();
        let purposes = KeyPurpose::ALL.into_iter();
        let purposes: Vec<_> =
            purposes.filter(|purpose| cluster.may_have(request.epoch, *purpose, facts.head.0)).collect();
        if !may || purposes.is_empty() {
            return None;
        }
        let evaluation = |purpose| {
            let input = self.input(&facts.genesis, request.cluster, request.epoch, purpose);
            let partial = share.partial(&input, &[0; 32]);
            Evaluation { purpose, point: partial.point, proof: partial.proof }
        };
        let grant = KeyGrant {
            request: payload,
            era: self.era,
            index: share.index(),
            shares: self.points(),
            evaluations: purposes.into_iter().map(evaluation).collect(),
            head: facts.head,
        };
        // Another answer to the same request, of a newer head, draws anew.
        let grant = grant.encode();
        let mut entropy = [0; ENTROPY_BYTES];
        for (number, half) in entropy.chunks_mut(32).enumerate() {
            half.copy_from_slice(&blake2_256(&("INSECURE entropy", payload, number as u32, &grant).encode()));
        }
        let info = [domain::KEY_ANSWER.as_bytes(), &facts.genesis].concat();
        let recipient = EncapsulationKey::from_bytes(&signed.public_key).ok()?;
        let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &entropy);
        let (body, _) = context.seal(&payload, &grant).ok()?;
        Some(KeyAnswer { encapsulated: encapsulated.to_vec(), body })
    }

    fn input(&self, genesis: &Hash, cluster: ClusterId, epoch: Epoch, purpose: KeyPurpose) -> Input {
        Input::of(domain::PRF_INPUT, &PrfInput { genesis: *genesis, era: self.era, cluster, epoch, purpose })
    }

    /// INSECURE: what the root gives, from its last seats.
    pub fn insecure_key(
        &self,
        genesis: &Hash,
        cluster: ClusterId,
        epoch: Epoch,
        purpose: KeyPurpose,
    ) -> Secret<[u8; 32]> {
        let input = self.input(genesis, cluster, epoch, purpose);
        let partials: Vec<_> = self
            .shares
            .iter()
            .rev()
            .take(self.threshold.into())
            .map(|share| verify_partial(&share.public_share(), &input, &share.partial(&input, &[0; 32])).unwrap())
            .collect();
        combine(self.threshold.into(), &partials).unwrap()
    }
}

/// INSECURE: the share of a lone seat, found in what its machine keeps by the list that the chain records of it.
pub fn insecure_lone_share(kept: &[Vec<u8>], root: &RootRecord) -> Option<KeyShare> {
    let windows = kept.iter().flat_map(|bytes| bytes.windows(32));
    windows
        .filter_map(|window| KeyShare::from_bytes(1, &Secret::from_slice(window)?).ok())
        .find(|share| share_list_hash(root.era, root.threshold, &[share.public_share().to_bytes()]) == root.share_list)
}

/// INSECURE: what a lone seat's share gives.
pub fn insecure_lone_key(share: &KeyShare, input: &PrfInput) -> Secret<[u8; 32]> {
    let input = Input::of(domain::PRF_INPUT, input);
    let partial = verify_partial(&share.public_share(), &input, &share.partial(&input, &[0; 32])).unwrap();
    combine(1, &[partial]).unwrap()
}
