//! Letters to TEEs that other relayers serve: each is offered to the peers in the configuration until one says that it serves whom it
//! is for.
//!
//! Guarantees: bounded work, and nothing here holds up a TEE that is served. Nobody is believed about what a letter says. Where a TEE was
//! found is where it is asked for first. Peers control their answers.
//!
//! Does not: notice a peer that says that it took a letter and did not, which is asked first from then on; nor pass over one that never
//! answers, which costs each letter its wait. So peers are those that the operator chose.

use crate::{
    letters::{Addressed, PATH},
    mail::{Letter, Posted, MAX_LETTER_BYTES, REPEAT_AFTER},
};
use codec::Encode;
use phala_client::{ClientError, ErrorCode};
use phala_protocol::{Hash, WorkerId};
use reqwest::StatusCode;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

/// How long a peer may take for a letter.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Letters that wait to be offered; more are repeated later.
const MOST_WAITING: usize = 1_024;
/// Letters that are offered at once.
const MOST_AT_ONCE: usize = 16;
/// How long a TEE that no peer serves is not asked for again.
const NOWHERE: Duration = Duration::from_secs(15);
/// TEEs of which it is remembered where they are, or that they are nowhere.
const MOST_REMEMBERED: usize = 4_096;

/// The other relayers.
pub(crate) struct Peers {
    urls: Vec<String>,
    http: reqwest::Client,
    queue: mpsc::Sender<Addressed>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What was sent just now.
    sent: BTreeMap<(WorkerId, Hash), Instant>,
    places: BTreeMap<WorkerId, Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// With the peer of this index.
    Peer(usize),
    /// With none, when that was asked.
    Nowhere(Instant),
}

/// What a peer says to a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    Taken,
    Elsewhere,
    Failed,
}

impl Peers {
    /// Peers by their addresses, and what waits for them.
    pub(crate) fn new(urls: Vec<String>) -> Result<(Self, mpsc::Receiver<Addressed>), ClientError> {
        let urls: Vec<_> = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        if let Some(url) = urls.iter().find(|url| !url.starts_with("http://")) {
            let message = format!("`{url}` is no relayer's address; it has the form http://HOST:PORT");
            return Err(ClientError::new(ErrorCode::Invalid, message));
        }
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // A peer says where it is in no other way than by the configuration.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ClientError::new(ErrorCode::Internal, format!("cannot make an HTTP client: {error}")))?;
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        Ok((Self { urls, http, queue, known: Mutex::default() }, waiting))
    }

    /// A panic elsewhere cannot leave it half changed.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a letter to a TEE that is not served here.
    pub(crate) fn post(&self, to: &WorkerId, letter: Letter) -> Posted {
        if self.urls.is_empty() {
            return Posted::Unserved;
        }
        let (name, bytes) = letter.name();
        if bytes > MAX_LETTER_BYTES {
            return Posted::TooLong;
        }
        let mut known = self.known();
        known.sent.retain(|_, sent| sent.elapsed() < REPEAT_AFTER);
        if known.sent.contains_key(&(*to, name)) {
            return Posted::Known;
        }
        if matches!(known.places.get(to), Some(Place::Nowhere(asked)) if asked.elapsed() < NOWHERE) {
            return Posted::Unserved;
        }
        match self.queue.try_send(Addressed { to: *to, letter }) {
            Ok(()) => {
                known.sent.insert((*to, name), Instant::now());
                Posted::New
            }
            Err(_) => Posted::Full,
        }
    }

    /// Offers what waits, for ever.
    pub(crate) async fn carry_all(self: &Arc<Self>, mut waiting: mpsc::Receiver<Addressed>) {
        let mut offered = JoinSet::new();
        while let Some(letter) = waiting.recv().await {
            while offered.len() >= MOST_AT_ONCE {
                offered.join_next().await;
            }
            while offered.try_join_next().is_some() {}
            let peers = self.clone();
            offered.spawn(async move { peers.carry(&letter).await });
        }
    }

    async fn carry(&self, letter: &Addressed) {
        let body = letter.encode();
        let first = match self.known().places.get(&letter.to) {
            Some(Place::Peer(index)) => *index,
            _ => 0,
        };
        let mut all_said = true;
        let indices = (first..self.urls.len()).chain(0..first);
        for index in indices {
            let Some(url) = self.urls.get(index) else { continue };
            match self.offer(url, &body).await {
                Offer::Taken => {
                    self.remember(letter.to, Place::Peer(index));
                    return;
                }
                Offer::Elsewhere => {}
                Offer::Failed => all_said = false,
            }
        }
        if all_said {
            tracing::debug!(to = %letter.to, "no peer serves whom a letter is for");
            self.remember(letter.to, Place::Nowhere(Instant::now()));
        }
    }

