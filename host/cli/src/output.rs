//! Where words go: data to standard output, everything else to standard error. Nothing is said by colour alone.
//!
//! Guarantees: no character that commands a terminal is written here, but for the ends of lines and tabs; and nothing that is quoted in a
//! note begins a line. Files, nodes, workers and contracts control what is quoted.

use crate::error::CliError;
use phala_protocol::attestation::Assurance;
use serde_json::Value;
use std::{
    borrow::Cow,
    io::{self, Write},
};

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
            note(&format!("hint: {}", error.what_to_do()));
        }
    }
}

/// A line on standard output. A reader that went away is no failure of ours.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", printable(text));
    let _ = out.flush();
}

/// A line on standard error. What follows it within `text` is indented, so that nothing quoted looks like a line of ours.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(text).replace('\n', "\n  "));
}

/// Text as a terminal may have it: what commands it is written as JSON writes it, `\u001b` for one; ends of lines and tabs stay. JSON stays
/// the same JSON.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(commands_terminal) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if commands_terminal(character) {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and those that change the order in which text is shown.
fn commands_terminal(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => character.is_control(),
    }
}

/// Standard error, for the log.
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The log writes a whole line at once.
        io::stderr().lock().write_all(printable(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
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
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn amounts_keep_every_digit() {
        assert_eq!(pha(0), "0 PHA");
        assert_eq!(pha(1_500_000_000_000), "1.5 PHA");
        assert_eq!(pha(1), "0.000000000001 PHA");
    }

    #[test]
    fn what_commands_a_terminal_is_escaped_and_json_stays_the_same() {
        assert_eq!(printable("a\u{1b}[2J\r\u{9b}2J\u{7f}\u{202e}b"), "a\\u001b[2J\\u000d\\u009b2J\\u007f\\u202eb");
        for kept in ["", "one\n\ttwo", "caf\u{e9} \u{4e2d} \u{1f600} \\u001b"] {
            assert!(matches!(printable(kept), Cow::Borrowed(same) if same == kept));
        }
        for code in (0..=0x2100).filter_map(char::from_u32) {
            let shown = printable(code.encode_utf8(&mut [0; 4])).into_owned();
            assert!(!shown.contains(|shown: char| shown.is_control() && !matches!(shown, '\n' | '\t')), "{shown:?}");
        }
        let json = serde_json::json!({"said": "\u{1b}\u{9b}\u{202e}\n\"\\"});
        let shown = printable(&json.to_string()).into_owned();
        assert!(shown.contains("\\u009b"), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), json);
    }

    #[test]
    fn columns_line_up() {
        let text = table(&["a", "long"], &[vec!["xyz".into(), "1".into()]]);
        assert_eq!(text, "a    long\nxyz  1");
    }
}
