//! The types that a contract's metadata names.

use serde_json::Value;
use std::fmt;

/// How deep types may nest.
pub const MAX_DEPTH: usize = 32;

/// A type of an argument, a value or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing.
    Unit,
    /// One byte, 0 or 1.
    Bool,
    /// A little-endian integer.
    Integer {
        /// 8, 16, 32, 64 or 128.
        bits: u32,
        /// Whether it may be negative.
        signed: bool,
    },
    /// UTF-8.
    String,
    /// Bytes of any length.
    Bytes,
    /// An account.
    Account,
    /// A contract.
    Contract,
    /// A value or none.
    Option(Box<Type>),
    /// Values of one type.
    Vec(Box<Type>),
    /// A fixed number of values of one type.
    Array(Box<Type>, usize),
    /// Values of several types.
    Tuple(Vec<Type>),
    /// A value or an error.
    Result(Box<Type>, Box<Type>),
    /// Named fields.
    Struct(Vec<(String, Type)>),
    /// One of several variants.
    Enum(Vec<(String, Option<Type>)>),
}

/// Why JSON is not a type; the fault of whoever built the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// Not in the grammar.
    #[error("`{0}` is not a type of the contract ABI, version 1")]
    Unknown(String),
    /// Nested too deep.
    #[error("a type nests deeper than {MAX_DEPTH}")]
    TooDeep,
}

impl Type {
    /// Reads a type of the grammar.
    pub fn parse(json: &Value) -> Result<Self, TypeError> {
        Self::parse_at(json, MAX_DEPTH)
    }

    fn parse_at(json: &Value, depth: usize) -> Result<Self, TypeError> {
        let depth = depth.checked_sub(1).ok_or(TypeError::TooDeep)?;
        let unknown = || TypeError::Unknown(json.to_string().chars().take(80).collect());
        let boxed = |value: &Value| Self::parse_at(value, depth).map(Box::new);
        let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([first, second]) => Ok((first.clone(), second.clone())),
            _ => Err(unknown()),
        };
        if let Some(name) = json.as_str() {
            return Self::named(name).ok_or_else(unknown);
        }
        let object = json.as_object().filter(|object| object.len() == 1).ok_or_else(unknown)?;
        let (kind, inner) = object.iter().next().ok_or_else(unknown)?;
        Ok(match kind.as_str() {
            "option" => Self::Option(boxed(inner)?),
            "vec" => Self::Vec(boxed(inner)?),
            "array" => {
                let (item, count) = pair(inner)?;
                let count = count.as_u64().and_then(|count| usize::try_from(count).ok()).ok_or_else(unknown)?;
                Self::Array(boxed(&item)?, count)
            }
            "tuple" => {
                let items = inner.as_array().ok_or_else(unknown)?;
                Self::Tuple(items.iter().map(|item| Self::parse_at(item, depth)).collect::<Result<_, _>>()?)
            }
            "result" => {
                let (value, error) = pair(inner)?;
                Self::Result(boxed(&value)?, boxed(&error)?)
            }
            "struct" => {
                let mut fields = Vec::new();
                for field in inner.as_array().ok_or_else(unknown)? {
                    let (name, field) = pair(field)?;
                    fields.push((name.as_str().ok_or_else(unknown)?.to_owned(), Self::parse_at(&field, depth)?));
                }
                Self::Struct(fields)
            }
            "enum" => {
                let mut variants = Vec::new();
                for variant in inner.as_array().ok_or_else(unknown)? {
                    let (name, payload) = pair(variant)?;
                    let payload = if payload.is_null() { None } else { Some(Self::parse_at(&payload, depth)?) };
                    variants.push((name.as_str().ok_or_else(unknown)?.to_owned(), payload));
                }
                // The index is one byte.
                if variants.len() > 256 {
                    return Err(unknown());
                }
                Self::Enum(variants)
            }
            _ => return Err(unknown()),
        })
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "unit" => Self::Unit,
            "bool" => Self::Bool,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "account" => Self::Account,
            "contract" => Self::Contract,
            _ => {
                let signed = name.starts_with('i');
                let bits = name.strip_prefix(['u', 'i'])?.parse().ok()?;
                if ![8, 16, 32, 64, 128].contains(&bits) {
                    return None;
                }
                Self::Integer { bits, signed }
            }
        })
    }

    /// Whether a value of this type has no bytes at all, however many of them there are.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Unit => true,
            Self::Tuple(items) => items.iter().all(Self::is_empty),
            Self::Struct(fields) => fields.iter().all(|(_, field)| field.is_empty()),
            Self::Array(item, count) => *count == 0 || item.is_empty(),
            _ => false,
        }
    }
}

/// As a person reads it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Integer { bits, signed } => write!(f, "{}{bits}", if *signed { 'i' } else { 'u' }),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Account => f.write_str("account"),
            Self::Contract => f.write_str("contract"),
            Self::Option(item) => write!(f, "option<{item}>"),
            Self::Vec(item) => write!(f, "vec<{item}>"),
            Self::Array(item, count) => write!(f, "[{item}; {count}]"),
            Self::Tuple(items) => {
                f.write_str("(")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Self::Result(value, error) => write!(f, "result<{value}, {error}>"),
            Self::Struct(fields) => {
                f.write_str("{")?;
                for (index, (name, field)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {field}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Self::Enum(variants) => {
                for (index, (name, payload)) in variants.iter().enumerate() {
                    write!(f, "{}{name}", if index == 0 { "" } else { " | " })?;
                    if let Some(payload) = payload {
                        write!(f, "({payload})")?;
                    }
                }
                Ok(())
            }
        }
    }
}
