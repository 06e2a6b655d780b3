//! Signing sessions among those who hold the keys: letters that are lost, late, doubled and in any order, coordinators that crash, and holders that
//! withhold, send garbage, and repeat what others said. The sessions are the code that ships, and so is what authorises them: a proof of a
//! light client's head that the message left, on a chain that is played.
//!
//! Guarantees: after [`STORM_ATTEMPTS`] letters of honest holders arrive, and then each message has a signature within a number of attempts that
//! holders and liars bound, or that is a violation; every commitment and part of an honest holder is noted in a [`NonceLog`]. Does not: sign letters, as
//! the channel says who speaks, or simulate forks.

use super::checks::{Pair, KEEP_THEIR_KEYS, LIVENESS};
use crate::{
    invariants::{Violation, NAMES},
    random::Random,
};
use codec::Encode;
use phala_crypto::{egress::verify_egress_signature, Secret};
use phala_gatekeeper::identity::{
    authorising_keys, open_share, verify_authorised, verify_identities, Authorised, KeyRecord, Sessions, Signs,
};
use phala_light_client::{encode_proof, testing::TestChain, verify_anchor, verify_storage, LightClient};
use phala_protocol::{
    egress::{EgressAction, EgressFate, EgressItem, EgressOutcome},
    identities::{
        signing::{
            EgressSignature, NonceCommitments, PartialSignature, SigningMessage, SigningSession, SIGNING_ATTEMPT_BLOCKS,
        },
        IdentityRecord,
    },
    ids::BlockNumber,
    storage, ClusterId, ContractId, Hash,
};
use std::collections::{BTreeMap, BTreeSet};

/// A nonce is used for one message.
pub const ONE_MESSAGE: &str = NAMES[14];
/// Attempts in which letters get lost.
pub const STORM_ATTEMPTS: u32 = 2;
/// The block in which the messages left.
const LEFT: BlockNumber = 40;
/// Messages that are signed at once.
const MESSAGES: u8 = 2;

/// What honest holders committed to and signed.
#[derive(Default)]
pub struct NonceLog {
    /// Each half of a commitment, with who made it and for what.
    commitments: BTreeMap<[u8; 32], (u16, SigningSession)>,
    /// What was committed to for a session.
    own: BTreeMap<(u16, SigningSession), NonceCommitments>,
    /// What was signed in it.
    signed: BTreeMap<(u16, SigningSession), (Hash, PartialSignature)>,
}

impl NonceLog {
    /// Notes what an honest holder says.
    pub fn note(&mut self, holder: u16, message: &SigningMessage) -> Result<(), Violation> {
        let session = *message.session();
        match message {
            SigningMessage::Commit { commitments, .. } => self.note_commitments(holder, session, commitments),
            SigningMessage::List { commitments, .. } => {
                let own = commitments.iter().find(|one| one.index == holder);
                own.map_or(Ok(()), |own| self.note_commitments(holder, session, own))
            }
            SigningMessage::Part { list, part, .. } => {
                let first = *self.signed.entry((holder, session)).or_insert((*list, *part));
                if first != (*list, *part) {
                    return Err(Violation::new(ONE_MESSAGE, format!("holder {holder} signed two lists: {session:?}")));
                }
                Ok(())
            }
        }
    }

    fn note_commitments(
        &mut self,
        holder: u16,
        session: SigningSession,
        commitments: &NonceCommitments,
    ) -> Result<(), Violation> {
        let twice = || Violation::new(ONE_MESSAGE, format!("holder {holder} commits twice to nonces: {session:?}"));
        if *self.own.entry((holder, session)).or_insert(*commitments) != *commitments {
            return Err(twice());
        }
        for half in [commitments.hiding, commitments.binding] {
            if *self.commitments.entry(half).or_insert((holder, session)) != (holder, session) {
                return Err(twice());
            }
        }
        Ok(())
    }

    /// How many sessions an honest holder signed in.
    pub fn signed(&self) -> usize {
        self.signed.len()
    }
}

/// What happened in the sessions of some messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Messages that got a signature.
    pub signed: u64,
    /// Attempts that ended without one.
    pub in_vain: u64,
    /// Coordinators that crashed.
    pub crashed: u64,
}

/// Messages that left, with the proofs of it.
struct Outbox {
    chain: TestChain,
    client: LightClient,
    items: Vec<EgressItem>,
}

