//! Mail between TEEs: requests for keys to gatekeepers, their sealed answers to workers.
//!
//! Nothing is kept: a TEE repeats what was not answered, and what was carried a few seconds ago is not carried again yet.

use phala_protocol::{
    keys::KeyAnswer,
    relay::{Delivery, KeyInquiry},
    Hash, WorkerId,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Until when something that is still outgoing counts as on its way.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// What one TEE may have waiting: more than that is repeated later by its sender.
const MAX_WAITING: usize = 64;

/// The mailboxes of all TEEs that were seen.
#[derive(Default)]
pub(crate) struct Mail(Mutex<BTreeMap<WorkerId, Mailbox>>);

#[derive(Default)]
struct Mailbox {
    inquiries: BTreeMap<Hash, KeyInquiry>,
    answers: BTreeMap<Hash, KeyAnswer>,
    carried: BTreeMap<Hash, Instant>,
    arrived: Arc<Notify>,
}

impl Mailbox {
    /// Whether `request` was carried to this TEE just now.
    fn is_on_its_way(&mut self, request: &Hash) -> bool {
        self.carried.retain(|_, carried| carried.elapsed() < REPEAT_AFTER);
        self.carried.contains_key(request)
    }
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// We do not serve whom it is for.
    Unserved,
    /// It waits, or was carried just now.
    Known,
    /// It waits since now.
    New,
}

/// Mail for one TEE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Letters {
    pub inquiries: Vec<KeyInquiry>,
    pub answers: Vec<(Hash, KeyAnswer)>,
}

impl Letters {
    pub(crate) fn is_empty(&self) -> bool {
        self.inquiries.is_empty() && self.answers.is_empty()
    }

    pub(crate) fn put_into(self, delivery: &mut Delivery) {
        delivery.inquiries = self.inquiries;
        delivery.answers = self.answers;
    }
}

impl Mail {
    /// A panic elsewhere cannot leave a mailbox half changed.
    fn boxes(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Mailbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a mailbox for a TEE, if it has none; says when mail arrives.
    pub(crate) fn open(&self, tee: WorkerId) -> Arc<Notify> {
        self.boxes().entry(tee).or_default().arrived.clone()
    }

    /// Mails a worker's request to its gatekeeper.
    pub(crate) fn ask(&self, inquiry: &KeyInquiry, collateral: Vec<u8>) -> Posted {
        let mut boxes = self.boxes();
        let Some(mailbox) = boxes.get_mut(&inquiry.request.request.gatekeeper) else { return Posted::Unserved };
        let request = inquiry.request.request.signing_payload();
        if mailbox.is_on_its_way(&request) || mailbox.inquiries.len() >= MAX_WAITING {
            return Posted::Known;
        }
        mailbox.arrived.notify_one();
        match mailbox.inquiries.insert(request, KeyInquiry { collateral, ..inquiry.clone() }) {
            Some(_) => Posted::Known,
            None => Posted::New,
        }
    }

    /// Mails a gatekeeper's answer to its worker.
    pub(crate) fn answer(&self, worker: &WorkerId, request: &Hash, answer: &KeyAnswer) -> Posted {
        let mut boxes = self.boxes();
        let Some(mailbox) = boxes.get_mut(worker) else { return Posted::Unserved };
        if mailbox.is_on_its_way(request) || mailbox.answers.len() >= MAX_WAITING {
            return Posted::Known;
        }
        mailbox.arrived.notify_one();
        match mailbox.answers.insert(*request, answer.clone()) {
            Some(_) => Posted::Known,
            None => Posted::New,
        }
    }

    /// Takes what waits for a TEE.
    pub(crate) fn take(&self, tee: &WorkerId) -> Letters {
        let mut boxes = self.boxes();
        let Some(mailbox) = boxes.get_mut(tee) else { return Letters::default() };
        let inquiries = std::mem::take(&mut mailbox.inquiries);
        let answers = std::mem::take(&mut mailbox.answers);
        let now = Instant::now();
        mailbox.carried.extend(inquiries.keys().chain(answers.keys()).map(|request| (*request, now)));
        Letters { inquiries: inquiries.into_values().collect(), answers: answers.into_iter().collect() }
    }

    /// Forgets that anything is on its way to a TEE that did not take its delivery: senders' repetitions go through at once.
    pub(crate) fn lost(&self, tee: &WorkerId) {
        if let Some(mailbox) = self.boxes().get_mut(tee) {
            mailbox.carried.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_protocol::{
        attestation::{Registration, Role},
        keys::{KeyRequest, SignedKeyRequest},
        AccountId, ClusterId,
    };

    const WORKER: WorkerId = WorkerId([1; 32]);
    const GATEKEEPER: WorkerId = WorkerId([2; 32]);

    fn inquiry() -> KeyInquiry {
        let request = KeyRequest {
            genesis: [0; 32],
            worker: WORKER,
            gatekeeper: GATEKEEPER,
            cluster: ClusterId(0),
            epoch: 1,
            nonce: [3; 32],
        };
        KeyInquiry {
            request: SignedKeyRequest { request, encryption_key: vec![], signature: [0; 64] },
            registration: Registration {
                role: Role::Worker,
                identity: WORKER,
                encryption_key: [0; 32],
                operator: AccountId([0; 32]),
                block: 0,
                block_hash: [0; 32],
            },
            evidence: vec![],
            collateral: vec![],
        }
    }

    #[test]
    fn carries_each_letter_once_until_it_is_lost() {
        let mail = Mail::default();
        assert_eq!(mail.ask(&inquiry(), vec![7]), Posted::Unserved);
        mail.open(GATEKEEPER);
        assert_eq!(mail.ask(&inquiry(), vec![7]), Posted::New);
        assert_eq!(mail.ask(&inquiry(), vec![7]), Posted::Known);
        let letters = mail.take(&GATEKEEPER);
        assert_eq!((letters.inquiries.len(), &letters.inquiries[0].collateral), (1, &vec![7]));
        assert_eq!(mail.ask(&inquiry(), vec![7]), Posted::Known);
        assert!(mail.take(&GATEKEEPER).is_empty(), "it is on its way");
        mail.lost(&GATEKEEPER);
        assert_eq!(mail.ask(&inquiry(), vec![7]), Posted::New);
        assert!(!mail.take(&GATEKEEPER).is_empty());
    }

    #[tokio::test]
    async fn answers_wake_the_worker_that_asked() {
        let mail = Mail::default();
        let arrived = mail.open(WORKER);
        let answer = KeyAnswer { encapsulated: vec![1], body: vec![2] };
        assert_eq!(mail.answer(&WORKER, &[9; 32], &answer), Posted::New);
        tokio::time::timeout(Duration::from_secs(1), arrived.notified()).await.unwrap();
        assert_eq!(mail.take(&WORKER).answers, vec![([9; 32], answer.clone())]);
        assert_eq!(mail.answer(&GATEKEEPER, &[9; 32], &answer), Posted::Unserved);
    }
}
