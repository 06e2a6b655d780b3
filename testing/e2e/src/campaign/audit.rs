//! Holds the chain against what was sent, and workers' replies against what they must be.
//!
//! The inbox is one ordered queue, so that what each item must come to follows from the items before it: a model of the token and of
//! nonces is run beside, from the node's inbox items (held against a proved head) and the ledger of what was sent. Then:
//!
//! | invariant | what holds |
//! |---|---|
//! | `nothing_lost` | what the chain said it included is in the inbox, where it said; the final results cover every item |
//! | `one_reply_each` | a boundary commits as many replies as it has items; a command's reply is proved under the final result, at the item's place, with the model's outcome |
//! | `nothing_doubled` | balances are the model's, which executes each nonce once however often it was included; they add up to the supply |
//! | `linear_results` | each result ends at its boundary's link and begins at the commitment where the one before ended |
//! | `no_divergence` | every final result has the signatures of all replicas, crashed or not; no worker says that it diverged; all executed as much |
//!
//! Guarantees: what is checked comes with proofs from the pinned genesis on, or is checked against such. It waits, for a bounded time, for what has
//! not happened yet; it changes nothing.

use crate::load::{Intent, Load};
use anyhow::{Context, Result};
use phala_client::{
    abi::{Budget, Kind},
    query::AttestedWorker,
    worker::WorkerEndpoint,
    ClientError, ErrorCode,
};
use phala_crypto::merkle;
use phala_protocol::{
    chain_state::FinalRecord,
    ids::BlockNumber,
    inbox::{Head, Item},
    limits::MAX_INBOX_ITEMS_PER_ANSWER,
    query::{AnswerContent, QueryRefusal, QueryRequest},
    result::{reply_leaf, Outcome},
    storage, ClusterId, Hash,
};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_millis(300);

/// A promise that was found broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: Cow<'static, str>,
    /// What was seen.
    pub detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.invariant, self.detail)
    }
}

/// What a command must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It moves the amount.
    Moves,
    /// The contract refuses: the sender has less.
    Refused,
    /// Its nonce was used by an earlier item: nothing happens, and the reply is nobody's.
    Repeated,
}

/// The token and the nonces, as the inbox's order makes them.
#[derive(Clone, Debug, Default)]
pub struct Model {
    balances: Vec<u128>,
    used: BTreeSet<(usize, u64)>,
}

impl Model {
    /// With these balances, by account.
    pub fn new(balances: Vec<u128>) -> Self {
        Self { balances, used: BTreeSet::new() }
    }

    /// What the next item comes to.
    pub fn execute(&mut self, intent: &Intent) -> Expected {
        if !self.used.insert((intent.from, intent.nonce)) {
            return Expected::Repeated;
        }
        let Some(rest) = self.balances[intent.from].checked_sub(intent.amount) else { return Expected::Refused };
        self.balances[intent.from] = rest;
        self.balances[intent.to] += intent.amount;
        Expected::Moves
    }
}

/// One cluster's inbox as far as it was read.
struct Inbox {
    cluster: ClusterId,
    head: Head,
    /// Block, what it must come to and whose it is; none for items of before the campaign.
    items: Vec<(BlockNumber, Option<(usize, Expected)>)>,
    links: Vec<Hash>,
    /// Items before the campaign's first.
    before: u64,
    /// Items whose replies have been checked.
    checked: usize,
    results: Vec<FinalRecord>,
    model: Model,
    endpoints: Vec<WorkerEndpoint>,
}

/// Numbers for the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Items of transfers in the inboxes.
    pub items: usize,
    /// Of them, copies of a transfer that was included already.
    pub repeated: usize,
    /// Transfers that the contract refused, as the model says.
    pub refused: usize,
    /// Replies that were proved.
    pub replies: usize,
    /// Final results in the chains of results.
    pub results: usize,
    /// Changes of epoch within them.
    pub epochs: usize,
}

impl Counts {
    /// Adds the numbers of another run.
    pub fn add(&mut self, other: &Self) {
        let Self { items, repeated, refused, replies, results, epochs } = other;
        self.items += items;
        self.repeated += repeated;
        self.refused += refused;
        self.replies += replies;
        self.results += results;
        self.epochs += epochs;
    }
}

