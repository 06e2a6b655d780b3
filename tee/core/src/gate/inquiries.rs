//! Inquiries: what workers ask of a gatekeeper's seats, until it is answered.
//!
//! Guarantees: an inquiry is answered only from records proved against this TEE's own finalised head, by the seat of the era that is asked
//! for, and if that head gives the epoch to that era and has recorded that seat's root. Anyone may inquire: what waits is bounded, for each
//! worker too, and is signed by the worker that it names, with the key to answer to. The signature does not cover evidence and collateral,
//! so that whoever saw a request can send it with others: each copy that differs is judged on its own, and none stands in for another. Each
//! request is answered once, the same bytes being repeated until they are forgotten, or the era's seat is; one that is too old for this
//! gatekeeper's head is refused before it takes room, and so is one that grew too old while it waited. Workers show the same evidence
//! epoch after epoch: a [`Verifier`] spares its signatures, until a restart. How often a worker is answered is bounded, and each answer and
//! refusal is numbered (`granted.rs`). Does not: keep a relayer, or many askers with keys of their own, from filling the room until the next
//! proof.

use super::{
    granted::{Granted, KeysHealth},
    seats::Seats,
    Sight, Subject,
};
use crate::{
    chain::{ChainError, Records, Shown},
    listed::Listed,
    machine::{draw, MachineFault},
    rules::{Allowance, Rules},
    tee::Notice,
};
use phala_gatekeeper::{check_age, verify_request, Facts, Refusal, SignedInquiry, Verifier};
use phala_protocol::{
    chain_state::ClusterRecord,
    ids::BlockNumber,
    keys::{KeyPurpose, KeyRequest},
    relay::{KeyInquiry, Outgoing, MOST_INQUIRIES, MOST_INQUIRIES_OF_ONE},
    storage, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// Inquiries that wait for their facts, and that one delivery brings.
const MAX_WAITING: usize = MOST_INQUIRIES;
/// Of them, those that name one worker.
const MAX_WAITING_OF_ONE: usize = MOST_INQUIRIES_OF_ONE;
/// Blocks for which an answer is repeated.
const REPEAT_BLOCKS: BlockNumber = 20;

/// An answer that was given.
struct Answered {
    at: BlockNumber,
    era: u32,
    outgoing: Outgoing,
}

/// The inquiries.
#[derive(Default)]
pub(super) struct Inquiries {
    /// By the worker that asks.
    waiting: BTreeMap<WorkerId, Vec<SignedInquiry>>,
    /// Measurements of workers that wait, whose allow-list entries have to be proved.
    measurements: BTreeSet<Hash>,
    answered: BTreeMap<Hash, Answered>,
    /// What is known of the machines of workers.
    verifier: Verifier,
    granted: Granted,
}

impl Inquiries {
    /// Takes inquiries that are for this gatekeeper, signed by the worker that they name, and not too old for block `now`; the others are
    /// refused at once.
    pub(super) fn take(
        &mut self,
        inquiries: Vec<KeyInquiry>,
        genesis: &Hash,
        gatekeeper: &WorkerId,
        now: BlockNumber,
        notices: &mut Vec<Notice>,
    ) {
        for inquiry in inquiries.into_iter().take(MAX_WAITING) {
            let request = inquiry.request.request;
            let (worker, payload) = (request.worker, request.signing_payload());
            let of_one = self.waiting.get(&worker).map(Vec::as_slice).unwrap_or_default();
            if self.answered.contains_key(&payload) || of_one.iter().any(|waiting| *waiting.inquiry() == inquiry) {
                continue;
            }
            let has_room =
                of_one.len() < MAX_WAITING_OF_ONE && self.waiting.values().map(Vec::len).sum::<usize>() < MAX_WAITING;
            let young = |signed| check_age(&request, now).map(|()| signed);
            match verify_request(inquiry, genesis, gatekeeper).and_then(young) {
                Ok(signed) if has_room => self.wait(signed),
                Ok(_) => self.granted.leave_out(),
                Err(refusal) => notices.push(self.granted.refuse(&request, refusal)),
            }
        }
    }

    fn wait(&mut self, signed: SignedInquiry) {
        self.waiting.entry(signed.inquiry().request.request.worker).or_default().push(signed);
    }

    /// Repeats only answers of eras that are `held`.
    pub(super) fn retain(&mut self, held: impl Fn(u32) -> bool) {
        self.answered.retain(|_, answered| held(answered.era));
    }

    pub(super) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        let asked: BTreeSet<_> =
            self.waiting.values().flatten().map(|signed| signed.inquiry().request.request.cluster).collect();
        let mut keys: Vec<_> = asked.into_iter().map(storage::cluster_key).collect();
        keys.extend(self.waiting.keys().map(storage::worker_key));
        keys.extend(self.measurements.iter().flat_map(Allowance::wanted_keys));
        keys
    }

    /// Answers or refuses every inquiry whose facts the proof shows.
    pub(super) fn observe(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        rules: &Rules,
        listed: &Listed,
        seats: &Seats,
        notices: &mut Vec<Notice>,
    ) -> Result<(), ChainError> {
        let (now, _) = sight.chain.head();
        self.answered.retain(|_, answered| now.saturating_sub(answered.at) < REPEAT_BLOCKS);
        let mut measurements = BTreeSet::new();
        for signed in std::mem::take(&mut self.waiting).into_values().flatten() {
            let (request, payload) = (signed.inquiry().request.request, signed.payload());
            if self.answered.contains_key(&payload) {
                continue;
            }
            match facts(&request, records, sight, rules, listed)? {
                Ok(facts) => {
                    let judged = match self.granted.permit(&request, &payload, now) {
                        Ok(()) => judge(&signed, &facts, sight, seats, &mut self.verifier),
                        Err(refusal) => Ok(Err(refusal)),
                    };
                    match judged {
                        Ok(Ok(outgoing)) => {
                            notices.push(self.granted.give(&request, payload, purposes(&request, &facts), now));
                            self.answered.insert(payload, Answered { at: now, era: request.era, outgoing });
                        }
                        Ok(Err(refusal)) => notices.push(self.granted.refuse(&request, refusal)),
                        // No entropy now: the inquiry waits.
                        Err(_) => self.wait(signed),
                    }
                }
                Err(measurement) => {
                    measurements.extend(measurement);
                    self.wait(signed);
                }
            }
        }
        self.measurements = measurements;
        Ok(())
    }

    /// What became of requests so far.
    pub(super) fn health(&self) -> KeysHealth {
        self.granted.health()
    }

    /// The answers.
    pub(super) fn outgoing(&self) -> Vec<Outgoing> {
        self.answered.values().map(|answered| answered.outgoing.clone()).collect()
    }
}

