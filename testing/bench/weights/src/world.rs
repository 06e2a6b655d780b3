//! The chain in which everything is measured: a development genesis in block [`BLOCK`], and who is registered there.
//!
//! INSECURE: keys follow from numbers. Every function works on the externalities that are set.

use anyhow::{anyhow, ensure, Context, Result};
use codec::{Decode, Encode};
use phala_attest::{
    Advisory, AdvisoryPolicy, Appraisal, Ban, Bans as BanList, ConfidenceLevel, Origin, Subject, TcbStatus, Vendor,
    MOST_ADVISORIES, POLICY_ADVISORIES,
};
use phala_pallet_attestation::{
    Advisories, AdvisoriesOf, Applying, Appraisals, Bans, EvaluationCap, Hardware, Listings, Measurements, NextRoot,
    Root, Workers,
};
use phala_protocol::{
    attestation::{encryption_key_hash, Assurance, Listing, Role, Version},
    ceremony::threshold_of,
    chain_state::{AllowedMeasurement, ClusterRecord, RootRecord, WorkerRecord},
    envelope::{Envelope, EnvelopeHeader, EnvelopeKind, SizeClass, AEAD_TAG_BYTES, PUBLIC_KEY_BYTES, VERSION},
    AccountId, ClusterId, Hash, WorkerId,
};
use phala_runtime::{
    configs::staking::{ElectionVoters, MaxBackersPerWinner},
    currency::UNIT,
    genesis, Runtime, RuntimeGenesisConfig, RuntimeOrigin, SessionKeys, Staking, System,
};
use serde_json::{json, Value};
use sp_core::{ed25519, sr25519, storage::Storage, Pair, H256};
use sp_keyring::Sr25519Keyring;
use sp_runtime::BuildStorage;

/// The block in which transactions are executed.
pub(crate) const BLOCK: u32 = 1_000;
/// Its time, Unix seconds.
pub(crate) const NOW: u64 = 1_790_000_000;
/// The chain's genesis hash.
pub(crate) const GENESIS: Hash = [3; 32];
/// A measurement on the list.
pub(crate) const MEASUREMENT: Hash = [7; 32];
/// The era of the root that answers, where one does.
pub(crate) const ERA: u32 = 40;
/// Seats of that root: what governance may record at the most.
const SEATS_RECORDED: u32 = 1_000;
/// A number that no worker of a scene has: workers from here on are nobody's replicas.
pub(crate) const OTHERS: u32 = 1_000_000;
/// Nominators that one validator has at most: it takes one of the places itself.
pub(crate) const MOST_NOMINATORS: u32 = MaxBackersPerWinner::get() - 1;
/// Validators whom each nominator names: as many as one may.
pub(crate) const NOMINATED: u32 = 16;
/// What whoever takes part in staking has at stake, in 10^-12 PHA.
pub(crate) const STAKE: u128 = 500 * UNIT;

/// The state at genesis.
pub(crate) fn genesis_state() -> Result<Storage> {
    build(preset()?)
}

fn preset() -> Result<Value> {
    let patch = genesis::preset(&genesis::DEV.into()).context("the runtime has no preset dev")?;
    Ok(serde_json::from_slice(&patch)?)
}

fn build(patch: Value) -> Result<Storage> {
    let mut config = serde_json::to_value(RuntimeGenesisConfig::default())?;
    merge(&mut config, patch);
    let config: RuntimeGenesisConfig = serde_json::from_value(config)?;
    config.build_storage().map_err(|error| anyhow!(error))
}

