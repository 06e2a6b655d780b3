//! This gatekeeper's part in the ceremony of identities under way: `phala_gatekeeper::identity::ceremony` between finalised records, the
//! sealed store and the relayer.
//!
//! A gatekeeper deals, receives, or both: where keys are made every seat does both, where they are handed over those who hold them deal and
//! the next set receives.
//!
//! Guarantees: the ceremony's record and that of identities are of one proof. Nobody deals but with a seed that is sealed before, drawn
//! once a ceremony, and where keys are handed over with shares of the very record that the head shows. What is sealed to this gatekeeper is so
//! under a key of the attempt, which follows from another seed, drawn for each and sealed before. Nothing of a turn leaves before
//! what it rests on is sealed - both parts' state, and the shares that a confirmation speaks of. An attempt that is older than the newest
//! that this machine sealed, or of an era whose record was seen, is not begun again: after a start the head runs through the chain's
//! past. What fails is said once.
//!
//! What an attempt keeps - both seeds, dealer and holder - is gone, in memory and then on the disk, which is tried until it obeys,
//!
//! - with the head that shows the record of identities of its era or a later one;
//! - with the head that shows that no ceremony of its era is under way any more;
//! - but for the dealer's seed, with the head that shows a later attempt of its era.
//!
//! Of the latter two a head says nothing that is older than the attempt. With them go the shares that the attempt gave, unless the chain has
//! their record: of keys that are handed over they would sign as well as those that count.
//!
//! The host controls when records and messages arrive and what of the sealed is put back: see `phala_gatekeeper::identity::ceremony` for
//! what an old state does. Others control introductions and parcels; of one delivery so many are looked at. Does not: show the chain a
//! record in which this gatekeeper has no share, nor finish an attempt of which its machine lost the seed.

use super::{
    arrivals::{Arrival, Arrivals},
    custodian::Custodian,
    peers::Peers,
    Sight,
};
use crate::{
    chain::{Chain, Records, Shown},
    listed::Listed,
    machine::{draw_secret, Machine, MachineFault},
    rules::Rules,
    tee::{DeliveryError, Notice},
};
use phala_crypto::Secret;
use phala_gatekeeper::identity::{
    ceremony::{CeremonyError, Dealer, Holder, Turn, View},
    Held, IdentityShares,
};
use phala_protocol::{
    ceremony::{AnnouncedKey, CeremonyAttempt, Introduction, Parcel, Phase},
    identities::{IdentityCeremonyRecord, IdentityRecord},
    relay::{Outgoing, PlacedAttachment},
    storage, WorkerId,
};
use std::collections::BTreeMap;

mod kept;

use kept::{Own, Part, ReceivingSeed};

/// As what a gatekeeper takes part in a ceremony of identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityPart {
    /// It deals.
    Dealer,
    /// It receives shares.
    Holder,
}

/// An attempt of a ceremony of identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityAttemptHealth {
    /// The era whose set receives the keys.
    pub era: u32,
    /// The attempt.
    pub attempt: u32,
    /// The gatekeeper's index among dealers, from 1, if it deals.
    pub dealer: Option<u16>,
    /// The gatekeeper's index among those who receive, from 1, if it does.
    pub holder: Option<u16>,
    /// Where the attempt stands.
    pub phase: Phase,
    /// Whether the chain has this gatekeeper's confirmation.
    pub confirmed: bool,
}

/// The attempt under way, as the newest records show it.
struct UnderWay {
    health: IdentityAttemptHealth,
    /// To whom this gatekeeper introduces itself, under which key; nobody if it receives nothing.
    introduce: Option<(Vec<WorkerId>, AnnouncedKey)>,
    outgoing: Vec<Outgoing>,
}

/// What the two parts say after a look at the chain, those that this gatekeeper has.
struct Turns {
    dealt: Option<Result<Turn, CeremonyError>>,
    received: Option<Result<Turn, CeremonyError>>,
}

/// The gatekeeper's part in ceremonies of identities.
pub(super) struct Identities {
    name: String,
    own: Option<Own>,
    /// The newest attempt that it took part in, era and attempt.
    newest: Option<(u32, u32)>,
    /// Eras up to this one need no ceremony any more: the chain had the record of this one.
    over: Option<u32>,
    /// That something was dropped is not on the disk yet.
    unsealed: bool,
    peers: Peers,
    arrivals: Arrivals,
    under_way: Option<UnderWay>,
    /// What failed, as it was said.
    failed: BTreeMap<IdentityPart, (u32, u32, CeremonyError)>,
    /// Which confirmation was announced in the log.
    confirmed: Option<(u32, u32)>,
}

