//! The listeners on a worker that serves, over real HTTP, while its core is busy.
//!
//! INSECURE: chain and machine are the ones that phala-core's tests play with, which is where their files come from.

#[allow(dead_code, reason = "shared with the tests of phala-core, which use all of it")]
#[path = "../../../core/tests/it/chain.rs"]
mod chain;
#[allow(dead_code, reason = "shared with the tests of phala-core, which use all of it")]
#[path = "../../../core/tests/it/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the tests of phala-core, which use all of it")]
#[path = "../../../core/tests/it/contract.rs"]
mod contract;
#[allow(dead_code, reason = "shared with the process's tests, which use all of it")]
#[path = "../../tests/it/http.rs"]
mod http;
#[allow(dead_code, reason = "shared with the tests of phala-core, which use all of it")]
#[path = "../../../core/tests/it/machine.rs"]
mod machine;
#[allow(dead_code, reason = "shared with the tests of phala-core, which use all of it")]
#[path = "../../../core/tests/it/network.rs"]
mod network;
#[allow(dead_code, reason = "shared with the process's tests, which use all of it")]
#[path = "../../tests/it/noise.rs"]
mod noise;
#[allow(dead_code, reason = "shared with the tests of phala-core, which use all of it")]
#[path = "../../../core/tests/it/root.rs"]
mod root;

use self::{
    client::Account,
    contract::{code, KEEP, LOOP},
    http::{ask, refusal, Answer},
    network::{Network, WORKER},
    noise::Random,
};
use crate::{
    limits::Limits,
    listener, operator, public,
    service::{in_turn, Service, TURNS},
};
use codec::Encode as _;
use phala_light_client::testing::TestRandom;
use phala_protocol::{
    attestation::Role,
    call::Call,
    gas::GasClass,
    query::{AnswerContent, QueryRequest},
    relay::Delivery,
    AccountId, ContractId,
};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{mpsc, Arc},
    time::{Duration, Instant},
};

/// Commands that use up the largest class, one after the other in one block.
const LONG: usize = 8;

/// A worker behind its listeners, a delivery for it that takes seconds, and what its answers are checked with.
struct Scene {
    network: Network,
    alice: Account,
    contract: ContractId,
    service: Arc<Service>,
    address: SocketAddr,
    operator: SocketAddr,
    delivery: Delivery,
    runtime: tokio::runtime::Runtime,
}

fn scene(seed: u64) -> Scene {
    let mut network = Network::ready(seed, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 4]);
    alice.push(&mut network, contract, vec![KEEP, 5]);
    network.chain.next_block();
    for _ in 0..LONG {
        let call = alice.call(&network, contract, vec![LOOP]);
        let call = Call { gas_class: GasClass::Large, gas_limit: GasClass::Large.gas(), ..call };
        let envelope = alice.seal(&network, call);
        network.chain.push(GasClass::Large, alice.id(), envelope);
    }
    network.chain.next_block();
    let delivery = network.delivery(WORKER);
    let tee = network.nodes[WORKER].tee.take().unwrap();
    let limits = Limits { burst: 1e6, per_second: 1e6 };
    let service = Arc::new(Service::new(tee, AccountId([1; 32]), Role::Worker, limits));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listen = |router, bounds| {
        let listening = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listening.local_addr().unwrap();
        runtime.spawn(listener::serve(listening, router, bounds, std::future::pending()));
        address
    };
    let address = listen(public::router(service.clone()).unwrap(), listener::PUBLIC);
    let operator = listen(operator::router(service.clone()), listener::OPERATOR);
    Scene { network, alice, contract, service, address, operator, delivery, runtime }
}

impl Scene {
    fn get(&self, path: &str) -> (Answer, Duration) {
        let start = Instant::now();
        let answer = ask(self.address, "GET", path, &[], b"");
        (answer, start.elapsed())
    }

    /// Asks the contract over HTTP, on the state that is served now.
    fn ask_contract(&mut self) -> (AnswerContent, Duration) {
        let present = self.service.present().unwrap();
        let serving = present.serving.as_ref().unwrap();
        let request = QueryRequest::Contract { contract: self.contract, payload: vec![KEEP] };
        let query = self.alice.query_of(serving.query_key().worker, present.head.0, request);
        let signed = self.alice.sign_query(&self.network, query);
        let (sealed, exporter) = client::seal_query(&self.network, serving, &codec::Encode::encode(&signed));
        let start = Instant::now();
        let answer = ask(self.address, "POST", "/v1/query", &[], &sealed);
        let took = start.elapsed();
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = codec::DecodeAll::decode_all(&mut answer.body.as_slice()).unwrap();
        (client::open_answer(&self.network, &serving.query_key().worker, &exporter, &answer).content, took)
    }
}

