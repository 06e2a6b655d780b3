//! One value of one type, from JSON to SCALE and back.

use super::{AbiError, AccountNames, Type};
use crate::account::ss58;
use codec::{Compact, Decode, Encode};
use serde_json::{Map, Value};

/// Appends the encoding of `json` as a value of `kind`.
pub(super) fn encode(
    kind: &Type,
    json: &Value,
    place: &str,
    names: AccountNames<'_>,
    out: &mut Vec<u8>,
) -> Result<(), AbiError> {
    let mismatch = || AbiError::Mismatch { place: place.to_owned(), expected: expectation(kind), got: shown(json) };
    match kind {
        Type::Unit if json.is_null() => {}
        Type::Unit => return Err(mismatch()),
        Type::Bool => out.push(json.as_bool().ok_or_else(mismatch)?.into()),
        Type::Integer { bits, signed } => encode_integer(*bits, *signed, json, out).ok_or_else(mismatch)?,
        Type::String => json.as_str().ok_or_else(mismatch)?.encode_to(out),
        Type::Bytes => bytes_of(json).ok_or_else(mismatch)?.encode_to(out),
        Type::Account => {
            let text = json.as_str().ok_or_else(mismatch)?;
            let account = names(text).or_else(|| ss58::parse_account(text).ok()).ok_or_else(mismatch)?;
            out.extend_from_slice(&account.0);
        }
        Type::Contract => {
            let bytes: [u8; 32] = bytes_of(json).and_then(|bytes| bytes.try_into().ok()).ok_or_else(mismatch)?;
            out.extend_from_slice(&bytes);
        }
        Type::Option(_) if json.is_null() => out.push(0),
        Type::Option(item) => {
            out.push(1);
            encode(item, json, place, names, out)?;
        }
        Type::Vec(item) => {
            let items = json.as_array().ok_or_else(mismatch)?;
            let count = u32::try_from(items.len()).map_err(|_| mismatch())?;
            Compact(count).encode_to(out);
            encode_each(items.iter().map(|json| (&**item, json)), place, names, out)?;
        }
        Type::Array(item, count) => {
            if let (Type::Integer { bits: 8, signed: false }, Some(bytes)) = (&**item, bytes_of(json)) {
                if bytes.len() != *count {
                    return Err(mismatch());
                }
                out.extend_from_slice(&bytes);
                return Ok(());
            }
            let items = json.as_array().filter(|items| items.len() == *count).ok_or_else(mismatch)?;
            encode_each(items.iter().map(|json| (&**item, json)), place, names, out)?;
        }
        Type::Tuple(kinds) => {
            let items = json.as_array().filter(|items| items.len() == kinds.len()).ok_or_else(mismatch)?;
            encode_each(kinds.iter().zip(items), place, names, out)?;
        }
        Type::Result(value, error) => match single(json) {
            Some(("Ok", json)) => {
                out.push(0);
                encode(value, json, &format!("{place}.Ok"), names, out)?;
            }
            Some(("Err", json)) => {
                out.push(1);
                encode(error, json, &format!("{place}.Err"), names, out)?;
            }
            _ => return Err(mismatch()),
        },
        Type::Struct(fields) => {
            let object = json.as_object().filter(|object| object.len() == fields.len()).ok_or_else(mismatch)?;
            for (name, field) in fields {
                let json = object.get(name).ok_or_else(mismatch)?;
                encode(field, json, &format!("{place}.{name}"), names, out)?;
            }
        }
        Type::Enum(variants) => {
            let (name, inner) = match json.as_str() {
                Some(name) => (name, None),
                None => single(json).map(|(name, json)| (name, Some(json))).ok_or_else(mismatch)?,
            };
            let (index, payload) = variants
                .iter()
                .enumerate()
                .find_map(|(index, (variant, payload))| (variant == name).then_some((index, payload)))
                .ok_or_else(mismatch)?;
            out.push(u8::try_from(index).map_err(|_| mismatch())?);
            match (payload, inner) {
                (None, None) => {}
                (None, Some(json)) if json.is_null() => {}
                (Some(payload), Some(json)) => encode(payload, json, &format!("{place}.{name}"), names, out)?,
                _ => return Err(mismatch()),
            }
        }
    }
    Ok(())
}

