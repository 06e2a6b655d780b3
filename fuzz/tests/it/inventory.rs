//! What is covered, compared with the tree: a decoder that nobody feeds is a failing test.
//!
//! Looks at names. A function that reads foreign bytes is called `decode_*`, `parse_*`, `verify_*`, `open*` or one of a few more; whatever
//! derives SCALE's `Decode` in `common/` is a record. In `common/` foreign bytes come in through public functions; in `tee/` and `host/`,
//! whose programs are their own users, private ones count too.
//!
//! `chain/` has no decoder of its own: what its calls carry is decoded by the runtime that Parity's macros make, into records of `common/`
//! and bounded bytes, and bytes in those by decoders of `common/`. So there is no target for it; what is looked for instead is a function
//! with such a name, private or not, and every place that calls a decoder. Both are listed with what makes a target of them needless.

use phala_fuzz::targets::{scale, TARGETS};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// How functions that read foreign bytes are called.
const PREFIXES: [&str; 13] = [
    "decode",
    "parse",
    "verify",
    "open",
    "unpad",
    "unseal",
    "compile",
    "canonical_",
    "claimed_",
    "restore",
    "from_bytes",
    "from_slice",
    "from_secret_bytes",
];
/// The same, where only a whole name tells.
const NAMES: [&str; 3] = ["from_json", "from_wasm", "is_development_root"];

/// Functions with such a name that read nothing foreign, or nothing that a target reaches, and why.
const EXEMPT: [(&str, &str); 3] = [
    ("common/crypto/src/kdf.rs::verify_hmac", "compares 32 bytes in constant time"),
    ("common/protocol/src/envelope.rs::opening_bytes", "a length"),
    ("tee/core/src/identity.rs::open", "reads what the machine unsealed: see sealed-blobs"),
];

