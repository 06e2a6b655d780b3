//! Contracts: clusters and their epochs, contract code and instances, and the vote that makes results final.
//!
//! Guarantees: an epoch opens only when more than half of a cluster's replicas announced the same envelope key, at the beginning
//! of a block, and never while the epoch before has items without a final result; a result is final only when more than half of
//! the replicas signed the same one, in the order of the inbox's boundaries, each continuing the commitment of the one before;
//! a replica that falls behind, disagrees or lapses is named by an event, and final results wait for those behind, within a bound; one that
//! lapses for longer than the registry's grace loses its assignment by itself, while as many votes decide without it;
//! what a replica that is shut out has signed decides nothing any more, and the next epoch, whose keys it does not get, is due at once;
//! each epoch's keys are of one era's root, and it is counted which clusters need a former one; a cluster that is closed is so for good.
//!
//! Replicas control what they sign, anyone may carry it here, governance assigns replicas, or has them drawn from the beacon. The pallet sees commitments, never
//! contents: whether a result is *right* is the replicas' word.
//! Does not: order messages (the inbox does), judge evidence (the attestation pallet does), move value out (the egress pallet does, against the roots
//! that this one keeps of final results, and not while a replica has signed otherwise).
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod closing;
mod clusters;
mod code;
mod drawing;
mod egress;
mod events;
mod lapses;
mod results;
mod rolls;
mod standing;
#[cfg(test)]
mod tests;
mod types;
mod weights;

pub use drawing::{LatestBeacon, Responsive};
pub use pallet::*;
pub use weights::WeightInfo;

use frame_support::pallet_macros::import_section;

#[allow(clippy::expect_used, reason = "FRAME's macros expand to it")]
#[import_section(events::events)]
#[frame_support::pallet]
pub mod pallet {
    use super::{LatestBeacon, Responsive, WeightInfo};
    use alloc::vec::Vec;
    use frame_support::{
        pallet_prelude::*,
        traits::{
            fungible::{Inspect, Mutate, MutateHold},
            Get,
        },
    };
    use frame_system::pallet_prelude::*;
    use phala_pallet_inbox as inbox;
    use phala_protocol::{
        chain_state::{ClusterRecord, ContractRecord, FinalRecord},
        egress::EgressRoot,
        envelope::PUBLIC_KEY_BYTES,
        gas::GasClass,
        ids::{AccountId, Balance, BlockNumber, ClusterId, CodeHash, ContractId, Epoch, WorkerId},
        limits::{MAX_CODE_BYTES, MAX_MESSAGE_BYTES, MAX_REPLICAS, MAX_RESULTS_PER_SUBMIT},
        result::{Rekey, SignedRekey, SignedResult},
        Hash,
    };

    pub use super::types::{Announcement, CodeOwner, Decided, DropReason, LapsedReplica, Roll, SearchPlace};
    pub use phala_protocol::chain_state::Standing;

    /// Boundaries that one result of a submission makes final at most: its own, and one that waited for it.
    pub const FINALISED_PER_RESULT: u32 = 2;

    /// The least length of an epoch, in blocks.
    pub const MIN_EPOCH_LENGTH: BlockNumber = 10;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId: Into<[u8; 32]> + Clone, Hash: Into<[u8; 32]>, RuntimeEvent: From<Event<Self>>>
        + phala_pallet_attestation::Config
        + inbox::Config
    {
        /// Creates clusters and assigns replicas.
        type GovernanceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Holds deposits for code.
        type HoldCurrency: Mutate<Self::AccountId>
            + Inspect<Self::AccountId, Balance = Balance>
            + MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>;
        /// The pallet's hold reason in the runtime.
        type RuntimeHoldReason: From<HoldReason>;
        /// Deposit for a byte of code, in 10^-12 PHA.
        #[pallet::constant]
        type DepositPerByte: Get<Balance>;
        /// Blocks that an epoch stays open, for clusters created from now on.
        #[pallet::constant]
        type EpochLength: Get<BlockNumber>;
        /// Final results that are kept for a replica that has not confirmed them, at least [`FINAL_RESULTS_KEPT`]: what a lagging or
        /// silent replica can make the chain keep.
        ///
        /// [`FINAL_RESULTS_KEPT`]: phala_protocol::limits::FINAL_RESULTS_KEPT
        #[pallet::constant]
        type MaxReplicaLag: Get<u32>;
        /// From which the replicas of a cluster are drawn.
        type Beacon: LatestBeacon;
        /// Who may be drawn, as far as signs of life go.
        type Responsive: Responsive;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Why balance is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// For the place of a contract's code.
        CodeDeposit,
    }

