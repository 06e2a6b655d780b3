//! Garbage at rate against what everybody can reach, and what an onlooker can tell of two commands.
//!
//! The flood comes from an address of its own, 127.0.0.2: limits are by address, and whoever asks honestly has another one.

use codec::{Decode, Encode};
use phala_e2e::{
    canary::{chain, items, witness, Needles},
    canary_run::Canary,
    phala, processes,
    raw_http::{ask, ask_from, connect_from, host_of, rpc, Answer},
    Network,
};
use phala_protocol::{
    envelope,
    inbox::Item,
    query::{QueryHeader, QueryKey, SealedQuery},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    net::{IpAddr, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        Mutex,
    },
    thread,
    time::{Duration, Instant},
};

/// Where the flood comes from.
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
/// Where those come from who connect and say nothing.
const DAWDLERS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 3));
/// How much a process may grow under garbage, in kB.
const GROWTH_KB: u64 = 96 * 1024;
/// How long an honest question may take under a flood, on a machine of two cores that also runs the flood.
const HONEST_WITHIN: Duration = Duration::from_secs(15);

/// What everybody sees of an item, without what differs from item to item by nature: its place, block, time and ciphertext.
fn public(item: &Item) -> (String, usize, Vec<u8>) {
    let header = envelope::decode_header(&item.message).unwrap();
    let kind = format!("{:?} {:?} fee {}", item.header.kind, item.header.origin, item.header.fee);
    (kind, item.message.len(), header.encode())
}

/// Three commands of one size and gas class by the same payer - another recipient, amount, contract, method, and outcome - look alike
/// in block bodies, inbox, relayer's traffic and logs.
pub fn two_commands_leave_the_same_traces(network: &Network, canary: &Canary) {
    const PAYER: &str = "eve";
    let token = network.ready["contracts"]["token"].as_str().unwrap();
    let node = host_of(network.node());
    let commands = [
        [token, "transfer", r#"["bob", "0"]"#],
        [token, "transfer", r#"["ferdie", "99999999999"]"#],
        [&canary.contract, "say", r#"["I", "you"]"#],
    ];
    let log = network.base.join("logs").join("worker-0.log");
    // What was logged before is hundreds of megabytes.
    let begun = std::fs::metadata(&log).unwrap().len();
    let shape_of_log = || -> Vec<String> {
        let mut file = File::open(&log).unwrap();
        file.seek(SeekFrom::Start(begun)).unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text);
        let ours =
            text.lines().filter(|line| line.contains("executed a boundary") || line.contains("a result is final"));
        ours.map(|line| {
            line.chars().skip(27).map(|letter| if letter.is_ascii_digit() { '#' } else { letter }).collect::<String>()
        })
        // Numbers grow longer by themselves.
        .map(|line| line.replace("##", "#").replace("##", "#"))
        .collect()
    };
    let mut traces = Vec::new();
    for [contract, method, arguments] in commands {
        let (said, before) = (shape_of_log().len(), items(node, 0, 0).unwrap().len() as u64);
        network.phala(&["contract", "call", contract, method, arguments, "--from", PAYER, "--wait"]);
        let item = items(node, 0, before).unwrap().remove(0);
        let seal = Needles::of(&[&witness(&item)]);
        let holds = |bytes: &[u8]| {
            let mut found = BTreeMap::new();
            seal.count(bytes, &mut found);
            !found.is_empty()
        };
        // The extrinsic that carried it, as block bodies have it.
        let bodies = chain(node, item.header.block.into()).unwrap();
        let carried: Vec<usize> =
            bodies.iter().filter(|body| body.first() != Some(&b'{') && holds(body)).map(Vec::len).collect();
        assert_eq!(carried.len(), 1, "the command stands in one extrinsic");
        let relayed = canary.tapped.tees[1].deliveries().iter().filter(|delivery| holds(delivery)).count();
        assert!(relayed >= 1, "the relayer carried it");
        let lines = shape_of_log().split_off(said);
        traces.push((public(&item), carried, lines));
    }
    assert_eq!(traces[0], traces[1], "another recipient, amount and outcome can be told");
    assert_eq!(traces[0], traces[2], "another contract and method can be told");
}

/// Floods worker and node; honest questions are answered all the while.
pub fn check(network: &Network) {
    let worker = host_of(network.ready["workers"][0].as_str().unwrap()).to_owned();
    let node = host_of(network.node()).to_owned();
    let ids = ["worker-0", "node-0"].map(|name| processes::id(&network.base, name));
    let before = ids.map(processes::memory_kb);
    let key = query_key(&worker);

    let ended = AtomicBool::new(false);
    let honest = Mutex::new(Vec::new());
    let (mut by_worker, mut by_node) = (BTreeMap::new(), BTreeMap::new());
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let token = network.ready["contracts"]["token"].as_str().unwrap();
            while !ended.load(Ordering::Relaxed) {
                let asked = Instant::now();
                phala(&network.base, &["contract", "query", token, "balance", "--from", "alice"]).data();
                honest.lock().unwrap().push(asked.elapsed());
            }
        });
        let floods: Vec<_> = (0..3usize)
            .map(|turn| {
                scope.spawn({
                    let (worker, key) = (&worker, &key);
                    move || flood_worker(worker, key, turn)
                })
            })
            .collect();
        let node_flood = scope.spawn(|| flood_node(&node));
        let dawdling = dawdle(&worker);
        let floods: Vec<_> = floods.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let node_flood = node_flood.join();
        drop(dawdling);
        ended.store(true, Ordering::Relaxed);
        asking.join().unwrap();
        for told in floods {
            for (code, count) in told.unwrap() {
                *by_worker.entry(code).or_insert(0) += count;
            }
        }
        by_node = node_flood.unwrap();
    });
    let mut honest = honest.into_inner().unwrap();
    honest.sort();
    let grown: Vec<u64> =
        ids.iter().zip(before).map(|(id, before)| processes::memory_kb(*id).saturating_sub(before)).collect();
    println!("worker refused {by_worker:?}; node refused {by_node:?}; memory grew by {grown:?} kB");
    println!(
        "{} honest queries meanwhile: median {:?}, slowest {:?}",
        honest.len(),
        honest[honest.len() / 2],
        honest[honest.len() - 1]
    );
    assert!(*honest.last().unwrap() < HONEST_WITHIN);
    assert!(grown.iter().all(|grown| *grown < GROWTH_KB), "{grown:?}");
    assert_eq!(ids, ["worker-0", "node-0"].map(|name| processes::id(&network.base, name)), "a process died");
}

