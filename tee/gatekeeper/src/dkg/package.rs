//! A dealer's package and shares: of two polynomials, one for the root and one for the beacon.
//!
//! ```text
//! package = commitment of the root | commitment of the beacon      (each as `polynomial.rs` has it; both of the same threshold)
//! shares  = scalar of the root (32) | scalar of the beacon (32)
//! ```
//! Guarantees: a [`Package`] was decoded from exactly the length that its threshold gives, and both of its commitments are verified:
//! what is wrong with one is wrong with the package, and a pair of shares fits only if both do. The two polynomials of a dealer come of
//! two streams, which labels of their own tell apart; that another dealer's two are independent nobody can check, nor has to: each key
//! is a sum with the polynomials of honest dealers, and the beacon's public shares tell of their sum of beacon polynomials alone.
//! Other dealers control the bytes of packages and shares.

use super::polynomial::{self, commitment_bytes, Commitment, Failed, Outcome};
use phala_crypto::{entropy::EntropyStream, Secret};
use std::collections::BTreeMap;

/// Bytes of a scalar.
const SCALAR_BYTES: usize = 32;
/// Bytes of one seat's shares of a dealer, as they are sealed, and with which a delivery begins.
pub const SHARE_BYTES: usize = 2 * SCALAR_BYTES;

/// Bytes of every package with this threshold.
pub fn package_bytes(threshold: u16) -> usize {
    2 * commitment_bytes(threshold)
}

/// Why bytes are not a package; the fault is the dealer's if the chain holds their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Of another length than the threshold gives, or of another number of commitments.
    #[error("package is not of the length that the threshold gives")]
    Length,
    /// A commitment or a proof is no canonical point or scalar, or the identity.
    #[error("package holds a point or scalar that is not canonical, or the identity")]
    Element,
    /// A proof of possession does not hold for this dealer.
    #[error("package does not prove that its dealer knows what it committed to")]
    Proof,
}

/// Which of an era's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// What epoch keys come of.
    Root,
    /// What the beacon's values come of.
    Beacon,
}

/// One seat's shares of a dealer's two polynomials.
pub(super) struct Shares {
    root: Secret<[u8; SCALAR_BYTES]>,
    beacon: Secret<[u8; SCALAR_BYTES]>,
}

impl Shares {
    /// Out of what is sealed: exactly [`SHARE_BYTES`], which the caller then wipes.
    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let (root, beacon) = bytes.split_at_checked(SCALAR_BYTES)?;
        Some(Self { root: Secret::from_slice(root)?, beacon: Secret::from_slice(beacon)? })
    }

    /// Out of an answer or of what was kept: of the root, then of the beacon.
    pub(super) fn copied([root, beacon]: &[[u8; SCALAR_BYTES]; 2]) -> Self {
        let copy = |from: &[u8; SCALAR_BYTES]| Secret::<[u8; SCALAR_BYTES]>::fill(|bytes| bytes.copy_from_slice(from));
        Self { root: copy(root), beacon: copy(beacon) }
    }

    /// As they are sealed.
    pub(super) fn to_bytes(&self) -> Secret<[u8; SHARE_BYTES]> {
        Secret::fill(|bytes| {
            for (target, byte) in bytes.iter_mut().zip(self.root.expose().iter().chain(self.beacon.expose())) {
                *target = *byte;
            }
        })
    }

    /// Both scalars, for an answer or to be kept: what becomes of the copy is the caller's to see to.
    pub(super) fn to_scalars(&self) -> [[u8; SCALAR_BYTES]; 2] {
        [*self.root.expose(), *self.beacon.expose()]
    }
}

/// Another dealer's package, verified.
pub(super) struct Package {
    bytes: Vec<u8>,
    root: Commitment,
    beacon: Commitment,
}

impl Package {
    /// Decodes and verifies the package of dealer `index`.
    pub(super) fn decode(index: u16, threshold: u16, bytes: &[u8]) -> Result<Self, PackageError> {
        let (root, beacon) = bytes.split_at_checked(commitment_bytes(threshold)).ok_or(PackageError::Length)?;
        // The second of another length costs no verification of the first.
        if bytes.len() != package_bytes(threshold) {
            return Err(PackageError::Length);
        }
        let root = Commitment::decode(index, threshold, root)?;
        let beacon = Commitment::decode(index, threshold, beacon)?;
        Ok(Self { bytes: bytes.to_vec(), root, beacon })
    }

    /// The bytes whose hash the chain holds.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether these are the shares of `recipient`, of the root and of the beacon, on the committed polynomials: both.
    pub(super) fn fits(&self, recipient: u16, [root, beacon]: &[[u8; SCALAR_BYTES]; 2]) -> bool {
        self.root.fits(recipient, root) && self.beacon.fits(recipient, beacon)
    }

    /// The same of shares that are secret.
    pub(super) fn fits_secret(&self, recipient: u16, shares: &Shares) -> bool {
        self.root.fits(recipient, shares.root.expose()) && self.beacon.fits(recipient, shares.beacon.expose())
    }
}

/// What a dealer deals in one attempt.
pub(super) struct Dealt {
    /// Its package.
    pub(super) package: Vec<u8>,
    shares: Vec<Shares>,
}

impl Dealt {
    /// The shares of the seat of `index`.
    pub(super) fn share(&self, index: u16) -> Option<&Shares> {
        self.shares.get(usize::from(index).checked_sub(1)?)
    }
}

