//! The storage keys that light clients read, and the keys of the node's offchain index.
//!
//! A key is `twox128(pallet) || twox128(item) || blake2_128(k) || k`. The prefixes are constants, asserted here against their
//! definition, in the pallets against FRAME, and in the light client against a real chain. No input, nobody to trust.

use crate::{
    hash::blake2_128,
    identities::Scheme,
    ids::{BlockNumber, ClusterId, CodeHash, ContractId, WorkerId},
    Hash,
};
use alloc::vec::Vec;
use codec::Encode;

/// `twox128` of a pallet's name in the runtime, then of its storage item.
pub type Prefix = [u8; 32];

macro_rules! prefixes {
    ($($(#[$doc:meta])* $name:ident = $pallet:literal $item:literal $bytes:literal;)*) => {
        $($(#[$doc])* pub const $name: Prefix = hex32($bytes);)*
        #[cfg(test)]
        const NAMES: &[(&str, &str, Prefix)] = &[$(($pallet, $item, $name)),*];
    };
}

prefixes! {
    /// `Inbox::Heads`: map of cluster to `inbox::Head`.
    INBOX_HEADS = "Inbox" "Heads" "24ca016559ea9b529dc9252702da027c1b3c252fcb29d88eff4f3de5de4476c3";
    /// `Inbox::Boundaries`: map of (cluster, block) to `chain_state::BoundaryRecord`.
    INBOX_BOUNDARIES = "Inbox" "Boundaries" "24ca016559ea9b529dc9252702da027c0995f0204174a08ad2b81230afc5504f";
    /// `Attestation::Workers`: map of identity to `chain_state::WorkerRecord`.
    WORKERS = "Attestation" "Workers" "6310fed47319b658f9b8b2504e0d72ec1bf55d6b9732eb86723ccad1af88b985";
    /// `Attestation::Appraisals`: map of identity to `phala_attest::Appraisal`, of each that is registered.
    APPRAISALS = "Attestation" "Appraisals" "6310fed47319b658f9b8b2504e0d72ec914ac0e8eea1b260f3295e3c4db4875e";
    /// `Attestation::Measurements`: map of measurement to `chain_state::AllowedMeasurement`.
    MEASUREMENTS = "Attestation" "Measurements" "6310fed47319b658f9b8b2504e0d72ec4bcbec8bc6755473d819c383c9532339";
    /// `Attestation::Listings`: map of measurement to `attestation::Listing`, of each that is on the allow-list.
    LISTINGS = "Attestation" "Listings" "6310fed47319b658f9b8b2504e0d72ec202053cada0eb576e7ccf72ebc965b05";
    /// `Attestation::Suspensions`: map of `phala_attest::Subject` to u32, how often the brake has suspended it; 0 when absent.
    SUSPENSIONS = "Attestation" "Suspensions" "6310fed47319b658f9b8b2504e0d72ec5dd5f3679e83b14ce6d7b388fae08646";
    /// `Attestation::Root`: `chain_state::RootRecord`.
    ROOT = "Attestation" "Root" "6310fed47319b658f9b8b2504e0d72ec21585258298c0d1f3900025682a16799";
    /// `Attestation::NextRoot`: `chain_state::RootRecord` of the root to which clusters go over; absent when there is none.
    NEXT_ROOT = "Attestation" "NextRoot" "6310fed47319b658f9b8b2504e0d72ecf473749fd12577bef4f74d8acaa81fb4";
    /// `Attestation::Terms`: the governed part of the evidence policy.
    TERMS = "Attestation" "Terms" "6310fed47319b658f9b8b2504e0d72ec7e2ad36ede81c5f827ff99e77a07696d";
    /// `Attestation::Bans`: whom governance or the brake has shut out; `phala_attest::Bans`, empty when absent.
    BANS = "Attestation" "Bans" "6310fed47319b658f9b8b2504e0d72ec72b7388d4553dd8fa954c8f6e8cc8ecb";
    /// `Attestation::Advisories`: the governed policy on advisories; `phala_attest::AdvisoryPolicy`, empty when absent.
    ADVISORIES = "Attestation" "Advisories" "6310fed47319b658f9b8b2504e0d72ecfda9e165343562cc4ae49dae54d84014";
    /// `Attestation::EvaluationCap`: u32, the highest evaluation number that is taken; when absent none is, but on a development network.
    EVALUATION_CAP = "Attestation" "EvaluationCap" "6310fed47319b658f9b8b2504e0d72ec8c319f56dc8f3a7adff685e0346e79e6";
    /// `Network::Development`: true in the genesis state of a development network. Never read from any later state.
    DEVELOPMENT = "Network" "Development" "f258460b41b9b2fdb96c15e5c16fdacb2b408e08989f3cb8e9e02b8abcff71a9";
    /// `Contracts::Clusters`: map of id to `chain_state::ClusterRecord`.
    CLUSTERS = "Contracts" "Clusters" "4342193e496fab7ec59d615ed0dc5530554857e1c3a69e607837e04b13b95f60";
    /// `Contracts::Instances`: map of id to `chain_state::ContractRecord`.
    INSTANCES = "Contracts" "Instances" "4342193e496fab7ec59d615ed0dc55304544e6e672b64c39c5816568f05c3bc8";
    /// `Contracts::Codes`: map of hash to a contract's WASM.
    CODES = "Contracts" "Codes" "4342193e496fab7ec59d615ed0dc553029f09a1b1e65650877530fe7894f3789";
    /// `Contracts::FinalResults`: map of (cluster, boundary block) to `chain_state::FinalRecord`.
    FINAL_RESULTS = "Contracts" "FinalResults" "4342193e496fab7ec59d615ed0dc5530643b8446de98b4e7fc87b51ad368636b";
    /// `Contracts::Bindings`: map of cluster to `result::Rekey`, the newest; absent before the second epoch in which something is final.
    BINDINGS = "Contracts" "Bindings" "4342193e496fab7ec59d615ed0dc5530795a5174adba6d37e9575f21101179cd";
    /// `Contracts::EgressRoots`: map of (cluster, boundary block) to `egress::EgressRoot`, while items of it are not taken.
    EGRESS_ROOTS = "Contracts" "EgressRoots" "4342193e496fab7ec59d615ed0dc5530a5c8af4fb4ab0360eacbff46ea58e20f";
    /// `Contracts::Disputed`: map of cluster to the block since which nothing leaves it, for one of its replicas signed otherwise.
    DISPUTED = "Contracts" "Disputed" "4342193e496fab7ec59d615ed0dc5530a87f381bbc007eda2ef907cef6dfc98a";
    /// `Egress::Next`: map of cluster to u64, the sequence of the egress item that is taken next; 0 when absent.
    EGRESS_NEXT = "Egress" "Next" "547f7d957b8b8142a4f7eb9e22e6e696fb02f64605cf15ddd5388f35e740c11c";
    /// `Egress::Fates`: map of (cluster, sequence) to `egress::EgressFate`, of the newest.
    EGRESS_FATES = "Egress" "Fates" "547f7d957b8b8142a4f7eb9e22e6e69664af618ac58ad6a6f2dacadb14d4afc6";
    /// `Egress::Voided`: map of cluster to the block until which governance found against its results; absent where it never did.
    EGRESS_VOIDED = "Egress" "Voided" "547f7d957b8b8142a4f7eb9e22e6e696d9b98ea2a96ffcf3c7ee506ed25a4e13";
    /// `Egress::Signatures`: map of (cluster, sequence, scheme) to `identities::signing::EgressSignature`, as long as the item's fate is kept.
    EGRESS_SIGNATURES = "Egress" "Signatures" "547f7d957b8b8142a4f7eb9e22e6e6968841b610197ceb06e40c00f1b1499367";
    /// `Contracts::Standings`: map of cluster to a list of `chain_state::Standing`.
    STANDINGS = "Contracts" "Standings" "4342193e496fab7ec59d615ed0dc5530fc42d02007fca66d9a5e44bd106a96aa";
    /// `Gatekeepers::Ceremony`: the key ceremony under way, `ceremony::CeremonyRecord`; absent between ceremonies.
    CEREMONY = "Gatekeepers" "Ceremony" "727a5a64613c2d95930d74ad795c66ef473c61f70b78d1351f652d6d463455b1";
    /// `Gatekeepers::Identity`: `identities::IdentityRecord`; absent until there are identities.
    IDENTITY = "Gatekeepers" "Identity" "727a5a64613c2d95930d74ad795c66ef2aeddc77fe58c98d50bd37f1b90840f9";
    /// `Gatekeepers::IdentityCeremony`: the ceremony of identities under way, `identities::IdentityCeremonyRecord`; absent between ceremonies.
    IDENTITY_CEREMONY = "Gatekeepers" "IdentityCeremony" "727a5a64613c2d95930d74ad795c66ef5b204471ec9357a0224ffa19f2ac44a8";
    /// `Beacon::Awaited`: `beacon::AwaitedBeacon`; absent when no key is awaited.
    BEACON_AWAITED = "Beacon" "Awaited" "313f31c7c4e344d72b2ee2e7b71f0e19d665b5873cb67970d942dc930a15fa50";
    /// `Beacon::Due`: `beacon::DueBeacon`; absent when no value is due.
    BEACON_DUE = "Beacon" "Due" "313f31c7c4e344d72b2ee2e7b71f0e191af0df74d45d1393b7ac9dc2b38b4ed6";
    /// `Beacon::Keys`: map of era to `beacon::BeaconRecord`.
    BEACON_KEYS = "Beacon" "Keys" "313f31c7c4e344d72b2ee2e7b71f0e199f99a2ce711f3a31b2fc05604c93f179";
    /// `Beacon::Latest`: era and period of the newest value; absent before the first.
    BEACON_LATEST = "Beacon" "Latest" "313f31c7c4e344d72b2ee2e7b71f0e1907cb6773ad502f392b93a0c3840f54a3";
    /// `Beacon::Values`: map of (era, period) to `beacon::MadeBeacon`, of the newest values.
    BEACON_VALUES = "Beacon" "Values" "313f31c7c4e344d72b2ee2e7b71f0e19d25c5abc6a2b5d5f996684e54830eb5a";
    /// `Heartbeats::Round`: `heartbeat::HeartbeatRound`, the newest; absent before the first.
    HEARTBEAT_ROUND = "Heartbeats" "Round" "c14283b67b3b8e2101f56f1300b7125413792e785168f725b60e2969c7fc2552";
    /// `Heartbeats::Standings`: map of identity to `heartbeat::HeartbeatStanding`.
    HEARTBEAT_STANDINGS = "Heartbeats" "Standings" "c14283b67b3b8e2101f56f1300b71254fc42d02007fca66d9a5e44bd106a96aa";
    /// `Grandpa::Authorities`: the current authority list.
    GRANDPA_AUTHORITIES = "Grandpa" "Authorities" "5f9cc45b7a00c5899361e1c6099678dc5e0621c4869aa60c02be9adcc98a0d1d";
    /// `Timestamp::Now`: chain time in milliseconds.
    TIMESTAMP_NOW = "Timestamp" "Now" "f0c365c3cf59d671eb72da0e7a4113c49f1f0515f462cdcf84e0f1d6045dfcbb";
}

/// Key of a `Blake2_128Concat` map entry.
pub fn map_key<K: Encode + ?Sized>(prefix: &Prefix, key: &K) -> Vec<u8> {
    let key = key.encode();
    let mut full = Vec::with_capacity(48 + key.len());
    full.extend_from_slice(prefix);
    full.extend_from_slice(&blake2_128(&key));
    full.extend_from_slice(&key);
    full
}

/// Key of a cluster's inbox head.
pub fn inbox_head_key(cluster: ClusterId) -> Vec<u8> {
    map_key(&INBOX_HEADS, &cluster)
}

/// Key of a boundary without a final result.
pub fn boundary_key(cluster: ClusterId, block: BlockNumber) -> Vec<u8> {
    map_key(&INBOX_BOUNDARIES, &(cluster, block))
}

/// Key of a registered TEE.
pub fn worker_key(worker: &WorkerId) -> Vec<u8> {
    map_key(&WORKERS, worker)
}

/// Key of what evidence said about a registered TEE.
pub fn appraisal_key(worker: &WorkerId) -> Vec<u8> {
    map_key(&APPRAISALS, worker)
}

/// Key of an allow-list entry.
pub fn measurement_key(measurement: &Hash) -> Vec<u8> {
    map_key(&MEASUREMENTS, measurement)
}

/// Key of what governance said when it listed a measurement.
pub fn listing_key(measurement: &Hash) -> Vec<u8> {
    map_key(&LISTINGS, measurement)
}

/// Key of how often the brake has suspended a subject (a `phala_attest::Subject`).
pub fn suspensions_key(subject: &impl Encode) -> Vec<u8> {
    map_key(&SUSPENSIONS, subject)
}

/// Key of the era's root record.
pub fn root_key() -> Vec<u8> {
    ROOT.to_vec()
}

/// Key of the record of the root to which clusters go over.
pub fn next_root_key() -> Vec<u8> {
    NEXT_ROOT.to_vec()
}

/// Key of the key ceremony under way.
pub fn ceremony_key() -> Vec<u8> {
    CEREMONY.to_vec()
}

/// Key of the record of identities.
pub fn identity_key() -> Vec<u8> {
    IDENTITY.to_vec()
}

/// Key of the ceremony of identities under way.
pub fn identity_ceremony_key() -> Vec<u8> {
    IDENTITY_CEREMONY.to_vec()
}

/// Key of the beacon key that is awaited.
pub fn beacon_awaited_key() -> Vec<u8> {
    BEACON_AWAITED.to_vec()
}

/// Key of the beacon's period that is due.
pub fn beacon_due_key() -> Vec<u8> {
    BEACON_DUE.to_vec()
}

/// Key of an era's beacon key.
pub fn beacon_record_key(era: u32) -> Vec<u8> {
    map_key(&BEACON_KEYS, &era)
}

/// Key of which value of the beacon is the newest.
pub fn beacon_latest_key() -> Vec<u8> {
    BEACON_LATEST.to_vec()
}

/// Key of a value of the beacon.
pub fn beacon_value_key(era: u32, period: u32) -> Vec<u8> {
    map_key(&BEACON_VALUES, &(era, period))
}

/// Key of the newest round of heartbeats.
pub fn heartbeat_round_key() -> Vec<u8> {
    HEARTBEAT_ROUND.to_vec()
}

/// Key of how a worker stands with its heartbeats.
pub fn heartbeat_standing_key(worker: &WorkerId) -> Vec<u8> {
    map_key(&HEARTBEAT_STANDINGS, worker)
}

/// Key of a cluster.
pub fn cluster_key(cluster: ClusterId) -> Vec<u8> {
    map_key(&CLUSTERS, &cluster)
}

/// Key of a contract.
pub fn contract_key(contract: &ContractId) -> Vec<u8> {
    map_key(&INSTANCES, contract)
}

/// Key of a contract's code.
pub fn code_key(code: &CodeHash) -> Vec<u8> {
    map_key(&CODES, code)
}

/// Key of a final result.
pub fn final_result_key(cluster: ClusterId, boundary: BlockNumber) -> Vec<u8> {
    map_key(&FINAL_RESULTS, &(cluster, boundary))
}

/// Key of the newest binding of an epoch's first commitment to the last one before.
pub fn binding_key(cluster: ClusterId) -> Vec<u8> {
    map_key(&BINDINGS, &cluster)
}

/// Key of the root over what a final result sends.
pub fn egress_root_key(cluster: ClusterId, boundary: BlockNumber) -> Vec<u8> {
    map_key(&EGRESS_ROOTS, &(cluster, boundary))
}

/// Key of since when nothing leaves a cluster.
pub fn disputed_key(cluster: ClusterId) -> Vec<u8> {
    map_key(&DISPUTED, &cluster)
}

/// Key of the sequence of a cluster's egress item that is taken next.
pub fn egress_next_key(cluster: ClusterId) -> Vec<u8> {
    map_key(&EGRESS_NEXT, &cluster)
}

/// Key of what became of an egress item.
pub fn egress_fate_key(cluster: ClusterId, sequence: u64) -> Vec<u8> {
    map_key(&EGRESS_FATES, &(cluster, sequence))
}

/// Key of until when governance found against a cluster's results.
pub fn egress_voided_key(cluster: ClusterId) -> Vec<u8> {
    map_key(&EGRESS_VOIDED, &cluster)
}

/// Key of the signature by a contract's identity under an egress item.
pub fn egress_signature_key(cluster: ClusterId, sequence: u64, scheme: Scheme) -> Vec<u8> {
    map_key(&EGRESS_SIGNATURES, &(cluster, sequence, scheme))
}

/// Key of where a cluster's replicas stand.
pub fn standings_key(cluster: ClusterId) -> Vec<u8> {
    map_key(&STANDINGS, &cluster)
}

/// Key of an item in the node's offchain index: by link, so that items of two forks never overwrite each other.
pub fn offchain_item_key(cluster: ClusterId, sequence: u64, link: &Hash) -> Vec<u8> {
    let mut key = b"phala/inbox/".to_vec();
    (cluster, sequence, link).encode_to(&mut key);
    key
}

const fn hex32(text: &str) -> [u8; 32] {
    let bytes = text.as_bytes();
    let mut out = [0; 32];
    let mut index = 0;
    while index < 32 {
        out[index] = nibble(bytes[index * 2]) << 4 | nibble(bytes[index * 2 + 1]);
        index += 1;
    }
    out
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_twox128_of_their_names() {
        for (pallet, item, prefix) in NAMES {
            assert_eq!(prefix[..16], sp_crypto_hashing::twox_128(pallet.as_bytes()), "{pallet}");
            assert_eq!(prefix[16..], sp_crypto_hashing::twox_128(item.as_bytes()), "{pallet}::{item}");
        }
    }

    #[test]
    fn map_keys_are_blake2_128_concat() {
        let key = inbox_head_key(ClusterId(7));
        let encoded = 7u32.encode();
        assert_eq!(key[32..48], sp_crypto_hashing::blake2_128(&encoded));
        assert_eq!(key[48..], encoded[..]);
    }
}
