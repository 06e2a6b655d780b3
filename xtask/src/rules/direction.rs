//! Who may depend on whom, from the dependencies that manifests declare.
//!
//! `common/` is for every zone; `chain/`, `tee/` and `host/` never import each other; a contract sees the SDK only;
//! nothing that ships reaches `testing/` or `fuzz/`; the TEE links no FRAME; only the node links the client library `sc-*`, beside the
//! benchmark that executes the runtime as the node does.

use super::Finding;
use crate::workspace::{zone_of, Crate, Dependency, Kind, Workspace};

/// Who may link `sc-*`: the node, and what measures the runtime under its executor.
const LINK_THE_CLIENT: [&str; 2] = ["chain/node", "testing/bench/weights"];

/// Also the zones' names: a crate anywhere else is a finding.
const ZONES: [&str; 8] = ["common", "chain", "tee", "host", "contracts", "testing", "fuzz", "xtask"];

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for krate in &workspace.crates {
        if !ZONES.contains(&krate.zone()) {
            findings.push(Finding::new(&krate.folder, "is in no zone"));
        }
        for dependency in &krate.dependencies {
            let reason = match &dependency.folder {
                Some(folder) => ours(krate, folder, dependency.kind),
                None => theirs(krate, dependency),
            };
            if let Some(reason) = reason {
                findings.push(Finding::new(&krate.name, format!("depends on {}: {reason}", dependency.name)));
            }
        }
    }
    findings
}

fn ours(krate: &Crate, folder: &str, kind: Kind) -> Option<&'static str> {
    let (from, to) = (krate.zone(), zone_of(folder));
    if !krate.member {
        let sdk = folder.starts_with("contracts/sdk");
        return (!sdk).then_some("a contract sees the SDK only");
    }
    match (from, to) {
        (_, "fuzz") => Some("fuzz/ is a search, not a library: not even tests depend on it"),
        ("testing" | "fuzz" | "xtask", _) => None,
        (_, "testing") if kind == Kind::Dev => None,
        (_, "testing") => Some("nothing that ships reaches testing/, except through dev-dependencies"),
        (_, "xtask") => Some("xtask is a tool, not a library"),
        (_, "common") => None,
        (from, to) if from == to => None,
        ("common", _) => Some("common/ is compiled into every zone and depends on none"),
        ("contracts", _) => Some("contracts see the SDK and common/ only"),
        _ => Some("chain/, tee/ and host/ never import each other"),
    }
}

fn theirs(krate: &Crate, dependency: &Dependency) -> Option<&'static str> {
    let name = dependency.name.as_str();
    if name.starts_with("sc-") && !LINK_THE_CLIENT.contains(&krate.folder.as_str()) {
        return Some("only chain/node and testing/bench/weights use sc-* crates");
    }
    let frame = name.starts_with("frame-") || name.starts_with("pallet-");
    if frame && krate.zone() == "tee" && dependency.kind != Kind::Dev {
        return Some("the TEE links no FRAME");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    fn findings(folder: &str, dependency: Dependency) -> Vec<Finding> {
        let mut krate = fixture::krate(folder);
        krate.dependencies.push(dependency);
        check(&fixture::tree(vec![krate]))
    }

    #[test]
    fn accepts_common_in_every_zone() {
        for zone in ["common/other", "chain/node", "tee/core", "host/client", "contracts/sdk"] {
            assert_eq!(findings(zone, fixture::ours("common/protocol", Kind::Normal)), [], "{zone}");
        }
    }

    #[test]
    fn refuses_an_import_between_chain_tee_and_host() {
        for (from, to) in [
            ("tee/core", "chain/runtime"),
            ("host/client", "tee/core"),
            ("chain/node", "host/client"),
            ("common/attest", "tee/core"),
        ] {
            for kind in [Kind::Normal, Kind::Build, Kind::Dev] {
                assert_eq!(findings(from, fixture::ours(to, kind)).len(), 1, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn refuses_testing_in_what_ships_and_accepts_it_in_tests() {
        assert_eq!(findings("tee/worker", fixture::ours("testing/insecure-tee", Kind::Normal)).len(), 1);
        assert_eq!(findings("tee/worker", fixture::ours("testing/insecure-tee", Kind::Build)).len(), 1);
        assert_eq!(findings("tee/worker", fixture::ours("testing/insecure-tee", Kind::Dev)), []);
    }

    #[test]
    fn refuses_everything_that_reaches_fuzz_and_lets_it_reach_everything() {
        for kind in [Kind::Normal, Kind::Build, Kind::Dev] {
            for zone in ["tee/worker", "chain/node", "host/cli", "common/protocol", "testing/e2e"] {
                assert_eq!(findings(zone, fixture::ours("fuzz", kind)).len(), 1, "{zone}");
            }
        }
        for folder in ["common/attest", "tee/vm", "host/client", "testing/insecure-tee"] {
            assert_eq!(findings("fuzz", fixture::ours(folder, Kind::Normal)), [], "{folder}");
        }
    }

    #[test]
    fn refuses_frame_in_the_tee_and_the_client_library_outside_the_node() {
        assert_eq!(findings("tee/core", fixture::theirs("frame-support", Kind::Normal)).len(), 1);
        assert_eq!(findings("tee/core", fixture::theirs("pallet-balances", Kind::Normal)).len(), 1);
        assert_eq!(findings("host/cli", fixture::theirs("sc-service", Kind::Dev)).len(), 1);
        assert_eq!(findings("chain/node", fixture::theirs("sc-service", Kind::Normal)), []);
        assert_eq!(findings("testing/bench/weights", fixture::theirs("sc-executor", Kind::Normal)), []);
        assert_eq!(findings("testing/bench/chain", fixture::theirs("sc-executor", Kind::Normal)).len(), 1);
        assert_eq!(findings("chain/runtime", fixture::theirs("frame-support", Kind::Normal)), []);
    }

    #[test]
    fn refuses_a_contract_that_sees_more_than_the_sdk() {
        let mut token = fixture::krate("contracts/token");
        token.member = false;
        token.dependencies = vec![fixture::ours("contracts/sdk", Kind::Normal)];
        assert_eq!(check(&fixture::tree(vec![token.clone()])), []);
        token.dependencies.push(fixture::ours("common/protocol", Kind::Normal));
        assert_eq!(check(&fixture::tree(vec![token])).len(), 1);
    }

    #[test]
    fn refuses_a_crate_outside_the_zones() {
        assert_eq!(check(&fixture::tree(vec![fixture::krate("misc/helpers")])).len(), 1);
    }
}