/// The auditor.
pub struct Audit {
    load: Arc<Load>,
    inboxes: Vec<Inbox>,
    asked: BTreeMap<String, AttestedWorker>,
    /// What was found.
    pub violations: Vec<Violation>,
    /// What was looked at.
    pub counts: Counts,
}

impl Audit {
    /// Begins where the network is now. `workers` are the endpoints by cluster.
    pub async fn begin(load: Arc<Load>, workers: &BTreeMap<u32, Vec<String>>) -> Result<Self> {
        let mut inboxes = Vec::new();
        for (index, token) in load.tokens.iter().enumerate() {
            let cluster = token.cluster;
            let urls = workers.get(&cluster.0).context("a token's cluster has no worker")?;
            let endpoints = urls.iter().map(|url| WorkerEndpoint::new(url)).collect::<Result<Vec<_>, _>>()?;
            let head = proved_head(&load, cluster).await?;
            let mut balances = Vec::new();
            for account in 0..load.accounts.len() {
                balances.push(balance(&load, index, account, &endpoints).await?);
            }
            inboxes.push(Inbox {
                cluster,
                head: Head::empty(cluster),
                items: Vec::new(),
                links: Vec::new(),
                before: head.count,
                checked: 0,
                results: Vec::new(),
                model: Model::new(balances),
                endpoints,
            });
        }
        Ok(Self { load, inboxes, asked: BTreeMap::new(), violations: Vec::new(), counts: Counts::default() })
    }

    fn violated(&mut self, invariant: &'static str, detail: String) {
        eprintln!("VIOLATED {invariant}: {detail}");
        self.violations.push(Violation { invariant: invariant.into(), detail });
    }

    /// Checks everything that is in the inboxes now, waiting until it is final.
    pub async fn catch_up(&mut self, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        for index in 0..self.inboxes.len() {
            self.read_items(index).await?;
            self.follow_results(index, until).await?;
            self.check_replies(index, until).await?;
        }
        Ok(())
    }

    /// Reads the inbox's new items and runs the model over them.
    async fn read_items(&mut self, index: usize) -> Result<()> {
        let cluster = self.inboxes[index].cluster;
        let head = proved_head(&self.load, cluster).await?;
        while self.inboxes[index].head.count < head.count {
            let from = self.inboxes[index].head.count;
            let answer = self
                .load
                .link
                .answer(|network| async move {
                    network.chain().inbox_items(cluster, from, MAX_INBOX_ITEMS_PER_ANSWER).await
                })
                .await?;
            if answer.items.is_empty() {
                self.violated("nothing_lost", format!("the node does not have item {from} of cluster {cluster}"));
                anyhow::bail!("an inbox cannot be read");
            }
            for bytes in answer.items.iter().take((head.count - from) as usize) {
                self.take_item(index, bytes)?;
            }
        }
        if self.inboxes[index].head != head {
            self.violated("nothing_lost", format!("the items of cluster {cluster} do not lead to its proved head"));
        }
        Ok(())
    }

    fn take_item(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let item = Item::decode_bounded(bytes)?;
        let inbox = &mut self.inboxes[index];
        inbox.head = inbox.head.pushed(&item.header, &item.message).context("the node's items are not in order")?;
        inbox.links.push(inbox.head.link);
        let sequence = item.header.sequence;
        if sequence < inbox.before {
            inbox.items.push((item.header.block, None));
            return Ok(());
        }
        let Some(intent) = self.load.ledger.by_envelope(&item.message) else {
            inbox.items.push((item.header.block, None));
            self.violated("nothing_doubled", format!("item {sequence} was never sent"));
            return Ok(());
        };
        let expected = inbox.model.execute(&self.load.ledger.intent(intent));
        inbox.items.push((item.header.block, Some((intent, expected))));
        self.counts.items += 1;
        self.counts.repeated += usize::from(expected == Expected::Repeated);
        self.counts.refused += usize::from(expected == Expected::Refused);
        Ok(())
    }

