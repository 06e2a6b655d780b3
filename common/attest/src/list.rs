//! A list with its limit in its type, so that every decode of foreign bytes is bounded before it allocates.
//!
//! Encodes exactly as `Vec<T>` does. A longer one is refused when decoded and cannot be constructed.

use alloc::vec::Vec;
use codec::{Compact, Decode, DecodeWithMemTracking, Encode, Error, Input, MaxEncodedLen, Output};
use core::ops::Deref;

/// At most `LIMIT` values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct List<T, const LIMIT: usize>(Vec<T>);

/// More values than the list may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} values where at most {limit} are allowed")]
pub struct TooLong {
    /// How many there were.
    pub length: usize,
    /// How many may be.
    pub limit: usize,
}

impl<T, const LIMIT: usize> List<T, LIMIT> {
    /// The empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The values, without their limit.
    pub fn into_inner(self) -> Vec<T> {
        self.0
    }

    /// Appends `value`, or gives the error and leaves the list as it was.
    pub(crate) fn push(&mut self, value: T) -> Result<(), TooLong> {
        if self.0.len() >= LIMIT {
            return Err(TooLong { length: self.0.len().saturating_add(1), limit: LIMIT });
        }
        self.0.push(value);
        Ok(())
    }
}

impl<T, const LIMIT: usize> Default for List<T, LIMIT> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const LIMIT: usize> TryFrom<Vec<T>> for List<T, LIMIT> {
    type Error = TooLong;

    fn try_from(values: Vec<T>) -> Result<Self, TooLong> {
        if values.len() > LIMIT {
            return Err(TooLong { length: values.len(), limit: LIMIT });
        }
        Ok(Self(values))
    }
}

impl<T, const LIMIT: usize> Deref for List<T, LIMIT> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Encode, const LIMIT: usize> Encode for List<T, LIMIT> {
    fn size_hint(&self) -> usize {
        self.0.size_hint()
    }

    fn encode_to<O: Output + ?Sized>(&self, output: &mut O) {
        self.0.encode_to(output)
    }
}

impl<T: Decode, const LIMIT: usize> Decode for List<T, LIMIT> {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let length = Compact::<u32>::decode(input)?.0 as usize;
        if length > LIMIT {
            return Err(Error::from("list is longer than its limit"));
        }
        codec::decode_vec_with_len(input, length).map(Self)
    }
}

impl<T: DecodeWithMemTracking, const LIMIT: usize> DecodeWithMemTracking for List<T, LIMIT> {}

impl<T: MaxEncodedLen, const LIMIT: usize> MaxEncodedLen for List<T, LIMIT> {
    fn max_encoded_len() -> usize {
        let prefix = Compact(u32::try_from(LIMIT).unwrap_or(u32::MAX)).encoded_size();
        T::max_encoded_len().saturating_mul(LIMIT).saturating_add(prefix)
    }
}

#[cfg(feature = "scale-info")]
impl<T: scale_info::TypeInfo + 'static, const LIMIT: usize> scale_info::TypeInfo for List<T, LIMIT> {
    type Identity = Vec<T>;

    fn type_info() -> scale_info::Type {
        Vec::<T>::type_info()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn encodes_as_a_vector_and_refuses_one_over_its_limit() {
        let list = List::<u8, 4>::try_from(vec![1, 2, 3, 4]).unwrap();
        assert_eq!(list.encode(), vec![1u8, 2, 3, 4].encode());
        assert_eq!(List::<u8, 4>::decode(&mut &list.encode()[..]).unwrap(), list);
        assert_eq!(List::<u8, 4>::max_encoded_len(), 5);
        let long = vec![0u8; 5].encode();
        assert!(List::<u8, 4>::decode(&mut &long[..]).is_err());
        assert_eq!(List::<u8, 4>::try_from(vec![0; 5]), Err(TooLong { length: 5, limit: 4 }));
    }

    #[test]
    fn refuses_a_huge_length_without_allocating_it() {
        let bomb = Compact(u32::MAX).encode();
        assert!(List::<[u8; 32], 8>::decode(&mut &bomb[..]).is_err());
    }
}