fn encode_each<'a>(
    items: impl Iterator<Item = (&'a Type, &'a Value)>,
    place: &str,
    names: AccountNames<'_>,
    out: &mut Vec<u8>,
) -> Result<(), AbiError> {
    for (index, (kind, json)) in items.enumerate() {
        encode(kind, json, &format!("{place}[{index}]"), names, out)?;
    }
    Ok(())
}

/// Integers are numbers or decimal strings; a number with a fraction or an exponent is not exact and is refused.
fn encode_integer(bits: u32, signed: bool, json: &Value, out: &mut Vec<u8>) -> Option<()> {
    let text = match json {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
        _ => return None,
    };
    let bytes = if signed {
        let value: i128 = text.parse().ok()?;
        let shift = 128_u32.checked_sub(bits)?;
        // Sign-extending the low bits gives the value back exactly when it fits.
        if value.checked_shl(shift)?.checked_shr(shift)? != value {
            return None;
        }
        value.to_le_bytes()
    } else {
        let value: u128 = text.parse().ok()?;
        if bits < 128 && value.checked_shr(bits)? != 0 {
            return None;
        }
        value.to_le_bytes()
    };
    out.extend_from_slice(bytes.get(..usize::try_from(bits / 8).ok()?)?);
    Some(())
}

/// Bytes of memory that one result may take, about. A type's author can make them many however few bytes arrive: values without bytes,
/// long names that are repeated, objects of one small field.
const MAX_DECODED: usize = 14 << 20;
/// What a value takes, in a list that grows by doubling.
const VALUE: usize = 96;
/// What a node of an object takes, which holds five fields at least where there are so many.
const NODE: usize = 640;

/// Takes a value of `kind` from the front of `input`.
pub(super) fn decode(kind: &Type, input: &mut &[u8], place: &str) -> Result<Value, AbiError> {
    let mut left = MAX_DECODED;
    decode_within(kind, input, place, &mut left)
}

fn decode_within(kind: &Type, input: &mut &[u8], place: &str, left: &mut usize) -> Result<Value, AbiError> {
    let malformed = || AbiError::Malformed { place: place.to_owned(), expected: kind.to_string() };
    let object = match kind {
        Type::Struct(fields) => {
            NODE * (1 + fields.len() / 5) + fields.iter().map(|(name, _)| name.len()).sum::<usize>()
        }
        Type::Enum(variants) => NODE + variants.iter().map(|(name, _)| name.len()).max().unwrap_or(0),
        Type::Result(..) => NODE,
        _ => 0,
    };
    *left = left.checked_sub(VALUE + object).ok_or_else(malformed)?;
    Ok(match kind {
        Type::Unit => Value::Null,
        Type::Bool => Value::Bool(bool::decode(input).map_err(|_| malformed())?),
        Type::Integer { bits, signed } => decode_integer(*bits, *signed, input).ok_or_else(malformed)?,
        Type::String => Value::String(String::decode(input).map_err(|_| malformed())?),
        Type::Bytes => Value::String(hex(&Vec::<u8>::decode(input).map_err(|_| malformed())?)),
        Type::Account => {
            let account = <[u8; 32]>::decode(input).map_err(|_| malformed())?;
            Value::String(ss58::format_account(&account.into()))
        }
        Type::Contract => Value::String(hex(&<[u8; 32]>::decode(input).map_err(|_| malformed())?)),
        Type::Option(item) => match u8::decode(input) {
            Ok(0) => Value::Null,
            Ok(1) => decode_within(item, input, place, left)?,
            _ => return Err(malformed()),
        },
        Type::Vec(item) => {
            let count = Compact::<u32>::decode(input).map_err(|_| malformed())?.0 as usize;
            decode_each(std::iter::repeat_n(&**item, count), count, input, place, left, &malformed)?
        }
        Type::Array(item, count) if matches!(&**item, Type::Integer { bits: 8, signed: false }) => {
            let (bytes, rest) = input.split_at_checked(*count).ok_or_else(malformed)?;
            *input = rest;
            Value::String(hex(bytes))
        }
        Type::Array(item, count) => {
            decode_each(std::iter::repeat_n(&**item, *count), *count, input, place, left, &malformed)?
        }
        Type::Tuple(kinds) => {
            let mut items = Vec::with_capacity(kinds.len());
            for (index, kind) in kinds.iter().enumerate() {
                items.push(decode_within(kind, input, &format!("{place}[{index}]"), left)?);
            }
            Value::Array(items)
        }
        Type::Result(value, error) => match u8::decode(input) {
            Ok(0) => tagged("Ok", decode_within(value, input, place, left)?),
            Ok(1) => tagged("Err", decode_within(error, input, place, left)?),
            _ => return Err(malformed()),
        },
        Type::Struct(fields) => {
            let mut object = Map::new();
            for (name, field) in fields {
                object.insert(name.clone(), decode_within(field, input, &format!("{place}.{name}"), left)?);
            }
            Value::Object(object)
        }
        Type::Enum(variants) => {
            let index = u8::decode(input).map_err(|_| malformed())?;
            let (name, payload) = variants.get(usize::from(index)).ok_or_else(malformed)?;
            match payload {
                None => Value::String(name.clone()),
                Some(payload) => tagged(name, decode_within(payload, input, &format!("{place}.{name}"), left)?),
            }
        }
    })
}

