//! One value of one type, from JSON to SCALE and back.
//!
//! Guarantees: the values that are decoded from one [`Budget`] take at most [`MAX_DECODED_BYTES`] together, whatever their types and however
//! few their bytes are; what an error says of a value that is refused is as long as the type's text. A contract's author controls types, a contract the bytes, a user the JSON.

use super::{AbiError, AccountNames, Type};
use crate::account::ss58;
use codec::{Compact, Decode, Encode};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt};

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

/// Bytes of memory that the values of one reply may take when they are decoded, all together: what it returns and what it emitted. A type's
/// author can make them many however few bytes arrive: values without bytes, long names that are repeated, objects of one small field.
///
/// What is counted is no less than what is allocated: every list and object has its room when it is begun, so that none grows, and that room is
/// paid for before it is taken; so are texts. Not counted are what an error says, and a few hundred bytes that no value keeps.
pub const MAX_DECODED_BYTES: usize = 16 << 20;

/// What is left of [`MAX_DECODED_BYTES`] for the values of one reply, of which each takes its part. What a value took that was refused stays
/// spent, so that it bounds work as well; a part that does not fit any more takes nothing, and smaller ones may come after it.
#[derive(Debug)]
pub struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_DECODED_BYTES)
    }
}

/// Integers of more bits are texts.
const NUMBER_BITS: u32 = 32;
/// What an address or an integer takes as a text: room for 53 and 40 letters at most.
const SHORT_TEXT: usize = 64;

/// Where a value is. It is written down when there is something to say of it.
enum Place<'a> {
    Whole(&'a str),
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(name) => f.write_str(name),
            Self::Field(outer, name) => write!(f, "{outer}.{name}"),
            Self::Item(outer, index) => write!(f, "{outer}[{index}]"),
        }
    }
}

/// Takes a value of `kind` from the front of `input`, and what it takes of memory from `budget`.
pub(super) fn decode(kind: &Type, input: &mut &[u8], place: &str, budget: &mut Budget) -> Result<Value, AbiError> {
    decode_within(kind, input, &Place::Whole(place), &mut budget.0)
}

/// As [`decode`] of a [`Type::Struct`] with these fields.
pub(super) fn decode_fields(
    fields: &[(String, Type)],
    input: &mut &[u8],
    place: &str,
    budget: &mut Budget,
) -> Result<Value, AbiError> {
    fields_within(fields, input, &Place::Whole(place), &mut budget.0)
}

/// As [`decode`], with how many bytes of memory were counted.
#[cfg(test)]
pub(super) fn counted(kind: &Type, input: &mut &[u8]) -> Result<(Value, usize), AbiError> {
    let mut budget = Budget::default();
    let value = decode(kind, input, "value", &mut budget)?;
    Ok((value, MAX_DECODED_BYTES - budget.0))
}

fn decode_within(kind: &Type, input: &mut &[u8], place: &Place<'_>, left: &mut usize) -> Result<Value, AbiError> {
    let malformed = || AbiError::Malformed { place: place.to_string(), expected: kind.to_string() };
    Ok(match kind {
        Type::Unit => Value::Null,
        Type::Bool => Value::Bool(bool::decode(input).map_err(|_| malformed())?),
        Type::Integer { bits, signed } => {
            if *bits > NUMBER_BITS {
                spend(left, SHORT_TEXT, place)?;
            }
            decode_integer(*bits, *signed, input).ok_or_else(malformed)?
        }
        Type::String => {
            let bytes = prefixed(input).ok_or_else(malformed)?;
            let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
            Value::String(copied(text, place, left)?)
        }
        Type::Bytes => hex(prefixed(input).ok_or_else(malformed)?, place, left)?,
        Type::Account => {
            spend(left, SHORT_TEXT, place)?;
            let account = <[u8; 32]>::decode(input).map_err(|_| malformed())?;
            Value::String(ss58::format_account(&account.into()))
        }
        Type::Contract => hex(&<[u8; 32]>::decode(input).map_err(|_| malformed())?, place, left)?,
        Type::Option(item) => match u8::decode(input) {
            Ok(0) => Value::Null,
            Ok(1) => decode_within(item, input, place, left)?,
            _ => return Err(malformed()),
        },
        Type::Array(item, count) if matches!(&**item, Type::Integer { bits: 8, signed: false }) => {
            let (bytes, rest) = input.split_at_checked(*count).ok_or_else(malformed)?;
            *input = rest;
            hex(bytes, place, left)?
        }
        Type::Vec(item) => {
            let count = Compact::<u32>::decode(input).map_err(|_| malformed())?.0 as usize;
            alike(item, count, input, place, left, &malformed)?
        }
        Type::Array(item, count) => alike(item, *count, input, place, left, &malformed)?,
        Type::Tuple(kinds) => decode_each(kinds.iter(), kinds.len(), input, place, left)?,
        Type::Result(value, error) => {
            let (name, kind) = match u8::decode(input) {
                Ok(0) => ("Ok", value),
                Ok(1) => ("Err", error),
                _ => return Err(malformed()),
            };
            let mut object = object(1, place, left)?;
            object.insert(copied(name, place, left)?, decode_within(kind, input, place, left)?);
            Value::Object(object)
        }
        Type::Struct(fields) => fields_within(fields, input, place, left)?,
        Type::Enum(variants) => {
            let index = u8::decode(input).map_err(|_| malformed())?;
            let (name, payload) = variants.get(usize::from(index)).ok_or_else(malformed)?;
            match payload {
                None => Value::String(copied(name, place, left)?),
                Some(payload) => {
                    let mut object = object(1, place, left)?;
                    let value = decode_within(payload, input, &Place::Field(place, name), left)?;
                    object.insert(copied(name, place, left)?, value);
                    Value::Object(object)
                }
            }
        }
    })
}

