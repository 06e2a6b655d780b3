//! A relayer that lies to the running worker: it drops, reorders, repeats, withholds, forges and replays what a real one carried.
//!
//! The truth is a delivery of the honest relayer, kept back by a tap; each lie is that delivery with one thing changed. The network
//! has one authority whose development key is public, so that votes can be forged as nobody else could.

use codec::{Decode, Encode};
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use phala_e2e::{
    canary::Tapped,
    hostile_relayer::{DELIVER, STATUS},
    phala, processes,
    raw_http::{ask, host_of, send_raw, Answer},
    wait_until, Network,
};
use phala_protocol::{
    finality::{FinalityFragment, FinalityProof},
    inbox::Item,
    keys::KeyAnswer,
    relay::{Delivery, InboxItems, TeeStatus, MAX_DELIVERY_BYTES},
    ClusterId, Hash,
};
use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The development authority `//Alice`, whose seed is in every copy of the polkadot-sdk.
const ALICE: [u8; 32] = [
    0xab, 0xf8, 0xe5, 0xbd, 0xbe, 0x30, 0xc6, 0x56, 0x56, 0xc0, 0xa3, 0xcb, 0xd1, 0x81, 0xff, 0x8a, 0x56, 0x29, 0x4a,
    0x69, 0xdf, 0xed, 0xd2, 0x79, 0x82, 0xaa, 0xce, 0x4a, 0x76, 0x90, 0x91, 0x15,
];
/// A cluster that nobody serves.
const NOBODYS: ClusterId = ClusterId(77);

/// Where `worker-0` takes deliveries, among the relayer's taps.
const TAP: usize = 1;

/// A GRANDPA justification as a node encodes it: round, commit (target, precommits), ancestry.
#[derive(Clone, Encode, Decode)]
struct Justification {
    round: u64,
    target: (Hash, u32),
    precommits: Vec<Precommit>,
    ancestry: Vec<u8>,
}

#[derive(Clone, Encode, Decode)]
struct Precommit {
    target: (Hash, u32),
    signature: [u8; 64],
    authority: [u8; 32],
}

impl Justification {
    fn of(fragment: &FinalityFragment) -> Self {
        let mut rest = fragment.justification.as_slice();
        let round = u64::decode(&mut rest).unwrap();
        let target = <(Hash, u32)>::decode(&mut rest).unwrap();
        let precommits = Vec::<Precommit>::decode(&mut rest).unwrap();
        Self { round, target, precommits, ancestry: rest.to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        [(self.round, self.target, &self.precommits).encode(), self.ancestry.clone()].concat()
    }

    /// Votes for `target` anew with `key`, in the name of the set `set`: `localized_payload` of sp-consensus-grandpa.
    fn signed(mut self, key: &SigningKey, target: (Hash, u32), set: u64) -> Self {
        const PRECOMMIT: u8 = 1;
        let payload = (PRECOMMIT, target, self.round, set).encode();
        let authority: [u8; 32] = VerificationKeyBytes::from(key).into();
        self.target = target;
        self.precommits = vec![Precommit { target, signature: key.sign(&payload).into(), authority }];
        self
    }
}

/// The running worker, as its relayer sees it.
struct Worker<'a> {
    host: &'a str,
    id: u32,
}

impl Worker<'_> {
    fn status(&self) -> TeeStatus {
        let answer = ask(self.host, "GET", STATUS, &[]).unwrap();
        assert_eq!(answer.status, 200);
        TeeStatus::decode(&mut answer.body.as_slice()).unwrap()
    }

    fn deliver(&self, bytes: &[u8]) -> Answer {
        ask(self.host, "POST", DELIVER, bytes).unwrap()
    }

    /// Brings a lie: it is refused as the relayer's fault, and nothing that others see of the worker has changed.
    fn refuses(&self, what: &str, delivery: &Delivery) {
        let before = self.status();
        let answer = self.deliver(&delivery.encode());
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!((answer.status, answer.code().as_deref()), (400, Some("refused")), "{what}: {text}");
        assert_eq!(self.status(), before, "{what} changed the worker");
    }

    /// Brings something that is no lie but has no effect either.
    fn ignores(&self, what: &str, delivery: &Delivery) {
        let before = self.status();
        let answer = self.deliver(&delivery.encode());
        assert_eq!(answer.status, 200, "{what}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(self.status(), before, "{what} changed the worker");
    }
}