impl Outbox {
    fn new(random: &mut Random) -> Self {
        let mut chain = TestChain::new(random.number(), 3, []);
        let genesis = chain.genesis_hash();
        let mut client = verify_anchor(&genesis, &chain.anchor()).unwrap();
        let item = |number: u8| {
            let action = EgressAction::Message { destination: b"there".to_vec(), payload: vec![number] };
            EgressItem { cluster: ClusterId(1), sequence: number.into(), contract: ContractId([3; 32]), action }
        };
        let items: Vec<EgressItem> = (0..MESSAGES).map(item).collect();
        let fate = |item: &EgressItem| {
            let fate = EgressFate { id: item.id(&genesis), block: LEFT, outcome: EgressOutcome::Left };
            (storage::egress_fate_key(item.cluster, item.sequence), Some(fate.encode()))
        };
        let fates: Vec<(Vec<u8>, Option<Vec<u8>>)> = items.iter().map(fate).collect();
        let number = chain.build_block(fates);
        let proof = chain.proof(0, number).encode();
        client.advance(&proof, &[1; 32]).unwrap();
        Self { chain, client, items }
    }

    fn authorised(&self, item: &EgressItem) -> Authorised {
        let keys = authorising_keys(item);
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let proof = encode_proof(&self.chain.read_proof(self.client.head().number(), &keys));
        let proved = verify_storage(self.client.head(), &proof).unwrap();
        verify_authorised(&self.client, &proved, item).unwrap()
    }
}

/// The holders of one key.
struct Network<'a, G: Signs> {
    outbox: Outbox,
    record: KeyRecord<G>,
    shares: BTreeMap<u16, [u8; 32]>,
    liars: &'a BTreeSet<u16>,
    holders: BTreeMap<u16, Sessions<G>>,
    heard: Vec<SigningMessage>,
    late: Vec<(u16, u16, SigningMessage)>,
}

/// Signs as a contract with the `shares` of what is in `record`, under one of the two keys; of these holders the `liars` lie, who are as many at most as
/// leave a threshold.
pub fn sign(
    record: &IdentityRecord,
    shares: &BTreeMap<u16, Pair>,
    liars: &BTreeSet<u16>,
    random: &mut Random,
    log: &mut NonceLog,
) -> Result<Told, Violation> {
    let keys = verify_identities(record).map_err(|error| Violation::new(KEEP_THEIR_KEYS, error.to_string()))?;
    let half = |place: usize| -> BTreeMap<u16, [u8; 32]> {
        shares.iter().map(|(index, pair)| (*index, pair[place])).collect()
    };
    if random.percent(50) {
        Network::new(keys.ed25519, half(0), liars, random).run(random, log)
    } else {
        Network::new(keys.sr25519, half(1), liars, random).run(random, log)
    }
}

impl<'a, G: Signs> Network<'a, G> {
    fn new(
        record: KeyRecord<G>,
        shares: BTreeMap<u16, [u8; 32]>,
        liars: &'a BTreeSet<u16>,
        random: &mut Random,
    ) -> Self {
        let outbox = Outbox::new(random);
        let (holders, heard, late) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut network = Self { outbox, record, shares, liars, holders, heard, late };
        let indices: Vec<u16> = network.shares.keys().copied().collect();
        for index in indices {
            network.start(index, LEFT - 1, random);
        }
        network
    }

    /// A holder's process starts, and sees this head.
    fn start(&mut self, index: u16, head: BlockNumber, random: &mut Random) {
        let share = open_share(&self.record, index, &Secret::new(self.shares[&index])).unwrap();
        let mut sessions = Sessions::new(self.outbox.chain.genesis_hash(), self.record.clone(), share).unwrap();
        for item in &self.outbox.items {
            sessions.begin(self.outbox.authorised(item)).unwrap();
        }
        // A failure is of a list that nobody signs.
        let _ = sessions.advance(head, &Secret::new(random.bytes()));
        self.holders.insert(index, sessions);
    }

