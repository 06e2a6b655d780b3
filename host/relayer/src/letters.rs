//! Letters of other relayers for the TEEs that are served here: `POST /mail/v1/letters`, the SCALE of one [`Addressed`] each.
//!
//! Guarantees: what arrives is bounded before it is decoded; an address has a bounded number of connections, of requests a second, and of
//! letters that wait; whoever does not say in time what it wants is cut off. Answers: 204 it waits for its recipient or did just now, 404
//! that TEE is not served here, 413 too long, 429 and 503 later, 400 no letter. A letter is never passed on to a third relayer.
//! Anyone controls what arrives, and may claim to be anybody: letters are signed or sealed, or rest on evidence, which their recipients
//! judge. Does not: protect against a flood from very many addresses, nor hide who writes to whom.

use crate::{
    mail::{Letter, Mail, Posted, Sender, MAX_LETTER_BYTES},
    rates::{subscriber, Rates},
};
use axum::{
    body::{to_bytes, Body},
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    routing::post,
    Router,
};
use codec::{Decode, DecodeWithMemLimit, DecodeWithMemTracking, Encode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use phala_protocol::WorkerId;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
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
const MAX_BODY_BYTES: usize = MAX_LETTER_BYTES + 64;
/// Bytes of memory that one takes, decoded.
const MAX_BODY_MEMORY: usize = 2 * MAX_BODY_BYTES;
/// Connections of all addresses together, and of one.
const MOST_CONNECTIONS: (usize, usize) = (256, 16);
/// How long a request's head may take, and a connection may be idle; and how long its body may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Pause after the kernel gave no connection: it is out of file descriptors, and asking again at once does not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A letter and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub(crate) struct Addressed {
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
    rates: Rates,
}

/// What the sender is told.
type Answer = (StatusCode, &'static str);

fn router(mail: Arc<Mail>) -> Router {
    Router::new().route(PATH, post(letter)).with_state(Arc::new(Door { mail, rates: Rates::default() }))
}

async fn letter(
    State(door): State<Arc<Door>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
) -> Answer {
    let address = subscriber(address.ip());
    if !door.rates.take(address, Instant::now()) {
        return (StatusCode::TOO_MANY_REQUESTS, "too many letters from this address; wait a second");
    }
    match tokio::time::timeout(PATIENCE, to_bytes(request.into_body(), MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => admit(&door.mail, address, &body),
        Ok(Err(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long for a letter, or broke off"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    }
}

/// Puts a letter into its recipient's mailbox.
fn admit(mail: &Mail, address: IpAddr, body: &[u8]) -> Answer {
    let Some(Addressed { to, letter }) = Addressed::decode_bounded(body) else {
        return (StatusCode::BAD_REQUEST, "this is no letter; are both relayers of one version?");
    };
    match mail.post(Sender::Address(address), &to, letter) {
        Posted::New | Posted::Known => (StatusCode::NO_CONTENT, ""),
        Posted::Unserved => (StatusCode::NOT_FOUND, "whom it is for is not served here"),
        Posted::Full => (StatusCode::SERVICE_UNAVAILABLE, "as many letters wait as may; repeat it later"),
        Posted::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "no letter is as long"),
    }
}

/// Takes letters for ever.
pub(crate) async fn serve(listener: TcpListener, mail: Arc<Mail>) {
    let router = router(mail);
    let (mut open, mut connections) = (HashMap::<IpAddr, usize>::new(), JoinSet::new());
    let (most, most_of_one) = MOST_CONNECTIONS;
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => {
                if let Ok(address) = ended {
                    leave(&mut open, address);
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let of = subscriber(address.ip());
                    let count = open.get(&of).copied().unwrap_or_default();
                    if connections.len() < most && count < most_of_one {
                        open.insert(of, count + 1);
                        let router = router.clone();
                        connections.spawn(async move {
                            connection(stream, address, router).await;
                            of
                        });
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

fn leave(open: &mut HashMap<IpAddr, usize>, address: IpAddr) {
    match open.get_mut(&address) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            open.remove(&address);
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, router: Router) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        router.clone().call(request.map(Body::new))
    });
    // How a connection ended is its peer's affair: nothing of it is logged.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_protocol::keys::KeyAnswer;

    const WORKER: WorkerId = WorkerId([1; 32]);
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn answer(request: u8, bytes: usize) -> Addressed {
        let answer = KeyAnswer { encapsulated: vec![], body: vec![request; bytes] };
        Addressed { to: WORKER, letter: Letter::Answer([request; 32], answer) }
    }

    #[test]
    fn a_letter_is_taken_whole_for_whom_is_served_and_as_long_as_there_is_room() {
        let mail = Mail::default();
        let status = |letter: &Addressed| admit(&mail, PEER, &letter.encode()).0;
        assert_eq!(status(&answer(1, 9)), StatusCode::NOT_FOUND);
        mail.open(WORKER);
        assert_eq!(status(&answer(1, 9)), StatusCode::NO_CONTENT);
        assert_eq!(status(&answer(1, 9)), StatusCode::NO_CONTENT, "again");
        assert_eq!(status(&answer(1, MAX_LETTER_BYTES)), StatusCode::PAYLOAD_TOO_LARGE);
        let mut bytes = answer(2, 9).encode();
        bytes.push(0);
        for malformed in [&bytes[..], &bytes[..bytes.len() - 2], &[], &[0xff; 100]] {
            assert_eq!(admit(&mail, PEER, malformed).0, StatusCode::BAD_REQUEST);
        }
        let taken = (2..200).filter(|request| status(&answer(*request, 9)) == StatusCode::NO_CONTENT).count();
        assert!((1..100).contains(&taken));
        assert_eq!(status(&answer(200, 9)), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(mail.take(&WORKER).answers.len(), taken + 1);
    }

    #[test]
    fn whoever_left_is_forgotten() {
        let mut open = HashMap::from([(PEER, 2)]);
        leave(&mut open, PEER);
        assert_eq!(open.get(&PEER), Some(&1));
        leave(&mut open, PEER);
        leave(&mut open, PEER);
        assert!(open.is_empty());
    }
}
