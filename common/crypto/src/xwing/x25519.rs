//! X25519 (RFC 7748) by the fastest code that the program may run.
//!
//! On x86-64 with ADX, BMI1, AVX2, AES and PCLMULQDQ that is the assembly of s2n-bignum, which has a machine-checked proof that it computes
//! the function, in constant time; as [graviola](https://docs.rs/graviola) carries it. Elsewhere, without `std`, and in an
//! enclave that was not given AVX, it is x25519-dalek.
//!
//! Guarantees: the same 32 bytes from both, for every secret and every point, canonical or not: all zeros for a point of small order,
//! which nobody refuses here (see the module above). Copies of the secret and of what is shared are wiped when they are dropped. Does not wipe
//! general registers or stack frames of the computation, in either. Whoever sends a point controls it.

use crate::Secret;
use x25519_dalek::{PublicKey, StaticSecret};

/// What `secret` and the holder of the secret behind `point` share.
pub(super) fn shared_secret(secret: &StaticSecret, point: &PublicKey) -> Secret<[u8; 32]> {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if verified::can_run() {
        return verified::shared_secret(secret, point);
    }
    portable(secret, point)
}

fn portable(secret: &StaticSecret, point: &PublicKey) -> Secret<[u8; 32]> {
    let shared = secret.diffie_hellman(point);
    Secret::fill(|bytes| bytes.copy_from_slice(shared.as_bytes()))
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod verified {
    use crate::Secret;
    use graviola::key_agreement::x25519;
    use x25519_dalek::{PublicKey, StaticSecret};

    /// Whether the program may use all that graviola asks for, which would panic otherwise.
    pub(super) fn can_run() -> bool {
        std::arch::is_x86_feature_detected!("adx")
            && std::arch::is_x86_feature_detected!("aes")
            && std::arch::is_x86_feature_detected!("avx")
            && std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("pclmulqdq")
    }

    pub(super) fn shared_secret(secret: &StaticSecret, point: &PublicKey) -> Secret<[u8; 32]> {
        let key = x25519::StaticPrivateKey::from_array(secret.as_bytes());
        let shared = key.diffie_hellman(&x25519::PublicKey::from_array(point.as_bytes()));
        // An error is the secret that is all zeros, and nothing else.
        Secret::fill(|bytes| bytes.copy_from_slice(shared.as_ref().map_or(&[0; 32], |shared| &shared.0)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    /// By the code that was chosen here, and by the portable one.
    fn both(secret: [u8; 32], point: [u8; 32]) -> ([u8; 32], [u8; 32]) {
        let (secret, point) = (StaticSecret::from(secret), PublicKey::from(point));
        (*shared_secret(&secret, &point).expose(), *portable(&secret, &point).expose())
    }

    fn bytes(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    proptest! {
        #[test]
        fn both_give_the_same_for_any_bytes(secret: [u8; 32], point: [u8; 32]) {
            let (chosen, portable) = both(secret, point);
            prop_assert_eq!(chosen, portable);
        }
    }

    /// RFC 7748, section 5.2, the two single vectors and the first thousand iterations.
    #[test]
    fn follows_the_rfcs_vectors() {
        for (secret, point, shared) in [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
            ),
        ] {
            assert_eq!(both(bytes(secret), bytes(point)), (bytes(shared), bytes(shared)));
        }
        let nine = bytes("0900000000000000000000000000000000000000000000000000000000000000");
        let (last, _) = (0..1_000).fold((nine, nine), |(secret, point), _| (both(secret, point).0, secret));
        assert_eq!(last, bytes("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
    }

    #[test]
    fn points_of_small_order_and_those_that_are_not_canonical_give_the_same() {
        let prime = |low: u8| {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            bytes
        };
        let small = [
            [0; 32],
            bytes("0100000000000000000000000000000000000000000000000000000000000000"),
            bytes("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
            bytes("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
            // The prime less one, the prime and the prime plus one.
            prime(0xec),
            prime(0xed),
            prime(0xee),
        ];
        for point in small {
            assert_eq!(both([7; 32], point), ([0; 32], [0; 32]), "{}", hex::encode(point));
            // The highest bit of a point does not count.
            let mut high = point;
            high[31] |= 0x80;
            assert_eq!(both([7; 32], high), ([0; 32], [0; 32]));
        }
        for point in [prime(0xf5), [0xff; 32]] {
            let (chosen, portable) = both([7; 32], point);
            assert!(chosen == portable && chosen != [0; 32]);
        }
    }

    /// Processors with both, of the last ten years, have the rest of what it needs. Where it did not run, the tests above would compare
    /// x25519-dalek with itself.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    #[test]
    fn the_verified_code_runs_where_the_processor_has_adx_and_avx2() {
        let has_both = std::arch::is_x86_feature_detected!("adx") && std::arch::is_x86_feature_detected!("avx2");
        assert!(verified::can_run() || !has_both);
    }
}
