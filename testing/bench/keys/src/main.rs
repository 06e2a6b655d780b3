//! `cargo xtask bench keys [--json] [--quick]`: what making roots, resharing identities and answering workers costs gatekeepers.
//!
//! INSECURE: keys follow from numbers, and all machines are simulated; their evidence has the genuine formats. Seconds are processor
//! time of one core.
//!
//! | metric | formula |
//! |---|---|
//! | `keys.dkg_s.nN` | one whole honest ceremony of N seats, summed over the seats: verifying the others' introductions, dealing, sealing, opening, verifying, adding up, signing, and making the bytes to seal. Baseline: N times the floor of a seat, which is the group operations alone (`floor.rs`); the ratio is value / baseline |
//! | `keys.dkg_seat_s.nN` | of that, the seat that took longest. Baseline: the floor of a seat |
//! | `keys.dkg_introductions_s.nN` | of `keys.dkg_s.nN`, verifying introductions |
//! | `keys.dkg_bytes.nN` | SCALE bytes of the parcels that one seat sends, each once. Baseline: the packages and shares in them |
//! | `keys.dkg_chain_bytes.nN` | SCALE bytes of all seats' signed statements. Baseline: the chain's record when all have confirmed |
//! | `keys.identity_reshare_s.nN` | one stable identity from N holders to N others, summed over both sets; without sealing |
//! | `keys.handover_s.nN` | a network of one cluster with three replicas goes from a root of N seats, which is dealt, to the next one of N: the ceremony of the next root (one of those of `keys.dkg_s.nN`), and the answers of the seats of both to every replica, for the open epoch of the former root and two of the next: 9 N answers. Summed over the seats. Baseline: N times the floor of a seat, and 9 N times the floor of an answer |
//! | `keys.handover_answers_s.nN` | of that, the answers; a seat of the next root has seen no evidence of the replicas before |
//! | `keys.handover_worker_s.nN` | one replica in it: signing 3 N requests, opening and verifying a threshold of answers for each epoch, combining four keys of each, and the envelope key pair; the mean of three |
//! | `keys.handover_bytes.nN` | SCALE bytes of the ceremony's parcels, each once, of the requests with evidence and collateral, and of the answers |
//! | `keys.epoch_per_s` | requests a second that a seat answers to workers that asked it before, by the same evidence, for another epoch: the request's signature and `Seat::answer`. Baseline: the floor, which is the scalar multiplications of four evaluations and their proofs: 8 of a point, 4 of the base |
//! | `keys.epoch_floor_ratio` | `keys.epoch_per_s` / its baseline; aim at least 0.5 |
//! | `keys.first_answer_per_s` | the same, to workers whose evidence it has not seen, by collateral that it has. Baseline: the floor |
//! | `keys.first_answer_ratio` | `keys.first_answer_per_s` / its baseline |
//! | `keys.cold_answer_per_s` | the same, by a seat that has seen neither. Baseline: the floor |
//! | `keys.cold_answer_ratio` | `keys.cold_answer_per_s` / its baseline |
//! | `keys.cold_evidence_per_s` | decoding and verifying the collateral and the evidence of a request, by the functions that a cold answer calls |
//! | `keys.network_epoch_core_s` | core seconds of one gatekeeper for one epoch of 100,000 workers in 1,000 clusters that asked before: 100,000 / `keys.epoch_per_s`. Baseline: at the floor's rate |
//! | `keys.network_first_core_s` | the same for the first epoch after it began: 100,000 / `keys.first_answer_per_s`. Baseline: at the floor's rate |
//! | `keys.network_epoch_bytes` | bytes of those requests, with evidence and collateral, and of their answers |
//!
//! Answers are without what stands around them in a gatekeeper: waiting among 64, rounds for proofs, deliveries, the ration of answers
//! (`docs/bench/keys.md` lists it).
//!
//! N is 4, 21 and 100; identities are reshared and requests answered among 21. `n` is how often it was done: the median is printed of
//! ceremonies, hand-overs, resharings, and of five rounds of requests. Of 100 seats there is one ceremony, which takes minutes, and the
//! hand-over to its root. `--quick` runs the same on a small scale, of 4 seats alone, for a smoke test.
#![forbid(unsafe_code)]

mod ceremony;
mod epoch;
mod floor;
mod handover;
mod measure;
mod reshare;

use anyhow::{bail, Context, Result};
use ceremony::{Cost, Network};
use measure::{median, print};
use phala_gatekeeper::Seat;

/// Seats, and how often their ceremony is run.
const CEREMONIES: &[(u16, usize)] = &[(4, 11), (21, 3), (100, 1)];
const QUICK: &[(u16, usize)] = &[(4, 1)];
/// Seats of the root that answers, and of the identity that is handed over.
const SEATS: u16 = 21;

fn main() -> Result<()> {
    let mut quick = false;
    for word in std::env::args().skip(1).skip_while(|word| word == "keys") {
        match word.as_str() {
            "--json" => {}
            "--quick" => quick = true,
            other => bail!("unknown argument '{other}'; see the head of testing/bench/keys/src/main.rs"),
        }
    }
    eprintln!("INSECURE: simulated machines, keys that everybody can know");
    let (ceremonies, seats) = if quick { (QUICK, 4) } else { (CEREMONIES, SEATS) };
    let mut answering = None;
    for (of, runs) in ceremonies {
        let network = Network::new(*of)?;
        let mut made = dkg(&network, *of, *runs)?;
        handover::measure(&network, &made)?;
        if *of == seats {
            answering = made.pop().map(|(_, root)| (root, network));
        }
    }
    let runs = if quick { 1 } else { 11 };
    let times = (0..runs).map(|_| reshare::run(seats)).collect::<Result<Vec<f64>>>()?;
    print(&format!("keys.identity_reshare_s.n{seats}"), median(times), "s", None, runs);
    let (root, network) = answering.context("no ceremony of the seats that answer")?;
    let seat = root.first().context("a root without seats")?;
    epoch::measure(seat, &network.ids(), if quick { 5 } else { 1_000 })
}

/// Runs a network's ceremony for one era after the other from 1 on; gives the cost and the seats of each root.
fn dkg(network: &Network, seats: u16, runs: usize) -> Result<Vec<(Cost, Vec<Seat>)>> {
    let made = (1u32..).take(runs).map(|era| network.run(era)).collect::<Result<Vec<_>>>()?;
    let floor = floor::seat(seats.into());
    let of = |what: fn(&Cost) -> f64| median(made.iter().map(|(cost, _)| what(cost)).collect());
    let name = |metric: &str| format!("keys.{metric}.n{seats}");
    let each = f64::from(seats);
    print(&name("dkg_s"), of(|cost| cost.seconds), "s", Some(each * floor), runs);
    print(&name("dkg_seat_s"), of(|cost| cost.busiest), "s", Some(floor), runs);
    print(&name("dkg_introductions_s"), of(|cost| cost.introductions), "s", None, runs);
    let (sent, content) = (of(|cost| cost.parcel_bytes as f64), of(|cost| cost.content_bytes as f64));
    print(&name("dkg_bytes"), sent / each, "B", Some(content / each), runs);
    let (said, kept) = (of(|cost| cost.statement_bytes as f64), of(|cost| cost.record_bytes as f64));
    print(&name("dkg_chain_bytes"), said, "B", Some(kept), runs);
    Ok(made)
}
