//! The runtime's calls, each as a name and the SCALE of its arguments.
//!
//! Names become indices by the metadata of the connected runtime, so that a renumbered pallet needs no new client. Arguments are
//! those of the pallets' `#[pallet::call]` functions, in order.

use codec::{Compact, Encode};
use phala_attest::Subject;
use phala_protocol::{
    attestation::{Listing, Registration},
    beacon::{BeaconPartial, BeaconRecord, Period},
    ceremony::{Attachment, SignedStatement},
    chain_state::RootRecord,
    egress::ProvedEgress,
    gas::GasClass,
    heartbeat::SignedHeartbeat,
    identities::{signing::EgressSignature, IdentityRecord, SignedIdentityStatement},
    ids::{Balance, BlockNumber},
    result::{SignedRekey, SignedResult},
    AccountId, ClusterId, CodeHash, Epoch, Hash, WorkerId,
};
use subxt::ext::{
    scale_encode::{EncodeAsFields, Error, FieldIter},
    scale_type_resolver::TypeResolver,
};

/// A call of the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainCall {
    pallet: &'static str,
    name: &'static str,
    arguments: Arguments,
}

/// Arguments that are encoded already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments(Vec<u8>);

impl EncodeAsFields for Arguments {
    fn encode_as_fields_to<R: TypeResolver>(
        &self,
        _fields: &mut dyn FieldIter<'_, R::TypeId>,
        _types: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.extend_from_slice(&self.0);
        Ok(())
    }
}

impl subxt::transactions::Payload for ChainCall {
    type CallData = Arguments;

    fn pallet_name(&self) -> &str {
        self.pallet
    }

    fn call_name(&self) -> &str {
        self.name
    }

    fn call_data(&self) -> &Arguments {
        &self.arguments
    }
}

impl ChainCall {
    /// Any call, with the SCALE of its arguments one after another.
    pub const fn raw(pallet: &'static str, name: &'static str, arguments: Vec<u8>) -> Self {
        Self { pallet, name, arguments: Arguments(arguments) }
    }

    fn new(pallet: &'static str, name: &'static str, arguments: impl Encode) -> Self {
        Self::raw(pallet, name, arguments.encode())
    }

    /// `Pallet.call`, for logs.
    pub fn label(&self) -> String {
        format!("{}.{}", self.pallet, self.name)
    }

    /// Pushes sealed commands, for at most `max_fee` (in 10^-12 PHA) together.
    pub fn push(cluster: ClusterId, gas_class: GasClass, envelopes: Vec<Vec<u8>>, max_fee: Balance) -> Self {
        Self::new("Inbox", "push", (cluster, gas_class, envelopes, Compact(max_fee)))
    }

    /// Stores a contract's code.
    pub fn upload_code(code: &[u8]) -> Self {
        Self::new("Contracts", "upload_code", code)
    }

    /// Creates a contract; `init` is the sealed call of its constructor, for at most `max_fee` (in 10^-12 PHA).
    pub fn instantiate(
        cluster: ClusterId,
        code: CodeHash,
        salt: [u8; 32],
        gas_class: GasClass,
        init: &[u8],
        max_fee: Balance,
    ) -> Self {
        Self::new("Contracts", "instantiate", (cluster, code, salt, gas_class, init, Compact(max_fee)))
    }

    /// Creates a cluster; governance only.
    pub fn create_cluster(replicas: &[WorkerId]) -> Self {
        Self::new("Contracts", "create_cluster", replicas)
    }

    /// Sets the least length of a cluster's epochs, in blocks; governance only.
    pub fn set_epoch_length(cluster: ClusterId, blocks: u32) -> Self {
        Self::new("Contracts", "set_epoch_length", (cluster, blocks))
    }

    /// Assigns a cluster's replicas; governance only.
    pub fn assign_replicas(cluster: ClusterId, replicas: &[WorkerId]) -> Self {
        Self::new("Contracts", "assign_replicas", (cluster, replicas))
    }