/// Staking as it is at most: accounts from 1 on are the acting validators, the next `idle` have bonded and do nothing, and all others whom
/// an election hears nominate the first [`NOMINATED`] validators. It is to come first in a scene: it begins the block again.
///
/// # Errors
/// When there are not [`MOST_NOMINATORS`] behind the first validators and the last that is nominated.
pub(crate) fn staked(validators: u32, idle: u32) -> Result<()> {
    let nominators = ElectionVoters::get().saturating_sub(validators);
    let (mut balances, mut stakers) = (Vec::new(), Vec::new());
    let mut stake = |number: u32, status: Value| {
        let stash = account(number);
        balances.push(json!([stash, 2 * STAKE]));
        stakers.push(json!([stash, stash, STAKE, status]));
    };
    let nominated: Vec<_> = (1..=NOMINATED.min(validators)).map(account).collect();
    let (first_idle, first_nominator) = (validators + 1, validators + idle + 1);
    (1..first_idle).for_each(|number| stake(number, json!("Validator")));
    (first_idle..first_nominator).for_each(|number| stake(number, json!("Idle")));
    (first_nominator..first_nominator + nominators).for_each(|number| stake(number, json!({ "Nominator": nominated })));
    let keys: Vec<_> = (1..first_idle)
        .map(|number| {
            let babe = sr25519::Public::from_raw(bytes(0x70, number)).into();
            let grandpa = ed25519::Public::from_raw(bytes(0x71, number)).into();
            let (stash, keys) = (account(number), SessionKeys { babe, grandpa });
            json!([stash, stash, keys])
        })
        .collect();

    let mut patch = preset()?;
    let funded = patch.pointer_mut("/balances/balances").and_then(Value::as_array_mut);
    funded.context("the preset funds nobody")?.extend(balances);
    let staking = json!({ "validatorCount": validators, "stakers": stakers });
    merge(&mut patch, json!({ "staking": staking, "session": { "keys": keys } }));
    for (key, value) in build(patch)?.top {
        sp_io::storage::set(&key, &value);
    }
    begin();
    for stash in nominated.first().into_iter().chain(nominated.last()) {
        let behind = Staking::eras_stakers(0, stash).others.len();
        ensure!(behind == MOST_NOMINATORS as usize, "{behind} nominators of {nominators} are behind {stash}");
    }
    Ok(())
}

/// JSON merge patch (RFC 7396) without removals: how every node applies a preset.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

/// Enters block [`BLOCK`], in which one extrinsic was executed.
pub(crate) fn begin() {
    System::set_block_number(BLOCK);
    System::set_extrinsic_index(1);
    set_time(NOW);
    frame_system::BlockHash::<Runtime>::insert(0u32, H256(GENESIS));
    for block in 1..BLOCK {
        frame_system::BlockHash::<Runtime>::insert(block, H256(bytes(0x60, block)));
    }
    list(MEASUREMENT);
}

pub(crate) fn set_time(seconds: u64) {
    pallet_timestamp::Now::<Runtime>::put(seconds * 1_000);
}

/// Puts a measurement on the allow-list.
pub(crate) fn list(measurement: Hash) {
    let entry = AllowedMeasurement { source: [1; 32], listed_at: 0, not_before: 0, sunset: None };
    Measurements::<Runtime>::insert(measurement, entry);
    Listings::<Runtime>::insert(measurement, listing());
}

pub(crate) fn listing() -> Listing {
    Listing { source: [1; 32], version: Version(0, 1, 0), role: None, not_before: 0, sunset: None }
}

/// Who signs the transactions, and holds the sudo key.
pub(crate) fn alice() -> AccountId {
    AccountId(Sr25519Keyring::Alice.to_raw_public())
}

pub(crate) fn alice_signs() -> RuntimeOrigin {
    RuntimeOrigin::signed(Sr25519Keyring::Alice.to_account_id())
}

