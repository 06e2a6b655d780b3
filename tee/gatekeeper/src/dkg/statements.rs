//! What a seat says on chain, given its view of an attempt.
//!
//! Guarantees: idempotent - the same view says the same until the record holds it. A missing parcel is complained of at the end of
//! the phase only, when it can no longer be on its way; a wrong one never, for anybody can send it in another's name. What was
//! delivered on chain is disputed only if it is useless: what a host keeps from its seat is not. Shares are answered only in
//! `Settle`, before its last call, to a dispute that stands: what the chain would not take must not be public either.

use super::{
    ceremony::{Ceremony, CeremonyError, Turn, View},
    package::Package,
};
use phala_protocol::ceremony::{
    delivery_hash, Attachment, CeremonyRecord, Complaint, ParcelKind, Phase, SeatRecord, SignedStatement, Statement,
};
use std::collections::BTreeSet;

impl Ceremony {
    /// What is to be said now, signed.
    pub(super) fn statements(&mut self, view: &View<'_>, turn: &mut Turn) -> Result<(), CeremonyError> {
        let record = view.record;
        let own = record.seat(self.index).ok_or(CeremonyError::NoSeat)?;
        let last_call = record.is_last_call(view.head);
        let mut said = Vec::new();
        let mut attached = Vec::new();
        if record.phase != Phase::Commit {
            self.confirm(own, &mut said);
        }
        match record.phase {
            Phase::Commit => {
                if own.package.is_none() {
                    said.push(Statement::Commit { package: self.own_package() });
                }
            }
            Phase::Share if last_call => self.complain(view, own, &mut said, &mut attached),
            Phase::Share => {}
            Phase::Deliver => {
                if !last_call {
                    self.deliver(view, turn, &mut attached)?;
                }
                self.dispute(record, &mut said);
            }
            Phase::Settle => {
                if !last_call {
                    self.answer(record, &mut said, &mut attached)?;
                }
                for dealer in self.wrong_dealers(record) {
                    if !own.rejected.contains(&dealer) {
                        said.push(Statement::Reject { dealer });
                    }
                }
            }
        }
        turn.statements.extend(said.into_iter().map(|statement| self.sign(view, statement)));
        let attached = attached.into_iter().map(|(statement, beside)| (self.sign(view, statement), beside));
        turn.attached.extend(attached);
        Ok(())
    }

    fn sign(&self, view: &View<'_>, statement: Statement) -> SignedStatement {
        let unsigned =
            SignedStatement { era: self.era, attempt: self.attempt, index: self.index, statement, signature: [0; 64] };
        SignedStatement { signature: view.identity.sign(&unsigned.signing_payload(&self.genesis)), ..unsigned }
    }

    fn confirm(&self, own: &SeatRecord, said: &mut Vec<Statement>) {
        if let (Some(keys), None) = (self.confirmed, own.confirmed) {
            said.push(Statement::Confirm(keys));
        }
    }

    /// Complains of every dealer whose shares are missing, with this seat's key until a complaint of it stands.
    fn complain(
        &self,
        view: &View<'_>,
        own: &SeatRecord,
        said: &mut Vec<Statement>,
        attached: &mut Vec<(Statement, Attachment)>,
    ) {
        let missing = self.received.to_accuse(self.index, &view.record.complaints);
        for dealer in missing.into_iter().filter(|dealer| *dealer != self.index) {
            let statement = Statement::Complain { dealer };
            match own.key {
                Some(_) => said.push(statement),
                None => attached.push((statement, Attachment::Key(view.receiving.announce(view.identity)))),
            }
        }
    }

    /// Delivers to each accuser that still lacks it what this seat owes it, sealed to the key that it complained under.
    fn deliver(
        &mut self,
        view: &View<'_>,
        turn: &mut Turn,
        attached: &mut Vec<(Statement, Attachment)>,
    ) -> Result<(), CeremonyError> {
        let own = self.index;
        for complaint in view.record.complaints.iter().filter(|complaint| complaint.dealer == own) {
            let accuser = complaint.accuser;
            let Some(seat) = view.record.seat(accuser) else { continue };
            let lacks = accuser != own && seat.confirmed.is_none() && complaint.delivered.is_none();
            let (true, true, Some(key)) = (lacks, self.received.roster.contains_key(&accuser), seat.key) else {
                continue;
            };
            let Some(peer) = view.peer(self.of(), &seat.gatekeeper).filter(|peer| peer.key_hash() == key) else {
                turn.strangers.push(seat.gatekeeper);
                continue;
            };
            let parcel = self.sealed(view, peer, accuser, ParcelKind::Delivery)?;
            let statement = Statement::Deliver { accuser, parcel: delivery_hash(&key, &parcel) };
            attached.push((statement, Attachment::Parcel(parcel)));
        }
        Ok(())
    }

    /// Disputes what was delivered and is useless, unless the share came otherwise.
    fn dispute(&self, record: &CeremonyRecord, said: &mut Vec<Statement>) {
        let useless = self.received.to_dispute(self.index, &record.complaints);
        said.extend(useless.into_iter().map(|(dealer, parcel)| Statement::Dispute { dealer, parcel }));
    }

    /// Answers the first disputes of this seat's deliveries, as many as seats may lie: honest seats dispute none. An accuser that has
    /// confirmed since needs no answer. The package stands beside, until an answer does.
    fn answer(
        &mut self,
        record: &CeremonyRecord,
        said: &mut Vec<Statement>,
        attached: &mut Vec<(Statement, Attachment)>,
    ) -> Result<(), CeremonyError> {
        let (own, tolerated) = (self.index, self.tolerated());
        let of_own = || record.complaints.iter().filter(move |complaint| complaint.dealer == own);
        let shown = of_own().any(|complaint| complaint.answer.is_some());
        for complaint in of_own().filter(|complaint| complaint.disputed) {
            let accuser = complaint.accuser;
            let confirmed = record.seat(accuser).is_none_or(|seat| seat.confirmed.is_some());
            if accuser == own || confirmed || !self.received.roster.contains_key(&accuser) {
                continue;
            }
            // Others than these were answered on a fork.
            if !self.answered.contains(&accuser) && self.answered.len() >= tolerated {
                continue;
            }
            self.unsealed |= self.answered.insert(accuser);
            if complaint.answer.is_none() {
                let shares = self.dealt.share(accuser).ok_or(CeremonyError::Failed)?;
                let statement = Statement::Answer { accuser, shares: shares.to_scalars() };
                match shown {
                    true => said.push(statement),
                    false => attached.push((statement, Attachment::Package(self.dealt.package.clone()))),
                }
            }
        }
        Ok(())
    }

    /// Dealers that this seat knows to have answered or committed wrongly.
    fn wrong_dealers(&mut self, record: &CeremonyRecord) -> BTreeSet<u16> {
        let own = self.index;
        let judged = |complaint: &Complaint| {
            let between_participants = record.takes_part(complaint.accuser) && record.takes_part(complaint.dealer);
            between_participants && complaint.dealer != own
        };
        self.received.wrong_dealers(&record.complaints, judged, Package::fits)
    }
}
