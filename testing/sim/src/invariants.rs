//! What has to hold, by name.
//!
//! After every delivery: [`invariant_nothing_runs_ahead_of_finality`], [`invariant_heads_only_grow`], [`invariant_no_divergence`],
//! [`invariant_served_state_is_vote_final`], [`invariant_keys_only_for_replicas`], [`invariant_one_key_per_epoch`],
//! [`invariant_old_era_opens_nothing_newer`], [`invariant_no_plaintext_leaves`], and for honest ones
//! [`invariant_honest_deliveries_are_not_blamed`]; of snapshots [`invariant_whoever_lacks_the_state_signs_nothing`] and
//! `invariant_altered_snapshots_are_refused`; of honest ones with keys [`invariant_keys_arrive_while_t_seats_are_honest`]. At rest, when all faults have stopped: [`invariant_liveness`],
//! [`invariant_whoever_lacks_the_state_gets_it`],
//! [`invariant_results_form_one_chain`], [`invariant_each_item_has_its_one_reply`], [`invariant_supply_is_conserved`]. Queries:
//! [`invariant_answers_are_the_models`], [`invariant_a_query_is_answered_once`]. `invariant_no_panic` is the runner's.
//! Guarantees: a check judges by the chain's own records, by the plain model, or by what TEEs signed; never by what the TEE in
//! question says of itself alone.

use crate::{
    canary::{Canaries, SUPPLY},
    client::ACCOUNTS,
    host::{Host, Outcome},
    model::{Expected, ExpectedReply, Model},
    pallets::CLUSTER,
    world::World,
};
use codec::{Decode, Encode};
use phala_core::{Notice, QueryFault};
use phala_crypto::{kdf, merkle, xwing::DecapsulationKey};
use phala_protocol::{
    chain_state::next_epoch_era,
    domain,
    keys::KeyPurpose,
    query::{AnswerContent, QueryRefusal, QueryRequest},
    relay::Outgoing,
    result::{reply_leaf, ClusterResult, Outcome as ReplyOutcome, Reply},
    Epoch, Hash,
};

mod arriving;
mod returning;

pub use arriving::invariant_keys_arrive_while_t_seats_are_honest;
pub(crate) use arriving::keys_brought;
use returning::{has_caught_up, is_replica};
pub(crate) use returning::{invariant_altered_snapshots_are_refused, is_settled, somebody_waits_for_a_state};
pub use returning::{
    invariant_liveness, invariant_whoever_lacks_the_state_gets_it, invariant_whoever_lacks_the_state_signs_nothing,
};

/// Something that must never happen, happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {detail}")]
pub struct Violation {
    /// The name of what does not hold.
    pub invariant: &'static str,
    /// How it shows.
    pub detail: String,
}

impl Violation {
    /// A violation.
    pub fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into() }
    }
}

/// The verdict of a check.
pub type Check = Result<(), Violation>;

