//! What the pallet keeps beside the records that light clients read.
//!
//! Guarantees: [`Windows::in_range`] is false for every set of windows that would shut everybody out, or nobody ever. Governance
//! chooses windows.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{traits::ConstU32, BoundedVec};
use phala_attest::{Advisory, Subject, MOST_ADVISORIES};
use phala_protocol::{
    ids::{AccountId, BlockNumber},
    limits::MEASUREMENT_DELAY_BLOCKS,
};
use scale_info::TypeInfo;

/// Members that the committee has at most.
pub const MOST_MEMBERS: u32 = 7;

/// The members of a committee.
pub type Members = BoundedVec<AccountId, ConstU32<MOST_MEMBERS>>;

/// The advisories that apply to a platform; a full list may have lost some.
pub type Applying = BoundedVec<Advisory, ConstU32<{ MOST_ADVISORIES as u32 }>>;

/// Platform model: the first six bytes of what a vendor calls FMSPC.
pub type Fmspc = [u8; 6];

pub use phala_attest::{Appraisal, PlatformModel as Model};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// The governed times: seconds of chain time, where they do not say blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Windows {
    /// How long a registration holds: a TEE attests again within it. An hour to seven days.
    pub attestation_period: u64,
    /// How long after its registration lapsed a TEE keeps what it was assigned. At most seven days.
    pub lapse_grace: u64,
    /// How long after a registration lapsed its machine takes no identity of another operator. At most 90 days.
    pub cool_down: u64,
    /// How long before collateral ends the alarm is raised. At most 30 days.
    pub collateral_warning: u64,
    /// How long after collateral ended it renews a registration that holds, and admits nobody. At most seven days. Whoever has no
    /// newer one, because the vendor's service is down, lives on; what the vendor has revoked since then lives on too.
    pub collateral_grace: u64,
    /// Blocks between the listing of a measurement and its first block, beyond [`MEASUREMENT_DELAY_BLOCKS`], which gatekeepers
    /// require whatever stands here; 403,200 (four weeks of 6 s blocks) at most.
    pub further_delay: BlockNumber,
    /// Blocks for which the brake holds, and for which it then rests; 1 to 100,800 (a week of 6 s blocks).
    pub suspension: BlockNumber,
}

impl Windows {
    /// Until governance decides otherwise. A TEE attests once a day, and has a day to come back; a machine is free for another
    /// operator a week after it lapsed; the alarm has a week; collateral has no grace; the brake holds for three days of 6 s blocks.
    pub const DEFAULT: Self = Self {
        attestation_period: DAY,
        lapse_grace: DAY,
        cool_down: 7 * DAY,
        collateral_warning: 7 * DAY,
        collateral_grace: 0,
        further_delay: 0,
        suspension: 43_200,
    };

    /// Whether each is in its range.
    pub const fn in_range(&self) -> bool {
        HOUR <= self.attestation_period
            && self.attestation_period <= 7 * DAY
            && self.lapse_grace <= 7 * DAY
            && self.cool_down <= 90 * DAY
            && self.collateral_warning <= 30 * DAY
            && self.collateral_grace <= 7 * DAY
            && self.further_delay <= 403_200
            && 1 <= self.suspension
            && self.suspension <= 100_800
    }

    /// Blocks between the listing of a measurement and its first block.
    pub const fn measurement_delay(&self) -> BlockNumber {
        MEASUREMENT_DELAY_BLOCKS.saturating_add(self.further_delay)
    }
}

/// The accounts whose majority may suspend.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct BrakeCommittee {
    /// Who.
    pub members: Members,
    /// The last block in which they may.
    pub until: BlockNumber,
}

/// A member's vote to suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Ballot {
    /// Whose.
    pub member: AccountId,
    /// What it would suspend.
    pub subject: Subject,
    /// The last block in which it counts.
    pub until: BlockNumber,
}

/// When kept collateral ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Expiry {
    /// First Unix second at which it does not hold any more.
    pub valid_until: u64,
    /// The alarm: it ends soon, or has ended, and nobody has brought newer.
    pub alarm: bool,
}

/// Why a TEE has no claim to what it was assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It is not registered in the role, its measurement is not, or no longer, listed for the role, or its registration lapsed longer
    /// than the grace ago.
    Lapsed,
    /// Its root, vendor, model, generation or measurement is revoked or suspended.
    Barred,
}
