//! Conversion between JSON and the contract ABI, on a metadata of every type.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::{convert, *};
use crate::account::Account;
use codec::Encode;
use serde_json::{json, Value};

const TOKEN: &str = r#"{
  "abi": 1, "name": "token", "version": "0.1.0",
  "constructor": {"name": "create", "args": [["total_supply", "u128"]], "error": null},
  "messages": [
    {"name": "transfer", "kind": "call", "args": [["to", "account"], ["amount", "u128"]],
     "returns": "unit", "error": {"enum": [["InsufficientBalance", null]]}},
    {"name": "balance", "kind": "query", "args": [], "returns": "u128", "error": null}
  ],
  "events": [{"name": "Transfer", "fields": [["from", "account"], ["amount", "u128"]]}]
}"#;

fn names(name: &str) -> Option<phala_protocol::AccountId> {
    Account::development(name).ok().map(|account| account.id())
}

fn token() -> Metadata {
    Metadata::from_json(TOKEN.as_bytes()).unwrap()
}

fn convert_back(kind: Value, value: Value, expected: impl Encode) {
    let kind = Type::parse(&kind).unwrap();
    let mut bytes = Vec::new();
    convert::encode(&kind, &value, "value", &names, &mut bytes).unwrap();
    assert_eq!(bytes, expected.encode(), "{kind}");
    let mut input = &bytes[..];
    assert_eq!(convert::decode(&kind, &mut input, "value", &mut Budget::default()).unwrap(), value, "{kind}");
    assert!(input.is_empty());
}

fn refuse(kind: Value, value: Value) -> String {
    let kind = Type::parse(&kind).unwrap();
    convert::encode(&kind, &value, "argument `x`", &names, &mut Vec::new()).unwrap_err().to_string()
}

#[test]
fn every_type_becomes_its_scale_and_comes_back() {
    convert_back(json!("unit"), json!(null), ());
    convert_back(json!("bool"), json!(true), true);
    convert_back(json!("u8"), json!(255), 255u8);
    convert_back(json!("i8"), json!(-128), -128i8);
    convert_back(json!("u32"), json!(4_294_967_295u32), u32::MAX);
    convert_back(json!("i32"), json!(-7), -7i32);
    convert_back(json!("u64"), json!("18446744073709551615"), u64::MAX);
    convert_back(json!("i64"), json!("-9223372036854775808"), i64::MIN);
    convert_back(json!("u128"), json!("340282366920938463463374607431768211455"), u128::MAX);
    convert_back(json!("i128"), json!("-170141183460469231731687303715884105728"), i128::MIN);
    convert_back(json!("string"), json!("grüße"), "grüße");
    convert_back(json!("bytes"), json!("0x0102"), vec![1u8, 2]);
    convert_back(json!("contract"), json!(format!("0x{}", "07".repeat(32))), [7u8; 32]);
    convert_back(json!({"option": "u8"}), json!(null), None::<u8>);
    convert_back(json!({"option": "u8"}), json!(3), Some(3u8));
    convert_back(json!({"vec": "u16"}), json!([1, 2, 3]), vec![1u16, 2, 3]);
    convert_back(json!({"array": ["u8", 3]}), json!("0x010203"), [1u8, 2, 3]);
    convert_back(json!({"array": ["bool", 2]}), json!([true, false]), [true, false]);
    convert_back(json!({"tuple": ["u8", "string"]}), json!([1, "a"]), (1u8, "a"));
    convert_back(json!({"result": ["u8", "string"]}), json!({"Ok": 1}), Ok::<u8, String>(1));
    convert_back(json!({"result": ["u8", "string"]}), json!({"Err": "no"}), Err::<u8, String>("no".into()));
    convert_back(json!({"struct": [["b", "u8"], ["a", "u16"]]}), json!({"a": 2, "b": 1}), (1u8, 2u16));
    let kind = json!({"enum": [["None", null], ["Price", "u128"]]});
    convert_back(kind.clone(), json!("None"), 0u8);
    convert_back(kind, json!({"Price": "9"}), (1u8, 9u128));
}