/// Tells the worker every lie, then the truth. Returns how many lies it was told.
pub fn check(network: &Network, tapped: &Tapped) -> usize {
    let token = network.ready["contracts"]["token"].as_str().unwrap();
    let operator = processes::arguments(processes::id(&network.base, "worker-0"));
    let operator = processes::argument(&operator, "--operator-listen");
    let worker = Worker { host: &operator, id: processes::id(&network.base, "worker-0") };
    let tap = &tapped.tees[TAP];
    let old = tap.deliveries();

    // Three commands that the worker does not hear of.
    tap.hold();
    thread::scope(|scope| {
        for caller in ["dave", "eve", "ferdie"] {
            scope.spawn(move || {
                let arguments = ["contract", "call", token, "transfer", r#"["bob", "0"]"#, "--from", caller];
                phala(&network.base, &arguments).data();
            });
        }
    });
    let kept_back = || tap.held().and_then(|bytes: Vec<u8>| Delivery::decode_bounded(&bytes).ok());
    wait_until("a delivery with the three commands", Duration::from_secs(60), || {
        kept_back().is_some_and(|delivery| delivery.items.iter().any(|inbox| inbox.items.len() >= 3))
    });
    let truth = kept_back().unwrap();
    let mut lies = 0;
    lies += about_finality(&worker, &truth);
    lies += by_replaying(&worker, &old);
    // The head moves: from here on each lie is about what is below it.
    let head = Delivery { finality: truth.finality.clone(), ..Delivery::default() };
    assert_eq!(worker.deliver(&head.encode()).status, 200);
    let moved = Delivery { finality: Vec::new(), ..truth.clone() };
    assert_eq!(worker.deliver(&Delivery { items: Vec::new(), ..moved.clone() }.encode()).status, 200);
    lies += about_items(&worker, &moved);
    lies += about_shape(&worker, &truth.encode());
    lies += by_dawdling(&worker);

    // The truth, and an honest relayer that goes on.
    let before = worker.status();
    let answer = worker.deliver(&truth.encode());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert!(worker.status().inboxes[0].head.count >= before.inboxes[0].head.count + 3);
    tap.release();
    let from = ["--from", "dave", "--wait"];
    network.phala(&["contract", "call", token, "transfer", r#"["bob", "0"]"#, from[0], from[1], from[2]]).data();
    assert_eq!(worker.id, processes::id(&network.base, "worker-0"), "it is the same process");
    lies
}

fn about_finality(worker: &Worker<'_>, truth: &Delivery) -> usize {
    let proof = FinalityProof::decode_bounded(&truth.finality).unwrap();
    let last = proof.fragments.last().unwrap().clone();
    let real = Justification::of(&last);
    let alice = SigningKey::from(ALICE);
    let set = (0..10_000)
        .find(|set| real.clone().signed(&alice, real.target, *set).bytes() == last.justification)
        .expect("we sign as the authority does: what follows is refused for what it says, not for how it is written");
    let with = |change: &dyn Fn(&mut FinalityFragment)| {
        let mut proof = proof.clone();
        change(proof.fragments.last_mut().unwrap());
        Delivery { finality: proof.encode(), ..truth.clone() }
    };
    let justified = |justification: Justification| with(&|last| last.justification = justification.bytes());
    let forked = {
        let mut header = last.header.clone();
        // Parent's hash, then the number in compact form; the state root follows: one bit of it.
        header[40] ^= 1;
        header
    };
    let fork = (phala_protocol::hash::blake2_256(&forked), real.target.1);
    let stranger = SigningKey::from([7; 32]);
    let mut twice = real.clone();
    twice.precommits.push(twice.precommits[0].clone());
    let mut unsigned = real.clone();
    unsigned.precommits.clear();
    let mut flipped = real.clone();
    flipped.precommits[0].signature[11] ^= 1;
    let mut renamed = real.clone().signed(&stranger, real.target, set);
    renamed.precommits[0].authority = real.precommits[0].authority;
    let mut another_round = real.clone();
    another_round.round += 1;
    let mut elsewhere = real.clone();
    elsewhere.target = fork;

    let lies = [
        ("a flipped bit of a signature", justified(flipped)),
        ("a vote of the set after", justified(real.clone().signed(&alice, real.target, set + 1))),
        ("a vote of the set before", justified(real.clone().signed(&alice, real.target, set.wrapping_sub(1)))),
        ("a stranger's vote", justified(real.clone().signed(&stranger, real.target, set))),
        ("a stranger's vote in the authority's name", justified(renamed)),
        ("one vote counted twice", justified(twice)),
        ("no votes", justified(unsigned)),
        ("votes of another round", justified(another_round)),
        ("a fork without votes", with(&|last| last.header = forked.clone())),
        (
            "a fork with the votes of the real block",
            with(&|last| {
                last.header = forked.clone();
                last.justification = elsewhere.bytes();
            }),
        ),
        (
            "a fork that the authority signed for another set",
            with(&|last| {
                last.header = forked.clone();
                last.justification = real.clone().signed(&alice, fork, set + 1).bytes();
            }),
        ),
        ("a header cut short", with(&|last| last.header.truncate(60))),
        ("a justification cut short", with(&|last| last.justification.truncate(60))),
        (
            "a proof cut short",
            Delivery { finality: truth.finality[..truth.finality.len() / 2].to_vec(), ..truth.clone() },
        ),
        (
            "a proof with more after it",
            Delivery { finality: [truth.finality.as_slice(), &[0]].concat(), ..truth.clone() },
        ),
        ("a proof of garbage", Delivery { finality: vec![0x5a; 100_000], ..truth.clone() }),
        ("a proof that is too long", Delivery { finality: vec![0; 5 * 1024 * 1024], ..truth.clone() }),
        ("no finality at all for newer items", Delivery { finality: Vec::new(), ..truth.clone() }),
    ];
    for (what, lie) in &lies {
        worker.refuses(what, lie);
    }
    lies.len()
}

/// What was carried before is brought again, oldest first and newest first: nothing goes back, and nothing happens twice.
fn by_replaying(worker: &Worker<'_>, old: &[Vec<u8>]) -> usize {
    assert!(!old.is_empty(), "the honest relayer has carried something");
    let before = worker.status();
    for bytes in old.iter().chain(old.iter().rev()) {
        let answer = worker.deliver(bytes);
        assert!(answer.status == 200 || answer.code().as_deref() == Some("refused"), "{answer:?}");
    }
    assert_eq!(worker.status(), before, "a replayed delivery changed the worker");
    old.len() * 2
}

fn about_items(worker: &Worker<'_>, truth: &Delivery) -> usize {
    let own = truth.items[0].clone();
    let items =
        |items: Vec<Vec<u8>>| Delivery { items: vec![InboxItems { cluster: own.cluster, items }], ..truth.clone() };
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut list = own.items.clone();
        change(&mut list);
        items(list)
    };
    let first = |change: &dyn Fn(&mut Item)| {
        changed(&|list| {
            let mut item = Item::decode_bounded(&list[0]).unwrap();
            change(&mut item);
            list[0] = item.encode();
        })
    };
    let mut lies = vec![
        ("items without any proof", Delivery { proof: Vec::new(), ..truth.clone() }),
        ("the first item left out", changed(&|list| drop(list.remove(0)))),
        ("two items in the other order", changed(&|list| list.swap(0, 1))),
        ("the first item twice", changed(&|list| list.insert(0, list[0].clone()))),
        ("an item with another message", first(&|item| item.message[200] ^= 1)),
        ("an item with a shorter message", first(&|item| item.message.truncate(100))),
        ("an item with another fee", first(&|item| item.header.fee += 1)),
        ("an item of another time", first(&|item| item.header.time_ms += 1)),
        ("an item of another block", first(&|item| item.header.block += 1)),
        ("an item after another one", first(&|item| item.previous[0] ^= 1)),
        ("an item of a later place", first(&|item| item.header.sequence += 1)),
        ("an item with more after it", changed(&|list| list[0].push(0))),
        ("an item of garbage", changed(&|list| list[0] = vec![0xee; 300])),
        ("an item that is too long", changed(&|list| list[0] = vec![0; 64 * 1024])),
        ("a proof of another state", Delivery { proof: vec![vec![0x80; 64]; 3], ..truth.clone() }),
        ("a proof that is too long", Delivery { proof: vec![vec![1; 1024 * 1024]; 3], ..truth.clone() }),
    ];
    for node in 0..truth.proof.len() {
        let mut lie = truth.clone();
        let middle = lie.proof[node].len() / 2;
        lie.proof[node][middle] ^= 1;
        lies.push(("a flipped bit of a storage proof", lie));
    }
    for (what, lie) in &lies {
        worker.refuses(what, lie);
    }
    let answer = KeyAnswer { encapsulated: vec![3; 1120], body: vec![4; 200] };
    let nothing = Delivery { items: Vec::new(), ..truth.clone() };
    let idle = [
        (
            "items of a cluster that is another's",
            Delivery { items: vec![InboxItems { cluster: NOBODYS, ..own.clone() }], ..truth.clone() },
        ),
        ("items that are withheld", nothing.clone()),
        ("code that nobody asked for", Delivery { codes: vec![b"\0asm\x01\0\0\0".to_vec(); 4], ..nothing.clone() }),
        ("forged answers of a gatekeeper", Delivery { answers: vec![([9; 32], answer); 100], ..nothing.clone() }),
    ];
    for (what, lie) in &idle {
        worker.ignores(what, lie);
    }
    lies.len() + idle.len()
}

/// Bodies that are no deliveries, by several at once, while the status is still told.
fn about_shape(worker: &Worker<'_>, truth: &[u8]) -> usize {
    let too_long = vec![0; MAX_DELIVERY_BYTES + 1];
    // A server that refuses before it has read everything may hang up on who goes on sending.
    if let Ok(answer) = ask(worker.host, "POST", DELIVER, &too_long) {
        assert_eq!((answer.status, answer.code().as_deref()), (413, Some("over_limit")));
    }
    let answer = ask(worker.host, "PUT", DELIVER, b"x").unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (405, Some("invalid")));
    let answer = ask(worker.host, "GET", "/operator/v1/secrets", &[]).unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (404, Some("not_found")));

    let before = worker.status();
    let memory_before = processes::memory_kb(worker.id);
    let (told, slowest, ended) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let liars: Vec<_> = (0..4usize)
            .map(|liar| {
                let told = &told;
                scope.spawn(move || {
                    for turn in 0..64 {
                        let body = match turn % 4 {
                            0 => truth[..truth.len() * (turn + liar) / 80].to_vec(),
                            1 => vec![(turn * 7 + liar) as u8; turn * 1_000],
                            2 => [truth, &[turn as u8]].concat(),
                            // A list that says it is longer than memory.
                            _ => vec![0xff; 40 + turn],
                        };
                        let answer = ask(worker.host, "POST", DELIVER, &body).unwrap();
                        assert_eq!((answer.status, answer.code().as_deref()), (400, Some("invalid")), "{liar} {turn}");
                        told.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let asked = Instant::now();
                worker.status();
                slowest.fetch_max(asked.elapsed().as_millis() as u64, Ordering::Relaxed);
            }
        });
        let broken = liars.into_iter().map(thread::ScopedJoinHandle::join).filter(Result::is_err).count();
        ended.store(true, Ordering::Relaxed);
        assert_eq!(broken, 0);
    });
    assert_eq!(worker.status(), before);
    let grown = processes::memory_kb(worker.id).saturating_sub(memory_before);
    println!(
        "operator's endpoint: {} malformed deliveries refused; status meanwhile within {} ms; memory grew by {grown} kB",
        told.load(Ordering::Relaxed),
        slowest.load(Ordering::Relaxed)
    );
    assert!(slowest.into_inner() < 5_000 && grown < 64 * 1024);
    told.into_inner() as usize + 3
}

/// Connections that never finish what they say: the worker bears a bounded number of them, and still answers.
fn by_dawdling(worker: &Worker<'_>) -> usize {
    let mut dawdling = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(worker.host).unwrap();
        stream.write_all(b"POST /operator/v1/deliver HTTP/1.1\r\ncontent-length: 1000000\r\nx-slow: ").unwrap();
        dawdling.push(stream);
    }
    worker.status();
    let half = b"POST /operator/v1/deliver HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf of a body";
    let answer = send_raw(worker.host, half, Duration::from_millis(300)).unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    let answer = send_raw(worker.host, &[0xff; 4096], Duration::from_secs(5)).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    worker.status();
    assert!(host_of("http://127.0.0.1:1/") == "127.0.0.1:1");
    dawdling.len() + 2
}
