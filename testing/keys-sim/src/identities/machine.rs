//! One gatekeeper's machine in ceremonies of identities: custody of its shares, and the real dealer and holder between finalised records and its
//! disk, in the order in which `phala-core` drives them.
//!
//! Guarantees: the chain's record is looked at before the ceremony; a seed is drawn once for a ceremony and an attempt is never begun that is
//! older than the newest of the disk; shares are kept before they are confirmed, and everything is on the disk before anything of a turn
//! leaves; what an attempt gave that came to nothing is dropped. INSECURE: the disk is in clear, and what was ever on it stays in the host's
//! hands.

use super::chain::{place_of, Place};
use crate::members::{Members, Peers, GENESIS, NOW};
use phala_crypto::Secret;
use phala_gatekeeper::identity::{
    ceremony::{CeremonyError, Dealer, Holder, Turn, View},
    Custody,
};
use phala_protocol::{
    ceremony::{Attachment, CeremonyAttempt, Parcel},
    identities::{IdentityCeremonyRecord, IdentityRecord},
    ids::BlockNumber,
    WorkerId,
};

/// What a machine has of the ceremony under way.
struct Own {
    place: Place,
    seed: [u8; 32],
    dealer: Option<Dealer>,
    holder: Option<Holder>,
}

/// The same as it is sealed.
#[derive(Clone)]
struct Sealed {
    place: Place,
    seed: [u8; 32],
    dealer: Option<Vec<u8>>,
    holder: Option<Vec<u8>>,
}

/// What a machine sees and draws.
pub(super) struct Sight<'a> {
    pub members: &'a Members,
    pub peers: &'a Peers,
    pub head: BlockNumber,
    pub identities: Option<&'a IdentityRecord>,
    pub ceremony: Option<&'a IdentityCeremonyRecord>,
    /// What it draws if it begins a ceremony, and for its turn.
    pub drawn: [[u8; 32]; 2],
}

/// What a machine says and sends after a look, and the record that it confirms.
#[derive(Default)]
pub(super) struct Looked {
    pub turns: Vec<Turn>,
    pub record: Option<IdentityRecord>,
}

/// A machine.
pub(super) struct Machine {
    /// Its gatekeeper's number among the members.
    pub number: u16,
    pub id: WorkerId,
    pub up: bool,
    /// The newest head that it looked at.
    pub head: BlockNumber,
    /// Whether it follows the chain from an old disk.
    pub behind: bool,
    /// The newest attempt in which it confirmed.
    pub confirmed: Option<Place>,
    pub custody: Custody,
    own: Option<Own>,
    /// What is on the disk and was not looked at yet.
    asleep: Option<Sealed>,
    /// All of the ceremony under way that was ever sealed, with the head.
    disk: Vec<(BlockNumber, Sealed)>,
    /// All that was ever sealed of its custody.
    custodies: Vec<Vec<u8>>,
}

impl Machine {
    pub(super) fn new(members: &Members, number: u16) -> Self {
        Self {
            number,
            id: WorkerId(members.identity(number).public()),
            up: true,
            head: 0,
            behind: false,
            confirmed: None,
            custody: Custody::default(),
            own: None,
            asleep: None,
            disk: Vec::new(),
            custodies: Vec::new(),
        }
    }

    fn place(&self) -> Option<Place> {
        self.own.as_ref().map(|own| own.place).or(self.asleep.as_ref().map(|sealed| sealed.place))
    }

    /// Looks at a head.
    pub(super) fn look(&mut self, sight: &Sight<'_>) -> Result<Looked, CeremonyError> {
        self.head = sight.head;
        if let Some(record) = sight.identities {
            // What it changed is on the disk with the rest.
            let _ = self.custody.observe(&self.id, record);
        }
        let Some(record) = sight.ceremony else {
            self.custody.give_up();
            (self.own, self.asleep) = (None, None);
            self.disk.clear();
            self.seal();
            return Ok(Looked::default());
        };
        let place = place_of(record);
        if self.place().is_some_and(|own| own > place) {
            // A head of the past.
            return Ok(Looked::default());
        }
        if self.place().is_some_and(|own| own < place) {
            self.custody.give_up();
        }
        self.begin(sight, record)?;
        let looked = self.turn(sight, record);
        self.seal();
        looked
    }

    /// Begins its parts of the attempt, or goes on with them.
    fn begin(&mut self, sight: &Sight<'_>, record: &IdentityCeremonyRecord) -> Result<(), CeremonyError> {
        let place = place_of(record);
        if self.own.as_ref().is_some_and(|own| own.place == place) {
            return Ok(());
        }
        let same_era = |(era, _): Place| era == record.era;
        let own = self.own.take().map(|own| (own.place, own.seed));
        let asleep = self.asleep.take();
        let known = own.or(asleep.as_ref().map(|sealed| (sealed.place, sealed.seed)));
        let known = known.filter(|(place, _)| same_era(*place));
        if known.is_none() {
            self.disk.clear();
        }
        let seed = known.map_or(sight.drawn[0], |(_, seed)| seed);
        let asleep = asleep.filter(|sealed| sealed.place == place);
        let former = sight.identities.filter(|_| record.former.is_some());
        let held = self.custody.held().filter(|held| Some(held.record()) == former);
        let (id, shares) = (&self.id, held.map(|held| held.shares()));
        // Who has no shares of what is handed over does not deal.
        let deals = record.dealer_index(id).is_some() && (former.is_none() || shares.is_some());
        let dealer = match asleep.as_ref().and_then(|sealed| sealed.dealer.clone()) {
            _ if !deals => None,
            Some(bytes) => Some(Dealer::from_secret_bytes(&Secret::new(bytes), &GENESIS, id, record, former, shares)?),
            None => Some(Dealer::begin(&GENESIS, id, &Secret::new(seed), record, former, shares)?),
        };
        let holder = match asleep.and_then(|sealed| sealed.holder) {
            _ if record.holder_index(id).is_none() => None,
            Some(bytes) => Some(Holder::from_secret_bytes(&Secret::new(bytes), &GENESIS, id, record, former)?),
            None => Some(Holder::begin(&GENESIS, id, record, former)?),
        };
        self.own = Some(Own { place, seed, dealer, holder });
        Ok(())
    }

