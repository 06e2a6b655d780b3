//! What is compared with: the operations in the group that a protocol asks for, by curve25519-dalek, and nothing else.

use crate::measure::seconds;
use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::VartimeMultiscalarMul};
use phala_protocol::{ceremony::threshold_of, keys::KeyPurpose};
use std::hint::black_box;

/// How often an operation is done to time it.
const TIMES: usize = 200;

/// A scalar of full size. INSECURE: everybody knows it.
pub fn scalar(number: u64) -> Scalar {
    let mut wide = [0x5a; 64];
    wide[..8].copy_from_slice(&number.to_le_bytes());
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// The multiplications of one answer, in constant time: for each purpose the evaluation `k x`, and a proof's commitments `r G` and `r x`.
/// The public share `k G` is the same for all answers.
pub fn answer() -> impl Fn() {
    let points = [1, 2, 3, 4].map(|number| RistrettoPoint::mul_base(&scalar(number)));
    const { assert!(KeyPurpose::ALL.len() == 4, "one point a purpose") };
    let (share, nonce) = (scalar(5), scalar(6));
    move || {
        for point in &points {
            black_box(black_box(point) * black_box(&share));
            black_box(RistrettoPoint::mul_base(black_box(&nonce)));
            black_box(black_box(point) * black_box(&nonce));
        }
    }
}

/// Seconds of one seat in a ceremony of `seats`, threshold `t`: `t + 1` multiplications of the base point (its commitments and its proof's
/// nonce); for each other dealer a proof of possession (two terms), and a share (the base point, and `t` terms); for each public share
/// `t` terms. All of it twice, for root and beacon. Sums of several terms in variable time.
pub fn seat(seats: usize) -> f64 {
    let threshold = threshold_of(seats);
    let terms: Vec<(Scalar, RistrettoPoint)> = (1u64..)
        .take(threshold.max(2))
        .map(|number| (scalar(number), RistrettoPoint::mul_base(&scalar(!number))))
        .collect();
    let sum = |count: usize| {
        seconds(TIMES, || {
            let terms = black_box(&terms);
            let (scalars, points) = (terms.iter().map(|term| term.0), terms.iter().map(|term| term.1));
            black_box(RistrettoPoint::vartime_multiscalar_mul(scalars.take(count), points.take(count)));
        })
    };
    let factor = scalar(0);
    let base = seconds(TIMES, || {
        black_box(RistrettoPoint::mul_base(black_box(&factor)));
    });
    let (pair, commitment, others) = (sum(2), sum(threshold), seats.saturating_sub(1) as f64);
    2.0 * ((threshold + 1) as f64 * base + others * (pair + base + commitment) + seats as f64 * commitment)
}
