//! Clients: accounts that seal real commands and queries, well and badly.
//!
//! Guarantees: whatever is pushed is remembered in plain, so that its reply can be predicted. Poison comes in the ways that
//! [`POISON_KINDS`] counts; each is what its branch in [`Clients::poison`] says.

use crate::{
    canary::{SUPPLY, WORDS},
    contracts,
    model::{Content, Contents, Op},
    node::Node,
    pallets::{CLUSTER, CONSTRUCTOR_CLASS},
    random::Random,
};
use codec::{DecodeAll, Encode};
use phala_core::{QueryFault, Seen, Serving};
use phala_crypto::{
    aead::SivKey,
    envelope::{pad, seal_envelope, unpad, Destination},
    hpke::{self, Exporter},
    signature::{ed25519, sr25519::AccountKey},
    xwing::EncapsulationKey,
    Secret,
};
use phala_protocol::{
    call::{signing_payload, Call, CallPurpose, SignedCall},
    domain,
    envelope::{public_key_hash, EnvelopeKind, SizeClass},
    gas::GasClass,
    query::{self, Answer, Query, QueryHeader, QueryRequest, SealedQuery, SignedQuery},
    result::Failure,
    AccountId, CodeHash, ContractId, Hash, WorkerId,
};

/// Accounts there are.
pub const ACCOUNTS: usize = 4;
/// Ways of being wrong.
pub const POISON_KINDS: u32 = 25;
/// The genesis hash of a chain that is not this one.
const ANOTHER_CHAIN: Hash = [9; 32];
/// Who pays for every push: not the one who signs.
pub const PAYER: AccountId = AccountId([0x70; 32]);

/// All accounts and what they said.
pub struct Clients {
    keys: Vec<AccountKey>,
    nonces: Vec<u64>,
    chance: Random,
    queries: u64,
    /// Large codes that were made.
    padded: u8,
    genesis: Hash,
    /// What every message holds.
    pub contents: Contents,
    /// The token.
    pub token: ContractId,
    /// The keeper.
    pub keeper: ContractId,
}

/// A query that was asked, with what opens its answer.
pub struct Asked {
    /// The query as it was sent.
    pub sealed: Vec<u8>,
    exporter: Exporter,
    worker: WorkerId,
}

impl Clients {
    /// The accounts of a simulation.
    pub fn new(seed: u64, node: &mut Node) -> Self {
        let genesis = node.genesis();
        let account = |index: usize| Secret::new([0xa0 + index as u8; 32]);
        let keys: Vec<_> =
            (0..ACCOUNTS).map(|index| AccountKey::from_mini_secret(&account(index)).expect("a key")).collect();
        let mut id = |code: &[u8], salt: u8| {
            let hash = CodeHash::of(code);
            node.codes.insert(hash, code.to_vec());
            ContractId::derive(&genesis, CLUSTER, &AccountId(keys[0].public()), &hash, &[salt; 32])
        };
        let (token, keeper) = (id(contracts::token(), 1), id(contracts::keeper(), 2));
        Self {
            nonces: vec![0; ACCOUNTS],
            chance: Random::new(seed ^ 0xc11e),
            queries: 0,
            padded: 0,
            genesis,
            contents: Contents::default(),
            token,
            keeper,
            keys,
        }
    }

    /// An account's id.
    pub fn id(&self, account: usize) -> AccountId {
        AccountId(self.keys[account].public())
    }

    /// The account with this id.
    pub fn account_of(&self, id: &AccountId) -> Option<usize> {
        (0..ACCOUNTS).find(|account| self.id(*account) == *id)
    }

    fn call(&mut self, node: &Node, account: usize, contract: ContractId, payload: Vec<u8>) -> Call {
        self.nonces[account] += 1;
        Call {
            purpose: CallPurpose::Command,
            contract,
            nonce: self.nonces[account],
            valid_until: node.pallets.number + 1_000,
            gas_class: GasClass::Small,
            gas_limit: GasClass::Small.gas(),
            max_fee: u128::MAX,
            payload,
        }
    }

    fn sign(&self, account: usize, call: Call, envelope_key: &[u8]) -> SignedCall {
        self.sign_over(&self.genesis, account, call, envelope_key)
    }

