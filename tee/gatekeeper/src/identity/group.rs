//! The two groups in which identities live: the prime-order group of Ed25519, and Ristretto255. They share one field of scalars.
//!
//! Guarantees: what [`Group::from_encoding`] returns is of prime order, not the identity, and the only point with that encoding. Anyone may
//! control the bytes.

use core::ops::Add;
use curve25519_dalek::{
    edwards::{CompressedEdwardsY, EdwardsPoint},
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
    traits::{Identity, VartimeMultiscalarMul},
};
pub use phala_protocol::identities::Scheme;

mod sealed {
    pub trait Sealed {}
    impl Sealed for curve25519_dalek::edwards::EdwardsPoint {}
    impl Sealed for curve25519_dalek::ristretto::RistrettoPoint {}
}

/// A point of a group of identities; nothing else implements it.
pub trait Group:
    sealed::Sealed + Copy + PartialEq + Identity + Add<Output = Self> + VartimeMultiscalarMul<Point = Self>
{
    /// Which group.
    const SCHEME: Scheme;

    /// The base point times `scalar`, in constant time.
    fn base_times(scalar: &Scalar) -> Self;

    /// The canonical encoding.
    fn to_encoding(&self) -> [u8; 32];

    /// The point with that canonical encoding, if there is one of prime order.
    fn from_encoding(bytes: &[u8; 32]) -> Option<Self>;
}

impl Group for EdwardsPoint {
    const SCHEME: Scheme = Scheme::Ed25519;

    fn base_times(scalar: &Scalar) -> Self {
        Self::mul_base(scalar)
    }

    fn to_encoding(&self) -> [u8; 32] {
        self.compress().to_bytes()
    }

    fn from_encoding(bytes: &[u8; 32]) -> Option<Self> {
        let point = CompressedEdwardsY(*bytes).decompress()?;
        let good = point.is_torsion_free() && point != Self::identity() && Group::to_encoding(&point) == *bytes;
        good.then_some(point)
    }
}

impl Group for RistrettoPoint {
    const SCHEME: Scheme = Scheme::Ristretto255;

    fn base_times(scalar: &Scalar) -> Self {
        Self::mul_base(scalar)
    }

    fn to_encoding(&self) -> [u8; 32] {
        self.compress().to_bytes()
    }

    fn from_encoding(bytes: &[u8; 32]) -> Option<Self> {
        CompressedRistretto(*bytes).decompress().filter(|point| *point != Self::identity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::EIGHT_TORSION;

    #[test]
    fn decodes_what_it_encodes_and_no_identity() {
        fn check<G: Group + core::fmt::Debug>() {
            let point = G::base_times(&Scalar::from(7u8));
            assert_eq!(G::from_encoding(&point.to_encoding()), Some(point));
            assert_eq!(G::from_encoding(&G::identity().to_encoding()), None);
            assert_eq!(G::from_encoding(&[0xff; 32]), None);
        }
        check::<EdwardsPoint>();
        check::<RistrettoPoint>();
    }

    #[test]
    fn no_point_of_another_order_is_decoded() {
        let prime = EdwardsPoint::base_times(&Scalar::from(7u8));
        for torsion in &EIGHT_TORSION[1..] {
            assert_eq!(EdwardsPoint::from_encoding(&Group::to_encoding(torsion)), None);
            assert_eq!(EdwardsPoint::from_encoding(&Group::to_encoding(&(prime + torsion))), None);
        }
        // The identity's y-coordinate, 1, written as p + 1: an encoding that is not canonical.
        let mut long = [0xff; 32];
        (long[0], long[31]) = (0xee, 0x7f);
        assert_eq!(EdwardsPoint::from_encoding(&long), None);
    }
}