    /// Announces the envelope key of a cluster's next epoch, of the root of `era`.
    pub fn announce_key(
        cluster: ClusterId,
        era: u32,
        epoch: Epoch,
        key: &[u8],
        worker: WorkerId,
        signature: [u8; 64],
    ) -> Self {
        Self::new("Contracts", "announce_key", (cluster, era, epoch, key, worker, signature))
    }

    /// Carries results, oldest boundary first; at most [`phala_protocol::limits::MAX_RESULTS_PER_SUBMIT`].
    pub fn submit_results(results: &[SignedResult]) -> Self {
        Self::new("Contracts", "submit_results", results)
    }

    /// Brings what contracts send out of their clusters, each cluster's in order; at most
    /// [`phala_protocol::limits::MAX_EGRESS_PER_TAKE`]. Costs nothing when any of it is taken.
    pub fn take_egress(items: &[ProvedEgress]) -> Self {
        Self::new("Egress", "take", items)
    }

    /// Carries a binding of two epochs' commitments.
    pub fn submit_rekey(rekey: &SignedRekey) -> Self {
        Self::new("Contracts", "submit_rekey", rekey)
    }

    /// Renews collateral; the argument is the SCALE of `phala_attest::Collateral`.
    pub fn submit_collateral(collateral: Vec<u8>) -> Self {
        Self::raw("Attestation", "submit_collateral", collateral)
    }

    /// Binds a gatekeeper, whose evidence names the sender, to the sender's validator.
    pub fn register_seat(gatekeeper: WorkerId) -> Self {
        Self::new("Gatekeepers", "register_seat", gatekeeper)
    }

    /// Starts the ceremony that makes the next era's root with these gatekeepers; governance only.
    pub fn start_ceremony(gatekeepers: &[WorkerId]) -> Self {
        Self::new("Gatekeepers", "start", gatekeepers)
    }

    /// Registers a TEE; `evidence` is the SCALE of `phala_attest::Evidence`.
    pub fn register(registration: &Registration, evidence: &[u8]) -> Self {
        let mut arguments = registration.encode();
        arguments.extend_from_slice(evidence);
        Self::raw("Attestation", "register", arguments)
    }

    /// Allows a measurement to join; governance only.
    pub fn allow_measurement(measurement: Hash, listing: &Listing) -> Self {
        Self::new("Attestation", "allow_measurement", (measurement, listing))
    }

    /// Records an era's root, signed by its seats in their order; governance only.
    pub fn record_root(root: &RootRecord, signatures: &[[u8; 64]]) -> Self {
        Self::new("Attestation", "record_root", (root, signatures))
    }

    /// Suspends a subject by signatures of seats of the recorded root: ascending, counted from 1, taken until block `expires`.
    pub fn suspend_by_gatekeepers(subject: &Subject, expires: BlockNumber, signatures: &[(u16, [u8; 64])]) -> Self {
        Self::new("Attestation", "suspend_by_gatekeepers", (subject, expires, signatures))
    }

    /// Votes, as a validator whose gatekeeper has a seat of the root that answers, for a committee of the brake; without members, for none.
    pub fn vote_for_committee(members: &[AccountId]) -> Self {
        Self::new("Gatekeepers", "vote_for_committee", members)
    }

    /// Carries a statement of a seat in the key ceremony.
    pub fn state(statement: &SignedStatement) -> Self {
        Self::new("Gatekeepers", "state", statement)
    }

    /// Carries a statement with what stands beside it.
    pub fn state_with(statement: &SignedStatement, attachment: &Attachment) -> Self {
        Self::new("Gatekeepers", "state_with", (statement, attachment))
    }

    /// Starts the ceremony in which the seats of the root that answers make the network's identities, or receive them; governance only.
    pub fn start_identities() -> Self {
        Self::new("Gatekeepers", "start_identities", ())
    }

    /// Cancels the ceremony of identities under way; governance only.
    pub fn cancel_identities() -> Self {
        Self::new("Gatekeepers", "cancel_identities", ())
    }

    /// Carries what a dealer or holder says in a ceremony of identities, with what stands beside it.
    pub fn state_identities(statement: &SignedIdentityStatement, attachment: Option<&Attachment>) -> Self {
        Self::new("Gatekeepers", "state_identities", (statement, attachment))
    }

