//! Revocation, and the brake.
//!
//! Guarantees: a ban is in force in the block that says so, for registered machines as for new ones; a vendor's root can be ended
//! and never put back, and no call adds one; the brake ends by itself, cannot be held for longer than [`crate::Windows::suspension`],
//! and then rests as long before it can be used again, whatever it was used on. It takes away and never admits: lifting is
//! governance's. Governance and the brake control the arguments, each within its half of the list.

use crate::{collateral::vendor_root, pallet::*};
use frame_support::{ensure, pallet_prelude::DispatchResult};
use phala_attest::{Ban, Bans as BanList, Subject, MOST_BANS};
use phala_protocol::{ids::BlockNumber, Hash};

/// Suspensions that the brake holds at most, so that it cannot keep governance from revoking.
const MOST_SUSPENSIONS: usize = MOST_BANS / 2;
/// Revocations at most, so that they leave the brake its half, and a place to end each root.
const MOST_REVOCATIONS: usize = MOST_BANS - MOST_SUSPENSIONS - 2;

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

    pub(crate) fn do_suspend(subject: Subject) -> DispatchResult {
        ensure!(!matches!(subject, Subject::Root(_)), Error::<T>::RootsOnlyEnd);
        let (now, length) = (Self::now_block(), CurrentWindows::<T>::get().suspension);
        let bans = Bans::<T>::get();
        let again = bans.iter().any(|ban| ban.subject == subject && ban.in_force(now));
        ensure!(!again, Error::<T>::AlreadyBarred);
        let held = bans.iter().filter(|ban| ban.until.is_some() && !ban.has_ended(now)).count();
        ensure!(held < MOST_SUSPENSIONS, Error::<T>::TooManyBans);
        let until = match Brake::<T>::get() {
            // What is suspended while the brake holds ends with it.
            Some((end, _)) if now <= end => end,
            Some((_, rested)) if now <= rested => return Err(Error::<T>::BrakeRests.into()),
            _ => {
                // The block that suspends is the first.
                let end = now.saturating_add(length.saturating_sub(1));
                Brake::<T>::put((end, end.saturating_add(length)));
                end
            }
        };
        Self::bar(Ban { subject, from: now, until: Some(until) })
    }

    fn bar(ban: Ban) -> DispatchResult {
        Bans::<T>::try_mutate(|bans: &mut BanList| bans.put(ban, Self::now_block()))
            .map_err(|_| Error::<T>::TooManyBans)?;
        Self::deposit_event(Event::Barred { ban });
        Ok(())
    }

    pub(crate) fn do_lift(subject: Subject) -> DispatchResult {
        ensure!(!matches!(subject, Subject::Root(_)), Error::<T>::RootsOnlyEnd);
        ensure!(Bans::<T>::mutate(|bans: &mut BanList| bans.remove(&subject)), Error::<T>::NotListed);
        Self::deposit_event(Event::Lifted { subject });
        Ok(())
    }

    pub(crate) fn do_revoke_hardware(hardware: Hash) -> DispatchResult {
        ensure!(!RevokedHardware::<T>::contains_key(hardware), Error::<T>::HardwareRevoked);
        RevokedHardware::<T>::insert(hardware, Self::now_block());
        if let Some(worker) = Hardware::<T>::take(hardware) {
            Self::forget(&worker);
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