    fn turn(&mut self, sight: &Sight<'_>, record: &IdentityCeremonyRecord) -> Result<Looked, CeremonyError> {
        let of = CeremonyAttempt::identities(record.era, record.attempt);
        let receiving = sight.members.receiving(self.number, of);
        let entropy = Secret::new(sight.drawn[1]);
        let view = View {
            record,
            head: sight.head,
            now: NOW,
            since: 0,
            identity: sight.members.identity(self.number),
            receiving: &receiving,
            peers: sight.peers,
            entropy: &entropy,
        };
        let mut looked = Looked::default();
        let Some(Own { dealer, holder, .. }) = self.own.as_mut() else { return Ok(looked) };
        match dealer.as_mut().map(|dealer| dealer.step(&view)) {
            Some(Ok(turn)) => looked.turns.push(turn),
            None | Some(Err(CeremonyError::LeftOut(_))) => {}
            Some(Err(error)) => return Err(error),
        }
        match holder.as_mut().map(|holder| holder.step(&view, dealer.as_ref())) {
            Some(Ok(turn)) => looked.turns.push(turn),
            None | Some(Err(CeremonyError::LeftOut(_))) => return Ok(looked),
            Some(Err(error)) => return Err(error),
        }
        if let Some(outcome) = holder.as_ref().and_then(Holder::outcome) {
            if !self.custody.expects(&outcome.record) {
                self.custody.expect(outcome).map_err(|_| CeremonyError::Failed)?;
            }
            looked.record = Some(outcome.record.clone());
        }
        Ok(looked)
    }

    /// Everything is on the disk.
    pub(super) fn seal(&mut self) {
        self.custodies.push(self.custody.to_secret_bytes().expose().clone());
        let Some(own) = self.own.as_mut() else { return };
        let bytes = |bytes: Secret<Vec<u8>>| bytes.expose().clone();
        let dealer = own.dealer.as_ref().map(|dealer| bytes(dealer.to_secret_bytes()));
        let holder = own.holder.as_ref().map(|holder| bytes(holder.to_secret_bytes()));
        self.disk.push((self.head, Sealed { place: own.place, seed: own.seed, dealer, holder }));
        own.dealer.iter_mut().for_each(Dealer::mark_sealed);
        own.holder.iter_mut().for_each(Holder::mark_sealed);
    }

    /// A parcel arrives. Says whether it was taken.
    pub(super) fn receive(&mut self, members: &Members, parcel: &Parcel) -> bool {
        let up = self.up;
        let Some(own) = self.own.as_mut().filter(|_| up) else { return false };
        let receiving = members.receiving(self.number, CeremonyAttempt::identities(own.place.0, own.place.1));
        own.holder.as_mut().is_some_and(|holder| holder.accept(&receiving, parcel).is_ok())
    }

    /// Its host shows it what stands on chain beside a statement in an attempt.
    pub(super) fn read(&mut self, members: &Members, place: Place, speaker: u16, beside: &Attachment) {
        let Some(own) = self.own.as_mut().filter(|own| own.place == place) else { return };
        let Some(holder) = own.holder.as_mut() else { return };
        let receiving = members.receiving(self.number, CeremonyAttempt::identities(place.0, place.1));
        // What is not for this holder, or useless, changes nothing, or is what it disputes.
        let _ = match beside {
            Attachment::Parcel(parcel) => holder.accept(&receiving, parcel),
            Attachment::Package(bytes) => holder.accept_package(speaker, bytes),
            Attachment::Key(_) => Ok(()),
        };
    }

    pub(super) fn crash(&mut self) {
        self.up = false;
        (self.own, self.asleep) = (None, None);
        self.custody = Custody::default();
    }

    /// Starts from what it sealed of its ceremony `back` times before the last, if that is of the ceremony under way, and with the newest custody.
    /// Says whether the disk was an old one.
    pub(super) fn start(&mut self, back: usize) -> bool {
        self.up = true;
        let kept = self.disk.len().checked_sub(back + 1).and_then(|position| self.disk.get(position)).cloned();
        let old = back > 0 && kept.is_some();
        let kept = if old { kept } else { self.disk.last().cloned() };
        if let (true, Some((head, _))) = (old, &kept) {
            (self.head, self.behind) = (*head, true);
        }
        self.asleep = kept.map(|(_, sealed)| sealed);
        if let Some(bytes) = self.custodies.last() {
            self.custody = Custody::from_secret_bytes(&Secret::new(bytes.clone())).unwrap();
        }
        old
    }

    /// The host puts back the custody of any time. Says whether there are shares in it that are held.
    pub(super) fn put_back_custody(&mut self, position: usize) -> bool {
        let Some(bytes) = position.checked_rem(self.custodies.len()).map(|position| self.custodies[position].clone())
        else {
            return false;
        };
        self.custody = Custody::from_secret_bytes(&Secret::new(bytes)).unwrap();
        self.custody.held().is_some()
    }
}
