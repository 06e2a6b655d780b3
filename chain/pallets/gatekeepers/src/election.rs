//! Which validators may be elected, and when the elected take over.
//!
//! Guarantees, except on a development network whose root is none or a lone gatekeeper's: only validators with a gatekeeper are
//! elected, four at least, and, where the vendor quota is enforced, of one vendor fewer than the threshold if enough others are; the elected
//! set takes over only after its gatekeepers made their root, with as many as that root needs; until then staking plans no era, so that the
//! present set keeps its seats, its exposure and its bonds, for as long as it takes; and no set is elected while identities are made or handed
//! over.
//! Whoever withdraws from a set that waits is fined, whoever's gatekeeper is convicted does not take over with it, whatever it binds
//! since, and a set that is given up takes its root with it, unless clusters go over to that already; one whose ceremony ends without a
//! root, or whose root is dropped, is given up at once, so that it takes over with no root that others make for its era. Staking asks through the runtime's
//! election provider; who stands is the validators' own choice, who wins the nominators'.

use crate::{pallet::*, Elected, Election, Misdeed, Offence, Plan, Punish, LEAST_SEATS};
use alloc::{collections::BTreeSet, vec::Vec};
use frame_support::traits::Get;
use phala_pallet_attestation as attestation;
use phala_protocol::ids::WorkerId;

impl<T: Config> Pallet<T> {
    /// Whether an elected set has to have its root first.
    fn is_asked_for() -> bool {
        let lone = attestation::Root::<T>::get().is_none_or(|root| root.seats.len() == 1);
        !(lone && <T as attestation::Config>::InsecureDevelopment::get())
    }

    /// What staking is to do now. Gives up a plan whose root is gone: another one has followed it before its set took over.
    pub fn election() -> Election<T::AccountId> {
        if !Self::is_asked_for() {
            return Election::Open;
        }
        let under_way = Ceremony::<T>::get().map(|record| record.era);
        if let Some(Plan { era, validators }) = Planned::<T>::get() {
            if under_way == Some(era) {
                return Election::Withheld;
            }
            if Roots::<T>::contains_key(era) {
                return Election::Ready(validators);
            }
            Self::drop_plan(era);
        }
        if under_way.is_some() || Next::<T>::exists() || IdentityCeremony::<T>::exists() {
            return Election::Withheld;
        }
        Election::Candidates
    }

    /// Gives up the plan of `era`, if there is one: its ceremony ended without a root, or its root is dropped. A root that others make for the
    /// same era afterwards is none that it waits for.
    pub(crate) fn drop_plan(era: u32) {
        if Planned::<T>::get().is_some_and(|plan| plan.era == era) {
            Planned::<T>::kill();
            Self::deposit_event(Event::PlanDropped { era });
        }
    }

    /// Those of `targets` who may be elected now.
    pub fn electable(targets: Vec<T::AccountId>) -> Vec<T::AccountId> {
        match Self::election() {
            Election::Open => targets,
            Election::Candidates => {
                let seated: Vec<_> =
                    targets.into_iter().filter(|validator| Self::seat_of(validator).is_some()).collect();
                let kept_out = KeptOut::<T>::get();
                let others: Vec<_> = seated.iter().filter(|validator| !kept_out.contains(validator)).cloned().collect();
                // Where there is nobody to take their place, they are asked again.
                if others.len() >= LEAST_SEATS {
                    others
                } else {
                    seated
                }
            }
            // A gatekeeper that lapsed for a moment keeps its seat, and one that another replaced had it. Whoever's was convicted does not
            // take over with this set, whatever it bound since: that one may have no share of the root that the set is to have.
            Election::Ready(set) => {
                let convicted = Self::convicted_of_plan();
                let set: BTreeSet<_> = set.into_iter().filter(|validator| !convicted.contains(validator)).collect();
                let stands = |validator: &T::AccountId| set.contains(validator) && Seats::<T>::contains_key(validator);
                targets.into_iter().filter(stands).collect()
            }
            Election::Withheld => Vec::new(),
        }
    }

    /// Validators of the set that waits whose gatekeepers, which had its seats, are convicted.
    fn convicted_of_plan() -> BTreeSet<T::AccountId> {
        let seats = Planned::<T>::get().map(|plan| Self::seats_in(plan.era)).unwrap_or_default();
        let convicted = seats.into_iter().filter(|(gatekeeper, _)| Convictions::<T>::contains_key(gatekeeper));
        convicted.map(|(_, validator)| validator).collect()
    }

