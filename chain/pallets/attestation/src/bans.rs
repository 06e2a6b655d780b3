//! Revocation: what governance shuts out, and lifts.
//!
//! Guarantees: a ban is in force in the block that says so, for registered machines as for new ones; a vendor's root can be ended
//! and never put back, and no call adds one; lifting is governance's alone. Whoever serves what a shut-out machine was given is told
//! in the block in which a ban begins. Governance controls the arguments, within its half of the list; the other half is the brake's.

use crate::{brake::MOST_SUSPENSIONS, collateral::vendor_root, pallet::*, WeightInfo as _};
use frame_support::{ensure, pallet_prelude::DispatchResult, weights::Weight};
use phala_attest::{Ban, Bans as BanList, Subject, MOST_BANS};
use phala_protocol::{ids::BlockNumber, Hash};

/// Revocations at most, so that they leave the brake its half, and a place to end each root.
const MOST_REVOCATIONS: usize = MOST_BANS - MOST_SUSPENSIONS - 2;

/// What is told when somebody is shut out.
pub trait OnBarred {
    /// From this block on, registered TEEs may have lost their standing by a decision: a ban that begins, a machine that is revoked,
    /// a measurement that leaves the list or is listed otherwise. Whose it was is asked of [`Pallet::is_shut_out`]. The work of the
    /// call itself is a few reads and writes, which this pallet's weights cover, and does not grow.
    fn on_barred();
}

impl OnBarred for () {
    fn on_barred() {}
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_revoke(subject: Subject, from: Option<BlockNumber>) -> DispatchResult {
        ensure!(!matches!(subject, Subject::Root(_)), Error::<T>::RootsOnlyEnd);
        let now = Self::now_block();
        let from = from.unwrap_or(now).max(now);
        let bans = Bans::<T>::get();
        // A later beginning would admit until then what is shut out now: that is lifting's to say.
        let sooner = bans.iter().any(|ban| ban.subject == subject && ban.until.is_none() && ban.in_force(now));
        ensure!(!sooner, Error::<T>::AlreadyBarred);
        let counts = |ban: &&Ban| ban.until.is_none() && !matches!(ban.subject, Subject::Root(_));
        let others = bans.iter().filter(counts).filter(|ban| ban.subject != subject).count();
        ensure!(others < MOST_REVOCATIONS, Error::<T>::TooManyBans);
        Self::bar(Ban { subject, from, until: None })
    }

    pub(crate) fn do_end_root(fingerprint: &Hash, from: Option<BlockNumber>) -> DispatchResult {
        let subject = Subject::Root(vendor_root::<T>(fingerprint)?);
        let now = Self::now_block();
        let from = from.unwrap_or(now).max(now);
        let later = Bans::<T>::get().iter().any(|ban| ban.subject == subject && ban.from <= from);
        ensure!(!later, Error::<T>::RootsOnlyEnd);
        Self::bar(Ban { subject, from, until: None })
    }

    pub(crate) fn bar(ban: Ban) -> DispatchResult {
        let now = Self::now_block();
        Bans::<T>::try_mutate(|bans: &mut BanList| bans.put(ban, now)).map_err(|_| Error::<T>::TooManyBans)?;
        Self::deposit_event(Event::Barred { ban });
        if ban.in_force(now) {
            T::OnBarred::on_barred();
        }
        Ok(())
    }

    /// Says so when a deadline is reached, or a measurement's sunset has passed.
    pub(crate) fn begin_bans() -> Weight {
        let now = Self::now_block();
        let passed = Sunsets::<T>::take(now) > 0;
        if passed || Bans::<T>::get().iter().any(|ban| ban.from == now && ban.in_force(now)) {
            T::OnBarred::on_barred();
        }
        <T as Config>::WeightInfo::begin_bans()
    }

    pub(crate) fn do_lift(subject: Subject) -> DispatchResult {
        ensure!(!matches!(subject, Subject::Root(_)), Error::<T>::RootsOnlyEnd);
        let now = Self::now_block();
        let suspended = |ban: &Ban| ban.subject == subject && ban.until.is_some() && ban.in_force(now);
        let overrules = Bans::<T>::get().iter().any(suspended);
        ensure!(Bans::<T>::mutate(|bans: &mut BanList| bans.remove(&subject)), Error::<T>::NotListed);
        if overrules {
            Overruled::<T>::put(true);
        }
        Self::deposit_event(Event::Lifted { subject });
        Ok(())
    }

    pub(crate) fn do_revoke_hardware(hardware: Hash) -> DispatchResult {
        ensure!(!RevokedHardware::<T>::contains_key(hardware), Error::<T>::HardwareRevoked);
        RevokedHardware::<T>::insert(hardware, Self::now_block());
        if let Some(worker) = Hardware::<T>::take(hardware) {
            Self::forget(&worker);
            T::OnBarred::on_barred();
        }
        Self::deposit_event(Event::HardwareRevoked { hardware });
        Ok(())
    }

    pub(crate) fn do_lift_hardware(hardware: Hash) -> DispatchResult {
        RevokedHardware::<T>::take(hardware).ok_or(Error::<T>::NotListed)?;
        Self::deposit_event(Event::HardwareLifted { hardware });
        Ok(())
    }
}