    fn run(mut self, random: &mut Random, log: &mut NonceLog) -> Result<Told, Violation> {
        let indices: Vec<u16> = self.record.holders().iter().map(|(index, _)| *index).collect();
        // What was silent in the storm comes after a liar until that was silent as often.
        let spoiled = self.liars.len() * (STORM_ATTEMPTS as usize + 1);
        let attempts = STORM_ATTEMPTS + (indices.len() * (spoiled + 1)) as u32;
        let mut told = Told::default();
        for step in 0..attempts * SIGNING_ATTEMPT_BLOCKS {
            let (head, attempt) = (LEFT + step, step / SIGNING_ATTEMPT_BLOCKS);
            let calm = attempt >= STORM_ATTEMPTS;
            for sessions in self.holders.values_mut() {
                let _ = sessions.advance(head, &Secret::new(random.bytes()));
            }
            self.listen(log)?;
            if !calm && random.percent(15) {
                // Any session of the attempt: who coordinates follows from item and attempt.
                let item = self.outbox.items[random.below(MESSAGES.into()) as usize].id(&self.genesis());
                let session = SigningSession { scheme: G::SCHEME, sharing: [0; 32], item, attempt };
                let coordinator = indices[session.coordinator(indices.len())];
                if self.holders.contains_key(&coordinator) {
                    self.start(coordinator, head, random);
                    told.crashed += 1;
                }
            }
            self.exchange(calm, random, log)?;
            let signatures = self.signatures()?;
            if signatures == usize::from(MESSAGES) {
                (told.signed, told.in_vain) = (signatures as u64, attempt.into());
                return Ok(told);
            }
        }
        Err(Violation::new(LIVENESS, format!("no signature after {attempts} attempts")))
    }

    fn genesis(&self) -> Hash {
        self.outbox.chain.genesis_hash()
    }

    /// Letters pass once, in any order.
    fn exchange(&mut self, calm: bool, random: &mut Random, log: &mut NonceLog) -> Result<(), Violation> {
        let mut posted = std::mem::take(&mut self.late);
        for (from, sessions) in &self.holders {
            posted.extend(sessions.outgoing().into_iter().map(|(to, message)| (*from, to, message)));
        }
        random.shuffle(&mut posted);
        for (from, to, message) in posted {
            match random.below(8) {
                0 if !calm => continue,
                1 if !calm => {
                    self.late.push((from, to, message));
                    continue;
                }
                2 if !calm => self.late.push((from, to, message.clone())),
                _ => {}
            }
            let message =
                if self.liars.contains(&from) { altered(message, &self.heard, random) } else { Some(message) };
            let Some(message) = message else { continue };
            // As it travels.
            let Ok(arrived) = SigningMessage::decode_bounded(&message.encode()) else { continue };
            self.heard.push(message);
            if let Some(sessions) = self.holders.get_mut(&to) {
                // What it refuses changes nothing, or is a liar's.
                let _ = sessions.receive(from, arrived);
            }
            self.listen(log)?;
        }
        Ok(())
    }

    fn listen(&self, log: &mut NonceLog) -> Result<(), Violation> {
        for (index, sessions) in self.holders.iter().filter(|(index, _)| !self.liars.contains(*index)) {
            for (_, message) in sessions.outgoing() {
                log.note(*index, &message)?;
            }
        }
        Ok(())
    }

    /// How many messages have a signature that anybody made; all that there are verify.
    fn signatures(&self) -> Result<usize, Violation> {
        let mut signed = BTreeSet::new();
        let made: Vec<EgressSignature> = self.holders.values().flat_map(|one| one.signatures().copied()).collect();
        for signature in made {
            let item = self.outbox.items.iter().find(|item| item.id(&self.genesis()) == signature.item);
            let verified =
                item.map(|item| verify_egress_signature(&self.genesis(), &self.record.key(), item, &signature));
            if !matches!(verified, Some(Ok(()))) {
                return Err(Violation::new(KEEP_THEIR_KEYS, "a signature is none under the recorded key"));
            }
            signed.insert(signature.item);
        }
        Ok(signed.len())
    }
}

/// What a hostile holder sends in place of a message, if anything: altered, or what somebody said before.
fn altered(message: SigningMessage, heard: &[SigningMessage], random: &mut Random) -> Option<SigningMessage> {
    let session = *message.session();
    match (random.below(6), message) {
        (0, _) => None,
        (1, SigningMessage::Part { list, mut part, .. }) => {
            part.part[random.below(31) as usize] ^= 1;
            Some(SigningMessage::Part { session, list, part })
        }
        (1, SigningMessage::Commit { mut commitments, .. }) => {
            std::mem::swap(&mut commitments.hiding, &mut commitments.binding);
            Some(SigningMessage::Commit { session, commitments })
        }
        (1, SigningMessage::List { mut commitments, .. }) => {
            commitments.pop();
            Some(SigningMessage::List { session, commitments })
        }
        (2, _) if !heard.is_empty() => Some(heard[random.below(heard.len() as u32) as usize].clone()),
        (_, message) => Some(message),
    }
}