    /// Those of the elected who are to make a root together, in the order in which they come; with each stands what backs it. Where the vendor
    /// quota is enforced and one vendor would hold a threshold of the shares, the least backed of its validators are left out, as few as need
    /// be: two of its machines have a seat for each of others. Where fewer than `least`, too few for a root, or fewer than two thirds of the
    /// elected would be left, all stay, and [`Self::plan`] refuses them.
    pub fn keep_quota(elected: Vec<(T::AccountId, u128)>, least: usize) -> Vec<T::AccountId> {
        let left_out = if CurrentPolicy::<T>::get().vendor_quota {
            Self::beyond_quota(&elected, least.max(LEAST_SEATS))
        } else {
            BTreeSet::new()
        };
        let elected = elected.into_iter().map(|(validator, _)| validator);
        let kept = elected.filter(|validator| !left_out.contains(validator)).collect();
        if !left_out.is_empty() {
            Self::deposit_event(Event::LeftOutByQuota { validators: left_out.into_iter().collect() });
        }
        kept
    }

    /// Makes a set that was elected wait, and starts its ceremony.
    ///
    /// # Errors
    /// When the set can have no ceremony; there is no ceremony and no plan then.
    pub fn plan(validators: Vec<T::AccountId>) -> Result<(), Error<T>> {
        // For one election only, whatever comes of it.
        KeptOut::<T>::kill();
        let gatekeepers: Vec<WorkerId> = validators.iter().filter_map(Self::seat_of).collect();
        let number = validators.len() as u32;
        let started = if gatekeepers.len() == validators.len() {
            Self::begin_ceremony(&gatekeepers)
        } else {
            Err(Error::<T>::NotSeated)
        };
        match started {
            Ok(era) => {
                Planned::<T>::put(Plan { era, validators });
                Self::deposit_event(Event::SetPlanned { era, validators: number });
                Ok(())
            }
            Err(error) => {
                Self::deposit_event(Event::ElectionRefused { validators: number });
                Err(error)
            }
        }
    }

    /// Fines those of the set that waits who gave their seat or, as `is_candidate` says, their candidacy back. To be asked once, before
    /// [`Self::take_plan`]. Whoever is convicted has lost its seat, and pays for that already.
    pub fn fine_withdrawn(is_candidate: impl Fn(&T::AccountId) -> bool) {
        let Some(Plan { era, .. }) = Planned::<T>::get() else { return };
        let Some(Elected { first_attempt, seats }) = Elections::<T>::get(era) else { return };
        let fraction = CurrentPolicy::<T>::get().fine;
        for (gatekeeper, validator) in seats {
            let stands = Seats::<T>::contains_key(&validator) && is_candidate(&validator);
            if stands || Convictions::<T>::contains_key(gatekeeper) {
                continue;
            }
            Self::deposit_event(Event::Withdrew { era, validator: validator.clone() });
            if !fraction.is_zero() {
                T::Punish::punish(Misdeed {
                    offender: validator,
                    offence: Offence::Withdrawal,
                    era,
                    attempt: first_attempt,
                    set: first_attempt,
                    fraction,
                    reporters: Vec::new(),
                });
            }
        }
    }

    /// Whether the set that waited takes over with those of it who were elected again: as many as its root needs, and `least`, below
    /// which staking would refuse them. The plan is done with either way; given up, its root goes with it unless that answers already or
    /// clusters go over to it.
    pub fn take_plan(elected: &[T::AccountId], least: usize) -> bool {
        let Some(Plan { era, validators }) = Planned::<T>::take() else { return false };
        let threshold = Roots::<T>::get(era).map(|root| usize::from(root.threshold));
        let enough = threshold.is_some_and(|threshold| {
            elected.len() >= threshold.max(least) && elected.iter().all(|winner| validators.contains(winner))
        });
        // A plan ends when another set begins its era: the seats are this set's.
        let ready = Elections::<T>::get(era).filter(|_| enough);
        if let Some(Elected { first_attempt, .. }) = ready {
            Acting::<T>::put((era, first_attempt));
            Self::deposit_event(Event::SetReady { era });
        } else {
            Self::deposit_event(Event::PlanDropped { era });
            // Or the next election would wait for the hand-over to a root whose gatekeepers' validators never act. It does where the
            // hand-over has begun, which ends by itself.
            Self::drop_next(era);
        }
        ready.is_some()
    }
}
