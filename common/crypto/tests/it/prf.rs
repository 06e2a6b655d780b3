//! Any t shares give the one output of the root, and nothing else passes for a share's answer.

use crate::{bytes, seeded};
use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::Identity};
use phala_crypto::{
    prf::{
        combine, hash_to_group, verify_partial, CombineError, Input, KeyShare, PartialError, PublicShare, ShareError,
        VerifiedPartial,
    },
    Secret,
};
use phala_protocol::{
    domain,
    keys::{KeyPurpose, PrfInput},
    ClusterId,
};
use rand::rngs::StdRng;

fn scalar(random: &mut StdRng) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&bytes(random))
}

fn share(index: u16, scalar: Scalar) -> KeyShare {
    KeyShare::from_bytes(index, &Secret::new(scalar.to_bytes())).unwrap()
}

/// Shamir's sharing with a dealer: for tests only, in the network nobody ever holds `root`.
fn insecure_split(root: Scalar, threshold: usize, holders: u16, random: &mut StdRng) -> Vec<KeyShare> {
    let coefficients: Vec<Scalar> = core::iter::once(root).chain((1..threshold).map(|_| scalar(random))).collect();
    (1..=holders)
        .map(|index| {
            let at = Scalar::from(index);
            share(index, coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient))
        })
        .collect()
}

fn answer(share: &KeyShare, input: &Input) -> VerifiedPartial {
    verify_partial(&share.public_share(), input, &share.partial(input, &[9; 32])).unwrap()
}

fn input(data: &[u8]) -> Input {
    hash_to_group(domain::PRF_INPUT, data)
}

fn subsets(of: usize, size: usize) -> Vec<Vec<usize>> {
    (0..1u32 << of)
        .filter(|mask| mask.count_ones() as usize == size)
        .map(|mask| (0..of).filter(|bit| mask & (1 << bit) != 0).collect())
        .collect()
}

#[test]
fn all_subsets_agree_with_the_root() {
    for (threshold, holders) in [(1, 1), (1, 3), (2, 2), (2, 3), (3, 4), (3, 5), (5, 7)] {
        let random = &mut seeded(threshold as u64 * 100 + u64::from(holders));
        let root = scalar(random);
        let shares = insecure_split(root, threshold, holders, random);
        let input = input(&bytes::<40>(random));
        // A root that one holder has alone answers by itself, with threshold 1.
        let expected = combine(1, &[answer(&share(1, root), &input)]).unwrap();
        let answers: Vec<_> = shares.iter().map(|share| answer(share, &input)).collect();
        for size in threshold..=usize::from(holders) {
            for subset in subsets(holders.into(), size) {
                let chosen: Vec<_> = subset.iter().rev().map(|index| answers[*index].clone()).collect();
                let output = combine(threshold, &chosen).unwrap();
                assert!(output.equals(&expected), "{threshold} of {holders}: {subset:?}");
            }
        }
        if threshold > 1 {
            let too_few = combine(threshold, &answers[..threshold - 1]).err();
            assert_eq!(too_few, Some(CombineError::TooFew { have: threshold - 1, need: threshold }));
            let lowered = combine(threshold - 1, &answers[..threshold - 1]).unwrap();
            assert!(!lowered.equals(&expected), "fewer than the threshold must not find the output");
        }
    }
}

#[test]
fn outputs_differ_by_root_and_by_every_field_of_the_input() {
    let random = &mut seeded(1);
    let (first, second) = (share(1, scalar(random)), share(1, scalar(random)));
    let base = PrfInput { genesis: [1; 32], era: 2, cluster: ClusterId(3), epoch: 4, purpose: KeyPurpose::Envelope };
    let output = |share: &KeyShare, input: &PrfInput| {
        combine(1, &[answer(share, &Input::of(domain::PRF_INPUT, input))]).unwrap()
    };
    let expected = output(&first, &base);
    assert!(expected.equals(&output(&first, &base)));
    assert!(!expected.equals(&output(&second, &base)));
    let changes = [
        PrfInput { genesis: [2; 32], ..base },
        PrfInput { era: 3, ..base },
        PrfInput { cluster: ClusterId(4), ..base },
        PrfInput { epoch: 5, ..base },
        PrfInput { purpose: KeyPurpose::Storage, ..base },
    ];
    for changed in changes {
        assert!(!expected.equals(&output(&first, &changed)));
    }
}