fn decode_each<'a>(
    kinds: impl Iterator<Item = &'a Type>,
    count: usize,
    input: &mut &[u8],
    place: &str,
    left: &mut usize,
    malformed: &dyn Fn() -> AbiError,
) -> Result<Value, AbiError> {
    let mut items = Vec::new();
    for (index, kind) in kinds.enumerate() {
        // Every value but an empty one takes a byte: a length alone must not make us loop four billion times. Empty ones end with
        // what is left.
        if count - index > input.len() && !kind.is_empty() {
            return Err(malformed());
        }
        items.push(decode_within(kind, input, &format!("{place}[{index}]"), left)?);
    }
    Ok(Value::Array(items))
}

/// Up to 32 bits a number, above a string: JSON readers round large numbers.
fn decode_integer(bits: u32, signed: bool, input: &mut &[u8]) -> Option<Value> {
    let (bytes, rest) = input.split_at_checked(usize::try_from(bits / 8).ok()?)?;
    *input = rest;
    let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut extended = [if negative { 0xff } else { 0 }; 16];
    extended.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let text =
        if signed { i128::from_le_bytes(extended).to_string() } else { u128::from_le_bytes(extended).to_string() };
    if bits <= 32 {
        return text.parse::<i64>().ok().map(Value::from);
    }
    Some(Value::String(text))
}

fn tagged(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

fn single(json: &Value) -> Option<(&str, &Value)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(name, value)| (name.as_str(), value))
}

fn bytes_of(json: &Value) -> Option<Vec<u8>> {
    ::hex::decode(json.as_str()?.strip_prefix("0x")?).ok()
}

fn hex(bytes: &[u8]) -> String {
    phala_protocol::ids::to_hex(bytes)
}

fn expectation(kind: &Type) -> String {
    match kind {
        Type::Integer { bits, .. } if *bits > 32 => format!("{kind} as a decimal string"),
        Type::Bytes => "bytes as a string 0x...".to_owned(),
        Type::Account => "an account: a name, an address or 0x and 64 digits".to_owned(),
        Type::Contract => "a contract: 0x and 64 digits".to_owned(),
        Type::Vec(item) => format!("an array of {item}"),
        Type::Struct(_) => format!("an object {kind}"),
        Type::Enum(_) => format!("one of {kind}"),
        _ => kind.to_string(),
    }
}

fn shown(json: &Value) -> String {
    let text = json.to_string();
    if text.chars().count() > 60 {
        return format!("{}...", text.chars().take(57).collect::<String>());
    }
    text
}