    /// As the account signs it on the chain of `genesis`.
    fn sign_over(&self, genesis: &Hash, account: usize, call: Call, envelope_key: &[u8]) -> SignedCall {
        let payload = signing_payload(genesis, CLUSTER, &public_key_hash(envelope_key), &call);
        SignedCall { account: self.id(account), signature: self.keys[account].sign(&payload, &[0; 32]), call }
    }

    fn seal(&mut self, node: &Node, genesis: Hash, kind: EnvelopeKind, plaintext: &[u8]) -> Option<Vec<u8>> {
        let record = node.pallets.cluster.as_ref().filter(|record| record.epoch > 0)?;
        let recipient = EncapsulationKey::from_bytes(&record.envelope_key).ok()?;
        let size = SizeClass::holding(plaintext.len())?;
        let destination = Destination { genesis, cluster: CLUSTER, epoch: record.epoch };
        let entropy = self.chance.bytes();
        let (envelope, _) = seal_envelope(&recipient, &destination, kind, size, plaintext, &entropy).ok()?;
        Some(envelope.to_bytes())
    }

    fn seal_call(&mut self, node: &Node, account: usize, call: Call) -> Option<Vec<u8>> {
        let key = node.pallets.cluster.as_ref()?.envelope_key.clone();
        let signed = self.sign(account, call, &key).encode();
        self.seal(node, self.genesis, EnvelopeKind::Call, &signed)
    }

    fn payload(&self, op: &Op) -> (ContractId, Vec<u8>) {
        match op {
            Op::CreateToken => (self.token, ("create", SUPPLY).encode()),
            Op::CreateKeeper | Op::CreateAnother => (self.keeper, vec![contracts::KEEP]),
            Op::Transfer { to, amount } => (self.token, ("transfer", (self.id(*to), *amount)).encode()),
            Op::Nonsense => (self.token, b"no method".to_vec()),
            Op::Keep(bytes) => (self.keeper, bytes.clone()),
            Op::Trap => (self.keeper, vec![contracts::TRAP]),
            Op::Loop => (self.keeper, vec![contracts::LOOP]),
            Op::Revert => (self.keeper, vec![contracts::REVERT]),
        }
    }

    /// Pushes a good command. False if no epoch is open.
    pub fn command(&mut self, node: &mut Node, account: usize, op: Op) -> bool {
        self.altered_command(node, account, op, None, |_, _| {})
    }

    fn altered_command(
        &mut self,
        node: &mut Node,
        account: usize,
        op: Op,
        failure: Option<Failure>,
        change: impl FnOnce(&mut Call, &Node),
    ) -> bool {
        let (contract, payload) = self.payload(&op);
        let mut call = self.call(node, account, contract, payload);
        change(&mut call, node);
        let content = Content::Call { account, nonce: call.nonce, contract: call.contract, failure, op };
        let Some(envelope) = self.seal_call(node, account, call) else { return false };
        self.contents.insert(&envelope, content);
        node.pallets.push(GasClass::Small, PAYER, envelope).is_some()
    }

    /// Creates the two contracts. False if no epoch is open.
    pub fn deploy(&mut self, node: &mut Node) -> bool {
        let (token, keeper) = (self.token, self.keeper);
        self.create(node, Op::CreateToken, token, contracts::token())
            && self.create(node, Op::CreateKeeper, keeper, contracts::keeper())
    }

    /// Creates one more contract of large code, unlike all before it. False if no epoch is open, or there is no other code.
    pub fn enlarge(&mut self, node: &mut Node) -> bool {
        let Some(number) = self.padded.checked_add(1) else { return false };
        self.padded = number;
        let code = contracts::padded(number);
        let contract = ContractId::derive(&self.genesis, CLUSTER, &self.id(0), &CodeHash::of(&code), &[3; 32]);
        node.codes.insert(CodeHash::of(&code), code.clone());
        self.create(node, Op::CreateAnother, contract, &code)
    }

    fn create(&mut self, node: &mut Node, op: Op, contract: ContractId, code: &[u8]) -> bool {
        let (_, payload) = self.payload(&op);
        let call = self.call(node, 0, contract, payload);
        let call = Call { purpose: CallPurpose::Constructor, gas_class: CONSTRUCTOR_CLASS, ..call };
        let nonce = call.nonce;
        let Some(init) = self.seal_call(node, 0, call) else { return false };
        let pushed = node.pallets.instantiate(self.id(0), CodeHash::of(code), contract, init).is_some();
        if let Some(item) = node.pallets.items.last().filter(|_| pushed) {
            let content = Content::Call { account: 0, nonce, contract, failure: None, op };
            self.contents.insert(&item.message, content);
        }
        pushed
    }

