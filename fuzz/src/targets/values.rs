//! What a contract says about itself, and the values it returns: its author controls both.
//!
//! Holds: a value that decodes encodes back to the same bytes (where JSON can tell, see [`is_faithful`]), and memory stays within
//! its bound ([`MAX_DECODED_BYTES`]), however few bytes a type's values take.

use crate::{engine::Choices, measured, Target, Verdict};
use codec::{DecodeAll, Encode};
use phala_client::abi::{Budget, Kind, Metadata, Method, Type, MAX_DECODED_BYTES};
use serde_json::{json, Value};
use std::sync::LazyLock;

const TOKEN: &str = r#"{
  "abi": 1, "name": "token", "version": "0.1.0",
  "constructor": {"name": "create", "args": [["total_supply", "u128"]], "error": null},
  "messages": [
    {"name": "transfer", "kind": "call", "args": [["to", "account"], ["amount", "u128"]],
     "returns": "unit", "error": {"enum": [["InsufficientBalance", null], ["Other", {"tuple": ["u8", "bytes"]}]]}},
    {"name": "list", "kind": "query", "args": [["of", {"array": ["u8", 4]}]],
     "returns": {"vec": {"struct": [["a", {"option": "string"}], ["b", {"result": ["u64", "bool"]}]]}}, "error": null}
  ],
  "events": [{"name": "Transfer", "fields": [["from", "account"], ["amount", "u128"]]}]
}"#;

/// The section's JSON, then (after a NUL) bytes that its methods and events should decode.
pub static METADATA: Target = Target {
    name: "metadata",
    covers: &[
        "host/client/src/abi/metadata.rs::from_json",
        "host/client/src/abi/metadata.rs::decode_event",
        "host/client/src/abi/metadata.rs::decode_output",
        "host/client/src/abi/metadata.rs::decode_error",
        "host/client/src/abi/types.rs::parse",
    ],
    samples: LazyLock::new(|| {
        let event = ("Transfer", [1_u8; 32], 5_u128).encode();
        let list = vec![(Some("text"), Ok::<u64, bool>(1)), (None, Err(true))].encode();
        [event, list, vec![0, 1, 7, 8, 9, 9], vec![1], vec![]]
            .map(|value| [TOKEN.as_bytes(), &[0], &value].concat())
            .to_vec()
    }),
    check: |bytes| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (text, value) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
        let (metadata, peak) = measured(|| Metadata::from_json(text));
        assert!(peak <= text.len() as u64 * 400 + (64 << 10), "{peak} bytes for {} of metadata", text.len());
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => return Verdict::refused(error),
        };
        let (decoded, peak) = measured(|| {
            let mut decoded = u32::from(metadata.decode_event(value, &mut Budget::default()).is_ok());
            for method in &metadata.messages {
                decoded = decoded << 2 | u32::from(method.decode_output(value, &mut Budget::default()).is_ok()) << 1;
                decoded |= u32::from(method.decode_error(value).is_ok());
            }
            decoded
        });
        assert_counted(peak, bytes.len());
        Verdict::accepted("x".repeat(decoded.count_ones() as usize))
    },
    iterations: 1_500,
};

