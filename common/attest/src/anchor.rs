//! The roots of trust, compiled in. No stored value can add one.
//!
//! Two roots exist. Intel's certifies hardware. The development root certifies nothing: its private key is derived from
//! a published sentence, so that anyone can simulate a machine. A verdict under it always carries
//! [`Assurance::Simulated`], and reaching one needs a [`DevelopmentGenesis`], which only exists for a chain whose
//! genesis hash the caller's own binary marks as a development one. Neither a referendum nor a migration can therefore
//! make a forged quote count on a network with value: chain state carries [`Root`], never a [`TrustAnchor`].

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// Intel's SGX root CA, as published at certificates.trustedservices.intel.com; the root of TDX too.
/// SHA-256 of the DER: 44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3.
pub const INTEL_ROOT_DER: &[u8] = include_bytes!("roots/intel-sgx-root-ca.der");

/// INSECURE: the development root. Its private key is public; `testing/insecure-tee` derives it and signs with it.
pub const INSECURE_DEVELOPMENT_ROOT_DER: &[u8] = include_bytes!("roots/insecure-development-root-ca.der");

/// The x coordinate of the development root's public key.
const DEVELOPMENT_KEY_X: [u8; 32] = include!("roots/insecure-development-root-ca.key-x.in");

/// Which root a chain of certificates ends in. Safe to store: it names a root, it does not admit one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Root {
    /// Intel's root CA.
    Intel,
    /// INSECURE: the root whose private key is public.
    InsecureDevelopment,
}

impl Root {
    pub(crate) fn der(self) -> &'static [u8] {
        match self {
            Self::Intel => INTEL_ROOT_DER,
            Self::InsecureDevelopment => INSECURE_DEVELOPMENT_ROOT_DER,
        }
    }

    /// By which names it tells apart what it certifies.
    pub(crate) const fn names(self) -> &'static Names {
        match self {
            Self::Intel => &INTEL_NAMES,
            Self::InsecureDevelopment => &DEVELOPMENT_NAMES,
        }
    }

    /// What a verdict under this root is worth.
    pub const fn assurance(self) -> Assurance {
        match self {
            Self::Intel => Assurance::Hardware,
            Self::InsecureDevelopment => Assurance::Simulated,
        }
    }
}

/// The common names of the certificates below a root, by what each may be used for. Both its authorities and its signers of documents
/// have their certificates from the root itself, and only the name says which is which.
pub(crate) struct Names {
    /// Who signs TCB info and QE identity.
    pub(crate) documents: &'static [&'static str],
    /// Who certifies processors.
    pub(crate) authorities: &'static [&'static str],
    /// What they certify.
    pub(crate) processors: &'static [&'static str],
}

/// Source: Intel, "SGX PCK Certificate and CRL Profile Specification"; Intel's quote verification library compares the same names.
const INTEL_NAMES: Names = Names {
    documents: &["Intel SGX TCB Signing"],
    authorities: &["Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"],
    processors: &["Intel SGX PCK Certificate"],
};

/// INSECURE: as `testing/insecure-tee` calls them.
const DEVELOPMENT_NAMES: Names = Names {
    documents: &["INSECURE Phala TCB Signing"],
    authorities: &["INSECURE Phala PCK Platform CA", "INSECURE Phala PCK Processor CA"],
    processors: &["INSECURE Phala PCK Certificate"],
};

/// What stands behind a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Assurance {
    /// A vendor's hardware.
    Hardware,
    /// Nothing: a program with a published key.
    Simulated,
}

/// The root that a caller is willing to trust.
///
/// Neither encodable nor decodable, so that it can only come from the caller's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustAnchor {
    /// Intel's root CA.
    Intel,
    /// INSECURE: the development root, for a chain marked as a development one.
    InsecureDevelopment(DevelopmentGenesis),
}

impl TrustAnchor {
    /// The root this anchor trusts.
    pub const fn root(&self) -> Root {
        match self {
            Self::Intel => Root::Intel,
            Self::InsecureDevelopment(_) => Root::InsecureDevelopment,
        }
    }
}

/// Proof that a chain's genesis hash is marked as a development one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevelopmentGenesis {
    genesis: [u8; 32],
}

impl DevelopmentGenesis {
    /// The token, if `genesis` is one of `marked`; `None` for every other chain.
    ///
    /// `marked` must be what the caller's own binary (or, inside a runtime, its genesis block) says; never anything that
    /// a transaction, a peer or an operator can set.
    pub fn for_genesis(genesis: [u8; 32], marked: &[[u8; 32]]) -> Option<Self> {
        marked.contains(&genesis).then_some(Self { genesis })
    }

    /// The marked genesis hash.
    pub const fn genesis(&self) -> [u8; 32] {
        self.genesis
    }
}

/// Whether `certificate` (or a bare public key, in any encoding) is the development root's.
///
/// For whoever lets governance name roots: refuse on `true`. Looks for the key's x coordinate anywhere in the bytes, so
/// that no re-encoding, re-issue or compressed point of the public key hides it.
pub fn is_development_root(certificate: &[u8]) -> bool {
    certificate.windows(DEVELOPMENT_KEY_X.len()).any(|window| window == DEVELOPMENT_KEY_X)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn token_exists_only_for_a_marked_genesis() {
        let marked = [[1u8; 32], [2; 32]];
        assert_eq!(DevelopmentGenesis::for_genesis([2; 32], &marked).map(|token| token.genesis()), Some([2; 32]));
        assert_eq!(DevelopmentGenesis::for_genesis([3; 32], &marked), None);
        assert_eq!(DevelopmentGenesis::for_genesis([3; 32], &[]), None);
    }

    #[test]
    fn intel_root_is_the_published_one_and_is_told_from_the_development_root() {
        let digest: [u8; 32] = Sha256::digest(INTEL_ROOT_DER).into();
        assert_eq!(hex::encode(digest), "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3");
        assert!(!is_development_root(INTEL_ROOT_DER));
        assert!(is_development_root(INSECURE_DEVELOPMENT_ROOT_DER));
        assert!(is_development_root(&DEVELOPMENT_KEY_X));
        assert!(!is_development_root(&[]));
    }
}
