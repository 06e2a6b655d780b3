//! The gatekeeper's role: its seats by era, the inquiries it has to answer, its part in the key ceremony and in the beacon, and its
//! shares of identities, which it receives, hands over and signs with.
//!
//! | file | what |
//! |---|---|
//! | `inquiries.rs` | requests for keys that wait for their facts, and the answers |
//! | `granted.rs` | how often whom was given which keys, and the audit of it |
//! | `seats.rs` | the seats by era, in memory and sealed |
//! | `ceremony.rs` | this gatekeeper's part in the ceremony under way |
//! | `peers.rs` | the other gatekeepers of it, verified here |
//! | `arrivals.rs` | what a delivery brings for an attempt |
//! | `beacon.rs` | the era's beacon key, and the periods that are due |
//! | `custodian.rs` | the shares of identities, in memory and sealed |
//! | `identities.rs` | this gatekeeper's part in the ceremony of identities under way |
//! | `signing.rs` | messages that have left, which it signs with other holders |
//! | `brake.rs` | suspensions that its operator has it sign |
//!
//! Guarantees: whatever is judged is judged by records that are proved against this TEE's own finalised head, and one proof shows all of
//! them. A part that fails keeps none of the others from its work. The host controls which proofs arrive, and whether sealing succeeds.

mod arrivals;
mod beacon;
mod brake;
mod ceremony;
mod custodian;
mod granted;
mod identities;
mod inquiries;
mod peers;
mod seats;
mod signing;

pub use brake::SuspensionRefusal;
pub use custodian::CustodyHealth;
pub use granted::KeysHealth;
pub use identities::{IdentityAttemptHealth, IdentityPart};

use crate::{
    chain::{Chain, ChainError, Records, Shown},
    identity::Identity,
    listed::Listed,
    machine::{Machine, MachineFault},
    roots::Roots,
    rules::{Allowance, Rules},
    tee::{DeliveryError, Notice},
};
use arrivals::MAX_OF_ONE_DELIVERY;
use beacon::Beacon;
use brake::Brake;
use ceremony::Ceremonies;
use custodian::Custodian;
use identities::Identities;
use inquiries::Inquiries;
use phala_attest::Subject as Suspended;
use phala_gatekeeper::Facts;
use phala_protocol::{
    attestation::Registration,
    brake::{SignedSuspension, SuspensionRequest},
    ceremony::{AnnouncedKey, Introduction, Parcel, ParcelKind, Phase},
    chain_state::{RootRecord, WorkerRecord},
    egress::EgressItem,
    identities::signing::SigningLetter,
    ids::BlockNumber,
    relay::{KeyInquiry, Outgoing, PlacedAttachment},
    storage, Hash, WorkerId,
};
use seats::Seats;
use signing::Signing;

/// How a gatekeeper stands. Nothing secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateHealth {
    /// The seats that it holds, ascending by era. One whose root is not recorded yet may never be.
    pub seats: Vec<SeatHealth>,
    /// The attempt of a key ceremony that it takes part in.
    pub attempt: Option<AttemptHealth>,
    /// The shares of identities that it holds.
    pub identities: Option<CustodyHealth>,
    /// The attempt of a ceremony of identities that it takes part in.
    pub identity_attempt: Option<IdentityAttemptHealth>,
    /// Messages that it signs as contracts, or that wait for it to.
    pub signing: usize,
    /// What became of requests for keys since the process started.
    pub keys: KeysHealth,
}

/// A seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatHealth {
    /// The era.
    pub era: u32,
    /// Whether the chain has recorded its root.
    pub recorded: bool,
}

/// An attempt of a key ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptHealth {
    /// The era whose root is made.
    pub era: u32,
    /// The attempt.
    pub attempt: u32,
    /// The gatekeeper's index, from 1.
    pub index: u16,
    /// Where the attempt stands.
    pub phase: Phase,
    /// Whether the chain has this gatekeeper's confirmation.
    pub confirmed: bool,
}

/// Who looks, and what is known beside the head's records.
pub(crate) struct Sight<'a> {
    pub chain: &'a Chain,
    pub identity: &'a Identity,
    pub machine: &'a dyn Machine,
    pub roots: &'a Roots,
}

/// What the head's state says of another machine.
struct Subject {
    worker: Option<WorkerRecord>,
    allowance: Allowance,
    /// Since when this gatekeeper has seen that entry.
    seen_since: Option<BlockNumber>,
}

impl Subject {
    /// What the proof shows of `machine`, or the measurement that has to be proved too; none when its registration is.
    fn of(
        machine: &WorkerId,
        records: &Records<'_>,
        listed: &Listed,
    ) -> Result<Result<Self, Option<Hash>>, ChainError> {
        let worker = match records.get::<WorkerRecord>(&storage::worker_key(machine))? {
            Shown::Nothing => return Ok(Err(None)),
            shown => shown.value(),
        };
        let mut subject = Self { worker, allowance: Allowance::default(), seen_since: None };
        if let Some(record) = worker {
            let Some(allowance) = Allowance::of(records, &record.measurement)? else {
                return Ok(Err(Some(record.measurement)));
            };
            subject.seen_since = listed.since(&record.measurement, &allowance);
            subject.allowance = allowance;
        }
        Ok(Ok(subject))
    }
}

