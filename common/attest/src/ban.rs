//! Whom governance, or the brake, has shut out: vendors' roots, vendors, generations of platforms and measurements.
//!
//! A [`Ban`] only ever takes away. With an end it is a suspension, without one a revocation; one that begins later is a deadline.
//! The list is chain state, read by the chain's own registry and, from a storage proof, by gatekeepers and clients: all ask
//! [`Bans::applying`] with what evidence proved, so that a machine that is shut out has neither standing nor keys.
//!
//! Governance controls the list, within its limit. It does not name single machines: those leave the registry.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

use crate::{
    anchor::Root,
    collateral::VerifiedCollateral,
    confidence::ConfidenceLevel,
    evidence::{Vendor, VerifiedReport},
    list::{List, TooLong},
    tcb::TcbStatus,
};

/// Bans that are kept at most.
pub const MOST_BANS: usize = 64;

/// What a ban is about. The index of a kind never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Subject {
    /// Everything under a vendor's root.
    #[codec(index = 0)]
    Root(Root),
    /// Everything of a vendor's technology.
    #[codec(index = 1)]
    Vendor(Vendor),
    /// A platform model.
    #[codec(index = 2)]
    Model {
        /// Whose.
        vendor: Vendor,
        /// Which.
        fmspc: [u8; 6],
    },
    /// Verdicts by collateral of a lower evaluation number: whatever has not attested under a newer generation of the vendor's
    /// documents.
    #[codec(index = 3)]
    Evaluation {
        /// Whose.
        vendor: Vendor,
        /// The first number that is not shut out.
        below: u32,
    },
    /// What runs.
    #[codec(index = 4)]
    Measurement([u8; 32]),
}

/// A subject, shut out for a range of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Ban {
    /// Who is shut out.
    pub subject: Subject,
    /// From which block.
    pub from: u32,
    /// The last block of a suspension; none for a revocation.
    pub until: Option<u32>,
}

impl Ban {
    /// Whether it is in force at block `now`.
    pub fn in_force(&self, now: u32) -> bool {
        self.from <= now && !self.has_ended(now)
    }

    /// Whether it is over at block `now`.
    pub fn has_ended(&self, now: u32) -> bool {
        self.until.is_some_and(|until| now > until)
    }
}

/// What a verdict says of a machine, as far as bans ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Origin {
    /// The root that its chain ends in.
    pub root: Root,
    /// Whose hardware.
    pub vendor: Vendor,
    /// Its platform model.
    pub fmspc: [u8; 6],
    /// The evaluation number of the collateral that it was judged by: the lower one of its two documents.
    pub evaluation: u32,
    /// What it runs.
    pub measurement: [u8; 32],
}

impl Origin {
    /// Of a report, and the collateral that it was verified by.
    pub fn of(report: &VerifiedReport, collateral: &VerifiedCollateral) -> Self {
        Self {
            root: collateral.root(),
            vendor: report.vendor(),
            fmspc: collateral.fmspc(),
            evaluation: collateral.tcb_evaluation_number(),
            measurement: report.measurement(),
        }
    }

    /// Whether `subject` is, or contains, this machine.
    pub fn is_of(&self, subject: &Subject) -> bool {
        match *subject {
            Subject::Root(root) => root == self.root,
            Subject::Vendor(vendor) => vendor == self.vendor,
            Subject::Model { vendor, fmspc } => vendor == self.vendor && fmspc == self.fmspc,
            Subject::Evaluation { vendor, below } => vendor == self.vendor && self.evaluation < below,
            Subject::Measurement(measurement) => measurement == self.measurement,
        }
    }
}

/// What evidence said about a registered TEE when it attested last: chain state, by which the registry and, from a storage proof, clients
/// know whom a ban is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Appraisal {
    /// What bans ask about.
    pub origin: Origin,
    /// The vendor's judgement of the platform.
    pub status: TcbStatus,
    /// What that is worth, under the advisory policy of then.
    pub confidence: ConfidenceLevel,
}

/// The bans, at most one suspension and one revocation a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Bans(List<Ban, MOST_BANS>);

