//! Writes `tee/TCB.txt`, the list of crates that a user of the network trusts with their secrets.

use anyhow::Result;

use crate::workspace::{TrustedBinary, Workspace};

pub const FILE: &str = "tee/TCB.txt";

const HEAD: &str = "\
# Every crate in the trusted binary (phala-worker, x86_64 Linux), and every crate that runs while it is compiled.
# Written by `cargo xtask check --bless`, compared by `cargo xtask check`. A new line here needs a reason beside the
# dependency in Cargo.toml.
";

/// The text of the file.
pub fn render(trusted: &TrustedBinary) -> String {
    let mut text = String::from(HEAD);
    for (title, names) in [("linked", &trusted.linked), ("building", &trusted.building)] {
        text.push_str(&format!("\n[{title}: {}]\n", names.len()));
        for name in names {
            text.push_str(name);
            text.push('\n');
        }
    }
    text
}

/// Rewrites the file with what cargo answers now.
pub fn bless(workspace: &Workspace) -> Result<()> {
    std::fs::write(workspace.root.join(FILE), render(&workspace.trusted))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_both_lists_with_their_lengths() {
        let text = render(&TrustedBinary {
            linked: vec!["a 1.0.0".into(), "b 2.0.0".into()],
            building: vec!["c 3.0.0".into()],
        });
        assert!(text.starts_with(HEAD));
        assert!(text.ends_with("\n[linked: 2]\na 1.0.0\nb 2.0.0\n\n[building: 1]\nc 3.0.0\n"));
    }
}
