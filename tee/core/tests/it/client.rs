//! Accounts: sealed commands and sealed queries, as a client makes them.

use super::{
    chain::{CLUSTER, CONSTRUCTOR_CLASS},
    network::{Network, Node},
};
use codec::{Decode, DecodeAll, Encode};
use phala_core::{QueryFault, Serving};
use phala_crypto::{
    aead::SivKey,
    envelope::{pad, seal_envelope, unpad, Destination},
    hpke::{self, Exporter},
    kdf,
    session::SessionSecret,
    signature::{
        ed25519::{self, IdentityKey},
        sr25519::AccountKey,
    },
    xwing::EncapsulationKey,
    Secret,
};
use phala_protocol::{
    call::{
        session_command_payload, session_payload, signing_payload, Call, CallPurpose, SessionCommand, SessionOpen,
        SignedCall,
    },
    domain,
    envelope::{public_key_hash, EnvelopeKind, SizeClass},
    gas::GasClass,
    ids::BlockNumber,
    query::{self, Answer, AnswerContent, Query, QueryHeader, QueryRequest, SealedAnswer, SealedQuery, SignedQuery},
    AccountId, ContractId, Hash, WorkerId,
};

pub struct Account {
    key: AccountKey,
    seed: u8,
    pub next_nonce: u64,
    queries: u64,
}

impl Account {
    pub fn new(seed: u8) -> Self {
        let key = AccountKey::from_mini_secret(&Secret::new([seed; 32])).unwrap();
        Self { key, seed, next_nonce: 0, queries: 0 }
    }

    pub fn id(&self) -> AccountId {
        AccountId(self.key.public())
    }

    /// A call with the next nonce and generous limits.
    pub fn call(&mut self, network: &Network, contract: ContractId, payload: Vec<u8>) -> Call {
        self.next_nonce += 1;
        Call {
            purpose: CallPurpose::Command,
            contract,
            nonce: self.next_nonce,
            valid_until: network.chain.number() + 100,
            gas_class: GasClass::Small,
            gas_limit: GasClass::Small.gas(),
            max_fee: u128::MAX,
            payload,
        }
    }

    /// The constructor's call of a new contract.
    pub fn constructor(&mut self, network: &Network, contract: ContractId, payload: Vec<u8>) -> Call {
        let call = self.call(network, contract, payload);
        Call { purpose: CallPurpose::Constructor, gas_class: CONSTRUCTOR_CLASS, ..call }
    }

    pub fn sign(&self, network: &Network, call: Call) -> SignedCall {
        self.sign_over(&network.chain.genesis(), network, call)
    }

    /// The same on another chain, whose cluster has this cluster's number and envelope key.
    pub fn sign_over(&self, genesis: &Hash, network: &Network, call: Call) -> SignedCall {
        let key_hash = public_key_hash(&network.chain.cluster.as_ref().unwrap().envelope_key);
        let payload = signing_payload(genesis, CLUSTER, &key_hash, &call);
        SignedCall { account: self.id(), signature: self.key.sign(&payload, &[0; 32]), call }
    }

    /// The envelope of a call, for the open epoch.
    pub fn seal(&self, network: &Network, call: Call) -> Vec<u8> {
        seal_as(network, EnvelopeKind::Call, &self.sign(network, call).encode())
    }

