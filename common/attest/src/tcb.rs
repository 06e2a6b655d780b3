//! The trusted computing base of an Intel platform: levels, statuses, and how they combine.
//!
//! Source: Intel PCS API v4 ("TCB Info v3", "Enclave Identity v2") and Intel's quote verification library, whose order of
//! levels and convergence of statuses is followed exactly; where this code is stricter the function says so.

use alloc::string::String;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

use crate::{evidence::Vendor, list::List};

/// How Intel judges a platform's security versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
#[repr(u8)]
pub enum TcbStatus {
    /// Nothing known is missing.
    UpToDate = 0,
    /// Software inside must mitigate something.
    SwHardeningNeeded = 1,
    /// The platform's configuration leaves something open.
    ConfigurationNeeded = 2,
    /// Both of the above.
    ConfigurationAndSwHardeningNeeded = 3,
    /// Security updates are missing.
    OutOfDate = 4,
    /// Updates are missing and configuration leaves something open.
    OutOfDateConfigurationNeeded = 5,
    /// The platform's keys are compromised. Never accepted, whatever the policy.
    Revoked = 6,
}

impl TcbStatus {
    /// All of them, the best first.
    pub const ALL: [Self; 7] = [
        Self::UpToDate,
        Self::SwHardeningNeeded,
        Self::ConfigurationNeeded,
        Self::ConfigurationAndSwHardeningNeeded,
        Self::OutOfDate,
        Self::OutOfDateConfigurationNeeded,
        Self::Revoked,
    ];

    /// The status by the name Intel's documents give it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The name Intel's documents give it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::Revoked => "Revoked",
        }
    }

    /// This platform status, worsened by the status of its quoting enclave or TDX module: Intel's
    /// `convergeTcbStatuses`, in which only an outdated or revoked component counts.
    pub(crate) const fn converge(self, component: Self) -> Self {
        match (component, self) {
            (Self::Revoked, _) => Self::Revoked,
            (Self::OutOfDate, Self::UpToDate | Self::SwHardeningNeeded) => Self::OutOfDate,
            (Self::OutOfDate, Self::ConfigurationNeeded | Self::ConfigurationAndSwHardeningNeeded) => {
                Self::OutOfDateConfigurationNeeded
            }
            _ => self,
        }
    }

    /// What is wrong with either: the status of a machine whose launch has one and whose present has the other.
    pub(crate) const fn join(self, other: Self) -> Self {
        let (first, second) = (self.faults(), other.faults());
        match (first.0 || second.0, first.1 || second.1, first.2 || second.2) {
            _ if matches!(self, Self::Revoked) || matches!(other, Self::Revoked) => Self::Revoked,
            (true, true, _) => Self::OutOfDateConfigurationNeeded,
            (true, false, _) => Self::OutOfDate,
            (false, true, true) => Self::ConfigurationAndSwHardeningNeeded,
            (false, true, false) => Self::ConfigurationNeeded,
            (false, false, true) => Self::SwHardeningNeeded,
            (false, false, false) => Self::UpToDate,
        }
    }

    /// Whether it is outdated, lacks configuration, and lacks hardening of the software inside.
    const fn faults(self) -> (bool, bool, bool) {
        match self {
            Self::UpToDate => (false, false, false),
            Self::SwHardeningNeeded => (false, false, true),
            Self::ConfigurationNeeded => (false, true, false),
            Self::ConfigurationAndSwHardeningNeeded => (false, true, true),
            Self::OutOfDate => (true, false, false),
            Self::OutOfDateConfigurationNeeded => (true, true, false),
            Self::Revoked => (true, true, true),
        }
    }

    /// Whether Intel's library knows this status in a TDX module identity.
    pub(crate) const fn valid_for_module(self) -> bool {
        matches!(self, Self::UpToDate | Self::OutOfDate | Self::Revoked)
    }

    /// Whether Intel's library knows this status in a QE identity.
    pub(crate) const fn valid_for_enclave(self) -> bool {
        !matches!(self, Self::SwHardeningNeeded | Self::ConfigurationAndSwHardeningNeeded)
    }
}

/// The id of a security advisory, such as `INTEL-SA-00615`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Advisory(List<u8, MOST_ADVISORY_BYTES>);

/// Bytes of an advisory's id at most.
pub(crate) const MOST_ADVISORY_BYTES: usize = 24;

impl Advisory {
    pub(crate) fn new(id: &str) -> Option<Self> {
        let printable = id.bytes().all(|byte| byte.is_ascii_graphic());
        printable.then(|| List::try_from(id.as_bytes().to_vec()).ok().map(Self)).flatten()
    }

