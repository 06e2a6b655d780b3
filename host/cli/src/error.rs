//! What the command fails with: the client's closed list of codes, and those that only a command line has.
//!
//! The list and the exit codes are those of SPECIFICATION.md, "Errors"; a test holds them together.

use phala_client::{ClientError, ErrorCode};
use serde_json::{json, Map, Value};

/// A code of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// One that the client knows too.
    Client(ErrorCode),
    /// The command line is wrong.
    Usage,
    /// INSECURE: all links hold, and the evidence is simulated.
    Simulated,
    /// All links hold, and whether a worker that signed was shut out is left open.
    BansUnknown,
    /// A ceremony's transcript does not hold.
    Transcript,
    /// A ceremony's transcript holds, and has records that are a node's word.
    Unproved,
    /// This machine lacks something.
    Environment,
    /// An explicitly named port is taken.
    PortInUse,
}

impl Code {
    /// All codes.
    #[cfg(test)]
    fn all() -> impl Iterator<Item = Self> {
        // A variant that is missing below would be a code that nobody compared with the specification.
        let _is_complete = |code: Self| match code {
            Self::Client(_)
            | Self::Usage
            | Self::Simulated
            | Self::BansUnknown
            | Self::Transcript
            | Self::Unproved
            | Self::Environment
            | Self::PortInUse => {}
        };
        let own = [
            Self::Usage,
            Self::Simulated,
            Self::BansUnknown,
            Self::Transcript,
            Self::Unproved,
            Self::Environment,
            Self::PortInUse,
        ];
        ErrorCode::ALL.into_iter().map(Self::Client).chain(own)
    }

    /// As scripts read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client(code) => code.as_str(),
            Self::Usage => "usage",
            Self::Simulated => "simulated",
            Self::BansUnknown => "bans_unknown",
            Self::Transcript => "transcript",
            Self::Unproved => "unproved",
            Self::Environment => "environment",
            Self::PortInUse => "port_in_use",
        }
    }

    /// What the process exits with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Client(code) => code.exit_code(),
            Self::Usage => 2,
            Self::Simulated => 8,
            Self::Environment | Self::PortInUse => 9,
            Self::BansUnknown => 10,
            Self::Transcript => 11,
            Self::Unproved => 12,
        }
    }
}

impl Code {
    /// What to do about it, where nothing more is known.
    pub const fn what_to_do(self) -> &'static str {
        match self {
            Self::Client(code) => code.what_to_do(),
            Self::Usage => "`phala --help` shows what there is, and --help after a command what it takes",
            Self::Simulated => "it proves nothing about hardware; --allow-simulated accepts it all the same",
            Self::BansUnknown => {
                "have the receipt written again by `phala`, which proves the list; --allow-unknown-bans accepts it"
            }
            Self::Transcript => "do not rely on it: fetch the transcript again, from another node",
            Self::Unproved => "fetch it again from a node that proves its records; --allow-unproved accepts it",
            Self::Environment => "`phala doctor` says what this machine lacks",
            Self::PortInUse => "name another port, or end what listens there",
        }
    }
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        Self::Client(code)
    }
}

/// A failure as its user reads it.
#[derive(Clone, Debug)]
pub struct CliError {
    /// What kind.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// What to do, where more is known than the code says: see [`Self::what_to_do`].
    pub hint: Option<String>,
    /// What stands beside `error` in JSON: a verdict's links, for one.
    pub details: Map<String, Value>,
}

impl CliError {
    /// An error whose hint is its code's.
    pub fn new(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), hint: None, details: Map::new() }
    }

    /// A value or a file that is not what it has to be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    /// Something that this machine lacks or refuses.
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Code::Environment, message)
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do: its own hint, or its code's. Never empty.
    pub fn what_to_do(&self) -> &str {
        self.hint.as_deref().filter(|hint| !hint.is_empty()).unwrap_or(self.code.what_to_do())
    }

    /// What the process exits with.
    pub const fn exit_code(&self) -> u8 {
        self.code.exit_code()
    }

    /// `{"error": {"code", "message", "hint"}}` and the details.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert(
            "error".to_owned(),
            json!({"code": self.code.as_str(), "message": self.message, "hint": self.what_to_do()}),
        );
        object.extend(self.details.clone());
        Value::Object(object)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self { code: error.code.into(), message: error.message, hint: error.hint, details: Map::new() }
    }
}

/// A failed access to a file or folder, with its name, and what to do where the system's reason says it.
pub fn io(what: &str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> CliError {
    let text = format!("cannot {what} {}", path.display());
    move |error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::Client(ErrorCode::NotFound),
            _ => Code::Environment,
        };
        let failed = CliError::new(code, format!("{text}: {error}"));
        match hint_at(error.kind()) {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }
}

/// What to do about a reason of the system.
const fn hint_at(kind: std::io::ErrorKind) -> Option<&'static str> {
    use std::io::ErrorKind::*;
    match kind {
        NotFound => Some("check the path, and that the folder before it is there"),
        PermissionDenied => Some("it is another user's, or closed: give yourself access to it, or name another place"),
        ReadOnlyFilesystem => Some("nothing can be written there: name another place, or set PHALA_HOME to one"),
        StorageFull | QuotaExceeded => Some("free some space there, or name another place; then repeat the command"),
        IsADirectory | NotADirectory => Some("a file and a folder are taken for each other: check the path"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_code_is_in_the_specifications_table_with_its_exit_code_and_no_other_is() {
        let page = include_str!("../../../SPECIFICATION.md");
        let (_, section) = page.split_once("\n### Errors\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let mut written = BTreeMap::new();
        for row in section.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let Ok(exit) = cells[0].parse::<u8>() else { continue };
            for code in cells[2].split('`').skip(1).step_by(2) {
                assert_eq!(written.insert(code.to_owned(), exit), None, "{code} stands there twice");
            }
        }
        let printed: BTreeMap<String, u8> =
            Code::all().map(|code| (code.as_str().to_owned(), code.exit_code())).collect();
        assert_eq!(printed, written);
        assert_eq!(printed.len(), Code::all().count(), "two codes have one name");
    }

    #[test]
    fn what_the_system_refuses_has_a_name_and_what_to_do() {
        let failed = |kind: std::io::ErrorKind| io("write", std::path::Path::new("/x/y"))(kind.into());
        for (kind, code, hint) in [
            (std::io::ErrorKind::NotFound, "not_found", "the folder before it"),
            (std::io::ErrorKind::PermissionDenied, "environment", "give yourself access"),
            (std::io::ErrorKind::StorageFull, "environment", "free some space"),
        ] {
            let error = failed(kind);
            assert_eq!(error.code.as_str(), code);
            assert!(error.message.starts_with("cannot write /x/y: "), "{}", error.message);
            assert!(error.hint.unwrap().contains(hint));
        }
        assert_eq!(failed(std::io::ErrorKind::Other).hint, None);
    }

    #[test]
    fn json_has_code_message_and_hint_and_nothing_else() {
        let error = CliError::from(ClientError::new(ErrorCode::Stale, "old").with_hint("again"));
        assert_eq!(error.exit_code(), 6);
        assert_eq!(error.to_json(), json!({"error": {"code": "stale", "message": "old", "hint": "again"}}));
    }

    #[test]
    fn every_code_says_what_to_do() {
        for code in Code::all() {
            let error = CliError::new(code, "x");
            assert!(!code.what_to_do().is_empty(), "{}", code.as_str());
            assert_eq!(error.to_json()["error"]["hint"], code.what_to_do());
            assert_eq!(error.with_hint("wait").what_to_do(), "wait");
        }
    }
}
