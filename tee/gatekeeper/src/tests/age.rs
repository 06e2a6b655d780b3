//! How old a request may be.

use super::*;

#[test]
fn a_request_is_good_for_sixty_blocks_of_the_gatekeepers_head_and_may_be_ahead_of_it() {
    let (worker, seat) = (Worker::new(), lone_seat());
    let asked = |at: BlockNumber, head: BlockNumber| {
        let mut facts = worker.facts(&seat);
        facts.head.0 = head;
        ask(&seat, &worker.inquiry(worker.later(5, at)), &facts).err()
    };
    for (at, head) in [(100, 100), (100, 160), (100, 70), (BlockNumber::MAX, 100)] {
        assert_eq!(asked(at, head), None, "{at} at {head}");
    }
    for (at, head) in [(100, 161), (0, 100)] {
        let refusal = Refusal::Stale { at, head };
        assert_eq!(asked(at, head), Some(refusal));
        let said = refusal.to_string();
        assert!(said.contains(&format!("block {at}")) && said.contains(&format!("head {head}")), "{said}");
    }
}
