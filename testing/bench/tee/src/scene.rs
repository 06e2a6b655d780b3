//! A worker with a token and so many accounts, and boundaries of sealed transfers for it.

use crate::{
    bulk::Fill,
    chain::CLUSTER,
    client,
    machine::START,
    measure::{DiskWait, Stopwatch},
    network::{Network, GATEKEEPER, WORKER},
};
use codec::Encode;
use phala_crypto::{
    envelope::{seal_envelope, Destination},
    signature::sr25519::AccountKey,
    xwing::EncapsulationKey,
    Secret,
};
use phala_light_client::testing::TestRandom;
use phala_protocol::{
    call::{signing_payload, Call, CallPurpose, SignedCall},
    envelope::{public_key_hash, EnvelopeKind, SizeClass},
    gas::GasClass,
    ids::BlockNumber,
    limits::REPLY_BLOCKS,
    relay::Delivery,
    AccountId, CodeHash, ContractId,
};

pub use crate::cargo::token;

/// Blocks of an epoch, as networks ship: an hour of blocks of 6 s.
pub const EPOCH_LENGTH: BlockNumber = 600;

/// Blocks after a boundary in which its result must be final, and the state after it served.
const FINAL_WITHIN: usize = 10;

/// What boundaries cost the worker.
pub struct Costs {
    /// Deliveries that brought commands.
    pub executing: Stopwatch,
    /// Those of the blocks after them, by which it saw that their results are final: it lets go of the states before, and serves the new ones.
    pub finalising: Stopwatch,
    /// How many those were.
    pub deliveries: u32,
}

impl Costs {
    pub fn new(disk: DiskWait) -> Self {
        Self { executing: Stopwatch::new(disk.clone()), finalising: Stopwatch::new(disk), deliveries: 0 }
    }

    /// Seconds that finality cost. In a network the delivery that brings it also brings the next commands, and with these counts what any
    /// block costs: here it has a block of its own, of which `empty`, the seconds of a block that brings nothing, is subtracted.
    pub fn finality(&self, empty: f64) -> f64 {
        self.finalising.busy() - empty * f64::from(self.deliveries)
    }
}

/// Accounts that can sign: the first ones of a scene.
pub struct Signer {
    key: AccountKey,
    id: AccountId,
    nonce: u64,
}

impl Signer {
    fn new(number: usize) -> Self {
        let mut random = TestRandom::new(0x5160_0000 + number as u64);
        let key = AccountKey::from_mini_secret(&Secret::new(random.bytes())).unwrap();
        let id = AccountId(key.public());
        // The fill says that nonce 0 was used.
        Self { key, id, nonce: 0 }
    }
}

/// A worker that serves a token, and what it takes to send it commands.
pub struct Scene {
    pub network: Network,
    pub token: ContractId,
    pub signers: Vec<Signer>,
    accounts: Vec<AccountId>,
    random: TestRandom,
    /// The signer of the next command: every command is of another account, as long as there are some.
    turn: usize,
}

impl Scene {
    /// A worker whose store holds `accounts` accounts, of which the first `signers` will send.
    pub fn new(seed: u64, accounts: usize, signers: usize) -> Self {
        Self::with_replies(seed, accounts, signers, 0)
    }

    /// The same with so many replies, all of which are to be forgotten: the first thousand or so with the token's creation, the others with as
    /// many boundaries as there are thousands.
    pub fn with_replies(seed: u64, accounts: usize, signers: usize, replies: usize) -> Self {
        let signers: Vec<Signer> = (0..signers.min(accounts)).map(Signer::new).collect();
        let mut random = TestRandom::new(seed ^ START);
        let mut ids: Vec<AccountId> = signers.iter().map(|signer| signer.id).collect();
        ids.extend((signers.len()..accounts).map(|_| AccountId(random.bytes())));

        let mut network = Network::new(seed, 1);
        let mut owner = client::Account::new(1);
        // The first item of the inbox creates it: its salt is what `Network::instantiate` takes then.
        let token =
            ContractId::derive(&network.chain.genesis(), CLUSTER, &owner.id(), &CodeHash::of(token()), &[0; 32]);
        *network.worker().machine.fill.lock().unwrap() = Some(Fill { contract: token, accounts: ids.clone(), replies });
        if replies > 0 {
            // Blocks in which nothing happens, and no time passes.
            network.chain.blocks.build_blocks(REPLY_BLOCKS as usize);
        }
        network.run_until(|network| network.nodes.iter().all(|node| node.tee().registration().is_some()));
        let worker = network.worker().id();
        // It ends when it is told to ([`Self::end_epoch`]).
        network.chain.epoch_length = BlockNumber::MAX;
        network.chain.create_cluster(vec![worker]);
        network.run_until(|network| network.worker().tee().status().inboxes[0].ready);
        let created = network.deploy(&mut owner, self::token(), ("create", u128::MAX / 2).encode());
        assert_eq!(created, token);
        Self { network, token, signers, accounts: ids, random, turn: 0 }
    }