#[test]
fn accounts_are_names_addresses_or_hex() {
    let kind = Type::Account;
    let alice = names("alice").unwrap();
    for text in ["alice".to_owned(), alice.to_string(), crate::account::ss58::format_account(&alice)] {
        let mut bytes = Vec::new();
        convert::encode(&kind, &json!(text), "to", &names, &mut bytes).unwrap();
        assert_eq!(bytes, alice.0, "{text}");
    }
    assert!(refuse(json!("account"), json!("nobody")).contains("a name, an address or 0x"));
}

#[test]
fn refuses_what_does_not_fit_and_names_the_place() {
    assert_eq!(refuse(json!("u8"), json!(256)), "argument `x`: expected u8, got 256");
    assert_eq!(refuse(json!("u128"), json!(1.5)), "argument `x`: expected u128 as a decimal string, got 1.5");
    for (kind, value) in [
        ("u8", json!(-1)),
        ("i8", json!(128)),
        ("i16", json!("-32769")),
        ("u64", json!("18446744073709551616")),
        ("u64", json!(1e3)),
    ] {
        refuse(json!(kind), value);
    }
    assert!(refuse(json!({"vec": {"struct": [["a", "bool"]]}}), json!([{"a": true}, {"a": 1}]))
        .starts_with("argument `x`[1].a: expected bool"));
    refuse(json!({"struct": [["a", "bool"]]}), json!({"a": true, "b": 1}));
    refuse(json!({"array": ["u8", 2]}), json!("0x01"));
    refuse(json!({"enum": [["A", null]]}), json!("B"));
    refuse(json!({"enum": [["A", null]]}), json!({"A": 1}));
}

#[test]
fn hostile_bytes_are_refused_without_looping() {
    let huge = [0xfe, 0xff, 0xff, 0xff];
    for kind in
        [json!({"vec": "unit"}), json!({"vec": "u8"}), json!({"vec": {"tuple": []}}), json!("string"), json!("bytes")]
    {
        let kind = Type::parse(&kind).unwrap();
        assert!(convert::decode(&kind, &mut &huge[..], "value", &mut Budget::default()).is_err(), "{kind}");
    }
    let option = Type::parse(&json!({"option": "bool"})).unwrap();
    assert!(convert::decode(&option, &mut &[2][..], "value", &mut Budget::default()).is_err());
    let mut deep = json!("u8");
    for _ in 0..MAX_DEPTH {
        deep = json!({"option": deep});
    }
    assert_eq!(Type::parse(&deep), Err(TypeError::TooDeep));
    assert!(matches!(Type::parse(&json!("u24")), Err(TypeError::Unknown(_))));
}

