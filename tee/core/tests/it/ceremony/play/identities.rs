//! What the chain does about identities, and what relayers carry of them: ceremonies by the rules of `phala_protocol::identities`, messages
//! that have left, letters between holders, signatures that count.
//!
//! What it leaves out, because its own pallets' tests have it: when a ceremony begins, convictions, the egress that lets messages leave.

use super::{is_announced, Play, PHASE_BLOCKS};
use crate::chain::CLUSTER;
use codec::Encode;
use phala_crypto::{egress::verify_egress_signature, signature::ed25519};
use phala_protocol::{
    ceremony::{Attachment, Circumstances, Phase},
    egress::{EgressAction, EgressFate, EgressItem, EgressOutcome},
    identities::{
        end_phase, is_complete, show,
        signing::{EgressSignature, SigningLetter},
        take, IdentityCeremonyRecord, IdentityNext, IdentityRecord, SignedIdentityStatement,
    },
    ids::BlockNumber,
    relay::{Delivery, Outgoing, PlacedAttachment, TeeStatus},
    storage, ContractId, Hash, WorkerId,
};
use std::collections::BTreeMap;

/// The contract that sends every message.
pub const CONTRACT: ContractId = ContractId([3; 32]);

/// A message of the contract.
pub fn message(sequence: u64) -> EgressItem {
    let action = EgressAction::Message { destination: b"there".to_vec(), payload: sequence.encode() };
    EgressItem { cluster: CLUSTER, sequence, contract: CONTRACT, action }
}

/// What arrives in a letter's place.
pub type Hands = Box<dyn Fn(SigningLetter) -> Option<SigningLetter>>;

/// What the chain has, and what is on its way.
#[derive(Default)]
pub struct Ledger {
    pub ceremony: Option<IdentityCeremonyRecord>,
    /// Who holds the keys.
    pub record: Option<IdentityRecord>,
    /// The newest attempt of the last ceremony.
    pub attempt: u32,
    /// What stands on chain beside statements of the attempt.
    pub attached: Vec<PlacedAttachment>,
    /// Messages that have left.
    pub messages: Vec<EgressItem>,
    /// Signatures under them.
    pub signatures: Vec<EgressSignature>,
    /// What becomes of letters, if not each arrives as it was sent.
    pub hands: Option<Hands>,
    /// Every letter that was sent, and to whom.
    pub sent: Vec<(WorkerId, SigningLetter)>,
    letters: BTreeMap<WorkerId, Vec<SigningLetter>>,
}

impl Ledger {
    /// The records as the next block has them.
    pub(super) fn written(&self) -> [(Vec<u8>, Option<Vec<u8>>); 2] {
        [
            (storage::identity_ceremony_key(), self.ceremony.as_ref().map(Encode::encode)),
            (storage::identity_key(), self.record.as_ref().map(Encode::encode)),
        ]
    }

    /// Block `now` begins.
    pub(super) fn advance(&mut self, now: BlockNumber) {
        let Some(mut record) = self.ceremony.take() else { return };
        if now <= record.until && !is_complete(&record) {
            self.ceremony = Some(record);
            return;
        }
        let phase = match end_phase(&mut record).next {
            IdentityNext::Begin(phase) => phase,
            IdentityNext::Agreed(_) => record.phase,
            IdentityNext::GivenUp => return,
        };
        record.begin(phase, now, PHASE_BLOCKS);
        self.attempt = record.attempt;
        self.ceremony = Some(record);
    }

    /// Adds what an honest relayer has for a gatekeeper that says this.
    pub(super) fn deliver(&mut self, status: &TeeStatus, genesis: &Hash, delivery: &mut Delivery) {
        let place = status.identity_attempt;
        let of_attempt = self.attached.iter().filter(|placed| place == Some((placed.era, placed.attempt)));
        delivery.identity_attachments = of_attempt.cloned().collect();
        delivery.letters = self.letters.remove(&status.identity).unwrap_or_default();
        if let Some(known) = &status.signing {
            let lacks = |item: &&EgressItem| {
                let id = item.id(genesis);
                !known.contains(&id) && self.signatures.iter().filter(|made| made.item == id).count() < 2
            };
            delivery.messages = self.messages.iter().filter(lacks).cloned().collect();
        }
    }

    fn post(&mut self, to: WorkerId, letter: SigningLetter) {
        self.sent.push((to, letter.clone()));
        let arrives = match &self.hands {
            Some(hands) => hands(letter),
            None => Some(letter),
        };
        let waiting = self.letters.entry(to).or_default();
        waiting.extend(arrives.filter(|letter| !waiting.contains(letter)));
    }
}

impl Play {
    /// Begins the ceremony in which these gatekeepers make the keys, or receive them from those who hold them.
    pub fn start_identities(&mut self, era: u32, gatekeepers: &[usize]) {
        let holders: Vec<WorkerId> = gatekeepers.iter().map(|index| self.nodes[*index].id()).collect();
        let mut record = IdentityCeremonyRecord::new(era, 0, self.ledger.record.as_ref(), &holders, |_| true);
        record.begin(Phase::Commit, self.number(), PHASE_BLOCKS);
        (self.ledger.ceremony, self.ledger.attempt) = (Some(record), 0);
        self.ledger.attached.clear();
    }

