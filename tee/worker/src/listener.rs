//! Accepts connections and serves a router on them, within bounds that axum's own server does not have.
//!
//! Guarantees: a subscriber has a bounded number of connections, and so have a site and all of them together, of which whoever has most gives
//! one to a newcomer ([`crate::places`]); whoever does not finish a request's head in time is cut off, also one who waits between two requests,
//! and so is one who does not take an answer in time, or hangs up before it ([`crate::presence`]). An old connection ends: with the next
//! answer, which says so, that its client sends nothing into its end; without one as soon as it was idle for its time. Ending the process
//! waits for requests under way, and for no longer than [`FAREWELL`]. Whoever is over a bound gets a refusal of the usual form.
//! Does not: protect against a flood from very many sites. Anyone controls who connects, how often and how slowly.

use crate::{
    bounds::REQUEST_SECONDS,
    patient::Patient,
    places::{Places, Room},
    presence::{watched, Expected},
};
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{header, HeaderValue},
    Router,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use phala_protocol::limits::IDLE_CONNECTION_SECONDS;
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tower::Service as _;

/// What one listener bears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections.
    pub room: Room,
    /// How long a request's head may take, and a connection may be idle.
    pub head: Duration,
    /// How long nothing may be taken of an answer.
    pub write: Duration,
    /// How old a connection may be whose next answer does not end it. `head` later it ends without.
    pub lifetime: Duration,
    /// How long a request may take that is under way then.
    pub last: Duration,
}

/// For everybody's listener. File descriptors are what runs out first: a process has 1,024 of them unless its operator gives more.
pub(crate) const PUBLIC: Bounds = Bounds {
    // A carrier's customers, each with a network of 2^64, may be one site: half of all.
    room: Room { connections: 512, per_address: 64, per_site: 256 },
    head: Duration::from_secs(IDLE_CONNECTION_SECONDS),
    write: Duration::from_secs(10),
    lifetime: Duration::from_secs(60),
    last: Duration::from_secs(20),
};
/// For the relayer's, which has one address, and asks on one connection as long as it likes.
pub(crate) const OPERATOR: Bounds = Bounds {
    room: Room { connections: 64, per_address: 64, per_site: 64 },
    head: Duration::from_secs(IDLE_CONNECTION_SECONDS),
    write: Duration::from_secs(30),
    lifetime: Duration::from_secs(60 * 60),
    last: Duration::from_secs(150),
};
// A request has its own time, and its answer is written after that.
const _: () = assert!(PUBLIC.last.as_secs() >= REQUEST_SECONDS + PUBLIC.write.as_secs());

/// How long requests under way may take when the process is asked to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// Pause after the kernel gave no connection: it is out of file descriptors, and asking again at once does not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections over a bound that are being told so.
const MAX_REFUSALS: usize = 32;
/// How long telling them may take.
const REFUSAL: Duration = Duration::from_millis(200);
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// What somebody over a bound is told.
const BUSY: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 99\r\n\r\n",
    r#"{"error":{"code":"busy","message":"too many connections are open","hint":"close some, then again"}}"#
);

