//! HTTP/1.1 by hand, one request a connection: enough to ask a node and a worker of this machine, and to stand between a relayer and one.
//!
//! Guarantees: every wait and every length is bounded; a peer that hangs up, or says what is no HTTP, is an error. Whoever is asked
//! controls the answers. Does not: TLS, transfer codings, or two requests over one connection.

use anyhow::{ensure, Context, Result};
use phala_protocol::relay::MAX_DELIVERY_BYTES;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// How long an answer may take: longer than a worker takes for a delivery at most.
const PATIENCE: Duration = Duration::from_secs(130);
/// Bytes of a head.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes of a message: a delivery is the longest.
const MAX_MESSAGE: u64 = (MAX_DELIVERY_BYTES + MAX_HEAD) as u64;

/// What came back.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A request as it arrived.
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks the server at `HOST:PORT`.
///
/// # Errors
/// Nobody listens, or what comes back is no answer.
pub fn ask(address: &str, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    bound(&stream)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(MAX_MESSAGE).read_to_end(&mut answer)?;
    let end = end_of_head(&answer).with_context(|| format!("{address} gave no HTTP answer"))?;
    let body = answer.split_off(end);
    let status = String::from_utf8_lossy(&answer).split_whitespace().nth(1).and_then(|word| word.parse::<u16>().ok());
    Ok(Answer { status: status.context("an answer without a status")?, body })
}

/// Reads one request; none when the client hung up before it.
///
/// # Errors
/// What arrives is none, or too long.
pub fn read_request(stream: &mut TcpStream) -> Result<Option<Request>> {
    bound(stream)?;
    let (mut bytes, mut chunk) = (Vec::<u8>::new(), [0u8; 16 * 1024]);
    let end = loop {
        if let Some(end) = end_of_head(&bytes) {
            break end;
        }
        ensure!(bytes.len() <= MAX_HEAD, "a head without an end");
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            ensure!(bytes.is_empty(), "hung up within a head");
            return Ok(None);
        }
        bytes.extend_from_slice(chunk.get(..length).unwrap_or_default());
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut words = head.split_whitespace();
    let (method, path) = words.next().zip(words.next()).context("no request line")?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or("0", |(_, value)| value.trim());
    let length: usize = length.parse().context("a length that is no number")?;
    ensure!(length <= MAX_DELIVERY_BYTES, "a body of {length} bytes");
    let missing = length.saturating_sub(body.len());
    stream.take(missing as u64).read_to_end(&mut body)?;
    ensure!(body.len() == length, "hung up within a body");
    Ok(Some(Request { method: method.to_owned(), path: path.to_owned(), body }))
}

/// Writes an answer, and says that the connection ends.
///
/// # Errors
/// The client hung up.
pub fn write_answer(stream: &mut TcpStream, answer: &Answer) -> Result<()> {
    let (status, length) = (answer.status, answer.body.len());
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    Ok(stream.write_all(&answer.body)?)
}

fn bound(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream.set_write_timeout(Some(PATIENCE))?)
}

/// Where the body begins.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
