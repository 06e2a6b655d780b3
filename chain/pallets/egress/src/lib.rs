//! Egress: takes what contracts send out of their clusters, once each, and does it at the chain's edge.
//!
//! An item is taken in the order of its cluster's sequences, with a proof against the root that a *final* result commits, when the
//! dissent window after that result is over and no replica of the cluster has signed otherwise. It is attempted once. What came of it is
//! an event, and is kept for the newest [`EGRESS_FATES_KEPT`] of a cluster. Transfers are paid out of the contract's account
//! ([`ContractId::account`]), to which anyone may send funds; messages to elsewhere only stand in an event, under the item's id. A message
//! that has left is signed by gatekeepers as its contract; anyone may leave such a signature here, for whoever carries the message on.
//!
//! Guarantees: no sequence of a cluster is taken twice, whatever relayers repeat; a cluster pays out of its own contracts' accounts and no
//! others, and not more in a period than its limit; what fails is recorded with its reason, holds up nothing after it, and is never tried
//! again. An item that comes too early, while its cluster is disputed, or when the period's limit is used up, waits, and so does what
//! comes after it. When governance settles a dispute against the majority, what was final until then fails, messages too. Who brings items
//! of which all are taken pays nothing for it. A signature that is kept holds, under the key of the contract that sent the message.
//!
//! Replicas control which items there are, by majority; relayers control when they come. Does not: tell the contract what came of an
//! item, or give it what was sent to its account; judge a dispute (governance does); keep a contract's account alive, which loses what is
//! left of it below the least that an account must have.
//!
//! [`EGRESS_FATES_KEPT`]: phala_protocol::limits::EGRESS_FATES_KEPT
//! [`ContractId::account`]: phala_protocol::ContractId::account
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(test)]
mod tests;
mod weights;

pub use pallet::*;
pub use weights::WeightInfo;

