//! Whose fault a refusal of collateral is, and when the same bytes are worth another try.
//!
//! Guarantees: bytes that can never be taken are submitted once, for each submission costs the operator a fee; what governance or a
//! clock may still change is tried again after a wait that doubles from [`SHORTEST`] to [`LONGEST`]; what came into no block, and cost
//! nothing, waits for nothing. Without I/O and without a clock of its own. The chain's and the node's answers are what it judges.

use phala_client::{
    chain::{PalletError, SubmitError},
    ClientError,
};
use phala_protocol::Hash;
use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

/// The wait after the first refusal.
pub(crate) const SHORTEST: Duration = Duration::from_secs(30);
/// The longest wait.
pub(crate) const LONGEST: Duration = Duration::from_secs(3_600);
/// Contents that are remembered; files change every few weeks.
const MOST_REMEMBERED: usize = 1_024;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The file's: its bytes will not be taken, whenever they come.
    File,
    /// Governance's, which may still let them in.
    Governance,
    /// A clock's, or something that the answer does not tell: it may pass.
    Unclear,
    /// The node's, which could not be asked or did not take the transaction: that costs no fee.
    Node,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the file's: fetch the platform's collateral again",
            Self::Governance => "governance's: it has not let this evaluation in yet, or set no highest one",
            Self::Unclear => "unclear: look at the file's root, at this machine's clock and at the chain's time",
            Self::Node => "the node's, or the operator's account's: nothing came into a block",
        })
    }
}

/// A refusal, and whose fault it is.
#[derive(Debug)]
pub(crate) struct Refused {
    pub whose: Whose,
    pub error: ClientError,
}

impl Refused {
    /// By this machine's own look at the bytes, which a wrong clock can mislead.
    pub(crate) fn here(error: ClientError) -> Self {
        Self { whose: Whose::Unclear, error }
    }

    /// A question that the node did not answer.
    pub(crate) fn by_node(error: ClientError) -> Self {
        Self { whose: Whose::Node, error }
    }

    /// A submission that had no effect.
    pub(crate) fn by_chain(error: SubmitError) -> Self {
        Self { whose: judge(&error), error: error.into() }
    }
}

/// Whose fault it is that a submission had no effect.
fn judge(error: &SubmitError) -> Whose {
    match error {
        SubmitError::Pallet(PalletError { pallet, error }) if pallet == "Attestation" => match error.as_str() {
            // Older in some part than what is there, over, or under a root that counts for nothing here and does not come back.
            "CollateralNotNewer" | "CollateralExpired" | "UntrustedRoot" => Whose::File,
            "EvaluationTooEarly" | "NoEvaluationCap" => Whose::Governance,
            // `CollateralRefused` too: it was good here, so that the chain's time or the roots that it trusts differ.
            _ => Whose::Unclear,
        },
        SubmitError::Client(_) | SubmitError::Rejected { .. } => Whose::Node,
        SubmitError::Pallet(_) | SubmitError::Dispatch { .. } => Whose::Unclear,
    }
}

/// When what was refused is tried again, by hash: of its bytes, or of what they are about where somebody else chooses the bytes.
#[derive(Debug, Default)]
pub(crate) struct Waits(BTreeMap<Hash, Wait>);

#[derive(Clone, Copy, Debug)]
struct Wait {
    length: Duration,
    /// Never, when there is none.
    until: Option<Instant>,
}

impl Waits {
    /// Whether these bytes are worth a try at `now`.
    pub(crate) fn is_due(&self, content: &Hash, now: Instant) -> bool {
        self.0.get(content).is_none_or(|wait| wait.until.is_some_and(|until| now >= until))
    }

    /// Notes a refusal at `now`; gives how long to wait, or nothing when the same bytes are not tried again.
    pub(crate) fn refused(&mut self, content: Hash, whose: Whose, now: Instant) -> Option<Duration> {
        if whose == Whose::Node {
            return Some(Duration::ZERO);
        }
        if self.0.len() >= MOST_REMEMBERED && !self.0.contains_key(&content) {
            // Costs a submission at most for each that is forgotten.
            self.0.clear();
        }
        let length = self.0.get(&content).map_or(SHORTEST, |former| former.length.saturating_mul(2).min(LONGEST));
        // An end that no clock can show is none.
        let until = if whose == Whose::File { None } else { now.checked_add(length) };
        self.0.insert(content, Wait { length, until });
        until.map(|_| length)
    }

    /// Forgets what was taken.
    pub(crate) fn forget(&mut self, content: &Hash) {
        self.0.remove(content);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_client::ErrorCode;

    const CONTENT: Hash = [1; 32];

    fn refusal(pallet: &str, error: &str) -> Whose {
        Refused::by_chain(SubmitError::Pallet(PalletError { pallet: pallet.into(), error: error.into() })).whose
    }

    #[test]
    fn a_refusal_says_whose_fault_it_is() {
        for error in ["CollateralNotNewer", "CollateralExpired", "UntrustedRoot"] {
            assert_eq!(refusal("Attestation", error), Whose::File, "{error}");
        }
        for error in ["EvaluationTooEarly", "NoEvaluationCap"] {
            assert_eq!(refusal("Attestation", error), Whose::Governance, "{error}");
        }
        for error in ["CollateralRefused", "SomethingNew"] {
            assert_eq!(refusal("Attestation", error), Whose::Unclear, "{error}");
        }
        assert_eq!(refusal("Elsewhere", "CollateralExpired"), Whose::Unclear);
        let rejected = SubmitError::Rejected { code: ErrorCode::InsufficientFunds, message: "no fees".into() };
        assert_eq!(Refused::by_chain(rejected).whose, Whose::Node);
        let gone = || ClientError::new(ErrorCode::Unreachable, "gone");
        assert_eq!(Refused::by_chain(SubmitError::Client(gone())).whose, Whose::Node);
        assert_eq!((Refused::by_node(gone()).whose, Refused::here(gone()).whose), (Whose::Node, Whose::Unclear));
        assert!(Whose::File.to_string().contains("the file's"));
    }

    #[test]
    fn hopeless_bytes_are_not_tried_again_and_other_bytes_are() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        assert!(waits.is_due(&CONTENT, now));
        assert_eq!(waits.refused(CONTENT, Whose::File, now), None);
        assert!(!waits.is_due(&CONTENT, now + Duration::from_secs(365 * 86_400)));
        assert!(waits.is_due(&[2; 32], now), "the file has changed");
        waits.forget(&CONTENT);
        assert!(waits.is_due(&CONTENT, now));
    }

    #[test]
    fn what_may_still_be_let_in_is_tried_after_a_wait_that_doubles_to_an_hour() {
        let (mut waits, mut now) = (Waits::default(), Instant::now());
        let mut lengths = Vec::new();
        for _ in 0..9 {
            let length = waits.refused(CONTENT, Whose::Governance, now).unwrap();
            assert!(!waits.is_due(&CONTENT, now + length - Duration::from_millis(1)));
            now += length;
            assert!(waits.is_due(&CONTENT, now));
            lengths.push(length.as_secs());
        }
        assert_eq!(lengths, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    }

    #[test]
    fn a_node_that_does_not_answer_costs_no_wait() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        assert_eq!(waits.refused(CONTENT, Whose::Node, now), Some(Duration::ZERO));
        assert!(waits.is_due(&CONTENT, now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        for number in 0..3 * MOST_REMEMBERED as u32 {
            let mut content = [0; 32];
            content[..4].copy_from_slice(&number.to_le_bytes());
            waits.refused(content, Whose::File, now);
            assert!(waits.0.len() <= MOST_REMEMBERED);
        }
    }
}