/// Functions of `tee/` with such a name that do nothing with foreign bytes but what a target does, as those of `host/` in [`BESIDE`].
const BESIDE_IN_TEE: [(&str, &str); 35] = [
    ("tee/core/src/ahead.rs::verify", "common/crypto/src/signature/sr25519.rs::verify_wallet"),
    ("tee/core/src/codes.rs::compiled", "tee/vm/src/cache.rs::compile"),
    ("tee/core/src/gate/ceremony.rs::open", "tee/gatekeeper/src/dkg/stored.rs::from_secret_bytes"),
    ("tee/core/src/gate/custodian.rs::open", "tee/gatekeeper/src/identity/custody.rs::from_secret_bytes"),
    ("tee/core/src/gate/identities.rs::open", "tee/gatekeeper/src/identity/ceremony/stored.rs::from_secret_bytes"),
    ("tee/core/src/gate/seats.rs::open", "tee/gatekeeper/src/seat.rs::from_secret_bytes"),
    ("tee/core/src/gate/signing.rs::verify_letter", "common/crypto/src/signature/ed25519.rs::verify"),
    ("tee/core/src/listed.rs::open", "tee/gatekeeper/src/sightings.rs::from_bytes"),
    ("tee/core/src/machine.rs::open_store", "tee/state/src/store.rs::open"),
    ("tee/core/src/world.rs::compiled", "tee/vm/src/cache.rs::compile"),
    ("tee/gatekeeper/src/beacon.rs::restored", "tee/gatekeeper/src/seat.rs::from_secret_bytes"),
    ("tee/gatekeeper/src/dkg/package.rs::decode", "tee/gatekeeper/src/dkg/stored.rs::from_secret_bytes"),
    ("tee/gatekeeper/src/dkg/package.rs::from_slice", "tee/gatekeeper/src/dkg/parcel.rs::open_parcel"),
    ("tee/gatekeeper/src/dkg/polynomial.rs::decode", "tee/gatekeeper/src/dkg/stored.rs::from_secret_bytes"),
    ("tee/gatekeeper/src/dkg/polynomial.rs::verify_possession", "tee/gatekeeper/src/dkg/stored.rs::from_secret_bytes"),
    (
        "tee/gatekeeper/src/identity/ceremony/attempt.rs::verify",
        "tee/gatekeeper/src/identity/ceremony/stored.rs::from_secret_bytes",
    ),
    (
        "tee/gatekeeper/src/identity/ceremony/attempt.rs::verify_package",
        "tee/gatekeeper/src/identity/ceremony/stored.rs::from_secret_bytes",
    ),
    (
        "tee/gatekeeper/src/identity/ceremony/attempt.rs::verify_share",
        "tee/gatekeeper/src/identity/generate.rs::verify_sub_share",
    ),
    (
        "tee/gatekeeper/src/identity/ceremony/attempt.rs::verify_shares",
        "tee/gatekeeper/src/identity/generate.rs::verify_sub_share",
    ),
    ("tee/gatekeeper/src/identity/ceremony/holder.rs::open", "tee/gatekeeper/src/dkg/parcel.rs::open_parcel"),
    ("tee/gatekeeper/src/identity/custody.rs::restore", "tee/gatekeeper/src/identity/custody.rs::from_secret_bytes"),
    (
        "tee/gatekeeper/src/identity/dealing.rs::verify_sub_share",
        "tee/gatekeeper/src/identity/generate.rs::verify_sub_share",
    ),
    ("tee/gatekeeper/src/policy.rs::verify_machine", "tee/gatekeeper/src/peer.rs::verify_introduction"),
    ("tee/gatekeeper/src/receiving.rs::verify_announced", "tee/gatekeeper/src/peer.rs::verify_introduction"),
    ("tee/gatekeeper/src/verifier.rs::verify", "tee/gatekeeper/src/peer.rs::verify_introduction"),
    ("tee/state/src/cipher.rs::open", "tee/state/src/store.rs::open_with_backend"),
    ("tee/state/src/file.rs::open_head", "tee/state/src/store.rs::open_with_backend"),
    ("tee/state/src/journal.rs::decode", "tee/state/src/store.rs::open_with_backend"),
    ("tee/state/src/tree/bucket.rs::decode", "tee/state/src/store.rs::open_with_backend"),
    ("tee/state/src/tree/page.rs::decode_bounded", "tee/state/src/store.rs::open_with_backend"),
    ("tee/state/src/tree/page.rs::verify", "tee/state/src/store.rs::open_with_backend"),
    ("tee/state/src/view.rs::open", "tee/state/src/store.rs::open_with_backend"),
    ("tee/vm/src/engine.rs::compile_verified", "tee/vm/src/engine.rs::compile"),
    ("tee/worker/src/machine.rs::claimed_measurement", "common/attest/src/evidence.rs::claimed_measurement"),
    ("tee/worker/src/machine.rs::open_store", "tee/state/src/store.rs::open"),
];

/// Functions of `tee/` with such a name that read nothing foreign, or nothing that a target reaches, and why.
const EXEMPT_IN_TEE: [(&str, &str); 8] = [
    ("tee/core/src/boundary.rs::verify_items", "hashes of items, see items, which are compared with the chain's"),
    ("tee/core/src/cluster/store.rs::opened", "the cursor that this machine committed: see stores"),
    ("tee/core/src/command.rs::open", "an envelope, see envelopes and sealed, around a call, see calls"),
    ("tee/core/src/gate.rs::open", "what its parts keep, each by a function of this name"),
    ("tee/core/src/serving.rs::open", "an envelope, see queries and sealed, around a record, see records"),
    ("tee/core/src/sessions.rs::open_session", "opens a session in the state"),
    ("tee/core/src/sessions.rs::opened_key", "a key of the state"),
    ("tee/gatekeeper/src/policy.rs::verify_inquiry", "what `verify_request` took: see inquiries, which asks a seat"),
];

