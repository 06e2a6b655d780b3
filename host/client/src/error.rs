//! The one error that users of this crate see: a code of a closed list, a message, and where it helps a hint.
//!
//! The list and its exit codes are those of SPECIFICATION.md, "Errors". Errors of this crate's parts are enums of their own and
//! become this one where they leave the crate. Messages may quote what a node or worker said: print them, do not parse them.

use serde::Serialize;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Our fault.
    Internal,
    /// An argument, a file or a value is not what it has to be.
    Invalid,
    /// Not there, or nothing that this account may see.
    NotFound,
    /// Chain or worker refuses it; repeating does not help.
    Refused,
    /// Over a limit of the network.
    OverLimit,
    /// Not this account's to do.
    Unauthorised,
    /// The account cannot pay.
    InsufficientFunds,
    /// The contract trapped.
    Trapped,
    /// The gas limit was reached.
    OutOfGas,
    /// The contract refused with an error of its own.
    ContractError,
    /// Too much waits already.
    Busy,
    /// The other side has not seen what we have seen, or the other way round.
    Stale,
    /// Too late: a block number or a nonce has passed.
    Expired,
    /// Nobody answers.
    Unreachable,
    /// It took longer than we wait.
    Timeout,
    /// A machine is not attested, or not for this.
    Unattested,
    /// A proof or a signature does not hold.
    Unverified,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 17] = [
        Self::Internal,
        Self::Invalid,
        Self::NotFound,
        Self::Refused,
        Self::OverLimit,
        Self::Unauthorised,
        Self::InsufficientFunds,
        Self::Trapped,
        Self::OutOfGas,
        Self::ContractError,
        Self::Busy,
        Self::Stale,
        Self::Expired,
        Self::Unreachable,
        Self::Timeout,
        Self::Unattested,
        Self::Unverified,
    ];

    /// As scripts read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::OverLimit => "over_limit",
            Self::Unauthorised => "unauthorised",
            Self::InsufficientFunds => "insufficient_funds",
            Self::Trapped => "trapped",
            Self::OutOfGas => "out_of_gas",
            Self::ContractError => "contract_error",
            Self::Busy => "busy",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Unattested => "unattested",
            Self::Unverified => "unverified",
        }
    }

    /// What a process exits with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Refused | Self::OverLimit | Self::Unauthorised | Self::InsufficientFunds => 4,
            Self::Trapped | Self::OutOfGas | Self::ContractError => 5,
            Self::Busy | Self::Stale | Self::Expired | Self::Unreachable | Self::Timeout => 6,
            Self::Unattested | Self::Unverified => 7,
        }
    }

    /// The code with this name: how a worker's JSON error is read.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

/// A failure as its user reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// What kind.
    pub code: ErrorCode,
    /// What happened, lower case.
    pub message: String,
    /// What to do, where there is something to do.
    pub hint: Option<String>,
}

impl ClientError {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `{"error": {"code", "message", "hint"}}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"error": {"code": self.code.as_str(), "message": self.message, "hint": self.hint}})
    }
}

/// A message with all of its sources, since ours keep theirs out of their own text.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_those_of_serde_and_lead_back() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(code));
            assert!((1..=7).contains(&code.exit_code()));
        }
        assert_eq!(ErrorCode::from_name("no such code"), None);
    }

    #[test]
    fn codes_and_exit_codes_are_those_of_the_specification() {
        let page = include_str!("../../../SPECIFICATION.md");
        for code in ErrorCode::ALL {
            let row =
                page.lines().find(|line| line.starts_with("| ") && line.contains(&format!("`{}`", code.as_str())));
            assert!(row.unwrap().starts_with(&format!("| {} |", code.exit_code())), "{}", code.as_str());
        }
    }
}