/// Serves `router` until `ended`.
pub(crate) async fn serve(listener: TcpListener, router: Router, bounds: Bounds, ended: impl Future<Output = ()>) {
    let (mut places, mut connections, mut refusals) = (Places::default(), JoinSet::new(), JoinSet::new());
    let (stop, stopped) = watch::channel(false);
    let mut ended = pin!(ended);
    loop {
        tokio::select! {
            // In this order: whoever left is counted no more before somebody new comes.
            biased;
            () = &mut ended => break,
            Some(left) = connections.join_next_with_id() => places.leave(match &left {
                Ok((id, ())) => *id,
                Err(error) => error.id(),
            }),
            Some(_) = refusals.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    if places.make_room(address.ip(), &bounds.room) {
                        let served = connection(stream, address, router.clone(), bounds, stopped.clone());
                        places.enter(address.ip(), connections.spawn(served));
                    } else if refusals.len() < MAX_REFUSALS {
                        // Beyond as many as may wait for it, nobody is told why.
                        refusals.spawn(refuse(stream));
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let farewell = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// Says that there is no place. What the peer sent is read, for a connection that is closed over unread bytes is reset, and a
/// reset overtakes the answer.
async fn refuse(mut stream: TcpStream) {
    let said = async {
        stream.write_all(BUSY.as_bytes()).await?;
        stream.shutdown().await?;
        let mut sent = [0; 1_024];
        while stream.read(&mut sent).await? > 0 {}
        io::Result::Ok(())
    };
    // How it ended is its peer's affair.
    let _ = tokio::time::timeout(REFUSAL, said).await;
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    bounds: Bounds,
    mut stopped: watch::Receiver<bool>,
) {
    let begun = Instant::now();
    let (stream, peer) = watched(stream);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        let (head, body) = request.into_parts();
        let (body, read) = Expected::new(body);
        let answering = router.clone().call(Request::from_parts(head, Body::new(body)));
        let peer = peer.clone();
        async move {
            let mut ahead = 0;
            let gone = async {
                // Until then what comes is the body. An error is how it ends: nothing is ever sent.
                let _ = read.await;
                peer.gone(&mut ahead).await;
            };
            let answered = tokio::select! {
                // In this order: an answer that is ready is given.
                biased;
                answered = answering => answered,
                () = gone => return Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            };
            let Ok(mut answer) = answered;
            if ahead > 0 || begun.elapsed() >= bounds.lifetime {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, bounds.write)), service);
    let mut serving = pin!(serving);
    // How a connection ended is its peer's affair: nothing of it is logged.
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
        // By then an answer has ended it, or it was idle for its time; else a request is under way.
        () = tokio::time::sleep(bounds.lifetime + bounds.head) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(bounds.last, serving).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        body::Bytes,
        routing::{get, post},
    };
    use tokio::time::{sleep, timeout};

    /// Longer than anything here may take.
    const SOON: Duration = Duration::from_secs(20);
    const SMALL: Bounds = Bounds {
        room: Room { connections: 3, per_address: 2, per_site: 3 },
        head: Duration::from_millis(300),
        write: Duration::from_millis(300),
        lifetime: SOON,
        last: SOON,
    };
    /// How long the slow route takes.
    const SLOW: Duration = Duration::from_millis(800);
    /// More than sockets hold that nobody reads from.
    const LARGE: usize = 32 << 20;
    /// A request that is never answered.
    const NEVER: &[u8] = b"POST /never HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody";

    async fn started(bounds: Bounds) -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, mut ended) = watch::channel(false);
        let from = |ConnectInfo(from): ConnectInfo<SocketAddr>| async move { from.to_string() };
        let slow = || async {
            sleep(SLOW).await;
            "done"
        };
        let large = || async { vec![b'x'; LARGE] };
        let never = |_: Bytes| std::future::pending::<()>();
        let router = Router::new()
            .route("/", get(from))
            .route("/slow", get(slow))
            .route("/large", get(large))
            .route("/never", post(never));
        let serving = tokio::spawn(async move {
            serve(listener, router, bounds, async { drop(ended.wait_for(|ended| *ended).await) }).await;
        });
        (address, end, serving)
    }

    async fn ask(address: SocketAddr) -> String {
        asked(address, "/").await
    }

    async fn asked(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[test]
    fn busy_is_said_in_a_whole_answer() {
        let (head, body) = BUSY.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["error"]["code"], "busy");
    }

    #[tokio::test]
    async fn whoever_dawdles_is_cut_off_and_makes_room() {
        let (address, _end, _serving) = started(SMALL).await;
        let mut dawdling = Vec::new();
        for _ in 0..SMALL.room.per_address {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
            dawdling.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(ask(address).await.starts_with("HTTP/1.1 503 "));
        tokio::time::sleep(SMALL.head * 2).await;
        let answer = ask(address).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("127.0.0.1:"), "{answer}");
    }

    #[tokio::test]
    async fn whoever_takes_no_answer_is_cut_off_and_makes_room() {
        let (address, _end, _serving) = started(SMALL).await;
        let mut greedy = Vec::new();
        for _ in 0..SMALL.room.per_address {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Another request after it, so that nothing else is waited for either.
            stream.write_all(&b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2)).await.unwrap();
            greedy.push(stream);
        }
        sleep(Duration::from_millis(50)).await;
        assert!(ask(address).await.starts_with("HTTP/1.1 503 "));
        let room = async {
            while !ask(address).await.starts_with("HTTP/1.1 200 ") {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(SOON / 2, room).await.unwrap();
        let mut taken = Vec::new();
        let _ = greedy[0].read_to_end(&mut taken).await;
        assert!(!taken.is_empty() && taken.len() < LARGE, "{} bytes, for nobody took more in time", taken.len());
    }

    #[tokio::test]
    async fn whoever_says_nothing_more_after_an_answer_is_cut_off() {
        let (address, _end, _serving) = started(SMALL).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let begun = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        timeout(SOON / 2, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 ") && begun.elapsed() >= SMALL.head, "not before its time");
    }

    #[tokio::test]
    async fn whoever_hangs_up_before_an_answer_makes_room_whatever_came_after_the_request() {
        // Nothing, a byte, and more when that is read already.
        for [after, later] in [["", ""], ["G", ""], ["G", "ET"]] {
            let (address, _end, _serving) = started(SMALL).await;
            let mut waiting = Vec::new();
            for _ in 0..SMALL.room.per_address {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(&[NEVER, after.as_bytes()].concat()).await.unwrap();
                waiting.push(stream);
            }
            sleep(Duration::from_millis(50)).await;
            for stream in &mut waiting {
                stream.write_all(later.as_bytes()).await.unwrap();
            }
            sleep(Duration::from_millis(50)).await;
            assert!(ask(address).await.starts_with("HTTP/1.1 503 "), "nobody is cut off for {after:?} and {later:?}");
            drop(waiting);
            let room = async {
                while !ask(address).await.starts_with("HTTP/1.1 200 ") {
                    sleep(Duration::from_millis(50)).await;
                }
            };
            timeout(SOON / 2, room).await.unwrap_or_else(|_| panic!("whoever sent {after:?} and {later:?} stays"));
        }
    }

    #[tokio::test]
    async fn requests_that_come_together_are_answered_and_what_comes_before_an_answer_ends_the_connection_with_it() {
        let (address, _end, _serving) = started(SMALL).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let last = "GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(format!("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n{last}").as_bytes()).await.unwrap();
        let mut answers = String::new();
        timeout(SOON / 2, stream.read_to_string(&mut answers)).await.unwrap().unwrap();
        assert_eq!(answers.matches("done").count(), 2, "{answers}");

        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // The first of them is the beginning of the next request; it is not waited for to go on.
        for more in [b"G", b"E"] {
            sleep(SLOW / 4).await;
            stream.write_all(more).await.unwrap();
        }
        let mut answer = String::new();
        timeout(SOON / 2, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("done"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn whoever_ends_what_he_sends_before_an_answer_has_hung_up() {
        for after in ["", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let (address, _end, _serving) = started(SMALL).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&[NEVER, after.as_bytes()].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = timeout(SOON / 2, stream.read_to_end(&mut answer)).await.unwrap();
            assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        }
    }

    #[tokio::test]
    async fn whoever_sends_ever_more_before_an_answer_is_cut_off() {
        let (address, _end, _serving) = started(SMALL).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let flood = async {
            stream.write_all(NEVER).await?;
            while stream.write_all(&[b'x'; 4_096]).await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
            io::Result::Ok(())
        };
        timeout(SOON / 2, flood).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_ends_when_it_is_old_whatever_it_does() {
        let bounds = Bounds { lifetime: Duration::from_millis(600), ..SMALL };
        let (address, _end, _serving) = started(bounds).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (begun, mut answers, mut last) = (Instant::now(), 0, String::new());
        let renewing = async {
            let mut chunk = [0; 1_024];
            loop {
                let sent = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
                match (sent, stream.read(&mut chunk).await) {
                    (Ok(()), Ok(length @ 1..)) => {
                        assert!(!last.contains("connection: close"), "an answer came after the last: {last}");
                        last = String::from_utf8_lossy(&chunk[..length]).into_owned();
                        answers += 1;
                    }
                    _ => break,
                }
                sleep(bounds.lifetime / 12).await;
            }
        };
        timeout(SOON / 2, renewing).await.unwrap();
        assert!(
            begun.elapsed() >= bounds.lifetime / 2 && answers > 1,
            "{answers} answers: not cut off for another reason"
        );
        assert!(last.contains("connection: close"), "its client knew before that it ends: {last}");
    }

    #[tokio::test]
    async fn a_request_under_way_when_its_connection_is_old_is_answered_in_bounded_time() {
        let bounds = Bounds { lifetime: SLOW / 8, ..SMALL };
        let (address, _end, _serving) = started(bounds).await;
        assert!(asked(address, "/slow").await.ends_with("done"));
        let (address, _end, _serving) = started(Bounds { last: SLOW / 8, ..bounds }).await;
        assert_eq!(asked(address, "/slow").await, "");
    }

    #[tokio::test]
    async fn ends_although_somebody_dawdles() {
        let (address, end, serving) = started(SMALL).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        let begun = Instant::now();
        end.send(true).unwrap();
        serving.await.unwrap();
        assert!(begun.elapsed() < FAREWELL + Duration::from_secs(1));
    }
}
