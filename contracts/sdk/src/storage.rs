//! A contract's storage: the fields of its struct.
//!
//! Guarantees: fields never overlap, whatever their keys, because a storage key begins with the length and the name
//! of its field. Reads and writes go to the network's state at once and nothing is cached, so two handles on one
//! field agree. A message that fails leaves no write. Entries are private: outside of the workers that serve the
//! cluster nobody reads them, but which entries a command touches is visible to the serving machine's operator.

use crate::{
    codec::{Decode, Encode},
    sys,
};
use alloc::vec::Vec;
use core::marker::PhantomData;

/// Bytes of a field's name.
pub const MAX_FIELD_NAME_BYTES: usize = 32;

/// Bytes of a storage key, as the network bounds them.
const MAX_KEY_BYTES: usize = 128;

/// A field of a contract's struct.
pub trait Field {
    /// The field of that name.
    fn at(name: &'static str) -> Self;
}

/// One stored value.
pub struct Value<T> {
    name: &'static str,
    of: PhantomData<T>,
}

impl<T> Field for Value<T> {
    fn at(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }
}

impl<T: Encode + Decode> Value<T> {
    /// The value, if one was set.
    pub fn get(&self) -> Option<T> {
        read(&field_key(self.name))
    }

    /// The value, or the type's default if none was set.
    pub fn get_or_default(&self) -> T
    where
        T: Default,
    {
        self.get().unwrap_or_default()
    }

    /// Sets the value.
    pub fn set(&mut self, value: &T) {
        sys::storage_set(&field_key(self.name), &value.encode());
    }

    /// Removes the value.
    pub fn clear(&mut self) {
        sys::storage_remove(&field_key(self.name));
    }
}

/// Stored values by key.
///
/// It does not know which keys it has: keep them yourself where you need to go through them.
pub struct Map<K, V> {
    name: &'static str,
    of: PhantomData<(K, V)>,
}

impl<K, V> Field for Map<K, V> {
    fn at(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }
}

impl<K: Encode, V: Encode + Decode> Map<K, V> {
    /// The value of `key`, if it has one.
    pub fn get(&self, key: &K) -> Option<V> {
        read(&entry_key(self.name, key))
    }

    /// The value of `key`, or the type's default if it has none.
    pub fn get_or_default(&self, key: &K) -> V
    where
        V: Default,
    {
        self.get(key).unwrap_or_default()
    }

    /// Whether `key` has a value.
    pub fn contains(&self, key: &K) -> bool {
        sys::storage_get(&entry_key(self.name, key)).is_some()
    }

    /// Sets the value of `key`.
    pub fn insert(&mut self, key: &K, value: &V) {
        sys::storage_set(&entry_key(self.name, key), &value.encode());
    }

    /// Removes the value of `key`.
    pub fn remove(&mut self, key: &K) {
        sys::storage_remove(&entry_key(self.name, key));
    }
}

fn read<T: Decode>(key: &[u8]) -> Option<T> {
    // Only this contract's code writes here, and code never changes: what does not decode is a defect that must stop
    // the call.
    let bytes = sys::storage_get(key)?;
    match T::decode_all(&bytes) {
        Ok(value) => Some(value),
        Err(_) => sys::stop("stored value does not decode"),
    }
}

fn field_key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(MAX_KEY_BYTES);
    key.push(name.len() as u8);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The length and the name of the field, then 0 and the key, or 1 and its hash if it would be too long.
fn entry_key(name: &str, key: &impl Encode) -> Vec<u8> {
    let mut bytes = field_key(name);
    let start = bytes.len();
    bytes.push(0);
    key.encode_to(&mut bytes);
    if bytes.len() > MAX_KEY_BYTES {
        let hash = sys::blake2b_256(bytes.get(start.wrapping_add(1)..).unwrap_or_default());
        bytes.truncate(start);
        bytes.push(1);
        bytes.extend_from_slice(&hash);
    }
    bytes
}
