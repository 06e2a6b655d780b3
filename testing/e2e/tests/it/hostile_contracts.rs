//! What contracts, deployers, operators and clients do wrong on a real network: each gets its own typed error, and the next executes.

use crate::hostile_evidence;
use phala_client::{abi::Kind, chain::ChainCall, Account, Chain, ErrorCode, Until};
use phala_e2e::{
    canary_run::CALLER,
    inbox::items,
    load::{
        link::{Link, NetworkFile},
        seal, sign, Token,
    },
    phala,
    processes::{self, ByHand},
    raw_http::{ask, host_of},
    wait_until, Network,
};
use phala_protocol::{
    call::{Call, CallPurpose},
    gas::GasClass,
    ClusterId, Hash,
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Accounts that have funds and do nothing else meanwhile.
const ACCOUNTS: [&str; 5] = ["bob", CALLER, "dave", "eve", "ferdie"];
/// Gas of what never ends: the smallest class.
const LITTLE_GAS: &str = "10000000";
/// Gas of what has to end by itself: the largest class.
const MUCH_GAS: &str = "1000000000";
/// The genesis hash of a chain that is not this one.
const ANOTHER_CHAIN: Hash = [9; 32];
/// What alice gives bob on that chain, and on this one.
const ELSEWHERE: u128 = 5;
const HERE: u128 = 3;

pub fn check(network: &Network, probe: &str, wasm: &Path, folder: &Path) {
    thread::scope(|scope| {
        let rogue = scope.spawn(|| an_unlisted_machine_is_not_registered(network, &folder.join("rogue")));
        methods_that_go_wrong(network, probe);
        modules_that_are_no_contracts(network, wasm, &folder.join("modules"));
        what_is_anothers_looks_like_what_is_not_there(network, probe);
        rogue.join().unwrap();
    });
    // Alone: it reads the end of the inbox.
    envelopes_that_are_not_for_this(network);
    hostile_evidence::check(network);
}

fn methods_that_go_wrong(network: &Network, probe: &str) {
    let wrongs = [
        ("trap", "trapped", 5),
        ("spin", "out_of_gas", 5),
        ("recurse", "trapped", 5),
        ("hoard", "trapped", 5),
        ("megabytes", "trapped", 5),
        ("too_long", "over_limit", 4),
        ("storm", "out_of_gas", 5),
        ("shout", "trapped", 5),
    ];
    for round in wrongs.chunks(ACCOUNTS.len()) {
        thread::scope(|scope| {
            for ((method, code, exit), account) in round.iter().zip(ACCOUNTS) {
                scope.spawn(move || {
                    let gas = if *code == "out_of_gas" { LITTLE_GAS } else { MUCH_GAS };
                    let words = ["contract", "call", probe, method, "--from", account, "--wait", "--gas-limit", gas];
                    let run = phala(&network.base, &words);
                    let told = run.json["error"]["code"].as_str().unwrap_or_default();
                    assert_eq!((told, run.code), (*code, Some(*exit)), "{method}: {}", run.text);
                    assert!(run.json["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{method}");
                });
            }
        });
    }
    says_and_reads(network, probe, "after everything went wrong");
}

fn says_and_reads(network: &Network, probe: &str, text: &str) {
    let arguments = serde_json::json!([text, "x"]).to_string();
    network.phala(&["contract", "call", probe, "say", &arguments, "--from", CALLER, "--wait"]).data();
    let read = network.phala(&["contract", "query", probe, "read", "--from", CALLER]).data();
    assert_eq!(read["value"], text);
}

/// The section by which clients know a contract's methods, with its header.
fn metadata_section(wasm: &[u8]) -> Vec<u8> {
    let mut at = 8;
    while at < wasm.len() {
        let (id, begin) = (wasm[at], at);
        at += 1;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = wasm[at];
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += length;
        if id == 0 && wasm[begin..at].windows(14).any(|window| window == b"phala.metadata") {
            return wasm[begin..at].to_vec();
        }
    }
    panic!("a contract describes itself");
}

/// Code that is not a contract, though it describes itself as one: the chain keeps it, the worker judges it.
fn modules_that_are_no_contracts(network: &Network, wasm: &Path, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let section = metadata_section(&std::fs::read(wasm).unwrap());
    let entries = r#"(memory (export "memory") 1)
        (func (export "deploy") (result i32) i32.const 0) (func (export "call") (result i32) i32.const 0)
        (func (export "query") (result i32) i32.const 0)"#;
    let text = |rest: &str| [wat::parse_str(format!("(module {rest} {entries})")).unwrap(), section.clone()].concat();
    let nested = format!("(func {} {})", "block ".repeat(5_000), "end ".repeat(5_000));
    let garbage = [b"\0asm\x01\0\0\0".to_vec(), section.clone(), vec![0xfe; 5_000]].concat();
    let modules = [
        ("garbage", garbage),
        ("bomb-of-blocks", text(&nested)),
        ("bomb-of-functions", text(&"(func)".repeat(9_000))),
        ("start", text("(func $start) (start $start)")),
        ("import", text(r#"(import "env" "open" (func))"#)),
    ];
    thread::scope(|scope| {
        for ((name, code), account) in modules.into_iter().zip(ACCOUNTS) {
            let path = folder.join(format!("{name}.wasm"));
            scope.spawn(move || {
                std::fs::write(&path, code).unwrap();
                let run = phala(&network.base, &["contract", "deploy", path.to_str().unwrap(), "--from", account]);
                let told = (run.json["error"]["code"].as_str(), run.code);
                assert_eq!(told, (Some("refused"), Some(4)), "{name}: {}", run.text);
                assert!(run.text.contains("constructor failed"), "{name}: {}", run.text);
            });
        }
    });
    // What the command line sees for itself costs nothing.
    let text = folder.join("text.wasm");
    std::fs::write(&text, "this is no module").unwrap();
    let run = network.phala(&["contract", "deploy", text.to_str().unwrap(), "--from", CALLER]);
    assert_eq!((run.json["error"]["code"].as_str(), run.code), (Some("invalid"), Some(2)), "{}", run.text);
    std::fs::write(&text, vec![0; 600 * 1024]).unwrap();
    let run = network.phala(&["contract", "deploy", text.to_str().unwrap(), "--from", CALLER]);
    assert_eq!((run.json["error"]["code"].as_str(), run.code), (Some("over_limit"), Some(4)), "{}", run.text);

    // The heaviest that is within every limit costs a while of one machine, and nobody else's answers.
    let heavy = format!("(func (param i64) (result i64) local.get 0 {})", "local.get 0 i64.mul ".repeat(15_000));
    let heavy = [wat::parse_str(format!("(module {} {entries})", heavy.repeat(10))).unwrap(), section].concat();
    assert!(heavy.len() > 400 * 1024 && heavy.len() <= 512 * 1024, "{}", heavy.len());
    let path = folder.join("heavy.wasm");
    std::fs::write(&path, heavy).unwrap();
    let run = network.phala(&["contract", "deploy", path.to_str().unwrap(), "--from", "dave"]);
    assert_eq!(run.code, Some(0), "{}", run.text);
}

/// A query about somebody else's data is refused in the bytes in which one about a contract that does not exist is.
fn what_is_anothers_looks_like_what_is_not_there(network: &Network, probe: &str) {
    let of_the_caller = serde_json::json!([CALLER]).to_string();
    let ask = |contract: &str, from: &str| {
        network.phala(&["contract", "query", contract, "read_of", &of_the_caller, "--from", from])
    };
    assert!(ask(probe, CALLER).data()["value"].is_string(), "the data is there, for whom it belongs to");
    let refused = |contract: &str| {
        let run = ask(contract, "dave");
        assert_eq!((run.json["error"]["code"].as_str(), run.code), (Some("not_found"), Some(3)), "{}", run.text);
        run.text
    };
    let missing = |digit: &str| refused(&format!("0x{}", digit.repeat(64)));
    let denied = refused(probe);
    assert_eq!(denied, missing("1"));
    assert_eq!(denied, missing("e"));
}

/// A worker whose evidence names a measurement that is not on the list. It finds no way in, and is told why.
fn an_unlisted_machine_is_not_registered(network: &Network, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let own = processes::arguments(processes::id(&network.base, "worker-0"));
    let simulator = processes::arguments(processes::id(&network.base, "tee-worker-0"));
    let tee = folder.join("tee");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    // It measures another program than the one that runs: its own.
    let machine = ByHand::start(
        &words(&[&simulator[0], "--dir", &path(tee.clone()), "--measure", &simulator[0], "--machine", "rogue"]),
        &folder.join("tee.log"),
    );
    wait_until("the simulator is ready", Duration::from_secs(20), || tee.join("collateral").exists());
    let (http, operator) = (free_port(), free_port());
    let mut words_of_worker = own.clone();
    for (flag, value) in [
        ("--data", path(folder.join("data"))),
        ("--listen", format!("127.0.0.1:{http}")),
        ("--operator-listen", format!("127.0.0.1:{operator}")),
        ("--tsm", path(tee.join("report"))),
        ("--sealing-key", path(tee.join("keys").join("sealing"))),
    ] {
        let at = words_of_worker.iter().position(|word| word == flag).unwrap();
        words_of_worker[at + 1] = value;
    }
    let worker = ByHand::start(&words_of_worker, &folder.join("worker.log"));
    let phala = processes::arguments(processes::id(&network.base, "relayer"))[0].clone();
    let relayer = ByHand::start(
        &words(&[
            &phala,
            "relayer",
            "run",
            "--network",
            network.node(),
            "--from",
            "alice",
            "--tee",
            &format!("http://127.0.0.1:{operator}"),
            "--collateral",
            &path(tee.join("collateral")),
        ]),
        &folder.join("relayer.log"),
    );
    let url = format!("http://127.0.0.1:{http}");
    let info = || ask(host_of(&url), "GET", "/v1/info", &[]).map_or(Value::Null, |answer| answer.json());
    wait_until("the rogue shows evidence", Duration::from_secs(40), || info()["evidence"].is_string());
    drop(relayer);
    let run = network.phala(&["worker", "register", &url, "--from", "alice"]);
    assert_eq!((run.json["error"]["code"].as_str(), run.code), (Some("unattested"), Some(7)), "{}", run.text);
    assert!(run.json["error"]["hint"].as_str().is_some_and(|hint| hint.contains("measurement")), "{}", run.text);
    assert_eq!(info()["registered"], false);
    drop((worker, machine));
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Two calls of alice's with one nonce, each sealed for this chain: the first she signed on another chain, where somebody opened it, and the
/// second here.
async fn calls_of_two_chains(network: &Network, token: &str) -> [Vec<u8>; 2] {
    let link = Link::new(network.node(), NetworkFile::read(&network.base).unwrap().pin().unwrap());
    let token = Token::find(&link, token).await.unwrap();
    let cluster = token.cluster;
    let (record, height) = link.answer(|network| async move { network.cluster(cluster).await }).await.unwrap();
    let genesis = *link.network().await.genesis();
    let (alice, gas_class) = (Account::development("alice").unwrap(), GasClass::Small);
    // As the command line numbers calls: later than all before, and earlier than all that follow.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let nonce = u64::try_from(now.as_millis()).unwrap();
    [(ANOTHER_CHAIN, ELSEWHERE), (genesis, HERE)].map(|(signed_over, amount)| {
        let call = Call {
            purpose: CallPurpose::Command,
            contract: token.contract,
            nonce,
            valid_until: height + 1_200,
            gas_class,
            gas_limit: gas_class.gas(),
            max_fee: u128::MAX,
            payload: token.input(Kind::Call, "transfer", &["bob".into(), amount.to_string().into()]).unwrap(),
        };
        let signed = sign(&signed_over, cluster, &record, &alice, &call).unwrap();
        seal(&genesis, cluster, &record, &signed).unwrap()
    })
}

/// Envelopes pushed by hand: of another cluster, epoch or chain, too long, garbage, and one that was executed before.
fn envelopes_that_are_not_for_this(network: &Network) {
    let token = network.ready["contracts"]["token"].as_str().unwrap();
    let node = host_of(network.node());
    let balance = || -> u128 {
        let answer = network.phala(&["contract", "query", token, "balance", "--from", "bob"]).data();
        answer["value"].as_str().unwrap().parse().unwrap()
    };
    network.phala(&["contract", "call", token, "transfer", r#"["bob", "7"]"#, "--from", "alice", "--wait"]).data();
    let real = items(node, 0, 0).unwrap().pop().unwrap().message;
    let (before, count) = (balance(), items(node, 0, 0).unwrap().len());
    let mut of_another_epoch = real.clone();
    of_another_epoch[6] ^= 1;
    // Public fields as they must be, sealed for nobody.
    let mut scrambled = real.clone();
    for byte in scrambled.iter_mut().skip(16) {
        *byte = byte.wrapping_mul(31).wrapping_add(7);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let [of_another_chain, of_this_chain] = runtime.block_on(calls_of_two_chains(network, token));
    let pushes = [
        ("another cluster", 1, real.clone(), Some(ErrorCode::Refused)),
        ("another epoch", 0, of_another_epoch, Some(ErrorCode::Stale)),
        ("garbage", 0, vec![0xab; 2_000], Some(ErrorCode::Refused)),
        ("cut short", 0, real[..real.len() - 1].to_vec(), Some(ErrorCode::Refused)),
        ("nobody's cluster", 4_000, real.clone(), Some(ErrorCode::Busy)),
        ("scrambled", 0, scrambled, None),
        ("executed before", 0, real, None),
        ("signed on another chain", 0, of_another_chain, None),
        ("signed on this chain, with its nonce", 0, of_this_chain, None),
    ];
    runtime.block_on(async {
        let chain = Chain::connect(network.node()).await.unwrap();
        let account = Account::development("ferdie").unwrap();
        for (what, cluster, envelope, refused) in pushes {
            let call = ChainCall::push(ClusterId(cluster), GasClass::Small, vec![envelope], u128::MAX);
            let told = chain.submit(&account, &call, Until::Finalised).await.err().map(phala_client::ClientError::from);
            assert_eq!(told.as_ref().map(|error| error.code), refused, "{what}: {told:?}");
        }
        let too_long = ChainCall::push(ClusterId(0), GasClass::Small, vec![vec![1; 30 * 1024]], u128::MAX);
        assert!(chain.submit(&account, &too_long, Until::Finalised).await.is_err(), "an envelope longer than any");
    });
    assert_eq!(items(node, 0, 0).unwrap().len(), count + 4, "four were taken: three to fail, and one to execute");
    network.phala(&["contract", "call", token, "transfer", r#"["ferdie", "1"]"#, "--from", "alice", "--wait"]).data();
    // Neither what was executed once, nor what alice said elsewhere; and that used no nonce up.
    assert_eq!(balance(), before + HERE);
}
