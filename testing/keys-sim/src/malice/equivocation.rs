//! A seat that says two things: one package to one seat and another to the rest, and either two commitments on chain, two answers or two
//! confirmations. Of one kind in an attempt: whoever is convicted already is not convicted of another.
//!
//! Both packages are dealt by the code that ships, from two seeds: what tells them apart is the hash that the chain holds, and nothing
//! else. Which of two statements the chain takes is the one that arrives first; the other is refused, and both together convict.

use super::{deliver, halves, reseal, sign, Dealt, Liar, Twice};
use crate::{members::GENESIS, random::Random, seating::Seating};
use phala_gatekeeper::dkg::Turn;
use phala_protocol::ceremony::{
    package_hash, Attachment, CeremonyRecord, Confirmed, ParcelKind, Phase, SignedStatement, Statement,
};

impl Liar {
    /// What it makes of the `turn` of its own code, which deals the `first` of two packages.
    pub(super) fn equivocate(
        &self,
        seating: &Seating<'_>,
        record: &CeremonyRecord,
        mut turn: Turn,
        [first, second]: [&Dealt; 2],
        random: &mut Random,
    ) -> Turn {
        let (own, twice) = (self.index, self.twice);
        let hash = |dealt: &Dealt| package_hash(&GENESIS, record.era, record.attempt, own, &dealt.package);
        if record.phase == Phase::Commit {
            if twice == Twice::Commit && record.takes_part(own) {
                let commit = |dealt: &Dealt| sign(seating, record, own, Statement::Commit { package: hash(dealt) });
                turn.statements = [first, second].map(commit).to_vec();
            }
            return turn;
        }
        if !record.takes_part(own) {
            return turn;
        }
        // Its own code takes no part where the chain took the other commitment.
        let stands = record.seat(own).and_then(|seat| seat.package);
        let (standing, other) = if stands == Some(hash(second)) {
            turn = self.deal(seating, record, second, random);
            (second, first)
        } else {
            (first, second)
        };

        let victim = self.victim;
        for parcel in turn.parcels.iter_mut().filter(|parcel| parcel.header.to == victim) {
            let content = match parcel.header.kind {
                ParcelKind::Package => &other.package,
                ParcelKind::Share => &other.shares[&victim],
                ParcelKind::Delivery | ParcelKind::Identities => continue,
            };
            *parcel = reseal(seating, parcel.header, content, random);
        }
        // Where it delivers that too, it has to answer for it.
        let delivers_it = match twice {
            Twice::Commit => !record.attempt.is_multiple_of(2),
            Twice::Answer => true,
            Twice::Confirm => false,
        };
        if delivers_it {
            let content = [&other.shares[&victim][..], &other.package[..]].concat();
            for (said, beside) in &mut turn.attached {
                if matches!(said.statement, Statement::Deliver { accuser, .. } if accuser == victim) {
                    (*said, *beside) = deliver(seating, record, (own, victim), &content, random);
                }
            }
        }

        let said = turn.statements.iter().chain(turn.attached.iter().map(|(said, _)| said));
        let answered: Vec<u16> = said.filter_map(accuser).filter(|_| twice == Twice::Answer).collect();
        for accuser in answered {
            let statement = Statement::Answer { accuser, shares: halves(&other.shares[&accuser]) };
            let package = Attachment::Package(standing.package.clone());
            turn.attached.push((sign(seating, record, own, statement), package));
        }
        let confirmed = turn.statements.iter().find_map(|said| match said.statement {
            Statement::Confirm(keys) if twice == Twice::Confirm => Some(keys),
            _ => None,
        });
        if let Some(keys) = confirmed {
            let another = Confirmed { share_list: [0xdd; 32], ..keys };
            turn.statements.push(sign(seating, record, own, Statement::Confirm(another)));
        }
        turn
    }
}

/// Whom this answers, if it is an answer.
fn accuser(said: &SignedStatement) -> Option<u16> {
    match said.statement {
        Statement::Answer { accuser, .. } => Some(accuser),
        _ => None,
    }
}
