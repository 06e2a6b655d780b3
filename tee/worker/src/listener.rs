//! Accepts connections and serves a router on them, within bounds that axum's own server does not have.
//!
//! Guarantees: a subscriber has a bounded number of connections, and so have all of them together, of which whoever has most gives one to
//! a newcomer ([`crate::places`]); whoever does not finish a request's head in time is cut off, also one who waits between two requests, and
//! so is one who does not take an answer in time, and every connection that is old; ending the process waits for requests under way, and for
//! no longer than [`FAREWELL`]. Whoever is over a bound gets a refusal of the usual form.
//! Does not: protect against a flood from very many networks. Anyone controls who connects, how often and how slowly.

use crate::{
    bounds::REQUEST_SECONDS,
    patient::Patient,
    places::{Places, Room},
};
use axum::{body::Body, extract::ConnectInfo, Router};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{future::Future, net::SocketAddr, pin::pin, time::Duration};
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
    /// How long a connection may last, whatever it does.
    pub lifetime: Duration,
    /// How long a request that is under way then may take.
    pub last: Duration,
}

/// For everybody's listener. File descriptors are what runs out first: a process has 1,024 of them unless its operator gives more.
pub(crate) const PUBLIC: Bounds = Bounds {
    room: Room { connections: 512, per_address: 64 },
    head: Duration::from_secs(10),
    write: Duration::from_secs(10),
    lifetime: Duration::from_secs(60),
    last: Duration::from_secs(20),
};
/// For the relayer's, which has one address, and asks on one connection as long as it likes.
pub(crate) const OPERATOR: Bounds = Bounds {
    room: Room { connections: 64, per_address: 64 },
    head: Duration::from_secs(10),
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
        std::io::Result::Ok(())
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
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        router.clone().call(request.map(Body::new))
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
        () = tokio::time::sleep(bounds.lifetime) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(bounds.last, serving).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::time::Instant;
    use tokio::time::{sleep, timeout};

    /// Longer than anything here may take.
    const SOON: Duration = Duration::from_secs(20);
    const SMALL: Bounds = Bounds {
        room: Room { connections: 3, per_address: 2 },
        head: Duration::from_millis(300),
        write: Duration::from_millis(300),
        lifetime: SOON,
        last: SOON,
    };
    /// How long the slow route takes.
    const SLOW: Duration = Duration::from_millis(800);
    /// More than sockets hold that nobody reads from.
    const LARGE: usize = 32 << 20;

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
        let router = Router::new().route("/", get(from)).route("/slow", get(slow)).route("/large", get(large));
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
    async fn a_connection_ends_when_it_is_old_whatever_it_does() {
        let bounds = Bounds { lifetime: Duration::from_millis(600), ..SMALL };
        let (address, _end, _serving) = started(bounds).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (begun, mut answers) = (Instant::now(), 0);
        let renewing = async {
            let mut chunk = [0; 1_024];
            loop {
                let sent = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
                match (sent, stream.read(&mut chunk).await) {
                    (Ok(()), Ok(1..)) => answers += 1,
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