/// Choices that build a type, then bytes of a value of it.
pub static VALUES: Target = Target {
    name: "values",
    covers: &[],
    samples: LazyLock::new(|| {
        let mut samples = Vec::new();
        for kind in 0..17_u8 {
            let choices = vec![kind, 3, 4, 9, 11, 2, 14, 5, 8, 1];
            samples.push((choices.clone(), vec![0_u8; 200]).encode());
            samples.push((choices, vec![4_u8; 200]).encode());
        }
        samples
    }),
    check: |bytes| {
        let Ok((choices, value)) = <(Vec<u8>, Vec<u8>)>::decode_all(&mut &bytes[..]) else {
            return Verdict::refused("shape");
        };
        let json = type_of(&mut Choices::new(&choices), 5);
        let kind = Type::parse(&json).expect("the generator names types of the grammar");
        let method = Method {
            name: "m".to_owned(),
            kind: Kind::Query,
            arguments: vec![("x".to_owned(), kind.clone())],
            returns: kind.clone(),
            error: None,
        };
        // As much as fits: a value of unknown length, with whatever follows it.
        for length in [value.len(), value.len() / 2, 1, 0] {
            let value = &value[..length.min(value.len())];
            let (decoded, peak) = measured(|| method.decode_output(value, &mut Budget::default()));
            assert_counted(peak, bytes.len());
            match decoded {
                Ok(decoded) => {
                    if is_faithful(&kind) {
                        let input =
                            method.encode_input(std::slice::from_ref(&decoded), &|_| None).expect("its own JSON");
                        assert_eq!(&input[2..], value, "{kind}: {decoded}");
                    }
                    return Verdict::accepted(outline(&json));
                }
                Err(error) if length == 0 => return Verdict::refused(error),
                Err(_) => {}
            }
        }
        Verdict::refused("")
    },
    iterations: 4_000,
};

/// Whatever the types are, a decoded value takes what is counted for it, which is bounded; beside it there is what an error says.
fn assert_counted(peak: u64, input: usize) {
    let most = (MAX_DECODED_BYTES + input * 400 + (64 << 10)) as u64;
    assert!(peak <= most, "{peak} bytes allocated for an input of {input}");
}

fn type_of(choices: &mut Choices<'_>, depth: usize) -> Value {
    const NAMED: [&str; 11] =
        ["u8", "unit", "bool", "u32", "i64", "u128", "i8", "string", "bytes", "account", "contract"];
    let kinds = if depth == 0 { NAMED.len() } else { NAMED.len() + 7 };
    let kind = choices.below(kinds);
    if let Some(name) = NAMED.get(kind) {
        return json!(name);
    }
    let several = |choices: &mut Choices<'_>| -> Vec<Value> {
        (0..choices.below(4)).map(|_| type_of(choices, depth - 1)).collect()
    };
    let named = |kinds: Vec<Value>| -> Vec<Value> {
        kinds.into_iter().enumerate().map(|(index, kind)| json!([format!("f{index}"), kind])).collect()
    };
    match kind - NAMED.len() {
        0 => json!({"option": type_of(choices, depth - 1)}),
        1 => json!({"vec": type_of(choices, depth - 1)}),
        2 => {
            let count = [0, 1, 2, 5, 300, 30_000, 3_000_000_000_u64][choices.below(7)];
            json!({"array": [type_of(choices, depth - 1), count]})
        }
        3 => json!({"tuple": several(choices)}),
        4 => json!({"result": [type_of(choices, depth - 1), type_of(choices, depth - 1)]}),
        5 => json!({"struct": named(several(choices))}),
        _ => {
            let mut variants = named(several(choices));
            variants.push(json!(["none", null]));
            json!({"enum": variants})
        }
    }
}

/// A type's name and that of what is first in it: few enough that each is worth an input of its own.
fn outline(json: &Value) -> String {
    let name = |json: &Value| match json {
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let within = json.as_object().and_then(|fields| fields.values().next());
    // A field is a name and a type, an array a type and a number.
    let first = within.map(|within| within.pointer("/0/1").or(within.pointer("/0")).unwrap_or(within));
    format!("{} {}", name(json), first.map(name).unwrap_or_default())
}

/// Whether JSON tells every value of the type from every other: an option of something that may be null does not.
fn is_faithful(kind: &Type) -> bool {
    match kind {
        Type::Option(item) => !matches!(**item, Type::Unit | Type::Option(_)) && is_faithful(item),
        Type::Vec(item) | Type::Array(item, _) => is_faithful(item),
        Type::Tuple(items) => items.iter().all(is_faithful),
        Type::Result(value, error) => is_faithful(value) && is_faithful(error),
        Type::Struct(fields) => fields.iter().all(|(_, field)| is_faithful(field)),
        Type::Enum(variants) => variants.iter().all(|(_, payload)| payload.as_ref().is_none_or(is_faithful)),
        _ => true,
    }
}
