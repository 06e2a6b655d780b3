//! What a node and its runtime answer when they do not, as errors that say whose fault it is.

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
                let (code, hint) = judge(&refusal.pallet, &refusal.error);
                let plain = Self::new(code, error.to_string());
                match hint {
                    Some(hint) => plain.with_hint(hint),
                    None => plain,
                }
            }
        }
    }
}

/// Code and hint of a pallet's refusal.
fn judge(pallet: &str, error: &str) -> (ErrorCode, Option<&'static str>) {
    use ErrorCode::*;
    match (pallet, error) {
        ("Inbox", "NotOpen") => (
            Busy,
            Some("the cluster's first epoch has not opened yet: wait for its workers, or choose another cluster"),
        ),
        ("Inbox", "Closed") | ("Contracts", "ClusterClosed") => {
            (Refused, Some("governance has closed the cluster for good: nothing sent to it is answered; use another one"))
        }
        ("Contracts", "StillOpening") => {
            (Refused, Some("the cluster's replicas work, or stopped less than an hour ago: nothing is lost that it could be closed for"))
        }
        ("Inbox", "WrongEpoch") => (Stale, Some("the epoch has changed; send the command again")),
        ("Inbox", "Busy") => (
            Busy,
            Some("the cluster has too much work waiting; try again later. Until its last block anybody may push this one again"),
        ),
        ("Inbox", "FeeOverMax") => (
            OverLimit,
            Some("the price has risen: allow a higher fee, or try again later. Until its last block anybody may push this one again"),
        ),
        ("Inbox", "TooLong") => (OverLimit, Some("the message is longer than an inbox item may be")),
        ("Contracts", "NoSuchCluster") => (NotFound, Some("`phala status` lists the clusters")),
        ("Contracts", "NoSuchCode") => (NotFound, Some("upload the code first")),
        ("Contracts", "CodeExists") => (Refused, Some("the code is stored already; instantiate it")),
        ("Contracts", "NotWasm") => (Invalid, Some("the file is no WebAssembly; build it with `phala contract build`")),
        ("Contracts", "NotAWorker") | ("Attestation" | "Gatekeepers", "NotAGatekeeper") => {
            (Unattested, Some("register it with evidence first"))
        }
        ("Gatekeepers", "NotTheOperator") => {
            (Unauthorised, Some("the gatekeeper's evidence names another operator: only that one's validator can have it"))
        }
        ("Gatekeepers", "AlreadySeated") => {
            (Refused, Some("the gatekeeper is the validator's already: `phala gatekeeper status` shows it"))
        }
        ("Gatekeepers", "NotSeated") => {
            (NotFound, Some("bind it to its validator first: `phala gatekeeper register-seat`"))
        }
        ("Gatekeepers", "NotAnElector") => {
            (Unauthorised, Some("validators elect whose gatekeepers have seats of the root that answers: `phala gatekeeper status`"))
        }
        ("Attestation", "BadCommittee") => {
            (Invalid, Some("a committee has three to seven members, one at least on a development network, none of them twice"))
        }
        ("Gatekeepers", "Convicted") => (Refused, Some("it takes no seat any more: set up another gatekeeper")),
        ("Gatekeepers", "UnderWay" | "HandOverPending") => {
            (
                Busy,
                Some("`phala gatekeeper status` shows the ceremony under way, or the root that waits; `identities` one of identities"),
            )
        }
        ("Gatekeepers", "TooFewSeats") => {
            (Refused, Some("it takes four seats, each of a validator of its own; on a development network `phala dev --gatekeepers 4`"))
        }
        ("Gatekeepers", "IdentitiesUnderWay") => {
            (Busy, Some("identities are made or handed over: `phala gatekeeper identities` shows how far that is"))
        }
        ("Gatekeepers", "IdentitiesHeld") => {
            (Refused, Some("the seats of the root that answers hold the identities already: `phala gatekeeper identities`"))
        }
        ("Gatekeepers", "NoRoot") => {
            (NotFound, Some("identities are held by the seats of a root: `phala gatekeeper start` makes one"))
        }
        ("Gatekeepers", "NothingToCancel") => {
            (NotFound, Some("there is none under way: `phala gatekeeper status` and `identities` show what is"))
        }
        ("Contracts", "TooEarly" | "StillClosing") => (Busy, Some("the open epoch must be finished first")),
        ("Contracts", "NoBeacon") => {
            (NotFound, Some("the beacon has no value yet; `phala beacon latest` shows it when there is one"))
        }
        ("Contracts", "TooFewEligible") => {
            (Refused, Some("only active workers that serve no cluster and registered before the value's period opened are drawn"))
        }
        ("Contracts", "TiedDrawing") => (Busy, Some("draw again from the beacon's next value")),
        ("Contracts", "MoreToLookAt") => (OverLimit, Some("allow more registrations and clusters to be looked at")),
        ("Attestation", "NoCollateral") => (Unattested, Some("submit the platform's collateral first")),
        ("Attestation", "CollateralExpired" | "CollateralBelowFloor") => {
            (Stale, Some("fetch the platform's collateral again and submit it"))
        }
        ("Attestation", "CertificateExpired") => {
            (Stale, Some("fetch the processor's certificate from its vendor again, then attest again"))
        }
        ("Attestation", "EvaluationTooEarly") => {
            (Unattested, Some("governance has not let this evaluation in yet: submit the present standard collateral"))
        }
        ("Attestation", "NotOnTheCommittee") => {
            (Unauthorised, Some("the account is not on the committee, or its term is over"))
        }
        ("Attestation", "AlreadyBarred") => (Refused, Some("it is suspended or revoked already: `phala brake status`")),
        ("Attestation", "SignaturesExpired") => {
            (Expired, Some("the block that the seats named has passed: have them sign again"))
        }
        ("Attestation", "SignedTooFarAhead") => (OverLimit, Some("have the seats name a block within a day")),
        ("Attestation", "TooFewGatekeepers") => {
            (Refused, Some("as many seats as can withhold a key have to sign: `phala brake pull` says whose are missing"))
        }
        ("Attestation", "BrakeRests" | "Overruled") => {
            (Refused, Some("the brake has to rest before it can suspend this; governance can revoke it"))
        }
        ("Attestation", "PlatformOutdated" | "AdvisoryForbidden") => {
            (Unattested, Some("update the platform's firmware and microcode, then attest again"))
        }
        (
            "Attestation",
            "CollateralRefused" | "UntrustedRoot" | "EvidenceMalformed" | "EvidenceRefused" | "WrongReportData"
            | "PlatformRevoked" | "RoleNotAllowed",
        ) => (Unattested, None),
        ("Attestation", "Barred" | "HardwareRevoked") => {
            (Unattested, Some("it is suspended or revoked; only governance can lift that"))
        }
        ("Attestation", "HardwareCoolingDown") => {
            (Busy, Some("the machine's former identity lapsed a short while ago; try again later"))
        }
        ("Attestation", "NoEvaluationCap") => (Unattested, Some("governance must set the highest evaluation first")),
        ("Attestation", "NotRecent") => (Stale, Some("make new evidence over a recent block")),
        ("Attestation", "MeasurementNotAllowed") => (Unattested, Some("governance must list the measurement first")),
        ("Attestation", "NotTheOperator" | "HardwareInUse" | "IdentityInUse") => (Unauthorised, None),
        ("Sudo", "RequireSudo") => (Unauthorised, Some("only the sudo key of a development network may do this")),
        ("Balances", "InsufficientBalance" | "LiquidityRestrictions" | "Expendability") => {
            (InsufficientFunds, Some("`phala account balance` shows what the account has"))
        }
        _ => (Refused, None),
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
    }
}
