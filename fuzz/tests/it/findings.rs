//! What a campaign once found stays found: every committed input is checked again.

use phala_fuzz::{campaign, targets::TARGETS};
use std::path::Path;

#[test]
fn committed_findings_hold() {
    let mut replayed = 0;
    for target in TARGETS {
        for (path, input) in campaign::committed(target) {
            println!("{}", path.display());
            (target.check)(&input);
            replayed += 1;
        }
    }
    // A finding in a folder that names no target would never be tried again.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let kept: usize = files.filter_map(|path| std::fs::read_dir(path).ok()).map(Iterator::count).sum();
    assert_eq!(replayed, kept);
}
