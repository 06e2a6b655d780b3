//! Letters of other relayers for the TEEs that are served here: `POST /mail/v1/letters`, the SCALE of one [`Addressed`] each.
//!
//! Guarantees: what arrives is bounded before it is decoded; an address has a bounded number of connections, of requests a second, and of
//! letters that wait; whoever does not say in time what it wants is cut off, and a connection that is old ends with the next answer, which
//! says so. When all places are taken, a newcomer gets one of the site that has most ([`open`]): nobody keeps others out by staying. Relayers
//! that the operator named have places of their own, which no stranger gets. Answers: 204 it waits for its recipient or did just now, 404 that
//! TEE is not served here, 409 it is of another chain, 413 too long, 429 and 503 later (503 also while it is not known yet who is served), 400
//! no letter. A letter is never passed on to a third relayer.
//! Other routes may stand on the same listener, under its bounds: relayers exchange snapshots there (`snapshots/serving.rs`).
//! Anyone controls what arrives, and may claim to be anybody: letters are signed or sealed, or rest on evidence, which their recipients
//! judge. Does not: protect against a flood from very many sites, nor hide who writes to whom.

mod open;

use crate::{
    mail::{Letter, Mail, Posted, MAX_LETTER_BYTES},
    rates::{subscriber, Rates},
};
use axum::{
    body::{to_bytes, Body},
    extract::{ConnectInfo, Request, State},
    http::{header, HeaderValue, StatusCode},
    routing::post,
    Router,
};
use codec::{Decode, DecodeWithMemLimit, DecodeWithMemTracking, Encode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use open::Open;
use phala_protocol::{Hash, WorkerId};
use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::Service as _;

/// The path of a letter.
pub(crate) const PATH: &str = "/mail/v1/letters";
/// Bytes of a letter with its address.
pub(crate) const MAX_BODY_BYTES: usize = MAX_LETTER_BYTES + 128;
/// Bytes of memory that one takes, decoded.
const MAX_BODY_MEMORY: usize = 2 * MAX_BODY_BYTES;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Pause after the kernel gave no connection: it is out of file descriptors, and asking again at once does not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Seconds for which a connection is kept that is idle. Other relayers let go of theirs sooner.
pub(crate) const IDLE_SECONDS: u64 = 10;

/// What the listener bears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections of all strangers' addresses together.
    connections: usize,
    /// Connections of a stranger's address, and of each named relayer.
    of_one: usize,
    /// Connections of all strangers of one site.
    of_site: usize,
    /// How long a request's head may take, and a connection may be idle; and how long its body may take.
    patience: Duration,
    /// How old a connection may be whose next answer does not end it. `patience` later it ends without; a request under way then has another.
    lifetime: Duration,
}

impl Bounds {
    /// As it ships.
    pub(crate) const USUAL: Self = Self {
        connections: 256,
        of_one: 16,
        of_site: 128,
        patience: Duration::from_secs(IDLE_SECONDS),
        lifetime: Duration::from_secs(60),
    };
}

impl Default for Bounds {
    fn default() -> Self {
        Self::USUAL
    }
}

/// A letter, whom it is for, and on which chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub(crate) struct Addressed {
    /// The chain's genesis hash.
    pub chain: Hash,
    pub to: WorkerId,
    pub letter: Letter,
}

impl Addressed {
    /// Decodes a letter, and nothing after it.
    fn decode_bounded(mut bytes: &[u8]) -> Option<Self> {
        let addressed = Self::decode_with_mem_limit(&mut bytes, MAX_BODY_MEMORY).ok()?;
        bytes.is_empty().then_some(addressed)
    }
}

/// What the route works with.
struct Door {
    mail: Arc<Mail>,
    strangers: Rates,
    peers: Rates,
    patience: Duration,
}

/// What the sender is told.
type Answer = (StatusCode, &'static str);

fn router(mail: Arc<Mail>, bounds: &Bounds) -> Router {
    let door = Door { mail, strangers: Rates::usual(), peers: Rates::of_peers(), patience: bounds.patience };
    Router::new().route(PATH, post(letter)).with_state(Arc::new(door))
}

async fn letter(
    State(door): State<Arc<Door>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
) -> Answer {
    let address = subscriber(address.ip());
    let rates = if door.mail.names(&address) { &door.peers } else { &door.strangers };
    if !rates.take(address, Instant::now()) {
        return (StatusCode::TOO_MANY_REQUESTS, "too many letters from this address; wait a second");
    }
    match tokio::time::timeout(door.patience, to_bytes(request.into_body(), MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => admit(&door.mail, address, &body),
        Ok(Err(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long for a letter, or broke off"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    }
}

/// Puts a letter into its recipient's mailbox.
pub(crate) fn admit(mail: &Mail, address: IpAddr, body: &[u8]) -> Answer {
    let Some(Addressed { chain, to, letter }) = Addressed::decode_bounded(body) else {
        return (StatusCode::BAD_REQUEST, "this is no letter; are both relayers of one version?");
    };
    match mail.receive(address, &chain, &to, letter) {
        Posted::New | Posted::Known => (StatusCode::NO_CONTENT, ""),
        Posted::Unserved => (StatusCode::NOT_FOUND, "whom it is for is not served here"),
        Posted::Foreign => (StatusCode::CONFLICT, "whom it is for follows another chain; look at both relayers' nodes"),
        Posted::Full => (StatusCode::SERVICE_UNAVAILABLE, "as many letters wait as may; repeat it later"),
        Posted::NotYet => (StatusCode::SERVICE_UNAVAILABLE, "not all TEEs were heard from yet; repeat it later"),
        Posted::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "no letter is as long"),
    }
}

/// Takes letters for ever, and serves the routes of `beside`.
pub(crate) async fn serve(listener: TcpListener, mail: Arc<Mail>, beside: Router, bounds: Bounds) {
    let router = router(mail.clone(), &bounds).merge(beside);
    let (mut strangers, mut named, mut connections) = (Open::default(), Open::default(), JoinSet::new());
    loop {
        tokio::select! {
            // In this order: whoever left is counted no more before somebody new comes, and nobody makes room in vain.
            biased;
            Some(ended) = connections.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                strangers.leave(id);
                named.leave(id);
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let of = subscriber(address.ip());
                    let (open, has_room) = match mail.relayers_at(&of) {
                        0 => {
                            let has_room = strangers.make_room(&of, &bounds);
                            (&mut strangers, has_room)
                        }
                        relayers => {
                            let has_room = named.count(&of) < bounds.of_one.saturating_mul(relayers);
                            (&mut named, has_room)
                        }
                    };
                    if has_room {
                        open.enter(of, connections.spawn(connection(stream, address, router.clone(), bounds)));
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, router: Router, bounds: Bounds) {
    let begun = Instant::now();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        let answering = router.clone().call(request.map(Body::new));
        async move {
            let mut answer = answering.await?;
            // So that nobody sends a letter into the end of an old one.
            if begun.elapsed() >= bounds.lifetime {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.patience)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    // How a connection ended is its peer's affair: nothing of it is logged. By then an answer has ended it, or it was idle for its time; else a
    // request is under way.
    if tokio::time::timeout(bounds.lifetime + bounds.patience, serving.as_mut()).await.is_err() {
        serving.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(bounds.patience, serving).await;
    }
}

#[cfg(test)]
mod tests;