/// 32 bytes that say which of which.
pub(crate) fn bytes(of: u8, number: u32) -> [u8; 32] {
    let mut bytes = [of; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Account `number`, whose operator runs the worker of that number.
pub(crate) fn operator(number: u32) -> AccountId {
    AccountId(bytes(0xa0, number))
}

pub(crate) fn account(number: u32) -> phala_runtime::AccountId {
    operator(number).0.into()
}

/// INSECURE: the key of worker `number`.
pub(crate) fn pair(number: u32) -> ed25519::Pair {
    ed25519::Pair::from_seed(&bytes(0xb0, number))
}

pub(crate) fn id(number: u32) -> WorkerId {
    WorkerId(pair(number).public().0)
}

/// What worker `number` signs.
pub(crate) fn sign(number: u32, payload: &Hash) -> [u8; 64] {
    pair(number).sign(payload).0
}

/// The encryption key that seat `number` shows.
pub(crate) fn key_of(number: u32) -> Vec<u8> {
    bytes(0xc0, number).repeat(38)
}

/// A measurement that worker `number` alone has, on the list: what is read of it is read for nobody else.
pub(crate) fn measurement_of(number: u32) -> Hash {
    let measurement = bytes(0x50, number);
    list(measurement);
    measurement
}

/// Registers worker `number` in `role`, with a measurement of its own and with one advisory fewer than a list that may have lost some.
pub(crate) fn register(number: u32, role: Role) -> Result<WorkerId> {
    register_with(number, role, operator(number), measurement_of(number))
}

pub(crate) fn register_with(number: u32, role: Role, operator: AccountId, measurement: Hash) -> Result<WorkerId> {
    let (worker, hardware) = (id(number), bytes(0xd0, number));
    let record = WorkerRecord {
        role,
        operator,
        encryption_key: encryption_key_hash(&key_of(number)),
        measurement,
        hardware,
        assurance: Assurance::Simulated,
        registered_at: 1,
        valid_until: u64::MAX,
    };
    Workers::<Runtime>::insert(worker, record);
    Hardware::<Runtime>::insert(hardware, worker);
    let origin = Origin {
        root: phala_attest::Root::InsecureDevelopment,
        vendor: Vendor::IntelTdx,
        fmspc: [1; 6],
        evaluation: 20,
        measurement,
    };
    let appraisal = Appraisal { origin, status: TcbStatus::UpToDate, confidence: ConfidenceLevel::One };
    Appraisals::<Runtime>::insert(worker, appraisal);
    let applying =
        (0..MOST_ADVISORIES as u32 - 1).map(|number| advisory("APPLIES", number)).collect::<Result<Vec<_>>>()?;
    AdvisoriesOf::<Runtime>::insert(worker, Applying::truncate_from(applying));
    Ok(worker)
}

fn advisory(kind: &str, number: u32) -> Result<Advisory> {
    let id = format!("INTEL-SA-{kind}-{number:05}");
    Advisory::decode(&mut &id.encode()[..]).map_err(|error| anyhow!("{id} is no advisory: {error}"))
}

/// A policy as long as one may be, which forbids nothing that applies to anybody.
pub(crate) fn advisory_policy() -> Result<AdvisoryPolicy> {
    let list = |kind| (0..POLICY_ADVISORIES as u32).map(|number| advisory(kind, number)).collect::<Result<Vec<_>>>();
    let too_long = |_| anyhow!("the policy is too long");
    Ok(AdvisoryPolicy {
        tolerated: list("TOLERATED")?.try_into().map_err(too_long)?,
        forbidden: list("FORBIDDEN")?.try_into().map_err(too_long)?,
    })
}

/// A subject that is nobody's.
pub(crate) fn subject(number: u32) -> Subject {
    Subject::Measurement(bytes(0xe0, number))
}

/// As many revocations and suspensions, in force, which hit nobody.
pub(crate) fn ban(revoked: u32, suspended: u32) -> Result<()> {
    let mut bans = BanList::default();
    for number in 0..revoked + suspended {
        let until = (number >= revoked).then_some(BLOCK + 10_000);
        let ban = Ban { subject: subject(number), from: 1, until };
        bans.put(ban, BLOCK).map_err(|_| anyhow!("too many bans"))?;
    }
    Bans::<Runtime>::put(bans);
    Ok(())
}

/// What whether somebody is active costs at the most: all bans, the longest policy on advisories, a cap.
pub(crate) fn strict() -> Result<()> {
    ban(32, 32)?;
    Advisories::<Runtime>::put(advisory_policy()?);
    EvaluationCap::<Runtime>::put(1_000u32);
    Ok(())
}

/// A root of `seats` seats.
pub(crate) fn root(era: u32, seats: Vec<WorkerId>) -> Result<RootRecord> {
    let threshold = u16::try_from(threshold_of(seats.len()))?;
    Ok(RootRecord { era, threshold, seats, share_list: [5; 32] })
}

fn nobodies(of: u8, seats: u32) -> Vec<WorkerId> {
    (0..seats).map(|number| WorkerId(bytes(of, number))).collect()
}

/// The largest root that can answer.
pub(crate) fn root_answers() -> Result<()> {
    Root::<Runtime>::put(root(ERA, nobodies(0xf0, SEATS_RECORDED))?);
    Ok(())
}

/// And the largest that clusters can go over to. Gives the era of the next epoch's keys.
pub(crate) fn roots() -> Result<u32> {
    root_answers()?;
    NextRoot::<Runtime>::put(root(ERA + 1, nobodies(0xf1, 100))?);
    Ok(ERA + 1)
}

/// The record of a cluster whose first epoch is open, with these replicas.
pub(crate) fn cluster(replicas: Vec<WorkerId>) -> ClusterRecord {
    ClusterRecord {
        era: ERA,
        era_before: ERA,
        epoch: 1,
        opened_at: 0,
        opened_count: 0,
        final_count: 0,
        bound_epoch: 1,
        epoch_length: 10,
        envelope_key: vec![1; PUBLIC_KEY_BYTES],
        replicas,
    }
}

/// An envelope to a cluster in its first epoch; the chain does not open it.
pub(crate) fn envelope(cluster: ClusterId, size: SizeClass) -> Vec<u8> {
    let header = EnvelopeHeader { version: VERSION, kind: EnvelopeKind::Call, cluster, epoch: 1, size };
    let opening = vec![1; header.opening_bytes()];
    Envelope { header, opening, body: vec![1; size.bytes() + AEAD_TAG_BYTES] }.to_bytes()
}