    /// Waits for the final result of every block that has items, and checks that each continues the one before.
    async fn follow_results(&mut self, index: usize, until: Instant) -> Result<()> {
        let cluster = self.inboxes[index].cluster;
        loop {
            let covered = self.inboxes[index].results.last().map_or(0, |last| last.result.boundary.count);
            let Some((block, _)) = self.inboxes[index].items.get(covered as usize).copied() else { return Ok(()) };
            let record = loop {
                let found =
                    self.load.link.answer(|network| async move { network.final_result(cluster, block).await }).await?;
                if let Some(record) = found {
                    break record;
                }
                if Instant::now() > until {
                    self.violated("nothing_lost", format!("no final result for block {block} of cluster {cluster}"));
                    anyhow::bail!("the cluster does not go on");
                }
                tokio::time::sleep(PAUSE).await;
            };
            self.check_result(index, block, covered, &record);
            self.inboxes[index].results.push(record);
            self.counts.results += 1;
            if self.inboxes[index].results.last().map(|last| last.result.boundary.count) <= Some(covered) {
                anyhow::bail!("a result covers nothing");
            }
        }
    }

    fn check_result(&mut self, index: usize, block: BlockNumber, covered: u64, record: &FinalRecord) {
        let inbox = &self.inboxes[index];
        let (result, cluster) = (&record.result, inbox.cluster);
        let mut found = Vec::new();
        let items = inbox.items.iter().skip(covered as usize).take_while(|(of, _)| *of == block).count() as u64;
        let end = result.boundary;
        if end.block != block || end.count != covered + items {
            found.push(("linear_results", format!("the result of block {block} covers up to {}", end.count)));
        }
        if inbox.links.get(end.count.saturating_sub(1) as usize) != Some(&end.link) {
            found.push(("linear_results", format!("the result of block {block} ends at another link")));
        }
        let mut rolled = 0;
        if let Some(before) = inbox.results.last().map(|before| &before.result) {
            // Commitments of two epochs are under two keys; the chain takes the second only after their binding.
            let continues =
                if before.epoch == result.epoch { before.next == result.prev } else { before.epoch < result.epoch };
            rolled = usize::from(before.epoch != result.epoch);
            if !continues || before.cluster != result.cluster {
                found.push(("linear_results", format!("the result of block {block} does not continue the one before")));
            }
        }
        let voters: BTreeSet<_> = record.votes.iter().map(|(worker, _)| *worker).collect();
        // The first results may be of the time before the witness.
        if covered >= inbox.before && voters.len() != inbox.endpoints.len() {
            let all = inbox.endpoints.len();
            found.push((
                "no_divergence",
                format!("{} of {all} replicas signed the result of block {block}", voters.len()),
            ));
        }
        self.counts.epochs += rolled;
        for (invariant, detail) in found {
            self.violated(invariant, format!("cluster {cluster}: {detail}"));
        }
    }

    /// Asks for the reply to every command whose result is final, and verifies it; replicas take turns.
    async fn check_replies(&mut self, index: usize, until: Instant) -> Result<()> {
        let finals = self.inboxes[index].results.last().map_or(0, |last| last.result.boundary.count) as usize;
        for sequence in self.inboxes[index].checked..finals {
            let inbox = &self.inboxes[index];
            let (block, owner) = inbox.items[sequence];
            if let Some((intent, expected)) = owner.filter(|(_, expected)| *expected != Expected::Repeated) {
                let record = inbox.results.iter().rfind(|record| record.result.boundary.block == block);
                let record = record.cloned().context("a final item has no result")?;
                let first = inbox.items.iter().position(|(of, _)| *of == block).unwrap_or_default();
                let place = (sequence - first, record.result.boundary.count as usize - first);
                let intent = self.load.ledger.intent(intent);
                match self.reply(index, sequence, &intent, &record, until).await? {
                    AnswerContent::Pending | AnswerContent::Refused(QueryRefusal::NotFound) => {
                        self.violated("one_reply_each", format!("item {sequence} is final and has no reply"));
                    }
                    content => {
                        if let Err(why) =
                            proves(&content, sequence as u64, &intent, expected, &record, place, &self.load)
                        {
                            self.violated("one_reply_each", format!("the reply to item {sequence}: {why}"));
                        }
                        self.counts.replies += 1;
                    }
                }
            }
            self.inboxes[index].checked = sequence + 1;
        }
        Ok(())
    }

