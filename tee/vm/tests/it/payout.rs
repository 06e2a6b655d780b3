//! The sample that pays out, compiled as a user compiles a contract: what the SDK encodes is what the engine reads.

use crate::{cargo, support::*};
use codec::Encode;
use phala_protocol::{egress::EgressAction, ids::AccountId};
use phala_vm::{Entry, Execution, Outcome};

const OWNER: AccountId = AccountId([1; 32]);
const BOB: AccountId = AccountId([2; 32]);
const CHARLIE: AccountId = AccountId([3; 32]);

fn send(world: &Memory, caller: AccountId, entry: Entry, method: &str, arguments: impl Encode) -> Execution {
    let mut asked = request(entry);
    asked.caller = caller;
    asked.input = (method, arguments).encode();
    world.commit(&asked)
}

#[test]
fn a_withdrawal_leaves_the_cluster_as_the_transfer_that_was_asked_for() {
    let world = Memory::default();
    world.install_code(CONTRACT, &cargo::build(&cargo::contracts().join("payout"), "payout"));
    let done = Outcome::Returned(vec![]);
    assert_eq!(send(&world, OWNER, Entry::Deploy, "create", ()).outcome, done);
    assert_eq!(send(&world, OWNER, Entry::Call, "grant", (BOB, 100u128)).outcome, done);
    let amount = (1u128 << 90) + 7;
    let refused = send(&world, BOB, Entry::Call, "withdraw", (CHARLIE, amount));
    assert_eq!(refused.outcome, Outcome::Reverted(vec![0, 1]));
    assert!(refused.egress.is_empty());
    assert_eq!(send(&world, OWNER, Entry::Call, "grant", (BOB, amount)).outcome, done);
    let execution = send(&world, BOB, Entry::Call, "withdraw", (CHARLIE, amount));
    assert_eq!(execution.outcome, done);
    assert_eq!(execution.egress, [(CONTRACT, EgressAction::Transfer { to: CHARLIE, amount })]);
    assert!(execution.gas_used < 2_000_000, "{}", execution.gas_used);
}
