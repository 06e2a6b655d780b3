//! Letters of strangers before a relayer: whoever reaches its port controls every byte.
//!
//! Holds: what is taken waits for its recipient as it came, in no second encoding, and once; what is refused leaves nothing behind; memory
//! is in proportion to the body.

use super::{ceremony, keys, signing};
use crate::{assert_bounded, measured, Target, Verdict};
use codec::Encode;
use phala_protocol::{relay::Delivery, Hash, WorkerId};
use phala_relayer::letterbox::{Letterbox, MAX_BODY_BYTES};
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

const CHAIN: Hash = [7; 32];
const TEE: WorkerId = WorkerId([1; 32]);
/// Less than it takes until a letter is carried again.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The body that carries one letter: the chain, whom it is for, the kind's index and the letter.
fn body(kind: u8, letter: &impl Encode) -> Vec<u8> {
    (CHAIN, TEE, kind, letter).encode()
}

/// The bodies of all that waited, written from the delivery: nothing of the relayer's own types.
fn bodies(delivery: &Delivery) -> Vec<Vec<u8>> {
    let Delivery { inquiries, answers, introductions, parcels, letters, .. } = delivery;
    let mut all: Vec<Vec<u8>> = inquiries.iter().map(|letter| body(0, letter)).collect();
    all.extend(answers.iter().map(|letter| body(1, letter)));
    all.extend(introductions.iter().map(|letter| body(2, letter)));
    all.extend(parcels.iter().map(|letter| body(3, letter)));
    all.extend(letters.iter().map(|letter| body(4, letter)));
    all
}

/// Bodies of requests to `/mail/v1/letters`.
pub static LETTERS: Target = Target {
    name: "letters",
    covers: &["host/relayer/src/letters.rs::decode_bounded"],
    samples: LazyLock::new(|| {
        let (inquiry, answer) = keys::exchange();
        let (introduction, parcel) = ceremony::mail();
        let mut samples =
            vec![body(0, &inquiry), body(1, &([3_u8; 32], answer)), body(2, &introduction), body(3, &parcel)];
        samples.extend(signing::unsigned_letters().iter().map(|letter| body(4, letter)));
        samples
    }),
    check: |bytes| {
        if bytes.len() > MAX_BODY_BYTES {
            return Verdict::refused("the listener reads no such body");
        }
        let letterbox = Letterbox::new(TEE, CHAIN);
        let (status, peak) = measured(|| letterbox.receive(bytes));
        assert_bounded(peak, bytes.len(), 6);
        if status != 204 {
            assert_eq!(letterbox.take(), Delivery::default(), "a refused letter waits");
            return Verdict::refused(refusal(status));
        }
        assert_eq!(letterbox.receive(bytes), 204, "known");
        let (taken, delivery) = (Instant::now(), letterbox.take());
        assert_eq!(bodies(&delivery), [bytes], "another letter than came, or two of it");
        let again = (letterbox.receive(bytes), letterbox.take());
        // What was carried some seconds ago is carried again, and a process that waits for a core may take as long.
        if taken.elapsed() < AT_ONCE {
            assert_eq!(again, (204, Delivery::default()), "carried twice");
        }
        Verdict::accepted("x".repeat(usize::from(bytes[64])))
    },
    iterations: 3_000,
};

/// A status in letters: verdicts are told apart without their numbers.
fn refusal(status: u16) -> &'static str {
    match status {
        400 => "no letter",
        404 => "of nobody here",
        409 => "of another chain",
        413 => "too long",
        _ => panic!("a stranger's first letter is answered {status}"),
    }
}
