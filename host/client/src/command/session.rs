//! Sessions: one hybrid envelope and one signature of the account, then commands that need neither.
//!
//! Guarantees: the session's key never leaves the [`Session`], and signs every command; the cluster's replicas, which share the
//! session's secret, cannot make one. A number is given to one command only, also when that was refused: its envelope has been public
//! since, and may be pushed by anybody. Nothing in a command's envelope says which session it belongs to; the account that pays for it,
//! its time and its relayer may.
//!
//! The cluster knows [`SESSION_WINDOW`] numbers above the highest that it has seen used. A refusal that can be foreseen uses up none;
//! after as many others in a row the session has no number left, says so before it seals anything, and another is opened.
//!
//! A session lives as long as its cluster's epoch, and among the newest few of its account. Whoever has the bytes that
//! [`Session::keep`] gives has the session until then: their owner decides where they lie. Does not: write them.

use super::{destination, pushed, seal_hybrid, size_class, Command, CommandOptions, Completed, Intent, Journal};
use crate::{chain::ChainCall, deadline::Deadline, entropy, Account, ClientError, ErrorCode, Network, Until};
use codec::{Decode, Encode};
use phala_crypto::{envelope::Destination, session::SessionSecret, signature::ed25519::IdentityKey, Secret};
use phala_protocol::{
    call::{session_command_payload, session_payload, Call, CallPurpose, SessionCommand, SessionOpen, SignedCall},
    chain_state::ClusterRecord,
    envelope::{public_key_hash, EnvelopeKind},
    limits::SESSION_WINDOW,
    result::Outcome,
    AccountId, ClusterId, ContractId, Epoch, Hash,
};

/// The version of what [`Session::keep`] gives.
const KEPT_VERSION: u8 = 2;
/// The contract that no cluster has: an opener that is addressed to it does nothing but open.
const NOBODY: ContractId = ContractId([0; 32]);

/// An open session.
pub struct Session {
    account: AccountId,
    destination: Destination,
    /// What `key` is made from, to be kept.
    seed: Secret<[u8; 32]>,
    /// Signs the session's commands. The cluster has its public half.
    key: IdentityKey,
    /// Seals them, and marks each with its number. The cluster's replicas have it too.
    secret: SessionSecret,
    /// Number of the next command.
    next: u64,
    /// The highest number that is known to be in the inbox, below `next`; none is 0. The cluster has seen this one or a higher one.
    reached: u64,
}

impl Session {
    /// Signs and seals `call`, which opens a session, under the cluster's open epoch. Returns the session and the envelope's bytes.
    /// `entropy` must be unpredictable: half of it becomes the session's key.
    fn open(
        genesis: &Hash,
        cluster: ClusterId,
        record: &ClusterRecord,
        account: &Account,
        call: &Call,
        entropy: SessionEntropy,
    ) -> Result<(Self, Vec<u8>), ClientError> {
        let destination = destination(genesis, cluster, record)?;
        let key = IdentityKey::from_seed(&entropy.key);
        let payload = session_payload(genesis, cluster, &public_key_hash(&record.envelope_key), call, &key.public());
        let signed = SignedCall { account: account.id(), call: call.clone(), signature: account.sign(&payload)? };
        let plaintext = SessionOpen { signed, session_key: key.public() }.encode();
        let (envelope, exporter) =
            seal_hybrid(record, &destination, EnvelopeKind::SessionOpen, plaintext, &entropy.encapsulation)?;
        let secret = SessionSecret::of_opener(&exporter);
        let session = Self { account: account.id(), destination, seed: entropy.key, key, secret, next: 1, reached: 0 };
        Ok((session, envelope.to_bytes()))
    }

    /// The session as its owner keeps it, to go on in another process: `version u8 | account | genesis | cluster u32 | epoch u32 |
    /// next u64 | reached u64 | key's seed 32 | secret 32`. Whoever reads this can command in the account's name until the epoch ends.
    pub fn keep(&self) -> Secret<Vec<u8>> {
        self.kept(self.next)
    }

    /// The same as it will be after one more command. To be kept before that is sent: then its number is given to no other, should
    /// this process end before it knows what became of it.
    pub fn keep_ahead(&self) -> Secret<Vec<u8>> {
        self.kept(self.next.saturating_add(1))
    }

