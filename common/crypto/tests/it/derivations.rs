//! Every label under which something secret is derived has a golden vector, and what is derived is what the vector says.
//!
//! `testing/vectors/crypto/derivations.json` was computed by a second implementation and is written by nothing here. The crates that
//! derive compare what they derive with the same file: this one knows labels and functions, they know what is bound.

use phala_crypto::{
    aead::{SivKey, NONCE_BYTES},
    entropy::EntropyBuilder,
    envelope::Destination,
    hpke, kdf,
    session::SessionSecret,
    xwing::{DecapsulationKey, CIPHERTEXT_BYTES},
    Secret,
};
use phala_protocol::{
    domain,
    envelope::{public_key_hash, SizeClass},
    ClusterId, Domain,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Labels whose derivation takes more than these functions: the vectors that it is a step of.
const WITHIN_OTHERS: [(Domain, &str); 4] = [
    (domain::PRF_NONCE, "crypto/prf.json"),
    (domain::BEACON_NONCE, "crypto/beacon.json"),
    (domain::BEACON_DRAW, "protocol/draw.json"),
    (domain::IDENTITY_OFFSET, "gatekeeper/derivation.json"),
];

fn vectors() -> Vec<Value> {
    let file: Value =
        serde_json::from_str(include_str!("../../../../testing/vectors/crypto/derivations.json")).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn named(label: Domain) -> Value {
    vectors().into_iter().find(|case| case["label"] == label.as_str()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn secret(value: &Value) -> Secret<[u8; 32]> {
    Secret::from_slice(&bytes(value)).unwrap()
}

/// What the functions of this crate derive for a case, 64 bytes or fewer.
fn derived<const N: usize>(label: Domain, case: &Value) -> Vec<u8> {
    match case["by"].as_str().unwrap() {
        "hkdf-sha256" => kdf::derive::<N>(&secret(&case["secret"]), label, &bytes(&case["context"])).expose().to_vec(),
        "shake256" => {
            let seed = secret(&case["secret"]);
            let parts = case["parts"].as_array().unwrap();
            let builder = EntropyBuilder::new(label, seed.expose());
            let builder = parts.iter().fold(builder, |builder, part| builder.bind(&bytes(part)));
            builder.finish().secret::<N>().expose().to_vec()
        }
        "hpke-export" => {
            let key = DecapsulationKey::from_seed(&secret(&case["secret"]));
            let encapsulated: [u8; CIPHERTEXT_BYTES] = bytes(&case["encapsulated"]).try_into().unwrap();
            let context = hpke::setup_receiver(&key, &encapsulated, &bytes(&case["info"]));
            let (opened, exporter) = context.open(&[], &bytes(&case["body"])).unwrap();
            assert_eq!(opened.expose(), b"sealed");
            exporter.export::<N>(label.as_bytes()).expose().to_vec()
        }
        other => panic!("{other} is no function of this crate"),
    }
}

#[test]
fn every_label_that_derives_has_a_vector_and_follows_it() {
    let labels: BTreeMap<&str, Domain> = domain::ALL.iter().map(|label| (label.as_str(), *label)).collect();
    let mut covered = BTreeSet::new();
    for case in vectors() {
        let name = case["label"].as_str().unwrap();
        let label = labels[name];
        let expected = bytes(&case["output"]);
        let found = match expected.len() {
            12 => derived::<12>(label, &case),
            16 => derived::<16>(label, &case),
            32 => derived::<32>(label, &case),
            64 => derived::<64>(label, &case),
            length => panic!("{name}: nothing of {length} bytes is derived"),
        };
        assert_eq!(found, expected, "{name}");
        if let Some(hash) = case.get("public_key_hash") {
            let key = DecapsulationKey::from_seed(&Secret::from_slice(&expected).unwrap());
            assert_eq!(public_key_hash(key.public_key())[..], bytes(hash), "{name}");
        }
        assert!(covered.insert(name.to_owned()), "{name} has two vectors");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/vectors");
    for (label, file) in WITHIN_OTHERS {
        assert!(folder.join(file).is_file(), "{file}");
        assert!(covered.insert(label.as_str().to_owned()), "{} has two vectors", label.as_str());
    }
    let listed: BTreeSet<String> = domain::DERIVING.iter().map(|label| label.as_str().to_owned()).collect();
    assert_eq!(covered, listed, "a label without a vector, or a vector without a label");
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "is not listed as a label that derives")]
fn nothing_is_derived_under_a_label_that_is_not_listed() {
    let _ = kdf::derive::<32>(&Secret::new([1; 32]), domain::CALL, b"");
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "is not listed as a label that derives")]
fn no_stream_begins_under_a_label_that_is_not_listed() {
    let _ = EntropyBuilder::new(domain::CALL, &[1; 32]);
}

/// A session's tags and keys are those of the vectors: a command opens under the key that the file has.
#[test]
fn a_sessions_tags_and_keys_follow_their_vectors() {
    let (tag, key) = (named(domain::SESSION_TAG), named(domain::SESSION_KEY));
    let session = SessionSecret::from_bytes(secret(&tag["secret"]).expose());
    assert_eq!(tag["secret"], key["secret"]);
    assert_eq!(session.tag(5)[..], bytes(&tag["output"]));
    let destination = Destination { genesis: [1; 32], cluster: ClusterId(2), epoch: 3 };
    let envelope = session.seal_command(&destination, 5, SizeClass::B256, b"command").unwrap();
    let associated_data = envelope.header.associated_data(&destination.genesis, &envelope.opening);
    let open = |key: &Secret<[u8; 32]>| SivKey::new(key).open(&[0; NONCE_BYTES], &associated_data, &envelope.body);
    assert_eq!(open(&secret(&key["output"])).unwrap()[2..9], *b"command");
    assert!(open(&secret(&key["secret"])).is_err());
}