    /// Waits until a transfer's result is final and every replica of its cluster gives the reply. Verifying it is left to the next
    /// [`Self::catch_up`], in the inbox's order.
    pub async fn replied(&mut self, index: usize, intent: usize, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        let intent = self.load.ledger.intent(intent);
        let (_, block) = intent.accepted.context("the transfer is not in the inbox")?;
        let cluster = self.inboxes[index].cluster;
        let record = loop {
            let found =
                self.load.link.answer(|network| async move { network.final_result(cluster, block).await }).await?;
            match found {
                Some(record) => break record,
                None => tokio::time::sleep(PAUSE).await,
            }
        };
        for replica in 0..self.inboxes[index].endpoints.len() {
            let content = self.reply(index, replica, &intent, &record, until).await?;
            anyhow::ensure!(matches!(content, AnswerContent::Reply { .. }), "a final transfer has no reply");
        }
        Ok(())
    }

    /// What a replica, chosen by the number `turn`, answers to the question for a reply.
    async fn reply(
        &mut self,
        index: usize,
        turn: usize,
        intent: &Intent,
        record: &FinalRecord,
        until: Instant,
    ) -> Result<AnswerContent> {
        let (cluster, endpoints) = (self.inboxes[index].cluster, self.inboxes[index].endpoints.clone());
        let endpoint = &endpoints[turn % endpoints.len()];
        loop {
            let network = self.load.link.network().await;
            let asked = async {
                let worker = match self.asked.get(endpoint.url()) {
                    Some(worker) => worker.clone(),
                    None => AttestedWorker::verify(&network, endpoint, cluster).await?,
                };
                let request = QueryRequest::Reply { nonce: intent.nonce };
                let account = &self.load.accounts[intent.from];
                // A query names the head it was made at: this worker's key is kept only while that is near.
                let answer = worker.ask(network.genesis(), account, &request, record.finalised_at).await?;
                Ok::<_, ClientError>((worker, answer.answer.content))
            };
            match asked.await {
                Ok((worker, content)) => {
                    self.asked.insert(endpoint.url().to_owned(), worker);
                    return Ok(content);
                }
                Err(error) => {
                    self.asked.remove(endpoint.url());
                    self.load.link.failed(&network, &error).await;
                    anyhow::ensure!(Instant::now() < until, "{} gives no reply: {error}", endpoint.url());
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Everything is settled: what was accepted is there, and balances are the model's.
    pub async fn finish(&mut self, within: Duration) -> Result<()> {
        self.catch_up(within).await?;
        for (number, intent) in self.load.ledger.intents().into_iter().enumerate() {
            let Some((sequence, block)) = intent.accepted else {
                self.violated(
                    "nothing_lost",
                    format!("transfer {number} was sent {} times and never taken", intent.sent),
                );
                continue;
            };
            let there = self.inboxes[intent.token].items.get(sequence as usize);
            if !there.is_some_and(|(of, owner)| *of == block && owner.is_some_and(|(owner, _)| owner == number)) {
                self.violated(
                    "nothing_lost",
                    format!("transfer {number} was included as item {sequence} and is not there"),
                );
            }
        }
        for index in 0..self.inboxes.len() {
            self.settle_balances(index).await?;
        }
        Ok(())
    }

    async fn settle_balances(&mut self, index: usize) -> Result<()> {
        let (endpoints, model) = (self.inboxes[index].endpoints.clone(), self.inboxes[index].model.clone());
        for endpoint in &endpoints {
            let asked = std::slice::from_ref(endpoint);
            let mut total = 0;
            for (account, expected) in model.balances.iter().enumerate() {
                let has = balance(&self.load, index, account, asked).await?;
                total += has;
                if has != *expected {
                    let who = self.load.accounts[account].name().to_owned();
                    self.violated("nothing_doubled", format!("{who} has {has} at {}, not {expected}", endpoint.url()));
                }
            }
            let supply = query(&self.load, index, 0, "total_supply", asked).await?;
            if supply != total {
                self.violated(
                    "nothing_doubled",
                    format!("balances add up to {total} of {supply} at {}", endpoint.url()),
                );
            }
        }
        Ok(())
    }
}

/// Whether an answer is the proved reply to item `sequence`, with the expected outcome.
fn proves(
    content: &AnswerContent,
    sequence: u64,
    intent: &Intent,
    expected: Expected,
    record: &FinalRecord,
    place: (usize, usize),
    load: &Load,
) -> Result<(), String> {
    let AnswerContent::Reply { reply, salt, result, position, path } = content else {
        return Err(format!("{content:?} is no reply"));
    };
    let account = load.accounts[intent.from].id();
    let same = |what: &str, holds: bool| if holds { Ok(()) } else { Err(format!("{what} is another's: {reply:?}")) };
    same("its result", *result == record.result)?;
    same("its item", reply.sequence == sequence)?;
    same("its caller", reply.caller == Some((account, intent.nonce)))?;
    same("its contract", reply.contract == Some(load.tokens[intent.token].contract))?;
    same("its place", (position.0 as usize, position.1 as usize) == place)?;
    let outcome = match reply.outcome {
        Outcome::Returned(_) => Expected::Moves,
        Outcome::Reverted(_) => Expected::Refused,
        Outcome::Failed(failure) => return Err(format!("it failed: {failure}")),
    };
    if outcome != expected {
        return Err(format!("it came to {outcome:?}, not {expected:?}"));
    }
    let leaf = reply_leaf(salt, reply);
    merkle::verify(&result.replies_root, position.0.into(), position.1.into(), &leaf, path)
        .map_err(|error| format!("its proof: {error}"))
}

/// The inbox's head by storage proof.
async fn proved_head(load: &Load, cluster: ClusterId) -> Result<Head> {
    let key = storage::inbox_head_key(cluster);
    let head = load
        .link
        .answer(|network| {
            let key = key.clone();
            async move { network.read(std::slice::from_ref(&key)).await?.get::<Head>(&key) }
        })
        .await?;
    Ok(head.unwrap_or(Head::empty(cluster)))
}

async fn balance(load: &Load, token: usize, account: usize, endpoints: &[WorkerEndpoint]) -> Result<u128> {
    query(load, token, account, "balance", endpoints).await
}

/// A number that the token tells `account`, asked until it is told or a minute has passed.
async fn query(load: &Load, token: usize, account: usize, method: &str, endpoints: &[WorkerEndpoint]) -> Result<u128> {
    let started = Instant::now();
    let token = &load.tokens[token];
    let request = QueryRequest::Contract { contract: token.contract, payload: token.input(Kind::Query, method, &[])? };
    let endpoint = endpoints.first().context("no worker to ask")?;
    loop {
        let network = load.link.network().await;
        let asked = async {
            let worker = AttestedWorker::verify(&network, endpoint, token.cluster).await?;
            let height = network.sync().await?.number();
            let answer = worker.ask(network.genesis(), &load.accounts[account], &request, height).await?;
            match answer.answer.content {
                AnswerContent::Output(output) => Ok(output),
                other => Err(ClientError::new(ErrorCode::Refused, format!("the worker answers {other:?}"))),
            }
        };
        match asked.await {
            Ok(output) => {
                let value =
                    token.metadata.method(Kind::Query, method)?.decode_output(&output, &mut Budget::default())?;
                return value.as_str().and_then(|text| text.parse().ok()).context("a balance is no number");
            }
            Err(error) => {
                load.link.failed(&network, &error).await;
                anyhow::ensure!(started.elapsed() < Duration::from_secs(60), "{}: {error}", endpoint.url());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(from: usize, to: usize, amount: u128, nonce: u64) -> Intent {
        Intent { token: 0, from, to, amount, nonce, sent: 1, accepted: None }
    }

    #[test]
    fn the_model_executes_each_nonce_once_and_keeps_the_supply() {
        let mut model = Model::new(vec![100, 0]);
        assert_eq!(model.execute(&intent(0, 1, 60, 1)), Expected::Moves);
        assert_eq!(model.execute(&intent(0, 1, 60, 1)), Expected::Repeated);
        assert_eq!(model.execute(&intent(0, 1, 60, 2)), Expected::Refused);
        assert_eq!(model.execute(&intent(1, 1, 60, 1)), Expected::Moves);
        assert_eq!(model.balances, [40, 60]);
    }
}