#[test]
fn questions_and_queries_are_answered_while_a_long_execution_holds_the_core() {
    let mut scene = scene(200);
    let patience = Duration::from_millis(1_000);
    let executed = |health: &Answer| health.json()["cluster"]["executed"].as_u64().unwrap();
    let before = executed(&scene.get("/v1/health").0);
    let (service, delivery) = (scene.service.clone(), std::mem::take(&mut scene.delivery));
    let start = Instant::now();
    let executing = std::thread::spawn(move || {
        service.deliver(delivery).unwrap().unwrap();
        start.elapsed()
    });
    let (mut rounds, mut halfway) = (0, false);
    while !executing.is_finished() {
        let (health, took) = scene.get("/v1/health");
        let running = !executing.is_finished();
        assert!(health.status == 200 && took < patience, "{took:?} {health:?}");
        let (info, took) = scene.get("/v1/info");
        assert!(info.status == 200 && took < patience, "{took:?}");
        assert_eq!(info.json()["clusters"][0]["epoch"], 1);
        let (metrics, took) = scene.get("/metrics");
        assert!(metrics.status == 200 && took < patience, "{took:?}");
        let (content, took) = scene.ask_contract();
        assert!(took < patience, "{took:?}");
        assert_eq!(content, AnswerContent::Output(vec![KEEP, 4]), "the last final state");
        // Between the two boundaries of the one delivery: the first is seen, the second is not yet there.
        halfway |= running && executed(&health) == before + 1;
        rounds += 1;
    }
    let took = executing.join().unwrap();
    assert!(took > patience * 2, "the delivery took only {took:?}: it shows nothing");
    assert!(rounds > 3 && halfway, "{rounds} rounds in {took:?}");
    let (health, _) = scene.get("/v1/health");
    assert_eq!(executed(&health), before + 1 + LONG as u64);
}

#[test]
fn a_worker_whose_cluster_is_closed_refuses_queries_and_says_that_it_is_for_good() {
    let mut scene = scene(202);
    let present = scene.service.present().unwrap();
    assert!(present.serving.is_some() && !present.cluster.as_ref().unwrap().closed);
    scene.network.chain.close();
    scene.network.chain.next_block();
    let status = scene.service.status().unwrap();
    let delivery = scene.network.delivery_for(&status, 0);
    scene.service.deliver(delivery).unwrap().unwrap();
    let answer = ask(scene.address, "POST", "/v1/query", &[], b"whatever it is");
    assert_eq!((answer.status, refusal(&answer).as_str()), (410, "refused"));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("closed the cluster for good"));
    let (health, _) = scene.get("/v1/health");
    assert_eq!((health.status, &health.json()["cluster"]["closed"]), (503, &serde_json::json!(true)));
    assert_eq!(scene.get("/v1/info").0.json()["clusters"], serde_json::json!([]));
}

