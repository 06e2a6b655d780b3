//! That only who lied in an attempt may meet there what its machine did not say.

use super::{Life, MET_ITS_LIE};
use crate::{invariants::NAMES, members::Members};
use phala_protocol::WorkerId;

#[test]
fn only_who_misspoke_in_an_attempt_may_meet_there_what_its_machine_did_not_say() {
    let members = Members::new(4);
    // It has its turn in odd blocks.
    let (number, position) = (3, 2);
    let id = WorkerId(members.identity(number).public());
    let mut life = Life::new(&members, 1);
    life.begin(1, &[1, 2, 3, 4]);
    life.chain.tick();
    assert_eq!(life.chain.block, 1);
    let mut shown = life.chain.ceremony.clone().unwrap();
    shown.dealers.iter_mut().find(|dealer| dealer.gatekeeper == id).unwrap().package = Some([0xee; 32]);
    life.history.push((None, Some(shown)));
    // It was cancelled, and nobody lies: no storm crashes the machine.
    life.chain.cancel();
    life.liars.clear();
    // Another attempt's lie, or another's, excuses nobody.
    for excuses_nobody in [((1, 1), number), ((2, 0), number), ((1, 0), 4)] {
        life.misspoke.insert(excuses_nobody);
        assert_eq!(life.act(position).unwrap_err().invariant, NAMES[5], "{excuses_nobody:?}");
    }
    assert_eq!(life.counts.get(MET_ITS_LIE), None);
    life.misspoke.insert(((1, 0), number));
    assert_eq!(life.act(position), Ok(()));
    assert_eq!(life.counts.get(MET_ITS_LIE), Some(&1));
    assert!(life.statements.is_empty() && life.parcels.is_empty(), "it says nothing there");
}