    fn kept(&self, next: u64) -> Secret<Vec<u8>> {
        // At once as large as it becomes: a vector that grows leaves copies behind.
        let mut bytes = Vec::with_capacity(256);
        let Destination { genesis, cluster, epoch } = self.destination;
        (KEPT_VERSION, self.account, genesis, cluster, epoch, next, self.reached).encode_to(&mut bytes);
        bytes.extend_from_slice(self.seed.expose());
        bytes.extend_from_slice(self.secret.expose());
        Secret::new(bytes)
    }

    /// A session that was kept. The bytes are whatever lay where they were kept.
    pub fn from_kept(bytes: Secret<Vec<u8>>) -> Result<Self, ClientError> {
        let malformed = || {
            ClientError::new(ErrorCode::Invalid, "what was kept of the session is damaged, or of another version")
                .with_hint("open another one")
        };
        let mut input = bytes.expose().as_slice();
        type Kept = (u8, AccountId, Hash, ClusterId, Epoch, u64, u64);
        let (version, account, genesis, cluster, epoch, next, reached) =
            Kept::decode(&mut input).map_err(|_| malformed())?;
        let (seed, secret) = input.split_at_checked(32).ok_or_else(malformed)?;
        let seed = Secret::<[u8; 32]>::from_slice(seed).ok_or_else(malformed)?;
        let secret = Secret::<[u8; 32]>::from_slice(secret).ok_or_else(malformed)?;
        if version != KEPT_VERSION || reached >= next {
            return Err(malformed());
        }
        let (key, secret) = (IdentityKey::from_seed(&seed), SessionSecret::from_bytes(secret.expose()));
        Ok(Self { account, destination: Destination { genesis, cluster, epoch }, seed, key, secret, next, reached })
    }

    /// Whether it has no number left that its cluster would know: [`SESSION_WINDOW`] in a row were given to commands that are not
    /// known to have arrived. None of these is given again, so that another session has to be opened.
    pub fn is_used_up(&self) -> bool {
        self.next.saturating_sub(self.reached) > SESSION_WINDOW
    }

    /// The command with this number is in the inbox.
    fn arrived(&mut self, number: u64) {
        self.reached = self.reached.max(number);
    }

    /// Signs and seals `call` as the session's next command. Returns the envelope's bytes.
    fn seal(&mut self, call: &Call) -> Result<Vec<u8>, ClientError> {
        if self.is_used_up() {
            return Err(used_up());
        }
        let number = self.next;
        let tag = self.secret.tag(number);
        let payload = session_command_payload(&self.destination.genesis, self.destination.cluster, &tag, call);
        let command = SessionCommand { call: call.clone(), signature: self.key.sign(&payload) };
        let plaintext = Secret::new(command.encode());
        let size = size_class(plaintext.expose())?;
        let sealed = self.secret.seal_command(&self.destination, number, size, plaintext.expose());
        let envelope = sealed.map_err(|error| ClientError::new(ErrorCode::Internal, error.to_string()))?;
        self.next = number.saturating_add(1);
        Ok(envelope.to_bytes())
    }

    /// The account that it speaks for, and whose nonces and replies its commands have.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The cluster that it is open in.
    pub fn cluster(&self) -> ClusterId {
        self.destination.cluster
    }

    /// The chain that it is open on.
    pub fn genesis(&self) -> &Hash {
        &self.destination.genesis
    }

    /// The epoch that it ends with.
    pub fn epoch(&self) -> Epoch {
        self.destination.epoch
    }
}

/// Whether the final reply to an opener says that its session is open: it is, whatever became of the opener's own call, unless
/// that was refused before it was the account's.
pub fn verify_open(completed: &Completed) -> Result<(), ClientError> {
    match &completed.reply.outcome {
        Outcome::Failed(failure) if failure.leaves_nonce() => {
            Err(super::failure_error(&super::Failed::Failed(*failure), None))
        }
        _ => Ok(()),
    }
}

/// What a session is made from.
struct SessionEntropy {
    key: Secret<[u8; 32]>,
    encapsulation: [u8; 64],
}

fn ended() -> ClientError {
    ClientError::new(ErrorCode::Expired, "the session has ended with its epoch").with_hint("open another one")
}

fn used_up() -> ClientError {
    let message = format!("the session has no number left: {SESSION_WINDOW} commands in a row did not arrive");
    ClientError::new(ErrorCode::Expired, message).with_hint("open another one")
}

