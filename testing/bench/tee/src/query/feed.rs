//! Keeps a worker executing: blocks of sealed transfers, one delivery after the other, as fast as the worker takes them.
//!
//! Envelopes are sealed before anything is counted. A block is built and proved while the one before it executes, so that the worker
//! waits for nobody; its results become final two blocks later, as on a chain. Whoever asks holds an amount that nobody moves.

use super::outside::{OutsideWorker, Relayed};
use crate::{
    chain::CLUSTER,
    client,
    network::{Network, GATEKEEPER},
    scene::token,
};
use anyhow::{bail, ensure, Result};
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
    relay::{Outgoing, TeeStatus},
    storage, AccountId, ContractId,
};
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Accounts that send.
const SENDERS: usize = 1_000;
/// Accounts that ask.
const HOLDERS: usize = 250;
/// What a sender begins with; a command moves 1.
const FUNDS: u128 = 1_000_000;

/// An account whose balance no command changes.
pub struct Holder {
    pub key: AccountKey,
    pub id: AccountId,
    pub balance: u128,
}

struct Sender {
    key: AccountKey,
    id: AccountId,
    nonce: u64,
}

/// What became of feeding it.
pub struct Fed {
    pub commands: u64,
    pub boundaries: usize,
    /// How long it was fed, and how long of that a delivery was under way.
    time: Duration,
    delivering: Duration,
    /// Whether there was nothing left to feed it.
    pub ran_out: bool,
}

impl Fed {
    /// The share of the time in which a delivery was under way.
    pub fn busy(&self) -> f64 {
        self.delivering.as_secs_f64() / self.time.as_secs_f64()
    }
}

pub struct Feed {
    pub network: Network,
    pub worker: OutsideWorker,
    pub token: ContractId,
    pub holders: Vec<Holder>,
    relayed: Relayed,
    senders: Vec<Sender>,
    blocks: VecDeque<Vec<Vec<u8>>>,
    random: TestRandom,
}

impl Feed {
    /// A worker with a token, and with everybody's funds in it.
    pub fn new(seed: u64) -> Result<Self> {
        let network = Network::new(seed, 0);
        let worker = OutsideWorker::start(&network.chain)?;
        let relayed = worker.relayed()?;
        let account = |number: usize| {
            let key = AccountKey::from_mini_secret(&Secret::new(TestRandom::new(0x9e11_0000 + number as u64).bytes()))
                .unwrap();
            let id = AccountId(key.public());
            (key, id)
        };
        let senders = (0..SENDERS).map(account).map(|(key, id)| Sender { key, id, nonce: 0 }).collect();
        let holders = (SENDERS..SENDERS + HOLDERS).map(|number| {
            let (key, id) = account(number);
            Holder { key, id, balance: 1_000 + number as u128 }
        });
        let (holders, random) = (holders.collect(), TestRandom::new(seed ^ 0xfeed));
        let token = ContractId([0; 32]);
        let mut feed = Self { network, worker, token, holders, relayed, senders, blocks: VecDeque::new(), random };
        feed.deploy()?;
        Ok(feed)
    }

    fn deploy(&mut self) -> Result<()> {
        self.run_until(|feed, _| Ok(feed.worker.says("/v1/health")?["registered"] == true))?;
        let id = self.relayed.status()?.identity;
        self.network.chain.create_cluster(vec![id]);
        self.run_until(|_, status| Ok(status.inboxes[0].ready))?;
        let mut owner = client::Account::new(1);
        self.token = self.network.instantiate(&mut owner, token(), ("create", u128::MAX / 2).encode());
        self.network.chain.next_block();
        let funds: Vec<_> = self.senders.iter().map(|sender| (sender.id, FUNDS)).collect();
        for (to, amount) in funds.into_iter().chain(self.holders.iter().map(|holder| (holder.id, holder.balance))) {
            owner.push(&mut self.network, self.token, ("transfer", (to, amount)).encode());
        }
        self.network.chain.next_block();
        self.settle()
    }

    /// Until everything is executed and final.
    fn settle(&mut self) -> Result<()> {
        // A new connection: the worker hangs up on whoever said nothing for a while.
        self.relayed = self.worker.relayed()?;
        let count = self.network.chain.head.count;
        self.run_until(|feed, _| {
            let health = &feed.worker.says("/v1/health")?["cluster"];
            Ok(health["executed"] == count && health["pending"] == 0 && health["serving"] == true)
        })
    }

    /// Feeds the worker what was sealed while nobody asks it anything. Returns how many commands a second it took.
    pub fn alone(&mut self) -> Result<f64> {
        let fed = self.run(&AtomicBool::new(false), &AtomicU64::new(0))?;
        self.settle()?;
        Ok(fed.commands as f64 / fed.delivering.as_secs_f64())
    }

