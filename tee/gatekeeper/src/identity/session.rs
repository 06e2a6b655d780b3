//! Signing sessions: how holders make one signature together, and what becomes of those who spoil it.
//!
//! FROST (RFC 9591) with a coordinator, as `phala_protocol::identities::signing` has the messages. An item's attempts are spans of blocks,
//! counted from the block in which it left, so that holders that follow one chain agree on the attempt without a clock. In each
//!
//! 1. every holder commits to fresh nonces towards the coordinator;
//! 2. the coordinator takes a threshold of those that it has no bad experience with, and sends their list to them;
//! 3. each of them signs that list, once, and answers with its part;
//! 4. the coordinator adds the parts up. Where they give no signature it knows whose part is wrong, and leaves that holder out of all lists
//!    that it makes later. One that sent no part it leaves out as long as there are enough others, and then takes those last that were
//!    silent most often. Who was silent at an item makes up for it with no part under another item.
//!
//! Coordinators take turns, beginning with one that the item decides. One that withholds, or spoils its attempt, delays the item by one
//! attempt and no more. What a coordinator learns it keeps to itself: nobody is blamed on its word. With `f` holders that spoil whatever they
//! can, and letters of the others that arrive in time, an honest coordinator makes at most `f` attempts in vain, for each that ends
//! without a signature shows it one of them; so there is a signature after at most `n (f + 1)` attempts, and where nobody spoils in the
//! first.
//!
//! Why nothing else can be signed. A holder opens a session for an [`Authorised`] item alone, and signs that item's payload under the key of
//! the item's contract: no message has either in it. Its nonces serve one list: they are taken out of the session before they are used,
//! whatever comes of it, and gone with the attempt, or with the process. A process takes part in no attempt that had begun
//! when it saw its first head; and since nonces are drawn from entropy, share, session and a count together, not even entropy that
//! repeats makes two lists share them, within a process or, as long as heads only rise, over a restart.
//!
//! Guarantees: sans-IO, deterministic given heads, messages and entropy. Memory is bounded by [`MOST_SESSIONS`] and the number of holders. Each
//! peer causes at most two decodings of points for each attempt of an item, the coordinator one list more; whatever else it sends is refused
//! by comparing. Peers control every message; the channel says who speaks, which is the caller's to ensure. Does not: transport,
//! time - the caller brings heads - or keep anything on disk; or ask again whether an item is still authorised: the caller closes what is not.

use super::{
    authorise::Authorised,
    sharing::{IdentityShare, KeyRecord},
    sign::{aggregate, Nonces, SignError, Signer, Signs},
};
use phala_crypto::{kdf, Secret};
use phala_protocol::{
    domain, hash_value,
    identities::signing::{
        EgressSignature, NonceCommitments, PartialSignature, SigningMessage, SigningSession, MOST_SIGNED_AT_ONCE,
        SIGNING_ATTEMPT_BLOCKS,
    },
    ids::BlockNumber,
    Hash,
};
use std::collections::BTreeMap;

/// Items that are signed at once under one key. Others wait until there is room.
pub const MOST_SESSIONS: usize = MOST_SIGNED_AT_ONCE;

/// One holder's part in signing under one of the network's keys, and under what follows from it.
pub struct Sessions<G: Signs> {
    network: KeyRecord<G>,
    share: IdentityShare<G>,
    genesis: Hash,
    /// Names the sharing in messages.
    sharing: Hash,
    /// Indices of all holders, ascending.
    holders: Vec<u16>,
    /// How often it has committed to nonces: nothing repeats within a process, whatever the entropy is.
    commitments: u64,
    /// The first head that was seen, and the newest.
    heads: Option<(BlockNumber, BlockNumber)>,
    /// By item.
    open: BTreeMap<Hash, Session<G>>,
    /// Whom this holder, when it coordinated, found to spoil signatures.
    spoilers: BTreeMap<u16, Spoiled>,
}

/// How a holder spoiled a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoiled {
    /// So many times it was on a list and sent no part; it may have lost its connection. Forgotten when it sends one, though not for the items at
    /// which it was silent.
    Silent(u32),
    /// Its part was wrong, or its commitments are no points: never on a list of this process again.
    Wrong,
}

/// The signature of one item.
struct Session<G: Signs> {
    authorised: Authorised,
    signer: Signer<G>,
    attempt: Option<Attempt<G>>,
    signature: Option<EgressSignature>,
    /// How often a holder was silent at this item while this holder coordinated. Never forgotten: or one that signs other items meanwhile
    /// could keep this one unsigned for good.
    silent: BTreeMap<u16, u32>,
}