#[test]
fn garbage_to_a_worker_that_serves_gets_typed_refusals() {
    let mut scene = scene(201);
    let present = scene.service.present().unwrap();
    let query = scene.alice.query_of(
        present.serving.as_ref().unwrap().query_key().worker,
        present.head.0,
        QueryRequest::Reply { nonce: 1 },
    );
    let signed = scene.alice.sign_query(&scene.network, query);
    let serving = present.serving.clone().unwrap();
    let (good, _) = client::seal_query(&scene.network, &serving, &codec::Encode::encode(&signed));
    let code_of = |bytes: &[u8]| {
        let answer = ask(scene.address, "POST", "/v1/query", &[], bytes);
        (answer.status, refusal(&answer))
    };
    let typed = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(code_of(b""), typed(400, "invalid"));
    assert_eq!(code_of(&good[1..]), typed(400, "invalid"));
    assert_eq!(code_of(&[&good[..], &[0]].concat()), typed(400, "invalid"));
    let epoch = [&good[..5], &[9], &good[6..]].concat();
    assert_eq!(code_of(&epoch), typed(409, "stale"));
    for position in (10..good.len()).step_by(97) {
        let mut altered = good.clone();
        altered[position] ^= 0x40;
        assert_eq!(code_of(&altered), typed(400, "refused"), "byte {position}");
    }
    let (no_question, _) = client::seal_query(&scene.network, &serving, &[0xa5; 300]);
    assert_eq!(code_of(&no_question), typed(400, "invalid"));
    // At rate, from several sides.
    let (address, good) = (scene.address, &good);
    let told = std::thread::scope(|scope| {
        let flood = |thread: u64| {
            let mut random = Random(TestRandom::new(thread));
            let mut told = BTreeMap::<_, usize>::new();
            for round in 0..120 {
                let mut bytes = random.body();
                if round % 2 == 1 {
                    bytes.clone_from(good);
                    let position = random.below(bytes.len());
                    bytes[position] ^= 1 << random.below(8);
                }
                let answer = ask(address, "POST", "/v1/query", &[], &bytes);
                *told.entry((answer.status, refusal(&answer))).or_default() += 1;
            }
            told
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || flood(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).fold(BTreeMap::new(), |mut all, (code, count)| {
            *all.entry(code).or_insert(0) += count;
            all
        })
    });
    // Each was decoded: none was turned away before that, as by a worker that has nothing to answer from.
    let decoded = [typed(400, "invalid"), typed(400, "refused"), typed(409, "stale")];
    assert!(told.keys().all(|code| decoded.contains(code)), "{told:?}");
    assert!(decoded[..2].iter().all(|code| told[code] > 100), "{told:?}");
    assert_eq!(ask(scene.address, "POST", "/v1/query", &[], good).status, 200, "and the good one is answered");
}

/// As many connections as the operator's listener has places, each of which it answers; none when it refuses one.
fn all_places(address: SocketAddr) -> Option<Vec<TcpStream>> {
    let place = |_| {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).ok()?;
        (&status == b"HTTP/1.1 404").then_some(stream)
    };
    (0..listener::OPERATOR.room.per_address).map(place).collect()
}

#[test]
fn deliveries_whose_sender_hangs_up_before_their_turn_are_neither_kept_nor_executed() {
    let scene = scene(203);
    // As long executions do.
    let (begin, begun) = mpsc::channel();
    let turns: Vec<_> = (0..TURNS)
        .map(|_| {
            let (begin, (end, ended)) = (begin.clone(), mpsc::channel::<()>());
            let work = move |_: &Service| {
                begin.send(()).unwrap();
                // Until the other end is dropped.
                let _ = ended.recv();
            };
            scene.runtime.spawn(in_turn(scene.service.clone(), work));
            end
        })
        .collect();
    (0..TURNS).for_each(|_| begun.recv().unwrap());

    let delivery = Delivery::default().encode();
    let head = format!("POST /operator/v1/deliver HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", delivery.len());
    let mut waiting: Vec<_> = (0..listener::OPERATOR.room.per_address)
        .map(|number| {
            let mut stream = TcpStream::connect(scene.operator).unwrap();
            // From every other one a byte more, behind which HTTP alone does not see that he hangs up.
            let after: &[u8] = if number % 2 == 0 { b"" } else { b"P" };
            stream.write_all(&[head.as_bytes(), &delivery, after].concat()).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    // And from some of these still more, when that byte is read already.
    for stream in waiting.iter_mut().skip(1).step_by(4) {
        stream.write_all(b"OST").unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    drop(waiting);
    // Others get their places, so that what came with them is gone.
    let start = Instant::now();
    while all_places(scene.operator).is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "whoever hung up keeps his place");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(turns);
    let counted = |expected: usize| {
        let text = String::from_utf8(scene.get("/metrics").0.body).unwrap();
        let is_there = |line: String| text.lines().any(|found| found == line);
        is_there(format!("phala_deliveries_total {expected}")) && is_there("phala_deliveries_refused_total 0".into())
    };
    // In its turn, and so after whatever waits.
    let start = Instant::now();
    let mut status = ask(scene.operator, "GET", "/operator/v1/status", &[], b"");
    while status.status == 503 && start.elapsed() < Duration::from_secs(30) {
        // The last connections that were held to show that there is room are about to end.
        std::thread::sleep(Duration::from_millis(50));
        status = ask(scene.operator, "GET", "/operator/v1/status", &[], b"");
    }
    assert_eq!(status.status, 200);
    assert!(counted(0), "a delivery was executed that nobody waits for");
    assert_eq!(ask(scene.operator, "POST", "/operator/v1/deliver", &[], &delivery).status, 200);
    assert!(counted(1));
}
