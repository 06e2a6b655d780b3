//! The mock runtimes on which pallets are tested: what is the same in all of them. Never shipped.
//!
//! Macros, because a pallet's tests need a runtime of their own crate. What they name (`frame_support`, `pallet_timestamp`, a pallet of
//! ours) stands in the manifest of whoever calls them. Each test module declares one runtime, [`runtime!`], and then configures what
//! is its own.
#![forbid(unsafe_code)]

/// Declares the runtime `Test`: `System` (0) and `Timestamp` (1), configured, and these pallets, which the caller configures. With an
/// `existential_deposit` also `Balances` (2), configured. Blocks are numbered in 32 bits, balances in 128.
///
/// ```text
/// phala_pallet_mock::runtime! {
///     existential_deposit = 1;
///     3 Inbox = pallet_inbox,
/// }
/// ```
#[macro_export]
macro_rules! runtime {
    (existential_deposit = $deposit:tt; $($index:tt $name:ident = $pallet:ident),+ $(,)?) => {
        use frame_support::derive_impl;

        $crate::runtime! {
            @of [pallet_balances::AccountData<u128>] 2 Balances = pallet_balances, $($index $name = $pallet),+
        }

        #[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
        impl pallet_balances::Config for Test {
            type Balance = u128;
            type ExistentialDeposit = frame_support::traits::ConstU128<$deposit>;
            type AccountStore = System;
        }
    };
    (@of [$($account_data:tt)+] $($index:tt $name:ident = $pallet:ident),+) => {
        #[frame_support::runtime]
        mod runtime {
            #[runtime::runtime]
            #[runtime::derive(
                RuntimeCall,
                RuntimeEvent,
                RuntimeError,
                RuntimeOrigin,
                RuntimeTask,
                RuntimeHoldReason,
                RuntimeFreezeReason
            )]
            pub struct Test;

            #[runtime::pallet_index(0)]
            pub type System = frame_system;
            #[runtime::pallet_index(1)]
            pub type Timestamp = pallet_timestamp;
            $(
                #[runtime::pallet_index($index)]
                pub type $name = $pallet;
            )+
        }

        #[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
        impl frame_system::Config for Test {
            type Block = frame_system::mocking::MockBlockU32<Test>;
            type AccountId = sp_runtime::AccountId32;
            type Lookup = sp_runtime::traits::IdentityLookup<sp_runtime::AccountId32>;
            type AccountData = $($account_data)+;
        }

        #[derive_impl(pallet_timestamp::config_preludes::TestDefaultConfig)]
        impl pallet_timestamp::Config for Test {}
    };
    ($($index:tt $name:ident = $pallet:ident),+ $(,)?) => {
        use frame_support::derive_impl;

        $crate::runtime! { @of [()] $($index $name = $pallet),+ }
    };
}

/// Configures `Attestation` as a development network has it, with a lone root; `Contracts` is told who is shut out.
#[macro_export]
macro_rules! attestation {
    () => {
        impl phala_pallet_attestation::Config for Test {
            type InsecureDevelopment = frame_support::traits::ConstBool<true>;
            type LoneRoot = frame_support::traits::ConstBool<true>;
            type GovernanceOrigin = frame_system::EnsureRoot<sp_runtime::AccountId32>;
            type BrakeOrigin = frame_system::EnsureRoot<sp_runtime::AccountId32>;
            type OnBarred = Contracts;
            type WeightInfo = ();
        }
    };
}

/// Configures `Inbox`, which is paid in `Balances` to `FeeReceiver`, declared here.
///
/// ```text
/// phala_pallet_mock::inbox!(phala_pallet_inbox, Contracts);
/// ```
#[macro_export]
macro_rules! inbox {
    ($pallet:ident, $clusters:ident) => {
        frame_support::parameter_types! {
            pub FeeReceiver: sp_runtime::AccountId32 = sp_runtime::AccountId32::new([9; 32]);
        }

        impl $pallet::Config for Test {
            type Currency = Balances;
            type Clusters = $clusters;
            type FeeReceiver = FeeReceiver;
            type OpeningPrice = frame_support::traits::ConstU128<1_000>;
            type SessionOpeningPrice = frame_support::traits::ConstU128<100>;
            type WeightInfo = ();
        }
    };
}