/// An object of these fields.
fn fields_within(
    fields: &[(String, Type)],
    input: &mut &[u8],
    place: &Place<'_>,
    left: &mut usize,
) -> Result<Value, AbiError> {
    let mut object = object(fields.len(), place, left)?;
    for (name, field) in fields {
        let value = decode_within(field, input, &Place::Field(place, name), left)?;
        object.insert(copied(name, place, left)?, value);
    }
    Ok(Value::Object(object))
}

/// A list of `count` values of the type `item`. Every value but an empty one takes a byte, so that a number alone fills no memory; empty ones end
/// with what is left of it.
fn alike(
    item: &Type,
    count: usize,
    input: &mut &[u8],
    place: &Place<'_>,
    left: &mut usize,
    malformed: &dyn Fn() -> AbiError,
) -> Result<Value, AbiError> {
    if count > input.len() && !item.is_empty() {
        return Err(malformed());
    }
    decode_each(std::iter::repeat_n(item, count), count, input, place, left)
}

/// A list of `count` values, of which `kinds` are the types.
fn decode_each<'a>(
    kinds: impl Iterator<Item = &'a Type>,
    count: usize,
    input: &mut &[u8],
    place: &Place<'_>,
    left: &mut usize,
) -> Result<Value, AbiError> {
    spend(left, count.saturating_mul(size_of::<Value>()), place)?;
    let mut items = Vec::with_capacity(count);
    for (index, kind) in kinds.enumerate() {
        items.push(decode_within(kind, input, &Place::Item(place, index), left)?);
    }
    Ok(Value::Array(items))
}

/// Counts `bytes` that are about to be allocated.
fn spend(left: &mut usize, bytes: usize, place: &Place<'_>) -> Result<(), AbiError> {
    *left = left.checked_sub(bytes).ok_or_else(|| AbiError::TooLarge { place: place.to_string() })?;
    Ok(())
}

/// An object that takes `entries` without growing.
fn object(entries: usize, place: &Place<'_>, left: &mut usize) -> Result<Map<String, Value>, AbiError> {
    spend(left, object_bytes(entries), place)?;
    Ok(Map::with_capacity(entries))
}

/// What an object of `entries` allocates at most, the texts of its keys and what its values allocate aside. Its map is one of two, as
/// whoever else is in the build has it: a search tree, or a hash table over a list (`preserve_order` of serde_json), in which a value has
/// twice the size as well.
fn object_bytes(entries: usize) -> usize {
    let entry = size_of::<String>() + size_of::<Value>();
    if entries == 0 {
        0
    } else if size_of::<Map<String, Value>>() == size_of::<BTreeMap<String, Value>>() {
        // A node has room for 11 entries, and 12 children, a parent and two counts; all but the root hold five entries or more.
        let node = 11 * entry + 14 * size_of::<usize>();
        (1 + entries / 5).saturating_mul(node)
    } else {
        // The list has a hash beside each entry. The table is a power of two that is filled to seven eighths at most, or a small one, with an
        // index and a byte a place, and a group of bytes behind them.
        let places = entries.saturating_mul(16) / 7 + 16;
        let table = places.saturating_mul(size_of::<usize>() + 1) + 32;
        entries.saturating_mul(size_of::<usize>() + entry).saturating_add(table)
    }
}

/// The bytes behind their number.
fn prefixed<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = usize::try_from(Compact::<u32>::decode(input).ok()?.0).ok()?;
    let (bytes, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(bytes)
}

fn copied(text: &str, place: &Place<'_>, left: &mut usize) -> Result<String, AbiError> {
    spend(left, text.len(), place)?;
    Ok(text.to_owned())
}

fn hex(bytes: &[u8], place: &Place<'_>, left: &mut usize) -> Result<Value, AbiError> {
    spend(left, bytes.len().saturating_mul(2).saturating_add(2), place)?;
    Ok(Value::String(phala_protocol::ids::to_hex(bytes)))
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
    if bits <= NUMBER_BITS {
        return text.parse::<i64>().ok().map(Value::from);
    }
    Some(Value::String(text))
}

fn single(json: &Value) -> Option<(&str, &Value)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(name, value)| (name.as_str(), value))
}

fn bytes_of(json: &Value) -> Option<Vec<u8>> {
    ::hex::decode(json.as_str()?.strip_prefix("0x")?).ok()
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
