//! What a verdict is worth: five levels of confidence, and the governed policy on security advisories.
//!
//! A level is a function of vendor, status, advisories and policy; 1 is the best. It never admits anybody: the status has passed
//! [`crate::PolicyTerms`] before, and a forbidden advisory refuses whatever the status. It says what a platform's owner has left
//! undone, and nothing about physical access to the machine, which no status covers.
//!
//! | level | status | advisories | weight |
//! |---|---|---|---|
//! | 1 | UpToDate | none, or all tolerated | 1.0 |
//! | 2 | SWHardeningNeeded | some, all tolerated | 1.0 |
//! | 3 | ConfigurationNeeded, ConfigurationAndSWHardeningNeeded | some, all tolerated | 1.0 |
//! | 4 | any of the above | one that is not tolerated, or none where one is due | 0.8 |
//! | 5 | OutOfDate, OutOfDateConfigurationNeeded | any | 0.7 |
//!
//! Source: Phala 2020-2022, `pallets/phala/src/utils/constants.rs` (levels by quote status) and
//! `pallets/phala/src/compute/computation.rs` (weights). Where this differs it is stricter. The tolerated advisories are governed
//! and begin empty; there they were four constants. Level 2 asks for tolerated advisories too. A status that says that something
//! is open and names nothing is level 4; there, the empty list was a subset of the tolerated ones. There is no level for machines
//! without evidence, which had full weight there.
//!
//! A report holds a bounded number of advisories, and one that is full may have lost some. It counts as having any: nothing about it
//! is "all tolerated", and a policy that forbids anything refuses it.
//!
//! Who controls the inputs: the vendor names advisories and status, in signed documents; governance writes the policy; the
//! attacker chooses the machine. It does not judge evidence.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

use crate::{
    evidence::{Vendor, VerifiedReport},
    list::List,
    tcb::{Advisory, TcbStatus, MOST_ADVISORIES},
};

/// Advisories that one list of a policy names at most.
pub const POLICY_ADVISORIES: usize = 64;

/// How far a platform is to be trusted, 1 being the best; see the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum ConfidenceLevel {
    /// Nothing known is missing.
    #[codec(index = 1)]
    One,
    /// Software inside must mitigate something, and governance says that ours does.
    #[codec(index = 2)]
    Two,
    /// The configuration leaves something open that governance tolerates.
    #[codec(index = 3)]
    Three,
    /// Something is open that governance has not reviewed.
    #[codec(index = 4)]
    Four,
    /// Security updates are missing.
    #[codec(index = 5)]
    Five,
}

impl ConfidenceLevel {
    /// All of them, the best first.
    pub const ALL: [Self; 5] = [Self::One, Self::Two, Self::Three, Self::Four, Self::Five];

    /// The level as a number, 1 to 5.
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
            Self::Five => 5,
        }
    }

    /// What the machine's work counts, in millionths of a machine's of level 1; the source is in the module's text.
    pub const fn weight_ppm(self) -> u32 {
        match self {
            Self::One | Self::Two | Self::Three => 1_000_000,
            Self::Four => 800_000,
            Self::Five => 700_000,
        }
    }
}

/// What governance says about advisories. Begins empty: nothing tolerated, nothing forbidden.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct AdvisoryPolicy {
    /// Reviewed: the measured binary mitigates them, or they do not touch it.
    pub tolerated: List<Advisory, POLICY_ADVISORIES>,
    /// A platform that one of these applies to is refused.
    pub forbidden: List<Advisory, POLICY_ADVISORIES>,
}