impl Identities {
    /// What this machine keeps for `chain`; nothing, if it keeps nothing or what another version kept. `held` are the shares that it has.
    pub(super) fn open(chain: &Chain, machine: &dyn Machine, held: Option<&Held>) -> Result<Self, MachineFault> {
        let name = format!("identities-{}", chain.name());
        let kept::Kept { over, newest, own } = kept::read(machine.kept(&name)?, chain.genesis());
        Ok(Self {
            name,
            own,
            newest,
            // A machine may have stopped between the two.
            over: over.max(held.map(|held| held.record().era)),
            unsealed: false,
            peers: Peers::default(),
            arrivals: Arrivals::default(),
            under_way: None,
            failed: BTreeMap::new(),
            confirmed: None,
        })
    }

    pub(super) fn health(&self) -> Option<IdentityAttemptHealth> {
        self.under_way.as_ref().map(|under_way| under_way.health)
    }

    /// To whom this gatekeeper introduces itself, and under which key they seal to it.
    pub(super) fn introduce(&self) -> Option<(&[WorkerId], &AnnouncedKey)> {
        let (to, announced) = self.under_way.as_ref()?.introduce.as_ref()?;
        Some((to.as_slice(), announced))
    }

    /// Takes so many of each; they are looked at when the delivery's proof was, and then forgotten.
    pub(super) fn receive(
        &mut self,
        introductions: &[Introduction],
        parcels: Vec<Parcel>,
        attachments: Vec<PlacedAttachment>,
    ) {
        let Some(IdentityAttemptHealth { era, attempt, holder, .. }) = self.health() else { return };
        self.peers.take(introductions);
        if let Some(index) = holder {
            self.arrivals = Arrivals::of((era, attempt), index, parcels, attachments);
        }
    }

