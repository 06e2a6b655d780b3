//! This gatekeeper's part in the key ceremony under way: `phala_gatekeeper::dkg` between finalised records, the sealed store and the
//! relayer.
//!
//! Guarantees: an attempt is begun only with a seed that is sealed before, and only by a gatekeeper that the finalised record gives a
//! seat. Nothing of a turn leaves before what the turn rests on is sealed - the view of the attempt, and the seat that a confirmation
//! speaks of; what cannot be sealed does not leave. An attempt that is older than what this machine sealed, or of an era whose root is
//! recorded, is not begun again: after a start the head runs through the chain's past. The seed of an era is forgotten when its root is
//! recorded, and with it the keys under which this gatekeeper received. What fails is said once.
//!
//! The host controls when records and messages arrive and what of the sealed is put back: see `phala_gatekeeper::dkg` for what an old
//! state does. Peers control introductions and parcels; of one delivery so many are looked at.

use super::{
    arrivals::{Arrival, Arrivals},
    peers::Peers,
    seats::Seats,
    AttemptHealth, Sight,
};
use crate::{
    chain::{Chain, Records, Shown},
    listed::Listed,
    machine::{draw_secret, Machine, MachineFault},
    rules::Rules,
    tee::{DeliveryError, Notice},
};
use codec::{Decode, Encode};
use phala_crypto::Secret;
use phala_gatekeeper::{
    dkg::{Ceremony, CeremonyError, Turn, View},
    ReceivingKey,
};
use phala_protocol::{
    ceremony::{AnnouncedKey, CeremonyAttempt, CeremonyRecord, Introduction, Parcel, Phase},
    ids::BlockNumber,
    relay::{Outgoing, PlacedAttachment},
    storage, WorkerId,
};

/// What a sealed state begins with: the newest era whose root was recorded while this gatekeeper took part, and the head at which it first
/// saw the attempt. The attempt follows, if there is one.
type Preamble = (Option<u32>, BlockNumber);

/// The attempt that this gatekeeper took part in last.
struct Own {
    ceremony: Ceremony,
    /// Under which this gatekeeper receives in it. Follows from the ceremony's seed.
    receiving: ReceivingKey,
    /// The head at which it first saw the attempt.
    since: BlockNumber,
}

impl Own {
    fn new(ceremony: Ceremony, since: BlockNumber) -> Self {
        Self { receiving: ceremony.receiving(), ceremony, since }
    }
}

/// The attempt under way, as the newest record shows it.
struct UnderWay {
    health: AttemptHealth,
    /// To whom this gatekeeper introduces itself, under which key.
    introduce: (Vec<WorkerId>, AnnouncedKey),
    outgoing: Vec<Outgoing>,
}

/// The gatekeeper's part in ceremonies.
pub(super) struct Ceremonies {
    name: String,
    own: Option<Own>,
    /// Eras up to this one need no ceremony any more: the root of this one is recorded.
    over: Option<u32>,
    /// That an era is over is not sealed yet.
    unsealed: bool,
    peers: Peers,
    arrivals: Arrivals,
    under_way: Option<UnderWay>,
    /// What failed, as it was said.
    failed: Option<(u32, u32, CeremonyError)>,
    /// Which confirmation was announced in the log.
    confirmed: Option<(u32, u32)>,
}

impl Ceremonies {
    /// The attempt that this machine keeps for `chain`; none, if it keeps none or what another version kept.
    pub(super) fn open(chain: &Chain, machine: &dyn Machine) -> Result<Self, MachineFault> {
        let name = format!("ceremony-{}", chain.name());
        let kept = machine.kept(&name)?;
        let (over, own) = kept.as_ref().map_or((None, None), |bytes| {
            let mut rest = bytes.expose().as_slice();
            let Ok((over, since)) = Preamble::decode(&mut rest) else { return (None, None) };
            let state = Secret::new(rest.to_vec());
            (over, Ceremony::from_secret_bytes(&state).ok().map(|ceremony| Own::new(ceremony, since)))
        });
        Ok(Self {
            name,
            own,
            over,
            unsealed: false,
            peers: Peers::default(),
            arrivals: Arrivals::default(),
            under_way: None,
            failed: None,
            confirmed: None,
        })
    }

    pub(super) fn health(&self) -> Option<AttemptHealth> {
        self.under_way.as_ref().map(|under_way| under_way.health)
    }

    /// To whom this gatekeeper introduces itself, and under which key they seal to it.
    pub(super) fn introduce(&self) -> Option<(&[WorkerId], &AnnouncedKey)> {
        let (to, announced) = &self.under_way.as_ref()?.introduce;
        Some((to.as_slice(), announced))
    }

    /// Takes so many of each; they are looked at when the delivery's proof was, and then forgotten.
    pub(super) fn receive(
        &mut self,
        introductions: &[Introduction],
        parcels: Vec<Parcel>,
        attachments: Vec<PlacedAttachment>,
    ) {
        let Some(under_way) = self.under_way.as_ref() else { return };
        let AttemptHealth { era, attempt, index, .. } = under_way.health;
        self.peers.take(introductions);
        self.arrivals = Arrivals::of((era, attempt), index, parcels, attachments);
    }

