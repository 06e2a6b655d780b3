//! Contract code and instances.
//!
//! Guarantees: code is public, stored once under its hash against a deposit, and at most 512 KiB; a contract's id binds the chain,
//! cluster, deployer, code and salt. The bytes are whatever the uploader chose: whether an engine accepts them is decided where
//! they run, and a refusal is the constructor's error reply.

use crate::pallet::*;
use alloc::vec::Vec;
use frame_support::{
    ensure,
    pallet_prelude::DispatchResult,
    traits::{fungible::MutateHold, Get},
};
use phala_pallet_inbox as inbox;
use phala_protocol::{
    chain_state::ContractRecord,
    gas::GasClass,
    ids::{Balance, ClusterId, CodeHash, ContractId},
    inbox::ChainMessage,
};
use sp_runtime::SaturatedConversion;

/// The first bytes of every WebAssembly module, version 1.
const WASM_MAGIC: [u8; 8] = *b"\0asm\x01\0\0\0";

impl<T: Config> Pallet<T> {
    pub(crate) fn do_upload_code(who: T::AccountId, code: Vec<u8>) -> DispatchResult {
        ensure!(code.starts_with(&WASM_MAGIC), Error::<T>::NotWasm);
        let hash = CodeHash::of(&code);
        ensure!(!Codes::<T>::contains_key(hash), Error::<T>::CodeExists);
        let bytes = code.len() as u32;
        let deposit = T::DepositPerByte::get().saturating_mul(bytes.into());
        T::HoldCurrency::hold(&HoldReason::CodeDeposit.into(), &who, deposit)?;
        Codes::<T>::insert(hash, code);
        CodeOwners::<T>::insert(hash, CodeOwner { owner: who.clone(), deposit, bytes });
        Self::deposit_event(Event::CodeStored { code: hash, bytes, owner: who });
        Ok(())
    }

    pub(crate) fn do_instantiate(
        who: T::AccountId,
        cluster: ClusterId,
        code: CodeHash,
        salt: [u8; 32],
        gas_class: GasClass,
        init: Vec<u8>,
        max_fee: Balance,
    ) -> DispatchResult {
        ensure!(Clusters::<T>::contains_key(cluster), Error::<T>::NoSuchCluster);
        ensure!(CodeOwners::<T>::contains_key(code), Error::<T>::NoSuchCode);
        let deployer = Self::account(&who);
        let contract = ContractId::derive(&Self::genesis(), cluster, &deployer, &code, &salt);
        // The id binds cluster, deployer and code: what is listed already is this very contract, whose constructor may have been
        // refused inside the cluster, where the chain cannot see it. The cluster runs at most one with success.
        if !Instances::<T>::contains_key(contract) {
            let created_at = frame_system::Pallet::<T>::block_number().saturated_into();
            Instances::<T>::insert(contract, ContractRecord { cluster, code, deployer, created_at });
        }
        let message = ChainMessage::Instantiate { contract, deployer, code, init: init.clone() };
        let sequence = inbox::Pallet::<T>::push_chain_message(&who, cluster, gas_class, &init, &message, max_fee)?;
        Self::deposit_event(Event::Instantiated { contract, cluster, code, sequence });
        Ok(())
    }
}