    /// The envelope of a call that opens a session for `key`, and the session.
    pub fn open_session(&self, network: &Network, call: Call, key: u8) -> (Vec<u8>, Session) {
        let key = IdentityKey::from_seed(&Secret::new([key; 32]));
        let record = network.chain.cluster.as_ref().unwrap();
        let envelope_key = public_key_hash(&record.envelope_key);
        let payload = session_payload(&network.chain.genesis(), CLUSTER, &envelope_key, &call, &key.public());
        let signed = SignedCall { account: self.id(), signature: self.key.sign(&payload, &[0; 32]), call };
        let plaintext = SessionOpen { signed, session_key: key.public() }.encode();
        let destination = Destination { genesis: network.chain.genesis(), cluster: CLUSTER, epoch: record.epoch };
        let recipient = EncapsulationKey::from_bytes(&record.envelope_key).unwrap();
        let size = SizeClass::holding(plaintext.len()).unwrap();
        let entropy = [key.public()[0]; 64];
        let (envelope, exporter) =
            seal_envelope(&recipient, &destination, EnvelopeKind::SessionOpen, size, &plaintext, &entropy).unwrap();
        (envelope.to_bytes(), Session { secret: SessionSecret::of_opener(&exporter), key, destination })
    }

    /// Pushes a call, and returns its nonce.
    pub fn push(&mut self, network: &mut Network, contract: ContractId, payload: Vec<u8>) -> u64 {
        let call = self.call(network, contract, payload);
        let envelope = self.seal(network, call);
        network.chain.push(GasClass::Small, self.id(), envelope);
        self.next_nonce
    }

    /// A question to a worker, with a fresh nonce.
    pub fn query(&mut self, node: &Node, request: QueryRequest) -> Query {
        self.query_of(node.id(), node.tee().head().0, request)
    }

    /// A question to the worker of this id, which has seen this block, with a fresh nonce.
    pub fn query_of(&mut self, worker: WorkerId, height: BlockNumber, request: QueryRequest) -> Query {
        self.queries += 1;
        let mut nonce = [self.seed; 16];
        nonce[..8].copy_from_slice(&self.queries.to_le_bytes());
        Query { worker, request, nonce, valid_until: height + 10, min_height: 0 }
    }

    pub fn sign_query(&self, network: &Network, query: Query) -> SignedQuery {
        let payload = query::signing_payload(&network.chain.genesis(), CLUSTER, &query);
        SignedQuery { account: self.id(), signature: self.key.sign(&payload, &[0; 32]), query }
    }

    /// Asks, and returns what the worker says.
    pub fn ask(&mut self, network: &Network, node: &Node, request: QueryRequest) -> AnswerContent {
        let query = self.query(node, request);
        let signed = self.sign_query(network, query);
        ask(network, node, &signed).content
    }

    pub fn ask_contract(&mut self, network: &Network, contract: ContractId, payload: Vec<u8>) -> AnswerContent {
        self.ask(network, network.worker(), QueryRequest::Contract { contract, payload })
    }

    pub fn ask_reply(&mut self, network: &Network, nonce: u64) -> AnswerContent {
        self.ask(network, network.worker(), QueryRequest::Reply { nonce })
    }

    /// The account's balance of a token.
    pub fn balance(&mut self, network: &Network, token: ContractId) -> u128 {
        match self.ask_contract(network, token, ("balance", ()).encode()) {
            AnswerContent::Output(output) => u128::decode(&mut output.as_slice()).unwrap(),
            other => panic!("no balance: {other:?}"),
        }
    }
}

/// The account's side of a session.
pub struct Session {
    pub secret: SessionSecret,
    pub key: IdentityKey,
    pub destination: Destination,
}

impl Session {
    /// The envelope of the session's command with this number.
    pub fn seal(&self, number: u64, call: &Call) -> Vec<u8> {
        let tag = self.secret.tag(number);
        let payload = session_command_payload(&self.destination.genesis, self.destination.cluster, &tag, call);
        let signature = self.key.sign(&payload);
        let plaintext = SessionCommand { call: call.clone(), signature }.encode();
        let size = SizeClass::holding(plaintext.len()).unwrap();
        self.secret.seal_command(&self.destination, number, size, &plaintext).unwrap().to_bytes()
    }
}

/// An envelope for the open epoch around any bytes.
pub fn seal_as(network: &Network, kind: EnvelopeKind, plaintext: &[u8]) -> Vec<u8> {
    let record = network.chain.cluster.as_ref().unwrap();
    let destination = Destination { genesis: network.chain.genesis(), cluster: CLUSTER, epoch: record.epoch };
    seal_to(network, &destination, kind, plaintext)
}

