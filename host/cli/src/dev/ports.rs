//! Loopback ports: one that was named must be free, one that was not is replaced by a free one, and that is said.
//!
//! A port that was free a moment ago may be taken when its process binds it; then that process fails and says so.

use crate::{
    error::{CliError, Code},
    output::note,
};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
};

/// How far above a busy default a free port is looked for, before the system chooses one.
const NEARBY: u16 = 64;
/// What to do where there is none.
const NO_PORT: &str = "end programs that listen on many ports, or allow this one to listen on 127.0.0.1";

/// The ports that are given out.
#[derive(Default)]
pub struct Ports {
    taken: BTreeSet<u16>,
}

impl Ports {
    /// Exactly this port.
    ///
    /// # Errors
    /// `port_in_use` when it is busy.
    pub fn exactly(&mut self, port: u16, what: &str) -> Result<u16, CliError> {
        if !self.is_free(port) {
            return Err(CliError::new(Code::PortInUse, format!("port {port} for the {what} is busy"))
                .with_hint("name another one, or leave the choice to `phala dev`"));
        }
        self.taken.insert(port);
        Ok(port)
    }

    /// This port, or another one if it is busy.
    pub fn preferably(&mut self, port: u16, what: &str) -> Result<u16, CliError> {
        let nearby = (port..=port.saturating_add(NEARBY)).find(|port| self.is_free(*port));
        let chosen = match nearby {
            Some(port) => port,
            None => self.any()?,
        };
        if chosen != port {
            note(&format!("note: port {port} for the {what} is busy, using {chosen}"));
        }
        self.taken.insert(chosen);
        Ok(chosen)
    }

    /// Named or preferred.
    pub fn pick(&mut self, named: Option<u16>, default: u16, what: &str) -> Result<u16, CliError> {
        match named {
            Some(port) => self.exactly(port, what),
            None => self.preferably(default, what),
        }
    }

    fn any(&self) -> Result<u16, CliError> {
        for _ in 0..NEARBY {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let port = listener.and_then(|listener| listener.local_addr()).map(|address| address.port());
            match port {
                Ok(port) if !self.taken.contains(&port) => return Ok(port),
                Ok(_) => {}
                Err(error) => {
                    return Err(CliError::environment(format!("this machine gives no port: {error}")).with_hint(NO_PORT))
                }
            }
        }
        Err(CliError::environment("this machine has no free port").with_hint(NO_PORT))
    }

    fn is_free(&self, port: u16) -> bool {
        port != 0 && !self.taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn busy() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_named_busy_port_is_an_error_and_a_default_one_is_replaced() {
        let (_listener, port) = busy();
        let mut ports = Ports::default();
        let error = ports.pick(Some(port), 1, "node").unwrap_err();
        assert_eq!((error.code, error.exit_code()), (Code::PortInUse, 9));
        assert_ne!(ports.pick(None, port, "node").unwrap(), port);
    }

    #[test]
    fn no_port_is_given_out_twice() {
        let (listener, port) = busy();
        drop(listener);
        let mut ports = Ports::default();
        assert_eq!(ports.exactly(port, "node").unwrap(), port);
        assert_eq!(ports.exactly(port, "worker").unwrap_err().code, Code::PortInUse);
        assert_ne!(ports.preferably(port, "worker").unwrap(), port);
        assert_eq!(ports.exactly(0, "worker").unwrap_err().code, Code::PortInUse);
    }
}