    /// Shows the record of identities that the holders agreed on.
    pub fn show_identities(record: &IdentityRecord) -> Self {
        Self::new("Gatekeepers", "show_identities", record)
    }

    /// Leaves a contract's signature under the message that its cluster sent as number `sequence`, and that has left.
    pub fn attach_signature(cluster: ClusterId, sequence: u64, signature: &EgressSignature) -> Self {
        let arguments = (cluster, sequence, signature.scheme, signature.signature);
        Self::new("Egress", "attach_signature", arguments)
    }

    /// Shows the beacon key that the chain awaits.
    pub fn publish_beacon_key(record: &BeaconRecord) -> Self {
        Self::new("Beacon", "publish_key", record)
    }

    /// Carries a holder's partial for the beacon's period that is due.
    pub fn submit_beacon_partial(era: u32, period: Period, partial: &BeaconPartial) -> Self {
        Self::new("Beacon", "submit_partial", (era, period, partial))
    }

    /// Carries a worker's answer to the round of heartbeats under way.
    pub fn submit_heartbeat(heartbeat: &SignedHeartbeat) -> Self {
        Self::new("Heartbeats", "submit_heartbeat", heartbeat)
    }

    /// Creates a cluster of `number` replicas that are drawn from the beacon, looking at `registrations` of TEEs and at `clusters` at
    /// most; governance only.
    pub fn draw_cluster(number: u32, registrations: u32, clusters: u32) -> Self {
        Self::new("Contracts", "draw_cluster", (number, registrations, clusters))
    }