/// Functions of `host/` with such a name that do nothing with foreign bytes but what a target does: private parts of a function that it
/// covers, or the same function with a clock, an error or a file put before it. With each, the function that is covered.
const BESIDE: [(&str, &str); 18] = [
    ("host/cli/src/commands/attest/collateral.rs::verify", "common/attest/src/collateral.rs::verify_collateral"),
    ("host/cli/src/commands/beacon.rs::verify", "host/client/src/beacon.rs::verify"),
    ("host/cli/src/commands/gatekeeper/transcript.rs::from_bytes", "host/client/src/transcript.rs::decode_bounded"),
    ("host/client/src/abi/convert.rs::decode", "host/client/src/abi/metadata.rs::decode_output"),
    ("host/client/src/abi/convert.rs::decode_each", "host/client/src/abi/metadata.rs::decode_output"),
    ("host/client/src/abi/convert.rs::decode_fields", "host/client/src/abi/metadata.rs::decode_event"),
    ("host/client/src/abi/convert.rs::decode_integer", "host/client/src/abi/metadata.rs::decode_output"),
    ("host/client/src/abi/convert.rs::decode_within", "host/client/src/abi/metadata.rs::decode_output"),
    ("host/client/src/abi/metadata.rs::decode_all", "host/client/src/abi/metadata.rs::decode_output"),
    ("host/client/src/abi/types.rs::parse_at", "host/client/src/abi/types.rs::parse"),
    ("host/client/src/beacon.rs::verify_now", "host/client/src/beacon.rs::verify"),
    ("host/client/src/launch/fat.rs::open", "host/client/src/launch/fat.rs::decode_loader"),
    ("host/client/src/launch/firmware.rs::decode_section", "host/client/src/launch/firmware.rs::decode_firmware"),
    ("host/client/src/launch/pe.rs::decode_section", "host/client/src/launch/pe.rs::decode_pe"),
    ("host/client/src/provisioning.rs::parse", "host/client/src/provisioning.rs::decode_answers"),
    ("host/client/src/transcript.rs::verify_now", "host/client/src/transcript.rs::verify"),
    ("host/client/src/verify.rs::verify_now", "host/client/src/verify.rs::verify"),
    ("host/relayer/src/collateral.rs::verify", "common/attest/src/collateral.rs::verify_collateral"),
];

/// Functions of `host/` with such a name that read nothing foreign, or nothing that a target reaches, and why.
const EXEMPT_IN_HOST: [(&str, &str); 21] = [
    ("host/cli/src/accounts.rs::open", "the user's own folder"),
    (
        "host/cli/src/commands/gatekeeper/suspend.rs::verify",
        "a record, see records, which is compared; a signature, see signatures",
    ),
    ("host/cli/src/commands/session.rs::open", "opens a session on the chain"),
    ("host/cli/src/commands/session.rs::open_another", "opens a session on the chain"),
    ("host/cli/src/pending.rs::open", "the user's own folder, and what his own key sealed there"),
    ("host/cli/src/roots.rs::opens", "says which epochs a root opens"),
    ("host/cli/src/sessions.rs::open", "the user's own folder"),
    ("host/client/src/account/at_rest.rs::open_own", "a version and a nonce before what sealed opens"),
    ("host/client/src/chain/read.rs::decode", "SCALE of a record, see records"),
    ("host/client/src/command/fees.rs::openings", "how often a cluster's key was opened for: numbers"),
    ("host/client/src/command/reply.rs::verify_reply", "a record, see records, which is compared; a path, see merkle"),
    ("host/client/src/command/session.rs::open", "opens a session on the chain"),
    ("host/client/src/command/session.rs::open_by", "opens a session on the chain"),
    ("host/client/src/command/session.rs::open_session", "opens a session on the chain"),
    ("host/client/src/command/session.rs::open_session_alone", "opens a session on the chain"),
    ("host/client/src/command/session.rs::verify_open", "compares a reply that was verified"),
    (
        "host/client/src/query.rs::open",
        "records, see records, in what sealed opens and unpads; a signature, see signatures",
    ),
    ("host/client/src/query.rs::verify", "a registration that the light client's proofs show, see storage"),
    ("host/relayer/src/mail.rs::open", "makes a mailbox"),
    ("host/relayer/src/messages.rs::decoded", "SCALE of a record, see records"),
    ("host/relayer/src/snapshots/folder.rs::open", "the operator's own folder; of each file a record, see records"),
];

