//! `scripts/measure` on a small program: the same bytes from two places, and an error where they are not.
//!
//! The worker itself is built that way by hand, since it takes two whole builds. The program here says where it was compiled, as the
//! code that build scripts generate does, so that without the mapping of paths its bytes differ: that is shown too, or this would prove nothing.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const MANIFEST: &str = "[package]\nname = \"tiny\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
const MAIN: &str = "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\nfn main() { println!(\"{}\", PLACE); }\n";
/// Generated code whose only path is the one that the compiler knows it by.
const HONEST: &str = "pub const PLACE: &str = file!();";
/// Generated code that holds a path as text, which no compiler maps.
const STUBBORN: &str = "pub const PLACE: &str = \\\"{}\\\";";

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        command.env_remove(name);
    }
    command
}

/// A program at `folder` whose build script writes `generated`; `{}` in it is the folder that it writes into.
fn program(folder: &Path, generated: &str) {
    let build = format!(
        "fn main() {{ let out = std::env::var(\"OUT_DIR\").unwrap(); \
         std::fs::write(out.clone() + \"/made.rs\", \"{generated}\".replace(\"{{}}\", &out)).unwrap(); }}\n"
    );
    fs::create_dir_all(folder.join("src")).unwrap();
    for (name, text) in [("Cargo.toml", MANIFEST), ("build.rs", &build), ("src/main.rs", MAIN)] {
        fs::write(folder.join(name), text).unwrap();
    }
    assert!(cargo().args(["generate-lockfile", "--offline"]).current_dir(folder).status().unwrap().success());
}

fn measure(tree: &Path, target: &Path) -> Output {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/measure");
    Command::new(script)
        .args(["--package", "tiny", "--tree"])
        .arg(tree)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap()
}

#[test]
fn a_program_is_the_same_bytes_in_two_places_and_would_not_be_without_the_mapping() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    program(&tree, HONEST);

    let plain = |target: PathBuf| {
        let built = cargo()
            .args(["build", "--quiet", "--release", "--offline"])
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(&tree)
            .status();
        assert!(built.unwrap().success());
        fs::read(target.join("release/tiny")).unwrap()
    };
    assert_ne!(
        plain(folder.path().join("a")),
        plain(folder.path().join("longer/b")),
        "nothing would have to be mapped"
    );

    let output = measure(&tree, &folder.path().join("target"));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(said.starts_with("{\"program\":\"tiny\",\"bytes\":") && said.contains("\"sha384\":\""), "{said}");
    assert_eq!(said, String::from_utf8_lossy(&measure(&tree, &folder.path().join("other")).stdout), "and once more");
    assert_eq!(fs::read_dir(folder.path().join("target")).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_place_inside_another_folder_that_is_mapped_keeps_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    program(&tree, HONEST);
    let outside = measure(&tree, &folder.path().join("target"));
    assert!(outside.status.success(), "{}", String::from_utf8_lossy(&outside.stderr));
    let home = folder.path().join("home");
    let inside = Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/measure"))
        .args(["--package", "tiny", "--tree"])
        .arg(&tree)
        .env("CARGO_HOME", &home)
        .env("CARGO_TARGET_DIR", home.join("target"))
        .output()
        .unwrap();
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
    assert_eq!(inside.stdout, outside.stdout);
}

