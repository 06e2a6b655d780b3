//! What a node and its runtime answer when they do not, as errors that say whose fault it is.

use super::refusals;
use crate::{error::chain_of, ClientError, ErrorCode};
use subxt::error::{DispatchError, TokenError};

/// A pallet's refusal, by name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chain refuses: {pallet}.{error}")]
pub struct PalletError {
    /// The pallet in the runtime.
    pub pallet: String,
    /// The error's variant.
    pub error: String,
}

/// Why an extrinsic had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It was included, and a pallet refused.
    #[error(transparent)]
    Pallet(#[from] PalletError),
    /// It was included, and failed otherwise.
    #[error("the chain refuses: {message}")]
    Dispatch {
        /// What kind of failure.
        code: ErrorCode,
        /// In the runtime's words.
        message: String,
    },
    /// It never got into a block.
    #[error("the node refuses the extrinsic: {message}")]
    Rejected {
        /// What kind of failure.
        code: ErrorCode,
        /// In the node's words.
        message: String,
    },
    /// The node could not be asked, or did not answer in time; it may have been included all the same.
    #[error("{0}")]
    Client(ClientError),
}

impl From<ClientError> for SubmitError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl SubmitError {
    /// Whether it is this refusal.
    pub fn is(&self, pallet: &str, error: &str) -> bool {
        matches!(self, Self::Pallet(refusal) if refusal.pallet == pallet && refusal.error == error)
    }
}

impl From<SubmitError> for ClientError {
    fn from(error: SubmitError) -> Self {
        match &error {
            SubmitError::Client(error) => error.clone(),
            SubmitError::Dispatch { code, .. } | SubmitError::Rejected { code, .. } => {
                let hinted = Self::new(*code, error.to_string());
                match code {
                    ErrorCode::InsufficientFunds => {
                        hinted.with_hint("`phala account balance` shows what the account has")
                    }
                    _ => hinted,
                }
            }
            SubmitError::Pallet(refusal) => {
                let (code, hint) = refusals::judge(&refusal.pallet, &refusal.error);
                Self::new(code, error.to_string()).with_hint(hint)
            }
        }
    }
}

/// A runtime's dispatch error.
pub(super) fn dispatch_error(error: &DispatchError) -> SubmitError {
    let code = match error {
        DispatchError::Module(module) => {
            return match module.details() {
                Ok(details) => SubmitError::Pallet(PalletError {
                    pallet: details.pallet.name().to_owned(),
                    error: details.variant.name.clone(),
                }),
                Err(_) => SubmitError::Dispatch { code: ErrorCode::Refused, message: module.details_string() },
            }
        }
        DispatchError::Token(TokenError::FundsUnavailable | TokenError::NotExpendable | TokenError::OnlyProvider) => {
            ErrorCode::InsufficientFunds
        }
        DispatchError::BadOrigin | DispatchError::RootNotAllowed => ErrorCode::Unauthorised,
        _ => ErrorCode::Refused,
    };
    SubmitError::Dispatch { code, message: error.to_string() }
}

/// A JSON-RPC error of `method`.
pub(super) fn rpc_error(method: &str, error: &subxt::rpcs::Error) -> ClientError {
    match error {
        subxt::rpcs::Error::User(user) => {
            // The codes of `chain/node/src/rpc/phala.rs`.
            let code = match user.code {
                7001 => ErrorCode::Stale,
                7003..=7005 => ErrorCode::NotFound,
                7008 => ErrorCode::Busy,
                _ => ErrorCode::Refused,
            };
            ClientError::new(code, format!("the node refuses {method}: {}", user_text(user)))
        }
        subxt::rpcs::Error::Deserialization(_) => {
            ClientError::new(ErrorCode::Unverified, format!("the node's answer to {method} is malformed"))
        }
        _ => ClientError::new(ErrorCode::Unreachable, format!("the node cannot be asked: {}", chain_of(error)))
            .with_hint("is the network running? `phala status` shows it"),
    }
}

/// What the transaction pool says, and whether another extrinsic of the account took the nonce.
pub(super) fn pool_error(error: &subxt::rpcs::Error) -> (SubmitError, bool) {
    let subxt::rpcs::Error::User(user) = error else {
        return (rpc_error("author_submitExtrinsic", error).into(), false);
    };
    let text = user_text(user);
    // Codes of `sc_rpc_api::author`: 1010 invalid, 1012 banned for a while, 1013 already there, 1014 priority too low,
    // 1016 the pool is full.
    let (code, lost_nonce) = match user.code {
        1010 if text.contains("outdated") => (ErrorCode::Expired, true),
        1010 if text.contains("pay") => (ErrorCode::InsufficientFunds, false),
        1010 => (ErrorCode::Refused, false),
        1012 => (ErrorCode::Busy, false),
        1013 | 1014 => (ErrorCode::Busy, true),
        1016 => (ErrorCode::Busy, false),
        _ => (ErrorCode::Refused, false),
    };
    (SubmitError::Rejected { code, message: text }, lost_nonce)
}

