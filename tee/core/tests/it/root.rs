//! INSECURE: a root of several seats that one dealer made out of small numbers, and gatekeepers that answer for it, or lie.
//!
//! Those who lie have what one hostile gatekeeper can have: the share list, every request to its era's seats, for its relayer is a named peer
//! of the worker's, and what a broken replica was answered. They have no other seat's share.
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
    keys::{
        answer_key_hash, share_list_hash, Evaluation, KeyAnswer, KeyGrant, KeyPurpose, KeyRequest, PrfInput,
        SignedKeyRequest,
    },
    relay::KeyInquiry,
    ClusterId, Epoch, Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// What the chain says at the block by which an inquiry is judged.
pub struct Facts {
    pub genesis: Hash,
    pub head: (BlockNumber, Hash),
    pub worker: Option<WorkerRecord>,
    pub cluster: Option<ClusterRecord>,
    pub root: Option<RootRecord>,
    pub next_root: Option<RootRecord>,
}

/// How a seat lies: to whoever asks it, and in the name of every other seat that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Evaluations of its own share, whose proofs do not hold.
    WrongProof,
    /// No evaluation.
    Empty,
    /// What the seat that is asked gives, without one purpose.
    LeftOut,
    /// What the seat that is asked gives for the storage key, and nothing else.
    StorageAlone,
    /// What its own share gives, under its own index; in its own name under another's.
    AnothersIndex,
    /// Several of these at once, and in its own name the truth among them.
    Contradictions,
    /// What the seat that is asked said to an earlier request of the worker's.
    Old,
}

impl Lie {
    pub const ALL: [Self; 7] = [
        Self::WrongProof,
        Self::Empty,
        Self::LeftOut,
        Self::StorageAlone,
        Self::AnothersIndex,
        Self::Contradictions,
        Self::Old,
    ];
}

/// What an answer is that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Said by a seat that lies.
    Lie,
    /// Said by the seat that is asked, which does not lie: all that it has of the epoch, or the storage key alone.
    Honest { whole: bool },
}

/// A root with all its seats.
pub struct PlayedRoot {
    era: u32,
    threshold: u16,
    shares: Vec<KeyShare>,
    seats: Vec<WorkerId>,
    /// Seats that answer nothing, by index from 1.
    pub silent: BTreeSet<u16>,
    /// Seats that lie, by index from 1; they are not silent.
    pub liars: BTreeMap<u16, Lie>,
    /// The first request of each worker to each seat, with the answer.
    recorded: BTreeMap<(WorkerId, u16), (Hash, KeyAnswer)>,
    /// Answers that were sealed: each draws anew, also one that says the same.
    sealed: AtomicU64,
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
            liars: BTreeMap::new(),
            recorded: BTreeMap::new(),
            sealed: AtomicU64::new(0),
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
            liars: BTreeMap::new(),
            recorded: BTreeMap::new(),
            sealed: AtomicU64::new(0),
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

    /// Seats that are needed.
    pub fn threshold(&self) -> usize {
        self.threshold.into()
    }

    /// The answer of the seat that is asked, if the records let it answer. Whether it lies is another matter.
    pub fn answer(&self, inquiry: &KeyInquiry, facts: &Facts) -> Option<KeyAnswer> {
        let (share, purposes) = self.asked(inquiry, facts)?;
        if self.silent.contains(&share.index()) {
            return None;
        }
        self.seal(&inquiry.request, share.index(), self.evaluations(share, inquiry, &purposes), facts.head)
    }

    /// All that arrives as the answer to a request that the records let be answered, lies first.
    pub fn answers(&mut self, inquiry: &KeyInquiry, facts: &Facts) -> Vec<(Word, KeyAnswer)> {
        let Some((asked, purposes)) = self.asked(inquiry, facts) else { return Vec::new() };
        let (index, request) = (asked.index(), &inquiry.request.request);
        let lies = |(liar, lie): (&u16, &Lie)| {
            let liar = &self.shares[usize::from(*liar) - 1];
            self.lies(*lie, liar, asked, &purposes, inquiry, facts.head)
        };
        let mut said: Vec<_> = self.liars.iter().flat_map(lies).map(|lie| (Word::Lie, lie)).collect();
        if !self.liars.contains_key(&index) {
            let word = Word::Honest { whole: purposes.len() == KeyPurpose::ALL.len() };
            said.extend(self.answer(inquiry, facts).map(|answer| (word, answer)));
        }
        let place = (request.worker, index);
        if !self.recorded.contains_key(&place) {
            let truth = self.seal(&inquiry.request, index, self.evaluations(asked, inquiry, &purposes), facts.head);
            self.recorded.extend(truth.map(|truth| (place, (request.signing_payload(), truth))));
        }
        said
    }

