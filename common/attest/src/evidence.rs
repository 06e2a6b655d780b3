//! Evidence of every kind, and the one function that judges it.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

use crate::{
    anchor::Assurance,
    certificate::CertificateFault,
    collateral::VerifiedCollateral,
    dcap,
    list::List,
    pck::PckFault,
    pem::PemFault,
    policy::Policy,
    quote::{decode_quote, DecodeError, QUOTE_LIMIT},
    tcb::{Advisory, TcbStatus},
};

/// What a machine presents about itself. The index of a kind never changes; 2 and 3 are kept for SEV-SNP and Arm CCA, and refused by
/// name: [`crate::decode_evidence`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Evidence {
    /// A TDX quote, version 4 or 5, with its PCK chain inside and no padding behind it.
    #[codec(index = 0)]
    TdxDcap(List<u8, QUOTE_LIMIT>),
    /// An SGX quote, version 3, with its PCK chain inside and no padding behind it.
    #[codec(index = 1)]
    SgxDcap(List<u8, QUOTE_LIMIT>),
}

impl Evidence {
    /// Whose hardware it says it is from.
    pub const fn vendor(&self) -> Vendor {
        match self {
            Self::TdxDcap(_) => Vendor::IntelTdx,
            Self::SgxDcap(_) => Vendor::IntelSgx,
        }
    }

    fn quote(&self) -> &[u8] {
        match self {
            Self::TdxDcap(quote) | Self::SgxDcap(quote) => quote,
        }
    }
}

/// Whose hardware, and which of its technologies. The index of one never changes, and is that of its [`Evidence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Vendor {
    /// Intel TDX.
    #[codec(index = 0)]
    IntelTdx,
    /// Intel SGX.
    #[codec(index = 1)]
    IntelSgx,
}

/// What one collateral covers: SGX and TDX have documents of their own for one model of processor, and each of Intel's two
/// authorities has a revocation list of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct PlatformModel {
    /// Whose hardware, and which technology.
    pub vendor: Vendor,
    /// Family, model, stepping, platform type and custom SKU.
    pub fmspc: [u8; 6],
    /// SHA-256 of the certificate of the authority that certifies the processors.
    pub authority: [u8; 32],
}

/// What of a processor's PCK certificate is compared with collateral: the model and the security versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimedProcessor {
    /// Family, model, stepping, platform type and custom SKU.
    pub fmspc: [u8; 6],
    /// Which provisioning certification enclave certified it.
    pub pce_id: [u8; 2],
    /// Security versions of its sixteen components.
    pub cpu_svn: [u8; 16],
    /// Security version of its provisioning certification enclave.
    pub pce_svn: u16,
}

/// DEBUG of a verified machine. It has one value, since a debuggable machine is refused: what holds a [`VerifiedReport`] cannot
/// have one of a machine whose memory the host reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugFlag {
    /// Off.
    Off,
}

/// What verified evidence says. [`verify_evidence`] is the only constructor.
///
/// A debuggable machine is never reported: it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedReport {
    pub(crate) vendor: Vendor,
    pub(crate) measurement: [u8; 32],
    pub(crate) report_data: [u8; 64],
    pub(crate) tcb_status: TcbStatus,
    pub(crate) advisories: Vec<Advisory>,
    pub(crate) hardware_id: [u8; 32],
    pub(crate) assurance: Assurance,
    pub(crate) valid_until: u64,
    pub(crate) certified_from: u64,
    pub(crate) certified_until: u64,
}

impl VerifiedReport {
    /// Whose hardware.
    pub const fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Always off.
    pub const fn debug(&self) -> DebugFlag {
        DebugFlag::Off
    }

    /// Hash of every launch-identity field of its kind of evidence.
    pub const fn measurement(&self) -> [u8; 32] {
        self.measurement
    }

    /// The 64 bytes that the machine asked to have certified.
    pub const fn report_data(&self) -> [u8; 64] {
        self.report_data
    }

    /// How the vendor judges the platform's security versions: one that the policy accepts.
    pub const fn tcb_status(&self) -> TcbStatus {
        self.tcb_status
    }

    /// Advisories that apply to the platform.
    pub fn advisories(&self) -> &[Advisory] {
        &self.advisories
    }

    /// Hash of the processor's vendor-given identity. The same processor always gives the same; hash it again with the
    /// genesis hash before it is published, or one machine is linkable over networks.
    pub const fn hardware_id(&self) -> [u8; 32] {
        self.hardware_id
    }

