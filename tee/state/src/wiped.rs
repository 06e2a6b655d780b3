//! Plaintext that is wiped when it is let go of, at the speed of memory.
//!
//! Guarantees: every byte of the vector's room, used or not, is zero before the room is given back, and the compiler does not leave that
//! out. Does not find copies that others made, nor what a vector left behind that grew: take its room at once.
//! Contracts choose the bytes.
//!
//! `zeroize` says the same of a vector, with a write of one byte after the other that no compiler may join: a microsecond for a page.

use std::ops::{Deref, DerefMut};

/// Bytes that are wiped when they are dropped.
pub(crate) struct Wiped(Vec<u8>);

impl Wiped {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Wiped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Makes all that `bytes` has room for zeros, where it is.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.clear();
    // As long as its room is it need not grow.
    bytes.resize(bytes.capacity(), 0);
    zeroize::optimization_barrier(bytes.as_slice());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_room_of_a_vector_is_wiped_where_it_is() {
        for (room, used) in [(0, 0), (1, 1), (100, 60), (5_000, 5_000)] {
            let mut bytes = vec![0xaa_u8; room];
            // What was cut off is still in its room.
            bytes.truncate(used);
            let (at, capacity) = (bytes.as_ptr(), bytes.capacity());
            wipe(&mut bytes);
            assert_eq!((bytes.as_ptr(), bytes.len(), bytes.capacity()), (at, capacity, capacity));
            assert!(bytes.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn what_is_to_be_wiped_is_read_and_written_as_the_vector_that_it_is() {
        let mut wiped = Wiped::new(vec![1, 2]);
        wiped.push(3);
        assert_eq!(wiped.as_slice(), [1, 2, 3]);
    }
}
