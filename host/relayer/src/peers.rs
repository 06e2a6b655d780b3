//! Letters to TEEs that other relayers serve: each is offered to the peers in the configuration until one says that it serves whom it
//! is for.
//!
//! Guarantees: bounded work, and nothing here holds up a TEE that is served. Nobody is believed about what a letter says, nor that it was
//! taken: what a TEE says again is offered to all ([`places`]). A peer has a bounded number of letters at a time, each a bounded time; one
//! that has as many is passed over after a moment, and one that does not answer is left alone for a while, so that it holds up no letter to
//! another. Peers control their answers.
//!
//! Does not: notice who of several peers that take a letter carries it; each gets it.

mod places;

use crate::{
    letters::{Addressed, IDLE_SECONDS, PATH},
    mail::{Letter, Posted, REPEAT_AFTER},
    rates::subscriber,
};
use codec::Encode;
use phala_client::{ClientError, ErrorCode};
use phala_protocol::{Hash, WorkerId};
use places::{Places, Step, SLOW};
use reqwest::{StatusCode, Url};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    net::lookup_host,
    sync::{mpsc, Semaphore},
    task::JoinSet,
    time::timeout,
};

/// Peers in a configuration.
const MOST_PEERS: usize = 64;
/// How long a peer may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer may take for a letter, with the connection.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection to another relayer is kept that nothing is sent over: less than its other end keeps it, lest something is sent into
/// its end.
pub(crate) const IDLE: Duration = Duration::from_secs(5);
/// Letters that wait to be offered; more are repeated later.
const MOST_WAITING: usize = 768;
/// Letters that are offered at once, or wait a little for a peer that has enough.
const MOST_AT_ONCE: usize = 256;
/// Letters that one peer is offered at once.
const MOST_OF_ONE: usize = 4;
/// How long a letter waits for a peer that has enough while another may take it: who is slow holds up nothing for longer.
const ROOM_PATIENCE: Duration = Duration::from_millis(300);
/// How long it waits for the only one that is left.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// What was sent just now, at most: what waits, eight times. Where one relayer has all holders of identities but the coordinator, and as
/// many messages are signed as may be at once, each of them sends 64 commitments, which are on their way within few seconds.
const MOST_SENT: usize = 8 * (MOST_WAITING + MOST_AT_ONCE);

/// The other relayers.
pub(crate) struct Peers {
    peers: Vec<Peer>,
    http: reqwest::Client,
    queue: mpsc::Sender<Addressed>,
    places: Mutex<Places>,
    /// What was sent just now, or waits.
    sent: Mutex<BTreeMap<(WorkerId, Hash), Sent>>,
}

struct Sent {
    at: Instant,
    /// It is in the queue, or being offered.
    waits: bool,
}

impl Sent {
    /// Whether it is not to be sent again yet.
    fn is_recent(&self) -> bool {
        self.waits || self.at.elapsed() < REPEAT_AFTER
    }
}

struct Peer {
    /// Where it takes letters.
    url: Url,
    /// How many more letters it is offered now.
    room: Semaphore,
}

/// What a peer says to a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    Taken,
    Elsewhere,
    /// It answers, and has no room, or too many letters of ours.
    Busy,
    Failed,
}

/// Whether this is a relayer's address as its peers are given it: `http://HOST:PORT`, and nothing after that. Asks nobody.
///
/// # Errors
/// `invalid` when it is another.
pub fn check_peer(text: &str) -> Result<(), ClientError> {
    peer_url(text).map(drop)
}

/// The address, if it is one.
pub(crate) fn peer_url(text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text).ok().filter(|url| {
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        url.scheme() == "http" && url.has_host() && url.path() == "/" && url.fragment().is_none() && is_plain
    });
    url.ok_or_else(|| {
        let message = format!("`{text}` is no relayer's address; it has the form http://HOST:PORT");
        ClientError::new(ErrorCode::Invalid, message)
    })
}

/// Where peers are, as far as their names are known now, and how many are there. What comes from there is told from what strangers send.
pub(crate) async fn addresses(urls: &[String]) -> BTreeMap<IpAddr, usize> {
    let mut addresses = BTreeMap::new();
    let urls: BTreeSet<Url> = urls.iter().filter_map(|text| peer_url(text).ok()).collect();
    for url in urls {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { continue };
        match tokio::time::timeout(CONNECT_TIMEOUT, lookup_host(format!("{host}:{port}"))).await {
            Ok(Ok(found)) => {
                for address in found.map(|address| subscriber(address.ip())).collect::<BTreeSet<_>>() {
                    *addresses.entry(address).or_insert(0) += 1;
                }
            }
            _ => tracing::warn!(peer = %url, "the name of a peer is unknown: what it brings counts as a stranger's"),
        }
    }
    addresses
}