    fn remember(&self, tee: WorkerId, place: Place) {
        let mut known = self.known();
        if known.places.len() >= MOST_REMEMBERED && !known.places.contains_key(&tee) {
            // Costs a question to each peer for each that is forgotten.
            known.places.clear();
        }
        known.places.insert(tee, place);
    }

    async fn offer(&self, url: &str, body: &[u8]) -> Offer {
        // The body of an answer is not read: its status says all.
        match self.http.post(format!("{url}{PATH}")).body(body.to_vec()).send().await {
            Ok(answer) if answer.status().is_success() => Offer::Taken,
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => Offer::Elsewhere,
            Ok(answer) => {
                tracing::debug!(peer = url, status = %answer.status(), "a peer does not take a letter");
                Offer::Failed
            }
            Err(error) => {
                tracing::debug!(peer = url, %error, "a peer does not answer");
                Offer::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{letters, mail::Mail};
    use phala_protocol::keys::KeyAnswer;
    use tokio::{net::TcpListener, time::timeout};

    const HERE: WorkerId = WorkerId([1; 32]);
    const NOBODY: WorkerId = WorkerId([2; 32]);
    const SOON: Duration = Duration::from_secs(10);

    fn letter(number: u8) -> Letter {
        Letter::Answer([number; 32], KeyAnswer { encapsulated: vec![1], body: vec![2] })
    }

    /// A relayer's mail, and its address.
    async fn relayer() -> (Arc<Mail>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let mail = Arc::new(Mail::default());
        tokio::spawn(letters::serve(listener, mail.clone()));
        (mail, url)
    }

    #[tokio::test]
    async fn a_letter_reaches_the_relayer_that_serves_whom_it_is_for() {
        let ((_other, first), (mail, second)) = (relayer().await, relayer().await);
        let arrived = mail.open(HERE);
        let (peers, waiting) = Peers::new(vec![first, second]).unwrap();
        let peers = Arc::new(peers);
        let carrying = tokio::spawn({
            let peers = peers.clone();
            async move { peers.carry_all(waiting).await }
        });
        assert_eq!(peers.post(&HERE, letter(1)), Posted::New);
        assert_eq!(peers.post(&HERE, letter(1)), Posted::Known);
        timeout(SOON, arrived.notified()).await.unwrap();
        assert_eq!(mail.take(&HERE).answers.len(), 1);
        // The second is offered to whoever took the first.
        let place = async {
            while peers.known().places.get(&HERE) != Some(&Place::Peer(1)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, place).await.unwrap();
        assert_eq!(peers.post(&HERE, letter(2)), Posted::New);
        timeout(SOON, arrived.notified()).await.unwrap();
        assert_eq!(mail.take(&HERE).answers[0].0, [2; 32]);
        carrying.abort();
    }

    #[tokio::test]
    async fn whom_nobody_serves_is_not_asked_for_again_at_once_unless_a_peer_was_silent() {
        let (_mail, url) = relayer().await;
        let nowhere = |peers: &Peers| matches!(peers.known().places.get(&NOBODY), Some(Place::Nowhere(_)));
        let addressed = Addressed { to: NOBODY, letter: letter(1) };
        let (peers, _waiting) = Peers::new(vec![url.clone()]).unwrap();
        peers.carry(&addressed).await;
        assert!(nowhere(&peers));
        assert_eq!(peers.post(&NOBODY, letter(1)), Posted::Unserved);
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = format!("http://{}", gone.local_addr().unwrap());
        drop(gone);
        let (peers, _waiting) = Peers::new(vec![url, silent]).unwrap();
        peers.carry(&addressed).await;
        assert!(!nowhere(&peers));
        assert_eq!(peers.post(&NOBODY, letter(1)), Posted::New);
    }

    #[test]
    fn what_waits_for_peers_is_bounded_and_addresses_are_checked() {
        let (peers, _waiting) = Peers::new(vec!["http://10.0.0.1:1".into()]).unwrap();
        let posted = |number: usize| {
            let mut to = [0; 32];
            to[..8].copy_from_slice(&number.to_le_bytes());
            peers.post(&WorkerId(to), letter(1))
        };
        assert!((0..MOST_WAITING).all(|number| posted(number) == Posted::New));
        assert_eq!(posted(MOST_WAITING), Posted::Full);
        let (alone, _waiting) = Peers::new(vec![]).unwrap();
        assert_eq!(alone.post(&HERE, letter(1)), Posted::Unserved);
        assert_eq!(Peers::new(vec!["10.0.0.1:1".into()]).err().unwrap().code, ErrorCode::Invalid);
    }
}
