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
        /// A cluster was created, or its replicas were assigned anew.
        ReplicasAssigned {
            /// The cluster.
            cluster: ClusterId,
            /// Its replicas.
            replicas: Vec<WorkerId>,
        },
        /// A cluster's replicas were drawn from a value of the beacon. Each of their operators has its worker serve the cluster.
        ClusterDrawn {
            /// The cluster.
            cluster: ClusterId,
            /// The value's era.
            era: u32,
            /// Its period.
            period: u32,
        },
        /// An epoch opened: envelopes are taken under its key from this block on.
        EpochOpened {
            /// The cluster.
            cluster: ClusterId,
            /// The epoch.
            epoch: Epoch,
        },
        /// A replica voted for a result.
        Voted {
            /// The cluster.
            cluster: ClusterId,
            /// The boundary's block.
            block: BlockNumber,
            /// Who voted.
            worker: WorkerId,
        },
        /// A result is final.
        ResultFinal {
            /// The cluster.
            cluster: ClusterId,
            /// The boundary's block.
            block: BlockNumber,
            /// Items covered so far.
            count: u64,
        },
        /// A replica signed two different results for one boundary. Nothing leaves the cluster until governance has settled it.
        Equivocated {
            /// The cluster.
            cluster: ClusterId,
            /// The boundary's block.
            block: BlockNumber,
            /// Who did.
            worker: WorkerId,
        },
        /// A submitted result was here already; others of the same submission were not.
        AlreadyKnown {
            /// The cluster.
            cluster: ClusterId,
            /// The boundary's block.
            block: BlockNumber,
            /// Who signed it.
            worker: WorkerId,
        },
        /// A replica signed a result that was final without it: it has executed that far.
        Confirmed {
            /// The cluster.
            cluster: ClusterId,
            /// Who.
            worker: WorkerId,
            /// Items covered.
            count: u64,
        },
        /// For the first time, or the first since governance settled, a replica signed another result than the final one. Who is right is
        /// arbitration's to say; until governance has settled it nothing leaves the cluster.
        Dissented {
            /// The cluster.
            cluster: ClusterId,
            /// The boundary's block.
            block: BlockNumber,
            /// Who.
            worker: WorkerId,
        },
        /// A replica is behind by more final results than are kept: it cannot catch up, and has to be replaced.
        ReplicaLost {
            /// The cluster.
            cluster: ClusterId,
            /// Who.
            worker: WorkerId,
            /// Items up to the last boundary that it confirmed.
            confirmed: u64,
        },
        /// A replica was dropped from its cluster. Governance assigns another.
        ReplicaDropped {
            /// The cluster.
            cluster: ClusterId,
            /// Who.
            worker: WorkerId,
            /// Why.
            reason: DropReason,
        },
        /// A replica is shut out, and holds the keys of the open epoch: the next one is due at once.
        EpochRolls {
            /// The cluster.
            cluster: ClusterId,
            /// Epochs that are to open at once: two when the next one's keys may have been given to it already.
            epochs: u32,
        },
        /// Clusters go over to another root, and this one is called up: its next epochs are due at once.
        GoesOver {
            /// The cluster.
            cluster: ClusterId,
            /// The era of the root that it goes over to.
            era: u32,
            /// Epochs that are to open until it needs no former root.
            epochs: u32,
        },
        /// A cluster needs no former root any more.
        WentOver {
            /// The cluster.
            cluster: ClusterId,
            /// The era of the root that gave the keys of its last two epochs, or will give its first.
            era: u32,
        },
        /// So many replicas are shut out that the others cannot decide: the cluster stands still until the ban ends or is lifted, or
        /// governance assigns replicas to it or closes it. A hand-over to another root waits for it.
        AwaitingAssignment {
            /// The cluster.
            cluster: ClusterId,
            /// Replicas that are not shut out.
            remaining: u32,
            /// Replicas that have to agree.
            majority: u32,
        },
        /// Governance closed a cluster for good: what it held is lost. Nothing undoes it.
        ClusterClosed {
            /// The cluster.
            cluster: ClusterId,
            /// Items that final results cover. They stay final.
            answered: u64,
            /// Items that nobody will ever answer, from place `answered` on. What was paid for them is not given back.
            unanswered: u64,
        },
        /// An epoch's first commitment is bound to the last of the epoch before.
        Rekeyed {
            /// The cluster.
            cluster: ClusterId,
            /// The epoch.
            epoch: Epoch,
        },
        /// Code was uploaded.
        CodeStored {
            /// Its hash.
            code: CodeHash,
            /// Its size.
            bytes: u32,
            /// Who paid the deposit.
            owner: T::AccountId,
        },
        /// A contract was created; its constructor runs as an item of the inbox.
        Instantiated {
            /// The contract.
            contract: ContractId,
            /// Where.
            cluster: ClusterId,
            /// Its code.
            code: CodeHash,
            /// The item.
            sequence: u64,
        },
        /// A replica's registration is gone, or lapsed longer ago than the registry's grace. It is dropped an hour of 6 s blocks after it may
        /// be, unless it attests again; where fewer votes would then decide, it keeps its place until governance assigns others.
        ReplicaLapsed {
            /// The cluster.
            cluster: ClusterId,
            /// Who.
            worker: WorkerId,
        },
    }
}
