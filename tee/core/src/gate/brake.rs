//! This seat's hand on the brake: what the gatekeeper signs when its operator asks, and nothing else.
//!
//! Guarantees: what is signed is the payload of a suspension - label, chain, subject, how often it was suspended before, last block - which
//! by its label serves for nothing else, so that no request makes the seat admit, lift or revoke; how often is of a proof against the
//! very head that this TEE has verified last; the last block is at most [`SUSPENSION_SIGNED_AHEAD_BLOCKS`] ahead of that head; the seat
//! is one of the root that is recorded to answer; a vendor's root is no subject, for its ban would not end. A process signs
//! [`MOST_SIGNED`] different payloads within [`RATION_BLOCKS`] at most.
//!
//! Whoever reaches the operator's listener chooses subject and last block, and so has this seat's part of the brake: it is the operator's
//! decision, and n-t+1 operators have to make it. The host chooses which proofs arrive. Does not: judge whether there is a reason, or
//! whether the brake may hold now - the chain does, when the parts arrive.

use crate::{
    chain::{Chain, ChainError, Records, Shown},
    identity::Identity,
    roots::Roots,
};
use phala_attest::Subject;
use phala_protocol::{
    attestation::suspension_payload,
    brake::{SignedSuspension, SuspensionRequest},
    ids::BlockNumber,
    limits::SUSPENSION_SIGNED_AHEAD_BLOCKS,
    storage, Hash,
};
use std::collections::VecDeque;

/// Subjects whose number of suspensions is kept proved; one more takes the place of the one that was asked about longest ago.
const MOST_WANTED: usize = 4;
/// Blocks for which a subject stays wanted after it was last asked about.
const WANTED_BLOCKS: BlockNumber = 300;
/// Blocks over which signatures are rationed: an hour of 6 s blocks.
const RATION_BLOCKS: BlockNumber = 600;
/// Different payloads that are signed within [`RATION_BLOCKS`]. An emergency has few names; whoever needs more than these is not an operator.
const MOST_SIGNED: usize = 16;

/// Why a gatekeeper does not sign a suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuspensionRefusal {
    /// The TEE is a worker's: the operator's mistake.
    #[error("this TEE is a worker's: only gatekeepers sign suspensions")]
    NotAGatekeeper,
    /// A vendor's root is never suspended.
    #[error("a vendor's root is not suspended, because its ban has no end: only governance ends one")]
    Root,
    /// The last block has passed.
    #[error("the last block is in the past: the gatekeeper's finalised head is {head}")]
    Past {
        /// The verified head.
        head: BlockNumber,
    },
    /// The last block is too far ahead.
    #[error("the last block is too far ahead: the chain takes none after block {latest} from a head as of now")]
    TooFarAhead {
        /// The last that is signed now.
        latest: BlockNumber,
    },
    /// No root answers, or the relayer has not shown it.
    #[error("the gatekeeper has seen no root that answers, in which it could have a seat")]
    NoRoot,
    /// The gatekeeper has no seat in the root that answers.
    #[error("the gatekeeper has no seat in the root of era {era}, which answers")]
    NoSeat {
        /// That root's era.
        era: u32,
    },
    /// How often the subject was suspended is not proved for the present head.
    #[error("how often the subject was suspended before is not proved yet: the relayer is asked for it")]
    Unproved,
    /// It has signed enough.
    #[error(
        "the gatekeeper has signed {} suspensions within {} blocks: it signs another one from block {again} on",
        MOST_SIGNED,
        RATION_BLOCKS
    )]
    Rationed {
        /// The first block in which it signs another one.
        again: BlockNumber,
    },
}

/// A subject that was asked about.
struct Wanted {
    subject: Subject,
    /// The head when it was asked about last.
    asked_at: BlockNumber,
    /// A head, and how often the brake had suspended it then.
    known: Option<(BlockNumber, u32)>,
}

/// What waits for proofs, and what was signed.
#[derive(Default)]
pub(super) struct Brake {
    /// By the time that they were first asked about, oldest first.
    wanted: VecDeque<Wanted>,
    /// Payloads, with the head when each was signed first.
    signed: VecDeque<(BlockNumber, Hash)>,
}

impl Brake {
    /// Keys of how often the subjects that are asked about were suspended.
    pub(super) fn wanted_keys(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.wanted.iter().map(|wanted| storage::suspensions_key(&wanted.subject))
    }

    /// Takes what the proof shows of them.
    pub(super) fn observe(&mut self, records: &Records<'_>, head: BlockNumber) -> Result<(), ChainError> {
        self.wanted.retain(|wanted| head.saturating_sub(wanted.asked_at) < WANTED_BLOCKS);
        for wanted in &mut self.wanted {
            match records.get::<u32>(&storage::suspensions_key(&wanted.subject))? {
                Shown::Nothing => {}
                Shown::Absent => wanted.known = Some((head, 0)),
                Shown::Value(times) => wanted.known = Some((head, times)),
            }
        }
        Ok(())
    }

