//! Stands between the relayer and what it talks to: records everything, and can keep deliveries back so that a test lies instead.
//!
//! Guarantees: what passes, passes unchanged; everything that passed in either direction is in [`Tap::recorded`], with the masks of
//! WebSocket frames taken off. Listens on loopback only, and ends with its value. What it records is the two peers' to choose.

use crate::raw_http::{ask, read_request, write_answer, Answer, Request};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, MutexGuard, PoisonError,
    },
    thread,
    time::Duration,
};

/// Where a relayer brings what it has.
pub const DELIVER: &str = "/operator/v1/deliver";
/// How often a connection at rest looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);
/// Where it asks what is wanted.
pub const STATUS: &str = "/operator/v1/status";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens in front of a server.
pub struct Tap {
    /// `127.0.0.1:PORT` to connect to instead.
    pub address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    upstream: String,
    ended: AtomicBool,
    /// Both directions of every connection, in order of arrival of each.
    recorded: Mutex<Vec<Vec<u8>>>,
    holding: AtomicBool,
    deliveries: Mutex<Vec<Vec<u8>>>,
    held: Mutex<Option<Vec<u8>>>,
}

impl Tap {
    /// In front of a TEE's operator endpoint at `HOST:PORT`: it understands requests.
    pub fn of_tee(upstream: &str) -> Self {
        Self::start(upstream, serve_tee)
    }

    /// In front of a node's WebSocket at `HOST:PORT`.
    pub fn of_node(upstream: &str) -> Self {
        Self::start(upstream, serve_node)
    }

    fn start(upstream: &str, serve: fn(&Arc<Shared>, TcpStream)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let shared = Arc::new(Shared { upstream: upstream.to_owned(), ..Shared::default() });
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let serving = serving.clone();
                thread::spawn(move || serve(&serving, stream));
            }
        });
        Self { address, shared }
    }

    /// Everything that has passed.
    pub fn recorded(&self) -> Vec<u8> {
        lock(&self.shared.recorded).iter().flat_map(|stream| unmasked(stream)).collect()
    }

    /// The bodies of all deliveries that passed, oldest first.
    pub fn deliveries(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.deliveries).clone()
    }

    /// From now on answers deliveries with "busy" instead of passing them on, and keeps the newest.
    pub fn hold(&self) {
        *lock(&self.shared.held) = None;
        self.shared.holding.store(true, Ordering::SeqCst);
    }

    /// The newest delivery that was kept back.
    pub fn held(&self) -> Option<Vec<u8>> {
        lock(&self.shared.held).clone()
    }

    /// Passes deliveries on again.
    pub fn release(&self) {
        self.shared.holding.store(false, Ordering::SeqCst);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve_tee(shared: &Arc<Shared>, mut client: TcpStream) {
    let Ok(Some(request)) = read_request(&mut client) else { return };
    let Request { method, path, body } = &request;
    lock(&shared.recorded).push(body.clone());
    let answer = if path == DELIVER && shared.holding.load(Ordering::SeqCst) {
        *lock(&shared.held) = Some(body.clone());
        Ok(Answer { status: 503, body: br#"{"error":{"code":"busy","message":"held","hint":"wait"}}"#.to_vec() })
    } else {
        if path == DELIVER {
            lock(&shared.deliveries).push(body.clone());
        }
        ask(&shared.upstream, method, path, body)
    };
    if let Ok(answer) = answer {
        lock(&shared.recorded).push(answer.body.clone());
        let _ = write_answer(&mut client, &answer);
    }
}

fn serve_node(shared: &Arc<Shared>, client: TcpStream) {
    let Ok(node) = TcpStream::connect(&shared.upstream) else { return };
    let (Ok(from_client), Ok(from_node)) = (client.try_clone(), node.try_clone()) else { return };
    // A node answers whoever names it by its own address only, so that web pages of others cannot ask it.
    let own_name = client.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let renamed = Some((own_name, shared.upstream.clone()));
    let (asking, answering) = (shared.clone(), shared.clone());
    thread::spawn(move || pass(&asking, from_client, node, renamed));
    pass(&answering, from_node, client, None);
}

/// Carries one direction of a connection until it ends, and keeps all of it. In the first bytes, which are the head of an upgrade to
/// WebSocket, the first name of `renamed` becomes the second.
fn pass(shared: &Shared, mut from: TcpStream, mut to: TcpStream, mut renamed: Option<(String, String)>) {
    let place = {
        let mut recorded = lock(&shared.recorded);
        recorded.push(Vec::new());
        recorded.len() - 1
    };
    let _ = from.set_read_timeout(Some(LOOK));
    let mut chunk = vec![0; 64 * 1024];
    while !shared.ended.load(Ordering::SeqCst) {
        let length = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        let mut bytes = chunk.get(..length).unwrap_or_default();
        let head = renamed.take().map(|(from, to)| String::from_utf8_lossy(bytes).replace(&from, &to));
        if let Some(head) = &head {
            bytes = head.as_bytes();
        }
        if let Some(kept) = lock(&shared.recorded).get_mut(place) {
            kept.extend_from_slice(bytes);
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// What a WebSocket client said, without the masks (RFC 6455, 5.3): four bytes of each frame that are exclusive-ored over its payload,
/// so that nothing could be found in the bytes as they passed. Anything that is not such a stream is returned as it is.
fn unmasked(stream: &[u8]) -> Vec<u8> {
    let mut text = stream.to_vec();
    let Some(head) = stream.windows(4).position(|window| window == b"\r\n\r\n") else { return text };
    let mut at = head + 4;
    while let Some((start, mask, length)) = frame(stream, at) {
        let payload = text.iter_mut().skip(start).take(length);
        for (byte, mask) in payload.zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        at = start + length;
    }
    text
}

/// Where the payload of the frame at `at` begins, its mask and its length; none when there is no whole header of a masked frame.
fn frame(stream: &[u8], at: usize) -> Option<(usize, [u8; 4], usize)> {
    let second = *stream.get(at + 1)?;
    if second & 0x80 == 0 {
        return None;
    }
    let (length, after) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(stream.get(at + 2..at + 4)?.try_into().ok()?)), at + 4),
        127 => (usize::try_from(u64::from_be_bytes(stream.get(at + 2..at + 10)?.try_into().ok()?)).ok()?, at + 10),
        short => (usize::from(short), at + 2),
    };
    Some((after + 4, stream.get(after..after + 4)?.try_into().ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_taken_off_every_frame() {
        let mut stream = b"GET / HTTP/1.1\r\n\r\n".to_vec();
        for (text, mask) in
            [(vec![b'a'; 5], [1, 2, 3, 4]), (vec![b'b'; 300], [9, 8, 7, 6]), (vec![b'c'; 70_000], [5; 4])]
        {
            stream.push(0x81);
            match text.len() {
                length @ ..126 => stream.push(0x80 | length as u8),
                length @ 126..65_536 => {
                    stream.push(0x80 | 126);
                    stream.extend_from_slice(&(length as u16).to_be_bytes());
                }
                length => {
                    stream.push(0x80 | 127);
                    stream.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            stream.extend_from_slice(&mask);
            stream.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
        let plain = unmasked(&stream);
        let count = |byte: u8| plain.iter().filter(|found| **found == byte).count();
        assert!(count(b'a') >= 5 && count(b'b') >= 300 && count(b'c') >= 70_000);
        assert!(!stream.windows(5).any(|window| window == b"aaaaa"), "it was masked");
        assert_eq!(unmasked(b"no stream"), b"no stream");
    }
}
