//! Stable identities: hostile records, shares, and dealers who hand a key over, in both groups.
//!
//! INSECURE: the key is anybody's, as the coefficients of its polynomial are small numbers.

use super::beacon::{insecure_value, scalar};
use crate::{decoded, Target, Verdict};
use codec::Encode;
use phala_crypto::Secret;
use phala_gatekeeper::identity::{
    open_share, verify_key_record, EdwardsPoint, Group, KeyRecord, Package, Resharing, RistrettoPoint, Session,
    SubShare, VerifiedPackage,
};
use phala_protocol::WorkerId;
use std::sync::LazyLock;

/// Of the polynomial behind [`insecure_value`]; as [`SEATS`], the same for the old set and the new one.
const THRESHOLD: u16 = 3;
const SEATS: u16 = 4;

/// A record as it arrives: threshold, key, and each holder's index and public share.
type Recorded = (u16, [u8; 32], Vec<(u16, [u8; 32])>);

/// What one old holder dealt; sub-shares by new seat, from 1.
struct Dealt<G> {
    package: Package,
    verified: VerifiedPackage<G>,
    sub_shares: Vec<[u8; 32]>,
}

/// A key, and all that is honestly sent when it is handed over.
struct World<G> {
    record: KeyRecord<G>,
    resharing: Resharing<G>,
    dealt: Vec<Dealt<G>>,
}

static EDWARDS: LazyLock<World<EdwardsPoint>> = LazyLock::new(World::new);
static RISTRETTO: LazyLock<World<RistrettoPoint>> = LazyLock::new(World::new);

impl<G: Group> World<G> {
    fn new() -> Self {
        let public = |index: u16| G::base_times(&insecure_value(index).into()).to_encoding();
        let holders: Vec<(u16, [u8; 32])> = (1..=SEATS).map(|index| (index, public(index))).collect();
        let record: KeyRecord<G> = verify_key_record(THRESHOLD, &public(0), &holders).unwrap();
        let holders = (1..=SEATS).map(|index| WorkerId([index as u8; 32])).collect();
        let session = Session { genesis: [7; 32], era: 1, attempt: 0, holders };
        let resharing = Resharing::new(&session, record.clone()).unwrap();
        let deal = |index: u16| {
            let share = open_share(&record, index, &scalar(insecure_value(index))).unwrap();
            let dealing = resharing.deal(&share, &Secret::new([index as u8; 32])).unwrap();
            let package = dealing.package().clone();
            let verified = resharing.verify_package(&package).unwrap();
            let sub_shares = (1..=SEATS).map(|to| *dealing.sub_share(to).unwrap().value().expose()).collect();
            Dealt { package, verified, sub_shares }
        };
        let dealt = (1..=SEATS).map(deal).collect();
        Self { record, resharing, dealt }
    }

    fn samples(&self, group: u8) -> Vec<Vec<u8>> {
        let sample = |which: u8, encoded: Vec<u8>| [vec![group | which], encoded].concat();
        vec![
            sample(0, (self.record.threshold(), self.record.key(), self.record.holders()).encode()),
            sample(1, (2_u16, scalar(insecure_value(2)).expose()).encode()),
            sample(2, self.dealt[1].package.encode()),
            sample(3, (2_u16, 3_u16, self.dealt[1].sub_shares[2]).encode()),
        ]
    }

    fn check(&self, which: u8, bytes: &[u8]) -> Verdict {
        let shape = Verdict::refused("shape");
        match which % 4 {
            0 => decoded(bytes).map_or(shape, |sent| self.check_record(sent)),
            1 => decoded(bytes).map_or(shape, |sent| self.check_share(sent)),
            2 => decoded::<Package>(bytes).map_or(shape, |package| self.check_package(&package)),
            _ => decoded(bytes).map_or(shape, |sent| self.check_sub_share(sent)),
        }
    }

