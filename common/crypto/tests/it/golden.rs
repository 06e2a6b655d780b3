//! Golden vectors: `testing/vectors/crypto/*.json`, which the TypeScript SDK reads too.
//!
//! A test computes a file's whole content and compares. `PHALA_BLESS=1 cargo test -p phala-crypto` writes the files
//! instead: that is an approval of a new format, to be seen in review as a change of these files.

use codec::Encode;
use phala_crypto::{
    beacon::{verify_beacon, verify_beacon_record, BeaconShare},
    envelope::{open_envelope, seal_envelope, Destination},
    kdf, merkle,
    prf::{combine, verify_partial, Input, KeyShare},
    signature::{ed25519, ed25519::IdentityKey, sr25519, sr25519::AccountKey},
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_protocol::{
    beacon::{BeaconHolder, BeaconRecord},
    domain,
    envelope::{public_key_hash, Envelope, EnvelopeKind, SizeClass},
    keys::{KeyPurpose, PrfInput},
    ClusterId,
};
use serde_json::{json, Value};
use std::path::Path;

fn check(name: &str, actual: Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/vectors/crypto").join(name);
    if std::env::var_os("PHALA_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, serde_json::to_string_pretty(&actual).unwrap() + "\n").unwrap();
    }
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(actual, expected, "{name} changed: a change of format needs PHALA_BLESS=1 and a reason");
}

/// `N` bytes that count up from `first`.
fn count<const N: usize>(first: u8) -> [u8; N] {
    core::array::from_fn(|index| first.wrapping_add(index as u8))
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

#[test]
fn xwing() {
    let cases: Vec<Value> = [0u8, 1, 0x80]
        .map(|first| {
            let (seed, entropy) = (count(first), count(first.wrapping_add(32)));
            let key = DecapsulationKey::from_seed(&Secret::new(seed));
            let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
            let (ciphertext, shared) = recipient.encapsulate(&entropy);
            json!({
                "seed": text(seed), "entropy": text(entropy),
                "public_key_hash": text(public_key_hash(key.public_key())), "ciphertext_blake2_256": text(phala_protocol::hash::blake2_256(&ciphertext[..])),
                "shared_secret": text(shared.expose()),
            })
        })
        .into();
    check("xwing.json", json!({ "cases": cases }));
}

#[test]
fn envelope() {
    let cases: Vec<Value> = [
        (EnvelopeKind::Call, SizeClass::B256, &b""[..]),
        (EnvelopeKind::Call, SizeClass::B256, b"transfer"),
        (EnvelopeKind::SessionOpen, SizeClass::K1, &[0xa5; 254]),
    ]
    .map(|(kind, size, data)| {
        let (seed, entropy) = (count(1), count(2));
        let destination = Destination { genesis: count(3), cluster: ClusterId(0x0102_0304), epoch: 7 };
        let key = DecapsulationKey::from_seed(&Secret::new(seed));
        let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
        let (envelope, exporter) = seal_envelope(&recipient, &destination, kind, size, data, &entropy).unwrap();
        let sealed = envelope.to_bytes();
        let opened = open_envelope(&key, &destination, &Envelope::decode_exact(&sealed).unwrap()).unwrap();
        assert_eq!(opened.data.expose(), data);
        let exported: Secret<[u8; 32]> = exporter.export(domain::SESSION_SECRET.as_bytes());
        json!({
            "seed": text(seed), "entropy": text(entropy), "genesis": text(destination.genesis), "cluster": destination.cluster.0,
            "epoch": destination.epoch, "kind": kind.encode()[0], "size_class": size.encode()[0], "data": text(data),
            "envelope": text(sealed), "exported_session_secret": text(exported.expose()),
        })
    })
    .into();
    check("envelope.json", json!({ "info_label": domain::ENVELOPE_INFO.as_str(), "cases": cases }));
}

#[test]
fn kdf_and_commitment() {
    let cases: Vec<Value> = [&b""[..], b"context", &[0; 70]]
        .map(|context| {
            let parent = Secret::new(count(5));
            let derived: Secret<[u8; 32]> = kdf::derive(&parent, domain::EPOCH_STORAGE, context);
            let commitment = kdf::hmac_commit(&parent, domain::COMMITMENT, context);
            json!({
                "parent": text(parent.expose()), "context": text(context),
                "derived": text(derived.expose()), "commitment": text(commitment),
            })
        })
        .into();
    let labels = json!({ "derive": domain::EPOCH_STORAGE.as_str(), "commit": domain::COMMITMENT.as_str() });
    check("kdf.json", json!({ "labels": labels, "cases": cases }));
}

/// Shares of 2 of 3 on the line 11 + 5 i.
#[test]
fn prf() {
    let named = PrfInput { genesis: count(3), era: 1, cluster: ClusterId(2), epoch: 3, purpose: KeyPurpose::Commit };
    let input = Input::of(domain::PRF_INPUT, &named);
    let mut answers = Vec::new();
    let shares: Vec<Value> = (1..=3u16)
        .map(|index| {
            let mut scalar = [0; 32];
            scalar[0] = 11 + 5 * index as u8;
            let share = KeyShare::from_bytes(index, &Secret::new(scalar)).unwrap();
            let partial = share.partial(&input, &count(9));
            answers.push(verify_partial(&share.public_share(), &input, &partial).unwrap());
            json!({
                "index": index, "scalar": text(scalar), "public_share": text(share.public_share().to_bytes()),
                "entropy": text(count::<32>(9)), "point": text(partial.point), "proof": text(partial.proof),
            })
        })
        .collect();
    let output = combine(2, &answers).unwrap();
    assert!(output.equals(&combine(2, &answers[1..]).unwrap()));
    let value = json!({
        "label": domain::PRF_INPUT.as_str(), "input": text(named.encode()), "input_point": text(input.to_bytes()),
        "threshold": 2, "shares": shares, "output": text(output.expose()),
    });
    check("prf.json", value);
}

/// Shares of 2 of 3 on the line 13 + 7 i.
#[test]
fn beacon() {
    let (genesis, period) = (count(3), 9);
    let shares: Vec<BeaconShare> = (1..=3u16)
        .map(|index| {
            let mut scalar = [0; 32];
            scalar[0] = 13 + 7 * index as u8;
            BeaconShare::new(KeyShare::from_bytes(index, &Secret::new(scalar)).unwrap())
        })
        .collect();
    let holders = shares
        .iter()
        .map(|share| BeaconHolder { index: share.index(), share: share.public_share().to_bytes() })
        .collect();
    let record = BeaconRecord { era: 4, threshold: 2, holders };
    let verified = verify_beacon_record(&genesis, &record).unwrap();
    let input = verified.input(period);
    let answers: Vec<_> = shares.iter().map(|share| share.partial(&input, &count(9))).collect();
    let partials: Vec<_> = answers.iter().map(|partial| verified.verify_partial(period, partial).unwrap()).collect();
    let value = verified.combine(period, &partials).unwrap();
    let beacon = verify_beacon(&verified, period, &value).unwrap();
    let other = verified.combine(period, &partials[1..]).unwrap();
    assert_eq!(verify_beacon(&verified, period, &other), Ok(beacon));
    let value = json!({
        "labels": { "input": domain::BEACON_INPUT.as_str(), "output": domain::BEACON_OUTPUT.as_str() },
        "record": text(record.encode()), "key": text(verified.key()), "input": text(input.encode()),
        "input_point": text(Input::of(domain::BEACON_INPUT, &input).to_bytes()), "entropy": text(count::<32>(9)),
        "partials": answers.iter().map(|partial| text(partial.encode())).collect::<Vec<_>>(),
        "value": text(value.encode()), "beacon": text(beacon.value()),
    });
    check("beacon.json", value);
}

#[test]
fn merkle_lists() {
    let cases: Vec<Value> = (0..=8u64)
        .map(|length| {
            let entries: Vec<Vec<u8>> = (0..length).map(|index| vec![index as u8; index as usize]).collect();
            let root = merkle::root(&entries);
            let proofs: Vec<Value> = (0..length)
                .map(|index| {
                    let proof = merkle::prove(&entries, index).unwrap();
                    assert_eq!(merkle::verify(&root, index, length, &entries[index as usize], &proof), Ok(()));
                    json!(proof.iter().map(text).collect::<Vec<_>>())
                })
                .collect();
            json!({ "entries": entries.iter().map(text).collect::<Vec<_>>(), "root": text(root), "proofs": proofs })
        })
        .collect();
    check("merkle.json", json!({ "cases": cases }));
}

#[test]
fn signatures() {
    let (seed, message, entropy): ([u8; 32], [u8; 32], [u8; 32]) = (count(1), count(2), count(3));
    let account = AccountKey::from_mini_secret(&Secret::new(seed)).unwrap();
    let identity = IdentityKey::from_seed(&Secret::new(seed));
    let (bare, wrapped) = (account.sign(&message, &entropy), account.sign(&sr25519::wrap(&message), &entropy));
    let signed = identity.sign(&message);
    assert_eq!(ed25519::verify(&identity.public(), &message, &signed), Ok(()));
    let value = json!({
        "seed": text(seed), "message": text(message), "entropy": text(entropy),
        "sr25519": { "public": text(account.public()), "expanded": text(account.to_polkadot_js().expose()), "bare": text(bare), "wrapped": text(wrapped) },
        "ed25519": { "public": text(identity.public()), "signature": text(signed) },
    });
    check("signature.json", value);
}
