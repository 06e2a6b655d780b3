//! The command as a process, without a network: what its arguments and variables come to before there is one.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    process::Command,
};

struct Run {
    code: Option<i32>,
    json: Value,
    notes: String,
}

/// Runs `phala --json ARGUMENTS` with an empty home and, if it is given, `PHALA_NETWORK`.
fn phala(home: &Path, network: Option<&OsStr>, arguments: &[OsString]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phala"));
    command.arg("--json").args(arguments).env("PHALA_HOME", home).env_remove("PHALA_NETWORK");
    command.envs(network.map(|network| ("PHALA_NETWORK", network)));
    let output = command.output().unwrap();
    Run {
        code: output.status.code(),
        json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        notes: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn expect(run: &Run, code: i32, name: &str) {
    assert_eq!((run.code, &run.json["error"]["code"]), (Some(code), &Value::from(name)), "{} {}", run.json, run.notes);
}

#[test]
fn arguments_that_are_not_utf_8_are_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    let garbage = OsStr::from_bytes(b"\xff\xfe").to_owned();
    expect(&phala(home.path(), None, std::slice::from_ref(&garbage)), 2, "usage");
    expect(&phala(home.path(), None, &[words(&["--network"]), vec![garbage], words(&["status"])].concat()), 2, "usage");
}

#[test]
fn an_empty_variable_names_no_network_and_another_one_does() {
    let home = tempfile::tempdir().unwrap();
    for unset in [None, Some(OsStr::new(""))] {
        let run = phala(home.path(), unset, &words(&["status"]));
        expect(&run, 3, "not_found");
        assert_eq!(run.json["error"]["message"], "no network is known here");
    }
    let elsewhere = home.path().join("elsewhere");
    let named = phala(home.path(), Some(elsewhere.as_os_str()), &words(&["status"]));
    expect(&named, 3, "not_found");
    assert!(named.json["error"]["message"].as_str().unwrap().contains("elsewhere"), "{}", named.json);
}

#[test]
fn a_development_network_is_not_started_as_another_one_that_was_named() {
    let home = tempfile::tempdir().unwrap();
    let refused = phala(home.path(), None, &words(&["--network", "elsewhere", "dev"]));
    expect(&refused, 2, "usage");
    assert!(refused.json["error"]["hint"].as_str().unwrap().contains("--base-path"), "{}", refused.json);

    // A file in the place of its folder: it fails before anything is started.
    let file = home.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let dev = words(&["dev", "--base-path", file.to_str().unwrap()]);
    let ignored = phala(home.path(), Some(OsStr::new("elsewhere")), &dev);
    assert!(ignored.code != Some(0) && ignored.code != Some(2), "{} {}", ignored.json, ignored.notes);
    assert!(ignored.notes.contains("ignores PHALA_NETWORK"), "{}", ignored.notes);
    for nothing in [None, Some(OsStr::new(""))] {
        assert!(!phala(home.path(), nothing, &dev).notes.contains("PHALA_NETWORK"));
    }
}

#[test]
fn looking_what_is_missing_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let run = phala(&home, None, &words(&["doctor"]));
    let checks = run.json["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["check"] == "home folder" && check["ok"] == true), "{}", run.json);
    assert!(checks.iter().any(|check| check["check"] == "free disk space"), "{}", run.json);
    assert!(!home.exists());
}

#[test]
fn a_call_that_fails_leaves_no_receipt() {
    let home = tempfile::tempdir().unwrap();
    let receipt = home.path().join("receipt.json");
    let call = [
        "contract",
        "call",
        "token",
        "transfer",
        "bob",
        "1",
        "--from",
        "alice",
        "--receipt",
        receipt.to_str().unwrap(),
    ];
    expect(&phala(home.path(), None, &words(&call)), 3, "not_found");
    assert!(!receipt.exists());
}

#[test]
fn what_is_waited_for_is_listed_without_a_network_and_a_damaged_file_is_said_to_be_left_out() {
    let home = tempfile::tempdir().unwrap();
    let nothing = phala(home.path(), None, &words(&["contract", "pending"]));
    assert_eq!((nothing.code, nothing.json), (Some(0), serde_json::json!({"pending": []})));
    let folder = home.path().join("pending");
    std::fs::create_dir(&folder).unwrap();
    // Of mode 0644 or so: not one that the command wrote.
    std::fs::write(folder.join("planted.pending"), b"").unwrap();
    std::fs::set_permissions(folder.join("planted.pending"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let planted = phala(home.path(), None, &words(&["contract", "pending"]));
    assert_eq!((planted.code, &planted.json), (Some(0), &serde_json::json!({"pending": []})));
    assert!(planted.notes.contains("left out") && planted.notes.contains("planted.pending"), "{}", planted.notes);
    expect(&phala(home.path(), None, &words(&["contract", "reply", "77"])), 3, "not_found");
}

#[test]
fn what_files_and_arguments_say_does_not_command_the_terminal() {
    let home = tempfile::tempdir().unwrap();
    let part = home.path().join("\u{1b}]0;named\u{7}.json");
    std::fs::write(&part, r#"{"\u001b[2J\u009b2J\r\nhint: forged": 1}"#).unwrap();
    let run = |arguments: &[&OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phala"));
        command.args(arguments).env("PHALA_HOME", home.path()).env_remove("PHALA_NETWORK").output().unwrap()
    };
    let is_plain = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).unwrap();
        !text.chars().any(|character| character.is_control() && character != '\n')
    };
    let pull = ["brake", "pull", "--from", "alice"].map(OsStr::new);

    // That it gets as far as the message, JSON shows, which keeps it.
    let json = run(&[&pull[..], &[part.as_os_str(), OsStr::new("--json")]].concat());
    let said: Value = serde_json::from_slice(&json.stdout).unwrap();
    let message = said["error"]["message"].as_str().unwrap();
    assert!(message.contains("\u{1b}[2J\u{9b}2J\r\nhint: forged") && message.contains("\u{1b}]0;named\u{7}"), "{said}");
    assert!(is_plain(&json.stdout), "{said}");

    let words = run(&[&pull[..], &[part.as_os_str()]].concat());
    let told = String::from_utf8(words.stderr).unwrap();
    assert_eq!(words.status.code(), json.status.code());
    assert!(is_plain(told.as_bytes()), "{told:?}");
    for escaped in [r"\u001b[2J\u009b2J\u000d", r"\u001b]0;named\u0007.json"] {
        assert!(told.contains(escaped), "{told}");
    }
    let hints: Vec<&str> = told.lines().filter(|line| line.starts_with("hint: ")).collect();
    assert!(hints.len() == 1 && !hints[0].contains("forged"), "{told}");

    let misused = run(&[OsStr::new("\u{1b}[2J\u{9b}2J")]);
    assert_eq!(misused.status.code(), Some(2));
    assert!(is_plain(&misused.stderr) && !misused.stderr.is_empty());
}
