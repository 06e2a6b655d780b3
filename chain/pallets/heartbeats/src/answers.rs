//! Answers: verified, then kept.
//!
//! Guarantees: what is refused has changed nothing, and says why by the first of the checks that it fails; the signature is looked at last,
//! when all that costs less holds. Whoever carries an answer controls every byte of it.

use crate::{pallet::*, WeightInfo};
use frame_support::{
    dispatch::{DispatchErrorWithPostInfo, DispatchResultWithPostInfo, Pays, PostDispatchInfo},
    ensure,
    weights::Weight,
};
use frame_system::pallet_prelude::BlockNumberFor;
use phala_pallet_attestation::{signed_by, Workers};
use phala_protocol::{
    attestation::Role,
    heartbeat::{Heartbeat, HeartbeatRound, HeartbeatStanding, SignedHeartbeat},
    Hash,
};
use sp_runtime::SaturatedConversion;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_heartbeat(signed: &SignedHeartbeat) -> DispatchResultWithPostInfo {
        let looked = <T as Config>::WeightInfo::refuse();
        let former = Self::verify_claim(&signed.heartbeat).map_err(|error| refused(error, looked))?;
        let Heartbeat { worker, era, period, .. } = signed.heartbeat;
        let weight = <T as Config>::WeightInfo::submit_heartbeat();
        if !signed_by(&worker, &signed.signature, &signed.heartbeat.signing_payload()) {
            return Err(refused(Error::<T>::BadSignature, weight));
        }
        let answered = Some((era, period));
        Standings::<T>::insert(worker, HeartbeatStanding { answered, ..Default::default() });
        Self::deposit_event(Event::Answered { worker, era, period, returned: former.unresponsive });
        Ok(PostDispatchInfo { actual_weight: Some(weight), pays_fee: Pays::No })
    }

    /// How the worker stood, if the round under way asks for what it says.
    fn verify_claim(heartbeat: &Heartbeat) -> Result<HeartbeatStanding, Error<T>> {
        let round = Round::<T>::get().ok_or(Error::<T>::NoRound)?;
        ensure!(heartbeat.genesis == Self::genesis(), Error::<T>::OtherChain);
        let named = (heartbeat.era, heartbeat.period);
        ensure!(named == (round.era, round.period), Error::<T>::OtherRound);
        ensure!(Self::now() <= round.until, Error::<T>::TooLate);
        let record = Workers::<T>::get(heartbeat.worker).filter(|record| record.role == Role::Worker);
        ensure!(record.is_some(), Error::<T>::NotAWorker);
        let standing = Standings::<T>::get(heartbeat.worker);
        ensure!(standing.answered != Some(named), Error::<T>::AlreadyAnswered);
        ensure!(round.asks(&heartbeat.worker, &standing), Error::<T>::NotSampled);
        ensure!(Self::is_of_round(heartbeat, &round), Error::<T>::UnknownBlock);
        Ok(standing)
    }

    /// Whether it names a block that is there, from the round's opening on.
    fn is_of_round(heartbeat: &Heartbeat, round: &HeartbeatRound) -> bool {
        let number: BlockNumberFor<T> = heartbeat.block.saturated_into();
        let known: Hash = frame_system::Pallet::<T>::block_hash(number).into();
        let within = round.opened <= heartbeat.block && heartbeat.block < Self::now();
        within && known != Hash::default() && known == heartbeat.block_hash
    }
}

/// A refusal, which costs its sender the fee of what was looked at: also that of a good answer which somebody else has carried, for it leaves
/// nothing by which a second free one could be told from the first.
fn refused<T: Config>(error: Error<T>, weight: Weight) -> DispatchErrorWithPostInfo {
    let post_info = PostDispatchInfo { actual_weight: Some(weight), pays_fee: Pays::Yes };
    DispatchErrorWithPostInfo { post_info, error: error.into() }
}