/// What a value has allocated, as far as it says so itself: of an object, at least its entries.
fn taken(value: &Value) -> usize {
    match value {
        Value::String(text) => text.capacity(),
        Value::Array(items) => items.capacity() * size_of::<Value>() + items.iter().map(taken).sum::<usize>(),
        Value::Object(entries) => {
            let each = size_of::<String>() + size_of::<Value>();
            entries.iter().map(|(name, value)| each + name.capacity() + taken(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[test]
fn what_is_counted_of_a_value_is_no_less_than_what_it_takes() {
    let fields = |count: usize| (0..count).map(|index| json!([format!("field{index}"), "u8"])).collect::<Vec<_>>();
    let long = "x".repeat(300);
    let widest = [0xff_u8; 4_000];
    let cases: &[(Value, &[u8])] = &[
        (json!("unit"), &[]),
        (json!({"vec": "unit"}), &[0xfd, 0xff]),
        (json!({"array": ["unit", 5_000]}), &[]),
        (json!({"array": ["i8", 4_000]}), &widest),
        (json!({"array": ["u8", 4_000]}), &widest),
        (json!({"array": ["u64", 500]}), &widest),
        (json!({"array": ["i64", 500]}), &widest),
        (json!({"array": ["i128", 250]}), &[0x80; 4_000]),
        (json!({"array": ["u128", 250]}), &widest),
        (json!({"array": ["account", 125]}), &widest),
        (json!({"array": ["contract", 125]}), &widest),
        (json!({"array": ["string", 4_000]}), &[0; 4_000]),
        (json!({"array": ["bytes", 4_000]}), &[0; 4_000]),
        (json!({"array": [{"option": {"tuple": ["unit", "unit", "i8"]}}, 2_000]}), &[1; 4_000]),
        (json!({"array": [{"result": ["unit", "bool"]}, 2_000]}), &[1; 4_000]),
        (json!({"array": [{"enum": [[long, null], [long, "unit"]]}, 4_000]}), &[1; 4_000]),
        (json!({"array": [{"enum": [[long, null], [long, "unit"]]}, 4_000]}), &[0; 4_000]),
        (json!({"array": [{"struct": [[long, "unit"]]}, 4_000]}), &[]),
        (json!({"array": [{"struct": []}, 4_000]}), &[]),
        (json!({"array": [{"struct": fields(1)}, 4_000]}), &widest),
        (json!({"array": [{"struct": fields(12)}, 300]}), &widest[..3_600]),
        (json!({"array": [{"struct": fields(100)}, 40]}), &widest),
    ];
    for (kind, bytes) in cases {
        let kind = Type::parse(kind).unwrap();
        let mut input = *bytes;
        let (value, counted) = convert::counted(&kind, &mut input).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(input.is_empty(), "{kind}");
        assert!(counted >= taken(&value), "{kind}: {counted} counted, {} taken", taken(&value));
    }
}

#[test]
fn the_largest_replies_are_decoded_and_what_would_fill_the_memory_is_refused() {
    // A reply has 12 KiB at most: the smallest values that a program would return, as many as fit.
    let reply = vec![1; 12 * 1024];
    for (item, bytes) in [
        (json!("i8"), 1),
        (json!({"option": "bool"}), 2),
        (json!({"struct": [["number", "u8"]]}), 1),
        (json!({"struct": [["sender", "contract"], ["amount", "u128"], ["open", "bool"]]}), 49),
        (json!({"enum": [["Open", null], ["Closed", "u8"]]}), 2),
    ] {
        let kind = Type::parse(&json!({"array": [item, reply.len() / bytes]})).unwrap();
        convert::decode(&kind, &mut &reply[..], "value", &mut Budget::default())
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
    let bomb = Type::parse(&json!({"struct": [["a", {"array": ["unit", 3_000_000_000_u64]}]]})).unwrap();
    let refused = convert::decode(&bomb, &mut &[][..], "value", &mut Budget::default()).unwrap_err();
    assert_eq!(refused, AbiError::TooLarge { place: "value.a".to_owned() });
    // Each part is small.
    let mut bomb = json!({"struct": [["a", "unit"]]});
    for _ in 0..4 {
        bomb = json!({"array": [bomb, 100]});
    }
    let bomb = Type::parse(&bomb).unwrap();
    let refused = convert::decode(&bomb, &mut &[][..], "value", &mut Budget::default()).unwrap_err();
    assert!(matches!(&refused, AbiError::TooLarge { place } if place.starts_with("value[0][")), "{refused}");
    assert!(crate::ClientError::from(refused).message.contains("value["));
}

#[test]
fn the_output_and_the_events_of_a_reply_share_one_budget() {
    // Values without a byte, so many that the budget is enough for two such lists at most.
    let nothings = r#"{"array": ["unit", 230000]}"#;
    let metadata = format!(
        r#"{{"abi": 1, "name": "bombs", "version": "0.1.0", "constructor": {{"name": "create", "args": [], "error": null}},
            "messages": [{{"name": "burst", "kind": "call", "args": [], "returns": {nothings}, "error": null}}],
            "events": [{{"name": "Burst", "fields": [["a", {nothings}]]}}, {{"name": "Said", "fields": [["b", "u8"]]}}]}}"#
    );
    let metadata = Metadata::from_json(metadata.as_bytes()).unwrap();
    let mut budget = Budget::default();
    let output = metadata.method(Kind::Call, "burst").unwrap().decode_output(&[], &mut budget).unwrap();
    let burst = "Burst".encode();
    let events: Vec<_> = (0..64).map(|_| metadata.decode_event(&burst, &mut budget)).collect();
    let decoded: Vec<_> = events.iter().flatten().map(|(_, fields)| fields).collect();
    let together = taken(&output) + decoded.iter().map(|fields| taken(fields)).sum::<usize>();
    assert!(together > MAX_DECODED_BYTES / 4 && together <= MAX_DECODED_BYTES, "{together} bytes");
    let refused = events.iter().filter_map(|event| event.as_ref().err());
    assert_eq!(refused.clone().count(), 64 - decoded.len());
    for error in refused {
        assert_eq!(*error, AbiError::TooLarge { place: "Burst.a".to_owned() });
    }
    // What did not fit took nothing: what is small is still read.
    let (_, fields) = metadata.decode_event(&("Said", 7_u8).encode(), &mut budget).unwrap();
    assert_eq!(fields["b"], json!(7));
    // What is refused for another reason has taken what it has taken.
    let trailing = [&burst[..], &[0]].concat();
    let mut budget = Budget::default();
    let refused: Vec<_> = (0..64).map(|_| metadata.decode_event(&trailing, &mut budget).unwrap_err()).collect();
    assert!(matches!(refused[0], AbiError::TrailingBytes { count: 1, .. }), "{}", refused[0]);
    assert!(matches!(refused[63], AbiError::TooLarge { .. }), "{}", refused[63]);
}

#[test]
fn methods_encode_their_name_and_arguments() {
    let token = token();
    let transfer = token.method(Kind::Call, "transfer").unwrap();
    let input = transfer.encode_input(&[json!("bob"), json!("5")], &names).unwrap();
    assert_eq!(input, ("transfer", names("bob").unwrap(), 5u128).encode());
    assert_eq!(
        transfer.encode_input(&[json!("bob")], &names).unwrap_err().to_string(),
        "`transfer` takes 2 (to: account, amount: u128), got 1"
    );
    assert!(transfer.encode_input(&[json!("bob"), json!("x")], &names).unwrap_err().to_string().contains("`amount`"));
    let error = token.method(Kind::Call, "balance").unwrap_err().to_string();
    assert_eq!(
        error,
        "the contract has no call `balance`; it has: transfer(to: account, amount: u128), balance() -> u128"
    );
    assert_eq!(token.method(Kind::Constructor, "create").unwrap().arguments.len(), 1);
}

#[test]
fn outputs_errors_and_events_are_read_whole() {
    let token = token();
    let balance = token.method(Kind::Query, "balance").unwrap();
    assert_eq!(balance.decode_output(&7u128.encode(), &mut Budget::default()).unwrap(), json!("7"));
    assert!(balance
        .decode_output(&[0; 17], &mut Budget::default())
        .unwrap_err()
        .to_string()
        .contains("1 bytes follow"));
    let transfer = token.method(Kind::Call, "transfer").unwrap();
    assert_eq!(transfer.decode_error(&[0, 0]).unwrap(), json!("InsufficientBalance"));
    assert_eq!(transfer.decode_error(&[2]).unwrap(), json!("the contract expects other arguments"));
    assert_eq!(transfer.decode_error(&[3]).unwrap(), json!("the contract has nothing that this account may see"));
    assert!(transfer.decode_error(&[]).is_err());
    let event = ("Transfer", names("alice").unwrap(), 9u128).encode();
    let (name, fields) = token.decode_event(&event, &mut Budget::default()).unwrap();
    assert_eq!((name.as_str(), &fields["amount"]), ("Transfer", &json!("9")));
}

#[test]
fn metadata_is_found_in_the_module_or_said_to_be_missing() {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    assert_eq!(Metadata::from_wasm(&wasm), Err(MetadataError::Missing));
    // Section 0 (custom): length, length of the name, name, content; lengths in LEB128.
    let name = b"phala.metadata";
    let length = 1 + name.len() + TOKEN.len();
    wasm.extend([0, (length % 128) as u8 | 0x80, (length / 128) as u8, name.len() as u8]);
    wasm.extend(name);
    wasm.extend(TOKEN.as_bytes());
    assert_eq!(Metadata::from_wasm(&wasm).unwrap(), token());
    assert!(matches!(Metadata::from_wasm(b"no wasm"), Err(MetadataError::NotWasm(_))));
    assert_eq!(Metadata::from_json(br#"{"abi": 2}"#), Err(MetadataError::Version(2)));
}