fn hold(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Check {
    if holds {
        Ok(())
    } else {
        Err(Violation::new(invariant, detail()))
    }
}

/// Every invariant, for reports.
pub const NAMES: [&str; 21] = [
    "invariant_no_panic",
    "invariant_nothing_runs_ahead_of_finality",
    "invariant_heads_only_grow",
    "invariant_no_divergence",
    "invariant_boundaries_are_chain_facts",
    "invariant_served_state_is_vote_final",
    "invariant_keys_only_for_replicas",
    "invariant_no_plaintext_leaves",
    "invariant_honest_deliveries_are_not_blamed",
    "invariant_liveness",
    "invariant_results_form_one_chain",
    "invariant_each_item_has_its_one_reply",
    "invariant_supply_is_conserved",
    "invariant_answers_are_the_models",
    "invariant_a_query_is_answered_once",
    "invariant_one_key_per_epoch",
    "invariant_old_era_opens_nothing_newer",
    "invariant_whoever_lacks_the_state_gets_it",
    "invariant_whoever_lacks_the_state_signs_nothing",
    "invariant_altered_snapshots_are_refused",
    "invariant_keys_arrive_while_t_seats_are_honest",
];

/// Items that a worker says it executed.
pub fn executed(host: &Host) -> Option<u64> {
    Some(host.tee.as_ref()?.cluster_health()?.executed)
}

/// All checks after a delivery to `index`.
pub(crate) fn after_delivery(world: &mut World, index: usize) -> Check {
    invariant_nothing_runs_ahead_of_finality(world, index)?;
    invariant_heads_only_grow(world, index)?;
    invariant_served_state_is_vote_final(world, index)
}

/// The cheap checks after every action.
pub(crate) fn after_action(world: &mut World, index: usize) -> Check {
    let host = &world.hosts[index];
    if let Some(name) = host.machine.leaked_in_writes() {
        return Err(Violation::new("invariant_no_plaintext_leaves", format!("disk of TEE {index}: {name}")));
    }
    let diverged = host.tee.as_ref().and_then(|tee| tee.cluster_health()).and_then(|health| health.diverged_at);
    hold(diverged.is_none(), "invariant_no_divergence", || format!("TEE {index} stopped at block {diverged:?}"))
}

/// All checks when everything has come to rest.
pub(crate) fn at_rest(world: &mut World) -> Check {
    invariant_whoever_lacks_the_state_gets_it(world)?;
    invariant_liveness(world)?;
    invariant_results_form_one_chain(world)?;
    invariant_each_item_has_its_one_reply(world)?;
    invariant_supply_is_conserved(world)?;
    open_key_is_of_its_era(world)?;
    for (index, host) in world.hosts.iter().enumerate() {
        let leaked = host.machine.disk.leaked();
        hold(leaked.is_none(), "invariant_no_plaintext_leaves", || format!("disk of TEE {index}: {leaked:?}"))?;
    }
    Ok(())
}

/// A TEE's head is a block of the final chain, and no item after it was executed.
pub fn invariant_nothing_runs_ahead_of_finality(world: &World, index: usize) -> Check {
    const NAME: &str = "invariant_nothing_runs_ahead_of_finality";
    let host = &world.hosts[index];
    let Some(tee) = host.tee.as_ref() else { return Ok(()) };
    let (height, hash) = tee.head();
    let finalised = world.node.finalised();
    hold(height <= finalised && world.node.hash(height) == Some(hash), NAME, || {
        format!("TEE {index} believes a block at {height}, final is {finalised}")
    })?;
    let final_items = world.node.items_to(finalised).len() as u64;
    let executed = executed(host).unwrap_or(0);
    hold(executed <= final_items, NAME, || format!("TEE {index} executed {executed} items of {final_items}"))
}

/// Within one process the head never goes back.
pub fn invariant_heads_only_grow(world: &mut World, index: usize) -> Check {
    let host = &mut world.hosts[index];
    if let Some(executed) = executed(host).filter(|executed| *executed > 0) {
        // Its store is open.
        (host.executed, host.stored) = (executed, None);
    }
    let height = host.tee.as_ref().map_or(0, |tee| tee.head().0);
    let before = std::mem::replace(&mut host.height, height);
    hold(height >= before, "invariant_heads_only_grow", || format!("TEE {index} went from {before} to {height}"))
}

/// Whatever two TEEs sign about one boundary is the same, what one signs twice too, and the boundary is the chain's.
pub fn invariant_no_divergence(world: &mut World, message: &Outgoing) -> Check {
    const NAME: &str = "invariant_no_divergence";
    match message {
        Outgoing::Result(signed) => {
            let result = signed.result;
            let block = result.boundary.block;
            invariant_boundaries_are_chain_facts(world, &result)?;
            let seen = world.results.entry(block).or_default();
            if let Some((other, different)) = seen.iter().find(|(_, seen)| **seen != result) {
                return Err(Violation::new(
                    NAME,
                    format!("at block {block} {} signed {result:?}, {other} signed {different:?}", signed.worker),
                ));
            }
            seen.insert(signed.worker, result);
        }
        Outgoing::Rekey(signed) => {
            let seen = *world.rekeys.entry(signed.rekey.epoch).or_insert(signed.rekey);
            hold(seen == signed.rekey, NAME, || format!("{:?} against {seen:?}", signed.rekey))?;
        }
        _ => {}
    }
    Ok(())
}

/// A result's boundary is a block of the final chain with items, with their number and link, and its epoch is that block's.
pub fn invariant_boundaries_are_chain_facts(world: &World, result: &ClusterResult) -> Check {
    let boundary = result.boundary;
    let items = world.node.items_to(boundary.block);
    let last = items.last().map(|item| (item.header.block, items.len() as u64, item.link()));
    let fact = last == Some((boundary.block, boundary.count, boundary.link));
    let epoch = world.node.cluster_at(boundary.block).map(|record| record.epoch);
    hold(fact && boundary.block <= world.node.finalised() && epoch == Some(result.epoch), NAMES[4], || {
        format!("{result:?}, where the chain has {last:?} in epoch {epoch:?}")
    })
}

/// What answers queries is a vote-final state, and no older than the newest that was final at the height that the answer names.
pub fn invariant_served_state_is_vote_final(world: &mut World, index: usize) -> Check {
    let Some((height, state, _)) = ask(world, index, 0, QueryRequest::Reply { nonce: 1 }, 0)? else { return Ok(()) };
    check_served(world, index, height, state)
}

fn check_served(world: &World, index: usize, height: u32, state: Option<ClusterResult>) -> Check {
    const NAME: &str = "invariant_served_state_is_vote_final";
    let count = state.map_or(0, |result| result.boundary.count);
    let final_count = world.node.cluster_at(height).map(|record| record.final_count);
    let fresh = final_count.is_some_and(|final_count| final_count <= count);
    hold(height <= world.node.finalised() && fresh, NAME, || {
        format!("TEE {index} serves the state after {count} items at block {height}, where {final_count:?} are final")
    })?;
    let Some(result) = state else { return Ok(()) };
    // The height is a lower bound: where records were withheld the state may be newer, yet final where the TEE's own head is.
    let head = world.hosts[index].tee.as_ref().map_or(0, |tee| tee.head().0);
    let known = world.node.final_at(head, result.boundary.block).map(|record| record.result);
    hold(known == Some(result), NAME, || format!("TEE {index} serves {result:?}, final is {known:?}"))
}

/// A gatekeeper gives keys only to replicas of its own head's record, only of epochs that this record allows.
pub fn invariant_keys_only_for_replicas(world: &World, index: usize, notice: &Notice) -> Check {
    let Notice::KeysGiven { worker, cluster, epoch, .. } = notice else { return Ok(()) };
    let height = world.hosts[index].tee.as_ref().map_or(0, |tee| tee.head().0);
    let record = world.node.cluster_at(height).filter(|_| *cluster == CLUSTER);
    let allowed = record.is_some_and(|record| {
        record.replicas.contains(worker)
            && KeyPurpose::ALL.into_iter().any(|purpose| record.may_have(*epoch, purpose, height))
    });
    hold(allowed, "invariant_keys_only_for_replicas", || format!("{worker} got keys of epoch {epoch} at {height}"))
}

/// Whatever replicas announce for an epoch of an era is one key: the one that this era's root gives. None is announced of an era that the
/// announcing TEE's own head does not show to be coming. One of a former era, which a host that hides records can have it repeat, counts
/// for nothing.
pub fn invariant_one_key_per_epoch(world: &mut World, index: usize, message: &Outgoing) -> Check {
    const NAME: &str = "invariant_one_key_per_epoch";
    let Outgoing::AnnounceKey { era, epoch, public_key, .. } = message else { return Ok(()) };
    let height = world.hosts[index].tee.as_ref().map_or(0, |tee| tee.head().0);
    let (root, next) = world.node.roots_at(height);
    let coming = next_epoch_era(root.as_ref(), next.as_ref());
    hold(coming.is_some_and(|coming| *era <= coming), NAME, || {
        format!("TEE {index} announces a key of era {era} at {height}, where {coming:?} comes")
    })?;
    if let Some(known) = world.announced.get(&(*era, *epoch)) {
        return hold(known == public_key, NAME, || format!("TEE {index}: another key of era {era}, epoch {epoch}"));
    }
    let given = insecure_envelope_key(world, *era, *epoch);
    hold(given.as_ref() == Some(public_key), NAME, || {
        format!("TEE {index}: the root of era {era} gives epoch {epoch} another key")
    })?;
    world.announced.insert((*era, *epoch), public_key.clone());
    Ok(())
}

/// The first era's gatekeeper gives no key of an epoch that began, by its own head, under another era. (Of the next one it may, where its
/// relayer hides the next root from it: nothing is ever sealed to that.)
pub fn invariant_old_era_opens_nothing_newer(world: &World, index: usize, notice: &Notice) -> Check {
    let Notice::KeysGiven { worker, epoch, .. } = notice else { return Ok(()) };
    let height = world.hosts[index].tee.as_ref().map_or(0, |tee| tee.head().0);
    let era = world.node.cluster_at(height).and_then(|record| record.era_of(*epoch, 0));
    hold(era == Some(0), "invariant_old_era_opens_nothing_newer", || {
        format!("{worker} got the first era's keys of epoch {epoch} at {height}, which is of {era:?}")
    })
}

/// What commands are sealed to now is the key that the open epoch's root gives, and that no former root does.
fn open_key_is_of_its_era(world: &World) -> Check {
    const NAME: &str = "invariant_old_era_opens_nothing_newer";
    let Some(record) = world.node.cluster_at(world.node.finalised()).filter(|record| record.epoch > 0) else {
        return Ok(());
    };
    for era in 0..=record.era {
        let given = insecure_envelope_key(world, era, record.epoch);
        let same = given.as_ref() == Some(&record.envelope_key);
        hold(given.is_some() && same == (era == record.era), NAME, || {
            format!("era {era}'s root, where epoch {} is of {}: the open key is its {same}", record.epoch, record.era)
        })?;
    }
    Ok(())
}

/// INSECURE: the public key that an era's root gives an epoch.
fn insecure_envelope_key(world: &World, era: u32, epoch: Epoch) -> Option<Vec<u8>> {
    let seed = world.insecure_key(era, epoch, KeyPurpose::Envelope)?;
    Some(DecapsulationKey::from_seed(&kdf::derive(&seed, domain::EPOCH_ENVELOPE, &[])).public_key().to_vec())
}

/// No canary stands in what left a TEE.
pub fn invariant_no_plaintext_leaves(canaries: &Canaries, said: &[&[u8]], place: &str) -> Check {
    let found = said.iter().find_map(|bytes| canaries.found_in(bytes));
    hold(found.is_none(), "invariant_no_plaintext_leaves", || format!("in {place}: {found:?}"))
}

/// A TEE that is brought the truth does not call it the relayer's fault.
pub fn invariant_honest_deliveries_are_not_blamed(world: &World, index: usize) -> Check {
    match &world.hosts[index].outcome {
        Outcome::Refused(reason) => {
            Err(Violation::new("invariant_honest_deliveries_are_not_blamed", format!("TEE {index}: {reason}")))
        }
        Outcome::Taken | Outcome::Fault(_) => Ok(()),
    }
}

/// Each final result continues the one before, under the same key or by the binding of the epochs between.
pub fn invariant_results_form_one_chain(world: &World) -> Check {
    let finals: Vec<_> = world.node.pallets.finals.values().map(|record| record.result).collect();
    for pair in finals.windows(2) {
        let mut commitment = pair[0].next;
        for epoch in pair[0].epoch + 1..=pair[1].epoch {
            let rekey = world.rekeys.get(&epoch).filter(|rekey| rekey.old == commitment);
            let Some(rekey) = rekey else {
                return Err(Violation::new("invariant_results_form_one_chain", format!("no binding of epoch {epoch}")));
            };
            commitment = rekey.new;
        }
        hold(commitment == pair[1].prev, "invariant_results_form_one_chain", || {
            format!("{:?} does not follow {:?}", pair[1], pair[0])
        })?;
    }
    Ok(())
}

fn anybody_who_serves(world: &World) -> Option<usize> {
    (1..world.hosts.len()).find(|index| is_replica(world, *index) && has_caught_up(world, *index))
}

/// Every item of a final boundary has exactly one reply, the one that the model expects, and the result commits exactly these.
pub fn invariant_each_item_has_its_one_reply(world: &mut World) -> Check {
    let Some(index) = anybody_who_serves(world) else { return Ok(()) };
    let items = world.node.items_to(world.node.finalised()).to_vec();
    let (_, expected) = Model::after(&items, &world.clients.contents);
    let finals: Vec<_> = world.node.pallets.finals.values().map(|record| record.result).collect();
    for result in finals {
        let block = result.boundary.block;
        if world.audited.contains(&block) || block > world.node.finalised() {
            continue;
        }
        let of_block: Vec<_> = items
            .iter()
            .zip(&expected)
            .filter(|(item, _)| item.header.block == block)
            .map(|(_, reply)| reply)
            .collect();
        let mut replies = Vec::new();
        for (position, expected) in of_block.iter().enumerate() {
            replies.push(reply(world, index, expected, &result, (position as u32, of_block.len() as u32))?);
            world.count("= replies verified");
        }
        let root = insecure_replies_root(world, &result, &replies);
        hold(root == Some(result.replies_root), "invariant_each_item_has_its_one_reply", || {
            format!("the result of block {block} commits other replies than {replies:?}")
        })?;
        world.audited.insert(block);
    }
    Ok(())
}

/// The reply to one item: out of a worker if it executed somebody's command, else out of the model, which knows all of it.
fn reply(
    world: &mut World,
    index: usize,
    expected: &ExpectedReply,
    result: &ClusterResult,
    place: (u32, u32),
) -> Result<Reply, Violation> {
    const NAME: &str = "invariant_each_item_has_its_one_reply";
    let Some((account, nonce)) = expected.caller.filter(|_| !expected.leaves_nonce()) else {
        let Expected::Is(outcome) = expected.outcome.clone() else {
            return Err(Violation::new(NAME, "the model has no outcome for what was not executed"));
        };
        let caller = expected.caller.map(|(account, nonce)| (world.clients.id(account), nonce));
        let (sequence, contract, fee) = (expected.sequence, expected.contract, expected.fee);
        return Ok(Reply {
            sequence,
            caller,
            contract,
            outcome,
            gas_used: 0,
            fee,
            events: Vec::new(),
            egress: Vec::new(),
        });
    };
    let asked = ask(world, index, account, QueryRequest::Reply { nonce }, 0)?;
    let Some((_, _, AnswerContent::Reply { reply, salt, result: committed, position, path })) = asked else {
        return Err(Violation::new(NAME, format!("account {account} gets no reply to {nonce}: {asked:?}")));
    };
    let leaf = reply_leaf(&salt, &reply);
    let proved = merkle::verify(&committed.replies_root, place.0.into(), place.1.into(), &leaf, &path).is_ok();
    let good = proved
        && position == place
        && committed == *result
        && reply.sequence == expected.sequence
        && reply.caller == Some((world.clients.id(account), nonce))
        && reply.contract == expected.contract
        && reply.fee == expected.fee
        && expected.outcome.allows(&reply.outcome)
        && (matches!(reply.outcome, ReplyOutcome::Returned(_)) || (reply.events.is_empty() && reply.egress.is_empty()));
    hold(good, NAME, || format!("expected {expected:?} at {place:?}, got {reply:?} at {position:?}"))?;
    Ok(reply)
}

/// All balances add up to what the token began with.
pub fn invariant_supply_is_conserved(world: &mut World) -> Check {
    let token = world.clients.token;
    for index in 1..world.hosts.len() {
        if !has_caught_up(world, index) {
            continue;
        }
        let mut sum = 0u128;
        for account in 0..ACCOUNTS {
            let payload = ("balance", ()).encode();
            match ask(world, index, account, QueryRequest::Contract { contract: token, payload }, 0)? {
                Some((_, _, AnswerContent::Output(output))) => {
                    sum = sum.wrapping_add(u128::decode(&mut output.as_slice()).unwrap_or(0));
                }
                other => return Err(Violation::new("invariant_supply_is_conserved", format!("{other:?}"))),
            }
        }
        hold(sum == SUPPLY, "invariant_supply_is_conserved", || format!("TEE {index}: {sum:#x} of {SUPPLY:#x}"))?;
    }
    Ok(())
}

/// An account asks for all it may see; the answers are those of the model at the state that they name, and as fresh as asked.
pub(crate) fn query(world: &mut World, index: usize, account: usize) -> Check {
    let (token, keeper) = (world.clients.token, world.clients.keeper);
    let requests = [
        QueryRequest::Contract { contract: token, payload: ("balance", ()).encode() },
        QueryRequest::Contract { contract: keeper, payload: vec![crate::contracts::KEEP] },
        QueryRequest::Reply { nonce: 1 },
    ];
    for request in requests {
        let newest = world.node.finalised();
        let asked = ask(world, index, account, request.clone(), newest)?;
        let Some((height, state, content)) = asked else { continue };
        check_served(world, index, height, state)?;
        if content == AnswerContent::Refused(QueryRefusal::Stale) {
            world.count("= queries refused as stale");
            continue;
        }
        invariant_answers_are_the_models(world, account, &request, (height, newest), state, &content)?;
        world.count("= queries answered");
    }
    Ok(())
}

/// An answer is what the model says of the state that it names, and that state is no older than was asked for.
pub fn invariant_answers_are_the_models(
    world: &World,
    account: usize,
    request: &QueryRequest,
    (height, asked): (u32, u32),
    state: Option<ClusterResult>,
    content: &AnswerContent,
) -> Check {
    let count = state.map_or(0, |result| result.boundary.count) as usize;
    let items = world.node.items_to(world.node.finalised()).get(..count).unwrap_or_default();
    let (model, replies) = Model::after(items, &world.clients.contents);
    let good = match (request, content) {
        (QueryRequest::Contract { contract, .. }, AnswerContent::Output(output))
            if *contract == world.clients.token =>
        {
            *output == model.balance(account).encode()
        }
        (QueryRequest::Contract { .. }, AnswerContent::Output(output)) => Some(output) == model.kept.as_ref(),
        (QueryRequest::Contract { .. }, AnswerContent::Refused(QueryRefusal::NotFound)) => !model.has_token(),
        (QueryRequest::Reply { nonce }, AnswerContent::Pending | AnswerContent::Refused(QueryRefusal::NotFound)) => {
            ExpectedReply::to(&replies, account, *nonce).is_none()
        }
        (QueryRequest::Reply { nonce }, AnswerContent::Reply { reply, .. }) => {
            let expected = ExpectedReply::to(&replies, account, *nonce);
            expected.is_some_and(|expected| expected.outcome.allows(&reply.outcome))
        }
        _ => false,
    };
    hold(good && height >= asked, "invariant_answers_are_the_models", || {
        format!("account {account} asked {request:?} at {asked}, got {content:?} of {height}, {count} items")
    })
}

/// A query that arrives once more is not answered again.
pub(crate) fn invariant_a_query_is_answered_once(world: &mut World, index: usize) -> Check {
    let host = &world.hosts[index];
    let Some(serving) = host.tee.as_ref().and_then(|tee| tee.serving()) else { return Ok(()) };
    let Some(asked) = host.asked.as_ref() else { return Ok(()) };
    let answered = world.clients.ask(&serving, &host.seen, asked);
    let refused = match &answered {
        Err(QueryFault::WrongKey | QueryFault::Undecryptable) => true,
        Ok(Some(answer)) => matches!(
            answer.content,
            AnswerContent::Refused(QueryRefusal::Replayed | QueryRefusal::Expired | QueryRefusal::Stale)
        ),
        _ => false,
    };
    world.count("= queries replayed");
    hold(refused, "invariant_a_query_is_answered_once", || format!("TEE {index}: {answered:?}"))
}

type Answered = Option<(u32, Option<ClusterResult>, AnswerContent)>;

/// Asks a worker, if it serves. An answer that is not sealed to the asker or not signed is a violation.
fn ask(
    world: &mut World,
    index: usize,
    account: usize,
    request: QueryRequest,
    min_height: u32,
) -> Result<Answered, Violation> {
    let host = &mut world.hosts[index];
    let Some(serving) = host.tee.as_ref().and_then(|tee| tee.serving()) else { return Ok(None) };
    let head = host.tee.as_ref().map_or(0, |tee| tee.head().0);
    let Some(asked) = world.clients.query(&serving, account, request, (head, min_height)) else {
        return Err(Violation::new("invariant_answers_are_the_models", format!("TEE {index} has no good query key")));
    };
    let answer = world.clients.ask(&serving, &host.seen, &asked);
    host.asked = Some(asked);
    match answer {
        Ok(Some(answer)) => Ok(Some((answer.height, answer.state, answer.content))),
        Ok(None) => Err(Violation::new("invariant_answers_are_the_models", "an answer that does not open")),
        // The host took the disk away from under it.
        Err(QueryFault::Failed(_)) if host.damaged || host.machine.disk.is_failing() => Ok(None),
        Err(error) => Err(Violation::new("invariant_answers_are_the_models", format!("TEE {index}: {error:?}"))),
    }
}

/// INSECURE: the root of a result over exactly these replies, by the commit key that its era's root gives.
fn insecure_replies_root(world: &World, result: &ClusterResult, replies: &[Reply]) -> Option<Hash> {
    let era = world.node.cluster_at(result.boundary.block)?.era;
    let seed = world.insecure_key(era, result.epoch, KeyPurpose::Commit)?;
    let key = kdf::derive(&seed, domain::EPOCH_COMMIT, &[]);
    let leaves: Vec<Hash> = replies
        .iter()
        .map(|reply| {
            let salt = kdf::derive_for::<32>(&key, domain::REPLY_SALT, &reply.sequence);
            reply_leaf(salt.expose(), reply)
        })
        .collect();
    Some(merkle::root(&leaves))
}
