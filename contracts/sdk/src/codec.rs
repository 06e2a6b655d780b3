//! The SCALE codec, in the part of it that contracts need.
//!
//! Guarantees: the same bytes as the chain's own codec for every type here (tested against it); decoding allocates at
//! most in proportion to its input and refuses what that codec refuses. Inputs come from callers and are hostile. It
//! is written here, and small, so that a contract builds from its own folder without a registry.
//!
//! One thing it refuses that the chain's codec reads: more than [`MAX_EMPTY_ELEMENTS`] elements of a type whose values are
//! no bytes, such as `()`, unless as many bytes follow. Their number is all that a caller sends of them, and five bytes could
//! ask for four billion.

use alloc::{string::String, vec::Vec};

/// Elements that a sequence may have when they are no bytes each, if not as many bytes follow it. A sequence of other
/// elements is bounded by its input: each of them takes a byte of it at least. Longer ones can be encoded, and not read back.
pub const MAX_EMPTY_ELEMENTS: usize = 16_384;

/// Appends a value's encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode_to(&self, out: &mut Vec<u8>);

    /// The encoding alone.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_to(&mut out);
        out
    }

    /// Appends the encodings of several values. Bytes are copied at once.
    #[doc(hidden)]
    fn encode_all(values: &[Self], out: &mut Vec<u8>)
    where
        Self: Sized,
    {
        for value in values {
            value.encode_to(out);
        }
    }
}

/// Reads a value from the front of some bytes.
pub trait Decode: Sized {
    /// Reads a value and leaves `input` at what follows it.
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError>;

    /// Reads `count` values. Bytes are copied at once.
    #[doc(hidden)]
    fn decode_many(input: &mut &[u8], count: usize) -> Result<Vec<Self>, DecodeError> {
        // Every value that has a size takes at least a byte, or a length alone could make this loop four billion times. What
        // has none in memory may take none here either, and costs no memory: its number alone is bounded.
        let least = if size_of::<Self>() == 0 { MAX_EMPTY_ELEMENTS } else { 0 };
        let most = input.len().max(least);
        if count > most {
            return Err(DecodeError);
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(Self::decode(input)?);
        }
        Ok(values)
    }

    /// Reads a value that is all of `input`.
    fn decode_all(mut input: &[u8]) -> Result<Self, DecodeError> {
        let value = Self::decode(&mut input)?;
        if input.is_empty() {
            Ok(value)
        } else {
            Err(DecodeError)
        }
    }
}

/// The bytes are not the encoding of such a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError;

/// Takes `count` bytes from the front.
pub fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], DecodeError> {
    let (front, rest) = input.split_at_checked(count).ok_or(DecodeError)?;
    *input = rest;
    Ok(front)
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    take(input, N)?.try_into().map_err(|_| DecodeError)
}

/// Appends a length: SCALE's compact integer.
pub fn encode_length(length: usize, out: &mut Vec<u8>) {
    // Lengths are bounded by a contract's 16 MiB of memory, and all that a host test makes is smaller than 2^30 too.
    let length = length as u32;
    match length {
        0..=0x3f => out.push((length as u8) << 2),
        0x40..=0x3fff => out.extend_from_slice(&((length as u16) << 2 | 1).to_le_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(length << 2 | 2).to_le_bytes()),
        _ => {
            out.push(3);
            out.extend_from_slice(&length.to_le_bytes());
        }
    }
}

/// Reads a length. Only its shortest form is accepted.
pub fn decode_length(input: &mut &[u8]) -> Result<usize, DecodeError> {
    let first = *input.first().ok_or(DecodeError)?;
    let (length, least) = match first & 3 {
        0 => (u32::from(u8::decode(input)? >> 2), 0),
        1 => (u32::from(u16::decode(input)? >> 2), 0x40),
        2 => (u32::decode(input)? >> 2, 0x4000),
        _ if u8::decode(input)? == 3 => (u32::decode(input)?, 0x4000_0000),
        _ => return Err(DecodeError),
    };
    if length < least {
        return Err(DecodeError);
    }
    Ok(length as usize)
}

/// Reads a string without copying it.
pub fn decode_str<'a>(input: &mut &'a [u8]) -> Result<&'a str, DecodeError> {
    let length = decode_length(input)?;
    core::str::from_utf8(take(input, length)?).map_err(|_| DecodeError)
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Encode for $type {
            fn encode_to(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }

        impl Decode for $type {
            fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
                take_array(input).map(<$type>::from_le_bytes)
            }
        }
    )*};
}

integers!(u16 u32 u64 u128 i8 i16 i32 i64 i128);

impl Encode for u8 {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn encode_all(values: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(values);
    }
}

impl Decode for u8 {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        take_array::<1>(input).map(|[byte]| byte)
    }

    fn decode_many(input: &mut &[u8], count: usize) -> Result<Vec<Self>, DecodeError> {
        take(input, count).map(<[u8]>::to_vec)
    }
}

impl Encode for bool {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError),
        }
    }
}

impl Encode for str {
    fn encode_to(&self, out: &mut Vec<u8>) {
        encode_length(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl Encode for String {
    fn encode_to(&self, out: &mut Vec<u8>) {
        self.as_str().encode_to(out);
    }
}

impl Decode for String {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        decode_str(input).map(String::from)
    }
}

impl<T: Encode> Encode for [T] {
    fn encode_to(&self, out: &mut Vec<u8>) {
        encode_length(self.len(), out);
        T::encode_all(self, out);
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode_to(&self, out: &mut Vec<u8>) {
        self.as_slice().encode_to(out);
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let count = decode_length(input)?;
        T::decode_many(input, count)
    }
}

impl<T: Encode, const N: usize> Encode for [T; N] {
    fn encode_to(&self, out: &mut Vec<u8>) {
        T::encode_all(self, out);
    }
}

impl<T: Decode, const N: usize> Decode for [T; N] {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        T::decode_many(input, N)?.try_into().map_err(|_| DecodeError)
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode_to(&self, out: &mut Vec<u8>) {
        (**self).encode_to(out);
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode_to(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode_to(out);
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? { Some(T::decode(input)?) } else { None })
    }
}

impl<T: Encode, E: Encode> Encode for Result<T, E> {
    fn encode_to(&self, out: &mut Vec<u8>) {
        match self {
            Ok(value) => {
                out.push(0);
                value.encode_to(out);
            }
            Err(error) => {
                out.push(1);
                error.encode_to(out);
            }
        }
    }
}

impl<T: Decode, E: Decode> Decode for Result<T, E> {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? { Err(E::decode(input)?) } else { Ok(T::decode(input)?) })
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        #[allow(non_snake_case, unused_variables, clippy::unused_unit, reason = "one macro for tuples of every length")]
        impl<$($name: Encode),*> Encode for ($($name,)*) {
            fn encode_to(&self, out: &mut Vec<u8>) {
                let ($($name,)*) = self;
                $($name.encode_to(out);)*
            }
        }

        #[allow(unused_variables, clippy::unused_unit, reason = "one macro for tuples of every length")]
        impl<$($name: Decode),*> Decode for ($($name,)*) {
            fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
                Ok(($($name::decode(input)?,)*))
            }
        }
    )*};
}

tuples! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }
