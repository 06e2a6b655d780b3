//! The lines that scripts rely on, as clap reads them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
use super::*;
use clap::CommandFactory;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn lines_that_scripts_rely_on_are_read() {
    let cli = parse("phala dev --fresh --base-path /tmp/x --json").unwrap();
    assert!(cli.global.json);
    let Command::Dev(dev) = cli.command else { panic!() };
    assert!(dev.fresh && dev.base_path == Some("/tmp/x".into()));
    assert_eq!((dev.authorities, dev.workers, dev.node_port), (None, None, None));

    let cli = parse("phala --json contract deploy f.wasm 100 --from alice --cluster 1").unwrap();
    let Command::Contract(ContractCommand::Deploy(deploy)) = cli.command else { panic!() };
    assert_eq!((deploy.args, deploy.cluster, deploy.from.as_str()), (vec!["100".to_owned()], 1, "alice"));

    let cli = parse("phala contract call token transfer bob 5 --from alice --wait --receipt r.json").unwrap();
    let Command::Contract(ContractCommand::Call(call)) = cli.command else { panic!() };
    assert!(parse("phala contract call c add -5 --from alice").is_ok());
    assert_eq!((call.method.as_str(), call.args.len(), call.wait), ("transfer", 2, true));

    let cli = parse("phala contract query token balance --from bob --network ws://127.0.0.1:1").unwrap();
    assert_eq!(cli.global.network.as_deref(), Some("ws://127.0.0.1:1"));

    let cli = parse("phala session open --from alice --cluster 1").unwrap();
    let Command::Session(SessionCommand::Open(open)) = cli.command else { panic!() };
    assert_eq!((open.from.as_str(), open.cluster), ("alice", 1));
    assert!(parse("phala session open").is_err());
    let cli = parse("phala contract call token transfer bob 5 --from alice --session").unwrap();
    let Command::Contract(ContractCommand::Call(call)) = cli.command else { panic!() };
    assert_eq!((call.session, call.wait), (true, false));

    let cli = parse("phala contract reply 1764345600000 --receipt r.json").unwrap();
    let Command::Contract(ContractCommand::Reply(reply)) = cli.command else { panic!() };
    assert_eq!((reply.nonce, reply.from, reply.timeout), (1_764_345_600_000, None, 180));
    assert!(parse("phala contract reply").is_err() && parse("phala contract reply -1").is_err());
    assert!(matches!(parse("phala contract pending").unwrap().command, Command::Contract(ContractCommand::Pending)));

    let cli = parse("phala contract egress 7 --cluster 1").unwrap();
    assert!(matches!(cli.command, Command::Contract(ContractCommand::Egress { sequence: 7, cluster: 1 })));
    let cli = parse("phala contract address token --json").unwrap();
    assert!(matches!(cli.command, Command::Contract(ContractCommand::Address { contract }) if contract == "token"));
    assert!(parse("phala contract address").is_err());

    let cli = parse("phala verify r.json --allow-simulated").unwrap();
    let Command::Verify(VerifyArgs { allow_simulated: true, allow_unknown_bans: false, .. }) = cli.command else {
        panic!()
    };
    let cli = parse("phala verify r.json --allow-unknown-bans").unwrap();
    let Command::Verify(VerifyArgs { allow_simulated: false, allow_unknown_bans: true, .. }) = cli.command else {
        panic!()
    };
}

#[test]
fn a_worker_is_run_without_naming_what_has_a_default() {
    let run = |line: &str| {
        let Command::Worker(WorkerCommand::Run(run)) = parse(line).unwrap().command else { panic!() };
        run
    };
    assert_eq!(run("phala worker run --operator bob --data d").sealing_key, None);
    assert_eq!(run("phala worker run --operator bob --data d --sealing-key k").sealing_key, Some("k".into()));
}

