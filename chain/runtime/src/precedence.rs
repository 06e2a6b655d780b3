//! Which transactions come first in a block: those that bring what a ceremony or the beacon waits for.
//!
//! A phase of a ceremony ends after some dozen blocks, and whoever pays tips fills blocks. So a pool ranks a transaction above all others,
//! whatever those pay, when its call is a statement of a ceremony, the record of identities, or a partial of the beacon, and **the chain
//! would take it in the next block**: right era, attempt or period, phase and seat, not said before, and signed by its gatekeeper or proved
//! against its share. [`TxExtension`] is the runtime's transaction extensions and this rank. Its bytes, what is signed, and the metadata
//! are those of the extensions, so that no wallet and no client has to know of it.
//!
//! # Why it is no hole
//!
//! - *Only the seat's own operator* has the rank, the account that the gatekeeper's evidence names. Whoever copies a statement into a
//!   transaction of his own has an ordinary one, which pays for its place, and a fee too when the statement stands already.
//! - *One transaction for each thing that the chain takes once* of an operator is in a pool: it provides a tag of what that is, whatever
//!   is said of it, and a second one that does is refused as any that does not outbid the first. So there are never more with the rank
//!   than the rules let seats say, also if one contradicts itself: each commits and confirms once, and complains, delivers, disputes,
//!   answers and rejects once for each other seat.
//! - *What the chain would not take* is not refused: it is an ordinary transaction, with a fee. So is every call inside another one.
//! - *What all have to say* ([`EACH_SEAT`]) goes before what a seat may say of each other ([`EACH_PAIR`]), so that seats that complain of
//!   everybody keep no confirmation out.
//!
//! Tips alone cannot reach the rank: the priority that they give is cut off below it. (Reports of consensus' equivocations, which a node
//! makes itself and takes from no other, keep the highest one.) The class stays the ordinary one, with its part of blocks: an operational
//! one would be that of the call whoever makes it, and give what the chain does not take a reserve, too.
//!
//! # What it costs pools
//!
//! Nobody pays for an answer, as for the check of a transaction's signature, and a pool asks again while a transaction waits. So whose the
//! seat is comes first, and for whoever has none that is all, some reads. Of a seat's own operator, whatever he sends, the record is
//! decoded (up to a megabyte) and one signature verified, or a partial's proof: some milliseconds, where an ordinary transaction takes a
//! fraction of one. He has that for [`MOST_AHEAD`] transactions that wait and no more. In a block nothing is asked, since the order is the
//! author's: the extension weighs what the others weigh.
//!
//! Senders control every byte of the call. Does not: bind an author, who may leave out what he likes; overtake an account's own earlier
//! transactions, behind which a statement waits as long as they do; rank one that comes before its phase began, or too far behind those,
//! until the pool asks again; keep a seat's operator from having nodes check one transaction again and again, each time for a higher tip;
//! keep seats of one rank from each other - what a third of a hundred of them may say of all others fills blocks for longer than a last
//! call lasts.

use crate::{AccountId, Beacon, Extensions, Gatekeepers, Nonce, RuntimeCall, System};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::weights::Weight;
use phala_protocol::ceremony::{Said, MAX_SEATS};
use scale_info::TypeInfo;
use sp_runtime::{
    traits::{
        DispatchInfoOf, DispatchOriginOf, Implication, PostDispatchInfoOf, TransactionExtension,
        TransactionExtensionMetadata, ValidateResult,
    },
    transaction_validity::{TransactionPriority, TransactionSource, TransactionValidity, TransactionValidityError},
    DispatchResult,
};

/// Of what each seat says once in a phase, and of the record with which a ceremony ends.
pub const EACH_SEAT: TransactionPriority = TransactionPriority::MAX;
/// Of what a seat may say of each other one, and of a partial of the beacon.
pub const EACH_PAIR: TransactionPriority = EACH_SEAT - 1;
/// Of all others at most, whatever they pay.
pub const MOST_OF_OTHERS: TransactionPriority = EACH_PAIR - 1;

/// Transactions of an account, from its next one on, that may have the rank: as many as a seat may say at once of all others.
pub const MOST_AHEAD: Nonce = MAX_SEATS as Nonce;

