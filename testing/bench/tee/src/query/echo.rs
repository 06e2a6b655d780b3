//! What queries are compared with: a route that reads a body and answers with as many bytes as a query's answer has, behind the
//! listener and the bounds of the worker itself, in a process of its own.

use crate::{bounds, limits::Limits, listener};
use anyhow::{Context, Result};
use axum::{body::Bytes, http::header, response::IntoResponse, routing::post, Router};
use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

/// The route: the worker's, so that the same requests fit both.
const PATH: &str = "/v1/query";

/// A process that echoes.
pub struct Echo {
    child: Child,
    pub address: SocketAddr,
}

impl Echo {
    /// Starts it; it answers with `size` bytes.
    pub fn start(size: usize) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["echo", &size.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the echo does not start")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("an output")?).read_line(&mut line)?;
        let address = line.trim().parse::<SocketAddr>().context("the echo says no address");
        if address.is_err() {
            let _ = child.kill();
        }
        Ok(Self { child, address: address? })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Echoes until standard input ends: with whoever started it.
pub fn serve(size: usize) -> Result<()> {
    // As the worker's own.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listening = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listening.local_addr()?);
    let limits = Limits { burst: 1e6, per_second: 1e6 };
    let routes = Router::new().route(PATH, post(move |body: Bytes| async move { echoed(&body, size) }));
    let router = bounds::bounded(routes, limits);
    runtime.spawn(listener::serve(listening, router, listener::PUBLIC, std::future::pending()));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn echoed(body: &[u8], size: usize) -> axum::response::Response {
    let mut answer = body.to_vec();
    answer.resize(size, 0);
    ([(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response()
}