impl Sight<'_> {
    /// The facts about another machine, without root and cluster.
    fn facts(&self, rules: &Rules, subject: Subject) -> Facts {
        Facts {
            genesis: *self.chain.genesis(),
            gatekeeper: self.identity.id(),
            head: self.chain.head(),
            now: rules.now,
            development: self.chain.development(),
            terms: rules.terms,
            advisories: rules.advisories.clone(),
            bans: rules.bans.clone(),
            root: None,
            coming_era: None,
            cluster: None,
            worker: subject.worker,
            measurement: subject.allowance.entry,
            listing: subject.allowance.listing,
            evaluation_cap: rules.evaluation_cap,
            seen_since: subject.seen_since,
        }
    }
}

/// The gatekeeper's part of a TEE.
pub(crate) struct Gate {
    /// Whether it makes the only seat of a development network's root when there is none.
    lone_root: bool,
    inquiries: Inquiries,
    seats: Seats,
    ceremonies: Ceremonies,
    custodian: Custodian,
    identities: Identities,
    signing: Signing,
    beacon: Beacon,
    /// Since when it has itself seen what is listed.
    listed: Listed,
    brake: Brake,
}

impl Gate {
    /// Restores what this machine keeps.
    pub(crate) fn open(chain: &Chain, machine: &dyn Machine, lone_root: bool) -> Result<Self, MachineFault> {
        let custodian = Custodian::open(chain, machine)?;
        Ok(Self {
            lone_root,
            inquiries: Inquiries::default(),
            seats: Seats::open(chain, machine)?,
            ceremonies: Ceremonies::open(chain, machine)?,
            identities: Identities::open(chain, machine, custodian.held())?,
            custodian,
            signing: Signing::default(),
            beacon: Beacon::default(),
            listed: Listed::open(chain, machine)?,
            brake: Brake::default(),
        })
    }

    pub(crate) fn has_seat(&self) -> bool {
        !self.seats.is_empty()
    }

    /// How it stands.
    pub(crate) fn health(&self) -> GateHealth {
        GateHealth {
            seats: self.seats.health(),
            attempt: self.ceremonies.health(),
            identities: self.custodian.health(),
            identity_attempt: self.identities.health(),
            signing: self.signing.len(),
            keys: self.inquiries.health(),
        }
    }

    /// Era and attempt of the ceremony that it takes part in.
    pub(crate) fn attempt(&self) -> Option<(u32, u32)> {
        self.ceremonies.health().map(|attempt| (attempt.era, attempt.attempt))
    }

    /// Era and attempt of the ceremony of identities that it takes part in.
    pub(crate) fn identity_attempt(&self) -> Option<(u32, u32)> {
        self.identities.health().map(|attempt| (attempt.era, attempt.attempt))
    }

    /// Ids of the messages that it signs, or that wait for it to; none where it holds no shares.
    pub(crate) fn signing(&self) -> Option<Vec<Hash>> {
        self.custodian.held().map(|_| self.signing.items())
    }

    /// Whether it has to show evidence of its own to others.
    pub(crate) fn introduces(&self) -> bool {
        let parts = [self.ceremonies.introduce(), self.identities.introduce()];
        parts.into_iter().flatten().any(|(to, _)| !to.is_empty())
    }

    /// Takes inquiries that are for this gatekeeper, signed by the worker that they name, and young; the others are refused at once.
    pub(crate) fn inquire(
        &mut self,
        inquiries: Vec<KeyInquiry>,
        chain: &Chain,
        gatekeeper: &WorkerId,
        notices: &mut Vec<Notice>,
    ) {
        self.inquiries.take(inquiries, chain.genesis(), gatekeeper, chain.head().0, notices);
    }

    /// Takes what other gatekeepers and the chain have for this one in the two kinds of ceremonies, until the delivery's proof is looked
    /// at.
    pub(crate) fn receive(
        &mut self,
        mut introductions: Vec<Introduction>,
        parcels: Vec<Parcel>,
        attachments: Vec<PlacedAttachment>,
        identity_attachments: Vec<PlacedAttachment>,
    ) {
        introductions.truncate(MAX_OF_ONE_DELIVERY);
        let (of_identities, of_root): (Vec<_>, Vec<_>) =
            parcels.into_iter().partition(|parcel| parcel.header.kind == ParcelKind::Identities);
        self.ceremonies.receive(&introductions, of_root, attachments);
        self.identities.receive(&introductions, of_identities, identity_attachments);
    }

    /// Takes messages that have left, and other holders' letters, until the delivery's proof is looked at: where it holds shares.
    pub(crate) fn receive_messages(&mut self, messages: Vec<EgressItem>, letters: Vec<SigningLetter>, genesis: &Hash) {
        if self.custodian.held().is_some() {
            self.signing.receive(messages, letters, genesis);
        }
    }