#[test]
fn refuses_a_wrong_share_a_wrong_proof_and_a_swapped_index() {
    let random = &mut seeded(2);
    let shares = insecure_split(scalar(random), 2, 3, random);
    let (input, other_input) = (input(b"this epoch"), input(b"next epoch"));
    let public = shares[0].public_share();
    let honest = shares[0].partial(&input, &[0; 32]);
    let refusal = |partial| verify_partial(&public, &input, &partial).err();
    assert_eq!(refusal(honest), None);

    let mut stranger = shares[1].partial(&input, &[0; 32]);
    assert_eq!(refusal(stranger), Some(PartialError::Index { named: 2, expected: 1 }));
    stranger.index = 1;
    assert_eq!(refusal(stranger), Some(PartialError::Proof));
    // The right share under another index: the proof names the index it was made for.
    let misplaced = PublicShare::from_bytes(2, &public.to_bytes()).unwrap();
    let mut renamed = honest;
    renamed.index = 2;
    assert_eq!(verify_partial(&misplaced, &input, &renamed).err(), Some(PartialError::Proof));
    assert_eq!(verify_partial(&public, &other_input, &honest).err(), Some(PartialError::Proof));

    let mut mixed = honest;
    mixed.point = shares[1].partial(&input, &[0; 32]).point;
    assert_eq!(refusal(mixed), Some(PartialError::Proof));
    let mut mixed = honest;
    mixed.proof = shares[0].partial(&other_input, &[0; 32]).proof;
    assert_eq!(refusal(mixed), Some(PartialError::Proof));
    for bit in 0..512 {
        let mut flipped = honest;
        flipped.proof[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(refusal(flipped), Some(PartialError::Proof | PartialError::Scalar)), "{bit}");
    }
    for bit in 0..256 {
        let mut flipped = honest;
        flipped.point[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(refusal(flipped), Some(PartialError::Proof | PartialError::Point)), "{bit}");
    }
}

#[test]
fn refuses_identities_zero_indices_and_encodings_that_are_not_canonical() {
    let identity = RistrettoPoint::identity().compress().to_bytes();
    assert_eq!(KeyShare::from_bytes(0, &Secret::new([1; 32])).err(), Some(ShareError::Index));
    assert_eq!(KeyShare::from_bytes(1, &Secret::new([0; 32])).err(), Some(ShareError::Scalar));
    assert_eq!(KeyShare::from_bytes(1, &Secret::new([0xff; 32])).err(), Some(ShareError::Scalar));
    assert_eq!(PublicShare::from_bytes(1, &identity).err(), Some(ShareError::Point));
    assert_eq!(PublicShare::from_bytes(1, &[0xff; 32]).err(), Some(ShareError::Point));
    assert_eq!(PublicShare::from_bytes(0, &[0; 32]).err(), Some(ShareError::Index));

    let share = share(1, scalar(&mut seeded(3)));
    let input = input(b"x");
    let honest = share.partial(&input, &[0; 32]);
    let refusal = |partial| verify_partial(&share.public_share(), &input, &partial).err();
    let mut partial = honest;
    partial.point = identity;
    assert_eq!(refusal(partial), Some(PartialError::Point));
    for half in [0..32, 32..64] {
        let mut partial = honest;
        partial.proof[half].fill(0xff);
        assert_eq!(refusal(partial), Some(PartialError::Scalar));
    }
}

#[test]
fn combining_refuses_duplicates_mixed_inputs_and_no_threshold() {
    let random = &mut seeded(4);
    let shares = insecure_split(scalar(random), 2, 3, random);
    let (here, there) = (input(b"here"), input(b"there"));
    let [first, second, third] = [0, 1, 2].map(|index| answer(&shares[index], &here));
    let refusal = |threshold, partials: &[VerifiedPartial]| combine(threshold, partials).err();
    assert_eq!(refusal(2, &[first.clone(), first.clone()]), Some(CombineError::Duplicate(1)));
    // Also beyond the ones that are used: a caller that counts answers must not count one twice.
    let repeated = [first.clone(), second.clone(), second.clone()];
    assert_eq!(refusal(2, &repeated), Some(CombineError::Duplicate(2)));
    assert_eq!(refusal(2, &[first.clone(), answer(&shares[1], &there)]), Some(CombineError::Input(2)));
    assert_eq!(refusal(0, &[first.clone(), third]), Some(CombineError::Threshold));
    assert_eq!(refusal(1, &[]), Some(CombineError::TooFew { have: 0, need: 1 }));
    // Opposite points on a line through the origin: shares of a root that is zero.
    let line = scalar(random);
    let zero = [share(1, line), share(2, line + line)].map(|share| answer(&share, &here));
    assert_eq!(refusal(2, &zero), Some(CombineError::Identity));
}

#[test]
fn a_proofs_nonce_never_repeats_for_two_inputs_even_with_constant_entropy() {
    let share = share(1, scalar(&mut seeded(5)));
    let (first, second) = (input(b"a"), input(b"b"));
    let proof = |input: &Input, entropy: u8| share.partial(input, &[entropy; 32]).proof;
    assert_eq!(proof(&first, 0), proof(&first, 0));
    assert_ne!(proof(&first, 0), proof(&first, 1));
    // s = r - c k: with one r for two challenges, k = (s1 - s2) / (c2 - c1). Check that it is not.
    let part = |proof: [u8; 64], from: usize| -> Scalar {
        let bytes: [u8; 32] = proof[from..from + 32].try_into().unwrap();
        Scalar::from_canonical_bytes(bytes).unwrap()
    };
    let (p, q) = (proof(&first, 0), proof(&second, 0));
    let extracted = (part(p, 32) - part(q, 32)) * (part(q, 0) - part(p, 0)).invert();
    assert_ne!(extracted.to_bytes(), *share.to_bytes().expose());
}