impl Bans {
    /// A ban in force at block `now` that shuts the machine out, if there is one.
    pub fn applying(&self, origin: &Origin, now: u32) -> Option<&Ban> {
        self.0.iter().find(|ban| ban.in_force(now) && origin.is_of(&ban.subject))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `ban` in the place of one of its kind on its subject, and forgets those that are over at block `now`.
    ///
    /// # Errors
    /// When the list is full; it is unchanged then.
    pub fn put(&mut self, ban: Ban, now: u32) -> Result<(), TooLong> {
        let same = |other: &Ban| other.subject == ban.subject && other.until.is_some() == ban.until.is_some();
        let kept = self.0.iter().filter(|other| !same(other) && !other.has_ended(now)).copied();
        self.0 = List::try_from(kept.chain([ban]).collect::<alloc::vec::Vec<_>>())?;
        Ok(())
    }

    /// Removes what there is on `subject`; says whether there was anything.
    pub fn remove(&mut self, subject: &Subject) -> bool {
        let before = self.0.len();
        let kept = self.0.iter().filter(|ban| ban.subject != *subject).copied().collect::<alloc::vec::Vec<_>>();
        // A part of a list is within its limit.
        self.0 = List::try_from(kept).unwrap_or_default();
        self.0.len() != before
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ORIGIN: Origin =
        Origin { root: Root::Intel, vendor: Vendor::IntelTdx, fmspc: [1; 6], evaluation: 17, measurement: [2; 32] };

    fn ban(subject: Subject, from: u32, until: Option<u32>) -> Ban {
        Ban { subject, from, until }
    }

    #[test]
    fn each_subject_shuts_out_its_own_and_no_other() {
        let vendor = Vendor::IntelTdx;
        for (subject, hit) in [
            (Subject::Root(Root::Intel), true),
            (Subject::Root(Root::InsecureDevelopment), false),
            (Subject::Vendor(vendor), true),
            (Subject::Model { vendor, fmspc: [1; 6] }, true),
            (Subject::Model { vendor, fmspc: [9; 6] }, false),
            (Subject::Evaluation { vendor, below: 18 }, true),
            (Subject::Evaluation { vendor, below: 17 }, false),
            (Subject::Measurement([2; 32]), true),
            (Subject::Measurement([9; 32]), false),
        ] {
            let mut bans = Bans::default();
            bans.put(ban(subject, 0, None), 0).unwrap();
            assert_eq!(bans.applying(&ORIGIN, 5).is_some(), hit, "{subject:?}");
        }
    }

    #[test]
    fn ban_holds_from_its_first_to_its_last_block() {
        let subject = Subject::Vendor(Vendor::IntelTdx);
        let mut bans = Bans::default();
        bans.put(ban(subject, 10, Some(20)), 5).unwrap();
        let hit = |bans: &Bans, now| bans.applying(&ORIGIN, now).is_some();
        assert_eq!([9, 10, 20, 21].map(|now| hit(&bans, now)), [false, true, true, false]);
        // A revocation beside it outlives it; one at a later block does not replace the suspension of before.
        bans.put(ban(subject, 30, None), 5).unwrap();
        assert_eq!(
            [9, 10, 20, 21, 29, 30, u32::MAX].map(|now| hit(&bans, now)),
            [false, true, true, false, false, true, true]
        );
        assert!(bans.remove(&subject) && bans.is_empty() && !bans.remove(&subject));
    }

    #[test]
    fn list_is_bounded_replaces_its_like_and_forgets_what_is_over() {
        let subject = |n: u8| Subject::Measurement([n; 32]);
        let mut bans = Bans::default();
        for n in 0..MOST_BANS as u8 {
            bans.put(ban(subject(n), 0, Some(10)), 0).unwrap();
        }
        let full = bans.clone();
        assert!(bans.put(ban(subject(200), 0, None), 10).is_err());
        assert_eq!(bans, full);
        bans.put(ban(subject(3), 5, Some(12)), 10).unwrap();
        assert_eq!(bans.iter().count(), MOST_BANS);
        bans.put(ban(subject(200), 11, None), 11).unwrap();
        assert_eq!(bans.iter().count(), 2, "what ended is forgotten");
        assert_eq!(Bans::decode(&mut &bans.encode()[..]).unwrap(), bans);
    }
}