fn query_key(worker: &str) -> QueryKey {
    let info = ask(worker, "GET", "/v1/info", &[]).unwrap().json();
    let key = info["clusters"][0]["query_key"].as_str().unwrap();
    QueryKey::decode(&mut phala_e2e::canary::from_hex(key).unwrap().as_slice()).unwrap()
}

/// Every refusal has a code; how often each was given.
fn flood_worker(worker: &str, key: &QueryKey, turn: usize) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    let sealed = SealedQuery {
        header: QueryHeader { cluster: key.cluster, epoch: key.epoch, ..honest_header(key) },
        encapsulated: vec![turn as u8; 1120],
        body: vec![9; 256 + 16],
    };
    let well_formed = sealed.to_bytes();
    for count in 0..250usize {
        let (method, path, body) = match (count + turn) % 7 {
            0 => ("POST", "/v1/query", well_formed.clone()),
            1 => ("POST", "/v1/query", vec![count as u8; count * 90]),
            2 => ("POST", "/v1/query", vec![0; 24 * 1024 + 1]),
            3 => ("POST", "/v1/query", vec![0; 300_000]),
            4 => ("DELETE", "/v1/query", Vec::new()),
            5 => ("GET", "/v1/../../etc/passwd", Vec::new()),
            _ => ("GET", "/v1/query?a=%00%ff", well_formed[..count].to_vec()),
        };
        // A server that refuses a long body may hang up on who goes on sending it.
        let Ok(answer) = ask_from(ELSEWHERE, worker, method, path, &body) else {
            *told.entry("hung up".to_owned()).or_insert(0) += 1;
            continue;
        };
        assert!(answer.status >= 400, "{method} {path} is no question: {answer:?}");
        let code = answer.code().unwrap_or_else(|| panic!("a refusal without a code: {method} {path}: {answer:?}"));
        *told.entry(format!("{} {code}", answer.status)).or_insert(0) += 1;
    }
    told
}

fn honest_header(key: &QueryKey) -> QueryHeader {
    QueryHeader {
        version: phala_protocol::query::VERSION,
        cluster: key.cluster,
        epoch: key.epoch,
        size: envelope::SizeClass::B256,
    }
}

/// Bodies and calls that the node refuses with a JSON-RPC error, by that error's code or the HTTP status.
fn flood_node(node: &str) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    let calls = [
        ("phala_inboxItems", json!([4_000_000_000u32, 0, 1])),
        ("phala_inboxItems", json!([0, u64::MAX, u32::MAX])),
        ("phala_inboxItems", json!(["x"])),
        ("phala_inboxItems", json!({"cluster": -1})),
        ("phala_finalityProof", json!([u32::MAX])),
        ("phala_finalityProof", json!([])),
        ("phala_finalityProof", json!([[1, 2]])),
        ("phala_justification", json!([u32::MAX])),
        ("phala_justification", json!(["0x00"])),
        ("phala_secrets", json!([])),
        ("author_submitExtrinsic", json!(["0xdeadbeef"])),
        ("state_getStorage", json!(["zz"])),
    ];
    for turn in 0..20usize {
        for (method, params) in &calls {
            let answer = rpc(node, method, params.clone()).unwrap();
            let code = match answer["error"]["code"].as_i64() {
                Some(code) => format!("{code}"),
                // Items from the end on are none, and that is right.
                None => {
                    assert_eq!((*method, &answer["result"]["items"]), ("phala_inboxItems", &json!([])), "{answer}");
                    "none".to_owned()
                }
            };
            *told.entry(code).or_insert(0) += 1;
        }
        for body in [vec![0xff; 1000 * turn], b"[".repeat(100_000), br#"{"jsonrpc":"2.0","id":1,"method":7}"#.to_vec()]
        {
            let Answer { status, body } = ask(node, "POST", "/", &body).unwrap();
            assert!(status >= 400 || body.windows(8).any(|window| window == b"\"error\":"), "{status} {body:?}");
            *told.entry(format!("HTTP {status}")).or_insert(0) += 1;
        }
    }
    // Beyond what the node reads at all.
    if let Ok(answer) = ask(node, "POST", "/", &vec![b' '; 20 * 1024 * 1024]) {
        assert_eq!(answer.status, 413, "{}", String::from_utf8_lossy(&answer.body));
    }
    // Frames that are none, on a WebSocket.
    for garbage in [&[0xff; 64][..], &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b"not a frame"] {
        let mut stream = TcpStream::connect(node).unwrap();
        let upgrade = format!(
            "GET / HTTP/1.1\r\nhost: {node}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        stream.write_all(garbage).unwrap();
    }
    told
}

/// Connections that say nothing more, and more of them than one address may have.
fn dawdle(worker: &str) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..80 {
        if let Ok(mut stream) = connect_from(DAWDLERS, worker) {
            let _ = stream.write_all(b"POST /v1/query HTTP/1.1\r\nx: ");
            connections.push(stream);
        }
    }
    connections
}