    /// Goes on until the chain has the record of an era, and gatekeepers have seen it.
    pub fn receive_identities(&mut self, era: u32) -> IdentityRecord {
        for _ in 0..300 {
            if let Some(record) = self.ledger.record.clone().filter(|record| record.era == era) {
                self.run(2);
                return record;
            }
            self.step();
        }
        panic!("no record of identities: {:?}", self.ledger.ceremony);
    }

    pub fn identity_phase(&self) -> Option<Phase> {
        self.ledger.ceremony.as_ref().map(|record| record.phase)
    }

    /// A message leaves its cluster in the block under construction.
    pub fn leave(&mut self, sequence: u64) -> EgressItem {
        let item = message(sequence);
        let (id, block) = (item.id(&self.genesis()), self.number());
        let fate = EgressFate { id, block, outcome: EgressOutcome::Left };
        self.changes.insert(storage::egress_fate_key(CLUSTER, sequence), Some(fate.encode()));
        self.ledger.messages.push(item.clone());
        item
    }

    /// From the next block on the cluster is disputed, or not any more.
    pub fn dispute(&mut self, disputed: bool) {
        let since = disputed.then(|| self.number().encode());
        self.changes.insert(storage::disputed_key(CLUSTER), since);
    }

    /// The signatures that the chain has under an item.
    pub fn signatures(&self, item: &EgressItem) -> Vec<EgressSignature> {
        let id = item.id(&self.genesis());
        self.ledger.signatures.iter().filter(|made| made.item == id).copied().collect()
    }

    /// Goes on until the chain has both signatures under an item.
    pub fn sign_message(&mut self, item: &EgressItem) -> Vec<EgressSignature> {
        self.run_until(|play| play.signatures(item).len() == 2);
        self.signatures(item)
    }

    /// The newest head, with all that a gatekeeper wants of it but these keys.
    pub fn proved_without(&mut self, index: usize, hidden: &[Vec<u8>]) -> Delivery {
        let best = self.blocks.best();
        let status = self.nodes[index].tee().status();
        let mut delivery = self.proved(index, best);
        let wanted = status.wanted_keys.iter().filter(|key| !hidden.contains(key));
        let wanted: Vec<&[u8]> = wanted.map(Vec::as_slice).collect();
        delivery.proof = self.blocks.read_proof(best, &wanted);
        delivery
    }

    pub(super) fn carry_of_identities(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::StateIdentity { statement, attachment } => self.state_identity(&statement, attachment),
            Outgoing::ShowIdentities(shown) => {
                let Some(ceremony) = &self.ledger.ceremony else { return };
                if show(ceremony, &shown, self.ledger.record.as_ref()).is_ok() {
                    (self.ledger.ceremony, self.ledger.record) = (None, Some(shown));
                }
            }
            Outgoing::Sign { to, letter } => self.ledger.post(to, letter),
            Outgoing::AttachSignature { cluster, sequence, signature } => {
                let found =
                    self.ledger.messages.iter().find(|item| (item.cluster, item.sequence) == (cluster, sequence));
                let (item, record) = (found.unwrap(), self.ledger.record.as_ref().unwrap());
                let network = record.keys.of(signature.scheme);
                verify_egress_signature(&self.blocks.genesis_hash(), network, item, &signature).unwrap();
                let key = storage::egress_signature_key(cluster, sequence, signature.scheme);
                if !self
                    .ledger
                    .signatures
                    .iter()
                    .any(|made| (made.item, made.scheme) == (signature.item, signature.scheme))
                {
                    self.ledger.signatures.push(signature);
                    self.changes.insert(key, Some(signature.encode()));
                }
            }
            other => panic!("no gatekeeper says {other:?}"),
        }
    }

    /// What the rules do not take changes nothing.
    fn state_identity(&mut self, signed: &SignedIdentityStatement, beside: Option<Attachment>) {
        let (genesis, now) = (self.blocks.genesis_hash(), self.number());
        let Some(record) = self.ledger.ceremony.as_mut() else { return };
        if (signed.era, signed.attempt) != (record.era, record.attempt) {
            return;
        }
        let gatekeeper = if signed.statement.is_of_dealer() {
            record.dealer(signed.index).unwrap().gatekeeper
        } else {
            record.holder(signed.index).unwrap().gatekeeper
        };
        ed25519::verify(&gatekeeper.0, &signed.signing_payload(&genesis), &signed.signature).unwrap();
        let circumstances = Circumstances { genesis, now, announced: is_announced(&genesis, &gatekeeper, &beside) };
        if take(record, signed.index, &signed.statement, beside.as_ref(), &circumstances).is_ok() {
            let (era, attempt, index) = (signed.era, signed.attempt, signed.index);
            let placed = beside.map(|attachment| PlacedAttachment { era, attempt, index, attachment });
            self.ledger.attached.extend(placed);
        }
    }
}
