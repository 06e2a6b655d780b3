//! HTTP by hand: what a well-behaved client would never send, and answers as they are on the wire.
//!
//! Guarantees: every wait is bounded; a peer that hangs up, or answers something that is not HTTP, is an [`io::Error`], never a panic.
//! One request a connection. Whoever is asked controls the answers. Does not: speak TLS, or follow anything.

use serde_json::{json, Value};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::OnceLock,
    time::Duration,
};
use tokio::{net::TcpSocket, runtime::Runtime};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(130);
/// Bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null if it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// `error.code` of a refusal of ours, if the body is one: an object with code, message and hint.
    pub fn code(&self) -> Option<String> {
        let json = self.json();
        let error = json.get("error")?;
        error.get("message")?.as_str()?;
        error.get("hint")?;
        Some(error.get("code")?.as_str()?.to_owned())
    }
}

/// A request as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The body.
    pub body: Vec<u8>,
}

/// `http://HOST:PORT` or `ws://HOST:PORT` without the scheme, as a socket address.
pub fn host_of(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/')
}

/// Asks the server at `HOST:PORT`.
pub fn ask(host: &str, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
    ask_over(connect(host)?, host, method, path, body)
}

/// The same from another address of this machine.
pub fn ask_from(source: IpAddr, host: &str, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
    ask_over(connect_from(source, host)?, host, method, path, body)
}

fn ask_over(mut stream: TcpStream, host: &str, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // A server that refuses may close before it has read everything: what it said first still counts.
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    match read_answer(&mut stream) {
        Ok(answer) => Ok(answer),
        Err(error) => Err(sent.err().unwrap_or(error)),
    }
}

/// Sends bytes as they are and returns whatever comes back until the server hangs up or `patience` is over.
pub fn send_raw(host: &str, bytes: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = connect(host)?;
    stream.set_read_timeout(Some(patience))?;
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
    Ok(answer)
}

/// Calls a JSON-RPC method of a node by HTTP. Returns the whole response object.
pub fn rpc(host: &str, method: &str, params: Value) -> io::Result<Value> {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    Ok(ask(host, "POST", "/", request.to_string().as_bytes())?.json())
}

fn connect(host: &str) -> io::Result<TcpStream> {
    bounded(TcpStream::connect(host)?)
}

fn bounded(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects from `source`, which the standard library cannot choose.
pub fn connect_from(source: IpAddr, host: &str) -> io::Result<TcpStream> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let runtime =
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());
    let runtime = runtime.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let address: SocketAddr = host.parse().map_err(|_| malformed("no address"))?;
    let connected = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(address).await
    })?;
    let stream = connected.into_std()?;
    stream.set_nonblocking(false)?;
    bounded(stream)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Reads an answer to a request that asked for the connection to be closed.
fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let (head, mut body) = read_head(stream)?.ok_or_else(|| malformed("hung up before an answer"))?;
    let status =
        head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| malformed("no status"))?;
    match header(&head, "content-length").and_then(|value| value.parse::<usize>().ok()) {
        Some(length) => read_to(stream, &mut body, length)?,
        None => {
            let _ = stream.take(MAX_ANSWER_BYTES).read_to_end(&mut body);
        }
    }
    Ok(Answer { status, body })
}

/// Reads one request; none when the client hung up between two.
pub fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let Some((head, mut body)) = read_head(stream)? else { return Ok(None) };
    let mut words = head.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Err(malformed("no request line")) };
    let length = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    read_to(stream, &mut body, length)?;
    Ok(Some(Request { method: method.to_owned(), path: path.to_owned(), body }))
}

/// Writes an answer and says that the connection ends.
pub fn write_answer(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} X\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.status,
        answer.body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body)
}

/// A head up to its empty line, and the bytes of the body that came with it.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), body)));
        }
        if bytes.len() > 64 * 1024 {
            return Err(malformed("a head without end"));
        }
        match stream.read(&mut chunk)? {
            0 if bytes.is_empty() => return Ok(None),
            0 => return Err(malformed("hung up within a head")),
            length => bytes.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
}

fn read_to(stream: &mut TcpStream, body: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let missing = length.saturating_sub(body.len()) as u64;
    if missing > MAX_ANSWER_BYTES {
        return Err(malformed("too long"));
    }
    stream.take(missing).read_to_end(body)?;
    if body.len() < length {
        return Err(malformed("hung up within a body"));
    }
    Ok(())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