    pub(super) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        let mut keys = vec![storage::identity_key(), storage::identity_ceremony_key()];
        keys.extend(self.peers.wanted_keys());
        keys
    }

    /// What is to be said and sent now, until a later head shows that it arrived.
    pub(super) fn outgoing(&self) -> Vec<Outgoing> {
        self.under_way.as_ref().map(|under_way| under_way.outgoing.clone()).unwrap_or_default()
    }

    /// Takes part in what the head's records say. The custodian has looked at them before.
    pub(super) fn observe(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        rules: Option<&Rules>,
        listed: &Listed,
        custodian: &mut Custodian,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let arrivals = std::mem::take(&mut self.arrivals);
        let identities = records.get::<IdentityRecord>(&storage::identity_key())?;
        let ceremony = records.get::<IdentityCeremonyRecord>(&storage::identity_ceremony_key())?;
        let closed = self.close(&identities, &ceremony, sight, custodian);
        let (former, record, rules) = match (identities, ceremony, rules) {
            (_, Shown::Absent, _) => {
                self.leave();
                return closed.map_err(DeliveryError::from);
            }
            (Shown::Absent, Shown::Value(record), Some(rules)) => (None, record, rules),
            (Shown::Value(former), Shown::Value(record), Some(rules)) => (Some(former), record, rules),
            (Shown::Nothing, ..) | (_, Shown::Nothing, _) | (_, _, None) => return closed.map_err(DeliveryError::from),
        };
        // Until everything that it rests on is sealed, nothing of this turn is there to leave.
        let before = self.under_way.take();
        closed?;
        let place = (record.era, record.attempt);
        if self.is_past(place) {
            self.leave();
            return Ok(());
        }
        self.begin(&record, former.as_ref(), custodian.held(), sight, notices)?;
        let Some(since) = self.own.as_ref().filter(|own| own.place == place).map(|own| own.since) else {
            self.leave();
            return Ok(());
        };
        if before.is_none_or(|before| (before.health.era, before.health.attempt) != place) {
            self.peers.begin(attempt_of(place), sealed_to(&record, &sight.identity.id()));
        }
        let complained = record.holders.iter().filter_map(|holder| Some((holder.gatekeeper, holder.key?)));
        self.peers.note_complaints(complained);
        self.peers.observe(records, sight, rules, listed, since, notices)?;
        let turns = self.turn(&record, sight, rules, &arrivals)?;
        self.seal_and_say(&record, turns, custodian, sight, notices)
    }

    /// Drops what is of a ceremony that is over, and the shares that an attempt gave which came to nothing.
    fn close(
        &mut self,
        identities: &Shown<IdentityRecord>,
        ceremony: &Shown<IdentityCeremonyRecord>,
        sight: &Sight<'_>,
        custodian: &mut Custodian,
    ) -> Result<(), MachineFault> {
        if let Shown::Value(record) = identities {
            self.over = self.over.max(Some(record.era));
        }
        let head = sight.chain.head().0;
        let (mut ended, mut given_up) = (false, false);
        // Before that the head is of the past, when the ceremony had not begun. Without the other record it says nothing of how it ended.
        let own = self.own.as_ref().filter(|own| head >= own.since && *identities != Shown::Nothing);
        if let Some(own) = own {
            (ended, given_up) = match ceremony {
                Shown::Nothing => (false, false),
                Shown::Absent => (true, true),
                Shown::Value(record) => {
                    let followed = (record.era, record.attempt) > own.place;
                    // A seed is of the era's later attempts too.
                    (record.era > own.place.0 || (followed && own.seed.is_none()), followed)
                }
            };
        }
        // What the chain has the record of the custodian has taken before; an attempt's number is not used again.
        if given_up {
            custodian.give_up();
        }
        let recorded = self.own.as_ref().zip(self.over).is_some_and(|(own, over)| own.place.0 <= over);
        if ended || recorded {
            self.own = None;
            self.unsealed = true;
            self.leave();
        }
        // First: what is kept here says of which attempt those shares are.
        custodian.settle_given_up(sight.machine)?;
        if self.unsealed {
            // What stood there held the seed. Forgetting takes no room on a full disk.
            sight.machine.forget(&self.name)?;
            self.seal(None, sight.machine)?;
            self.unsealed = false;
        }
        Ok(())
    }

    /// No attempt is under way, or none of this gatekeeper's.
    fn leave(&mut self) {
        self.under_way = None;
        self.peers = Peers::default();
    }

    fn fail(&mut self, place: (u32, u32), part: IdentityPart, error: CeremonyError, notices: &mut Vec<Notice>) {
        let (era, attempt) = place;
        if self.failed.insert(part, (era, attempt, error)) != Some((era, attempt, error)) {
            notices.push(Notice::IdentitiesFailed { era, attempt, part, error });
        }
    }

    /// Whether an attempt is over as far as this machine knows: the head that shows it is of the past.
    fn is_past(&self, place: (u32, u32)) -> bool {
        self.over.is_some_and(|over| place.0 <= over)
            || self.newest.is_some_and(|newest| place < newest)
            // It was dropped.
            || (self.own.is_none() && self.newest == Some(place))
    }

    /// Begins this gatekeeper's parts of the attempt, or goes on with them. What it draws is sealed before anything is made of it.
    fn begin(
        &mut self,
        record: &IdentityCeremonyRecord,
        former: Option<&IdentityRecord>,
        held: Option<&Held>,
        sight: &Sight<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), MachineFault> {
        let (place, id, genesis) = ((record.era, record.attempt), sight.identity.id(), sight.chain.genesis());
        let shares = former.and_then(|former| Some(held.filter(|held| held.record() == former)?.shares()));
        let (receives, mut begun) = (record.holder_index(&id).is_some(), false);
        if self.own.as_ref().is_none_or(|own| own.place != place) {
            let same_era = self.own.as_ref().filter(|own| own.place.0 == record.era);
            let mut seed = same_era.and_then(|own| own.seed.as_ref()).map(copied);
            match may_deal(record, &id, shares, seed.is_some()) {
                Ok(true) if seed.is_none() => seed = Some(draw_secret(sight.machine)?),
                Ok(_) => {}
                Err(error) => self.fail(place, IdentityPart::Dealer, error, notices),
            }
            if seed.is_none() && !receives {
                return Ok(());
            }
            let receiving = ReceivingSeed::new(draw_secret(sight.machine)?, genesis, attempt_of(place));
            let since = sight.chain.head().0;
            let own = Own { place, since, seed, receiving, dealer: Part::None, holder: Part::None };
            self.seal(Some(&own), sight.machine)?;
            (self.own, self.newest, begun) = (Some(own), Some(place), true);
        }
        let Some(own) = self.own.as_mut() else { return Ok(()) };
        let (mut deals, mut holds) = (Ok(()), Ok(()));
        if let (Some(seed), true) = (own.seed.as_ref(), own.dealer.live().is_none()) {
            let begin = || Dealer::begin(genesis, &id, seed, record, former, shares);
            deals = match may_deal(record, &id, shares, true) {
                Ok(true) => own
                    .dealer
                    .wake(begin, |bytes| Dealer::from_secret_bytes(bytes, genesis, &id, record, former, shares)),
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if receives {
            let begin = || Holder::begin(genesis, &id, record, former);
            holds = own.holder.wake(begin, |bytes| Holder::from_secret_bytes(bytes, genesis, &id, record, former));
        }
        let (dealer, holder) = (own.dealer.live().map(Dealer::index), own.holder.live().map(Holder::index));
        for (part, failed) in [(IdentityPart::Dealer, deals.err()), (IdentityPart::Holder, holds.err())] {
            if let Some(error) = failed {
                self.fail(place, part, error, notices);
            }
        }
        if begun {
            let (era, attempt) = place;
            notices.push(Notice::IdentitiesBegun { era, attempt, dealer, holder });
        }
        Ok(())
    }

    fn seal(&self, own: Option<&Own>, machine: &dyn Machine) -> Result<(), MachineFault> {
        let newest = own.map(|own| own.place).or(self.newest);
        machine.keep(&self.name, &kept::written(self.over, newest, own))
    }

    /// Takes what arrived, and looks at the record with it. The record comes first: it says whose packages are taken.
    fn turn(
        &mut self,
        record: &IdentityCeremonyRecord,
        sight: &Sight<'_>,
        rules: &Rules,
        arrivals: &Arrivals,
    ) -> Result<Turns, MachineFault> {
        let entropy = draw_secret(sight.machine)?;
        let Some(Own { since, receiving, dealer, holder, .. }) = self.own.as_mut() else {
            return Ok(Turns { dealt: None, received: None });
        };
        let view = View {
            record,
            head: sight.chain.head().0,
            now: rules.now,
            since: *since,
            identity: sight.identity.signing(),
            receiving: receiving.key(),
            peers: self.peers.verified(),
            entropy: &entropy,
        };
        let dealt = dealer.live_mut().map(|dealer| dealer.step(&view));
        let dealer = dealer.live();
        let received = holder.live_mut().map(|holder| {
            let first = holder.step(&view, dealer);
            if first.is_err() || arrivals.is_empty() {
                return first;
            }
            // What these refuse changes nothing; what has to be said of it the next step says.
            for arrival in arrivals.iter() {
                let _ = match arrival {
                    Arrival::Parcel(parcel) => holder.accept(view.receiving, parcel),
                    Arrival::Package(dealer, bytes) => holder.accept_package(dealer, bytes),
                };
            }
            holder.step(&view, dealer)
        });
        Ok(Turns { dealt, received })
    }

    /// What a part has to say, unless it failed.
    fn judged(
        &mut self,
        place: (u32, u32),
        part: IdentityPart,
        said: Option<Result<Turn, CeremonyError>>,
        notices: &mut Vec<Notice>,
    ) -> Option<Turn> {
        match said? {
            Ok(turn) => Some(turn),
            Err(error) => {
                self.fail(place, part, error, notices);
                None
            }
        }
    }

    /// Seals what the turns rest on, and only then has something to say.
    fn seal_and_say(
        &mut self,
        record: &IdentityCeremonyRecord,
        turns: Turns,
        custodian: &mut Custodian,
        sight: &Sight<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let (era, attempt) = (record.era, record.attempt);
        let place = (era, attempt);
        let dealt = self.judged(place, IdentityPart::Dealer, turns.dealt, notices);
        let mut received = self.judged(place, IdentityPart::Holder, turns.received, notices);
        let Some(own) = self.own.as_ref() else { return Ok(()) };
        let outcome = received.as_ref().and_then(|_| own.holder.live()?.outcome());
        let kept = outcome.map(|outcome| custodian.expect(outcome, sight.machine)).transpose()?;
        let agreed = outcome.filter(|outcome| record.agreed == Some(outcome.record.hash()));
        let shown = agreed.map(|outcome| Outgoing::ShowIdentities(outcome.record.clone()));
        if matches!(kept, Some(Ok(()))) && self.confirmed.replace(place) != Some(place) {
            notices.push(Notice::IdentitiesConfirmed { era, attempt });
        }
        // A record and shares that do not fit each other, which no ceremony gives.
        if matches!(kept, Some(Err(_))) {
            received = None;
            self.fail(place, IdentityPart::Holder, CeremonyError::Failed, notices);
        }
        if [&dealt, &received].into_iter().flatten().any(|turn| turn.seal_first) {
            self.seal(self.own.as_ref(), sight.machine)?;
            self.own.iter_mut().for_each(Own::mark_sealed);
        }
        if dealt.is_none() && received.is_none() {
            self.leave();
            return Ok(());
        }
        let id = sight.identity.id();
        let dealer = dealt.as_ref().and_then(|_| record.dealer_index(&id));
        let holder = received.as_ref().and_then(|_| record.holder_index(&id));
        let confirmed = holder.and_then(|index| record.holder(index)?.confirmed).is_some();
        // Whoever deals seals to whom it verified; nothing is owed to a holder once it has confirmed.
        let owing = record.dealing().filter(|_| holder.is_some() && !confirmed).map(|dealer| dealer.gatekeeper);
        let owing: Vec<WorkerId> = owing.filter(|dealer| *dealer != id).collect();
        let key = self.own.as_ref().map(|own| own.receiving.key());
        let introduce = key.map(|key| (owing, key.announce(sight.identity.signing())));
        let mut outgoing: Vec<Outgoing> = shown.filter(|_| received.is_some()).into_iter().collect();
        for Turn { statements, parcels, .. } in [dealt, received].into_iter().flatten() {
            let statements = statements.into_iter();
            outgoing
                .extend(statements.map(|(statement, attachment)| Outgoing::StateIdentity { statement, attachment }));
            outgoing.extend(parcels.into_iter().filter_map(|parcel| {
                let to = record.holder(parcel.header.to)?.gatekeeper;
                Some(Outgoing::Post { to, parcel })
            }));
        }
        let health = IdentityAttemptHealth { era, attempt, dealer, holder, phase: record.phase, confirmed };
        self.under_way = Some(UnderWay { health, introduce, outgoing });
        Ok(())
    }
}

/// Whether this gatekeeper deals in the attempt; an error says why one that should does not. Where keys are handed over that takes its
/// `shares` of them. Whoever does not know the seed draws none when the chain holds its package, or takes none any more.
fn may_deal(
    record: &IdentityCeremonyRecord,
    gatekeeper: &WorkerId,
    shares: Option<&IdentityShares>,
    knows_seed: bool,
) -> Result<bool, CeremonyError> {
    let Some(dealer) = record.dealers.iter().find(|dealer| dealer.gatekeeper == *gatekeeper) else {
        return Ok(false);
    };
    if let Some(fault) = dealer.left_out {
        return Err(CeremonyError::LeftOut(fault));
    }
    if record.former.is_some() && shares.is_none() {
        return Err(CeremonyError::NoShares);
    }
    match (knows_seed, dealer.package, record.phase) {
        (true, ..) | (false, None, Phase::Commit) => Ok(true),
        (false, Some(_), _) => Err(CeremonyError::Foreign),
        (false, None, _) => Ok(false),
    }
}

/// Whom this gatekeeper seals shares to, if it deals.
fn sealed_to(record: &IdentityCeremonyRecord, gatekeeper: &WorkerId) -> Vec<WorkerId> {
    if record.dealer_index(gatekeeper).is_none() {
        return Vec::new();
    }
    let holders = record.receiving().map(|(_, holder)| holder.gatekeeper);
    holders.filter(|holder| holder != gatekeeper).collect()
}

/// The attempt of this era and number.
fn attempt_of((era, attempt): (u32, u32)) -> CeremonyAttempt {
    CeremonyAttempt::identities(era, attempt)
}

fn copied(seed: &Secret<[u8; 32]>) -> Secret<[u8; 32]> {
    Secret::fill(|bytes| bytes.copy_from_slice(seed.expose()))
}