    /// Deliveries and blocks, one after the other, until `done`.
    fn run_until(&mut self, mut done: impl FnMut(&Self, &TeeStatus) -> Result<bool>) -> Result<()> {
        for _ in 0..100 {
            let status = self.relayed.status()?;
            if done(self, &status)? {
                return Ok(());
            }
            let mut delivery = self.network.delivery_for(&status, usize::MAX);
            delivery.answers = self.network.answers.remove(&status.identity).unwrap_or_default();
            let status = self.relayed.deliver(&delivery.encode())?;
            let opened = self.network.chain.cluster.as_ref().is_some_and(|record| record.epoch > 0);
            for outgoing in status.outgoing {
                // The first epoch stays open: what is sealed is sealed for it.
                if !(opened && matches!(outgoing, Outgoing::AnnounceKey { .. })) {
                    self.network.carry(status.identity, outgoing);
                }
            }
            self.network.deliver(GATEKEEPER)?;
            self.network.chain.next_block();
        }
        bail!("nothing came of it in 100 blocks")
    }

    /// Seals `blocks` of `commands` transfers between the senders, for the open epoch.
    pub fn seal(&mut self, blocks: usize, commands: usize) {
        let record = self.network.chain.cluster.clone().unwrap();
        let genesis = self.network.chain.genesis();
        let destination = Destination { genesis, cluster: CLUSTER, epoch: record.epoch };
        let recipient = EncapsulationKey::from_bytes(&record.envelope_key).unwrap();
        let key_hash = public_key_hash(&record.envelope_key);
        let valid_until = self.network.chain.number() + 1_000_000;
        for number in 0..blocks * commands {
            let to = self.senders[self.random.below(SENDERS)].id;
            let sender = &mut self.senders[number % SENDERS];
            sender.nonce += 1;
            let call = Call {
                purpose: CallPurpose::Command,
                contract: self.token,
                nonce: sender.nonce,
                valid_until,
                gas_class: GasClass::Small,
                gas_limit: GasClass::Small.gas(),
                max_fee: u128::MAX,
                payload: ("transfer", (to, 1u128)).encode(),
            };
            let payload = signing_payload(&genesis, CLUSTER, &key_hash, &call);
            let signed = SignedCall { account: sender.id, signature: sender.key.sign(&payload, &[0; 32]), call };
            let plaintext = signed.encode();
            let size = SizeClass::holding(plaintext.len()).unwrap();
            let entropy: [u8; 64] = [self.random.bytes(), self.random.bytes()].concat().try_into().unwrap();
            let (envelope, _) =
                seal_envelope(&recipient, &destination, EnvelopeKind::Call, size, &plaintext, &entropy).unwrap();
            if number % commands == 0 {
                self.blocks.push_back(Vec::with_capacity(commands));
            }
            self.blocks.back_mut().unwrap().push(envelope.to_bytes());
        }
    }

    /// How many commands are sealed.
    pub fn sealed(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// The next block, with what the worker said last, and the delivery of it to a worker that has taken everything before. None when
    /// nothing that was sealed is left.
    fn next(&mut self, said: &TeeStatus) -> Option<Vec<u8>> {
        let envelopes = self.blocks.pop_front()?;
        let mut expected = said.clone();
        expected.height = self.network.chain.blocks.best();
        expected.inboxes[0].head = self.network.chain.head;
        for outgoing in &said.outgoing {
            // The next epoch is not announced: what is sealed is sealed for this one.
            if let Outgoing::Result(_) = outgoing {
                self.network.carry(said.identity, outgoing.clone());
            }
        }
        for (envelope, sender) in envelopes.into_iter().zip(self.senders.iter().map(|sender| sender.id).cycle()) {
            self.network.chain.push(GasClass::Small, sender, envelope);
        }
        let executing = self.network.chain.number();
        self.network.chain.next_block();
        // The result of the block that executes meanwhile, which `said` does not name yet.
        expected
            .wanted_keys
            .extend((1..=2).map(|back| storage::final_result_key(CLUSTER, executing.saturating_sub(back))));
        expected.wanted_keys.sort_unstable();
        expected.wanted_keys.dedup();
        Some(self.network.delivery_for(&expected, usize::MAX).encode())
    }

    /// Feeds the worker until `stop`, or until nothing is left. Counts in `executed` as it goes.
    pub fn run(&mut self, stop: &AtomicBool, executed: &AtomicU64) -> Result<Fed> {
        let (start, mut delivering, mut boundaries) = (Instant::now(), Duration::ZERO, 0);
        let first = self.network.chain.head.count;
        // A new one: the worker hangs up on whoever said nothing for a while.
        let mut relayed = self.worker.relayed()?;
        let mut said = relayed.status()?;
        let mut delivery = self.next(&said);
        while let Some(bytes) = delivery.take() {
            let count = self.network.chain.head.count;
            let (taken, next) = thread::scope(|scope| {
                let delivering = scope.spawn(|| {
                    let sent = Instant::now();
                    relayed.deliver(&bytes).map(|status| (status, sent.elapsed()))
                });
                let next = self.next(&said);
                (delivering.join(), next)
            });
            let (status, took) = taken.map_err(|_| anyhow::anyhow!("the relayer gave up"))??;
            ensure!(status.inboxes[0].head.count == count, "the worker did not take the whole block");
            delivering += took;
            boundaries += 1;
            executed.store(count - first, Ordering::Relaxed);
            said = status;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            delivery = next;
        }
        let ran_out = !stop.load(Ordering::Relaxed);
        let commands = executed.load(Ordering::Relaxed);
        Ok(Fed { commands, boundaries, time: start.elapsed(), delivering, ran_out })
    }
}