    /// What has to be proved, beside the roots.
    pub(crate) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        let mut keys = Rules::wanted_keys().to_vec();
        keys.push(storage::ceremony_key());
        keys.extend(self.inquiries.wanted_keys());
        keys.extend(self.ceremonies.wanted_keys());
        keys.extend(self.identities.wanted_keys());
        keys.extend(self.signing.wanted_keys());
        keys.extend(self.beacon.wanted_keys(&self.seats));
        keys.extend(self.listed.wanted_keys());
        keys.extend(self.brake.wanted_keys());
        keys
    }

    /// Does what the head's records ask for, each part whatever became of the others. Returns the first failure.
    pub(crate) fn observe(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let listed = self.listed.observe(records, sight.chain, sight.machine);
        let counted = self.brake.observe(records, sight.chain.head().0);
        let settled = self.settle(sight, notices);
        let evaluated = self.beacon.observe(records, sight, &self.seats);
        let seats = &self.seats;
        self.inquiries.retain(|era| seats.holds(era));
        let (rules, ruled) = match Rules::of(records) {
            Ok(rules) => (rules, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let answered = self.answer(records, sight, rules.as_ref(), notices);
        let took_part = self.ceremonies.observe(records, sight, rules.as_ref(), &self.listed, &mut self.seats, notices);
        let identified = self.observe_identities(records, sight, rules.as_ref(), notices);
        let judged = listed.and(ruled).and(answered).map_err(DeliveryError::from);
        let settled = settled.map_err(DeliveryError::from);
        let done = judged.and(settled).and(took_part).and(evaluated);
        done.and(counted.map_err(DeliveryError::from)).and(identified)
    }

    /// Shares first: what signs and hands over is of the record that this head shows.
    fn observe_identities(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        rules: Option<&Rules>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let kept = self.custodian.observe(records, sight, notices);
        let signed = self.signing.observe(records, sight, self.custodian.held(), notices);
        let took_part = self.identities.observe(records, sight, rules, &self.listed, &mut self.custodian, notices);
        kept.and(signed).and(took_part)
    }

    /// Answers inquiries, if the proof shows what they are judged by.
    fn answer(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        rules: Option<&Rules>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), ChainError> {
        // An epoch's era and its root are of the head that the cluster's record is of, or nothing is answered.
        let roots_shown = records.get::<RootRecord>(&storage::root_key())? != Shown::Nothing
            && records.get::<RootRecord>(&storage::next_root_key())? != Shown::Nothing;
        match rules.filter(|_| roots_shown) {
            Some(rules) => self.inquiries.observe(records, sight, rules, &self.listed, &self.seats, notices),
            None => Ok(()),
        }
    }

    fn settle(&mut self, sight: &Sight<'_>, notices: &mut Vec<Notice>) -> Result<(), MachineFault> {
        self.seats.settle(sight.roots, sight.machine, notices)?;
        if self.lone_root && sight.roots.none_recorded() {
            self.seats.make_lone(sight.chain, sight.machine)?;
        }
        Ok(())
    }

    /// Signs this seat's part of a suspension, for the operator.
    pub(crate) fn sign_suspension(
        &mut self,
        request: &SuspensionRequest<Suspended>,
        chain: &Chain,
        identity: &Identity,
        roots: &Roots,
    ) -> Result<SignedSuspension<Suspended>, SuspensionRefusal> {
        self.brake.sign(request, chain, identity, roots)
    }

    /// What the gatekeeper has for chain, workers and other gatekeepers. `registered` says that the chain knows it; `attested` is the
    /// evidence that it last made.
    pub(crate) fn outgoing(
        &self,
        chain: &Chain,
        identity: &Identity,
        roots: &Roots,
        registered: bool,
        attested: Option<&(Registration, Vec<u8>)>,
    ) -> Vec<Outgoing> {
        let mut outgoing = self.inquiries.outgoing();
        outgoing.extend(self.ceremonies.outgoing());
        outgoing.extend(self.identities.outgoing());
        outgoing.extend(self.introductions(attested));
        outgoing.extend(self.signing.outgoing());
        outgoing.extend(self.beacon.outgoing());
        let lone = self.seats.lone().filter(|_| registered && self.lone_root && roots.none_recorded());
        if let Some(seat) = lone {
            let root = seat.root_record(vec![identity.id()]);
            let signature = identity.sign(&root.signing_payload(chain.genesis()));
            outgoing.push(Outgoing::RecordRoot { root, signature });
        }
        outgoing
    }

    /// Who this gatekeeper is, for those that seal to it, with the key of each attempt that it takes part in.
    fn introductions(&self, attested: Option<&(Registration, Vec<u8>)>) -> Vec<Outgoing> {
        let Some((registration, evidence)) = attested else { return Vec::new() };
        let parts = [self.ceremonies.introduce(), self.identities.introduce()];
        let all = parts.into_iter().flatten().flat_map(|(to, announced)| to.iter().map(move |to| (to, announced)));
        let introduction = |(to, announced): (&WorkerId, &AnnouncedKey)| Outgoing::Introduce {
            to: *to,
            introduction: Introduction {
                registration: *registration,
                announced: announced.clone(),
                evidence: evidence.clone(),
                collateral: Vec::new(),
            },
        };
        all.map(introduction).collect()
    }
}

#[cfg(test)]
mod tests;