    fn check_record(&self, (threshold, key, mut holders): Recorded) -> Verdict {
        verify_key_record::<G>(threshold, &key, &holders).map_or_else(Verdict::refused, |record| {
            holders.sort_unstable();
            assert_eq!((record.threshold(), record.key(), record.holders()), (threshold, key, holders.clone()));
            let known = self.record.holders();
            if holders.len() >= usize::from(THRESHOLD) && holders.iter().all(|holder| known.contains(holder)) {
                assert_eq!(key, self.record.key(), "another key out of the same shares");
            }
            Verdict::accepted("x".repeat(holders.len()))
        })
    }

    fn check_share(&self, (index, bytes): (u16, [u8; 32])) -> Verdict {
        open_share(&self.record, index, &Secret::new(bytes)).map_or_else(Verdict::refused, |share| {
            assert_eq!((share.index(), share.to_bytes().expose()), (index, &bytes));
            assert_eq!(&bytes, scalar(insecure_value(index)).expose(), "a second share of one holder");
            Verdict::accepted("share")
        })
    }

    fn check_package(&self, package: &Package) -> Verdict {
        self.resharing.verify_package(package).map_or_else(Verdict::refused, |verified| {
            let position = usize::from(package.dealer) - 1;
            let dealt = &self.dealt[position];
            let genuine = *package == dealt.package;
            let hashes = [package, &dealt.package].map(|package| self.resharing.package_hash(package));
            assert_eq!(hashes[0] == hashes[1], genuine, "two packages under one hash");
            // Another polynomial with the same constant term may be dealt; the values of this one are not its.
            let fits = |(to, value): &(u16, &[u8; 32])| {
                let sub_share = SubShare::new(package.dealer, *to, Secret::new(**value));
                self.resharing.verify_sub_share(&verified, &sub_share).is_ok()
            };
            let fitting = (1..).zip(&dealt.sub_shares).filter(fits).count();
            assert!(if genuine { fitting == usize::from(SEATS) } else { fitting < usize::from(THRESHOLD) });
            // The key stays, whatever is dealt.
            let mut packages: Vec<_> = self.dealt.iter().map(|dealt| dealt.verified.clone()).collect();
            packages[position] = verified;
            assert_eq!(self.resharing.accept(&packages).unwrap().record().key(), self.record.key(), "another key");
            Verdict::accepted(genuine)
        })
    }

    fn check_sub_share(&self, (dealer, to, value): (u16, u16, [u8; 32])) -> Verdict {
        let dealt = self.dealt.iter().find(|dealt| dealt.package.dealer == dealer).unwrap_or(&self.dealt[0]);
        let sub_share = SubShare::new(dealer, to, Secret::new(value));
        self.resharing.verify_sub_share(&dealt.verified, &sub_share).map_or_else(Verdict::refused, |verified| {
            assert_eq!((verified.dealer(), dealt.package.dealer), (dealer, dealer));
            assert_eq!(value, dealt.sub_shares[usize::from(to) - 1], "a second sub-share of one seat");
            Verdict::accepted("sub-share")
        })
    }
}

/// The lowest bits of the first byte say what the others are: a record, a share, a package or a sub-share; the next says in which group.
pub static IDENTITY: Target = Target {
    name: "identity",
    covers: &[
        "tee/gatekeeper/src/identity/sharing.rs::verify_key_record",
        "tee/gatekeeper/src/identity/sharing.rs::open_share",
        "tee/gatekeeper/src/identity/reshare.rs::verify_package",
        "tee/gatekeeper/src/identity/reshare.rs::verify_sub_share",
    ],
    samples: LazyLock::new(|| [EDWARDS.samples(0), RISTRETTO.samples(4)].concat()),
    check: |bytes| {
        let (which, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        match which & 4 {
            0 => EDWARDS.check(*which, bytes).of("ed25519"),
            _ => RISTRETTO.check(*which, bytes).of("ristretto255"),
        }
    },
    iterations: 700,
};