/// Whether the pool said that it did not take an extrinsic and has no other copy of it: anything else that goes wrong may happen after
/// it was taken.
pub(super) fn is_refused_by_pool(error: &subxt::rpcs::Error) -> bool {
    matches!(error, subxt::rpcs::Error::User(user) if user.code != 1013)
}

fn user_text(user: &subxt::rpcs::UserError) -> String {
    match &user.data {
        Some(data) => format!("{}: {}", user.message, data.get().trim_matches('"')),
        None => user.message.clone(),
    }
}

/// Anything else that subxt says.
pub(super) fn other(error: &dyn std::error::Error) -> ClientError {
    let text = chain_of(error);
    // subxt's errors about a lost connection come wrapped in those of what it was doing.
    let lost = ["connection", "Connection", "closed", "subscription dropped", "RestartNeeded"];
    let code = if lost.iter().any(|word| text.contains(word)) { ErrorCode::Unreachable } else { ErrorCode::Refused };
    ClientError::new(code, format!("the node cannot be used: {text}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn refusal(pallet: &str, error: &str) -> SubmitError {
        SubmitError::Pallet(PalletError { pallet: pallet.into(), error: error.into() })
    }

    #[test]
    fn pallet_refusals_have_codes_and_hints() {
        for (pallet, error, code) in [
            ("Inbox", "WrongEpoch", ErrorCode::Stale),
            ("Inbox", "Busy", ErrorCode::Busy),
            ("Inbox", "Closed", ErrorCode::Refused),
            ("Contracts", "NoSuchCluster", ErrorCode::NotFound),
            ("Attestation", "EvidenceRefused", ErrorCode::Unattested),
            ("Gatekeepers", "IdentitiesHeld", ErrorCode::Refused),
            ("Gatekeepers", "IdentitiesUnderWay", ErrorCode::Busy),
            ("Gatekeepers", "NoRoot", ErrorCode::NotFound),
            ("Gatekeepers", "NothingToCancel", ErrorCode::NotFound),
            ("Balances", "InsufficientBalance", ErrorCode::InsufficientFunds),
            ("Anything", "Else", ErrorCode::Refused),
        ] {
            let error = ClientError::from(refusal(pallet, error));
            assert_eq!(error.code, code);
            assert!(error.message.starts_with("the chain refuses: "));
            assert!(error.hint.is_some_and(|hint| !hint.is_empty()));
        }
        assert!(refusal("Inbox", "WrongEpoch").is("Inbox", "WrongEpoch"));
        assert!(!refusal("Contracts", "WrongEpoch").is("Inbox", "WrongEpoch"));
        assert!(ClientError::from(refusal("Inbox", "Busy")).hint.unwrap().contains("later"));
    }

    #[test]
    fn pool_errors_say_whether_the_nonce_was_taken() {
        let user = |code: i32, data: &str| {
            let data = Some(serde_json::value::to_raw_value(data).unwrap());
            subxt::rpcs::Error::User(subxt::rpcs::UserError { code, message: "Invalid Transaction".into(), data })
        };
        assert!(pool_error(&user(1010, "Transaction is outdated")).1);
        assert!(is_refused_by_pool(&user(1016, "The pool is full")));
        assert!(!is_refused_by_pool(&user(1013, "Transaction is already imported")), "a copy is there");
        assert!(pool_error(&user(1014, "The transaction has too low priority")).1);
        let (error, lost) = pool_error(&user(1010, "Inability to pay some fees (e.g. account balance too low)"));
        assert!(!lost);
        assert_eq!(ClientError::from(error).code, ErrorCode::InsufficientFunds);
    }

    #[test]
    fn node_errors_keep_their_reason() {
        let error = subxt::rpcs::UserError { code: 7005, message: "cluster 9 has no inbox".into(), data: None };
        let error = rpc_error("phala_inboxItems", &subxt::rpcs::Error::User(error));
        assert_eq!((error.code, error.message.contains("cluster 9")), (ErrorCode::NotFound, true));
        let later = subxt::rpcs::UserError { code: 7008, message: "ask again".into(), data: None };
        let later = rpc_error("phala_inboxItems", &subxt::rpcs::Error::User(later));
        assert_eq!((later.code, later.message.contains("ask again")), (ErrorCode::Busy, true));
    }
}