    /// Marked words of an account.
    pub fn words(account: usize, salt: u32) -> Vec<u8> {
        [&[contracts::KEEP], WORDS, format!(" ({account}, {salt})").as_bytes()].concat()
    }

    fn broken(&mut self, node: &mut Node, bytes: Vec<u8>, failure: Failure) -> bool {
        self.contents.insert(&bytes, Content::Broken(failure));
        node.pallets.push(GasClass::Small, PAYER, bytes).is_some()
    }

    /// Pushes something wrong. False if no epoch is open.
    pub fn poison(&mut self, node: &mut Node, account: usize, kind: u32) -> bool {
        let Some(key) = node.pallets.cluster.as_ref().map(|record| record.envelope_key.clone()) else { return false };
        let transfer = Op::Transfer { to: 0, amount: 1 };
        let nonce = self.nonces[account];
        let (contract, payload) = self.payload(&transfer);
        let call = Call {
            purpose: CallPurpose::Command,
            contract,
            nonce: nonce.saturating_add(1),
            valid_until: u32::MAX,
            gas_class: GasClass::Small,
            gas_limit: GasClass::Small.gas(),
            max_fee: u128::MAX,
            payload,
        };
        let signed = self.sign(account, call.clone(), &key);
        let good = signed.encode();
        let Some(mut sealed) = self.seal(node, self.genesis, EnvelopeKind::Call, &good) else { return false };
        match kind % POISON_KINDS {
            0 => self.broken(node, Vec::new(), Failure::Malformed),
            1 => self.broken(node, vec![0xff; sealed.len()], Failure::Malformed),
            2 => {
                sealed[11..].fill(0xa5);
                self.broken(node, sealed, Failure::Undecryptable)
            }
            3 => {
                let last = sealed.len() - 1;
                sealed[last] ^= 1;
                self.broken(node, sealed, Failure::Undecryptable)
            }
            4 => {
                sealed.push(0);
                self.broken(node, sealed, Failure::Malformed)
            }
            // Sealed again for another chain by one who opened it.
            5 => match self.seal(node, ANOTHER_CHAIN, EnvelopeKind::Call, &good) {
                Some(other) => self.broken(node, other, Failure::Undecryptable),
                None => false,
            },
            6 => {
                let forged = SignedCall { signature: [7; 64], ..signed };
                match self.seal(node, self.genesis, EnvelopeKind::Call, &forged.encode()) {
                    Some(sealed) => self.broken(node, sealed, Failure::BadSignature),
                    None => false,
                }
            }
            // Signed for another epoch's key.
            7 => {
                let other = self.sign(account, call, &[1; 1216]).encode();
                match self.seal(node, self.genesis, EnvelopeKind::Call, &other) {
                    Some(sealed) => self.broken(node, sealed, Failure::BadSignature),
                    None => false,
                }
            }
            8 => match self.seal(node, self.genesis, EnvelopeKind::Call, &[good, vec![0]].concat()) {
                Some(sealed) => self.broken(node, sealed, Failure::Malformed),
                None => false,
            },
            9 => match self.seal(node, self.genesis, EnvelopeKind::SessionOpen, &good) {
                Some(sealed) => self.broken(node, sealed, Failure::Malformed),
                None => false,
            },
            10 => self.altered_command(node, account, transfer, None, |call, _| call.nonce = nonce.max(1)),
            11 => self.altered_command(node, account, transfer, Some(Failure::Expired), |call, node| {
                call.valid_until = node.pallets.number - 1;
            }),
            12 => self.altered_command(node, account, transfer, Some(Failure::GasOverClass), |call, _| {
                call.gas_limit += 1;
            }),
            13 => self.altered_command(node, account, transfer, Some(Failure::FeeOverMax), |call, _| call.max_fee = 1),
            14 => self.altered_command(node, account, transfer, Some(Failure::NoSuchContract), |call, _| {
                call.contract = ContractId([3; 32]);
            }),
            15 => self.command(node, account, Op::Nonsense),
            16 => self.command(node, account, Op::Trap),
            17 => self.command(node, account, Op::Loop),
            18 => self.command(node, account, Op::Revert),
            19 => self.altered_command(node, account, transfer, Some(Failure::WrongClass), |call, _| {
                call.gas_class = GasClass::Large;
            }),
            20 => self.altered_command(node, account, transfer, Some(Failure::WrongPurpose), |call, _| {
                call.purpose = CallPurpose::Constructor;
            }),
            // Somebody is faster with a copy: in another class, or as a constructor. The original executes all the same.
            21 | 22 => {
                let number = node.pallets.items.len();
                let pushed = self.command(node, account, transfer.clone());
                let Some(original) = node.pallets.items.get(number).cloned().filter(|_| pushed) else { return false };
                node.pallets.take_back();
                if kind % POISON_KINDS == 21 {
                    node.pallets.push(GasClass::Large, PAYER, original.message.clone());
                } else {
                    let (id, nonce) = (self.id(account), self.nonces[account]);
                    let code = CodeHash::of(contracts::token());
                    node.pallets.instantiate(id, code, contract, original.message.clone());
                    if let Some(item) = node.pallets.items.last() {
                        let failure = Some(Failure::WrongPurpose);
                        let content = Content::Call { account, nonce, contract, failure, op: transfer };
                        self.contents.insert(&item.message, content);
                    }
                }
                node.pallets.push(GasClass::Small, PAYER, original.message).is_some()
            }
            // Said on another chain, and sealed again for this one by whoever opened it there. Then the account says as much here: the
            // nonce is free.
            23 => {
                let elsewhere = self.sign_over(&ANOTHER_CHAIN, account, call, &key).encode();
                match self.seal(node, self.genesis, EnvelopeKind::Call, &elsewhere) {
                    Some(sealed) => {
                        self.broken(node, sealed, Failure::BadSignature) && self.command(node, account, transfer)
                    }
                    None => false,
                }
            }
            // More than anybody has.
            _ => self.command(node, account, Op::Transfer { to: 0, amount: u128::MAX }),
        }
    }