    /// Sends funds, in 10^-12 PHA; refused if the sender would be left below the existential deposit.
    pub fn transfer(to: &AccountId, amount: Balance) -> Self {
        // 0: `MultiAddress::Id`.
        Self::new("Balances", "transfer_keep_alive", (0u8, to, Compact(amount)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::ceremony::{AnnouncedKey, CeremonyAttempt, Statement};

    #[test]
    fn arguments_are_those_of_the_pallets_one_after_another() {
        let call = ChainCall::push(ClusterId(1), GasClass::Medium, vec![vec![9, 8]], 3);
        assert_eq!(call.arguments.0, [1, 0, 0, 0, 1, 4, 8, 9, 8, 12]);
        let call = ChainCall::transfer(&AccountId([7; 32]), 1);
        assert_eq!(call.arguments.0, [&[0][..], &[7; 32], &[4]].concat());
        let call = ChainCall::upload_code(&[1, 2]);
        assert_eq!((call.label().as_str(), &call.arguments.0[..]), ("Contracts.upload_code", &[8, 1, 2][..]));
        let call = ChainCall::create_cluster(&[WorkerId([3; 32])]);
        assert_eq!(call.arguments.0, [&[4][..], &[3; 32]].concat());
        let call = ChainCall::announce_key(ClusterId(1), 2, 3, &[9], WorkerId([4; 32]), [5; 64]);
        let numbers = [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
        assert_eq!(call.arguments.0, [&numbers[..], &[4, 9], &[4; 32], &[5; 64]].concat());
    }

    #[test]
    fn what_is_of_the_beacon_is_one_after_another() {
        let partial = BeaconPartial { index: 3, point: [4; 32], proof: [5; 64] };
        let call = ChainCall::submit_beacon_partial(1, 2, &partial);
        assert_eq!(call.label(), "Beacon.submit_partial");
        assert_eq!(call.arguments.0, [&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0][..], &[4; 32], &[5; 64]].concat());
        let record = BeaconRecord { era: 1, threshold: 2, holders: Vec::new() };
        let call = ChainCall::publish_beacon_key(&record);
        assert_eq!((call.label().as_str(), &call.arguments.0[..]), ("Beacon.publish_key", &[1, 0, 0, 0, 2, 0, 0][..]));
        let call = ChainCall::draw_cluster(3, 4, 5);
        assert_eq!(call.arguments.0, [3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0]);
    }

    #[test]
    fn a_heartbeat_is_its_parts_one_after_another() {
        use phala_protocol::heartbeat::Heartbeat;
        let (genesis, worker, block_hash) = ([1; 32], WorkerId([2; 32]), [6; 32]);
        let heartbeat = Heartbeat { genesis, worker, era: 3, period: 4, block: 5, block_hash };
        let call = ChainCall::submit_heartbeat(&SignedHeartbeat { heartbeat, signature: [7; 64] });
        assert_eq!(call.label(), "Heartbeats.submit_heartbeat");
        let numbers = [3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0];
        assert_eq!(call.arguments.0, [&[1; 32][..], &[2; 32], &numbers, &[6; 32], &[7; 64]].concat());
    }

    #[test]
    fn what_is_of_identities_is_one_after_another() {
        use phala_protocol::identities::{IdentityPoints, IdentityStatement, Scheme};
        let statement = IdentityStatement::Complain { dealer: 4 };
        let signed = SignedIdentityStatement { era: 1, attempt: 2, index: 3, statement, signature: [5; 64] };
        let said = [&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 1, 4, 0][..], &[5; 64]].concat();
        let call = ChainCall::state_identities(&signed, None);
        assert_eq!(call.label(), "Gatekeepers.state_identities");
        assert_eq!(call.arguments.0, [&said[..], &[0]].concat());
        let call = ChainCall::state_identities(&signed, Some(&Attachment::Package(vec![7, 8])));
        assert_eq!(call.arguments.0, [&said[..], &[1, 2, 8, 7, 8]].concat());
        let keys = IdentityPoints { ed25519: [1; 32], sr25519: [2; 32] };
        let call = ChainCall::show_identities(&IdentityRecord { era: 1, threshold: 2, keys, holders: Vec::new() });
        assert_eq!(call.label(), "Gatekeepers.show_identities");
        assert_eq!(call.arguments.0, [&[1, 0, 0, 0, 2, 0][..], &[1; 32], &[2; 32], &[0]].concat());
        let signature =
            EgressSignature { item: [3; 32], scheme: Scheme::Ristretto255, key: [4; 32], signature: [5; 64] };
        let call = ChainCall::attach_signature(ClusterId(1), 7, &signature);
        assert_eq!(call.label(), "Egress.attach_signature");
        assert_eq!(call.arguments.0, [&[1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1][..], &[5; 64]].concat());
        for (call, label) in [
            (ChainCall::start_identities(), "Gatekeepers.start_identities"),
            (ChainCall::cancel_identities(), "Gatekeepers.cancel_identities"),
        ] {
            assert_eq!((call.label().as_str(), call.arguments.0.len()), (label, 0));
        }
    }

    #[test]
    fn a_suspension_names_its_subject_its_last_block_and_its_seats() {
        let subject = Subject::Vendor(phala_attest::Vendor::IntelSgx);
        let call = ChainCall::suspend_by_gatekeepers(&subject, 5, &[(2, [7; 64])]);
        assert_eq!(call.label(), "Attestation.suspend_by_gatekeepers");
        assert_eq!(call.arguments.0, [&[1, 1, 5, 0, 0, 0, 4, 2, 0][..], &[7; 64]].concat());
        let call = ChainCall::vote_for_committee(&[AccountId([3; 32])]);
        assert_eq!((call.label().as_str(), call.arguments.0.len()), ("Gatekeepers.vote_for_committee", 33));
    }

    #[test]
    fn what_stands_beside_a_statement_follows_it() {
        let statement = Statement::Complain { dealer: 4 };
        let signed = SignedStatement { era: 1, attempt: 2, index: 3, statement, signature: [5; 64] };
        let said = [&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 1, 4, 0][..], &[5; 64]].concat();
        let call = ChainCall::state(&signed);
        assert_eq!((call.label().as_str(), &call.arguments.0), ("Gatekeepers.state", &said));
        let of = CeremonyAttempt::identities(1, 2);
        let announced = AnnouncedKey { of, key: vec![7, 8], signature: [6; 64] };
        let call = ChainCall::state_with(&signed, &Attachment::Key(announced));
        assert_eq!(call.label(), "Gatekeepers.state_with");
        let beside = [&[0, 1, 0, 0, 0, 1, 2, 0, 0, 0, 8, 7, 8][..], &[6; 64]].concat();
        assert_eq!(call.arguments.0, [said, beside].concat());
    }
}
