//! A contract's description of itself, read out of its WASM.

use super::{
    convert::{decode, decode_fields, encode},
    AbiError, AccountNames, Budget, Type, TypeError,
};
use codec::{Decode, Encode};
use serde_json::Value;

/// The custom section that holds it.
const SECTION: &str = "phala.metadata";
/// Bytes of the section.
const MAX_METADATA_BYTES: usize = 16 * 1024;

/// What a message may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs once, when the contract is deployed.
    Constructor,
    /// May change state: a command.
    Call,
    /// May not: a query.
    Query,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Constructor => "constructor",
            Self::Call => "call",
            Self::Query => "query",
        }
    }
}

/// One method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub kind: Kind,
    /// Its arguments, by name.
    pub arguments: Vec<(String, Type)>,
    /// What it returns.
    pub returns: Type,
    /// Its error, if it can refuse.
    pub error: Option<Type>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its fields.
    pub fields: Vec<(String, Type)>,
}

/// What a contract says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The contract's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its constructor.
    pub constructor: Method,
    /// Its other methods.
    pub messages: Vec<Method>,
    /// Its events.
    pub events: Vec<Event>,
}

/// Why code has no readable metadata; the fault of whoever built it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not a module.
    #[error("this is not a WebAssembly module: {0}")]
    NotWasm(String),
    /// No section.
    #[error("the module has no section `{SECTION}`; was it built with the contract SDK?")]
    Missing,
    /// Too long.
    #[error("the metadata has {0} bytes, more than {MAX_METADATA_BYTES}")]
    TooLong(usize),
    /// Not the JSON that it should be.
    #[error("the metadata is malformed at {0}")]
    Malformed(&'static str),
    /// Another version.
    #[error("the metadata is of ABI version {0}; this client speaks version 1")]
    Version(u64),
    /// A type is not one.
    #[error("the metadata names an unknown type")]
    Type(#[from] TypeError),
}

impl From<MetadataError> for crate::ClientError {
    fn from(error: MetadataError) -> Self {
        Self::new(crate::ErrorCode::Invalid, crate::error::chain_of(&error))
            .with_hint("build the contract with `phala contract build`")
    }
}

impl Metadata {
    /// Reads the metadata of a contract's WASM. Compiles and runs nothing.
    pub fn from_wasm(wasm: &[u8]) -> Result<Self, MetadataError> {
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(|error| MetadataError::NotWasm(error.message().to_owned()))?;
            if let wasmparser::Payload::CustomSection(section) = payload {
                if section.name() == SECTION {
                    return Self::from_json(section.data());
                }
            }
        }
        Err(MetadataError::Missing)
    }

    /// Reads the section's JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, MetadataError> {
        if json.len() > MAX_METADATA_BYTES {
            return Err(MetadataError::TooLong(json.len()));
        }
        let json: Value = serde_json::from_slice(json).map_err(|_| MetadataError::Malformed("its JSON"))?;
        match json.get("abi").and_then(Value::as_u64) {
            Some(1) => {}
            Some(version) => return Err(MetadataError::Version(version)),
            None => return Err(MetadataError::Malformed("abi")),
        }
        let constructor = json.get("constructor").ok_or(MetadataError::Malformed("constructor"))?;
        let list = |name: &'static str| json.get(name).and_then(Value::as_array).ok_or(MetadataError::Malformed(name));
        Ok(Self {
            name: text(&json, "name")?,
            version: text(&json, "version")?,
            constructor: method(constructor, Some(Kind::Constructor))?,
            messages: list("messages")?.iter().map(|json| method(json, None)).collect::<Result<_, _>>()?,
            events: list("events")?
                .iter()
                .map(|json| Ok(Event { name: text(json, "name")?, fields: fields(json, "fields")? }))
                .collect::<Result<_, MetadataError>>()?,
        })
    }

    /// The method `name` of `kind`.
    pub fn method(&self, kind: Kind, name: &str) -> Result<&Method, AbiError> {
        if kind == Kind::Constructor && self.constructor.name == name {
            return Ok(&self.constructor);
        }
        self.messages.iter().find(|method| method.kind == kind && method.name == name).ok_or_else(|| {
            let known: Vec<_> = self.messages.iter().map(Method::signature).collect();
            AbiError::NoSuchMethod { kind: kind.name(), method: name.to_owned(), known: known.join(", ") }
        })
    }

    /// Reads an event that the contract emitted: its name, and its fields as an object, within what `budget` has left for its reply.
    pub fn decode_event(&self, mut bytes: &[u8], budget: &mut Budget) -> Result<(String, Value), AbiError> {
        let malformed = || AbiError::Malformed { place: "event".to_owned(), expected: "an event".to_owned() };
        let name = String::decode(&mut bytes).map_err(|_| malformed())?;
        let event = self.events.iter().find(|event| event.name == name).ok_or_else(malformed)?;
        let fields = decode_fields(&event.fields, &mut bytes, &name, budget)?;
        at_the_end(bytes, &name)?;
        Ok((name, fields))
    }
}

