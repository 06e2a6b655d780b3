//! The container of secrets.
//!
//! Guarantees: a [`Secret`] has no `Debug`, `Clone`, `PartialEq`, `Encode` or serde implementation, so it cannot reach a
//! log, a copy, a leaking comparison or the wire by accident; its memory is wiped when it is dropped. The value lives on
//! the heap, so that moving a `Secret` moves a pointer and leaves no second copy on the stack.
//!
//! Does not do: protect against whoever can read this process's memory (that is the TEE's job), against swap, or against
//! copies that a caller makes of what [`Secret::expose`] returns. [`Secret::new`] takes a value that the caller had on its
//! own stack; prefer [`Secret::fill`], which writes in place.
//!
//! ```
//! let secret = phala_crypto::Secret::new([0u8; 32]);
//! assert_eq!(codec::Encode::encode(secret.expose()), [0; 32]);
//! ```
//! The same without `expose`, and the other ways out, do not compile:
//! ```compile_fail
//! let secret = phala_crypto::Secret::new([0u8; 32]);
//! println!("{secret:?}");
//! ```
//! ```compile_fail
//! let secret = phala_crypto::Secret::new([0u8; 32]);
//! let _copy = secret.clone();
//! ```
//! ```compile_fail
//! let secret = phala_crypto::Secret::new([0u8; 32]);
//! let _equal = secret == secret;
//! ```
//! ```compile_fail
//! let secret = phala_crypto::Secret::new([0u8; 32]);
//! let _bytes = codec::Encode::encode(&secret);
//! ```

use alloc::boxed::Box;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret value: readable only by [`Self::expose`], wiped on drop.
pub struct Secret<T: Zeroize>(Box<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes over `value`. The caller's own copy on its stack, if the compiler made one, is not wiped.
    pub fn new(value: T) -> Self {
        Self(Box::new(value))
    }

    /// The value. Every call is a place to look at in a review: what is done with it must not outlive the secret.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<const N: usize> Secret<[u8; N]> {
    /// A secret of `N` bytes, written in place by `write`.
    pub fn fill(write: impl FnOnce(&mut [u8; N])) -> Self {
        let mut bytes = Box::new([0; N]);
        write(&mut bytes);
        Self(bytes)
    }

    /// A copy of `bytes`, which the caller then wipes. `None` if there are not exactly `N` of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == N).then(|| Self::fill(|secret| secret.copy_from_slice(bytes)))
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether both hold the same bytes, in time that depends on their lengths only.
    pub fn equals(&self, other: &Self) -> bool {
        self.0.as_ref().as_ref().ct_eq(other.0.as_ref().as_ref()).into()
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use core::cell::Cell;

    struct Witness(Rc<Cell<bool>>);

    impl Zeroize for Witness {
        fn zeroize(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn wipes_its_value_on_drop() {
        let wiped = Rc::new(Cell::new(false));
        let secret = Secret::new(Witness(wiped.clone()));
        assert!(!secret.expose().0.get());
        drop(secret);
        assert!(wiped.get());
    }

    #[test]
    fn compares_by_value_and_length() {
        let secret = |bytes: &[u8]| Secret::new(bytes.to_vec());
        assert!(secret(b"one").equals(&secret(b"one")));
        assert!(!secret(b"one").equals(&secret(b"two")));
        assert!(!secret(b"one").equals(&secret(b"one\0")));
    }

    #[test]
    fn takes_exactly_the_right_number_of_bytes() {
        assert!(Secret::<[u8; 4]>::from_slice(&[1, 2, 3]).is_none());
        assert!(Secret::<[u8; 4]>::from_slice(&[1, 2, 3, 4, 5]).is_none());
        assert_eq!(Secret::<[u8; 4]>::from_slice(&[1, 2, 3, 4]).map(|secret| *secret.expose()), Some([1, 2, 3, 4]));
    }
}