impl AdvisoryPolicy {
    /// Whether the policy can mean what it says: each id is printable and not empty, and none is both tolerated and forbidden.
    pub fn is_consistent(&self) -> bool {
        let legible = |advisory: &Advisory| {
            let id = advisory.id();
            !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        self.tolerated.iter().chain(self.forbidden.iter()).all(legible)
            && !self.tolerated.iter().any(|advisory| self.forbidden.contains(advisory))
    }

    /// Whether nothing that applies to a platform is forbidden, or may be.
    ///
    /// # Errors
    /// The forbidden advisory, or that some may be missing from a list which is full.
    pub fn admits(&self, advisories: &[Advisory]) -> Result<(), ConfidenceRefusal> {
        if let Some(advisory) = advisories.iter().find(|advisory| self.forbidden.contains(advisory)) {
            return Err(ConfidenceRefusal::Forbidden(advisory.clone()));
        }
        if may_have_lost_some(advisories) && !self.forbidden.is_empty() {
            return Err(ConfidenceRefusal::TooManyAdvisories);
        }
        Ok(())
    }

    fn tolerates(&self, advisories: &[Advisory]) -> bool {
        advisories.iter().all(|advisory| self.tolerated.contains(advisory))
    }
}

/// Why a verdict has no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfidenceRefusal {
    /// The platform is revoked by its vendor.
    #[error("platform is revoked")]
    Revoked,
    /// An advisory that governance forbids applies to the platform; the operator has to update it.
    #[error("advisory {} applies to the platform and is forbidden: update it", .0.id())]
    Forbidden(Advisory),
    /// As many advisories apply as a report can hold, so that a forbidden one may be missing; the operator has to update the platform.
    #[error("more advisories apply to the platform than are kept, and a forbidden one may be among them: update it")]
    TooManyAdvisories,
}

/// The level of a platform of `vendor` with this status and these advisories.
pub fn confidence(
    vendor: Vendor,
    status: TcbStatus,
    advisories: &[Advisory],
    policy: &AdvisoryPolicy,
) -> Result<ConfidenceLevel, ConfidenceRefusal> {
    policy.admits(advisories)?;
    match vendor {
        // Statuses are Intel's words. A vendor with others needs an arm of its own.
        Vendor::IntelTdx | Vendor::IntelSgx => intel(status, advisories, policy),
    }
}

/// The level of a verified report.
pub fn confidence_of(report: &VerifiedReport, policy: &AdvisoryPolicy) -> Result<ConfidenceLevel, ConfidenceRefusal> {
    confidence(report.vendor(), report.tcb_status(), report.advisories(), policy)
}

/// Whether a report with these advisories is full.
fn may_have_lost_some(advisories: &[Advisory]) -> bool {
    advisories.len() >= MOST_ADVISORIES
}

