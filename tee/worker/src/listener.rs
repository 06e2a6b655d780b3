//! Accepts connections and serves a router on them, within bounds that axum's own server does not have.
//!
//! Guarantees: an address has a bounded number of connections, and so have all of them together; whoever does not finish a request's
//! head in time is cut off, also one who waits between two requests; ending the process waits for requests under way, and for no
//! longer than [`FAREWELL`]. Whoever is over a bound gets a refusal of the usual form.
//! Does not: protect against a flood from very many addresses. Anyone controls who connects, how often and how slowly.

use axum::{body::Body, extract::ConnectInfo, Router};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
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
    /// Connections of all addresses together.
    pub connections: usize,
    /// Connections of one address.
    pub per_address: usize,
    /// How long a request's head may take, and a connection may be idle.
    pub head: Duration,
}

/// For everybody's listener. File descriptors are what runs out first: a process has 1,024 of them unless its operator gives more.
pub(crate) const PUBLIC: Bounds = Bounds { connections: 512, per_address: 64, head: Duration::from_secs(10) };
/// For the relayer's, which has one address.
pub(crate) const OPERATOR: Bounds = Bounds { connections: 64, per_address: 64, head: Duration::from_secs(10) };

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

/// Connections that are open, by address.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Open {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // It is changed by one statement at a time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection of `address`, given back when it is dropped; none when the address has as many as it may.
    fn admit(&self, address: IpAddr, bounds: &Bounds) -> Option<Place> {
        let mut counts = self.counts();
        if counts.values().sum::<usize>() >= bounds.connections {
            return None;
        }
        let count = counts.entry(address).or_default();
        if *count >= bounds.per_address {
            return None;
        }
        *count += 1;
        Some(Place { open: self.clone(), address })
    }
}

/// One connection's place.
struct Place {
    open: Open,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Serves `router` until `ended`.
pub(crate) async fn serve(listener: TcpListener, router: Router, bounds: Bounds, ended: impl Future<Output = ()>) {
    let (open, mut connections, mut refusals) = (Open::default(), JoinSet::new(), JoinSet::new());
    let (stop, stopped) = watch::channel(false);
    let mut ended = pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => break,
            Some(_) = connections.join_next() => {}
            Some(_) = refusals.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => match open.admit(address.ip(), &bounds) {
                    Some(place) => {
                        connections.spawn(connection(stream, address, place, router.clone(), bounds, stopped.clone()));
                    }
                    // Beyond as many as may wait for it, nobody is told why.
                    None if refusals.len() < MAX_REFUSALS => {
                        refusals.spawn(refuse(stream));
                    }
                    None => {}
                },
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
    _place: Place,
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
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    // How a connection ended is its peer's affair: nothing of it is logged.
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::time::Instant;

    const SMALL: Bounds = Bounds { connections: 3, per_address: 2, head: Duration::from_millis(300) };

    async fn started() -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, mut ended) = watch::channel(false);
        let router =
            Router::new().route("/", get(|ConnectInfo(from): ConnectInfo<SocketAddr>| async move { from.to_string() }));
        let serving = tokio::spawn(async move {
            serve(listener, router, SMALL, async { drop(ended.wait_for(|ended| *ended).await) }).await;
        });
        (address, end, serving)
    }

    async fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
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

    #[test]
    fn an_address_has_its_places_and_all_together_have_theirs() {
        let (open, address) = (Open::default(), |last: u8| IpAddr::from([127, 0, 0, last]));
        let one = open.admit(address(1), &SMALL).unwrap();
        let two = open.admit(address(1), &SMALL).unwrap();
        assert!(open.admit(address(1), &SMALL).is_none());
        let three = open.admit(address(2), &SMALL).unwrap();
        assert!(open.admit(address(3), &SMALL).is_none());
        drop((one, three));
        assert!(open.admit(address(3), &SMALL).is_some());
        drop(two);
        assert!(open.counts().is_empty(), "whoever left is forgotten");
    }

    #[tokio::test]
    async fn whoever_dawdles_is_cut_off_and_makes_room() {
        let (address, _end, _serving) = started().await;
        let mut dawdling = Vec::new();
        for _ in 0..SMALL.per_address {
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
    async fn ends_although_somebody_dawdles() {
        let (address, end, serving) = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        let begun = Instant::now();
        end.send(true).unwrap();
        serving.await.unwrap();
        assert!(begun.elapsed() < FAREWELL + Duration::from_secs(1));
    }
}
