//! An account's nonces in a cluster: a window of 64 below the highest used one.
//!
//! Guarantees: a nonce is accepted at most once, on every replica alike, because the window is committed state. Commands of one
//! account may arrive out of order within the window. The account controls its nonces; skipping ahead hurts nobody else.

use codec::{Decode, Encode};
use phala_protocol::limits::NONCE_WINDOW;

/// The highest used nonce and which of the 64 up to it were used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct NonceWindow {
    highest: u64,
    /// Bit `i` is the nonce `highest - i`.
    used: u64,
}

impl NonceWindow {
    /// Whether `nonce` can still be taken.
    pub(crate) fn is_free(mut self, nonce: u64) -> bool {
        self.take(nonce)
    }

    /// Marks `nonce` used. False if it was, or lies before the window.
    pub(crate) fn take(&mut self, nonce: u64) -> bool {
        if self.used == 0 {
            *self = Self { highest: nonce, used: 1 };
            return true;
        }
        match nonce.checked_sub(self.highest) {
            Some(0) => false,
            Some(ahead) => {
                let shifted = u32::try_from(ahead).ok().and_then(|ahead| self.used.checked_shl(ahead)).unwrap_or(0);
                *self = Self { highest: nonce, used: shifted | 1 };
                true
            }
            None => {
                let behind = self.highest - nonce;
                if behind >= NONCE_WINDOW || self.used & (1 << behind) != 0 {
                    return false;
                }
                self.used |= 1 << behind;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NonceWindow;
    use std::collections::BTreeSet;

    #[test]
    fn accepts_each_nonce_once_and_none_before_the_window() {
        let mut window = NonceWindow::default();
        assert!(window.take(100) && !window.take(100));
        assert!(window.take(99) && !window.take(99));
        assert!(window.take(37) && !window.take(36), "63 below the highest is the last that counts");
        assert!(window.take(163) && !window.take(100) && !window.take(99));
        assert!(window.take(u64::MAX) && !window.take(u64::MAX) && window.take(u64::MAX - 63));
        assert!(NonceWindow::default().take(0));
    }

    #[test]
    fn agrees_with_a_set_over_many_orders() {
        let mut state = 1u64;
        let mut random = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let (mut window, mut used, mut highest) = (NonceWindow::default(), BTreeSet::new(), None::<u64>);
        for _ in 0..20_000 {
            let nonce = highest.unwrap_or(0).saturating_sub(70) + random(100);
            let expected = highest.is_none_or(|highest| nonce + 64 > highest) && !used.contains(&nonce);
            assert_eq!(window.is_free(nonce), expected, "asking changes nothing");
            assert_eq!(window.take(nonce), expected, "nonce {nonce} after {highest:?}");
            if expected {
                used.insert(nonce);
                highest = highest.max(Some(nonce));
            }
        }
    }
}