impl Method {
    /// `name(argument: type, ...) -> type`.
    pub fn signature(&self) -> String {
        let returns = match &self.returns {
            Type::Unit => String::new(),
            returns => format!(" -> {returns}"),
        };
        format!("{}({}){returns}", self.name, self.argument_list())
    }

    fn argument_list(&self) -> String {
        self.arguments.iter().map(|(name, kind)| format!("{name}: {kind}")).collect::<Vec<_>>().join(", ")
    }

    /// The contract's input: the method's name, then `arguments` in order.
    pub fn encode_input(&self, arguments: &[Value], names: AccountNames<'_>) -> Result<Vec<u8>, AbiError> {
        if arguments.len() != self.arguments.len() {
            let expected = match self.arguments.len() {
                0 => "no arguments".to_owned(),
                count => format!("{count} ({})", self.argument_list()),
            };
            return Err(AbiError::ArgumentCount { method: self.name.clone(), expected, got: arguments.len() });
        }
        let mut input = self.name.encode();
        for ((name, kind), json) in self.arguments.iter().zip(arguments) {
            encode(kind, json, &format!("argument `{name}`"), names, &mut input)?;
        }
        Ok(input)
    }

    /// What the method returned, within what `budget` has left for its reply.
    pub fn decode_output(&self, output: &[u8], budget: &mut Budget) -> Result<Value, AbiError> {
        decode_all(&self.returns, output, &format!("result of `{}`", self.name), budget)
    }

    /// The error with which the method refused: all that there is to decode of its reply, with a budget of its own.
    pub fn decode_error(&self, error: &[u8]) -> Result<Value, AbiError> {
        let place = format!("error of `{}`", self.name);
        match (error, &self.error) {
            ([0, rest @ ..], Some(kind)) => decode_all(kind, rest, &place, &mut Budget::default()),
            ([1], _) => Ok(Value::String("the contract has no such method".to_owned())),
            ([2], _) => Ok(Value::String("the contract expects other arguments".to_owned())),
            ([3], _) => Ok(Value::String("the contract has nothing that this account may see".to_owned())),
            _ => Err(AbiError::Malformed { place, expected: "an error".to_owned() }),
        }
    }
}

fn decode_all(kind: &Type, mut bytes: &[u8], place: &str, budget: &mut Budget) -> Result<Value, AbiError> {
    let value = decode(kind, &mut bytes, place, budget)?;
    at_the_end(bytes, place)?;
    Ok(value)
}

/// Whether nothing is left of the bytes.
fn at_the_end(rest: &[u8], place: &str) -> Result<(), AbiError> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(AbiError::TrailingBytes { place: place.to_owned(), count: rest.len() })
    }
}

fn method(json: &Value, kind: Option<Kind>) -> Result<Method, MetadataError> {
    let kind = match (kind, json.get("kind").and_then(Value::as_str)) {
        (Some(kind), _) => kind,
        (None, Some("call")) => Kind::Call,
        (None, Some("query")) => Kind::Query,
        _ => return Err(MetadataError::Malformed("kind")),
    };
    let optional = |name: &str| match json.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(json) => Type::parse(json).map(Some),
    };
    Ok(Method {
        name: text(json, "name")?,
        kind,
        arguments: fields(json, "args")?,
        returns: optional("returns")?.unwrap_or(Type::Unit),
        error: optional("error")?,
    })
}

fn fields(json: &Value, name: &'static str) -> Result<Vec<(String, Type)>, MetadataError> {
    let list = json.get(name).and_then(Value::as_array).ok_or(MetadataError::Malformed(name))?;
    list.iter()
        .map(|field| match field.as_array().map(Vec::as_slice) {
            Some([Value::String(field), kind]) => Ok((field.clone(), Type::parse(kind)?)),
            _ => Err(MetadataError::Malformed(name)),
        })
        .collect()
}

fn text(json: &Value, name: &'static str) -> Result<String, MetadataError> {
    json.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(MetadataError::Malformed(name))
}