struct Attempt<G: Signs> {
    session: SigningSession,
    coordinator: u16,
    own: Own<G>,
    /// Where this holder coordinates.
    lead: Option<Lead>,
}

/// What this holder did in an attempt.
enum Own<G: Signs> {
    Committed(Box<Committed<G>>),
    Signed {
        list: Hash,
        part: PartialSignature,
    },
    /// The nonces are gone: the list was one that nobody signs.
    Out,
}

struct Committed<G: Signs> {
    nonces: Nonces<G>,
    commitments: NonceCommitments,
}

/// What a coordinator has.
struct Lead {
    commitments: BTreeMap<u16, NonceCommitments>,
    list: Option<List>,
}

struct List {
    commitments: Vec<NonceCommitments>,
    hash: Hash,
    parts: BTreeMap<u16, PartialSignature>,
    /// Whether the parts were added up, whatever came of it.
    over: bool,
}

/// Why an item is not signed now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// As many are under way as may be.
    #[error("{} items are being signed; others wait", MOST_SESSIONS)]
    Full,
    /// Of another chain; the caller's fault.
    #[error("item is of another chain")]
    OtherChain,
    /// The contract has no key, or this holder no share.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Why a message of another holder is not taken, or what taking it showed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningFault {
    /// Whoever sent it holds no other share of this key.
    #[error("{0} is no other holder of this identity")]
    Stranger(u16),
    /// It is under another key, or for other holders: one of the two is behind.
    #[error("message is for another key or another set of holders")]
    OtherSharing,
    /// This holder's own head does not authorise the item, or there is no room: the sender's fault, or one of the two is behind.
    #[error("item is not authorised here")]
    NotAuthorised,
    /// It is of another attempt: a replay, or one of the two is behind.
    #[error("message is of attempt {named}; here it is {current:?}")]
    OtherAttempt {
        /// The message's.
        named: u32,
        /// This holder's, if it takes part in one.
        current: Option<u32>,
    },
    /// A list of a holder whose turn it is not.
    #[error("holder {0} does not coordinate this attempt")]
    NotCoordinator(u16),
    /// A commitment or part that belongs to the coordinator, who this holder is not.
    #[error("message of holder {0} is for the coordinator of the attempt")]
    NotForUs(u16),
    /// It names another holder as its author.
    #[error("holder {from} speaks as holder {named}")]
    SpeaksForAnother {
        /// The sender.
        from: u16,
        /// Whom it names.
        named: u16,
    },
    /// It was found to spoil signatures on purpose: this coordinator does not listen to it any more.
    #[error("holder {0} has sent what is wrong, and is left out")]
    Excluded(u16),
    /// It says something else than before in the same attempt; the first counts.
    #[error("holder {0} contradicts what it sent before")]
    Contradicts(u16),
    /// The coordinator sent a second list, or one after a list that nobody signs.
    #[error("coordinator {0} sent another list in the same attempt")]
    SecondList(u16),
    /// A part of someone who is not on the list, or of another list.
    #[error("part of holder {0} is of no list that was made here")]
    NoSuchList(u16),
    /// A list that nobody signs, or parts that do not add up; who is at fault is in it.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl<G: Signs> Sessions<G> {
    /// A holder's part in signing on the chain with this genesis, with its `share` of the `network`'s key.
    pub fn new(genesis: Hash, network: KeyRecord<G>, share: IdentityShare<G>) -> Result<Self, SignError> {
        if network.public_share(share.index()) != Some(&share.public()) {
            return Err(SignError::NoSuchHolder(share.index()));
        }
        let shares = network.holders();
        let holders = shares.iter().map(|(index, _)| *index).collect();
        let described = (network.threshold(), network.key(), shares);
        let sharing = hash_value(domain::IDENTITY_SHARING, &(genesis, G::SCHEME, described));
        let (open, spoilers) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { network, share, genesis, sharing, holders, commitments: 0, heads: None, open, spoilers })
    }

    /// This holder's index.
    pub fn index(&self) -> u16 {
        self.share.index()
    }

    /// Begins to sign an item, with the next head. One that is being signed goes on as it is.
    pub fn begin(&mut self, authorised: Authorised) -> Result<(), BeginError> {
        if *authorised.genesis() != self.genesis {
            return Err(BeginError::OtherChain);
        }
        if self.open.contains_key(authorised.item()) {
            return Ok(());
        }
        if self.open.len() >= MOST_SESSIONS {
            return Err(BeginError::Full);
        }
        let signer = Signer::new(&self.network, &self.share, &self.genesis, authorised.contract())?;
        let item = *authorised.item();
        self.open.insert(item, Session { authorised, signer, attempt: None, signature: None, silent: BTreeMap::new() });
        Ok(())
    }

    /// Ends the signing of an item: the chain has the signature, or the item is not authorised any more. Its nonces are gone.
    pub fn close(&mut self, item: &Hash) {
        self.open.remove(item);
    }

    /// Ids of the items that are being signed.
    pub fn items(&self) -> impl Iterator<Item = &Hash> {
        self.open.keys()
    }

    /// The signatures that this holder has put together, of items that are not closed.
    pub fn signatures(&self) -> impl Iterator<Item = &EgressSignature> {
        self.open.values().filter_map(|session| session.signature.as_ref())
    }

    /// Whom this holder found to spoil signatures, by index.
    pub fn spoilers(&self) -> &BTreeMap<u16, Spoiled> {
        &self.spoilers
    }

    /// Moves to a newer verified head, and begins the attempts that are due at it. `entropy` must be fresh. Returns the first failure, after
    /// all items had their turn.
    pub fn advance(&mut self, head: BlockNumber, entropy: &Secret<[u8; 32]>) -> Result<(), SignError> {
        let (first, newest) = self.heads.unwrap_or((head, head));
        let head = newest.max(head);
        self.heads = Some((first, head));
        let mut result = Ok(());
        let items: Vec<Hash> = self.open.keys().copied().collect();
        for item in items {
            let turned = self.turn(&item, first, head, entropy).and_then(|()| self.lead(&item));
            result = result.and(turned);
        }
        result
    }

    /// Begins the attempt of `item` that is due, unless it is under way, or this process came too late for it.
    fn turn(
        &mut self,
        item: &Hash,
        first: BlockNumber,
        head: BlockNumber,
        entropy: &Secret<[u8; 32]>,
    ) -> Result<(), SignError> {
        let (sharing, own) = (self.sharing, self.share.index());
        let Some(session) = self.open.get_mut(item) else { return Ok(()) };
        let left_in = session.authorised.left_in();
        let attempt = head.saturating_sub(left_in).checked_div(SIGNING_ATTEMPT_BLOCKS).unwrap_or(0);
        if session.attempt.as_ref().is_some_and(|current| current.session.attempt >= attempt) {
            return Ok(());
        }
        // Nonces of the attempt before go with it.
        if let Some(over) = session.attempt.take() {
            note_silent(&over, own, &mut self.spoilers, &mut session.silent);
        }
        let begun = left_in.saturating_add(attempt.saturating_mul(SIGNING_ATTEMPT_BLOCKS));
        if begun <= first {
            return Ok(());
        }
        let id = SigningSession { scheme: G::SCHEME, sharing, item: *item, attempt };
        let coordinator = self.holders.get(id.coordinator(self.holders.len())).copied().unwrap_or(own);
        self.commitments = self.commitments.wrapping_add(1);
        let entropy = own_entropy(entropy, &id, own, self.commitments);
        let (nonces, commitments) = session.signer.commit(entropy)?;
        let lead = (coordinator == own).then(|| {
            let commitments = BTreeMap::from([(own, commitments)]);
            Lead { commitments, list: None }
        });
        let own = Own::Committed(Box::new(Committed { nonces, commitments }));
        session.attempt = Some(Attempt { session: id, coordinator, own, lead });
        Ok(())
    }

    /// Makes the list of an attempt that this holder coordinates, once enough have committed.
    fn lead(&mut self, item: &Hash) -> Result<(), SignError> {
        let (threshold, own) = (usize::from(self.network.threshold()), self.share.index());
        let (_, head) = self.heads.unwrap_or_default();
        let Some(session) = self.open.get_mut(item) else { return Ok(()) };
        let passed = head.saturating_sub(session.authorised.left_in()).checked_rem(SIGNING_ATTEMPT_BLOCKS).unwrap_or(0);
        // Who was silent before gets another chance when half of the attempt has passed without enough others.
        let late = passed.saturating_mul(2) >= SIGNING_ATTEMPT_BLOCKS;
        let Some(attempt) = session.attempt.as_mut() else { return Ok(()) };
        let Some(lead) = attempt.lead.as_mut().filter(|lead| lead.list.is_none()) else { return Ok(()) };
        // How often it was silent at this item, then at any.
        let silence = |one: &NonceCommitments| {
            let here = session.silent.get(&one.index).copied().unwrap_or(0);
            match self.spoilers.get(&one.index) {
                Some(Spoiled::Wrong) => None,
                Some(Spoiled::Silent(times)) => Some((here, *times)),
                None => Some((here, 0)),
            }
        };
        let candidate = |one: &NonceCommitments| silence(one).map(|times| (times, *one));
        let mut candidates: Vec<((u32, u32), NonceCommitments)> =
            lead.commitments.values().filter_map(candidate).filter(|(times, _)| late || *times == (0, 0)).collect();
        // Those first that were silent least often: or one that always is would keep out one that was once.
        candidates.sort_by_key(|(times, one)| (*times, one.index));
        let mut chosen: Vec<NonceCommitments> = candidates.into_iter().take(threshold).map(|(_, one)| one).collect();
        if chosen.len() < threshold {
            return Ok(());
        }
        chosen.sort_by_key(|one| one.index);
        let hash = attempt.session.list_hash(&chosen);
        let listed = chosen.iter().any(|one| one.index == own);
        lead.list = Some(List { commitments: chosen.clone(), hash, parts: BTreeMap::new(), over: false });
        if !listed {
            return Ok(());
        }
        let part = sign(&session.signer, &session.authorised, attempt, hash, &chosen)?;
        self.add(item, own, part)
    }

    /// Takes a part that is for this coordinator's list, and adds all of them up when it is the last.
    fn add(&mut self, item: &Hash, from: u16, part: PartialSignature) -> Result<(), SignError> {
        let Some(session) = self.open.get_mut(item) else { return Ok(()) };
        let lead = session.attempt.as_mut().and_then(|attempt| attempt.lead.as_mut());
        let Some(list) = lead.and_then(|lead| lead.list.as_mut()) else { return Ok(()) };
        list.parts.insert(from, part);
        if matches!(self.spoilers.get(&from), Some(Spoiled::Silent(_))) {
            self.spoilers.remove(&from);
        }
        if list.over || list.parts.len() < list.commitments.len() {
            return Ok(());
        }
        list.over = true;
        let parts: Vec<PartialSignature> = list.parts.values().copied().collect();
        let record = session.signer.record();
        let payload = session.authorised.payload(G::SCHEME);
        match aggregate(record, &list.commitments, &parts, &payload) {
            Ok(signature) => {
                let (scheme, key) = (G::SCHEME, record.key());
                session.signature = Some(EgressSignature { item: *item, scheme, key, signature });
                Ok(())
            }
            Err(error) => {
                let wrong = match &error {
                    SignError::Wrong(signers) => signers.clone(),
                    SignError::Part(signer) => vec![*signer],
                    _ => Vec::new(),
                };
                self.spoilers.extend(wrong.into_iter().map(|signer| (signer, Spoiled::Wrong)));
                Err(error)
            }
        }
    }

    /// Takes a message of holder `from`, of which the channel says that it is from it.
    ///
    /// An error refuses the message, and leaves everything as it was - but for a list that nobody signs, after which this holder is out of the
    /// attempt; for commitments that are no points, after which `from` is left out; and for a last part, after which the error may name
    /// others than `from`.
    pub fn receive(&mut self, from: u16, message: SigningMessage) -> Result<(), SigningFault> {
        let own = self.share.index();
        if from == own || self.network.public_share(from).is_none() {
            return Err(SigningFault::Stranger(from));
        }
        let id = *message.session();
        if id.scheme != G::SCHEME || id.sharing != self.sharing {
            return Err(SigningFault::OtherSharing);
        }
        let session = self.open.get_mut(&id.item).ok_or(SigningFault::NotAuthorised)?;
        let current = session.attempt.as_ref().map(|attempt| attempt.session.attempt);
        let attempt = session.attempt.as_mut().filter(|attempt| attempt.session == id);
        let attempt = attempt.ok_or(SigningFault::OtherAttempt { named: id.attempt, current })?;
        match message {
            SigningMessage::List { commitments, .. } => {
                if from != attempt.coordinator {
                    return Err(SigningFault::NotCoordinator(from));
                }
                let hash = id.list_hash(&commitments);
                match &attempt.own {
                    Own::Signed { list, .. } if *list == hash => Ok(()),
                    Own::Signed { .. } | Own::Out => Err(SigningFault::SecondList(from)),
                    Own::Committed(_) => {
                        sign(&session.signer, &session.authorised, attempt, hash, &commitments)?;
                        Ok(())
                    }
                }
            }
            SigningMessage::Commit { commitments, .. } => {
                let lead = attempt.lead.as_mut().ok_or(SigningFault::NotForUs(from))?;
                speaks_for_itself(from, commitments.index)?;
                if self.spoilers.get(&from) == Some(&Spoiled::Wrong) {
                    return Err(SigningFault::Excluded(from));
                }
                match lead.commitments.get(&from) {
                    Some(before) if *before == commitments => return Ok(()),
                    Some(_) => return Err(SigningFault::Contradicts(from)),
                    None => {}
                }
                // One on a list that is no point would keep the others from signing.
                let points = [&commitments.hiding, &commitments.binding].map(G::from_encoding);
                if points.iter().any(Option::is_none) {
                    self.spoilers.insert(from, Spoiled::Wrong);
                    return Err(SignError::Commitment(from).into());
                }
                lead.commitments.insert(from, commitments);
                Ok(self.lead(&id.item)?)
            }
            SigningMessage::Part { list: hash, part, .. } => {
                let lead = attempt.lead.as_ref().ok_or(SigningFault::NotForUs(from))?;
                speaks_for_itself(from, part.index)?;
                let list = lead.list.as_ref().filter(|list| list.hash == hash);
                let list = list.filter(|list| list.commitments.iter().any(|one| one.index == from));
                let list = list.ok_or(SigningFault::NoSuchList(from))?;
                match list.parts.get(&from) {
                    Some(before) if *before == part => Ok(()),
                    Some(_) => Err(SigningFault::Contradicts(from)),
                    None => Ok(self.add(&id.item, from, part)?),
                }
            }
        }
    }

    /// What this holder has for others, by index: repeated until it is answered, or its attempt is over.
    pub fn outgoing(&self) -> Vec<(u16, SigningMessage)> {
        let own = self.share.index();
        let mut outgoing = Vec::new();
        for attempt in self.open.values().filter_map(|session| session.attempt.as_ref()) {
            let (session, to) = (attempt.session, attempt.coordinator);
            match &attempt.own {
                Own::Committed(committed) if to != own => {
                    outgoing.push((to, SigningMessage::Commit { session, commitments: committed.commitments }));
                }
                Own::Signed { list, part } if to != own => {
                    outgoing.push((to, SigningMessage::Part { session, list: *list, part: *part }));
                }
                Own::Committed(_) | Own::Signed { .. } | Own::Out => {}
            }
            let list = attempt.lead.as_ref().and_then(|lead| lead.list.as_ref());
            let Some(list) = list.filter(|list| !list.over) else { continue };
            let silent = list.commitments.iter().map(|one| one.index);
            for to in silent.filter(|to| *to != own && !list.parts.contains_key(to)) {
                outgoing.push((to, SigningMessage::List { session, commitments: list.commitments.clone() }));
            }
        }
        outgoing
    }
}