    /// Signs this seat's part of a suspension. Asked for a subject that it does not know, it wants that proved with the next delivery.
    pub(super) fn sign(
        &mut self,
        request: &SuspensionRequest<Subject>,
        chain: &Chain,
        identity: &Identity,
        roots: &Roots,
    ) -> Result<SignedSuspension<Subject>, SuspensionRefusal> {
        let SuspensionRequest { subject, expires } = *request;
        let (head, _) = chain.head();
        check(&subject, expires, head)?;
        let root = roots.present().ok_or(SuspensionRefusal::NoRoot)?;
        let own = (1u16..).zip(&root.seats).find(|(_, gatekeeper)| **gatekeeper == identity.id());
        let (seat, gatekeeper) = own.ok_or(SuspensionRefusal::NoSeat { era: root.era })?;
        let sequence = self.times(subject, head).ok_or(SuspensionRefusal::Unproved)?;
        let payload = suspension_payload(chain.genesis(), &subject, sequence, expires);
        self.ration(payload, head)?;
        Ok(SignedSuspension {
            genesis: *chain.genesis(),
            era: root.era,
            seat,
            gatekeeper: *gatekeeper,
            subject,
            sequence,
            expires,
            signature: identity.sign(&payload),
        })
    }

    /// How often the brake has suspended the subject, as the present head's state has it. It is wanted from now on.
    fn times(&mut self, subject: Subject, head: BlockNumber) -> Option<u32> {
        if let Some(wanted) = self.wanted.iter_mut().find(|wanted| wanted.subject == subject) {
            wanted.asked_at = head;
            return wanted.known.filter(|(at, _)| *at == head).map(|(_, times)| times);
        }
        if self.wanted.len() >= MOST_WANTED {
            let oldest = self.wanted.iter().map(|wanted| wanted.asked_at).min();
            if let Some(place) = self.wanted.iter().position(|wanted| Some(wanted.asked_at) == oldest) {
                self.wanted.remove(place);
            }
        }
        self.wanted.push_back(Wanted { subject, asked_at: head, known: None });
        None
    }

    /// Takes one of the signatures that may be made; what was signed within the time is signed again for nothing.
    fn ration(&mut self, payload: Hash, head: BlockNumber) -> Result<(), SuspensionRefusal> {
        self.signed.retain(|(at, _)| head.saturating_sub(*at) < RATION_BLOCKS);
        if self.signed.iter().any(|(_, signed)| *signed == payload) {
            return Ok(());
        }
        if let (true, Some((first, _))) = (self.signed.len() >= MOST_SIGNED, self.signed.front()) {
            return Err(SuspensionRefusal::Rationed { again: first.saturating_add(RATION_BLOCKS) });
        }
        self.signed.push_back((head, payload));
        Ok(())
    }
}

/// What can be said of a request without the chain's state.
fn check(subject: &Subject, expires: BlockNumber, head: BlockNumber) -> Result<(), SuspensionRefusal> {
    if matches!(subject, Subject::Root(_)) {
        return Err(SuspensionRefusal::Root);
    }
    if expires < head {
        return Err(SuspensionRefusal::Past { head });
    }
    let latest = head.saturating_add(SUSPENSION_SIGNED_AHEAD_BLOCKS);
    if expires > latest {
        return Err(SuspensionRefusal::TooFarAhead { latest });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_attest::{Root, Vendor};

    const VENDOR: Subject = Subject::Vendor(Vendor::IntelTdx);

    #[test]
    fn a_last_block_is_from_now_to_a_day_ahead_and_a_root_is_no_subject() {
        let latest = 1_000 + SUSPENSION_SIGNED_AHEAD_BLOCKS;
        for (expires, judged) in [
            (999, Err(SuspensionRefusal::Past { head: 1_000 })),
            (1_000, Ok(())),
            (latest, Ok(())),
            (latest + 1, Err(SuspensionRefusal::TooFarAhead { latest })),
            (u32::MAX, Err(SuspensionRefusal::TooFarAhead { latest })),
        ] {
            assert_eq!(check(&VENDOR, expires, 1_000), judged, "{expires}");
        }
        for root in [Root::Intel, Root::InsecureDevelopment] {
            assert_eq!(check(&Subject::Root(root), 1_000, 1_000), Err(SuspensionRefusal::Root));
        }
        assert_eq!(check(&VENDOR, u32::MAX, u32::MAX), Ok(()));
    }

    #[test]
    fn what_is_wanted_and_what_is_signed_is_bounded() {
        let mut brake = Brake::default();
        let subject = |number: u32| Subject::Evaluation { vendor: Vendor::IntelTdx, below: number };
        for number in 0..20 {
            assert_eq!(brake.times(subject(number), 100 + number), None);
        }
        let wanted: Vec<_> = brake.wanted.iter().map(|wanted| wanted.subject).collect();
        assert_eq!(wanted, [16, 17, 18, 19].map(subject), "the last that were asked about");
        assert_eq!(brake.wanted_keys().count(), MOST_WANTED);
        // A number of another head than the present one counts for nothing.
        brake.wanted[0].known = Some((120, 2));
        assert_eq!(brake.times(subject(16), 120), Some(2));
        assert_eq!(brake.times(subject(16), 121), None);
        // It was asked about last, and stays.
        brake.times(subject(30), 122);
        assert!(brake.wanted.iter().any(|wanted| wanted.subject == subject(16)));
        assert!(!brake.wanted.iter().any(|wanted| wanted.subject == subject(17)));

        for number in 0..MOST_SIGNED as u8 {
            assert_eq!(brake.ration([number; 32], 1_000 + u32::from(number)), Ok(()));
        }
        let again = 1_000 + RATION_BLOCKS;
        assert_eq!(brake.ration([99; 32], again - 1), Err(SuspensionRefusal::Rationed { again }));
        assert_eq!(brake.ration([3; 32], again - 1), Ok(()), "the same once more");
        assert_eq!(brake.ration([99; 32], again), Ok(()));
        assert_eq!(brake.signed.len(), MOST_SIGNED);
    }
}
