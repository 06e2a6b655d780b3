//! What a machine's own files say about its TEE, and what to do where something is missing.
//!
//! Reads only, below a root that is `/` outside tests: processor flags, devices, module parameters, sockets. Guarantees: every finding names
//! the file or flag that it rests on, and every one that is missing has a fix; nothing is concluded from what cannot be read. Whoever
//! administers the machine controls all of it: this is advice to him, and no evidence for anybody else. Does not ask for a quote.

mod advice;
mod probe;

pub use probe::Probe;

use serde_json::{json, Value};

/// How a thing that was looked for stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There, and as it should be.
    Ok,
    /// Not there, or not as it should be; the TEE cannot be used so.
    Missing,
    /// Worth knowing; nothing depends on it here.
    Note,
}

impl State {
    /// As it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Note => "note",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found, and where.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Ok, found: found.into(), fix: None }
    }

    fn missing(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, state: State::Missing, found: found.into(), fix: Some(fix.into()) }
    }

    fn note(what: &'static str, found: impl Into<String>, fix: Option<&str>) -> Self {
        Self { what, state: State::Note, found: found.into(), fix: fix.map(str::to_owned) }
    }

    fn to_json(&self) -> Value {
        json!({"check": self.what, "state": self.state.as_str(), "found": self.found, "fix": self.fix})
    }
}

/// A way in which this machine could run a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// This process is in an SGX enclave under Gramine already.
    SgxEnclave,
    /// This process is in a TDX virtual machine already.
    TdxGuest,
    /// A host that can run SGX enclaves.
    SgxHost,
    /// A host that can run TDX virtual machines.
    TdxHost,
}

impl Way {
    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SgxEnclave => "sgx-enclave",
            Self::TdxGuest => "tdx-guest",
            Self::SgxHost => "sgx-host",
            Self::TdxHost => "tdx-host",
        }
    }

    /// What to run where nothing is missing.
    const fn next(self) -> &'static str {
        match self {
            Self::TdxGuest | Self::SgxEnclave => "a worker finds its TEE by itself: `phala worker run`",
            Self::SgxHost => "run a worker or a gatekeeper under Gramine: deploy/sgx",
            Self::TdxHost => "run the worker's virtual machine: deploy/tdx; a worker runs inside it, not here",
        }
    }

    /// Whether a process here can ask for a quote.
    pub const fn makes_quotes_here(self) -> bool {
        matches!(self, Self::SgxEnclave | Self::TdxGuest)
    }
}

/// A way and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraised {
    /// Which way.
    pub way: Way,
    /// What was looked at.
    pub findings: Vec<Finding>,
}

impl Appraised {
    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.findings.iter().all(|finding| finding.state != State::Missing)
    }

    /// What to do next.
    pub fn next(&self) -> &str {
        if self.is_ready() {
            return self.way.next();
        }
        let missing = self.findings.iter().find(|finding| finding.state == State::Missing);
        missing.and_then(|finding| finding.fix.as_deref()).unwrap_or_default()
    }

    /// As data.
    pub fn to_json(&self) -> Value {
        let checks: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        json!({"tee": self.way.as_str(), "ready": self.is_ready(), "checks": checks, "next": self.next()})
    }
}

/// What a machine's files come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    /// Its processor, in words.
    pub processor: String,
    /// The ways that are there or nearly there; none on a machine without a TEE.
    pub ways: Vec<Appraised>,
    /// Where there is no way: why.
    pub reason: Option<String>,
}

impl Appraisal {
    /// Judges what was read.
    pub fn of(probe: &Probe) -> Self {
        advice::appraise(probe)
    }

    /// The way in which a worker could run now.
    pub fn ready(&self) -> Option<&Appraised> {
        self.ways.iter().find(|way| way.is_ready())
    }
}

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;
