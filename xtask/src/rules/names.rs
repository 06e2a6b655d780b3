//! A crate's name follows its folder, so that a backtrace names the zone's folder.

use super::Finding;
use crate::workspace::{Crate, Workspace};

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let wrong = workspace.members().filter(|krate| !expected(krate).contains(&krate.name));
    wrong
        .map(|krate| {
            Finding::new(&krate.folder, format!("is named {}, expected {}", krate.name, expected(krate).join(" or ")))
        })
        .collect()
}

fn expected(krate: &Crate) -> Vec<String> {
    match krate.folder.split('/').collect::<Vec<_>>().as_slice() {
        ["xtask"] => vec!["xtask".into()],
        ["fuzz"] => vec!["phala-fuzz".into()],
        ["chain", "pallets", name] => vec![format!("phala-pallet-{name}")],
        [_, name] => vec![format!("phala-{name}")],
        // A procedural macro sits in its library's folder and carries both names.
        [_, outer, inner] => vec![format!("phala-{outer}-{inner}")],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[test]
    fn accepts_names_after_folders() {
        let folders = ["tee/core", "chain/pallets/inbox"];
        assert_eq!(check(&fixture::tree(folders.map(fixture::krate).to_vec())), []);
    }

    #[test]
    fn refuses_another_name() {
        let mut krate = fixture::krate("tee/core");
        krate.name = "phactory".into();
        assert_eq!(check(&fixture::tree(vec![krate])).len(), 1);
    }
}