/// Draws both polynomials of dealer `index` and evaluates them at all `seats`. `stream` gives the same stream each time, and for each key
/// one of its own.
pub(super) fn deal(
    stream: impl Fn(KeyKind) -> EntropyStream,
    index: u16,
    threshold: u16,
    seats: u16,
) -> Result<Dealt, Failed> {
    let root = polynomial::deal(|| stream(KeyKind::Root), index, threshold, seats)?;
    let beacon = polynomial::deal(|| stream(KeyKind::Beacon), index, threshold, seats)?;
    let pairs = root.shares.into_iter().zip(beacon.shares);
    Ok(Dealt {
        package: [root.commitment, beacon.commitment].concat(),
        shares: pairs.map(|(root, beacon)| Shares { root, beacon }).collect(),
    })
}

/// The outcomes of an attempt for the seat of `index`, of the root and of the beacon.
pub(super) fn finish(
    stream: impl Fn(KeyKind) -> EntropyStream,
    index: u16,
    threshold: u16,
    packages: &BTreeMap<u16, Package>,
    shares: &BTreeMap<u16, Shares>,
) -> Result<(Outcome, Outcome), Failed> {
    let (mut of_root, mut of_beacon) = (BTreeMap::new(), BTreeMap::new());
    for (dealer, package) in packages {
        let shares = shares.get(dealer).ok_or(Failed)?;
        of_root.insert(*dealer, (&package.root, &shares.root));
        of_beacon.insert(*dealer, (&package.beacon, &shares.beacon));
    }
    let root = polynomial::finish(stream(KeyKind::Root), index, threshold, &of_root)?;
    let beacon = polynomial::finish(stream(KeyKind::Beacon), index, threshold, &of_beacon)?;
    Ok((root, beacon))
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_crypto::entropy::EntropyBuilder;
    use phala_protocol::domain;

    fn stream(seed: u8, key: KeyKind) -> EntropyStream {
        let label = match key {
            KeyKind::Root => domain::CEREMONY_SEED,
            KeyKind::Beacon => domain::CEREMONY_BEACON_SEED,
        };
        EntropyBuilder::new(label, &[seed; 32]).finish()
    }

    fn dealt(seed: u8, index: u16) -> Dealt {
        deal(|key| stream(seed, key), index, 3, 4).unwrap()
    }

    fn refused(bytes: &[u8]) -> Option<PackageError> {
        Package::decode(2, 3, bytes).err()
    }

    #[test]
    fn a_package_is_of_two_polynomials_and_shares_fit_both_or_not_at_all() {
        let dealt = dealt(1, 2);
        assert_eq!((dealt.package.len(), package_bytes(67)), (package_bytes(3), 4_420));
        let package = Package::decode(2, 3, &dealt.package).unwrap();
        assert_eq!(package.bytes(), dealt.package);
        let other = Package::decode(2, 3, &self::dealt(2, 2).package).unwrap();
        for recipient in 1..=4 {
            let shares = dealt.share(recipient).unwrap();
            let [root, beacon] = shares.to_scalars();
            assert_ne!(root, beacon);
            assert!(package.fits(recipient, &[root, beacon]) && package.fits_secret(recipient, shares));
            assert!(!other.fits_secret(recipient, shares) && !package.fits_secret(recipient % 4 + 1, shares));
            // Neither one of them twice, nor the two in the other's place, nor one that is wrong beside one that is right.
            let foreign = self::dealt(2, 2).share(recipient).unwrap().to_scalars();
            for wrong in [[root, root], [beacon, beacon], [beacon, root], [root, foreign[1]], [foreign[0], beacon]] {
                assert!(!package.fits(recipient, &wrong) && !package.fits_secret(recipient, &Shares::copied(&wrong)));
            }
        }
        assert!(dealt.share(0).is_none() && dealt.share(5).is_none());
    }

    #[test]
    fn a_package_with_a_bad_half_is_none() {
        let (good, other) = (dealt(1, 2).package, dealt(2, 2).package);
        let half = good.len() / 2;
        assert_eq!(refused(&good), None);
        for position in [0, half] {
            let with = |change: fn(&mut [u8])| {
                let mut bytes = good.clone();
                change(&mut bytes[position..position + half]);
                refused(&bytes)
            };
            assert_eq!(with(|part| part[0] = 2 << 2), Some(PackageError::Length));
            assert_eq!(with(|part| part[1..33].fill(0)), Some(PackageError::Element));
            assert_eq!(with(|part| part[97 + 32] ^= 1), Some(PackageError::Proof));
        }
        // Of another dealer, in one half alone.
        let third = dealt(1, 3).package;
        assert_eq!(refused(&[&good[..half], &third[half..]].concat()), Some(PackageError::Proof));
        assert_eq!(refused(&[&third[..half], &good[half..]].concat()), Some(PackageError::Proof));
        for wrong in [&good[..half], &good[half..], &good[..good.len() - 1], &[]] {
            assert_eq!(refused(wrong), Some(PackageError::Length));
        }
        assert_eq!(refused(&[&good[..], &[0]].concat()), Some(PackageError::Length));
        assert_eq!(refused(&[&good[..], &good[half..]].concat()), Some(PackageError::Length));
        // Halves of two dealings of one dealer are a package, of which neither's shares fit.
        let mixed = Package::decode(2, 3, &[&good[..half], &other[half..]].concat()).unwrap();
        for dealt in [dealt(1, 2), dealt(2, 2)] {
            assert!((1..=4).all(|recipient| !mixed.fits_secret(recipient, dealt.share(recipient).unwrap())));
        }
    }

    #[test]
    fn shares_are_64_bytes_root_first() {
        let dealt = dealt(1, 2);
        let shares = dealt.share(3).unwrap();
        let bytes = shares.to_bytes();
        assert_eq!(bytes.expose()[..], shares.to_scalars().concat());
        assert_eq!(Shares::from_slice(bytes.expose()).unwrap().to_scalars(), shares.to_scalars());
        for length in [0, 31, 32, 63, 65, 96] {
            assert!(Shares::from_slice(&vec![1; length]).is_none(), "{length}");
        }
    }
}