    /// The clusters.
    #[pallet::storage]
    pub type Clusters<T> = StorageMap<_, Blake2_128Concat, ClusterId, ClusterRecord>;

    /// How many clusters' epoch before the open one is of each era (`era_before` of their records): whoever is counted under an era
    /// still needs its root. None where there is no entry.
    #[pallet::storage]
    pub type ClustersOfEra<T> = StorageMap<_, Twox64Concat, u32, u32, ValueQuery>;

    /// The id of the next cluster.
    #[pallet::storage]
    pub type NextCluster<T> = StorageValue<_, u32, ValueQuery>;

    /// Envelope keys announced for a cluster's next epoch. Those of a former era count for nothing.
    #[pallet::storage]
    pub type Announcements<T> = StorageMap<_, Blake2_128Concat, ClusterId, Vec<Announcement>, ValueQuery>;

    /// Epochs that open at the beginning of the next block.
    #[pallet::storage]
    pub type Opening<T> = StorageValue<_, Vec<Decided>, ValueQuery>;

    /// The commitment of each cluster's last final state, under the commit key of the record's `bound_epoch`.
    #[pallet::storage]
    pub type Commitments<T> = StorageMap<_, Blake2_128Concat, ClusterId, Hash>;

    /// The newest binding of an epoch's first commitment to the last one before, as more than half of the replicas signed it: the last
    /// final state before that epoch, under the epoch's commit key. Whoever is new in the epoch compares a snapshot of that state with it.
    #[pallet::storage]
    pub type Bindings<T> = StorageMap<_, Blake2_128Concat, ClusterId, Rekey>;

    /// Votes on boundaries that are not final yet.
    #[pallet::storage]
    pub type Votes<T> = StorageMap<_, Blake2_128Concat, (ClusterId, BlockNumber), Vec<SignedResult>, ValueQuery>;

    /// Votes on the binding of an epoch's first commitment.
    #[pallet::storage]
    pub type RekeyVotes<T> = StorageMap<_, Blake2_128Concat, ClusterId, Vec<(WorkerId, Rekey)>, ValueQuery>;

    /// The newest final results, by cluster and boundary block.
    #[pallet::storage]
    pub type FinalResults<T> = StorageMap<_, Blake2_128Concat, (ClusterId, BlockNumber), FinalRecord>;

    /// Boundary blocks of [`FinalResults`] with the items up to them, by cluster and place.
    #[pallet::storage]
    pub type FinalOrder<T> = StorageDoubleMap<_, Blake2_128Concat, ClusterId, Twox64Concat, u64, (BlockNumber, u64)>;

    /// Which places of [`FinalOrder`] are taken: from, up to but not including.
    #[pallet::storage]
    pub type FinalRange<T> = StorageMap<_, Blake2_128Concat, ClusterId, (u64, u64), ValueQuery>;

    /// Where the replicas of each cluster stand.
    #[pallet::storage]
    pub type Standings<T> = StorageMap<_, Blake2_128Concat, ClusterId, Vec<Standing>, ValueQuery>;

    /// Roots over what final results send out of their clusters, while some of it is not taken.
    #[pallet::storage]
    pub type EgressRoots<T> = StorageMap<_, Blake2_128Concat, (ClusterId, BlockNumber), EgressRoot>;

    /// Clusters that nothing leaves, since the block in which it showed that one of their replicas had signed otherwise.
    #[pallet::storage]
    pub type Disputed<T> = StorageMap<_, Blake2_128Concat, ClusterId, BlockNumber>;

    /// The block in which governance last settled a dispute about a cluster. Who signed otherwise before is known since then.
    #[pallet::storage]
    pub type Settled<T> = StorageMap<_, Blake2_128Concat, ClusterId, BlockNumber>;

    /// Clusters whose epochs roll early, because a replica was shut out or they go over to another root.
    #[pallet::storage]
    pub type Rolls<T> = StorageMap<_, Blake2_128Concat, ClusterId, Roll>;

    /// How far the clusters have been looked through for replicas that are shut out and keys of a former root.
    #[pallet::storage]
    pub type Search<T> = StorageValue<_, SearchPlace, ValueQuery>;

    /// Replicas that have lapsed and are still assigned.
    #[pallet::storage]
    pub type LapsedReplicas<T> = StorageMap<_, Blake2_128Concat, ClusterId, Vec<LapsedReplica>, ValueQuery>;

    /// The cluster that is looked at next for replicas that have lapsed.
    #[pallet::storage]
    pub type WatchedCluster<T> = StorageValue<_, u32, ValueQuery>;

    /// Code by hash.
    #[pallet::storage]
    pub type Codes<T> = StorageMap<_, Blake2_128Concat, CodeHash, Vec<u8>>;