    pub(super) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        self.peers.wanted_keys()
    }

    /// What is to be said and sent now, until a later head shows that it arrived.
    pub(super) fn outgoing(&self) -> Vec<Outgoing> {
        self.under_way.as_ref().map(|under_way| under_way.outgoing.clone()).unwrap_or_default()
    }

    /// Takes part in what the head's record says.
    pub(super) fn observe(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        rules: Option<&Rules>,
        listed: &Listed,
        seats: &mut Seats,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let arrivals = std::mem::take(&mut self.arrivals);
        let closed = self.close(sight);
        let (record, rules) = match (records.get::<CeremonyRecord>(&storage::ceremony_key())?, rules) {
            (Shown::Absent, _) => {
                self.leave();
                return closed.map_err(DeliveryError::from);
            }
            (Shown::Value(record), Some(rules)) => (record, rules),
            (Shown::Nothing, _) | (Shown::Value(_), None) => return closed.map_err(DeliveryError::from),
        };
        // Until everything that it rests on is sealed, nothing of this turn is there to leave.
        let before = self.under_way.take();
        let Some(index) = record.index_of(&sight.identity.id()) else {
            self.leave();
            return closed.map_err(DeliveryError::from);
        };
        closed?;
        if self.is_past(&record, seats) {
            self.leave();
            return Ok(());
        }
        if let Err(error) = self.begin(&record, sight, notices)? {
            self.fail(&record, error, notices);
            return Ok(());
        }
        let Some(since) = self.own.as_ref().map(|own| own.since) else { return Ok(()) };
        let current = (record.era, record.attempt);
        if before.is_none_or(|before| (before.health.era, before.health.attempt) != current) {
            let others = record.seats.iter().map(|seat| seat.gatekeeper).filter(|other| *other != sight.identity.id());
            self.peers.begin(CeremonyAttempt::root(record.era, record.attempt), others);
        }
        let complained = record.seats.iter().filter_map(|seat| Some((seat.gatekeeper, seat.key?)));
        self.peers.note_complaints(complained);
        self.peers.observe(records, sight, rules, listed, since, notices)?;
        match self.turn(&record, sight, rules, &arrivals)? {
            Ok(turn) => self.seal_and_say(&record, index, turn, sight, seats, notices),
            Err(error) => {
                self.fail(&record, error, notices);
                Ok(())
            }
        }
    }

    /// Forgets the seed of an era whose root is recorded, and everything else of its ceremony.
    fn close(&mut self, sight: &Sight<'_>) -> Result<(), MachineFault> {
        let Some(era) = sight.roots.coming_era() else { return Ok(()) };
        self.over = self.over.max(Some(era));
        if self.own.as_ref().is_some_and(|own| own.ceremony.attempt().0 <= era) {
            self.own = None;
            self.unsealed = true;
            self.leave();
        }
        if self.unsealed {
            let preamble: Preamble = (self.over, 0);
            // What stood there held the seed.
            sight.machine.forget(&self.name)?;
            sight.machine.keep(&self.name, &Secret::new(preamble.encode()))?;
            self.unsealed = false;
        }
        Ok(())
    }

    /// No attempt is under way, or none of this gatekeeper's.
    fn leave(&mut self) {
        self.under_way = None;
        self.peers = Peers::default();
    }

    fn fail(&mut self, record: &CeremonyRecord, error: CeremonyError, notices: &mut Vec<Notice>) {
        self.leave();
        let (era, attempt) = (record.era, record.attempt);
        if self.failed.replace((era, attempt, error)) != Some((era, attempt, error)) {
            notices.push(Notice::CeremonyFailed { era, attempt, error });
        }
    }

    /// Whether the record is of an attempt that is over as far as this machine knows: the head that shows it is of the past.
    fn is_past(&self, record: &CeremonyRecord, seats: &Seats) -> bool {
        let current = (record.era, record.attempt);
        let own = self.own.as_ref().map(|own| own.ceremony.attempt());
        self.over.is_some_and(|over| record.era <= over)
            || own.is_some_and(|own| current < own)
            || seats.is_past(record.era, record.attempt)
            // The seat is here, and what made it is forgotten.
            || (own != Some(current) && seats.made_in(record.era, record.attempt))
    }

    /// Begins the attempt of the record, or goes on with it. What it draws is sealed when this returns.
    fn begin(
        &mut self,
        record: &CeremonyRecord,
        sight: &Sight<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<Result<(), CeremonyError>, MachineFault> {
        let (era, attempt) = (record.era, record.attempt);
        if self.own.as_ref().is_some_and(|own| own.ceremony.attempt() == (era, attempt)) {
            return Ok(Ok(()));
        }
        let id = sight.identity.id();
        let known = self.own.as_ref().filter(|own| own.ceremony.attempt().0 == era);
        let begun = match known {
            Some(own) => own.ceremony.begin_next(&id, record),
            None => match too_late(record, &id) {
                Some(error) => return Ok(Err(error)),
                None => Ceremony::begin(sight.chain.genesis(), &id, &draw_secret(sight.machine)?, record),
            },
        };
        let ceremony = match begun {
            Ok(ceremony) => ceremony,
            Err(error) => return Ok(Err(error)),
        };
        let own = Own::new(ceremony, sight.chain.head().0);
        self.seal(&own, sight.machine)?;
        notices.push(Notice::CeremonyBegun { era, attempt, index: own.ceremony.index() });
        self.own = Some(own);
        Ok(Ok(()))
    }

    fn seal(&self, own: &Own, machine: &dyn Machine) -> Result<(), MachineFault> {
        let preamble: Preamble = (self.over, own.since);
        let (preamble, state) = (preamble.encode(), own.ceremony.to_secret_bytes());
        // With its full length, so that growing leaves no copy behind.
        let mut bytes = Vec::with_capacity(preamble.len().saturating_add(state.expose().len()));
        bytes.extend_from_slice(&preamble);
        bytes.extend_from_slice(state.expose());
        machine.keep(&self.name, &Secret::new(bytes))
    }

    /// Takes what arrived, and looks at the record with it. The record comes first: it says whose packages are taken.
    fn turn(
        &mut self,
        record: &CeremonyRecord,
        sight: &Sight<'_>,
        rules: &Rules,
        arrivals: &Arrivals,
    ) -> Result<Result<Turn, CeremonyError>, MachineFault> {
        let entropy = draw_secret(sight.machine)?;
        let Some(Own { ceremony, receiving, since }) = self.own.as_mut() else {
            return Ok(Err(CeremonyError::NoSeat));
        };
        let mut view = View {
            record,
            head: sight.chain.head().0,
            now: rules.now,
            since: *since,
            identity: sight.identity.signing(),
            receiving,
            peers: self.peers.verified(),
            entropy: &entropy,
        };
        let first = ceremony.step(&view);
        if first.is_err() || arrivals.is_empty() {
            return Ok(first);
        }
        // What these refuse changes nothing; what has to be said of it the next step says.
        for arrival in arrivals.iter() {
            let _ = match arrival {
                Arrival::Parcel(parcel) => ceremony.accept(view.receiving, parcel),
                Arrival::Package(dealer, bytes) => ceremony.accept_package(dealer, bytes),
            };
        }
        let entropy = draw_secret(sight.machine)?;
        view.entropy = &entropy;
        Ok(ceremony.step(&view))
    }

    /// Seals what the turn rests on, and only then has something to say.
    fn seal_and_say(
        &mut self,
        record: &CeremonyRecord,
        index: u16,
        turn: Turn,
        sight: &Sight<'_>,
        seats: &mut Seats,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let (era, attempt) = (record.era, record.attempt);
        if let Some(seat) = self.own.as_ref().and_then(|own| own.ceremony.seat()) {
            seats.keep(attempt, seat, sight.machine)?;
            if self.confirmed.replace((era, attempt)) != Some((era, attempt)) {
                notices.push(Notice::CeremonyConfirmed { era, attempt });
            }
        }
        if turn.seal_first {
            if let Some(own) = self.own.as_ref() {
                self.seal(own, sight.machine)?;
            }
            if let Some(own) = self.own.as_mut() {
                own.ceremony.mark_sealed();
            }
        }
        let confirmed = record.seat(index).is_some_and(|seat| seat.confirmed.is_some());
        // Whoever owes this seat something seals to whom it verified; nothing is owed to it once it has confirmed.
        let others = record.participants().filter(|other| *other != index && !confirmed);
        let introduce = others.filter_map(|other| Some(record.seat(other)?.gatekeeper)).collect();
        let Some(own) = self.own.as_ref() else { return Ok(()) };
        let announced = own.receiving.announce(sight.identity.signing());
        let mut outgoing: Vec<_> = turn.statements.into_iter().map(Outgoing::State).collect();
        let attached = turn.attached.into_iter();
        outgoing.extend(attached.map(|(statement, attachment)| Outgoing::StateWith { statement, attachment }));
        let posted = turn.parcels.into_iter();
        outgoing.extend(posted.filter_map(|parcel| {
            let to = record.seat(parcel.header.to)?.gatekeeper;
            Some(Outgoing::Post { to, parcel })
        }));
        let health = AttemptHealth { era, attempt, index, phase: record.phase, confirmed };
        self.under_way = Some(UnderWay { health, introduce: (introduce, announced), outgoing });
        Ok(())
    }
}

/// Why no seed is drawn for this attempt any more: the chain holds another package of this gatekeeper, or takes none.
fn too_late(record: &CeremonyRecord, gatekeeper: &WorkerId) -> Option<CeremonyError> {
    let seat = record.seats.iter().find(|seat| seat.gatekeeper == *gatekeeper)?;
    if let Some(fault) = seat.left_out {
        return Some(CeremonyError::LeftOut(fault));
    }
    match (seat.package, record.phase) {
        (Some(_), _) => Some(CeremonyError::Foreign),
        (None, Phase::Commit) => None,
        (None, _) => Some(CeremonyError::NotCommitted),
    }
}