/// The facts about a request, or the measurement that has to be proved too; none when records are missing altogether.
pub(super) fn facts(
    request: &KeyRequest,
    records: &Records<'_>,
    sight: &Sight<'_>,
    rules: &Rules,
    listed: &Listed,
) -> Result<Result<Facts, Option<Hash>>, ChainError> {
    let cluster = records.get::<ClusterRecord>(&storage::cluster_key(request.cluster))?;
    if cluster == Shown::Nothing {
        return Ok(Err(None));
    }
    let subject = Subject::of(&request.worker, records, listed)?;
    Ok(subject.map(|subject| Facts {
        root: sight.roots.of_era(request.era).cloned(),
        coming_era: sight.roots.coming_era(),
        cluster: cluster.value(),
        ..sight.facts(rules, subject)
    }))
}

/// For how many purposes an answer by these facts has keys.
fn purposes(request: &KeyRequest, facts: &Facts) -> usize {
    let may = |cluster: &ClusterRecord| {
        KeyPurpose::ALL.into_iter().filter(|purpose| cluster.may_have(request.epoch, *purpose, facts.head.0)).count()
    };
    facts.cluster.as_ref().map_or(0, may)
}

fn judge(
    signed: &SignedInquiry,
    facts: &Facts,
    sight: &Sight<'_>,
    seats: &Seats,
    verifier: &mut Verifier,
) -> Result<Result<Outgoing, Refusal>, MachineFault> {
    let Some(seat) = facts.root.as_ref().and_then(|root| seats.of(root)) else {
        return Ok(Err(Refusal::RootNotRecorded));
    };
    let answer = seat.answer(signed, facts, verifier, &draw(sight.machine)?, &draw(sight.machine)?);
    let (worker, request) = (signed.inquiry().request.request.worker, signed.payload());
    Ok(answer.map(|answer| Outgoing::AnswerKeys { worker, request, answer }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_crypto::{signature::ed25519::IdentityKey, xwing::PUBLIC_KEY_BYTES, Secret};
    use phala_protocol::{
        attestation::{Registration, Role},
        keys::{answer_key_hash, SignedKeyRequest},
        limits::KEY_REQUEST_BLOCKS,
        AccountId, ClusterId,
    };

    const GENESIS: Hash = [1; 32];
    const GATEKEEPER: WorkerId = WorkerId([2; 32]);
    const NOW: BlockNumber = 1_000;

    /// A worker's inquiry, as it signs it, with some evidence.
    fn inquiry(seed: u8, evidence: u8) -> KeyInquiry {
        let key = IdentityKey::from_seed(&Secret::new([seed; 32]));
        let worker = WorkerId(key.public());
        let (cluster, epoch) = (ClusterId(0), 1);
        // Nothing is sealed to it here.
        let public_key = vec![seed; PUBLIC_KEY_BYTES];
        let request = KeyRequest {
            genesis: GENESIS,
            worker,
            gatekeeper: GATEKEEPER,
            cluster,
            era: 0,
            epoch,
            nonce: [seed; 32],
            answer_key: answer_key_hash(&public_key),
            at: NOW,
        };
        let signature = key.sign(&request.signing_payload());
        let registration = Registration {
            role: Role::Worker,
            identity: worker,
            encryption_key: [0; 32],
            operator: AccountId([0; 32]),
            block: 0,
            block_hash: [0; 32],
        };
        KeyInquiry {
            request: SignedKeyRequest { request, public_key, signature },
            registration,
            evidence: vec![evidence],
            collateral: Vec::new(),
        }
    }

    fn refusals(asked: &mut Inquiries, inquiries: Vec<KeyInquiry>) -> Vec<Refusal> {
        refusals_at(asked, inquiries, NOW)
    }

    fn refusals_at(asked: &mut Inquiries, inquiries: Vec<KeyInquiry>, now: BlockNumber) -> Vec<Refusal> {
        let mut notices = Vec::new();
        asked.take(inquiries, &GENESIS, &GATEKEEPER, now, &mut notices);
        let refusal = |notice| match notice {
            Notice::KeysRefused { refusal, .. } => refusal,
            other => panic!("{other:?}"),
        };
        notices.into_iter().map(refusal).collect()
    }

    fn of_one(asked: &Inquiries, inquiry: &KeyInquiry) -> Vec<KeyInquiry> {
        let waiting = asked.waiting.get(&inquiry.request.request.worker);
        waiting.into_iter().flatten().map(|signed| signed.inquiry().clone()).collect()
    }

    #[test]
    fn what_is_not_signed_by_whom_it_names_takes_no_room() {
        let mut asked = Inquiries::default();
        let forged = |seed| {
            let mut forged = inquiry(seed, 0);
            forged.request.signature[0] ^= 1;
            forged
        };
        let all = (0..64).map(forged).collect();
        assert_eq!(refusals(&mut asked, all), vec![Refusal::BadSignature; 64]);
        let mut elsewhere = inquiry(1, 0);
        elsewhere.request.request.gatekeeper = WorkerId([3; 32]);
        assert_eq!(refusals(&mut asked, vec![elsewhere]), [Refusal::WrongAddressee]);
        let other_key = |seed| {
            let mut other_key = inquiry(1, 0);
            other_key.request.public_key = vec![seed; PUBLIC_KEY_BYTES];
            other_key
        };
        let all = (2..66).map(other_key).collect();
        assert_eq!(refusals(&mut asked, all), vec![Refusal::BadEncryptionKey; 64], "keys of whoever saw the request");
        assert!(asked.waiting.is_empty());
        assert!(refusals(&mut asked, vec![inquiry(1, 0)]).is_empty());
        assert_eq!(of_one(&asked, &inquiry(1, 0)), [inquiry(1, 0)]);
    }

    #[test]
    fn what_is_too_old_takes_no_room_and_what_is_ahead_waits() {
        let mut asked = Inquiries::default();
        let all: Vec<_> = (1..9).map(|seed| inquiry(seed, 0)).collect();
        let head = NOW + KEY_REQUEST_BLOCKS + 1;
        assert_eq!(refusals_at(&mut asked, all.clone(), head), vec![Refusal::Stale { at: NOW, head }; 8]);
        assert!(asked.waiting.is_empty());
        // A gatekeeper that is behind the worker, or has what is just young enough.
        assert!(refusals_at(&mut asked, all[..4].to_vec(), NOW - 30).is_empty());
        assert!(refusals_at(&mut asked, all[4..].to_vec(), head - 1).is_empty());
        assert_eq!(asked.waiting.len(), 8);
    }

    #[test]
    fn a_copy_with_other_evidence_replaces_nothing_and_takes_its_own_workers_room_only() {
        let mut asked = Inquiries::default();
        let honest = inquiry(1, 0);
        let copies: Vec<_> = (0..60).map(|evidence| inquiry(1, evidence)).collect();
        assert!(refusals(&mut asked, copies.clone()).is_empty() && refusals(&mut asked, copies).is_empty());
        let waiting = of_one(&asked, &honest);
        assert_eq!(waiting.len(), MAX_WAITING_OF_ONE);
        assert_eq!(waiting.first(), Some(&honest));
        let other = inquiry(2, 0);
        refusals(&mut asked, vec![other.clone(), other.clone()]);
        assert_eq!(of_one(&asked, &other), [other], "once");
        // Askers with keys of their own, as many as anybody likes.
        refusals(&mut asked, (3..63).map(|seed| inquiry(seed, 0)).collect());
        let all: usize = asked.waiting.values().map(Vec::len).sum();
        assert_eq!(all, MAX_WAITING);
    }
}