    /// Puts `commands` transfers into one block and finalises it.
    pub fn push(&mut self, commands: usize) {
        let record = self.network.chain.cluster.clone().unwrap();
        let genesis = self.network.chain.genesis();
        let destination = Destination { genesis, cluster: CLUSTER, epoch: record.epoch };
        let recipient = EncapsulationKey::from_bytes(&record.envelope_key).unwrap();
        let key_hash = public_key_hash(&record.envelope_key);
        for _ in 0..commands {
            let to = self.accounts[self.random.below(self.accounts.len())];
            let turn = self.turn % self.signers.len();
            let signer = &mut self.signers[turn];
            self.turn += 1;
            signer.nonce += 1;
            let call = Call {
                purpose: CallPurpose::Command,
                contract: self.token,
                nonce: signer.nonce,
                valid_until: self.network.chain.number() + 100,
                gas_class: GasClass::Small,
                gas_limit: GasClass::Small.gas(),
                max_fee: u128::MAX,
                payload: ("transfer", (to, 1u128)).encode(),
            };
            let payload = signing_payload(&genesis, CLUSTER, &key_hash, &call);
            let signed = SignedCall { account: signer.id, signature: signer.key.sign(&payload, &[0; 32]), call };
            let plaintext = signed.encode();
            let size = SizeClass::holding(plaintext.len()).unwrap();
            let entropy: Vec<u8> = [self.random.bytes(), self.random.bytes()].concat();
            let entropy = entropy.try_into().unwrap();
            let (envelope, _) =
                seal_envelope(&recipient, &destination, EnvelopeKind::Call, size, &plaintext, &entropy).unwrap();
            self.network.chain.push(GasClass::Small, signer.id, envelope.to_bytes());
        }
        self.network.chain.next_block();
    }

    /// One boundary of `commands` transfers, until its result is final and the state after it served, and what the worker needs for both.
    pub fn boundary(&mut self, commands: usize, costs: &mut Costs) {
        self.push(commands);
        let before = self.network.worker().tee().cluster_health().unwrap().executed;
        self.deliver(&mut costs.executing);
        let health = self.network.worker().tee().cluster_health().unwrap();
        assert_eq!(health.executed, before + commands as u64, "the worker took the whole boundary");
        for _ in 0..FINAL_WITHIN {
            if self.network.is_settled() {
                return;
            }
            self.block(&mut costs.finalising);
            costs.deliveries += 1;
        }
        panic!("its result is not final after {FINAL_WITHIN} blocks: {health:?}");
    }

    /// Goes on until another epoch is open, which has [`EPOCH_LENGTH`].
    pub fn end_epoch(&mut self) {
        let epoch = self.network.chain.epoch();
        self.network.chain.epoch_length = EPOCH_LENGTH;
        self.network.chain.end_epoch();
        while self.network.chain.epoch() == epoch {
            self.network.step();
        }
    }

    /// Bytes that the worker's store gave the disk so far.
    pub fn written(&self) -> u64 {
        self.network.worker().machine.disk.written()
    }

    /// Seconds that a block which brings nothing costs the worker: the mean of so many.
    pub fn empty_block(&mut self, blocks: u32) -> f64 {
        let mut watch = Stopwatch::new(self.network.worker().machine.disk.clone());
        (0..blocks).for_each(|_| self.block(&mut watch));
        watch.busy() / f64::from(blocks)
    }

