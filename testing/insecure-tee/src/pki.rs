//! The development certificates: root, PCK authority, PCK certificates, signer of documents, revocation lists.
//!
//! INSECURE: every private key is the SHA-256 of a published sentence, and every signature is deterministic (RFC 6979), so
//! that every start, on every machine, makes byte-identical certificates. Two simulators therefore share one authority, as
//! two real machines of one vendor do, and collateral made by one serves the other. Only the documents and revocation
//! lists have a window that moves: 30 days, as Intel's.

use p256::ecdsa::{signature::Signer, Signature, SigningKey};
use phala_attest::{Collateral, CollateralKind, List, TooLong};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData, RevokedCertParams,
    SerialNumber, SignatureAlgorithm,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::{documents::Window, extension::Processor};

/// The published sentence whose SHA-256 is the development root's private key.
const ROOT_SENTENCE: &str = "INSECURE: the development root of Phala. This private key is public on purpose.";
/// First and last second of every certificate: 2025-01-01 and 2049-12-31, as the certificates of a vendor outlive its documents.
const CERTIFICATE_START: i64 = 1_735_689_600;
const CERTIFICATE_END: i64 = 2_524_607_999;

/// Why a certificate, list or document could not be made: always a bug of ours or an impossible argument.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// rcgen refused.
    #[error("certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// A sentence that hashes to no private key.
    #[error("sentence does not hash to a private key")]
    Key(#[from] p256::ecdsa::Error),
    /// A time before 1970 or after 9999.
    #[error("time is out of range")]
    Time(#[from] time::error::ComponentRange),
    /// More bytes than collateral may have.
    #[error("document is longer than collateral allows")]
    TooLong(#[from] TooLong),
}

/// A key that anyone can derive.
#[derive(Clone)]
pub(crate) struct InsecureKey {
    key: SigningKey,
    point: Vec<u8>,
}

impl InsecureKey {
    pub(crate) fn derive(sentence: &str) -> Result<Self, PkiError> {
        let key = SigningKey::from_slice(&Sha256::digest(sentence.as_bytes()))?;
        let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        Ok(Self { key, point })
    }

    /// r and s.
    pub(crate) fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.key.sign(message);
        signature.to_bytes().into()
    }

    /// r and s in DER, as certificates have them.
    fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(message);
        signature.to_der().as_bytes().to_vec()
    }

    /// x and y.
    pub(crate) fn public(&self) -> [u8; 64] {
        let mut key = [0; 64];
        key.copy_from_slice(self.point.get(1..).unwrap_or_default());
        key
    }
}

impl PublicKeyData for InsecureKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for InsecureKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.sign_der(message))
    }
}

/// Who signs below the development root, and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsecureSigner {
    /// The root: authorities and signers of documents, and its revocation list.
    Root,
    /// The PCK authority: processors, and its revocation list.
    Authority,
    /// The signer of documents.
    Documents,
}

/// The stand-in for Intel: certifies simulated processors and signs collateral.
pub struct InsecureVendor {
    root: (Issuer<'static, InsecureKey>, Certificate),
    authority: (Issuer<'static, InsecureKey>, Certificate),
    signer: (InsecureKey, Certificate),
}

/// DER of the development root's certificate: what `phala-attest` has compiled in.
pub fn development_root_der() -> Result<Vec<u8>, PkiError> {
    Ok(InsecureVendor::new()?.root.1.der().to_vec())
}

/// Intel has two authorities that certify processors, of which a model has one or the other or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsecureAuthority {
    /// Of processors that are registered together, as in a server with several.
    Platform,
    /// Of single processors.
    Processor,
}

impl InsecureAuthority {
    const fn sentence_and_name(self) -> (&'static str, &'static str) {
        match self {
            Self::Platform => {
                ("INSECURE: the PCK platform authority of Phala's development root.", "INSECURE Phala PCK Platform CA")
            }
            Self::Processor => (
                "INSECURE: the PCK processor authority of Phala's development root.",
                "INSECURE Phala PCK Processor CA",
            ),
        }
    }
}

impl InsecureVendor {
    /// Derives root, platform authority and signer.
    pub fn new() -> Result<Self, PkiError> {
        Self::with_authority(InsecureAuthority::Platform)
    }