    /// What a liar makes of a request to the seat of `asked`, which may be its own.
    fn lies(
        &self,
        lie: Lie,
        liar: &KeyShare,
        asked: &KeyShare,
        purposes: &[KeyPurpose],
        inquiry: &KeyInquiry,
        head: (BlockNumber, Hash),
    ) -> Vec<KeyAnswer> {
        let request = &inquiry.request.request;
        let (index, is_own) = (asked.index(), asked.index() == liar.index());
        let say = |index, evaluations| self.seal(&inquiry.request, index, evaluations, head);
        let given = |share: &KeyShare, purposes: &[KeyPurpose]| self.evaluations(share, inquiry, purposes);
        let wrong = || {
            let mut own = given(liar, purposes);
            own.iter_mut().for_each(|evaluation| evaluation.proof[0] ^= 1);
            say(index, own)
        };
        let storage_alone = || say(index, given(asked, &[KeyPurpose::Storage]));
        let said = match lie {
            Lie::WrongProof => vec![wrong()],
            Lie::Empty => vec![say(index, Vec::new())],
            Lie::LeftOut => vec![say(index, given(asked, &purposes[1..]))],
            Lie::StorageAlone => vec![storage_alone()],
            Lie::AnothersIndex => {
                let next = index % self.shares.len() as u16 + 1;
                vec![say(if is_own { next } else { liar.index() }, given(liar, purposes))]
            }
            Lie::Contradictions => {
                let truth = is_own.then(|| say(index, given(asked, purposes))).flatten();
                vec![storage_alone(), wrong(), truth, say(index, Vec::new())]
            }
            Lie::Old => {
                let recorded = self.recorded.get(&(request.worker, index));
                let earlier = recorded.filter(|(payload, _)| *payload != request.signing_payload());
                vec![earlier.map(|(_, answer)| answer.clone())]
            }
        };
        said.into_iter().flatten().collect()
    }

    /// The share of the seat that is asked, and for what the records let it answer.
    fn asked(&self, inquiry: &KeyInquiry, facts: &Facts) -> Option<(&KeyShare, Vec<KeyPurpose>)> {
        let (signed, request) = (&inquiry.request, &inquiry.request.request);
        let position = self.seats.iter().position(|seat| *seat == request.gatekeeper)?;
        let cluster = facts.worker.as_ref().and(facts.cluster.as_ref())?;
        let known = [&facts.root, &facts.next_root].into_iter().flatten().any(|root| *root == self.record());
        let coming = next_epoch_era(facts.root.as_ref(), facts.next_root.as_ref())?;
        let may = known
            && request.genesis == facts.genesis
            && request.era == self.era
            && cluster.era_of(request.epoch, coming) == Some(self.era)
            && cluster.replicas.contains(&request.worker)
            && answer_key_hash(&signed.public_key) == request.answer_key
            && ed25519::verify(&request.worker.0, &request.signing_payload(), &signed.signature).is_ok();
        let purposes = KeyPurpose::ALL.into_iter();
        let purposes: Vec<_> =
            purposes.filter(|purpose| cluster.may_have(request.epoch, *purpose, facts.head.0)).collect();
        (may && !purposes.is_empty()).then(|| (&self.shares[position], purposes))
    }

    fn evaluations(&self, share: &KeyShare, inquiry: &KeyInquiry, purposes: &[KeyPurpose]) -> Vec<Evaluation> {
        let KeyRequest { genesis, cluster, epoch, .. } = inquiry.request.request;
        let evaluation = |purpose: &KeyPurpose| {
            let partial = share.partial(&self.input(&genesis, cluster, epoch, *purpose), &[0; 32]);
            Evaluation { purpose: *purpose, point: partial.point, proof: partial.proof }
        };
        purposes.iter().map(evaluation).collect()
    }

    /// An answer to a request, as anybody can make it who has the evaluations.
    fn seal(
        &self,
        signed: &SignedKeyRequest,
        index: u16,
        evaluations: Vec<Evaluation>,
        head: (BlockNumber, Hash),
    ) -> Option<KeyAnswer> {
        let payload = signed.request.signing_payload();
        let grant = KeyGrant { request: payload, era: self.era, index, shares: self.points(), evaluations, head };
        let (grant, sealed) = (grant.encode(), self.sealed.fetch_add(1, Relaxed));
        let mut entropy = [0; ENTROPY_BYTES];
        for (number, half) in entropy.chunks_mut(32).enumerate() {
            half.copy_from_slice(&blake2_256(&("INSECURE entropy", payload, number as u32, sealed, &grant).encode()));
        }
        let info = [domain::KEY_ANSWER.as_bytes(), &signed.request.genesis].concat();
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
