//! The contract that a new author starts from, outside of this repository, with the SDK copied beside it.
#![allow(clippy::disallowed_methods, reason = "lays out the author's folder")]

use crate::{cargo, support::*};
use codec::{Decode, Encode};
use phala_protocol::ids::AccountId;
use phala_vm::{Entry, Execution, Outcome, Trap};
use std::{fs, path::Path};

/// Copies the template as `phala contract new` does.
fn lay_out(folder: &Path, name: &str) {
    let (template, sdk) = (cargo::contracts().join("template"), cargo::contracts().join("sdk"));
    for (from, to) in [
        ("Cargo.toml.in", "Cargo.toml"),
        (".cargo/config.toml.in", ".cargo/config.toml"),
        ("src/lib.rs.in", "src/lib.rs"),
        ("src/tests.rs.in", "src/tests.rs"),
    ] {
        let text = fs::read_to_string(template.join(from)).unwrap().replace("{{name}}", name);
        let to = folder.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text).unwrap();
    }
    fs::create_dir_all(folder.join("phala-sdk/src")).unwrap();
    fs::copy(sdk.join("Cargo.toml"), folder.join("phala-sdk/Cargo.toml")).unwrap();
    for file in fs::read_dir(sdk.join("src")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join("phala-sdk/src").join(file.file_name())).unwrap();
    }
}

fn send(world: &Memory, caller: AccountId, entry: Entry, method: &str, arguments: impl Encode) -> Execution {
    let mut asked = request(entry);
    asked.caller = caller;
    asked.input = (method, arguments).encode();
    world.commit(&asked)
}

#[test]
fn new_contract_builds_beside_its_sdk_and_keeps_notes_apart() {
    let folder = cargo::target().join("author/notes");
    // What a run before this one left may be of another version.
    let _ = fs::remove_dir_all(&folder);
    lay_out(&folder, "notes");
    let world = Memory::default();
    world.install_code(CONTRACT, &cargo::build(&folder, "notes"));
    let (alice, bob) = (AccountId([1; 32]), AccountId([2; 32]));
    assert_eq!(send(&world, alice, Entry::Deploy, "create", ()).outcome, Outcome::Returned(vec![]));
    let note = "x".repeat(10_000);
    assert_eq!(send(&world, alice, Entry::Call, "write", &note).outcome, Outcome::Returned(vec![]));
    let read =
        |account| Option::<String>::decode(&mut output(&send(&world, account, Entry::Query, "read", ()))).unwrap();
    assert_eq!(read(alice), Some(note));
    assert_eq!(read(bob), None);
}

#[test]
fn random_bytes_of_the_sdk_are_what_the_engine_gives() {
    let folder = cargo::target().join("author/dice");
    let _ = fs::remove_dir_all(&folder);
    lay_out(&folder, "dice");
    let contract = "#![cfg_attr(target_arch = \"wasm32\", no_std)]
        use phala_sdk::prelude::*;
        phala_sdk::contract! {
            pub struct Dice { last: Value<[u8; 4]> }
            impl Dice {
                constructor fn create(&mut self) { self.last.set(&env::random()); }
                call fn roll(&mut self) -> ([u8; 4], [u8; 256]) { (env::random(), env::random()) }
                query fn last(&self) -> Option<[u8; 4]> { self.last.get() }
                query fn peek(&self) -> [u8; 4] { env::random() }
            }
        }";
    fs::write(folder.join("src/lib.rs"), contract).unwrap();
    let world = Memory::default();
    world.install_code(CONTRACT, &cargo::build(&folder, "dice"));
    let alice = AccountId([1; 32]);
    let draw = |number, length| drawn(0, CONTRACT, number, length);
    assert_eq!(send(&world, alice, Entry::Deploy, "create", ()).outcome, Outcome::Returned(vec![]));
    let last = send(&world, alice, Entry::Query, "last", ());
    assert_eq!(output(&last), [vec![1], draw(0, 4)].concat());
    let rolled = send(&world, alice, Entry::Call, "roll", ());
    assert_eq!(output(&rolled), [draw(0, 4), draw(1, 256)].concat());
    let peeked = send(&world, alice, Entry::Query, "peek", ());
    assert_eq!(peeked.outcome, Outcome::Trapped(Trap::NoRandomness));
}

#[test]
fn smallest_contract_is_under_thirty_lines() {
    let lines = fs::read_to_string(cargo::contracts().join("template/src/lib.rs.in")).unwrap().lines().count();
    assert!(lines < 30, "{lines}");
}
