//! Where words go: data to standard output, everything else to standard error. Nothing is said by colour alone.

use crate::error::CliError;
use phala_protocol::attestation::Assurance;
use serde_json::Value;
use std::io::Write;

/// How data is written.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON, or text for people.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether data is JSON.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Writes one answer: one line of JSON, or the text.
    pub fn data(self, json: &Value, text: impl FnOnce() -> String) {
        let text = if self.json { json.to_string() } else { text() };
        line(&text);
    }

    /// Writes a failure: as an object to standard output under `--json`, in words to standard error otherwise.
    pub fn error(self, error: &CliError) {
        if self.json {
            line(&error.to_json().to_string());
        } else {
            note(&format!("error: {} [{}]", error.message, error.code.as_str()));
            if let Some(hint) = &error.hint {
                note(&format!("hint: {hint}"));
            }
        }
    }
}

/// A line on standard output. A reader that went away is no failure of ours.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// A line on standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether hardware vouches for what is shown, in the words that scripts look for.
pub const fn assurance(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Hardware => "hardware",
        Assurance::Simulated => "simulated",
    }
}

/// The same as a line for people.
pub const fn assurance_line(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Hardware => "assurance: hardware",
        Assurance::Simulated => "assurance: simulated (INSECURE: the TEE is simulated, nothing vouches for this)",
    }
}

/// A table with a header, columns padded with spaces.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(&header)
        .chain(rows)
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// An amount in 10^-12 PHA, for people.
pub fn pha(amount: u128) -> String {
    const UNIT: u128 = 1_000_000_000_000;
    let rest = format!("{:012}", amount % UNIT);
    let rest = rest.trim_end_matches('0');
    match rest {
        "" => format!("{} PHA", amount / UNIT),
        rest => format!("{}.{rest} PHA", amount / UNIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_digit() {
        assert_eq!(pha(0), "0 PHA");
        assert_eq!(pha(1_500_000_000_000), "1.5 PHA");
        assert_eq!(pha(1), "0.000000000001 PHA");
    }

    #[test]
    fn columns_line_up() {
        let text = table(&["a", "long"], &[vec!["xyz".into(), "1".into()]]);
        assert_eq!(text, "a    long\nxyz  1");
    }
}