/// Functions of `chain/` with such a name, none of which reads foreign bytes that no target reaches, and why.
const EXEMPT_IN_CHAIN: [(&str, &str); 12] = [
    ("chain/node/src/epochs.rs::restore", "what this node stored of its own epochs"),
    ("chain/node/src/service.rs::compiled_code", "a path in the node's own folder"),
    ("chain/pallets/beacon/src/weights.rs::open", "a weight"),
    ("chain/pallets/contracts/src/clusters.rs::open_epoch", "the number of an epoch"),
    ("chain/pallets/contracts/src/clusters.rs::open_epoch_of", "begins an epoch"),
    ("chain/pallets/contracts/src/clusters.rs::open_epochs", "begins epochs"),
    ("chain/pallets/contracts/src/weights.rs::open_epochs", "a weight"),
    ("chain/pallets/heartbeats/src/answers.rs::verify_claim", "a record, see records; a signature, see signatures"),
    ("chain/pallets/heartbeats/src/weights.rs::open", "a weight"),
    ("chain/pallets/inbox/src/lib.rs::open_epoch", "the number of an epoch"),
    ("chain/runtime/src/apis.rs::decode_session_keys", "by Parity's code, for the user's own node"),
    ("chain/runtime/src/genesis.rs::verify_built", "the genesis that was just built"),
];