impl Network {
    /// Opens a session of `account` by a first command to `contract`. The session can be used as soon as that is in a block.
    pub async fn open_session(
        &self,
        account: &Account,
        contract: &ContractId,
        input: Vec<u8>,
        options: &CommandOptions,
    ) -> Result<(Session, Command), ClientError> {
        let cluster = self.contract(contract).await?.cluster;
        self.open_by(account, cluster, *contract, input, options).await
    }

    /// Opens a session of `account` in `cluster` and calls nobody by it: the reply to the opener is that there is no such contract,
    /// and [`verify_open`] says what it means.
    pub async fn open_session_alone(
        &self,
        account: &Account,
        cluster: ClusterId,
        options: &CommandOptions,
    ) -> Result<(Session, Command), ClientError> {
        self.open_by(account, cluster, NOBODY, Vec::new(), options).await
    }

    async fn open_by(
        &self,
        account: &Account,
        cluster: ClusterId,
        contract: ContractId,
        input: Vec<u8>,
        options: &CommandOptions,
    ) -> Result<(Session, Command), ClientError> {
        let deadline = Deadline::after(options.timeout);
        let kind = EnvelopeKind::SessionOpen;
        let prepared = self.prepare(cluster, contract, input, options, CallPurpose::Command, kind);
        let (record, height, call) = deadline.before_sending(prepared).await?;
        let entropy = SessionEntropy { key: Secret::new(entropy::fresh()?), encapsulation: entropy::fresh()? };
        let (session, envelope) = Session::open(self.genesis(), cluster, &record, account, &call, entropy)?;
        let intent = Intent::of(cluster, account.id(), &call, height, options.again.as_ref())?;
        let command = self.push(account, &call, &intent, envelope, deadline, &mut ()).await?;
        Ok((session, command))
    }

    /// Sends a command in a session, paid for by `payer`: returns when it is in a finalised block, before it is executed. What the
    /// session is afterwards, whatever came of it, has to be kept: a number may have been used up.
    pub async fn call_in_session(
        &self,
        session: &mut Session,
        payer: &Account,
        contract: &ContractId,
        input: Vec<u8>,
        options: &CommandOptions,
        journal: &mut impl Journal,
    ) -> Result<Command, ClientError> {
        let deadline = Deadline::after(options.timeout);
        let kind = EnvelopeKind::SessionCommand;
        let prepared = async {
            let cluster = self.contract(contract).await?.cluster;
            if cluster != session.cluster() {
                let message = format!("the session is not open in cluster {cluster}");
                return Err(ClientError::new(ErrorCode::Refused, message).with_hint("open one there"));
            }
            self.prepare(cluster, *contract, input, options, CallPurpose::Command, kind).await
        };
        let (record, height, call) = deadline.before_sending(prepared).await?;
        if record.epoch != session.destination.epoch {
            return Err(ended());
        }
        let intent = Intent::of(session.cluster(), session.account(), &call, height, options.again.as_ref())?;
        let number = session.next;
        let envelope = session.seal(&call)?;
        let command = self.push(payer, &call, &intent, envelope, deadline, journal).await?;
        session.arrived(number);
        Ok(command)
    }

