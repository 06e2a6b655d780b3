//! A contract's description of itself, assembled by the compiler into the custom section `phala.metadata`.
//!
//! Guarantees: the text is JSON of the grammar in `docs/contract-abi.md`, and is derived from the types that the code
//! decodes and encodes, so it cannot disagree with them. It costs nothing at run time. Clients read it; the network
//! does not.

use crate::identifier::{AccountId, ContractId};
use alloc::{string::String, vec::Vec};

/// Text that is put together at compile time. Longer than `N` bytes does not compile.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

/// The description of one type.
pub type TypeText = Text<1024>;

/// The description of a contract.
pub type ContractText = Text<12288>;

impl<const N: usize> Text<N> {
    /// No text.
    #[allow(clippy::new_without_default, reason = "Default is not const, and this is only used in constants")]
    pub const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    /// Appends `text`.
    pub const fn push(self, text: &str) -> Self {
        self.push_bytes(text.as_bytes(), text.len())
    }

    /// Appends `text`.
    pub const fn push_text<const M: usize>(self, text: &Text<M>) -> Self {
        self.push_bytes(&text.bytes, text.length)
    }

    /// Appends the next of a list of names with types.
    pub const fn push_field(self, name: &str, of: &TypeText) -> Self {
        self.next().push("[\"").push(name).push("\",").push_text(of).push("]")
    }

    /// Appends a number in decimal.
    pub const fn push_number(mut self, number: usize) -> Self {
        if number >= 10 {
            self = self.push_number(number / 10);
        }
        self.push_bytes(&[b'0' + (number % 10) as u8], 1)
    }

    /// Appends a comma, unless a list or an object has just begun.
    pub const fn next(self) -> Self {
        match self.length {
            0 => self,
            length => match self.bytes[length - 1] {
                b'[' | b'{' => self,
                _ => self.push(","),
            },
        }
    }

    const fn push_bytes(mut self, bytes: &[u8], length: usize) -> Self {
        assert!(self.length + length <= N, "the contract's metadata is too long");
        let mut index = 0;
        while index < length {
            self.bytes[self.length + index] = bytes[index];
            index += 1;
        }
        self.length += length;
        self
    }

    /// Bytes of the text.
    #[allow(clippy::len_without_is_empty, reason = "only used as the length of an array")]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// The text as an array of its own length, which `L` must be.
    pub const fn to_array<const L: usize>(&self) -> [u8; L] {
        assert!(L == self.length, "an array of the text's length");
        let mut array = [0; L];
        let mut index = 0;
        while index < L {
            array[index] = self.bytes[index];
            index += 1;
        }
        array
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// A type that metadata can name.
pub trait TypeInfo {
    /// Its description: a JSON value.
    const TYPE: TypeText;
    /// The description of a vector of it.
    #[doc(hidden)]
    const VECTOR: TypeText = Text::new().push("{\"vec\":").push_text(&Self::TYPE).push("}");
}

macro_rules! named {
    ($($type:ty: $name:literal;)*) => {$(
        impl TypeInfo for $type {
            const TYPE: TypeText = Text::new().push(concat!("\"", $name, "\""));
        }
    )*};
}

named! {
    (): "unit";
    bool: "bool";
    u16: "u16";
    u32: "u32";
    u64: "u64";
    u128: "u128";
    i8: "i8";
    i16: "i16";
    i32: "i32";
    i64: "i64";
    i128: "i128";
    String: "string";
    AccountId: "account";
    ContractId: "contract";
}

impl TypeInfo for u8 {
    const TYPE: TypeText = Text::new().push("\"u8\"");
    const VECTOR: TypeText = Text::new().push("\"bytes\"");
}

impl<T: TypeInfo> TypeInfo for Vec<T> {
    const TYPE: TypeText = T::VECTOR;
}

impl<T: TypeInfo, const N: usize> TypeInfo for [T; N] {
    const TYPE: TypeText = Text::new().push("{\"array\":[").push_text(&T::TYPE).push(",").push_number(N).push("]}");
}

impl<T: TypeInfo> TypeInfo for Option<T> {
    const TYPE: TypeText = Text::new().push("{\"option\":").push_text(&T::TYPE).push("}");
}

impl<T: TypeInfo, E: TypeInfo> TypeInfo for Result<T, E> {
    const TYPE: TypeText =
        Text::new().push("{\"result\":[").push_text(&T::TYPE).push(",").push_text(&E::TYPE).push("]}");
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: TypeInfo),*> TypeInfo for ($($name,)*) {
            const TYPE: TypeText = Text::new().push("{\"tuple\":[")$(.next().push_text(&$name::TYPE))*.push("]}");
        }
    )*};
}

tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }
