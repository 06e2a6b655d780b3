//! Intel's collateral for one platform model and technology (SGX or TDX): checked once, kept parsed.
//!
//! [`verify_collateral`] checks every signature, date and revocation in it; what comes out is small, needs no certificate
//! parsing, and says until when it holds. Verifying one machine's evidence against it costs three ECDSA verifications
//! instead of ten.
//!
//! Raw collateral comes from the attacker. Sizes are limited before anything is parsed, and JSON is parsed only after its
//! signature holds. It does not fetch anything, and it does not decide whether old but unexpired collateral is new enough:
//! that is [`crate::PolicyTerms::minimum_tcb_evaluation_number`].

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use p256::ecdsa::{signature::Verifier, Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{
    anchor::{Root, TrustAnchor},
    certificate::{Certificate, CertificateFault, Serial, Use},
    evidence::{PlatformModel, Vendor},
    json::{read_qe_identity, read_tcb_info},
    kind::CollateralKind,
    list::List,
    pem::{decode_chain, PemFault},
    revocation::{self, is_revoked, RevocationFault},
    tcb::{QeIdentity, TcbInfo},
};

/// Collateral as Intel's provisioning certification service serves it. TCB info says whether it is for SGX or for TDX.
///
/// Its encoding begins with its kind, so that another vendor's gets one beside it: [`crate::decode_collateral`] refuses by name what it
/// does not know. The limits are several times what has been seen: genuine collateral encodes to about 12 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Collateral {
    /// Whose it is: there is one kind yet.
    pub kind: CollateralKind,
    /// The JSON text inside `tcbInfo`, byte for byte as signed.
    pub tcb_info: List<u8, { 24 * 1024 }>,
    /// Its signature: r, s.
    pub tcb_info_signature: [u8; 64],
    /// PEM of its signer and the root.
    pub tcb_info_issuer_chain: List<u8, { 8 * 1024 }>,
    /// The JSON text inside `enclaveIdentity`, byte for byte as signed.
    pub qe_identity: List<u8, { 8 * 1024 }>,
    /// Its signature: r, s.
    pub qe_identity_signature: [u8; 64],
    /// PEM of its signer and the root.
    pub qe_identity_issuer_chain: List<u8, { 8 * 1024 }>,
    /// DER of the root's revocation list.
    pub root_ca_crl: List<u8, { 8 * 1024 }>,
    /// DER of the PCK authority's revocation list.
    pub pck_crl: List<u8, { 64 * 1024 }>,
    /// PEM of the PCK authority (platform or processor) and the root.
    pub pck_crl_issuer_chain: List<u8, { 8 * 1024 }>,
}

/// Collateral in which every signature, date and revocation was found good at the time it was verified.
///
/// Safe to keep in chain state. Decoding one trusts the place it was kept in; its root and its dates are checked again
/// whenever it is used.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct VerifiedCollateral {
    pub(crate) root: Root,
    pub(crate) valid_from: u64,
    pub(crate) valid_until: u64,
    pub(crate) tcb: TcbInfo,
    pub(crate) qe: QeIdentity,
    pub(crate) authority: PckAuthority,
    pub(crate) revoked: List<Serial, 2048>,
    /// When the lists of the root and of the authority were issued, Unix seconds.
    pub(crate) lists_issued: [u64; 2],
}

/// The authority that certifies processors of this model.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct PckAuthority {
    /// SHA-256 of its certificate's DER.
    pub(crate) certificate_hash: [u8; 32],
    /// SHA-256 of its name's DER.
    pub(crate) name_hash: [u8; 32],
    /// Its public key: x, y.
    pub(crate) key: [u8; 64],
}

impl VerifiedCollateral {
    /// The root its chains end in.
    pub const fn root(&self) -> Root {
        self.root
    }

    /// Whose hardware, and which technology of it.
    pub const fn vendor(&self) -> Vendor {
        self.tcb.vendor()
    }

    /// What it is collateral for: evidence with the same [`crate::claimed_model`].
    pub const fn model(&self) -> PlatformModel {
        PlatformModel { vendor: self.vendor(), fmspc: self.tcb.fmspc, authority: self.authority.certificate_hash }
    }

    /// The platform model (family, model, stepping, platform type, custom SKU) it is about.
    pub const fn fmspc(&self) -> [u8; 6] {
        self.tcb.fmspc
    }

    /// First Unix second at which all of its parts are valid.
    pub const fn valid_from(&self) -> u64 {
        self.valid_from
    }

    /// First Unix second at which one of its parts is not valid any more.
    pub const fn valid_until(&self) -> u64 {
        self.valid_until
    }

    /// Whether each of its parts is in date at `now`, Unix seconds. Nothing else that [`verify_collateral`] asks depends on time: where
    /// this is true, the same bytes give the same value again. Where it is false they are refused, or, in the one last second of a
    /// certificate, give collateral that [`crate::verify_evidence`] refuses.
    pub const fn is_good_at(&self, now: u64) -> bool {
        self.valid_from <= now && now < self.valid_until
    }