/// Signs a list with the attempt's nonces, which are gone whatever comes of it.
fn sign<G: Signs>(
    signer: &Signer<G>,
    authorised: &Authorised,
    attempt: &mut Attempt<G>,
    list: Hash,
    commitments: &[NonceCommitments],
) -> Result<PartialSignature, SignError> {
    match std::mem::replace(&mut attempt.own, Own::Out) {
        Own::Committed(committed) => {
            let part = signer.sign(committed.nonces, commitments, authorised)?;
            attempt.own = Own::Signed { list, part };
            Ok(part)
        }
        // Callers look first.
        Own::Signed { .. } | Own::Out => Err(SignError::OwnCommitment),
    }
}

/// Notes who was on the list of an attempt that is over, and sent no part: for all items, and for this one.
fn note_silent<G: Signs>(
    over: &Attempt<G>,
    own: u16,
    spoilers: &mut BTreeMap<u16, Spoiled>,
    here: &mut BTreeMap<u16, u32>,
) {
    let list = over.lead.as_ref().and_then(|lead| lead.list.as_ref());
    let Some(list) = list.filter(|list| !list.over) else { return };
    let silent = list.commitments.iter().map(|one| one.index);
    for index in silent.filter(|index| *index != own && !list.parts.contains_key(index)) {
        if let Spoiled::Silent(times) = spoilers.entry(index).or_insert(Spoiled::Silent(0)) {
            *times = times.saturating_add(1);
        }
        let times = here.entry(index).or_insert(0);
        *times = times.saturating_add(1);
    }
}

fn speaks_for_itself(from: u16, named: u16) -> Result<(), SigningFault> {
    if from == named {
        Ok(())
    } else {
        Err(SigningFault::SpeaksForAnother { from, named })
    }
}

/// Entropy of the nonces that holder `own` commits to in one attempt, its `commitments`-th in this process.
fn own_entropy(entropy: &Secret<[u8; 32]>, id: &SigningSession, own: u16, commitments: u64) -> Secret<[u8; 32]> {
    kdf::derive_for(entropy, domain::IDENTITY_SIGNING, &(id, own, commitments))
}

#[cfg(test)]
mod tests;