    /// [`Self::new`] with either authority.
    pub fn with_authority(authority: InsecureAuthority) -> Result<Self, PkiError> {
        Self::derive(ROOT_SENTENCE, authority)
    }

    /// A vendor whose root has the development root's name and another key: nobody trusts it.
    pub fn of_another_root() -> Result<Self, PkiError> {
        Self::derive("INSECURE: a root that no verifier has compiled in.", InsecureAuthority::Platform)
    }

    fn derive(root_sentence: &str, authority: InsecureAuthority) -> Result<Self, PkiError> {
        let root_key = InsecureKey::derive(root_sentence)?;
        let root_parameters =
            parameters("INSECURE Phala Development Root CA", IsCa::Ca(BasicConstraints::Constrained(1)), &root_key)?;
        let root_certificate = root_parameters.self_signed(&root_key)?;
        let root = Issuer::new(root_parameters, root_key);

        let (authority_sentence, authority_name) = authority.sentence_and_name();
        let authority_key = InsecureKey::derive(authority_sentence)?;
        let authority_parameters =
            parameters(authority_name, IsCa::Ca(BasicConstraints::Constrained(0)), &authority_key)?;
        let authority_certificate = authority_parameters.signed_by(&authority_key, &root)?;
        let authority = Issuer::new(authority_parameters, authority_key);

        let signer_key = InsecureKey::derive("INSECURE: the TCB signing key of Phala's development root.")?;
        let signer_certificate =
            parameters("INSECURE Phala TCB Signing", IsCa::ExplicitNoCa, &signer_key)?.signed_by(&signer_key, &root)?;
        Ok(Self {
            root: (root, root_certificate),
            authority: (authority, authority_certificate),
            signer: (signer_key, signer_certificate),
        })
    }

    /// Certifies `processor`: its PCK key, and the PEM chain of its certificate (altered by `alter` before it is signed),
    /// the authority and the root.
    pub(crate) fn certify(
        &self,
        processor: &Processor,
        alter: impl FnOnce(&mut CertificateParams),
    ) -> Result<(InsecureKey, String), PkiError> {
        let key = InsecureKey::derive(&format!(
            "INSECURE: the PCK key of the simulated processor {}.",
            hex::encode(processor.ppid)
        ))?;
        let mut certificate = parameters("INSECURE Phala PCK Certificate", IsCa::ExplicitNoCa, &key)?;
        certificate.custom_extensions =
            vec![CustomExtension::from_oid_content(&[1, 2, 840, 113_741, 1, 13, 1], processor.to_der())];
        alter(&mut certificate);
        let certificate = certificate.signed_by(&key, &self.authority.0)?;
        Ok((key, [certificate.pem(), self.authority.1.pem(), self.root.1.pem()].concat()))
    }

    /// Signs collateral from the two JSON documents, for `window`, with the certificates that are revoked.
    pub fn collateral(
        &self,
        window: Window,
        tcb_info: &str,
        qe_identity: &str,
        revoked: &Revoked,
    ) -> Result<Collateral, PkiError> {
        let signer_chain = List::try_from([self.signer.1.pem(), self.root.1.pem()].concat().into_bytes())?;
        Ok(Collateral {
            kind: CollateralKind::IntelDcap,
            tcb_info: List::try_from(tcb_info.as_bytes().to_vec())?,
            tcb_info_signature: self.signer.0.sign_raw(tcb_info.as_bytes()),
            tcb_info_issuer_chain: signer_chain.clone(),
            qe_identity: List::try_from(qe_identity.as_bytes().to_vec())?,
            qe_identity_signature: self.signer.0.sign_raw(qe_identity.as_bytes()),
            qe_identity_issuer_chain: signer_chain,
            root_ca_crl: List::try_from(revocation_list(&self.root.0, window, &revoked.by_root)?)?,
            pck_crl: List::try_from(revocation_list(&self.authority.0, window, &revoked.by_authority)?)?,
            pck_crl_issuer_chain: List::try_from([self.authority.1.pem(), self.root.1.pem()].concat().into_bytes())?,
        })
    }

