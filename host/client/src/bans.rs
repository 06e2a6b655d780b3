//! Whether governance or the brake has shut a registered worker out, by two records of the chain's state.
//!
//! The rule is the chain's own (`phala_pallet_attestation`, `is_barred`): a ban in force shuts out whoever it names, and whoever of whom the
//! chain does not say where it comes from. Both records have to be proved in the state of one block, and the answer is about that block
//! alone: a ban of later is not known here. A single machine that is revoked is no longer registered, and so needs no check of its own.

use phala_attest::{Appraisal, Ban, Bans, Subject};
use phala_protocol::ids::{to_hex, BlockNumber};
use std::fmt;

/// Why a worker is shut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// By this ban.
    By(Ban),
    /// Bans are in force, and the chain does not say whether they are about it.
    Unknown,
}

impl fmt::Display for Barred {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::By(ban) = self else {
            return formatter.write_str("bans are in force, and the chain does not say where it comes from");
        };
        match ban.subject {
            Subject::Root(_) => formatter.write_str("its vendor's root")?,
            Subject::Vendor(_) => formatter.write_str("its vendor")?,
            Subject::Model { fmspc, .. } => write!(formatter, "its platform model {}", to_hex(&fmspc))?,
            Subject::Evaluation { below, .. } => {
                write!(formatter, "what attested under an evaluation number below {below}")?
            }
            Subject::Measurement(measurement) => write!(formatter, "its measurement {}", to_hex(&measurement))?,
        }
        match ban.until {
            Some(until) => write!(formatter, " is suspended until block {until}"),
            None => write!(formatter, " is revoked since block {}", ban.from),
        }
    }
}

/// Whether bans shut out, at block `height`, the worker that the chain appraised so.
pub(crate) fn barred(bans: &Bans, appraisal: Option<&Appraisal>, height: BlockNumber) -> Option<Barred> {
    match appraisal {
        Some(appraisal) => bans.applying(&appraisal.origin, height).copied().map(Barred::By),
        None => bans.iter().any(|ban| ban.in_force(height)).then_some(Barred::Unknown),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_attest::{ConfidenceLevel, Origin, Root, TcbStatus, Vendor};

    #[test]
    fn a_ban_shuts_out_whom_it_names_while_it_holds_and_who_is_not_known() {
        let vendor = Vendor::IntelTdx;
        let origin = Origin { root: Root::Intel, vendor, fmspc: [1; 6], evaluation: 17, measurement: [2; 32] };
        let appraisal = Appraisal { origin, status: TcbStatus::UpToDate, confidence: ConfidenceLevel::One };
        let ban = |subject, from, until| Ban { subject, from, until };
        let judged = |ban: Ban, known: bool, height| {
            let mut bans = Bans::default();
            bans.put(ban, 0).unwrap();
            barred(&bans, known.then_some(&appraisal), height).map(|barred| barred.to_string())
        };
        for (subject, what) in [
            (Subject::Root(Root::Intel), "its vendor's root is revoked since block 5"),
            (Subject::Vendor(vendor), "its vendor is revoked since block 5"),
            (Subject::Model { vendor, fmspc: [1; 6] }, "its platform model 0x010101010101 is revoked since block 5"),
            (Subject::Evaluation { vendor, below: 18 }, "below 18 is revoked since block 5"),
            (Subject::Measurement([2; 32]), "0202 is revoked since block 5"),
        ] {
            assert!(judged(ban(subject, 5, None), true, 5).unwrap().contains(what), "{subject:?}");
            assert_eq!(judged(ban(subject, 5, None), true, 4), None);
        }
        let suspended = ban(Subject::Vendor(vendor), 5, Some(9));
        assert_eq!(judged(suspended, true, 9).unwrap(), "its vendor is suspended until block 9");
        assert_eq!(judged(suspended, true, 10), None);
        let other = ban(Subject::Vendor(Vendor::IntelSgx), 5, None);
        assert_eq!(judged(other, true, 9), None);
        assert!(judged(other, false, 9).unwrap().contains("does not say"));
        assert_eq!(judged(other, false, 4), None);
        assert_eq!(barred(&Bans::default(), None, 9), None);
    }
}