    /// A fresh query to the worker that serves.
    pub fn query(
        &mut self,
        serving: &Serving,
        account: usize,
        request: QueryRequest,
        (valid_until, min_height): (u32, u32),
    ) -> Option<Asked> {
        let key = serving.query_key();
        ed25519::verify(&key.worker.0, &key.signing_payload(&self.genesis), &key.signature).ok()?;
        self.queries += 1;
        let mut nonce = [account as u8; 16];
        nonce[..8].copy_from_slice(&self.queries.to_le_bytes());
        let query = Query { worker: key.worker, request, nonce, valid_until, min_height };
        let payload = query::signing_payload(&self.genesis, CLUSTER, &query);
        let signature = self.keys[account].sign(&payload, &[0; 32]);
        let plaintext = SignedQuery { account: self.id(account), query, signature }.encode();
        let size = SizeClass::holding(plaintext.len())?;
        let header = QueryHeader { version: query::VERSION, cluster: CLUSTER, epoch: key.epoch, size };
        let recipient = EncapsulationKey::from_bytes(&key.public_key).ok()?;
        let info = [domain::QUERY_INFO.as_bytes(), &self.genesis].concat();
        let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &self.chance.bytes());
        let padded = pad(&plaintext, size).ok()?;
        let (body, exporter) = context.seal(&header.encode(), padded.expose()).ok()?;
        let sealed = SealedQuery { header, encapsulated: encapsulated.to_vec(), body }.to_bytes();
        Some(Asked { sealed, exporter, worker: key.worker })
    }

    /// Sends a query and opens what comes back. `Ok(None)` means that the answer does not open or is not signed by the worker.
    pub fn ask(&self, serving: &Serving, seen: &Seen, asked: &Asked) -> Result<Option<Answer>, QueryFault> {
        let answer = serving.answer(&asked.sealed, seen)?;
        let key = SivKey::new(&asked.exporter.export::<32>(domain::QUERY_ANSWER_KEY.as_bytes()));
        let opened = key.open(&answer.nonce, &[], &answer.body).ok();
        let data = opened.and_then(|opened| unpad(&opened).ok());
        let decoded = data.and_then(|data| Answer::decode_all(&mut data.expose().as_slice()).ok());
        Ok(decoded.filter(|decoded| {
            let payload = query::answer_payload(&self.genesis, decoded);
            ed25519::verify(&asked.worker.0, &payload, &answer.signature).is_ok()
        }))
    }
}
