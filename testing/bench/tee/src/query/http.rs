//! As much of an HTTP/1.1 client as it takes to ask one loopback server again and again on one connection.

use anyhow::{bail, Context, Result};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than a worker takes for anything: no wait here is for ever.
const PATIENCE: Duration = Duration::from_secs(130);

/// An answer whose body has the length that its head says.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// The bytes of a request, so that they are sent in one piece.
pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: worker\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A connection that is used again.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request)?;
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let head = std::str::from_utf8(&self.buffer[..end]).context("the head is no text")?;
        let status =
            head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).context("no status line")?.parse::<u16>()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let (start, length) = (end + 4, length.context("the answer does not say how long it is")??);
        while self.buffer.len() < start + length {
            self.more()?;
        }
        let body = self.buffer[start..start + length].to_vec();
        self.buffer.drain(..start + length);
        Ok(Answer { status, body })
    }

    fn more(&mut self) -> Result<()> {
        let mut chunk = [0; 8_192];
        let read = self.stream.read(&mut chunk)?;
        if read == 0 {
            bail!("the other side hung up");
        }
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(())
    }
}