    async fn push(
        &self,
        payer: &Account,
        call: &Call,
        intent: &Intent,
        envelope: Vec<u8>,
        deadline: Deadline,
        journal: &mut impl Journal,
    ) -> Result<Command, ClientError> {
        let extrinsic = ChainCall::push(intent.cluster, call.gas_class, vec![envelope], call.max_fee);
        journal.leaves(intent);
        match self.chain().submit_within(payer, &extrinsic, Until::Finalised, deadline.left()).await {
            Ok(included) => pushed(&included, intent.cluster, call.contract, intent.account, call.nonce),
            Err(error) => Err(if error.is("Inbox", "WrongEpoch") { ended() } else { error.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{
        super::tests::{call, cluster, CLUSTER, GENESIS},
        *,
    };
    use phala_crypto::{
        envelope::open_envelope,
        kdf,
        signature::{ed25519, sr25519},
        testing::{Recording, Sealed},
        xwing::DecapsulationKey,
    };
    use phala_protocol::{
        domain,
        envelope::{Envelope, SizeClass},
        hash::blake2_256,
    };
    use std::collections::BTreeSet;

    fn entropy() -> SessionEntropy {
        SessionEntropy { key: Secret::new([7; 32]), encapsulation: [8; 64] }
    }

    #[test]
    fn what_the_cluster_opens_is_signed_and_gives_it_the_sessions_secret() {
        let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
        let (record, account) = (cluster(&key), Account::development("alice").unwrap());
        let first = call(40);
        let (mut session, bytes) = Session::open(&GENESIS, CLUSTER, &record, &account, &first, entropy()).unwrap();
        let destination = Destination { genesis: GENESIS, cluster: CLUSTER, epoch: record.epoch };
        let opened = open_envelope(&key, &destination, &Envelope::decode_exact(&bytes).unwrap()).unwrap();
        let SessionOpen { signed, session_key } = SessionOpen::decode_exact(opened.data.expose()).unwrap();
        assert_eq!((signed.account, &signed.call), (account.id(), &first));
        let envelope_key = public_key_hash(key.public_key());
        let payload = session_payload(&GENESIS, CLUSTER, &envelope_key, &first, &session_key);
        assert_eq!(sr25519::verify(&account.id().0, &payload, &signed.signature), Ok(()));

        // What the cluster has of it opens what follows, each under the next number.
        let theirs = SessionSecret::of_opener(&opened.exporter);
        for number in 1..4 {
            let next = call(10);
            let envelope = Envelope::decode_exact(&session.seal(&next).unwrap()).unwrap();
            assert_eq!(envelope.header.kind, EnvelopeKind::SessionCommand);
            assert_eq!(envelope.header.size, SizeClass::B256);
            let opened = theirs.open_command(&destination, number, &envelope).unwrap();
            let command = SessionCommand::decode_exact(opened.expose()).unwrap();
            assert_eq!(command.call, next);
            let payload = session_command_payload(&GENESIS, CLUSTER, &theirs.tag(number), &next);
            assert_eq!(ed25519::verify(&session_key, &payload, &command.signature), Ok(()));
        }
    }

    #[test]
    fn a_session_that_was_kept_goes_on_and_gives_no_number_twice() {
        let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
        let (record, account) = (cluster(&key), Account::development("alice").unwrap());
        let (mut session, _) = Session::open(&GENESIS, CLUSTER, &record, &account, &call(1), entropy()).unwrap();
        let opening =
            |session: &mut Session| Envelope::decode_exact(&session.seal(&call(10)).unwrap()).unwrap().opening;
        let first = opening(&mut session);
        let (ahead, now) = (session.keep_ahead(), session.keep());
        let second = opening(&mut session);
        let mut after = Session::from_kept(ahead).unwrap();
        let mut again = Session::from_kept(now).unwrap();
        assert_eq!(opening(&mut again), second, "as if it had not been sent");
        let third = opening(&mut after);
        assert!(third != second && third != first);
        assert_eq!((after.account(), after.cluster(), after.epoch()), (account.id(), CLUSTER, record.epoch));
        assert_eq!(after.genesis(), &GENESIS);

        let bytes = session.keep().expose().clone();
        let damaged = |bytes: &[u8]| {
            let refused = Session::from_kept(Secret::new(bytes.to_vec())).err();
            refused.unwrap().code == ErrorCode::Invalid
        };
        assert!((0..bytes.len()).all(|length| damaged(&bytes[..length])));
        assert!(damaged(&[&bytes[..], &[0]].concat()));
        assert!(damaged(&[&[1], &bytes[1..]].concat()), "of the version before");
        session.reached = session.next;
        assert!(damaged(session.keep().expose()), "a number that arrived and was not given");
    }

    /// The cluster's replicas, as `phala-core` keeps a session: numbers up to [`SESSION_WINDOW`] above the highest that was used.
    struct Replicas {
        highest: u64,
    }

    impl Replicas {
        fn takes(&mut self, number: u64) -> bool {
            let known = number <= self.highest + SESSION_WINDOW;
            self.highest = if known { self.highest.max(number) } else { self.highest };
            known
        }
    }

    #[test]
    fn pushes_that_are_refused_use_up_numbers_and_never_lead_out_of_the_clusters_window() {
        let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
        let (record, account) = (cluster(&key), Account::development("alice").unwrap());
        let (mut session, _) = Session::open(&GENESIS, CLUSTER, &record, &account, &call(1), entropy()).unwrap();
        let (mut replicas, mut openings) = (Replicas { highest: 0 }, Vec::new());
        let mut send = |session: &mut Session| {
            let number = session.next;
            let envelope = Envelope::decode_exact(&session.seal(&call(10)).unwrap()).unwrap();
            openings.push(envelope.opening);
            number
        };
        // All but one of a window are refused, again and again: what gets through is always known.
        for _ in 0..3 {
            for _ in 1..SESSION_WINDOW {
                send(&mut session);
            }
            assert!(!session.is_used_up());
            let number = send(&mut session);
            assert!(replicas.takes(number), "{number}");
            session.arrived(number);
        }
        // As many as the window holds: nothing is sealed that the cluster would not know, also not by the next process.
        for _ in 0..SESSION_WINDOW {
            send(&mut session);
        }
        for mut session in [Session::from_kept(session.keep()).unwrap(), session] {
            let (next, refused) = (session.next, session.seal(&call(10)).unwrap_err());
            assert!(session.is_used_up());
            assert_eq!((refused.code, refused.hint.as_deref()), (ErrorCode::Expired, Some("open another one")));
            assert_eq!(session.next, next, "and no number is lost by it");
            assert!(!replicas.takes(next), "which nobody would have known");
        }
        let given = openings.len();
        openings.sort_unstable();
        openings.dedup();
        assert_eq!(openings.len(), given, "no number was given twice");
    }

    /// What was sealed under a key and nonce that had sealed before.
    fn repeated(all: &[Sealed]) -> Vec<Sealed> {
        let mut seen = BTreeSet::new();
        all.iter().filter(|sealed| !seen.insert((sealed.cipher, sealed.key, sealed.nonce))).copied().collect()
    }

    #[test]
    fn no_key_seals_two_commands_of_a_session_wherever_its_processes_end() {
        let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
        let (record, account) = (cluster(&key), Account::development("alice").unwrap());
        let recording = Recording::begin();
        let (mut keys, mut openings, mut first) = (BTreeSet::new(), BTreeSet::new(), None);
        for _ in 0..4 {
            // As each opener draws it.
            let drawn = SessionEntropy {
                key: Secret::new(entropy::fresh().unwrap()),
                encapsulation: entropy::fresh().unwrap(),
            };
            let (session, opener) = Session::open(&GENESIS, CLUSTER, &record, &account, &call(1), drawn).unwrap();
            openings.insert(Envelope::decode_exact(&opener).unwrap().opening);
            let secret = Secret::new(*session.secret.expose());
            keys.extend((1..=SESSION_WINDOW).map(|number| {
                let key: Secret<[u8; 32]> = kdf::derive_for(&secret, domain::SESSION_KEY, &number);
                blake2_256(key.expose())
            }));
            first = first.or_else(|| Some(session.keep()));
            let mut disk = session.keep();
            for turn in 0..SESSION_WINDOW {
                let mut session = Session::from_kept(disk).unwrap();
                // Kept before the command leaves; the process ends before it keeps what became of it, or after.
                let ahead = session.keep_ahead();
                session.seal(&call(10)).unwrap();
                disk = if turn % 2 == 0 { ahead } else { session.keep() };
            }
        }
        let ours = |sealed: &Sealed| keys.contains(&sealed.key);
        let all: Vec<Sealed> = recording.end().into_iter().filter(ours).collect();
        assert_eq!((openings.len(), all.len()), (4, 4 * SESSION_WINDOW as usize));
        assert_eq!(repeated(&all), []);
        assert!(all.iter().all(|sealed| sealed.cipher == "SivKey"));

        // Whoever owns the folder puts back an old file: it is seen, and two commands under one number are two different messages.
        let recording = Recording::begin();
        let mut session = Session::from_kept(first.unwrap()).unwrap();
        session.seal(&call(10)).unwrap();
        let again: Vec<Sealed> = recording.end().into_iter().filter(ours).collect();
        let twice = repeated(&[&all[..], &again[..]].concat());
        assert_eq!(twice, again);
        assert_eq!(again.len(), 1);
        assert!(all.iter().all(|sealed| sealed.message != again[0].message));
    }

    #[test]
    fn a_command_that_is_too_long_uses_up_no_number() {
        let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
        let (record, account) = (cluster(&key), Account::development("alice").unwrap());
        let (mut session, _) = Session::open(&GENESIS, CLUSTER, &record, &account, &call(1), entropy()).unwrap();
        assert_eq!(session.seal(&call(16_384)).unwrap_err().code, ErrorCode::OverLimit);
        assert_eq!(session.next, 1);
        let closed = ClusterRecord { epoch: 0, ..record };
        let refused = Session::open(&GENESIS, CLUSTER, &closed, &account, &call(1), entropy());
        assert_eq!(refused.err().unwrap().code, ErrorCode::Busy);
    }
}