    /// The lower of the evaluation numbers of TCB info and QE identity: higher is newer.
    pub fn tcb_evaluation_number(&self) -> u32 {
        self.tcb.evaluation_number.min(self.qe.evaluation_number)
    }

    /// The higher of the two evaluation numbers: whether one of the documents was published ahead of its release.
    pub fn latest_evaluation_number(&self) -> u32 {
        self.tcb.evaluation_number.max(self.qe.evaluation_number)
    }

    /// When each of its parts was issued, Unix seconds: TCB info, QE identity, the root's revocation list, the authority's. Whoever
    /// submits collateral chooses each part by itself, so two are in order when every part is.
    pub const fn parts_issued(&self) -> [u64; 4] {
        let [root, authority] = self.lists_issued;
        [self.tcb.issued, self.qe.issued, root, authority]
    }

    /// When the newer of its two documents was issued, Unix seconds: what people call its age.
    pub fn issued(&self) -> u64 {
        self.tcb.issued.max(self.qe.issued)
    }

    /// When the root's revocation list was issued, Unix seconds.
    pub const fn root_list_issued(&self) -> u64 {
        let [root, _] = self.lists_issued;
        root
    }

    /// Whether it has the same processors revoked as `other`.
    pub fn revokes_as(&self, other: &Self) -> bool {
        self.revoked == other.revoked
    }
}

/// Whose certificate a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum SignerRole {
    /// The root.
    Root,
    /// The signer of TCB info.
    TcbInfo,
    /// The signer of the QE identity.
    QeIdentity,
    /// The authority that certifies processors.
    PckAuthority,
}

impl core::fmt::Display for SignerRole {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Root => "root",
            Self::TcbInfo => "signer of tcb info",
            Self::QeIdentity => "signer of qe identity",
            Self::PckAuthority => "pck authority",
        })
    }
}

/// Why a signed JSON document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum DocumentFault {
    /// Its signer did not sign these bytes.
    #[error("signature is not its signer's")]
    Signature,
    /// Not the JSON of such a document.
    #[error("not the json of such a document")]
    Json,
    /// About another technology: of TCB info neither SGX nor TDX, of the QE identity another than TCB info's.
    #[error("about another technology")]
    WrongId,
    /// A version or type this verifier does not know.
    #[error("unknown version or type")]
    Version,
    /// A value that is not hexadecimal of the right length.
    #[error("not hexadecimal of the right length")]
    Hex,
    /// A date in another form than Intel's.
    #[error("not a date in utc")]
    Date,
    /// A status this verifier does not know.
    #[error("unknown status")]
    Status,
    /// Not sixteen components.
    #[error("not sixteen components")]
    Components,
    /// Says nothing about the TDX module.
    #[error("no tdx module")]
    NoModule,
    /// No levels.
    #[error("no levels")]
    NoLevels,
    /// Two module identities for one version.
    #[error("two identities for one module version")]
    Ambiguous,
    /// More entries than this verifier keeps.
    #[error("more entries than the limit")]
    TooLong,
    /// Issued in the future.
    #[error("issued in the future")]
    NotYetIssued,
    /// A newer document is due.
    #[error("expired: a newer document is due, fetch it")]
    Expired,
}

