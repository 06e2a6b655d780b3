//! As little of an HTTP client as tests need, so that they decide every byte that is sent.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer, in parts.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends these bytes and reads until the other side closes. What cannot be sent or read any more is left out: a server that has heard
/// enough may close.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let Ok(mut stream) = TcpStream::connect(address) else { return Vec::new() };
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(length) = stream.read(&mut chunk) {
        if length == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..length]);
    }
    answer
}

/// The parts of an answer, if it is one.
pub fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: bytes[end + 4..].to_vec() })
}

/// One request on a connection of its own.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let answer = exchange(address, &[request.as_bytes(), body].concat());
    parse(&answer).unwrap_or_else(|| panic!("{method} {path}: no answer in {:?}", String::from_utf8_lossy(&answer)))
}

/// Every code that a refusal may have: the list of SPECIFICATION.md.
const CODES: [&str; 21] = [
    "internal",
    "usage",
    "invalid",
    "not_found",
    "refused",
    "over_limit",
    "unauthorised",
    "insufficient_funds",
    "trapped",
    "out_of_gas",
    "contract_error",
    "busy",
    "stale",
    "expired",
    "unreachable",
    "timeout",
    "unattested",
    "unverified",
    "simulated",
    "environment",
    "port_in_use",
];

/// The code of a refusal, which says what was wrong and what to do.
pub fn refusal(answer: &Answer) -> String {
    let error = &answer.json()["error"];
    for part in ["message", "hint"] {
        assert!(error[part].as_str().is_some_and(|text| !text.is_empty()), "{answer:?}");
    }
    let code = error["code"].as_str().unwrap().to_owned();
    assert!(CODES.contains(&code.as_str()), "{code} is on no list");
    code
}
