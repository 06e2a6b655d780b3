//! The one error that users of this crate see: a code of a closed list, a message, and what to do: a hint of its own, or its code's.
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

    /// What to do about it, where nothing more is known.
    pub const fn what_to_do(self) -> &'static str {
        match self {
            Self::Internal => "report it, with what was done before",
            Self::Invalid => "check what was given: the message says which part is wrong",
            Self::NotFound => "check name, account, network and cluster; what an account may not see looks the same",
            Self::Refused => "repeating it does not help; `phala status` shows the state of chain and clusters",
            Self::OverLimit => "stay below the limit that the message names, or allow more where it is one's own",
            Self::Unauthorised => "do it as the account whose right it is",
            Self::InsufficientFunds => "`phala account balance` shows what the account has",
            Self::Trapped => "it is the contract's own fault: ask whoever wrote it, or call it with other arguments",
            Self::OutOfGas => "give it a higher gas limit; a query's is fixed: ask for less at once",
            Self::ContractError => "the contract's own words say why it refuses",
            Self::Busy => "wait a moment; then again, unless the message says that it is under way",
            Self::Stale => "wait until both sides have seen the same blocks: `phala status` shows how far they are",
            Self::Expired => "make it anew, with a later last block",
            Self::Unreachable => "is the network running? `phala status` shows it",
            Self::Timeout => {
                "`phala status` shows whether chain and workers go on; repeat it unless it may be included yet"
            }
            Self::Unattested => "do not use it; ask another machine",
            Self::Unverified => "do not use the answer; ask another node or worker",
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
    /// What to do, where more is known than the code says: see [`Self::what_to_do`].
    pub hint: Option<String>,
}

impl ClientError {
    /// An error whose hint is its code's.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same with a hint of its own.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do: its own hint, or its code's. Never empty.
    pub fn what_to_do(&self) -> &str {
        self.hint.as_deref().filter(|hint| !hint.is_empty()).unwrap_or(self.code.what_to_do())
    }

    /// `{"error": {"code", "message", "hint"}}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"error": {"code": self.code.as_str(), "message": self.message, "hint": self.what_to_do()}})
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
    fn every_code_says_what_to_do() {
        let mut said = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            assert!(said.insert(code.what_to_do()), "{code:?} says the same as another");
            let error = ClientError::new(code, "x");
            assert!(!error.what_to_do().is_empty(), "{code:?}");
            assert_eq!(error.to_json()["error"]["hint"], code.what_to_do());
            assert_eq!(error.clone().with_hint("").what_to_do(), code.what_to_do(), "a worker may say nothing");
            assert_eq!(error.with_hint("wait").to_json()["error"]["hint"], "wait");
        }
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