/// What a pool's tags of these transactions begin with. None is as short as that of an account's nonce.
const TAG: &[u8] = b"phala/awaited";

/// The extensions of a transaction as the runtime applies them: what [`Extensions`] are, and which come first.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct TxExtension(Extensions);

impl TxExtension {
    /// These extensions.
    pub fn new(extensions: Extensions) -> Self {
        Self(extensions)
    }

    /// Whether this is one of the account's next transactions. A nonce that was used is refused before.
    fn is_near(&self, sender: &AccountId) -> bool {
        let frame_system::CheckNonce(nonce) = &self.0 .5;
        nonce.saturating_sub(System::account_nonce(sender)) < MOST_AHEAD
    }
}

/// Nobody who reads the metadata sees that they are wrapped.
impl TypeInfo for TxExtension {
    type Identity = Extensions;

    fn type_info() -> scale_info::Type {
        <Extensions as TypeInfo>::type_info()
    }
}

/// What a tag names of a statement beside who says it: which kind it is, and of which other seat (from 1), if of one. What is said of that
/// is not in it: the chain takes one.
type Subject = (u8, u16);

/// The rank of what is said in a ceremony, and its subject.
fn of_said<K>(said: &Said<K>) -> (TransactionPriority, Subject) {
    match *said {
        Said::Commit { .. } => (EACH_SEAT, (0, 0)),
        Said::Confirm(_) => (EACH_SEAT, (1, 0)),
        Said::Complain { dealer } => (EACH_PAIR, (2, dealer)),
        Said::Deliver { accuser, .. } => (EACH_PAIR, (3, accuser)),
        Said::Dispute { dealer, .. } => (EACH_PAIR, (4, dealer)),
        Said::Answer { accuser, .. } => (EACH_PAIR, (5, accuser)),
        Said::Reject { dealer } => (EACH_PAIR, (6, dealer)),
    }
}

/// The rank of a call that brings `sender` what the chain waits for, and a tag of what that is.
fn rank(sender: &AccountId, call: &RuntimeCall) -> Option<(TransactionPriority, Vec<u8>)> {
    use phala_pallet_beacon::Call as OfBeacon;
    use phala_pallet_gatekeepers::Call as OfGatekeepers;
    let (said, attachment) = match call {
        RuntimeCall::Gatekeepers(OfGatekeepers::state { statement }) => (statement, None),
        RuntimeCall::Gatekeepers(OfGatekeepers::state_with { statement, attachment }) => (statement, Some(attachment)),
        RuntimeCall::Gatekeepers(OfGatekeepers::state_identities { statement, attachment }) => {
            let (rank, subject) = of_said(&statement.statement.said());
            let tag = (TAG, 1u8, sender, statement.era, statement.attempt, statement.index, subject);
            let awaited = Gatekeepers::is_identity_awaited(sender, statement, attachment.as_ref());
            return awaited.then(|| (rank, tag.encode()));
        }
        RuntimeCall::Gatekeepers(OfGatekeepers::show_identities { record }) => {
            let awaited = Gatekeepers::is_record_awaited(sender, record);
            return awaited.then(|| (EACH_SEAT, (TAG, 2u8, sender, record.hash()).encode()));
        }
        RuntimeCall::Beacon(OfBeacon::submit_partial { era, period, partial }) => {
            let awaited =
                Gatekeepers::operates(sender, *era, partial.index) && Beacon::is_awaited(*era, *period, partial);
            return awaited.then(|| (EACH_PAIR, (TAG, 3u8, sender, *era, *period, partial.index).encode()));
        }
        _ => return None,
    };
    let (rank, subject) = of_said(&said.statement.said());
    let tag = (TAG, 0u8, sender, said.era, said.attempt, said.index, subject);
    Gatekeepers::is_awaited(sender, said, attachment).then(|| (rank, tag.encode()))
}

impl TransactionExtension<RuntimeCall> for TxExtension {
    const IDENTIFIER: &'static str = <Extensions as TransactionExtension<RuntimeCall>>::IDENTIFIER;
    type Implicit = <Extensions as TransactionExtension<RuntimeCall>>::Implicit;
    type Val = <Extensions as TransactionExtension<RuntimeCall>>::Val;
    type Pre = <Extensions as TransactionExtension<RuntimeCall>>::Pre;

