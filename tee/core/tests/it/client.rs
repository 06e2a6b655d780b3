//! Accounts: sealed commands and sealed queries, as a client makes them.

use crate::{
    chain::CLUSTER,
    network::{Network, Node},
};
use codec::{Decode, DecodeAll, Encode};
use phala_core::{QueryFault, Serving};
use phala_crypto::{
    aead::GcmKey,
    envelope::{pad, seal_envelope, unpad, Destination},
    hpke,
    signature::{ed25519, sr25519::AccountKey},
    xwing::EncapsulationKey,
    Secret,
};
use phala_protocol::{
    call::{signing_payload, Call, SignedCall},
    domain,
    envelope::{public_key_hash, EnvelopeKind, SizeClass},
    gas::GasClass,
    query::{self, Answer, AnswerContent, Query, QueryHeader, QueryRequest, SealedQuery, SignedQuery},
    AccountId, ContractId,
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
            contract,
            nonce: self.next_nonce,
            valid_until: network.chain.number() + 100,
            gas_limit: GasClass::Small.gas(),
            max_fee: u128::MAX,
            payload,
        }
    }

    pub fn sign(&self, network: &Network, call: Call) -> SignedCall {
        let key_hash = public_key_hash(&network.chain.cluster.as_ref().unwrap().envelope_key);
        let payload = signing_payload(&network.chain.genesis(), CLUSTER, &key_hash, &call);
        SignedCall { account: self.id(), signature: self.key.sign(&payload, &[0; 32]), call }
    }

    /// The envelope of a call, for the open epoch.
    pub fn seal(&self, network: &Network, call: Call) -> Vec<u8> {
        seal_as(network, EnvelopeKind::Call, &self.sign(network, call).encode())
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
        self.queries += 1;
        let height = node.tee().head().0;
        let mut nonce = [self.seed; 16];
        nonce[..8].copy_from_slice(&self.queries.to_le_bytes());
        Query { worker: node.id(), request, nonce, valid_until: height + 10, min_height: 0 }
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
    let genesis = network.chain.genesis();
    let key = serving.query_key();
    assert_eq!(key.worker, node.id());
    ed25519::verify(&key.worker.0, &key.signing_payload(&genesis), &key.signature).unwrap();
    let size = SizeClass::holding(plaintext.len()).unwrap();
    let header = QueryHeader { version: query::VERSION, cluster: CLUSTER, epoch: key.epoch, size };
    let recipient = EncapsulationKey::from_bytes(&key.public_key).unwrap();
    let info = [domain::QUERY_INFO.as_bytes(), &genesis].concat();
    let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &[0x9e; 64]);
    let padded = pad(plaintext, size).unwrap();
    let (body, exporter) = context.seal(&header.encode(), padded.expose()).unwrap();
    let sealed = SealedQuery { header, encapsulated: encapsulated.to_vec(), body };
    let answer = serving.answer(&sealed.to_bytes(), &node.seen)?;
    let key = GcmKey::new(&exporter.export::<32>(domain::QUERY_ANSWER_KEY.as_bytes()));
    let opened = Secret::new(key.open(&[0; 12], &[], &answer.body).unwrap());
    let opened = unpad(opened.expose()).unwrap();
    let decoded = Answer::decode_all(&mut opened.expose().as_slice()).unwrap();
    ed25519::verify(&node.id().0, &query::answer_payload(&genesis, &decoded), &answer.signature).unwrap();
    Ok(decoded)
}