    /// The next block, which brings no commands, and what the worker needs for it.
    fn block(&mut self, watch: &mut Stopwatch) {
        self.network.chain.next_block();
        self.network.deliver(GATEKEEPER).unwrap();
        self.deliver(watch);
    }

    /// What the worker needs for what the chain has for it: to take the relayer's bytes apart, to do what they say, and to make the status
    /// that the relayer gets. Making the bytes is not counted, nor is carrying what the status says.
    fn deliver(&mut self, watch: &mut Stopwatch) {
        let bytes = self.network.delivery(WORKER).encode();
        let tee = self.network.nodes[WORKER].tee.as_mut().unwrap();
        watch.time(|| {
            let delivery = Delivery::decode_bounded(&bytes).unwrap();
            let (_, taken) = tee.deliver(delivery);
            taken.unwrap();
            let _serving = tee.serving();
            tee.status().encode()
        });
        let status = tee.status();
        for outgoing in status.outgoing {
            self.network.carry(status.identity, outgoing);
        }
    }

    /// Checks that commands did what they said: the sender's balance went down.
    pub fn check(&mut self, commands: usize) {
        let replies = self.network.worker().tee().cluster_health().unwrap().executed;
        assert_eq!(replies, commands as u64 + 1);
        let mut owner = client::Account::new(1);
        owner.next_nonce = 1;
        assert_eq!(owner.balance(&self.network, self.token), u128::MAX / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::NONCE_OF_BEFORE;
    use phala_protocol::query::{self, Query, QueryRequest, SignedQuery};
    use std::time::Duration;

    #[test]
    fn a_filled_store_is_one_that_a_worker_goes_on_from() {
        let mut scene = Scene::new(7, 20, 4);
        scene.boundary(4, &mut Costs::new(DiskWait::default()));
        scene.check(4);
    }

    #[test]
    fn what_makes_a_result_final_is_delivered_and_counted_apart() {
        let mut scene = Scene::new(7, 20, 4);
        let mut costs = Costs::new(DiskWait::default());
        for boundary in 1..=3 {
            scene.boundary(4, &mut costs);
            assert!(costs.deliveries >= boundary, "{} deliveries", costs.deliveries);
            assert!(scene.network.is_settled());
            let health = scene.network.worker().tee().cluster_health().unwrap();
            assert_eq!((health.executed, health.pending), (1 + 4 * u64::from(boundary), 0));
        }
        // What is of commands is in no block that brings none.
        scene.empty_block(2);
        assert_eq!(scene.network.worker().tee().cluster_health().unwrap().executed, 13);
        let mut counted = Costs::new(DiskWait::default());
        (counted.finalising.processor, counted.deliveries) = (Duration::from_millis(70), 4);
        assert!((counted.finality(0.01) - 0.03).abs() < 1e-9);
    }

    #[test]
    fn a_boundary_forgets_as_many_replies_of_before_as_a_thousand_commands_add() {
        let mut scene = Scene::with_replies(7, 20, 4, 3_000);
        scene.boundary(4, &mut Costs::new(DiskWait::default()));
        scene.check(4);
        let (signer, worker) = (&scene.signers[0], scene.network.worker());
        // What is kept of before proves nothing, so that asking for it is an error; for what is not there it is none.
        let kept = |index: u64| {
            let query = Query {
                worker: worker.id(),
                request: QueryRequest::Reply { nonce: NONCE_OF_BEFORE + index },
                nonce: [index as u8; 16],
                valid_until: worker.tee().head().0 + 10,
                min_height: 0,
            };
            let payload = query::signing_payload(&scene.network.chain.genesis(), CLUSTER, &query);
            let signed = SignedQuery { account: signer.id, signature: signer.key.sign(&payload, &[0; 32]), query };
            let serving = worker.tee().serving().unwrap();
            client::try_ask(&scene.network, worker, &serving, &signed.encode()).is_err()
        };
        // Each twentieth is of this account. A thousand went with the token's creation, a thousand with the boundary.
        assert_eq!([0, 980, 1_000, 1_980, 2_000, 2_980].map(kept), [false, false, false, false, true, true]);
    }
}