#[test]
fn a_configuration_of_the_machine_that_changes_what_is_built_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    program(&folder.path().join("tree"), HONEST);
    fs::create_dir(folder.path().join(".cargo")).unwrap();
    for (text, line) in [
        ("[alias]\nb = \"build\"\n[profile.release]\nopt-level = 0\n", 3),
        ("paths = [\"elsewhere\"]\n", 1),
        ("[build]\nrustc = \"another\"\n", 2),
        ("profile.release.debug = 2\n", 1),
        ("[env]\nCC = \"clang\"\n", 1),
    ] {
        fs::write(folder.path().join(".cargo/config.toml"), text).unwrap();
        let output = called(folder.path(), &["--tree", "tree", "--package=tiny"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {errors}");
        assert!(errors.contains(&format!("config.toml, line {line}, changes what cargo builds")), "{text}: {errors}");
        assert!(output.stdout.is_empty());
    }
    // What changes nothing of what is built does not stand in the way, and a wrapper is not asked.
    let harmless =
        "[alias]\nb = \"build\"\n[build]\njobs = 1\nrustc-wrapper = \"nowhere\"\nrustflags = [\"-Cdebuginfo=2\"]\n";
    fs::write(folder.path().join(".cargo/config.toml"), harmless).unwrap();
    let output = called(folder.path(), &["--tree", "tree", "--package=tiny"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_program_that_holds_where_it_was_built_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    program(&tree, STUBBORN);
    let output = measure(&tree, &folder.path().join("target"));
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("differ") && errors.contains("holds a path of this build"), "{errors}");
    assert!(output.stdout.is_empty());
}

/// The entry of the allow-list that the pallet's tests take, of a commit of its own.
const ENTRY: &str = include_str!("../../testing/vectors/attest/allow_measurement.json");
/// That commit, as an entry names it.
const SOURCE: &str = "0x0123456789abcdef0123456789abcdef01234567000000000000000000000000";
/// What the recorded genuine quote measures to, which the command line computes from the quote's fields and prints.
const MEASUREMENT: &str = include_str!("../../testing/vectors/attest/tdx_v4.measurement");

#[test]
fn the_entry_that_is_printed_is_the_one_that_the_allow_list_takes() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    program(&tree, HONEST);
    fs::write(tree.join("Cargo.toml"), MANIFEST.replace("0.0.0", "1.2.3")).unwrap();
    assert!(cargo().args(["generate-lockfile", "--offline"]).current_dir(&tree).status().unwrap().success());
    // A checkout of its own, with the script in it.
    fs::create_dir(tree.join("scripts")).unwrap();
    for name in ["measure", "toolchain"] {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name);
        fs::copy(ours, tree.join("scripts").join(name)).unwrap();
    }
    let git = |words: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"])
            .args(words)
            .current_dir(&tree)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "tiny"]);
    let commit = git(&["rev-parse", "HEAD"]);

    let measurement = format!("0x{}", MEASUREMENT.trim());
    let output = Command::new(tree.join("scripts/measure"))
        .args(["--package", "tiny", "--not-before", "20000", "--measurement", &measurement])
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let [program, entry] = lines.as_slice() else { panic!("{said}") };
    assert!(program.contains(&format!("\"commit\":\"{commit}\"")), "{program}");
    let source = format!("0x{commit}{}", "0".repeat(64 - commit.len()));
    assert_eq!(entry.matches(&source).count(), 2, "{entry}");
    assert_eq!(entry.replace(&source, SOURCE), ENTRY.trim_end());
    assert!(!errors.contains("notBefore is 0"), "{errors}");
}

/// `scripts/measure` with these words, called from `folder`.
fn called(folder: &Path, words: &[&str]) -> Output {
    let script = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/measure")).unwrap();
    let target = folder.join("target");
    Command::new(script).args(words).current_dir(folder).env("CARGO_TARGET_DIR", target).output().unwrap()
}

#[test]
fn wrong_words_are_told_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tree")).unwrap();
    fs::write(folder.path().join("tree/Cargo.toml"), MANIFEST).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let hash = format!("0x{}", "0f".repeat(32));
    for (words, why) in [
        (&["--measurement", "0x12"][..], "64 digits"),
        (&["--measurement"], "needs a value"),
        (&["--keep="], "needs a value"),
        (&["--not-before"], "needs a value"),
        (&["--not-before=12"], "goes with --measurement"),
        (&["--not-before=soon", "--measurement", &hash], "no number of a block"),
        (&["--not-before=4294967296", "--measurement", &hash], "no number of a block"),
        (&["--not-before=012", "--measurement", &hash], "no number of a block"),
        // A number that is one is taken, and what is wrong is the other word.
        (&["--not-before", "7", "--tree=tree", "--measurement", &hash], "without --tree"),
        (&["--packages", "tiny"], "unknown argument"),
        (&["--tree", "nothing"], "no Cargo.toml in 'nothing'"),
        (&["--tree=tree", "--measurement", &hash], "without --tree"),
        (&["--tree=tree", "--keep=file/below"], "cannot make the folder"),
    ] {
        let output = called(folder.path(), words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {errors}");
        assert!(errors.contains(why), "{words:?}: {errors}");
        assert!(output.stdout.is_empty());
    }
    assert!(!folder.path().join("target").exists(), "nothing was built");
    let help = called(folder.path(), &["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--not-before"));
}

#[test]
fn folders_are_the_callers_and_its_environment_does_not_reach_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    program(&folder.path().join("tree"), HONEST);
    let plain = called(folder.path(), &["--tree", "tree", "--package=tiny"]);
    assert!(plain.status.success(), "{}", String::from_utf8_lossy(&plain.stderr));
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/measure");
    let kept = Command::new(fs::canonicalize(script).unwrap())
        .args(["--package", "tiny", "--tree", "tree", "--keep", "kept"])
        .current_dir(folder.path())
        // Inside the tree that is built: it must not be copied into itself.
        .env("CARGO_TARGET_DIR", folder.path().join("tree/target"))
        .envs([
            ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
            ("RUSTFLAGS", "-C debuginfo=2"),
        ])
        .output()
        .unwrap();
    assert!(kept.status.success(), "{}", String::from_utf8_lossy(&kept.stderr));
    assert_eq!(kept.stdout, plain.stdout, "the same program");
    assert!(folder.path().join("kept/tiny").is_file());
}
