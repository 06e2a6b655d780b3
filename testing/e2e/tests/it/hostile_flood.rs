//! Garbage at rate against what everybody can reach, and what an onlooker can tell of two commands.
//!
//! Limits are by address. Most of the flood comes from so many that each stays within its limit, so that what looks at garbage is not
//! spared by them; some of it comes from one address, which is told to wait. Whoever asks honestly has another one.

use codec::{Decode, Encode};
use phala_e2e::{
    canary::{extrinsics, witness, Needles},
    canary_run::Canary,
    inbox::items,
    phala, processes,
    raw_http::{ask, ask_from, connect_from, host_of, rpc},
    wait_until, Network,
};
use phala_protocol::{
    envelope,
    inbox::Item,
    query::{QueryHeader, QueryKey, SealedQuery},
    relay::Delivery,
    result::Boundary,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        Mutex,
    },
    thread,
    time::{Duration, Instant},
};

/// How many addresses the flood comes from, 127.0.0.2 and those after it.
const ADDRESSES: usize = 59;
/// Threads that flood a worker from all of these addresses.
const FLOODS: usize = 5;
/// Requests of each thread: some twenty from each address all together, of which one may make 60 at once and 30 a second.
const REQUESTS: usize = 250;
/// Where those come from who ask more often than one address may.
const HURRIED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 61));
/// Their connections: twice as many are no more than one address may have, for those before may not have ended yet.
const HURRIED_CONNECTIONS: usize = 32;
/// Requests on each, sent before any is answered: how fast they come is not up to how fast this side is.
const HURRIED_REQUESTS: usize = 12;
/// How often they try, should the worker be so slow that as many are within its limit.
const HURRIED_ROUNDS: usize = 3;
/// Where those come from who connect and say nothing.
const DAWDLERS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 62));
/// How each layer of a worker refuses garbage: what is no query, what does not open, what is no path, no method, too long.
const REFUSED_BY_WORKER: [&str; 5] = ["400 invalid", "400 refused", "404 not_found", "405 invalid", "413 over_limit"];
/// What somebody is told who asks too often.
const TOO_OFTEN: &str = "429 busy";
/// How a node refuses it: no JSON, no parameters of the method, no method.
const REFUSED_BY_NODE: [&str; 3] = ["-32700", "-32602", "-32601"];
/// How much a process may grow under garbage, in kB.
const GROWTH_KB: u64 = 96 * 1024;
/// How long a worker may take to write down that a result is final which it has answered from.
const LOGGED_WITHIN: Duration = Duration::from_secs(30);
/// How long an honest question may take under a flood, on a machine of two cores that also runs the flood.
const HONEST_WITHIN: Duration = Duration::from_secs(15);

/// What everybody sees of an item, without what differs from item to item by nature: its place, block, time and ciphertext.
fn public(item: &Item) -> (String, usize, Vec<u8>) {
    let header = envelope::decode_header(&item.message).unwrap();
    let kind = format!("{:?} {:?} fee {}", item.header.kind, item.header.origin, item.header.fee);
    (kind, item.message.len(), header.encode())
}

