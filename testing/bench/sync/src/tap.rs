//! Stands between a relayer and the worker that it serves, and counts the bytes of what it delivers.
//!
//! Guarantees: what passes, passes unchanged; a delivery is counted before it is passed on, so that a worker that has taken one has it
//! counted. Listens on loopback, and ends with its value. What passes is the two peers' to choose.

use crate::http::{ask, read_request, write_answer};
use anyhow::Result;
use std::{
    net::{TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc,
    },
    thread,
};

/// Where a relayer brings what it has.
pub const DELIVER: &str = "/operator/v1/deliver";

/// Listens in front of a worker's operator endpoint.
pub struct Tap {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    worker: String,
    ended: AtomicBool,
    deliveries: AtomicU64,
    bytes: AtomicU64,
}

/// What was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// How often.
    pub deliveries: u64,
    /// Bytes of the bodies.
    pub bytes: u64,
}

impl Tap {
    /// In front of the worker at `HOST:PORT`, which need not be there yet.
    ///
    /// # Errors
    /// There is no port.
    pub fn start(worker: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            worker: worker.to_owned(),
            ended: AtomicBool::new(false),
            deliveries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let serving = serving.clone();
                // A relayer whose request comes to nothing asks again.
                thread::spawn(move || serving.pass(stream));
            }
        });
        Ok(Self { address, shared })
    }

    /// `HOST:PORT` to connect to instead of the worker.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What was delivered so far.
    pub fn delivered(&self) -> Delivered {
        let Shared { deliveries, bytes, .. } = &*self.shared;
        Delivered { deliveries: deliveries.load(Ordering::SeqCst), bytes: bytes.load(Ordering::SeqCst) }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

impl Shared {
    /// One request and its answer.
    fn pass(&self, mut relayer: TcpStream) -> Result<()> {
        let Some(request) = read_request(&mut relayer)? else { return Ok(()) };
        if request.path == DELIVER {
            self.deliveries.fetch_add(1, Ordering::SeqCst);
            self.bytes.fetch_add(request.body.len() as u64, Ordering::SeqCst);
        }
        let answer = ask(&self.worker, &request.method, &request.path, &request.body)?;
        write_answer(&mut relayer, &answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Answer;

    #[test]
    fn deliveries_pass_unchanged_and_are_counted_and_nothing_else_is() {
        // A worker that answers what it was asked.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let worker = listener.local_addr().unwrap().to_string();
        let answering = thread::spawn(move || {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream).unwrap().unwrap();
                let body = [request.method.as_bytes(), b" ", request.path.as_bytes(), b" ", &request.body].concat();
                write_answer(&mut stream, &Answer { status: 418, body }).unwrap();
            }
        });
        let tap = Tap::start(&worker).unwrap();
        assert_eq!(tap.delivered(), Delivered { deliveries: 0, bytes: 0 });
        let long: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
        for (method, path, body) in [
            ("POST", DELIVER, long.as_slice()),
            ("GET", "/operator/v1/status", b"".as_slice()),
            ("POST", DELIVER, b"two".as_slice()),
        ] {
            let answer = ask(tap.address(), method, path, body).unwrap();
            let expected = [method.as_bytes(), b" ", path.as_bytes(), b" ", body].concat();
            assert!(answer.status == 418 && answer.body == expected, "{method} {path}");
        }
        assert_eq!(tap.delivered(), Delivered { deliveries: 2, bytes: 300_003 });
        answering.join().unwrap();
    }
}
