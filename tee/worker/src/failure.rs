//! Why the process does not start, and how errors are written out.

use std::{error::Error, io, net::SocketAddr, path::PathBuf};

/// Why the process does not start: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailure {
    /// No event loop.
    #[error("cannot start the event loop")]
    Runtime(#[source] io::Error),
    /// No threads.
    #[error("cannot start the threads that answer queries")]
    Threads(#[source] io::Error),
    /// The data directory.
    #[error("cannot use the data directory {path}")]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("another worker runs with the data directory {0}: stop it, or name another directory with --data")]
    DataInUse(PathBuf),
    /// The anchor's file.
    #[error("cannot read the genesis anchor {path}; make it with `phala-node export-genesis-anchor`")]
    Anchor {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The anchor's content.
    #[error("{0} is not a genesis anchor; make it with `phala-node export-genesis-anchor`")]
    AnchorMalformed(PathBuf),
    /// The file of arguments.
    #[error("cannot read the arguments in {path}")]
    Arguments {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its length.
    #[error("{path} is longer than {limit} bytes")]
    ArgumentsLength {
        /// Which file.
        path: PathBuf,
        /// How long it may be.
        limit: u64,
    },
    /// A line of it.
    #[error("{path} has a line that is no `--name=value`: {line:?}")]
    ArgumentsLine {
        /// Which file.
        path: PathBuf,
        /// The line.
        line: String,
    },
    /// The arguments together.
    #[error("the arguments are wrong")]
    Usage(#[from] clap::Error),
    /// A listener's address.
    #[error("cannot listen on {address}; is another process using it?")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No TEE, or not a clear one.
    #[error("cannot tell which TEE this machine has")]
    Tee(#[from] phala_platform::DetectError),
    /// A key that the host may read, on a network with value.
    #[error("--sealing-key names a key that the host may read, which is for development networks only: leave it out")]
    NamedKey,
    /// A gatekeeper that would lose the network's root.
    #[error(
        "this machine keeps no secret over a restart, and a gatekeeper must: run it where the TEE has a sealing key"
    )]
    ForgetfulGatekeeper,
    /// Sealing does not work.
    #[error("cannot seal on this machine")]
    Seal(#[from] phala_platform::SealError),
    /// No quote.
    #[error("cannot get evidence from this machine")]
    Quote(#[from] phala_platform::QuoteError),
    /// The quote is not one.
    #[error("this machine's evidence is malformed")]
    Malformed(#[from] phala_attest::DecodeError),
    /// The logic does not start.
    #[error("cannot start")]
    Start(#[from] phala_core::StartError),
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