    /// The id as text.
    pub fn id(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

/// Advisories that a level, and a report, holds at most: more than any recorded document has. One with a longer list is still good for
/// every machine that does not stand on that level.
pub const MOST_ADVISORIES: usize = 32;

/// Advisories of one level. A full list may have lost some: whoever judges by advisories has to reckon with any of them. It never
/// says less than it holds.
pub(crate) type Advisories = List<Advisory, MOST_ADVISORIES>;

/// Adds the advisories of `more` that `advisories` does not hold; beyond its limit they are left out, and the list is full, which says
/// so. The verdict on evidence does not depend on advisories; [`crate::confidence()`] does.
pub(crate) fn merge_advisories(advisories: &mut Advisories, more: &Advisories) {
    for advisory in more.iter() {
        if !advisories.contains(advisory) && advisories.push(advisory.clone()).is_err() {
            return;
        }
    }
}

/// A level of the platform: the lowest security versions that have this status.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct PlatformLevel {
    pub(crate) cpu_svn: [u8; 16],
    pub(crate) pce_svn: u16,
    pub(crate) tdx_svn: [u8; 16],
    pub(crate) status: TcbStatus,
    pub(crate) advisories: Advisories,
}

/// A level of a component that has one security version: a TDX module or a quoting enclave.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct ComponentLevel {
    pub(crate) svn: u16,
    pub(crate) status: TcbStatus,
    pub(crate) advisories: Advisories,
}

/// Who may have signed the TDX module, and its attributes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct ModuleSigner {
    pub(crate) mr_signer: [u8; 48],
    pub(crate) attributes: [u8; 8],
    pub(crate) attributes_mask: [u8; 8],
}

/// One major version of the TDX module.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct ModuleIdentity {
    /// Major version: `TEE_TCB_SVN[1]`, the two hex digits of `TDX_01`.
    pub(crate) version: u8,
    pub(crate) signer: ModuleSigner,
    pub(crate) levels: List<ComponentLevel, 16>,
}

/// Intel's signer of TDX modules, and the identities of their versions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct TdxModules {
    pub(crate) module: ModuleSigner,
    pub(crate) modules: List<ModuleIdentity, 8>,
}

/// The technology that TCB info is about. The index of one never changes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) enum Technology {
    #[codec(index = 0)]
    Tdx(TdxModules),
    #[codec(index = 1)]
    Sgx,
}

/// Intel's TCB info of one platform model and technology.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct TcbInfo {
    pub(crate) fmspc: [u8; 6],
    pub(crate) pce_id: [u8; 2],
    pub(crate) evaluation_number: u32,
    pub(crate) issued: u64,
    pub(crate) next_update: u64,
    pub(crate) technology: Technology,
    /// Best level first.
    pub(crate) levels: List<PlatformLevel, 32>,
}

/// Why security versions have no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmatched {
    Platform,
    Technology,
    ModuleVersion,
    ModuleLevel,
    ModuleSigner,
    ModuleAttributes,
}

impl TcbInfo {
    /// Whose hardware, and which technology of it.
    pub(crate) const fn vendor(&self) -> Vendor {
        match self.technology {
            Technology::Tdx(_) => Vendor::IntelTdx,
            Technology::Sgx => Vendor::IntelSgx,
        }
    }

    /// The status of an SGX platform with these security versions, and the advisories that apply.
    pub(crate) fn appraise_sgx(&self, cpu_svn: &[u8; 16], pce_svn: u16) -> Result<(TcbStatus, Advisories), Unmatched> {
        // TCB info for SGX has no TDX components: they are kept as zeros, which everything reaches.
        let level = self.level_of(cpu_svn, pce_svn, &[0; 16], 0)?;
        Ok((level.status, level.advisories.clone()))
    }

    /// The platform level and the module identity that a TDX platform with these security versions stands on.
    pub(crate) fn match_tdx(
        &self,
        cpu_svn: &[u8; 16],
        pce_svn: u16,
        tee_tcb_svn: &[u8; 16],
    ) -> Result<TdxMatch<'_>, Unmatched> {
        let module = self.module_of(tee_tcb_svn)?;
        // A module with an identity of its own is judged by that: its two components are not compared here.
        let skipped = if module.is_some() { 2 } else { 0 };
        let level = self.level_of(cpu_svn, pce_svn, tee_tcb_svn, skipped)?;
        let [module_svn, ..] = *tee_tcb_svn;
        Ok(TdxMatch { level, module, module_svn })
    }

    /// Checks that the collateral has an identity of the TDX module's major version.
    pub(crate) fn check_module_version(&self, tee_tcb_svn: &[u8; 16]) -> Result<(), Unmatched> {
        self.module_of(tee_tcb_svn).map(|_| ())
    }

    /// Checks that the TDX module in the report is one Intel signed.
    pub(crate) fn check_module(
        &self,
        tee_tcb_svn: &[u8; 16],
        mr_signer: &[u8; 48],
        attributes: &[u8; 8],
    ) -> Result<(), Unmatched> {
        let default = &self.tdx_modules()?.module;
        let signer = self.module_of(tee_tcb_svn)?.map_or(default, |identity| &identity.signer);
        if *mr_signer != signer.mr_signer {
            return Err(Unmatched::ModuleSigner);
        }
        let matches =
            attributes.iter().zip(&signer.attributes).zip(&signer.attributes_mask).all(|((actual, expected), mask)| {
                // Bits outside the mask must be zero: the mask of a future module may not blind this check.
                actual & mask == expected & mask && actual & !mask == 0
            });
        if matches {
            Ok(())
        } else {
            Err(Unmatched::ModuleAttributes)
        }
    }

    /// The module identity selected by the major version in `TEE_TCB_SVN[1]`; none for version 0.
    fn module_of(&self, tee_tcb_svn: &[u8; 16]) -> Result<Option<&ModuleIdentity>, Unmatched> {
        let [_, version, ..] = *tee_tcb_svn;
        if version == 0 {
            return Ok(None);
        }
        let modules = &self.tdx_modules()?.modules;
        modules.iter().find(|identity| identity.version == version).map(Some).ok_or(Unmatched::ModuleVersion)
    }

    fn tdx_modules(&self) -> Result<&TdxModules, Unmatched> {
        match &self.technology {
            Technology::Tdx(modules) => Ok(modules),
            Technology::Sgx => Err(Unmatched::Technology),
        }
    }

    fn level_of(
        &self,
        cpu_svn: &[u8; 16],
        pce_svn: u16,
        tdx_svn: &[u8; 16],
        skipped: usize,
    ) -> Result<&PlatformLevel, Unmatched> {
        self.levels
            .iter()
            .find(|level| {
                reaches(cpu_svn, &level.cpu_svn, 0)
                    && pce_svn >= level.pce_svn
                    && reaches(tdx_svn, &level.tdx_svn, skipped)
            })
            .ok_or(Unmatched::Platform)
    }
}