/// Three commands of one size and gas class by the same payer - another recipient, amount, contract, method, and outcome - look alike
/// in block bodies, inbox, relayer's traffic and logs, and so do their results.
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
        // Who asks may have its answer before the worker has written this down.
        let mut lines = Vec::new();
        wait_until("the worker says that the result is final", LOGGED_WITHIN, || {
            lines = shape_of_log().split_off(said);
            lines.iter().any(|line| line.contains("a result is final"))
        });
        assert!(lines.iter().any(|line| line.contains("executed a boundary")), "{lines:?}");
        // The extrinsic that carried it, as block bodies have it.
        let bodies = extrinsics(node, item.header.block.into()).unwrap();
        let carried: Vec<usize> = bodies.iter().filter(|body| holds(body)).map(Vec::len).collect();
        assert_eq!(carried.len(), 1, "the command stands in one extrinsic");
        // The item in its deliveries: what else is in them is the chain's, and differs by how far it has come.
        let deliveries = canary.tapped.tees[1].deliveries();
        let relayed: BTreeSet<usize> = deliveries
            .iter()
            .filter(|delivery| holds(delivery))
            .flat_map(|delivery| Delivery::decode_bounded(delivery).unwrap().items)
            .flat_map(|inbox| inbox.items)
            .filter(|item| holds(item))
            .map(|item| item.len())
            .collect();
        assert_eq!(relayed.len(), 1, "the relayer carried it, and whenever it did as the same item: {relayed:?}");
        // The extrinsic that carried its result, from that on: before it stand its submitter's signature and nonce, which grows by itself.
        let boundary =
            Boundary { block: item.header.block, count: item.header.sequence + 1, link: item.link() }.encode();
        let place = |body: &[u8]| body.windows(boundary.len()).position(|window| window == boundary);
        let results: BTreeSet<usize> = bodies.iter().filter_map(|body| Some(body.len() - place(body)?)).collect();
        assert_eq!(results.len(), 1, "the result stands on the chain: {results:?}");
        traces.push((public(&item), carried, relayed, results, lines));
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
    let (by_worker, hurried, by_node) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let token = network.ready["contracts"]["token"].as_str().unwrap();
            while !ended.load(Ordering::Relaxed) {
                let asked = Instant::now();
                phala(&network.base, &["contract", "query", token, "balance", "--from", "alice"]).data();
                honest.lock().unwrap().push(asked.elapsed());
            }
        });
        let flooding = |turn: usize| {
            let (worker, key) = (&worker, &key);
            scope.spawn(move || flood_worker(worker, key, turn))
        };
        let floods: Vec<_> = (0..FLOODS).map(flooding).collect();
        let hurrying = scope.spawn(|| hurry(&worker));
        let node_flood = scope.spawn(|| flood_node(&node));
        let dawdling = dawdle(&worker);
        let floods: Vec<_> = floods.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let hurried = hurrying.join();
        let node_flood = node_flood.join();
        drop(dawdling);
        ended.store(true, Ordering::Relaxed);
        asking.join().unwrap();
        let by_worker = together(floods.into_iter().map(Result::unwrap));
        (by_worker, hurried.unwrap(), node_flood.unwrap())
    });
    let mut honest = honest.into_inner().unwrap();
    honest.sort();
    let grown: Vec<u64> =
        ids.iter().zip(before).map(|(id, before)| processes::memory_kb(*id).saturating_sub(before)).collect();
    println!("worker refused {by_worker:?}, of one address {hurried:?}; node refused {by_node:?}");
    println!("memory grew by {grown:?} kB");
    println!(
        "{} honest queries meanwhile: median {:?}, slowest {:?}",
        honest.len(),
        honest[honest.len() / 2],
        honest[honest.len() - 1]
    );
    for code in REFUSED_BY_WORKER {
        assert!(by_worker.contains_key(code), "no garbage met what refuses it by {code}: {by_worker:?}");
    }
    assert!(!by_worker.contains_key(TOO_OFTEN), "an address was told to wait for what others do: {by_worker:?}");
    for code in REFUSED_BY_NODE {
        assert!(by_node.contains_key(code), "no garbage met what refuses it by {code}: {by_node:?}");
    }
    assert!(*honest.last().unwrap() < HONEST_WITHIN);
    assert!(grown.iter().all(|grown| *grown < GROWTH_KB), "{grown:?}");
    assert_eq!(ids, ["worker-0", "node-0"].map(|name| processes::id(&network.base, name)), "a process died");
}

fn query_key(worker: &str) -> QueryKey {
    let info = ask(worker, "GET", "/v1/info", &[]).unwrap().json();
    let key = info["clusters"][0]["query_key"].as_str().unwrap();
    QueryKey::decode(&mut phala_e2e::canary::from_hex(key).unwrap().as_slice()).unwrap()
}

/// Which code was given how often.
type Told = BTreeMap<String, usize>;

