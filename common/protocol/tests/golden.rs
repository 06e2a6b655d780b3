//! Golden vectors: `testing/vectors/protocol/*.json`, which every zone's tests and other languages' clients may read.
//!
//! A test computes a file's whole content and compares. `PHALA_BLESS=1 cargo test -p phala-protocol` writes the files
//! instead: that is an approval of a new format, to be seen in review as a change of these files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests, which read their vectors")]

use codec::Encode;
use phala_protocol::{
    call::{session_command_payload, session_payload, signing_payload, Call, CallPurpose, SignedCall},
    domain,
    draw::{Draw, DrawPurpose},
    gas::GasClass,
    AccountId, ClusterId, ContractId,
};
use serde_json::{json, Value};
use std::{num::NonZeroU128, path::Path};

fn check(name: &str, actual: Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/vectors/protocol").join(name);
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

#[test]
fn what_accounts_and_sessions_sign() {
    let cases: Vec<Value> = [
        (CallPurpose::Command, GasClass::Small, &b"transfer"[..]),
        (CallPurpose::Constructor, GasClass::Medium, b""),
        (CallPurpose::Command, GasClass::Large, &[0xa5; 300]),
    ]
    .map(|(purpose, gas_class, payload)| {
        let (genesis, cluster, envelope_key) = (count(1), ClusterId(0x0102_0304), count(2));
        let call = Call {
            purpose,
            contract: ContractId(count(3)),
            nonce: 0x0102_0304_0506_0708,
            valid_until: 0x0a0b_0c0d,
            gas_class,
            gas_limit: 10_000_000,
            max_fee: 100_000_001,
            payload: payload.to_vec(),
        };
        let (session_key, tag) = (count(4), count(5));
        let signed = SignedCall { account: AccountId(count(6)), call: call.clone(), signature: count(7) };
        json!({
            "genesis": hex::encode(genesis), "cluster": cluster.0, "envelope_key_hash": hex::encode(envelope_key),
            "call": hex::encode(call.encode()), "signed_call": hex::encode(signed.encode()),
            "signing_payload": hex::encode(signing_payload(&genesis, cluster, &envelope_key, &call)),
            "session_key": hex::encode(session_key), "tag": hex::encode(tag),
            "session_open_payload": hex::encode(session_payload(&genesis, cluster, &envelope_key, &call, &session_key)),
            "session_command_payload": hex::encode(session_command_payload(&genesis, cluster, &tag, &call)),
        })
    })
    .into();
    let labels = json!({
        "signing_payload": domain::CALL.as_str(), "session_open_payload": domain::SESSION_OPEN.as_str(),
        "session_command_payload": domain::SESSION_SIGN.as_str(),
    });
    check("call.json", json!({ "labels": labels, "cases": cases }));
}

#[test]
fn what_is_drawn_from_the_beacon() {
    let (beacon, weights) = (count(8), [5, 0, 1 << 70, 1 << 71, 7, 1 << 70]);
    let cases: Vec<Value> =
        [(DrawPurpose::Assignment, 1u32), (DrawPurpose::Assignment, 2), (DrawPurpose::Heartbeat, 1)]
            .map(|(purpose, context)| {
                let mut numbers = Draw::new(&beacon, purpose, &context);
                let below: Vec<String> = [1, 2, 1_000, (1 << 127) + 1, u128::MAX]
                    .map(|bound| numbers.below(NonZeroU128::new(bound).unwrap()).to_string())
                    .into();
                let sample = Draw::new(&beacon, purpose, &context).sample(3, &weights).unwrap();
                json!({ "purpose": purpose.encode()[0], "context": context, "below": below, "sample": sample })
            })
            .into();
    let weights = weights.map(|weight: u128| weight.to_string());
    let labels = json!({ "seed": domain::BEACON_DRAW.as_str(), "word": domain::BEACON_WORD.as_str() });
    check("draw.json", json!({ "labels": labels, "beacon": hex::encode(beacon), "weights": weights, "cases": cases }));
}