fn intel(
    status: TcbStatus,
    advisories: &[Advisory],
    policy: &AdvisoryPolicy,
) -> Result<ConfidenceLevel, ConfidenceRefusal> {
    let reviewed = !may_have_lost_some(advisories) && policy.tolerates(advisories);
    let named = !advisories.is_empty();
    let best = match status {
        TcbStatus::UpToDate if reviewed => ConfidenceLevel::One,
        TcbStatus::SwHardeningNeeded if reviewed && named => ConfidenceLevel::Two,
        TcbStatus::ConfigurationNeeded | TcbStatus::ConfigurationAndSwHardeningNeeded if reviewed && named => {
            ConfidenceLevel::Three
        }
        TcbStatus::UpToDate
        | TcbStatus::SwHardeningNeeded
        | TcbStatus::ConfigurationNeeded
        | TcbStatus::ConfigurationAndSwHardeningNeeded => ConfidenceLevel::Four,
        TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded => ConfidenceLevel::Five,
        TcbStatus::Revoked => return Err(ConfidenceRefusal::Revoked),
    };
    Ok(best)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use alloc::{format, vec, vec::Vec};
    use TcbStatus::{Revoked, UpToDate};

    fn ids(numbers: &[u32]) -> Vec<Advisory> {
        numbers.iter().map(|number| Advisory::new(&format!("INTEL-SA-{number:05}")).unwrap()).collect()
    }

    fn policy(tolerated: &[u32], forbidden: &[u32]) -> AdvisoryPolicy {
        AdvisoryPolicy { tolerated: ids(tolerated).try_into().unwrap(), forbidden: ids(forbidden).try_into().unwrap() }
    }

    fn levels(advisories: &[u32], policy: &AdvisoryPolicy) -> Vec<u8> {
        let level = |status| confidence(Vendor::IntelTdx, status, &ids(advisories), policy);
        TcbStatus::ALL.map(|status| level(status).map_or(0, ConfidenceLevel::number)).into()
    }

    #[test]
    fn levels_are_those_of_the_table() {
        let policy = policy(&[334, 219], &[]);
        assert_eq!(levels(&[], &policy), [1, 4, 4, 4, 5, 5, 0]);
        assert_eq!(levels(&[219], &policy), [1, 2, 3, 3, 5, 5, 0]);
        assert_eq!(levels(&[219, 334], &policy), [1, 2, 3, 3, 5, 5, 0]);
        assert_eq!(levels(&[219, 615], &policy), [4, 4, 4, 4, 5, 5, 0]);
        assert_eq!(levels(&[219], &AdvisoryPolicy::default()), [4, 4, 4, 4, 5, 5, 0]);
        assert_eq!(ConfidenceLevel::ALL.map(ConfidenceLevel::number), [1, 2, 3, 4, 5]);
        let weights = ConfidenceLevel::ALL.map(ConfidenceLevel::weight_ppm);
        assert_eq!(weights, [1_000_000, 1_000_000, 1_000_000, 800_000, 700_000]);
    }

    /// A row of a table in Markdown, whose first cell is `first`.
    fn row<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
        let rows = text.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix('|'));
        let mut cells = rows.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        cells.find(|cells| cells[0] == first).unwrap()
    }

    #[test]
    fn the_guide_and_this_modules_table_have_the_weights_of_the_code() {
        let guide = include_str!("../../../docs/guides/attestation.md");
        let heading = row(guide, "Level");
        let column = heading.iter().position(|cell| *cell == "Weight").unwrap();
        for level in ConfidenceLevel::ALL {
            let (number, weight) = (level.number(), level.weight_ppm());
            assert_eq!(weight % 100_000, 0, "the tables have one digit behind the point");
            let written = format!("{}.{}", weight / 1_000_000, weight % 1_000_000 / 100_000);
            let number = format!("{number}");
            assert_eq!(row(guide, &number)[column], written, "level {number} in docs/guides/attestation.md");
            assert_eq!(row(include_str!("confidence.rs"), &number)[3], written, "level {number} in this file");
        }
    }

    #[test]
    fn forbidden_advisory_refuses_whatever_the_status() {
        let policy = policy(&[334], &[615]);
        assert_eq!(levels(&[334, 615], &policy), [0; 7]);
        let refused = confidence(Vendor::IntelTdx, UpToDate, &ids(&[615]), &policy);
        assert_eq!(refused, Err(ConfidenceRefusal::Forbidden(ids(&[615])[0].clone())));
        assert_eq!(confidence(Vendor::IntelTdx, Revoked, &[], &policy), Err(ConfidenceRefusal::Revoked));
    }

    #[test]
    fn advisories_that_may_have_been_cut_off_count_as_any() {
        let full: Vec<u32> = (0..MOST_ADVISORIES as u32).collect();
        let tolerant = policy(&full, &[]);
        assert_eq!(levels(&full[1..], &tolerant), [1, 2, 3, 3, 5, 5, 0]);
        assert_eq!(levels(&full, &tolerant), [4, 4, 4, 4, 5, 5, 0], "one that is not tolerated may be missing");
        let strict = policy(&full, &[999]);
        assert_eq!(levels(&full[1..], &strict), [1, 2, 3, 3, 5, 5, 0]);
        assert_eq!(levels(&full, &strict), [0; 7]);
        let judged = confidence(Vendor::IntelTdx, UpToDate, &ids(&full), &strict);
        assert_eq!(judged, Err(ConfidenceRefusal::TooManyAdvisories));
    }

    #[test]
    fn no_further_advisory_improves_a_level() {
        let policy = policy(&[1, 2], &[9]);
        let sets: [&[u32]; 6] = [&[], &[1], &[1, 2], &[1, 3], &[3], &[1, 9]];
        let rank =
            |status, set: &[u32]| confidence(Vendor::IntelTdx, status, &ids(set), &policy).map_or(9, |l| l.number());
        for status in TcbStatus::ALL {
            for small in sets.iter().filter(|set| !set.is_empty()) {
                for more in [1, 2, 3, 9] {
                    let larger = [*small, &[more][..]].concat();
                    assert!(rank(status, &larger) >= rank(status, small), "{status:?} {small:?} {more}");
                }
            }
        }
    }

    #[test]
    fn contradictory_or_illegible_policies_are_told() {
        assert!(AdvisoryPolicy::default().is_consistent() && policy(&[1], &[2]).is_consistent());
        assert!(!policy(&[1, 2], &[2]).is_consistent());
        let decoded = |id: &[u8]| Advisory::decode(&mut &id.encode()[..]).unwrap();
        for id in [&b""[..], b"INTEL SA", b"\xff\xfe"] {
            let tolerated = vec![decoded(id)].try_into().unwrap();
            assert!(!AdvisoryPolicy { tolerated, ..AdvisoryPolicy::default() }.is_consistent(), "{id:?}");
        }
    }
}