impl Peers {
    /// Peers by their addresses, and what waits for them.
    pub(crate) fn new(urls: &[String]) -> Result<(Self, mpsc::Receiver<Addressed>), ClientError> {
        let mut peers: Vec<Peer> = Vec::new();
        for text in urls {
            let mut url = peer_url(text)?;
            url.set_path(PATH);
            if peers.iter().all(|known| known.url != url) {
                peers.push(Peer { url, room: Semaphore::new(MOST_OF_ONE) });
            }
        }
        if peers.len() > MOST_PEERS {
            let message = format!("{} other relayers are too many; {MOST_PEERS} may be named", peers.len());
            return Err(ClientError::new(ErrorCode::Invalid, message));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_OF_ONE)
            // A peer says where it is in no other way than by the configuration, and is asked directly.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| ClientError::new(ErrorCode::Internal, format!("cannot make an HTTP client: {error}")))?;
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let places = Mutex::new(Places::new(peers.len()));
        Ok((Self { peers, http, queue, places, sent: Mutex::default() }, waiting))
    }

    /// A panic elsewhere cannot leave it half changed.
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a letter to a TEE that is not served here, of the chain of this genesis hash.
    pub(crate) fn post(&self, chain: &Hash, to: &WorkerId, letter: Letter) -> Posted {
        if self.peers.is_empty() {
            return Posted::Unserved;
        }
        let (name, bytes) = letter.name();
        if bytes > letter.most_bytes() {
            return Posted::TooLong;
        }
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.get(&(*to, name)).is_some_and(Sent::is_recent) {
            return Posted::Known;
        }
        if self.places().is_nowhere(to, Instant::now()) {
            return Posted::Unserved;
        }
        if sent.len() >= MOST_SENT {
            sent.retain(|_, sent| sent.is_recent());
            if sent.len() >= MOST_SENT {
                return Posted::Full;
            }
        }
        match self.queue.try_send(Addressed { chain: *chain, to: *to, letter }) {
            Ok(()) => {
                sent.insert((*to, name), Sent { at: Instant::now(), waits: true });
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
            offered.spawn(async move {
                peers.carry(&letter).await;
                peers.waits_no_more(&letter);
            });
        }
    }

    /// A letter was offered to whom it could be; if it is sent again, it is offered again.
    fn waits_no_more(&self, letter: &Addressed) {
        let (name, _) = letter.letter.name();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sent) = sent.get_mut(&(letter.to, name)) {
            sent.waits = false;
        }
    }

    async fn carry(&self, letter: &Addressed) {
        let (to, subject, body) = (&letter.to, letter.letter.subject(), letter.encode());
        let mut route = self.places().route(to, &subject, Instant::now()).into_iter();
        let (mut is_taken, mut all_said) = (false, true);
        while let Some(Step { peer: index, always }) = route.next() {
            if is_taken && !always {
                continue;
            }
            let Some(peer) = self.peers.get(index) else { continue };
            let is_last_hope = !is_taken && route.as_slice().is_empty();
            let patience = if is_last_hope { LAST_PATIENCE } else { ROOM_PATIENCE };
            // Nobody closes it. Whoever has no room in that time is passed over, and may get it when it is repeated.
            let Ok(Ok(_room)) = timeout(patience, peer.room.acquire()).await else {
                all_said = false;
                continue;
            };
            // It may have failed others while this waited for it.
            if !self.places().admits(index, Instant::now()) {
                all_said = false;
                continue;
            }
            let started = Instant::now();
            let offer = self.offer(&peer.url, &body).await;
            let now = Instant::now();
            let mut places = self.places();
            places.answered(index, offer != Offer::Failed, now.saturating_duration_since(started), now);
            match offer {
                Offer::Taken => {
                    places.took(to, &subject, index, now);
                    is_taken = true;
                }
                Offer::Elsewhere => places.elsewhere(to, index, now),
                Offer::Busy | Offer::Failed => all_said = false,
            }
        }
        if all_said && !is_taken {
            tracing::debug!(%to, "no peer serves whom a letter is for");
        }
    }

    async fn offer(&self, url: &Url, body: &[u8]) -> Offer {
        // The body of an answer is not read: its status says all.
        let status = match self.http.post(url.clone()).body(body.to_vec()).send().await {
            Ok(answer) => answer.status(),
            Err(error) => {
                tracing::debug!(%error, "a peer does not answer");
                return Offer::Failed;
            }
        };
        match status {
            StatusCode::NO_CONTENT => Offer::Taken,
            StatusCode::NOT_FOUND => Offer::Elsewhere,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Offer::Busy,
            StatusCode::CONFLICT => {
                tracing::warn!(peer = %url, "whom a letter is for follows another chain there: is it a relayer of this network?");
                Offer::Elsewhere
            }
            status => {
                tracing::debug!(peer = %url, %status, "a peer does not take a letter");
                Offer::Failed
            }
        }
    }
}

/// A peer that is slow is left alone before one that does not answer is given up.
const _: () = assert!(SLOW.as_secs() < TIMEOUT.as_secs());
/// And what is on its way when a connection is kept for the last time arrives before its other end ends it.
const _: () = assert!(2 * IDLE.as_secs() <= IDLE_SECONDS);

#[cfg(test)]
mod tests;