#[test]
fn help_says_of_estimates_and_limits_what_they_are() {
    let help = |path: &[&str]| {
        let mut command = Cli::command();
        for name in path {
            command = command.find_subcommand(name).unwrap().clone();
        }
        command.render_long_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(!help(&["contract", "estimate"]).contains("methods"));
    for path in [["contract", "call"], ["contract", "deploy"], ["session", "open"]] {
        assert!(help(&path).contains("that the inbox may charge"), "{path:?}");
    }
}

#[test]
fn refuses_other_numbers_of_authorities_workers_and_blocks() {
    let cli = parse("phala dev --authorities 4 --workers 3 --node-port 9 --worker-port 8").unwrap();
    let Command::Dev(dev) = cli.command else { panic!() };
    assert_eq!((dev.authorities, dev.workers, dev.node_port, dev.worker_port), (Some(4), Some(3), Some(9), Some(8)));
    assert!(parse("phala dev --authorities 2").is_err());
    assert!(parse("phala dev --workers 0").is_err());
    assert!(parse("phala dev --session-blocks 10").is_ok());
    for wrong in ["9", "86401", "-10", "ten"] {
        assert!(parse(&format!("phala dev --session-blocks {wrong}")).is_err(), "{wrong}");
    }
    assert!(parse("phala contract call token transfer").is_err());
}

#[test]
fn lines_about_machines_and_evidence_are_read() {
    let cli = parse("phala worker check --root /tmp/x --collateral c --quote q --at 1750414563").unwrap();
    let Command::Worker(WorkerCommand::Check(check)) = cli.command else { panic!() };
    assert_eq!((check.root, check.at), ("/tmp/x".into(), 1_750_414_563));
    assert!(parse("phala worker check --quote q").is_err(), "a quote says nothing without collateral");

    let cli = parse("phala attest verify q --collateral c --at 2025-06-20T10:16:03Z --json").unwrap();
    let Command::Attest(AttestCommand::Verify(verify)) = cli.command else { panic!() };
    assert_eq!((verify.at, verify.root), (1_750_414_563, crate::evidence::RootArgument::Intel));
    assert!(cli.global.json && !verify.allow_simulated);
    assert!(parse("phala attest verify q --collateral c").is_err(), "a verdict needs its time");
    assert!(parse("phala attest verify q --at now").is_err(), "and its collateral");
    assert!(parse("phala attest verify q --collateral c --at now --root other").is_err());
    assert!(parse("phala attest show q --event-log l").is_ok());
    assert!(parse("phala attest verify q --collateral c --at now --event-log l").is_ok());
    assert!(parse("phala attest show q").is_ok() && parse("phala attest measurement f").is_ok());
    assert!(parse("phala attest collateral import c --from alice").is_ok());
    let id = "07".repeat(64);
    let cli = parse(&format!("phala attest enclave --sigstruct s --config-id {id} --config-svn 3 --json")).unwrap();
    let Command::Attest(AttestCommand::Enclave(enclave)) = cli.command else { panic!() };
    assert_eq!((enclave.config_id, enclave.config_svn), (Some([7; 64]), Some(3)));
    for bad in ["", "--sigstruct s --config-svn 3", "--sigstruct s --config-id 07 --config-svn 3"] {
        assert!(parse(&format!("phala attest enclave {bad}")).is_err(), "{bad}");
    }
    let cli =
        parse("phala attest image --firmware f --image i --memory 16G --event-log l --xfam e702060000000000").unwrap();
    let Command::Attest(AttestCommand::Image(image)) = cli.command else { panic!() };
    assert_eq!((image.memory, image.td_attributes), (Some(16 << 30), [0, 0, 0, 0x10, 0, 0, 0, 0]));
    for bad in ["--image i --uki u", "--event-log l", "--memory 0", "--memory 16T", "--xfam e7", "--page-order any"] {
        assert!(parse(&format!("phala attest image --firmware f {bad}")).is_err(), "{bad}");
    }
    let fetch = "phala attest collateral fetch --pccs http://127.0.0.1:1 --ca platform --out f --fmspc";
    assert!(parse(&format!("{fetch} b0c06f000000")).is_ok());
    for bad in ["b0c06f00000", "b0c06f00000g", "b0c06f000000&x=1"] {
        assert!(parse(&format!("{fetch} {bad}")).is_err(), "{bad}");
    }
    assert!(parse("phala worker run --operator bob --data d").is_ok(), "a worker finds its machine");
}

#[test]
fn values_of_the_beacon_are_shown_written_down_and_checked() {
    let cli = parse("phala beacon latest --output b.json --json").unwrap();
    let Command::Beacon(BeaconCommand::Latest { output }) = cli.command else { panic!() };
    assert_eq!(output, Some("b.json".into()));
    assert!(parse("phala beacon latest").is_ok() && parse("phala beacon verify").is_err());
    let cli = parse("phala beacon verify b.json --genesis 0x00").unwrap();
    let Command::Beacon(BeaconCommand::Verify(args)) = cli.command else { panic!() };
    assert_eq!((args.file, args.genesis.as_deref()), ("b.json".into(), Some("0x00")));
}

#[test]
fn gatekeepers_are_one_or_four_and_have_commands_of_their_own() {
    let cli = parse("phala dev --authorities 4 --gatekeepers 4 --session-blocks 20 --epoch-blocks 30").unwrap();
    let Command::Dev(dev) = cli.command else { panic!() };
    assert_eq!((dev.gatekeepers, dev.session_blocks, dev.epoch_blocks), (Some(4), Some(20), Some(30)));
    for number in ["0", "2", "3", "5"] {
        assert!(parse(&format!("phala dev --gatekeepers {number}")).is_err());
    }
    let cli = parse("phala gatekeeper start 0x01 0x02 --json").unwrap();
    let Command::Gatekeeper(GatekeeperCommand::Start { identities, from }) = cli.command else { panic!() };
    assert_eq!((identities.len(), from.as_str()), (2, "alice"));
    assert!(parse("phala gatekeeper start").is_err() && parse("phala gatekeeper register-seat 0x01").is_err());
    assert!(parse("phala gatekeeper register-seat 0x01 --from bob-stash").is_ok());
    assert!(parse("phala gatekeeper register-seat 0x01 --from bob-stash --replace").is_ok());
    let cli = parse("phala gatekeeper identities --json").unwrap();
    assert!(matches!(cli.command, Command::Gatekeeper(GatekeeperCommand::Identities)));
    for (line, is_start) in [("start-identities", true), ("cancel-identities --from bob", false)] {
        let from = match parse(&format!("phala gatekeeper {line}")).unwrap().command {
            Command::Gatekeeper(GatekeeperCommand::StartIdentities { from }) if is_start => from,
            Command::Gatekeeper(GatekeeperCommand::CancelIdentities { from }) if !is_start => from,
            _ => panic!("{line}"),
        };
        assert_eq!(from, if is_start { "alice" } else { "bob" });
        assert!(parse(&format!("phala gatekeeper {line} 0x01")).is_err(), "the root's seats are named by nobody");
    }
    let cli = parse("phala gatekeeper transcript --era 2 --attempt 1 --output t").unwrap();
    let Command::Gatekeeper(GatekeeperCommand::Transcript(args)) = cli.command else { panic!() };
    assert_eq!((args.era, args.attempt, args.before, args.identities), (Some(2), Some(1), None, false));
    let cli = parse("phala gatekeeper transcript --identities --before 900 --output t").unwrap();
    let Command::Gatekeeper(GatekeeperCommand::Transcript(args)) = cli.command else { panic!() };
    assert_eq!((args.identities, args.era, args.before), (true, None, Some(900)));
    assert!(parse("phala gatekeeper verify-transcript t --genesis 0x00 --allow-unproved").is_ok());
    let cli = parse("phala gatekeeper suspend evaluation:intel-tdx:18 --for 600 --tee gatekeeper-1 --out p").unwrap();
    let Command::Gatekeeper(GatekeeperCommand::Suspend(args)) = cli.command else { panic!() };
    assert_eq!((args.until, args.for_blocks, args.out), (None, Some(600), Some("p".into())));
    let suspend = "phala gatekeeper suspend vendor:intel-tdx";
    assert!(parse(&format!("{suspend} --until 9")).is_ok() && parse(suspend).is_err());
    assert!(
        parse(&format!("{suspend} --until 9 --for 9")).is_err() && parse(&format!("{suspend} --for 14401")).is_err()
    );
    assert!(parse("phala gatekeeper suspend root:intel --until 9").is_err());
    let cli = parse("phala brake pull a b --from alice").unwrap();
    let Command::Brake(BrakeCommand::Pull(args)) = cli.command else { panic!() };
    assert_eq!((args.files.len(), args.from.as_str()), (2, "alice"));
    assert!(parse("phala brake pull --from alice").is_err() && parse("phala brake status").is_ok());
    assert!(parse("phala brake elect a b c --from v").is_ok() && parse("phala brake elect a b c").is_err());
    assert!(parse("phala gatekeeper status").is_ok() && parse("phala gatekeeper transcript").is_err());
    let cli = parse("phala relayer run --from alice --tee http://a:1 --tee http://b:2,bob-stash").unwrap();
    let Command::Relayer(RelayerCommand::Run(args)) = cli.command else { panic!() };
    assert_eq!(args.tees, ["http://a:1", "http://b:2,bob-stash"]);
    assert_eq!((args.listen, args.peers.len()), (None, 0), "it has nothing to do with other relayers unless told to");
    assert!(args.pccs.is_empty(), "nor with any service");
}

#[test]
fn a_relayer_fetches_collateral_from_the_services_that_are_named() {
    let run = |flags: &str| match parse(&format!("phala relayer run --from alice --tee http://a:1 {flags}")) {
        Ok(Cli { command: Command::Relayer(RelayerCommand::Run(args)), .. }) => Some(args),
        _ => None,
    };
    let args = run("--pccs https://a:8081 --pccs http://b --ca-certificate ca.pem --collateral-folder kept").unwrap();
    assert_eq!(args.pccs, ["https://a:8081", "http://b"]);
    assert_eq!((args.ca_certificate, args.collateral_folder), (Some("ca.pem".into()), Some("kept".into())));
    for flags in ["--ca-certificate ca.pem", "--collateral-folder kept", "--pccs"] {
        assert!(run(flags).is_none(), "{flags}");
    }
}

#[test]
fn a_relayer_listens_on_loopback_unless_told_otherwise_and_peers_have_addresses() {
    let run = |flags: &str| match parse(&format!("phala relayer run --from alice --tee http://a:1 {flags}")) {
        Ok(Cli { command: Command::Relayer(RelayerCommand::Run(args)), .. }) => Some(args),
        _ => None,
    };
    let listens = |flags: &str| run(flags).unwrap().listen.unwrap().to_string();
    assert_eq!(listens("--listen 8400"), "127.0.0.1:8400");
    assert_eq!(listens("--listen 0.0.0.0:8400"), "0.0.0.0:8400");
    assert_eq!(listens("--listen [::1]:8400"), "[::1]:8400");
    for flags in
        ["--listen", "--listen 70000", "--listen relayer.example:8400", "--peer 192.0.2.7:8400", "--peer https://a:1"]
    {
        assert!(run(flags).is_none(), "{flags}");
    }
    let args = run("--peer http://192.0.2.7:8400 --peer http://relayer.example:8400/").unwrap();
    assert_eq!(args.peers, ["http://192.0.2.7:8400", "http://relayer.example:8400/"]);
    assert_eq!(args.snapshots, None, "it keeps none unless told to");
    assert_eq!(run("--snapshots kept").unwrap().snapshots, Some("kept".into()));
    assert!(args.listen.is_none());
    let Command::Dev(dev) = parse("phala dev --relayers 2").unwrap().command else { panic!() };
    assert_eq!(dev.relayers, Some(2));
    assert!(parse("phala dev --relayers 0").is_err() && parse("phala dev --relayers 5").is_err());
}