    /// Who uploaded a code.
    #[pallet::storage]
    pub type CodeOwners<T: Config> = StorageMap<_, Blake2_128Concat, CodeHash, CodeOwner<T::AccountId>>;

    /// The contracts.
    #[pallet::storage]
    pub type Instances<T> = StorageMap<_, Blake2_128Concat, ContractId, ContractRecord>;

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// There is no such cluster.
        NoSuchCluster,
        /// A replica is not a registered worker with valid evidence, or is named twice.
        NotAWorker,
        /// The signer is not a replica of the cluster.
        NotAReplica,
        /// The signature is not the worker's.
        BadSignature,
        /// The key has not the length of an X-Wing public key.
        BadKey,
        /// The epoch is not the one that opens next.
        WrongEpoch,
        /// The open epoch must stay open longer.
        TooEarly,
        /// The epoch before still has items without a final result.
        StillClosing,
        /// The boundary is neither one of the inbox that waits for a result, nor one whose final result is still kept.
        NoSuchBoundary,
        /// The boundary differs from the inbox's: the worker followed another chain.
        WrongBoundary,
        /// The replica voted for this boundary or binding already, or all results submitted are known.
        AlreadyVoted,
        /// The binding does not continue the last final commitment.
        WrongCommitment,
        /// The cluster's state is bound to the open epoch already.
        NothingToRekey,
        /// This code is stored already.
        CodeExists,
        /// There is no such code: upload it first.
        NoSuchCode,
        /// The code is empty or not WebAssembly.
        NotWasm,
        /// A counter is exhausted.
        Overflow,
        /// An epoch must stay open for some blocks, or replicas could not hand over between two.
        EpochTooShort,
        /// A cluster has between one and fifteen replicas.
        BadReplicaCount,
        /// The replica is neither lost, nor lapsed for longer than the registry's grace, nor shut out.
        StillServing,
        /// Without the replica fewer votes would decide: governance must assign a new set.
        MajorityWouldFall,
        /// The key is not of the root that gives the next epoch's keys: derive it anew, under that root's era.
        WrongEra,
        /// The beacon has no value that is new enough: assign replicas by hand, or wait for the next one.
        NoBeacon,
        /// Fewer operators than replicas are to be drawn have a worker that is active, serves no cluster and registered before the newest
        /// value's period opened.
        TooFewEligible,
        /// Two workers drew the same number: draw from the next value.
        TiedDrawing,
        /// There are more registrations or clusters than are to be looked at: allow more.
        MoreToLookAt,
        /// Governance has closed the cluster for good, which nothing undoes: create another one.
        ClusterClosed,
        /// The cluster's next epoch opens with the next block, or is not overdue by an hour of 6 s blocks; nor by the brake's longest
        /// suspension beside, while a replica is barred or the brake was on within the hour. So it is not shown that anything is lost.
        /// Assign replicas to have others serve it, or wait. What is overdue may be so because gatekeepers are away, or a long item runs.
        StillOpening,
        /// The replica has lapsed, but the others do not decide either: many of them have lapsed, or are lost. Wait until they attest again.
        OthersAway,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            // What opens now may be an epoch whose keys a replica got before it was shut out: looked at after it has opened.
            Self::open_epochs().saturating_add(Self::look_at_clusters()).saturating_add(Self::watch_replicas())
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Creates a cluster of `replicas`, each a registered worker.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::assign(replicas.len() as u32))]
        pub fn create_cluster(
            origin: OriginFor<T>,
            replicas: BoundedVec<WorkerId, ConstU32<MAX_REPLICAS>>,
        ) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_create_cluster(replicas.into_inner())
        }

        /// Assigns `replicas` to an existing cluster, each a registered worker.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::assign(replicas.len() as u32))]
        pub fn assign_replicas(
            origin: OriginFor<T>,
            cluster: ClusterId,
            replicas: BoundedVec<WorkerId, ConstU32<MAX_REPLICAS>>,
        ) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_assign_replicas(cluster, replicas.into_inner())
        }

        /// Announces the envelope key that `worker` derived for `epoch` under the root of `era`, which has to be the one that gives
        /// the next epoch's keys; anyone may carry it. The epoch opens when more than half of the replicas announced the same bytes.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::announce_key())]
        pub fn announce_key(
            origin: OriginFor<T>,
            cluster: ClusterId,
            era: u32,
            epoch: Epoch,
            public_key: BoundedVec<u8, ConstU32<{ PUBLIC_KEY_BYTES as u32 }>>,
            worker: WorkerId,
            signature: [u8; 64],
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_announce_key(cluster, era, epoch, public_key.into_inner(), worker, signature)
        }

        /// Stores a contract's WASM, against a deposit of its uploader.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::upload_code(code.len() as u32))]
        pub fn upload_code(origin: OriginFor<T>, code: BoundedVec<u8, ConstU32<MAX_CODE_BYTES>>) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_upload_code(who, code.into_inner())
        }

        /// Creates a contract from stored code. `init` is a sealed call of its constructor, signed by the deployer, who pays at most
        /// `max_fee`, in 10^-12 PHA, for it. The same deployer may send a constructor again that the cluster refused; one that it
        /// did not refuse stands.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::instantiate(init.len() as u32))]
        pub fn instantiate(
            origin: OriginFor<T>,
            cluster: ClusterId,
            code: CodeHash,
            salt: [u8; 32],
            gas_class: GasClass,
            init: BoundedVec<u8, ConstU32<MAX_MESSAGE_BYTES>>,
            #[pallet::compact] max_fee: Balance,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_instantiate(who, cluster, code, salt, gas_class, init.into_inner(), max_fee)
        }

        /// Carries replicas' results here, oldest boundary first; anyone may. Results that are here already are named by events;
        /// it fails when nothing is new, and whole when one of them is no result of a replica. Charged for what it may make final,
        /// and given back what it did not.
        #[pallet::call_index(5)]
        #[pallet::weight(<T as Config>::WeightInfo::submit_results(
            results.len() as u32,
            (results.len() as u32).saturating_mul(FINALISED_PER_RESULT),
        ))]
        pub fn submit_results(
            origin: OriginFor<T>,
            results: BoundedVec<SignedResult, ConstU32<MAX_RESULTS_PER_SUBMIT>>,
        ) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_submit_results(results.into_inner())
        }

        /// Carries a replica's binding of the open epoch's first commitment to the last of the epoch before; anyone may.
        #[pallet::call_index(6)]
        #[pallet::weight(<T as Config>::WeightInfo::submit_rekey(FINALISED_PER_RESULT))]
        pub fn submit_rekey(origin: OriginFor<T>, rekey: SignedRekey) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_submit_rekey(rekey)
        }

        /// Sets how many blocks an epoch of `cluster` stays open at least, from the open one on; at least [`MIN_EPOCH_LENGTH`].
        #[pallet::call_index(7)]
        #[pallet::weight(<T as Config>::WeightInfo::assign(0))]
        pub fn set_epoch_length(origin: OriginFor<T>, cluster: ClusterId, blocks: BlockNumber) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(blocks >= MIN_EPOCH_LENGTH, Error::<T>::EpochTooShort);
            Self::do_set_epoch_length(cluster, blocks)
        }

        /// Drops a replica that is lost, whose registration is gone or lapsed longer ago than the registry's grace, or that is shut out;
        /// anyone may. Refused when fewer votes than before would then decide, and of one that lapsed while the others are too few to.
        #[pallet::call_index(8)]
        #[pallet::weight(<T as Config>::WeightInfo::drop_replica())]
        pub fn drop_replica(origin: OriginFor<T>, cluster: ClusterId, worker: WorkerId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_drop_replica(cluster, worker)
        }

        /// Creates a cluster of `number` replicas of as many operators, drawn from the newest value of the beacon, which has to be new
        /// enough, among all workers that are active and responsive, serve no cluster, and registered before that value's period opened. Looks at
        /// `registrations` of TEEs and at `clusters` at most, and draws nothing when there are more.
        #[pallet::call_index(12)]
        #[pallet::weight(<T as Config>::WeightInfo::draw_cluster(*number, *registrations, *clusters))]
        pub fn draw_cluster(
            origin: OriginFor<T>,
            number: u32,
            registrations: u32,
            clusters: u32,
        ) -> DispatchResultWithPostInfo {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_draw_cluster(number, registrations, clusters)
        }

        /// Closes a cluster for good, whose state or keys are lost. **It cannot be undone**: its keys are given to nobody any more, nothing is
        /// taken for it, and items without a final result are never answered. Refused while its replicas still open epochs.
        #[pallet::call_index(15)]
        #[pallet::weight(<T as Config>::WeightInfo::close_cluster())]
        pub fn close_cluster(origin: OriginFor<T>, cluster: ClusterId) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_close_cluster(cluster)
        }
    }

    impl<T: Config> Pallet<T> {
        /// The chain's genesis hash, which every signature of the network is bound to.
        pub(super) fn genesis() -> Hash {
            frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::default()).into()
        }

        /// An account's bytes.
        pub(super) fn account(who: &T::AccountId) -> AccountId {
            AccountId(who.clone().into())
        }
    }
}