#[allow(clippy::expect_used, reason = "FRAME's macros expand to it")]
#[frame_support::pallet]
pub mod pallet {
    use super::WeightInfo;
    use alloc::vec::Vec;
    use codec::Encode;
    use frame_support::{
        pallet_prelude::*,
        storage::with_storage_layer,
        traits::{
            fungible::{Inspect, Mutate},
            tokens::{Fortitude, Preservation, Provenance},
            Get,
        },
    };
    use frame_system::pallet_prelude::*;
    use phala_crypto::{egress::verify_signature, merkle};
    use phala_pallet_contracts as contracts;
    use phala_protocol::{
        egress::{EgressAction, EgressFailure, EgressFate, EgressItem, EgressOutcome, EgressRoot, ProvedEgress},
        identities::{signing::EgressSignature, IdentityPoints, Scheme},
        ids::{AccountId, Balance, BlockNumber, ClusterId, ContractId},
        limits::{EGRESS_FATES_KEPT, MAX_EGRESS_PER_TAKE},
        Hash,
    };
    use sp_runtime::SaturatedConversion;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<
            AccountId: Into<[u8; 32]> + From<[u8; 32]> + Clone,
            Hash: Into<[u8; 32]>,
            RuntimeEvent: From<Event<Self>>,
        > + contracts::Config
    {
        /// Settles disputes and sets limits.
        type GovernanceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// What transfers pay in.
        type Currency: Mutate<Self::AccountId> + Inspect<Self::AccountId, Balance = Balance>;
        /// The network's two public keys, of which contracts' follow; none while there are no identities.
        type Identities: Get<Option<IdentityPoints>>;
        /// Blocks after a result became final in which a replica may still show that it signed otherwise, before anything of the
        /// result leaves its cluster.
        #[pallet::constant]
        type DissentWindow: Get<BlockNumber>;
        /// Blocks of a period.
        #[pallet::constant]
        type PeriodLength: Get<BlockNumber>;
        /// What a cluster may pay out in a period unless governance has set another limit, in 10^-12 PHA.
        #[pallet::constant]
        type PeriodLimit: Get<Balance>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// The sequence of each cluster's item that is taken next.
    #[pallet::storage]
    pub type Next<T> = StorageMap<_, Blake2_128Concat, ClusterId, u64, ValueQuery>;

    /// What became of the newest items, by cluster and sequence.
    #[pallet::storage]
    pub type Fates<T> = StorageMap<_, Blake2_128Concat, (ClusterId, u64), EgressFate>;

    /// Which contracts sent the messages that left, by cluster and sequence, as long as their fates are kept.
    #[pallet::storage]
    pub type Senders<T> = StorageMap<_, Blake2_128Concat, (ClusterId, u64), ContractId>;

    /// Signatures of contracts under messages that left, by cluster, sequence and scheme, as long as the messages' fates are kept.
    #[pallet::storage]
    pub type Signatures<T> = StorageMap<_, Blake2_128Concat, (ClusterId, u64, Scheme), EgressSignature>;

    /// What clusters may pay out in a period, where governance has set it, in 10^-12 PHA.
    #[pallet::storage]
    pub type Limits<T> = StorageMap<_, Blake2_128Concat, ClusterId, Balance>;

    /// Up to which block governance found against the results of clusters: of what became final until then nothing is done.
    #[pallet::storage]
    pub type Voided<T> = StorageMap<_, Blake2_128Concat, ClusterId, BlockNumber>;

    /// In which period a cluster last paid, and how much in it, in 10^-12 PHA.
    #[pallet::storage]
    pub type Spent<T> = StorageMap<_, Blake2_128Concat, ClusterId, (u32, Balance), ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An item was taken, and this is what came of it.
        Taken {
            /// The item's id, by which copies are told.
            id: Hash,
            /// The cluster that sent it.
            cluster: ClusterId,
            /// Its place among the cluster's items.
            sequence: u64,
            /// The contract that sent it.
            contract: ContractId,
            /// What came of it.
            outcome: EgressOutcome,
        },
        /// A message to elsewhere, for whoever carries it on.
        MessageLeft {
            /// The item's id, by which copies are told.
            id: Hash,
            /// The contract that sent it.
            contract: ContractId,
            /// Where to.
            destination: Vec<u8>,
            /// What.
            payload: Vec<u8>,
        },
        /// A message that left has its contract's signature.
        Signed {
            /// The item's id.
            id: Hash,
            /// The contract.
            contract: ContractId,
            /// The scheme; the signature stands in the state.
            scheme: Scheme,
        },
        /// Governance set what a cluster may pay out in a period.
        LimitSet {
            /// The cluster.
            cluster: ClusterId,
            /// The limit, in 10^-12 PHA; the usual one where there is none.
            limit: Option<Balance>,
        },
        /// Governance settled a dispute: items leave the cluster again.
        Settled {
            /// The cluster.
            cluster: ClusterId,
            /// Whether everything fails that is of results final until now.
            void: bool,
        },
    }

    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// Nothing was brought.
        Empty,
        /// All of the items were taken before.
        AlreadyTaken,
        /// An item before it has not been taken.
        NotNext,
        /// There is no final result of that boundary with items that are not taken.
        NotFinal,
        /// The proof does not show the item under the final result's root.
        BadProof,
        /// The window in which replicas may show that they signed otherwise is not over: try again later.
        TooEarly,
        /// A replica of the cluster signed otherwise: nothing leaves it until governance has settled that.
        Disputed,
        /// The cluster has paid out as much as it may in this period: try again in the next.
        LimitReached,
        /// There is no dispute about the cluster.
        NotDisputed,
        /// A counter is exhausted.
        Overflow,
        /// There is no message with that sequence that has left, or its fate is not kept any more.
        NotLeft,
        /// The message has a signature of that scheme.
        AlreadySigned,
        /// The network has no identities.
        NoIdentities,
        /// The signature is not one of the message's contract under the message.
        BadSignature,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Brings items, each cluster's in order; anyone may. Those that were taken before are passed over. It fails whole when one is not
        /// proved, or when nothing can be taken; where some can, what has to wait is left for later. Free when all of them are taken: what
        /// is passed over or left is not looked at, and nobody gets its place in a block for nothing.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::take(items.len() as u32, items.encoded_size() as u32))]
        pub fn take(
            origin: OriginFor<T>,
            items: BoundedVec<ProvedEgress, ConstU32<MAX_EGRESS_PER_TAKE>>,
        ) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            ensure!(!items.is_empty(), Error::<T>::Empty);
            let (number, mut taken) = (items.len() as u32, 0u32);
            for proved in items {
                match Self::take_one(proved) {
                    Ok(true) => taken = taken.saturating_add(1),
                    Ok(false) => {}
                    Err(Error::TooEarly | Error::Disputed | Error::LimitReached) if taken > 0 => break,
                    Err(error) => return Err(error.into()),
                }
            }
            ensure!(taken > 0, Error::<T>::AlreadyTaken);
            let pays = if taken == number { Pays::No } else { Pays::Yes };
            Ok(pays.into())
        }

        /// Sets what `cluster` may pay out in a period, in 10^-12 PHA, or that it is the usual limit. A single transfer fails that is over it
        /// and over the usual one; one that is over a lower limit alone waits.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn set_limit(origin: OriginFor<T>, cluster: ClusterId, limit: Option<Balance>) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            Limits::<T>::set(cluster, limit);
            Self::deposit_event(Event::LimitSet { cluster, limit });
            Ok(())
        }

        /// Ends a dispute about `cluster`: who was right has been found out, and whoever was not has been replaced. Where the majority was
        /// not, `void`: all that results send which are final by now fails, whenever it is brought, and the sequence goes on.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::govern())]
        pub fn settle(origin: OriginFor<T>, cluster: ClusterId, void: bool) -> DispatchResult {
            <T as Config>::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(contracts::Pallet::<T>::settle_dispute(cluster), Error::<T>::NotDisputed);
            if void {
                Voided::<T>::insert(cluster, Self::now());
            }
            Self::deposit_event(Event::Settled { cluster, void });
            Ok(())
        }

        /// Leaves a contract's signature under a message that has left its cluster; anyone may, and the first that is valid is kept, for
        /// nothing. It is kept as long as the message's fate.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::attach_signature())]
        pub fn attach_signature(
            origin: OriginFor<T>,
            cluster: ClusterId,
            sequence: u64,
            scheme: Scheme,
            signature: [u8; 64],
        ) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            let place = (cluster, sequence, scheme);
            ensure!(!Signatures::<T>::contains_key(place), Error::<T>::AlreadySigned);
            let contract = Senders::<T>::get((cluster, sequence)).ok_or(Error::<T>::NotLeft)?;
            let EgressFate { id, .. } = Fates::<T>::get((cluster, sequence)).ok_or(Error::<T>::NotLeft)?;
            let network = *T::Identities::get().ok_or(Error::<T>::NoIdentities)?.of(scheme);
            let signed = verify_signature(&Self::genesis(), scheme, &network, &contract, id, signature)
                .map_err(|_| Error::<T>::BadSignature)?;
            Signatures::<T>::insert(place, signed);
            Self::deposit_event(Event::Signed { id, contract, scheme });
            Ok(Pays::No.into())
        }
    }

    impl<T: Config> Pallet<T> {
        /// Takes an item in its turn; false if it was taken before.
        fn take_one(proved: ProvedEgress) -> Result<bool, Error<T>> {
            let ProvedEgress { item, block, index, count, path } = proved;
            let EgressItem { cluster, sequence, contract, .. } = item;
            let next = Next::<T>::get(cluster);
            if sequence < next {
                return Ok(false);
            }
            ensure!(sequence == next, Error::<T>::NotNext);
            let EgressRoot { root, finalised_at } =
                contracts::Pallet::<T>::egress_root(cluster, block).ok_or(Error::<T>::NotFinal)?;
            let id = item.id(&Self::genesis());
            merkle::verify(&root, index.into(), count.into(), &id, &path).map_err(|_| Error::<T>::BadProof)?;
            ensure!(!contracts::Pallet::<T>::is_disputed(cluster), Error::<T>::Disputed);
            let now = Self::now();
            ensure!(now >= finalised_at.saturating_add(T::DissentWindow::get()), Error::<T>::TooEarly);
            let void = Voided::<T>::get(cluster).is_some_and(|until| finalised_at <= until);
            let outcome =
                if void { EgressOutcome::Failed(EgressFailure::Voided) } else { Self::attempt(id, item, now)? };
            Next::<T>::insert(cluster, next.checked_add(1).ok_or(Error::<T>::Overflow)?);
            Fates::<T>::insert((cluster, sequence), EgressFate { id, block: now, outcome });
            if outcome == EgressOutcome::Left {
                Senders::<T>::insert((cluster, sequence), contract);
            }
            if let Some(old) = sequence.checked_sub(EGRESS_FATES_KEPT) {
                Self::forget(cluster, old);
            }
            if index.checked_add(1) == Some(count) {
                contracts::Pallet::<T>::forget_egress_root(cluster, block);
            }
            Self::deposit_event(Event::Taken { id, cluster, sequence, contract, outcome });
            Ok(true)
        }

        /// Forgets what became of an item, and its signatures.
        fn forget(cluster: ClusterId, sequence: u64) {
            Fates::<T>::remove((cluster, sequence));
            // Nothing else has signatures.
            if Senders::<T>::take((cluster, sequence)).is_some() {
                for scheme in [Scheme::Ed25519, Scheme::Ristretto255] {
                    Signatures::<T>::remove((cluster, sequence, scheme));
                }
            }
        }

        /// Does what a proved item asks for, once. An error is a reason to wait, and has done nothing.
        fn attempt(id: Hash, item: EgressItem, now: BlockNumber) -> Result<EgressOutcome, Error<T>> {
            let EgressItem { cluster, contract, action, .. } = item;
            // Or the replicas of one cluster could speak for, and pay out of, the contracts of another.
            if contracts::Pallet::<T>::cluster_of(&contract) != Some(cluster) {
                return Ok(EgressOutcome::Failed(EgressFailure::NotOfCluster));
            }
            match action {
                EgressAction::Message { destination, payload } => {
                    Self::deposit_event(Event::MessageLeft { id, contract, destination, payload });
                    Ok(EgressOutcome::Left)
                }
                EgressAction::Transfer { to, amount } => Ok(match Self::pay(cluster, &contract, &to, amount, now)? {
                    Ok(()) => EgressOutcome::Paid,
                    Err(failure) => EgressOutcome::Failed(failure),
                }),
            }
        }

        /// Pays out of a contract's account. Outer error: a reason to wait. Inner error: why it failed for good.
        fn pay(
            cluster: ClusterId,
            contract: &ContractId,
            to: &AccountId,
            amount: Balance,
            now: BlockNumber,
        ) -> Result<Result<(), EgressFailure>, Error<T>> {
            let (from, to) = (T::AccountId::from(contract.account().0), T::AccountId::from(to.0));
            let usual = T::PeriodLimit::get();
            let limit = Limits::<T>::get(cluster).unwrap_or(usual);
            // A limit that governance has lowered for a time makes it wait, and no more.
            if amount > limit.max(usual) {
                return Ok(Err(EgressFailure::OverLimit));
            }
            let has = <T as Config>::Currency::reducible_balance(&from, Preservation::Expendable, Fortitude::Polite);
            if amount > has {
                return Ok(Err(EgressFailure::InsufficientFunds));
            }
            if <T as Config>::Currency::can_deposit(&to, amount, Provenance::Extant).into_result().is_err() {
                return Ok(Err(EgressFailure::CannotReceive));
            }
            if from == to {
                // Nothing moves.
                return Ok(Ok(()));
            }
            // Last: what fails anyway uses up nothing, and waits for nothing.
            let period = now.checked_div(T::PeriodLength::get()).unwrap_or(0);
            let (last, spent) = Spent::<T>::get(cluster);
            let spent = if last == period { spent } else { 0 };
            let spent = spent.checked_add(amount).filter(|spent| *spent <= limit).ok_or(Error::<T>::LimitReached)?;
            let paid =
                with_storage_layer(|| <T as Config>::Currency::transfer(&from, &to, amount, Preservation::Expendable));
            if paid.is_err() {
                return Ok(Err(EgressFailure::Refused));
            }
            Spent::<T>::insert(cluster, (period, spent));
            Ok(Ok(()))
        }

        fn now() -> BlockNumber {
            frame_system::Pallet::<T>::block_number().saturated_into()
        }

        /// The chain's genesis hash, which ids of items are bound to.
        pub(super) fn genesis() -> Hash {
            frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::default()).into()
        }
    }
}
