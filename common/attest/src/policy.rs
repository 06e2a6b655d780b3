//! What a verifier accepts, beyond what it always requires.
//!
//! [`PolicyTerms`] is governed chain state; the anchor beside it in [`Policy`] comes from code. Terms can only narrow:
//! no value of them accepts a revoked platform, a debuggable machine, or another root.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

use crate::{anchor::TrustAnchor, tcb::TcbStatus};

/// A root and terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The only root accepted.
    pub anchor: TrustAnchor,
    /// What governance decides.
    pub terms: PolicyTerms,
}

/// The governed part of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct PolicyTerms {
    /// Statuses of the platform's trusted computing base that pass.
    pub accepted: AcceptedStatuses,
    /// Lowest `tcbEvaluationDataNumber` of TCB info and QE identity that passes. Intel raises it with every security
    /// release; without a floor, an attacker presents the last collateral that still called his machine up to date.
    pub minimum_tcb_evaluation_number: u32,
}

impl PolicyTerms {
    /// Only platforms that are up to date, by collateral of any evaluation.
    pub const STRICT: Self = Self { accepted: AcceptedStatuses::UP_TO_DATE, minimum_tcb_evaluation_number: 0 };
}

/// A set of [`TcbStatus`]. [`TcbStatus::Revoked`] is never in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct AcceptedStatuses(u8);

impl AcceptedStatuses {
    /// Only [`TcbStatus::UpToDate`].
    pub const UP_TO_DATE: Self = Self(1 << TcbStatus::UpToDate as u8);

    /// Every status that any policy can accept: all but [`TcbStatus::Revoked`]. For whoever looks at evidence rather than admits by
    /// it, and has to see the status for himself.
    pub const ALL_BUT_REVOKED: Self = Self::UP_TO_DATE
        .with(TcbStatus::SwHardeningNeeded)
        .with(TcbStatus::ConfigurationNeeded)
        .with(TcbStatus::ConfigurationAndSwHardeningNeeded)
        .with(TcbStatus::OutOfDate)
        .with(TcbStatus::OutOfDateConfigurationNeeded);

    /// This set and `status`. Adding [`TcbStatus::Revoked`] changes nothing.
    #[must_use]
    pub const fn with(self, status: TcbStatus) -> Self {
        Self(self.0 | 1 << status as u8)
    }

    /// Whether `status` passes.
    pub const fn contains(self, status: TcbStatus) -> bool {
        !matches!(status, TcbStatus::Revoked) && self.0 & (1 << status as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_was_added_and_never_revoked() {
        let set = AcceptedStatuses::UP_TO_DATE.with(TcbStatus::SwHardeningNeeded).with(TcbStatus::Revoked);
        assert!(set.contains(TcbStatus::UpToDate) && set.contains(TcbStatus::SwHardeningNeeded));
        assert!(!set.contains(TcbStatus::OutOfDate) && !set.contains(TcbStatus::Revoked));
        assert!(!AcceptedStatuses(0xff).contains(TcbStatus::Revoked));
    }

    #[test]
    fn all_but_revoked_is_every_status_but_that() {
        for status in TcbStatus::ALL {
            assert_eq!(AcceptedStatuses::ALL_BUT_REVOKED.contains(status), status != TcbStatus::Revoked, "{status:?}");
        }
    }
}