/// An envelope to the open epoch's key for any destination.
pub fn seal_to(network: &Network, destination: &Destination, kind: EnvelopeKind, plaintext: &[u8]) -> Vec<u8> {
    let record = network.chain.cluster.as_ref().unwrap();
    let recipient = EncapsulationKey::from_bytes(&record.envelope_key).unwrap();
    let size = SizeClass::holding(plaintext.len()).unwrap();
    let (envelope, _) = seal_envelope(&recipient, destination, kind, size, plaintext, &[0x5e; 64]).unwrap();
    envelope.to_bytes()
}

/// Seals a question to a worker's query key, opens its answer and checks the worker's signatures.
pub fn ask(network: &Network, node: &Node, signed: &SignedQuery) -> Answer {
    let serving = node.tee().serving().expect("the worker serves");
    try_ask(network, node, &serving, &signed.encode()).unwrap()
}

pub fn try_ask(network: &Network, node: &Node, serving: &Serving, plaintext: &[u8]) -> Result<Answer, QueryFault> {
    try_ask_sealed(network, node, serving, plaintext).map(|(answer, _)| answer)
}

/// As [`try_ask`], with the answer as everybody sees it.
pub fn try_ask_sealed(
    network: &Network,
    node: &Node,
    serving: &Serving,
    plaintext: &[u8],
) -> Result<(Answer, SealedAnswer), QueryFault> {
    assert_eq!(serving.query_key().worker, node.id());
    let (sealed, exporter) = seal_query(network, serving, plaintext);
    let answer = serving.answer(&sealed, &node.seen)?;
    Ok((open_answer(network, &node.id(), &exporter, &answer), answer))
}

/// A question's bytes, sealed to a worker's query key, and what opens its answer.
pub fn seal_query(network: &Network, serving: &Serving, plaintext: &[u8]) -> (Vec<u8>, Exporter) {
    let genesis = network.chain.genesis();
    let key = serving.query_key();
    ed25519::verify(&key.worker.0, &key.signing_payload(&genesis), &key.signature).unwrap();
    let size = SizeClass::holding(plaintext.len()).unwrap();
    let header = QueryHeader { version: query::VERSION, cluster: CLUSTER, epoch: key.epoch, size };
    let recipient = EncapsulationKey::from_bytes(&key.public_key).unwrap();
    let info = [domain::QUERY_INFO.as_bytes(), &genesis].concat();
    let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &[0x9e; 64]);
    let padded = pad(plaintext, size).unwrap();
    let (body, exporter) = context.seal(&header.encode(), padded.expose()).unwrap();
    (SealedQuery { header, encapsulated: encapsulated.to_vec(), body }.to_bytes(), exporter)
}

/// An answer, opened, with the worker's signature checked.
pub fn open_answer(network: &Network, worker: &WorkerId, exporter: &Exporter, answer: &SealedAnswer) -> Answer {
    let key = SivKey::new(&exporter.export::<32>(domain::QUERY_ANSWER_KEY.as_bytes()));
    let opened = Secret::new(key.open(&answer.nonce, &[], &answer.body).unwrap());
    let nonce_key = exporter.export(domain::QUERY_ANSWER_NONCE_KEY.as_bytes());
    let nonce = kdf::derive::<12>(&nonce_key, domain::QUERY_ANSWER_NONCE, opened.expose());
    assert_eq!(answer.nonce, *nonce.expose(), "it is what the answer gives");
    let opened = unpad(opened.expose()).unwrap();
    let decoded = Answer::decode_all(&mut opened.expose().as_slice()).unwrap();
    ed25519::verify(&worker.0, &query::answer_payload(&network.chain.genesis(), &decoded), &answer.signature).unwrap();
    decoded
}
