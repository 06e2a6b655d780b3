//! Processes that are measured: started, listened to, asked, ended.
//!
//! Guarantees: a process that was started is ended when its value is dropped, first asked and then killed, by its own id; every wait
//! is bounded. The processes' output is data here.

use anyhow::{Context, Result};
use serde_json::{json, Value};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 1024 * 1024;

/// A process.
pub struct Started {
    child: Child,
    lines: Receiver<String>,
}

impl Started {
    /// Starts it; what it says on standard error goes to `log`.
    pub fn new(command: &mut Command, log: &Path) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log)?);
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub fn first_line(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, and waits.
    pub fn end(&mut self) -> Result<()> {
        // The shell's own `kill`: a minimal system has no program of that name.
        let id = self.id().to_string();
        Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", "-TERM", &id]).status().context("there is no `sh`")?;
        let asked = Instant::now();
        while self.lives() {
            if asked.elapsed() > PATIENCE {
                self.child.kill()?;
                self.child.wait()?;
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.lives() {
            let _ = self.end();
        }
    }
}

/// PSS of a process in KiB: its share of the memory that is really there.
pub fn proportional_kib(pid: u64) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    pss(&text).with_context(|| format!("{path} names no Pss"))
}

fn pss(rollup: &str) -> Option<u64> {
    rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// A port that is free now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What a node on this machine answers over HTTP; none when it does not.
pub fn rpc(port: u16, method: &str, params: &Value) -> Option<Value> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let mut answer: Value = serde_json::from_str(body).ok()?;
    Some(answer["result"].take()).filter(|result| !result.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_by_its_proportional_share() {
        let text = "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss:  2048 kB\nPss:  1024 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(pss(text), Some(1024));
        assert_eq!(pss("Rss: 1 kB\n"), None);
        assert!(proportional_kib(std::process::id().into()).unwrap() > 100);
    }

    #[test]
    fn a_process_is_listened_to_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo ready; exec sleep 60"]);
        let mut started = Started::new(&mut command, &folder.path().join("log")).unwrap();
        assert_eq!(started.first_line(PATIENCE).unwrap(), "ready");
        assert!(started.lives() && Path::new(&format!("/proc/{}", started.id())).exists());
        started.end().unwrap();
        assert!(!started.lives());
    }
}