    /// The signature of `signer` over any bytes, in DER: for certificates and lists that rcgen does not make.
    pub fn sign(&self, signer: InsecureSigner, message: &[u8]) -> Vec<u8> {
        match signer {
            InsecureSigner::Root => self.root.0.key().sign_der(message),
            InsecureSigner::Authority => self.authority.0.key().sign_der(message),
            InsecureSigner::Documents => self.signer.0.sign_der(message),
        }
    }

    /// The serial number of `processor`'s PCK certificate.
    pub fn serial_of(&self, processor: &Processor) -> Result<Vec<u8>, PkiError> {
        let key = InsecureKey::derive(&format!(
            "INSECURE: the PCK key of the simulated processor {}.",
            hex::encode(processor.ppid)
        ))?;
        Ok(serial(&key))
    }

    /// The serial numbers of the root, the PCK authority and the signer of documents.
    pub fn serials(&self) -> [Vec<u8>; 3] {
        [serial(self.root.0.key()), serial(self.authority.0.key()), serial(&self.signer.0)]
    }
}

/// Serial numbers of revoked certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// In the root's list: authority or signer.
    pub by_root: Vec<Vec<u8>>,
    /// In the PCK authority's list: processors.
    pub by_authority: Vec<Vec<u8>>,
}

fn parameters(name: &str, kind: IsCa, key: &InsecureKey) -> Result<CertificateParams, PkiError> {
    let mut parameters = CertificateParams::default();
    parameters.not_before = OffsetDateTime::from_unix_timestamp(CERTIFICATE_START)?;
    parameters.not_after = OffsetDateTime::from_unix_timestamp(CERTIFICATE_END)?;
    parameters.serial_number = Some(SerialNumber::from_slice(&serial(key)));
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.distinguished_name.push(DnType::OrganizationName, "INSECURE: keys are public");
    parameters.key_usages = match kind {
        IsCa::Ca(_) => vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
        _ => vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment],
    };
    parameters.is_ca = kind;
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_identifier_method = key_identifier(key);
    Ok(parameters)
}

fn key_identifier(key: &InsecureKey) -> KeyIdMethod {
    KeyIdMethod::PreSpecified(Sha256::digest(&key.point).iter().copied().take(20).collect())
}

/// A positive number of 20 bytes, from the key.
fn serial(key: &InsecureKey) -> Vec<u8> {
    let mut serial: Vec<u8> =
        Sha256::digest([b"serial".as_slice(), &key.point].concat()).iter().copied().take(20).collect();
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    serial
}

fn revocation_list(issuer: &Issuer<'_, InsecureKey>, window: Window, revoked: &[Vec<u8>]) -> Result<Vec<u8>, PkiError> {
    let this_update = window.start_time()?;
    let list = CertificateRevocationListParams {
        this_update,
        next_update: window.end_time()?,
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: this_update,
                reason_code: Some(rcgen::RevocationReason::KeyCompromise),
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: key_identifier(issuer.key()),
    };
    Ok(list.signed_by(issuer)?.der().to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn makes_the_root_that_the_verifier_has_compiled_in() {
        assert_eq!(
            hex::encode(development_root_der().unwrap()),
            hex::encode(phala_attest::INSECURE_DEVELOPMENT_ROOT_DER)
        );
    }

    #[test]
    fn every_certificate_and_key_of_the_development_root_is_recognised() {
        let vendor = InsecureVendor::new().unwrap();
        assert!(phala_attest::is_development_root(vendor.root.1.der()));
        assert!(phala_attest::is_development_root(&vendor.root.0.key().point));
        assert!(phala_attest::is_development_root(
            vendor.root.0.key().key.verifying_key().to_sec1_point(true).as_bytes()
        ));
        assert!(!phala_attest::is_development_root(vendor.authority.1.der()));
    }

    #[test]
    fn certificates_are_the_same_at_every_start() {
        let processor = Processor::named("alpha");
        let chain = || InsecureVendor::new().unwrap().certify(&processor, |_| ()).unwrap().1;
        assert_eq!(chain(), chain());
    }
}