/// Every call of a decoder in `chain/`, and whose decoder it is, or whose bytes.
const CALLS_IN_CHAIN: [(&str, &str); 11] = [
    ("chain/node/src/anchor.rs::sp_consensus_grandpa::AuthorityList::decode", "Parity's; the node's own genesis"),
    ("chain/node/src/chain_spec.rs::serde_json::from_slice", "serde's; the operator's own file"),
    (
        "chain/node/src/rpc/equivocation.rs::GrandpaJustification::<Header>::decode_all",
        "Parity's; what the node verified and stored",
    ),
    ("chain/node/src/rpc/inbox.rs::Head::decode_all", "a record, see records; the chain's own state"),
    ("chain/node/src/rpc/inbox.rs::Item::decode_bounded", "common/protocol/src/inbox.rs::decode_bounded"),
    ("chain/pallets/inbox/src/tail.rs::envelope::decode_header", "common/protocol/src/envelope.rs::decode_header"),
    ("chain/runtime/src/apis.rs::SessionKeys::decode_into_raw_public_keys", "Parity's, for the user's own node"),
    ("chain/runtime/src/apis.rs::key_owner_proof.decode", "Parity's, for the node's own report"),
    (
        "chain/runtime/src/configs/filter.rs::RuntimeCall::decode_with_depth_limit",
        "Parity's; its depth and memory are bounded",
    ),
    ("chain/runtime/src/judgement.rs::decode_collateral", "common/attest/src/kind.rs::decode_collateral"),
    ("chain/runtime/src/judgement.rs::decode_evidence", "common/attest/src/kind.rs::decode_evidence"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rust files of a folder that are compiled into what ships, by their path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "testing" && name != "tests" {
                walk(&path, found);
            } else if name.ends_with(".rs") && !["testing.rs", "tests.rs"].contains(&name.as_str()) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap().flatten() {
        let source = entry.path().join("src");
        if source.is_dir() {
            walk(&source, &mut found);
        }
    }
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    found.into_iter().map(|path| (relative(&path), fs::read_to_string(&path).unwrap())).collect()
}

/// The name of the function that a line declares, if it is public or private ones count.
fn declared(line: &str, counts_private: bool) -> Option<String> {
    let line = line.trim_start();
    let is_public = line.starts_with("pub ");
    let mut rest = line;
    if let Some(after) = rest.strip_prefix("pub") {
        rest = after.strip_prefix('(').map_or(after, |inside| inside.split_once(')').map_or("", |(_, after)| after));
    }
    for word in ["const ", "async ", "unsafe "] {
        rest = rest.trim_start().strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.trim_start().strip_prefix("fn ").filter(|_| is_public || counts_private)?;
    Some(rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect())
}

/// What of a file is outside its module of tests. A mark before anything else, such as the declaration of such a module in another file,
/// ends nothing.
fn shipped(text: &str) -> String {
    let mut parts = text.split("#[cfg(test)]");
    let first = parts.next().unwrap_or_default();
    let is_module = |part: &&str| {
        let declared = part.lines().map(str::trim).find(|line| line.starts_with("mod "));
        declared.is_some_and(|line| line.ends_with('{'))
    };
    std::iter::once(first).chain(parts.take_while(|part| !is_module(part))).collect()
}

/// The decoders that a line calls, with what stands before their names. Comments and declarations call none.
fn called(line: &str) -> Vec<&str> {
    if line.trim_start().starts_with("//") {
        return Vec::new();
    }
    let belongs = |letter: char| letter.is_alphanumeric() || "_:<>.".contains(letter);
    let mut calls = Vec::new();
    for (end, _) in line.match_indices('(') {
        let before = &line[..end];
        let start = before.trim_end_matches(belongs).len();
        let whole = &before[start..];
        let name = whole.rsplit(['.', ':', '<', '>']).next().unwrap_or_default();
        let decodes = name.starts_with("decode") || ["from_slice", "from_reader"].contains(&name);
        if decodes && !before[..start].ends_with("fn ") {
            calls.push(whole);
        }
    }
    calls
}

/// Node, runtime and pallets, by the folders that hold them.
const CHAIN: [&str; 2] = ["chain", "chain/pallets"];

/// `path::function` of every function with such a name, outside tests.
fn decoders(folder: &str, counts_private: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in sources(folder) {
        for name in shipped(&text).lines().filter_map(|line| declared(line, counts_private)) {
            if NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                found.insert(format!("{path}::{name}"));
            }
        }
    }
    found
}

#[test]
fn private_decoders_of_host_and_tee_are_seen() {
    for (line, public, private) in [
        ("pub fn decode(", Some("decode"), Some("decode")),
        ("    pub const fn decode(", Some("decode"), Some("decode")),
        ("    pub async fn decode<T>(", Some("decode"), Some("decode")),
        ("fn decode(", None, Some("decode")),
        ("    pub(crate) fn decode(", None, Some("decode")),
        ("pub(super) const fn decode(", None, Some("decode")),
        ("    async fn decode(", None, Some("decode")),
        ("    let decode = fn_of(x);", None, None),
        ("pub struct Decode(u8);", None, None),
    ] {
        let seen = [declared(line, false), declared(line, true)];
        assert_eq!([seen[0].as_deref(), seen[1].as_deref()], [public, private], "{line}");
    }
    let of_host = decoders("host", true);
    assert!(of_host.contains("host/relayer/src/letters.rs::decode_bounded"), "{of_host:#?}");
    let of_tee = decoders("tee", true);
    for private in [
        "tee/core/src/snapshot.rs::open_part",
        "tee/core/src/snapshot/inflow.rs::decode_next",
        "tee/state/src/journal.rs::decode",
        "tee/state/src/tree/page.rs::decode_bounded",
    ] {
        assert!(of_tee.contains(private), "{private}: {of_tee:#?}");
    }
    assert!(!of_tee.contains("tee/core/src/testing.rs::open_part"), "a function of tests");
}

#[test]
fn every_decoder_is_in_a_target() {
    let covered: BTreeSet<&str> = TARGETS.iter().flat_map(|target| target.covers).copied().collect();
    let beside = || BESIDE.iter().chain(&BESIDE_IN_TEE);
    let reasons = EXEMPT.iter().chain(&EXEMPT_IN_HOST).chain(&EXEMPT_IN_TEE);
    let exempt: BTreeSet<&str> = reasons.chain(beside()).map(|(name, _)| *name).collect();
    let mut decoders = self::decoders("common", false);
    decoders.extend(["tee", "host"].into_iter().flat_map(|folder| self::decoders(folder, true)));
    let missing: Vec<&String> =
        decoders.iter().filter(|name| !covered.contains(name.as_str()) && !exempt.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "in no target of fuzz/src/targets: {missing:#?}");
    let needless: Vec<&&str> = exempt.iter().filter(|name| !decoders.contains(**name)).collect();
    assert!(needless.is_empty(), "exempt and not there: {needless:?}");
    let both: Vec<&&str> = exempt.iter().filter(|name| covered.contains(**name)).collect();
    assert!(both.is_empty(), "exempt and in a target: {both:?}");
    let alone: Vec<_> = beside().filter(|(_, through)| !covered.contains(through)).collect();
    assert!(alone.is_empty(), "beside a function that is in no target: {alone:?}");
}

#[test]
fn calls_of_decoders_are_seen() {
    for (line, calls) in [
        ("    let item = Item::decode_bounded(&bytes)?;", vec!["Item::decode_bounded"]),
        (
            "AuthorityList::decode(&mut &a[..]).or(serde_json::from_slice(b))",
            vec!["AuthorityList::decode", "serde_json::from_slice"],
        ),
        ("    proof.decode()?", vec!["proof.decode"]),
        ("    Proof::<Header>::decode_all(&mut &encoded[..])", vec!["Proof::<Header>::decode_all"]),
        ("    pub fn decode(bytes: &[u8]) -> Self {", vec![]),
        ("    // Decodes by `decode(bytes)`.", vec![]),
        ("    encode(value)", vec![]),
    ] {
        assert_eq!(called(line), calls, "{line}");
    }
    let text = "#[cfg(test)]\nmod tests;\nfn decode() {}\n#[cfg(test)]\n#[allow(x)]\nmod of {\nfn open() {}\n}";
    let left = shipped(text);
    assert!(left.contains("decode") && !left.contains("open"), "{left}");
}

#[test]
fn no_decoder_of_chain_is_without_a_reason() {
    let names = |of: &[(&'static str, &str)]| of.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>();
    let found: BTreeSet<String> = CHAIN.into_iter().flat_map(|folder| decoders(folder, true)).collect();
    assert_eq!(found, names(&EXEMPT_IN_CHAIN), "a function that may read foreign bytes: give it a target, or a reason");

    let mut calls = BTreeSet::new();
    for (path, text) in CHAIN.into_iter().flat_map(sources) {
        let shipped = shipped(&text);
        calls.extend(shipped.lines().flat_map(called).map(|call| format!("{path}::{call}")));
    }
    assert_eq!(calls, names(&CALLS_IN_CHAIN), "a decoder is called: it has a target, or its bytes are the node's own");

    let covered: BTreeSet<&str> = TARGETS.iter().flat_map(|target| target.covers).copied().collect();
    let through: Vec<_> = CALLS_IN_CHAIN.iter().filter(|(_, whose)| whose.starts_with("common/")).collect();
    assert_eq!(through.len(), 4);
    assert!(through.iter().all(|(_, decoder)| covered.contains(decoder)), "in no target: {through:?}");
}

#[test]
fn what_targets_say_they_cover_is_there_and_is_called() {
    let targets: String = fs::read_dir(root().join("fuzz/src/targets"))
        .unwrap()
        .flatten()
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .collect();
    for covered in TARGETS.iter().flat_map(|target| target.covers) {
        let (path, name) = covered.split_once("::").unwrap();
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{covered}: {error}"));
        assert!(text.contains(&format!("fn {name}")), "{covered} is not there any more");
        let called = [format!("{name}("), format!("{name}::<"), format!("{name},")];
        assert!(called.iter().any(|call| targets.contains(call)), "{covered} is listed and never called");
    }
}

#[test]
fn every_record_of_common_is_a_type_of_the_target() {
    let listed: BTreeSet<&str> = scale::TYPES.iter().map(|(_, name, _)| *name).collect();
    let mut missing = Vec::new();
    for (path, text) in sources("common") {
        for part in text.split("#[derive(").skip(1) {
            let Some((derived, rest)) = part.split_once(")]") else { continue };
            let decodes = derived.split(',').any(|name| name.trim() == "Decode");
            // Attributes and their arguments may stand between the derive and the type.
            let declared = rest.lines().find(|line| {
                line.starts_with("pub ") || line.starts_with("struct ") || line.starts_with("        pub ")
            });
            let name = declared.and_then(|line| {
                let rest = line
                    .trim_start()
                    .strip_prefix("pub struct ")
                    .or_else(|| line.trim_start().strip_prefix("pub enum "))?;
                Some(rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned())
            });
            if let (true, Some(name)) = (decodes, name) {
                if !name.is_empty() && !listed.contains(name.as_str()) {
                    missing.push(format!("{path}: {name}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not among the types of fuzz/src/targets/scale.rs: {missing:#?}");
}