    fn implicit(&self) -> Result<Self::Implicit, TransactionValidityError> {
        <Extensions as TransactionExtension<RuntimeCall>>::implicit(&self.0)
    }

    fn metadata() -> Vec<TransactionExtensionMetadata> {
        <Extensions as TransactionExtension<RuntimeCall>>::metadata()
    }

    fn weight(&self, call: &RuntimeCall) -> Weight {
        <Extensions as TransactionExtension<RuntimeCall>>::weight(&self.0, call)
    }

    fn validate(
        &self,
        origin: DispatchOriginOf<RuntimeCall>,
        call: &RuntimeCall,
        info: &DispatchInfoOf<RuntimeCall>,
        len: usize,
        self_implicit: Self::Implicit,
        inherited_implication: &impl Implication,
        source: TransactionSource,
    ) -> ValidateResult<Self::Val, RuntimeCall> {
        let (mut valid, val, origin) = <Extensions as TransactionExtension<RuntimeCall>>::validate(
            &self.0,
            origin,
            call,
            info,
            len,
            self_implicit,
            inherited_implication,
            source,
        )?;
        // In a block the order is the author's, and nothing is asked that nobody paid for.
        if source != TransactionSource::InBlock {
            valid.priority = valid.priority.min(MOST_OF_OTHERS);
            let sender: Option<AccountId> = frame_system::ensure_signed(origin.clone()).ok();
            let near = sender.filter(|sender| self.is_near(sender));
            if let Some((priority, tag)) = near.and_then(|sender| rank(&sender, call)) {
                valid.priority = priority;
                valid.provides.push(tag);
            }
        }
        Ok((valid, val, origin))
    }

    fn prepare(
        self,
        val: Self::Val,
        origin: &DispatchOriginOf<RuntimeCall>,
        call: &RuntimeCall,
        info: &DispatchInfoOf<RuntimeCall>,
        len: usize,
    ) -> Result<Self::Pre, TransactionValidityError> {
        <Extensions as TransactionExtension<RuntimeCall>>::prepare(self.0, val, origin, call, info, len)
    }

    fn post_dispatch_details(
        pre: Self::Pre,
        info: &DispatchInfoOf<RuntimeCall>,
        post_info: &PostDispatchInfoOf<RuntimeCall>,
        len: usize,
        result: &DispatchResult,
    ) -> Result<Weight, TransactionValidityError> {
        <Extensions as TransactionExtension<RuntimeCall>>::post_dispatch_details(pre, info, post_info, len, result)
    }

    /// One extension after the other, as they are: the last ones charge for what the ones before did not use.
    fn post_dispatch(
        pre: Self::Pre,
        info: &DispatchInfoOf<RuntimeCall>,
        post_info: &mut PostDispatchInfoOf<RuntimeCall>,
        len: usize,
        result: &DispatchResult,
    ) -> Result<(), TransactionValidityError> {
        <Extensions as TransactionExtension<RuntimeCall>>::post_dispatch(pre, info, post_info, len, result)
    }

    fn bare_validate(call: &RuntimeCall, info: &DispatchInfoOf<RuntimeCall>, len: usize) -> TransactionValidity {
        <Extensions as TransactionExtension<RuntimeCall>>::bare_validate(call, info, len)
    }

    fn bare_validate_and_prepare(
        call: &RuntimeCall,
        info: &DispatchInfoOf<RuntimeCall>,
        len: usize,
    ) -> Result<(), TransactionValidityError> {
        <Extensions as TransactionExtension<RuntimeCall>>::bare_validate_and_prepare(call, info, len)
    }

    fn bare_post_dispatch(
        info: &DispatchInfoOf<RuntimeCall>,
        post_info: &mut PostDispatchInfoOf<RuntimeCall>,
        len: usize,
        result: &DispatchResult,
    ) -> Result<(), TransactionValidityError> {
        <Extensions as TransactionExtension<RuntimeCall>>::bare_post_dispatch(info, post_info, len, result)
    }
}