/// Why collateral was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum CollateralRefusal {
    /// A chain is not readable.
    #[error("chain of the {0}: {1}")]
    Chain(SignerRole, #[source] PemFault),
    /// A chain is not exactly the signer and the root.
    #[error("chain of the {0} is not that certificate and the root")]
    ChainLength(SignerRole),
    /// A chain ends in another root than the trusted one.
    #[error("chain of the {0} does not end in the trusted root")]
    UntrustedRoot(SignerRole),
    /// A certificate is bad.
    #[error("certificate of the {0}: {1}")]
    Certificate(SignerRole, #[source] CertificateFault),
    /// A certificate is revoked.
    #[error("certificate of the {0} is revoked")]
    Revoked(SignerRole),
    /// The root's revocation list is bad.
    #[error("revocation list of the root: {0}")]
    RootCrl(#[source] RevocationFault),
    /// The PCK authority's revocation list is bad.
    #[error("revocation list of the pck authority: {0}")]
    PckCrl(#[source] RevocationFault),
    /// TCB info is bad.
    #[error("tcb info: {0}")]
    TcbInfo(#[source] DocumentFault),
    /// QE identity is bad.
    #[error("qe identity: {0}")]
    QeIdentity(#[source] DocumentFault),
}

/// Checks collateral at `now` (Unix seconds) under `anchor`, and parses it. The only constructor of
/// [`VerifiedCollateral`].
pub fn verify_collateral(
    raw: &Collateral,
    anchor: &TrustAnchor,
    now: u64,
) -> Result<VerifiedCollateral, CollateralRefusal> {
    let root_der = anchor.root().der();
    let root = Certificate::decode(root_der)
        .and_then(|root| root.verify_compiled_in(now).map(|()| root))
        .map_err(|fault| CollateralRefusal::Certificate(SignerRole::Root, fault))?;
    let root_list =
        revocation::verify(&raw.root_ca_crl, &root.subject, &root.key, now).map_err(CollateralRefusal::RootCrl)?;
    if is_revoked(&root_list.serials, &root.serial) {
        return Err(CollateralRefusal::Revoked(SignerRole::Root));
    }
    let names = anchor.root().names();
    let check_signer = |chain: &[u8],
                        role: SignerRole,
                        intended: Use|
     -> Result<(Vec<u8>, Certificate), CollateralRefusal> {
        let chain = decode_chain(chain).map_err(|fault| CollateralRefusal::Chain(role, fault))?;
        let [der, chain_root] = <[Vec<u8>; 2]>::try_from(chain).map_err(|_| CollateralRefusal::ChainLength(role))?;
        if chain_root != root_der {
            return Err(CollateralRefusal::UntrustedRoot(role));
        }
        let own = if role == SignerRole::PckAuthority { names.authorities } else { names.documents };
        let certificate = Certificate::decode(&der)
            .and_then(|certificate| certificate.verify(&root.subject, &root.key, intended, now).map(|()| certificate))
            .and_then(|certificate| certificate.check_name(own).map(|()| certificate))
            .map_err(|fault| CollateralRefusal::Certificate(role, fault))?;
        if is_revoked(&root_list.serials, &certificate.serial) {
            return Err(CollateralRefusal::Revoked(role));
        }
        Ok((der, certificate))
    };

    let (_, tcb_signer) = check_signer(&raw.tcb_info_issuer_chain, SignerRole::TcbInfo, Use::Signer)?;
    check_document(&raw.tcb_info, &raw.tcb_info_signature, &tcb_signer.key).map_err(CollateralRefusal::TcbInfo)?;
    let tcb = read_tcb_info(&raw.tcb_info).map_err(CollateralRefusal::TcbInfo)?;
    check_dates(tcb.issued, tcb.next_update, now).map_err(CollateralRefusal::TcbInfo)?;
    let vendor = tcb.vendor();

    // Intel signs both documents with one certificate; the same bytes need no second check.
    let qe_signer = if *raw.qe_identity_issuer_chain == *raw.tcb_info_issuer_chain {
        None
    } else {
        Some(check_signer(&raw.qe_identity_issuer_chain, SignerRole::QeIdentity, Use::Signer)?.1)
    };
    let qe_signer = qe_signer.as_ref().unwrap_or(&tcb_signer);
    check_document(&raw.qe_identity, &raw.qe_identity_signature, &qe_signer.key)
        .map_err(CollateralRefusal::QeIdentity)?;
    let qe = read_qe_identity(&raw.qe_identity, vendor).map_err(CollateralRefusal::QeIdentity)?;
    check_dates(qe.issued, qe.next_update, now).map_err(CollateralRefusal::QeIdentity)?;

    let (authority_der, authority) =
        check_signer(&raw.pck_crl_issuer_chain, SignerRole::PckAuthority, Use::Authority { below: 0 })?;
    let pck_list =
        revocation::verify(&raw.pck_crl, &authority.subject, &authority.key, now).map_err(CollateralRefusal::PckCrl)?;

    let certificates = [&root, &tcb_signer, qe_signer, &authority];
    let starts = certificates.map(|certificate| certificate.not_before);
    let ends = certificates.map(|certificate| certificate.not_after);
    let lists = [&root_list, &pck_list];
    let lists_issued = lists.map(|list| list.this_update);
    let valid_from =
        starts.into_iter().chain([tcb.issued, qe.issued]).chain(lists.map(|list| list.this_update)).fold(0, u64::max);
    let valid_until = ends
        .into_iter()
        .chain([tcb.next_update, qe.next_update])
        .chain(lists.map(|list| list.next_update))
        .fold(u64::MAX, u64::min);
    Ok(VerifiedCollateral {
        root: anchor.root(),
        valid_from,
        valid_until,
        tcb,
        qe,
        authority: PckAuthority {
            certificate_hash: Sha256::digest(&authority_der).into(),
            name_hash: Sha256::digest(&authority.subject).into(),
            key: key_bytes(&authority.key)
                .ok_or(CollateralRefusal::Certificate(SignerRole::PckAuthority, CertificateFault::KeyAlgorithm))?,
        },
        revoked: List::try_from(pck_list.serials).map_err(|_| CollateralRefusal::PckCrl(RevocationFault::TooLong))?,
        lists_issued,
    })
}

fn check_document(text: &[u8], signature: &[u8; 64], key: &VerifyingKey) -> Result<(), DocumentFault> {
    let signature = Signature::from_slice(signature).map_err(|_| DocumentFault::Signature)?;
    key.verify(text, &signature).map_err(|_| DocumentFault::Signature)
}

fn check_dates(issued: u64, next_update: u64, now: u64) -> Result<(), DocumentFault> {
    if now < issued {
        return Err(DocumentFault::NotYetIssued);
    }
    if now >= next_update {
        return Err(DocumentFault::Expired);
    }
    Ok(())
}

fn key_bytes(key: &VerifyingKey) -> Option<[u8; 64]> {
    key.to_sec1_point(false).as_bytes().get(1..)?.try_into().ok()
}