fn together(all: impl Iterator<Item = Told>) -> Told {
    let mut together = Told::new();
    for (code, count) in all.flatten() {
        *together.entry(code).or_insert(0) += count;
    }
    together
}

/// One of the addresses that the flood comes from.
fn one_of_many(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (number % ADDRESSES) as u8))
}

/// Every refusal has a code; how often each was given.
fn flood_worker(worker: &str, key: &QueryKey, turn: usize) -> Told {
    let mut told = Told::new();
    let sealed = SealedQuery {
        header: QueryHeader { cluster: key.cluster, epoch: key.epoch, ..honest_header(key) },
        encapsulated: vec![turn as u8; 1120],
        body: vec![9; 256 + 16],
    };
    let well_formed = sealed.to_bytes();
    for count in 0..REQUESTS {
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
        let Ok(answer) = ask_from(one_of_many(count * FLOODS + turn), worker, method, path, &body) else {
            *told.entry("hung up".to_owned()).or_insert(0) += 1;
            continue;
        };
        assert!(answer.status >= 400, "{method} {path} is no question: {answer:?}");
        let code = answer.code().unwrap_or_else(|| panic!("a refusal without a code: {method} {path}: {answer:?}"));
        *told.entry(format!("{} {code}", answer.status)).or_insert(0) += 1;
    }
    told
}

/// Asks more often than one address may, and returns what it was told. No more of it is let through than the worker says that it lets
/// through in as long as this took; a worker that takes so long for it every time that all of it may be is a failure.
fn hurry(worker: &str) -> Told {
    let info = ask(worker, "GET", "/v1/info", &[]).unwrap().json();
    let limit = |name: &str| info["limits"][name].as_f64().unwrap();
    let (burst, per_second) = (limit("burst"), limit("requests_per_second"));
    let request = |last: &str| format!("GET /v1/nothing HTTP/1.1\r\nhost: {worker}\r\n{last}\r\n");
    let requests = request("").repeat(HURRIED_REQUESTS - 1) + &request("connection: close\r\n");
    let mut rounds = Vec::new();
    for _ in 0..HURRIED_ROUNDS {
        let mut connections: Vec<_> =
            (0..HURRIED_CONNECTIONS).map(|_| connect_from(HURRIED, worker).unwrap()).collect();
        let begun = Instant::now();
        for connection in &mut connections {
            connection.write_all(requests.as_bytes()).unwrap();
        }
        let told = together(connections.iter_mut().map(answers));
        let took = begun.elapsed();
        let (count, refused) = (told.values().sum::<usize>(), told.get(TOO_OFTEN).copied().unwrap_or_default());
        // One more than that, for fractions.
        let most = burst + per_second * took.as_secs_f64() + 1.0;
        assert!((count - refused) as f64 <= most, "one address had more than {most} requests in {took:?}: {told:?}");
        if count as f64 > most {
            return told;
        }
        rounds.push((took, told));
    }
    panic!("one address never asked more often than it may: {rounds:?}");
}

/// How often each code was given on one connection, until it ended.
fn answers(connection: &mut TcpStream) -> Told {
    let mut bytes = Vec::new();
    // What came before it ended counts, however it did.
    let _ = connection.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let mut told = Told::new();
    for answer in text.split("HTTP/1.1 ").skip(1) {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let status = head.split_whitespace().next().unwrap_or_default();
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let code = body["error"]["code"].as_str().unwrap_or("without a code");
        *told.entry(format!("{status} {code}")).or_insert(0) += 1;
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

/// Bodies and calls that the node refuses with a JSON-RPC error, by that error's code.
fn flood_node(node: &str) -> Told {
    let mut told = Told::new();
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
            let answer = ask(node, "POST", "/", &body).unwrap();
            let code = answer.json()["error"]["code"].as_i64();
            let code = code.unwrap_or_else(|| panic!("garbage is no call: {answer:?}"));
            *told.entry(format!("{code}")).or_insert(0) += 1;
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
