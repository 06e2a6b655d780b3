//! The README's map against the crates' own descriptions: an index kept by hand rots.

use super::Finding;
use crate::map::{render, written, FILE};
use crate::workspace::Workspace;

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let readme = workspace.files.get(FILE).map(String::as_str).unwrap_or_default();
    match written(readme) {
        None => vec![Finding::new(FILE, "has no marks for the map")],
        Some(map) if map != render(workspace) => {
            vec![Finding::new(FILE, "the map is not the tree: `cargo xtask check --bless`")]
        }
        Some(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[test]
    fn reports_a_crate_that_the_map_misses() {
        let mut tree = fixture::tree(vec![fixture::krate("tee/core")]);
        assert_eq!(check(&tree).len(), 1);
        let marks = "<!-- map: written by `cargo xtask check --bless` -->\n{}<!-- end of map -->\n";
        tree.files.insert(FILE.into(), marks.replace("{}", &render(&tree)));
        assert_eq!(check(&tree), []);
        tree.crates.push(fixture::krate("tee/state"));
        assert_eq!(check(&tree).len(), 1);
    }
}
