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
        /// A validator runs a gatekeeper.
        SeatRegistered {
            /// The validator.
            validator: T::AccountId,
            /// Its gatekeeper.
            gatekeeper: WorkerId,
        },
        /// A validator runs a gatekeeper no more, and is not electable unless another takes its place at once.
        SeatLeft {
            /// The validator.
            validator: T::AccountId,
            /// What was its gatekeeper.
            gatekeeper: WorkerId,
        },
        /// A ceremony began.
        CeremonyStarted {
            /// The era whose root is made.
            era: u32,
            /// Its first attempt.
            attempt: u32,
            /// Shares that will open the root.
            threshold: u16,
            /// The seats, by index from 1.
            seats: Vec<WorkerId>,
        },
        /// A phase began.
        PhaseBegan {
            /// The era.
            era: u32,
            /// The attempt.
            attempt: u32,
            /// The phase.
            phase: Phase,
            /// Its last block, if it is not over before.
            until: BlockNumber,
        },
        /// A seat made a statement; what it says stands in the ceremony's record.
        Stated {
            /// The era.
            era: u32,
            /// The attempt.
            attempt: u32,
            /// The seat's index, from 1.
            index: u16,
        },
        /// What stands beside a statement: a key, a sealed delivery or a package. Other seats' TEEs check it against the record.
        Attached {
            /// The era.
            era: u32,
            /// The attempt.
            attempt: u32,
            /// The index of the seat that made the statement, from 1.
            index: u16,
            /// What stands beside it.
            attachment: Attachment,
        },
        /// A seat takes no part in what follows of the ceremony.
        LeftOut {
            /// The era.
            era: u32,
            /// The attempt that showed it.
            attempt: u32,
            /// Whose seat.
            gatekeeper: WorkerId,
            /// Why.
            fault: Fault,
        },
        /// Too few were left: those that were absent take part again.
        Readmitted {
            /// The era.
            era: u32,
            /// How many.
            seats: u32,
        },
        /// A ceremony ended without a root: more seats are convicted than a root can lack, too many were absent too often, or another
        /// root was recorded meanwhile.
        CeremonyAbandoned {
            /// The era.
            era: u32,
            /// Its last attempt.
            attempt: u32,
        },
        /// Governance cancelled a ceremony.
        CeremonyCancelled {
            /// The era.
            era: u32,
            /// Its last attempt.
            attempt: u32,
        },
        /// A ceremony made a root. It does not answer yet.
        RootMade {
            /// Its era.
            era: u32,
            /// The attempt that made it.
            attempt: u32,
            /// Its share list.
            share_list: Hash,
            /// Seats that hold a share.
            holders: u32,
            /// The first block in which clusters go over to it. Where there are none, it answers then.
            from: BlockNumber,
        },
        /// Clusters go over to a root. Nothing takes it back.
        HandOverBegan {
            /// Its era.
            era: u32,
            /// Clusters that need the root before.
            clusters: u32,
        },
        /// Governance cancelled a root before it answered.
        NextCancelled {
            /// Its era.
            era: u32,
        },
        /// A root answers: no cluster needs a former one.
        RootActive {
            /// Its era.
            era: u32,
        },
        /// A root that waited is dropped: another was recorded meanwhile, or its set was given up.
        NextDropped {
            /// Its era.
            era: u32,
        },
        /// A gatekeeper did what no gatekeeper does by mistake of others. It takes no seat any more; its validator's stake is punished.
        Convicted {
            /// Whose gatekeeper, when it had the seat.
            validator: T::AccountId,
            /// The gatekeeper.
            gatekeeper: WorkerId,
            /// What it did.
            offence: Offence,
        },
        /// A root was made, or given up, without a validator's gatekeeper, which had a seat.
        Absent {
            /// The validator.
            validator: T::AccountId,
            /// Roots in a row; those that were fined for are not counted again.
            times: u32,
        },
        /// Identities were made, handed over or given up without a validator's gatekeeper, which was to take part.
        AbsentFromIdentities {
            /// The validator.
            validator: T::AccountId,
            /// Ceremonies in a row; those that were fined for are not counted again.
            times: u32,
        },
        /// A period of the beacon had no value, and a validator's gatekeeper gave no partial for it.
        Silent {
            /// The validator.
            validator: T::AccountId,
            /// The era whose beacon key answers.
            era: u32,
            /// The period.
            period: u32,
            /// Times since the last fine, as far as they count.
            times: u32,
        },
        /// A set was elected, and waits for its gatekeepers' root.
        SetPlanned {
            /// The root's era.
            era: u32,
            /// How many validators.
            validators: u32,
        },
        /// The set that waited is the next session's.
        SetReady {
            /// The root's era.
            era: u32,
        },
        /// The set that waited was given up: its ceremony ended without a root, its root was dropped, or too few of it still stand for
        /// election.
        PlanDropped {
            /// The era.
            era: u32,
        },
        /// A validator of the set that waited gave its seat or its candidacy back.
        Withdrew {
            /// The era.
            era: u32,
            /// Who.
            validator: T::AccountId,
        },
        /// The elected set starts no ceremony, and the present one stays: too few gatekeepers, or too many of one vendor.
        ElectionRefused {
            /// Validators that were elected.
            validators: u32,
        },
        /// A validator voted for a committee of the brake.
        CommitteeVoted {
            /// Who.
            validator: T::AccountId,
            /// For whom.
            members: Members,
            /// How many of the seats are for the same committee now.
            agreeing: u32,
            /// How many elect it.
            needed: u32,
        },
        /// The governed policy changed.
        PolicySet {
            /// The policy.
            policy: Policy,
        },
        /// A ceremony of identities began: the seats of the root that answers make the keys, or receive them.
        IdentitiesStarted {
            /// The root's era.
            era: u32,
            /// Its first attempt.
            attempt: u32,
            /// Shares that will sign.
            threshold: u16,
            /// Whether keys are made; otherwise those who hold them hand them over.
            made: bool,
        },
        /// A phase of a ceremony of identities began.
        IdentitiesPhaseBegan {
            /// The era.
            era: u32,
            /// The attempt.
            attempt: u32,
            /// The phase.
            phase: Phase,
            /// Its last block, if it is not over before.
            until: BlockNumber,
        },
        /// A dealer or holder of identities made a statement; what it says stands in the ceremony's record.
        IdentitiesStated {
            /// The era.
            era: u32,
            /// The attempt.
            attempt: u32,
            /// Its index, from 1.
            index: u16,
            /// Whether it is a dealer's.
            of_dealer: bool,
        },
        /// What stands beside such a statement. TEEs check it against the record.
        IdentitiesAttached {
            /// The era.
            era: u32,
            /// The attempt.
            attempt: u32,
            /// The index of whoever made the statement, from 1.
            index: u16,
            /// Whether that is a dealer's.
            of_dealer: bool,
            /// What stands beside it.
            attachment: Attachment,
        },
        /// A dealer or holder takes no part in what follows of the ceremony of identities.
        IdentitiesLeftOut {
            /// The era.
            era: u32,
            /// The attempt that showed it.
            attempt: u32,
            /// Which gatekeeper.
            gatekeeper: WorkerId,
            /// Why.
            fault: Fault,
        },
        /// All holders that take part confirmed one record: anyone shows it.
        IdentitiesAgreed {
            /// The era.
            era: u32,
            /// The attempt.
            attempt: u32,
            /// Its hash.
            record: Hash,
            /// The last block in which it is taken.
            until: BlockNumber,
        },
        /// The set of this era holds the keys, and nobody else.
        IdentitiesReceived {
            /// The era.
            era: u32,
            /// The attempt.
            attempt: u32,
            /// How many hold a share.
            holders: u32,
        },
        /// A ceremony of identities was given up: too few took part too often, or are left. Whoever held the keys holds them.
        IdentitiesGivenUp {
            /// The era.
            era: u32,
            /// Its last attempt.
            attempt: u32,
        },
        /// Governance cancelled a ceremony of identities. Whoever held the keys holds them.
        IdentitiesCancelled {
            /// The era.
            era: u32,
            /// Its last attempt.
            attempt: u32,
        },
        /// A root is retired: another answers, and no cluster needs it. By the chain's rules its gatekeepers give no keys of it any more; one
        /// follows once it has seen this block, which hosts that withhold blocks can put off.
        RootRetired {
            /// Its era.
            era: u32,
            /// The seats that it had; one, where a single gatekeeper made it.
            seats: u32,
        },
        /// Elected validators that are no part of the set: with them one vendor would hold a threshold of the shares, and they are the least
        /// backed of its. Their gatekeepers stay bound, and the next election counts them like any other.
        LeftOutByQuota {
            /// Who.
            validators: Vec<T::AccountId>,
        },
    }
}
