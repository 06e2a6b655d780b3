//! Events of the pallet, as a section that `#[import_section]` copies into [`crate::pallet`]; names in it are those that are imported
//! there. It is a section and not a module with an enum because FRAME takes events only from the pallet's own module.
//!
//! An event's place in the enum is its index on the chain: new ones stand at the end.

/// What [`crate::pallet`] imports.
#[frame_support::pallet_macros::pallet_section]
mod events {
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Collateral was renewed.
        CollateralRenewed {
            /// The technology.
            vendor: Vendor,
            /// The platform model.
            fmspc: Fmspc,
            /// The authority that certifies the processors.
            authority: Hash,
            /// First Unix second at which it does not hold any more.
            valid_until: u64,
        },
        /// Collateral ends soon, or has ended, and nobody has brought newer: anyone may. Said once for each.
        CollateralExpiring {
            /// The technology.
            vendor: Vendor,
            /// The platform model.
            fmspc: Fmspc,
            /// The authority that certifies the processors.
            authority: Hash,
            /// First Unix second at which it does not hold any more.
            valid_until: u64,
        },
        /// A measurement may join.
        MeasurementAllowed {
            /// The measurement.
            measurement: Hash,
            /// From which source it is reproduced, from when until when, and in which role.
            listing: Listing,
        },
        /// The last block of a measurement was set.
        SunsetSet {
            /// The measurement.
            measurement: Hash,
            /// Its last block, if any.
            sunset: Option<BlockNumber>,
        },
        /// A measurement may not join any more. Registered TEEs with it are inactive from now on.
        MeasurementRemoved {
            /// The measurement.
            measurement: Hash,
        },
        /// A TEE is registered.
        Registered {
            /// Its identity.
            worker: WorkerId,
            /// Its operator.
            operator: AccountId,
            /// What its evidence is worth.
            confidence: ConfidenceLevel,
            /// Chain time in Unix seconds after which it must attest again.
            valid_until: u64,
        },
        /// A registration is gone: its machine carries another identity, or is revoked.
        Deregistered {
            /// The identity.
            worker: WorkerId,
        },
        /// A root, vendor, model, generation or measurement is shut out.
        Barred {
            /// What, from when, until when.
            ban: Ban,
        },
        /// What shut it out is lifted.
        Lifted {
            /// What.
            subject: Subject,
        },
        /// A member of the committee votes to suspend a subject.
        SuspensionVoted {
            /// Who.
            member: AccountId,
            /// What.
            subject: Subject,
            /// Members whose vote for it counts now.
            agreeing: u32,
        },
        /// The committee that may suspend was chosen anew; none when it has no members.
        CommitteeSet {
            /// Its members.
            members: Members,
            /// The last block of its term.
            until: BlockNumber,
        },
        /// A machine is revoked, and its registration gone.
        HardwareRevoked {
            /// Its pseudonym.
            hardware: Hash,
        },
        /// A machine's revocation is lifted.
        HardwareLifted {
            /// Its pseudonym.
            hardware: Hash,
        },
        /// The policy on advisories changed: for whoever is registered, and for whoever attests from now on.
        AdvisoriesSet,
        /// The governed times changed.
        WindowsSet {
            /// The times.
            windows: Windows,
        },
        /// The policy's terms changed.
        TermsSet {
            /// The terms.
            terms: PolicyTerms,
        },
        /// Collateral of a higher evaluation number is refused from now on; none refuses nothing.
        EvaluationCapSet {
            /// The highest number.
            cap: Option<u32>,
        },
        /// A root that gives epoch keys was recorded.
        RootRecorded {
            /// Its era.
            era: u32,
        },
    }
}