/// What security versions of a TDX platform stand on.
pub(crate) struct TdxMatch<'a> {
    level: &'a PlatformLevel,
    module: Option<&'a ModuleIdentity>,
    /// `TEE_TCB_SVN[0]`.
    module_svn: u8,
}

impl TdxMatch<'_> {
    /// The status of platform and module, and the advisories that apply; an error where the module is below every level of its own.
    pub(crate) fn status(&self) -> Result<(TcbStatus, Advisories), Unmatched> {
        let (mut status, mut advisories) = (self.level.status, self.level.advisories.clone());
        if let Some(module) = self.module {
            let svn = u16::from(self.module_svn);
            let level = module.levels.iter().find(|level| svn >= level.svn).ok_or(Unmatched::ModuleLevel)?;
            status = status.converge(level.status);
            merge_advisories(&mut advisories, &level.advisories);
        }
        Ok((status, advisories))
    }
}

/// Whether each security version from index `skipped` on is at least the required one.
fn reaches(have: &[u8; 16], need: &[u8; 16], skipped: usize) -> bool {
    have.iter().zip(need).skip(skipped).all(|(have, need)| have >= need)
}

/// Intel's identity of a quoting enclave.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct QeIdentity {
    pub(crate) evaluation_number: u32,
    pub(crate) issued: u64,
    pub(crate) next_update: u64,
    pub(crate) misc_select: [u8; 4],
    pub(crate) misc_select_mask: [u8; 4],
    pub(crate) attributes: [u8; 16],
    pub(crate) attributes_mask: [u8; 16],
    pub(crate) mr_signer: [u8; 32],
    pub(crate) isv_prod_id: u16,
    /// In the document's order: best level first.
    pub(crate) levels: List<ComponentLevel, 16>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcbStatus::*;

    #[test]
    fn converges_as_intels_library_does() {
        for (platform, component, expected) in [
            (UpToDate, UpToDate, UpToDate),
            (UpToDate, OutOfDate, OutOfDate),
            (SwHardeningNeeded, OutOfDate, OutOfDate),
            (ConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded),
            (ConfigurationAndSwHardeningNeeded, OutOfDate, OutOfDateConfigurationNeeded),
            (OutOfDateConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded),
            (UpToDate, ConfigurationNeeded, UpToDate),
            (UpToDate, Revoked, Revoked),
            (Revoked, UpToDate, Revoked),
        ] {
            assert_eq!(platform.converge(component), expected, "{platform:?} {component:?}");
        }
    }

    #[test]
    fn launch_and_present_join_to_the_worse() {
        for status in TcbStatus::ALL {
            assert_eq!(status.join(status), status);
            assert_eq!(status.join(UpToDate), status);
            assert_eq!(status.join(Revoked), Revoked);
            for other in TcbStatus::ALL {
                assert_eq!(status.join(other), other.join(status));
            }
        }
        assert_eq!(OutOfDate.join(ConfigurationNeeded), OutOfDateConfigurationNeeded);
        assert_eq!(SwHardeningNeeded.join(ConfigurationNeeded), ConfigurationAndSwHardeningNeeded);
        assert_eq!(SwHardeningNeeded.join(OutOfDate), OutOfDate);
    }

    #[test]
    fn names_round_trip_and_unknown_ones_are_refused() {
        for (index, status) in TcbStatus::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, index, "each once, in the order of their encoding");
            assert_eq!(TcbStatus::from_name(status.name()), Some(status));
        }
        assert_eq!(TcbStatus::from_name("TDRelaunchAdvised"), None);
    }
}