    /// Whether hardware stands behind this.
    pub const fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// First Unix second at which the certificates or collateral behind this are not valid any more.
    pub const fn valid_until(&self) -> u64 {
        self.valid_until
    }

    /// The Unix second at which the processor's own certificate ends: no grace for collateral goes beyond it.
    pub const fn certified_until(&self) -> u64 {
        self.certified_until
    }
}

/// Why evidence was refused. Unless it says otherwise, the fault is the evidence's. Encodable, as all of its kind are: a runtime gives it
/// to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Refusal {
    /// Not decodable.
    #[error("quote: {0}")]
    Decode(#[from] DecodeError),
    /// The quote is of another kind than the evidence says.
    #[error("quote is of another kind than the evidence says it is")]
    Kind,
    /// The collateral is for another technology; the caller chose the wrong one.
    #[error("collateral is for another technology")]
    CollateralKind,
    /// The collateral ends in the development root, and the caller has no development genesis.
    #[error("collateral ends in the insecure development root, which this network does not trust")]
    DevelopmentRoot,
    /// The collateral ends in another root than the policy's.
    #[error("collateral ends in another root than the policy's")]
    OtherRoot,
    /// Collateral is not valid yet.
    #[error("collateral is not valid yet")]
    CollateralNotYetValid,
    /// Collateral has expired; the chain needs newer.
    #[error("collateral has expired: fetch and submit newer")]
    CollateralExpired,
    /// Collateral's evaluation number is under the policy's floor; the chain needs newer.
    #[error("collateral's evaluation number is under the policy's floor: fetch and submit newer")]
    EvaluationNumber,
    /// The quoting enclave's vendor is not Intel.
    #[error("quoting enclave's vendor is not intel")]
    QeVendor,
    /// Reserved bytes of the header are not zero.
    #[error("reserved bytes of the header are not zero")]
    HeaderReserved,
    /// The PCK chain is not readable.
    #[error("pck chain: {0}")]
    PckChain(#[source] PemFault),
    /// The PCK chain is not processor, authority, root.
    #[error("pck chain is not processor, authority and root")]
    PckChainLength,
    /// The PCK chain ends in another root.
    #[error("pck chain ends in another root")]
    PckRoot,
    /// The PCK chain's authority is not the collateral's.
    #[error("pck chain's authority is not the collateral's (platform and processor have one each)")]
    PckAuthority,
    /// The PCK certificate is bad.
    #[error("pck certificate: {0}")]
    PckCertificate(#[source] CertificateFault),
    /// The PCK certificate is revoked.
    #[error("pck certificate is revoked")]
    PckRevoked,
    /// The PCK certificate's SGX extension is bad.
    #[error("pck certificate: {0}")]
    PckExtension(#[source] PckFault),
    /// The PCK key did not sign the quoting enclave's report.
    #[error("quoting enclave's report is not signed by the pck key")]
    QeReportSignature,
    /// Reserved bytes of the quoting enclave's report are not zero.
    #[error("reserved bytes of the quoting enclave's report are not zero")]
    QeReportReserved,
    /// The authentication data does not have 32 bytes.
    #[error("quoting enclave's authentication data does not have 32 bytes")]
    QeAuthenticationData,
    /// The quoting enclave's report does not bind the attestation key.
    #[error("quoting enclave's report does not bind the attestation key")]
    QeReportData,
    /// The quoting enclave is not signed by Intel.
    #[error("quoting enclave has another signer")]
    QeSigner,
    /// The enclave is another product of its signer.
    #[error("enclave is not the quoting enclave of its technology")]
    QeProduct,
    /// The quoting enclave is debuggable.
    #[error("quoting enclave is debuggable")]
    QeDebug,
    /// The quoting enclave's MISCSELECT is not the identity's.
    #[error("quoting enclave's miscselect is not as it should be")]
    QeMiscSelect,
    /// The quoting enclave's attributes are not the identity's.
    #[error("quoting enclave's attributes are not as they should be")]
    QeAttributes,
    /// The quoting enclave's security version is below every level.
    #[error("quoting enclave's security version is below every level")]
    QeSecurityVersion,
    /// The attestation key did not sign the quote.
    #[error("quote is not signed by the attestation key")]
    QuoteSignature,
    /// Debuggable.
    #[error("machine is debuggable")]
    TdDebug,
    /// Profiled by the host.
    #[error("machine can be profiled by its host")]
    TdProfiling,
    /// Bound to a service TD.
    #[error("machine is bound to a service td")]
    TdServiceTd,
    /// The report is of a partition inside the machine.
    #[error("report is of a partition inside the machine")]
    TdPartition,
    /// Devices share the machine's memory.
    #[error("machine has trusted devices, which are not reviewed")]
    TdDevices,
    /// The machine began on another platform.
    #[error("machine began on another platform")]
    TdInitialPlatform,
    /// Migratable.
    #[error("machine can be migrated")]
    TdMigratable,
    /// An attribute that is reserved or not reviewed.
    #[error("machine has an attribute that is not allowed")]
    TdAttributes,
    /// SEPT_VE_DISABLE is off.
    #[error("machine lets its host inject exceptions: sept_ve_disable is off")]
    TdSeptVe,
    /// XFAM lacks a fixed bit or has an unknown one.
    #[error("machine's xfam is not allowed")]
    Xfam,
    /// Debuggable.
    #[error("enclave is debuggable")]
    EnclaveDebug,
    /// Reserved bytes of the enclave's report are not zero.
    #[error("reserved bytes of the enclave's report are not zero")]
    EnclaveReserved,
    /// An attribute is missing, reserved or not reviewed.
    #[error("enclave's attributes are not allowed")]
    EnclaveAttributes,
    /// XFRM lacks a required bit or has one that is not reviewed.
    #[error("enclave's xfrm is not allowed")]
    EnclaveXfrm,
    /// MISCSELECT has a bit that is not reviewed.
    #[error("enclave's miscselect is not allowed")]
    EnclaveMiscSelect,
    /// Fields of Key Separation and Sharing are set without that attribute.
    #[error("enclave has identities of key separation and sharing without that attribute")]
    EnclaveKss,
    /// Collateral is for another platform model; the caller chose the wrong one, or the chain lacks this model's.
    #[error("collateral is for another platform model")]
    PlatformModel,
    /// Collateral is for another provisioning certification enclave.
    #[error("collateral is for another pce")]
    PceId,
    /// The platform's security versions are below every level.
    #[error("platform's security versions are below every level")]
    TcbLevel,
    /// The TDX module's major version is unknown.
    #[error("tdx module's version is not in the collateral")]
    ModuleVersion,
    /// The TDX module's security version is below every level.
    #[error("tdx module's security version is below every level")]
    ModuleLevel,
    /// The TDX module has another signer.
    #[error("tdx module has another signer")]
    ModuleSigner,
    /// The TDX module's attributes are not as they should be.
    #[error("tdx module's attributes are not as they should be")]
    ModuleAttributes,
    /// The platform is revoked.
    #[error("platform is revoked")]
    TcbRevoked,
    /// The policy does not accept the platform's status.
    #[error("platform's status {} is not accepted by the policy", .0.name())]
    TcbStatus(TcbStatus),
}

/// Judges `evidence` by collateral and policy at `now` (Unix seconds). The only constructor of [`VerifiedReport`].
pub fn verify_evidence(
    evidence: &Evidence,
    collateral: &VerifiedCollateral,
    policy: &Policy,
    now: u64,
) -> Result<VerifiedReport, Refusal> {
    dcap::verify(evidence.quote(), evidence.vendor(), collateral, policy, now)
}

/// What evidence claims to come from: which collateral to verify it with. Proves nothing.
pub fn claimed_model(evidence: &Evidence) -> Result<PlatformModel, Refusal> {
    Ok(PlatformModel {
        vendor: evidence.vendor(),
        fmspc: claimed_fmspc(evidence)?,
        authority: dcap::claimed_authority(evidence.quote())?,
    })
}

/// The platform model that evidence claims to come from. Proves nothing.
pub fn claimed_fmspc(evidence: &Evidence) -> Result<[u8; 6], Refusal> {
    claimed_processor(evidence).map(|processor| processor.fmspc)
}

/// What evidence's own PCK certificate says about its processor. Proves nothing.
pub fn claimed_processor(evidence: &Evidence) -> Result<ClaimedProcessor, Refusal> {
    let extension = dcap::claimed_extension(evidence.quote())?;
    Ok(ClaimedProcessor {
        fmspc: extension.fmspc,
        pce_id: extension.pce_id,
        cpu_svn: extension.cpu_svn,
        pce_svn: extension.pce_svn,
    })
}

/// The measurement that evidence claims. Proves nothing.
pub fn claimed_measurement(evidence: &Evidence) -> Result<[u8; 32], DecodeError> {
    Ok(dcap::measurement_of(&decode_quote(evidence.quote())?.report))
}
