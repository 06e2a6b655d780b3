//! Marked plaintext goes in as argument, state, event, output, error and query; then everything outside the worker is searched for it.
//!
//! Guarantees: each marker is drawn anew, and is searched for as it is, in hexadecimal, in base64 at each of its three alignments, in
//! UTF-16 and as a list of decimals; the same search is proved first on a file and a process that do hold it, and every place that
//! must have held the *sealed* command is shown to hold that. Works on simulated TEEs, where a worker's own memory is open: it is the
//! one place left out, and searched as a control. Does not see: registers, caches, pages swapped out, what a process has wiped.

use crate::{
    core_dumps,
    hostile_relayer::Tap,
    processes::{self, ByHand, Stopped},
    raw_http::{host_of, rpc},
    Network,
};
use phala_protocol::inbox::Item;
use serde_json::{json, Value};
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Storage key of `System.Events`.
const EVENTS: &str = "0x26aa394eea5630e07c48ae0c9558cef780d41e5e16056765bc8461851072c9d7";
/// Characters of a marker: 5 bits each, and so 140 bits that nobody writes by accident.
const MARKER_CHARACTERS: usize = 28;
/// Bytes of a sealed command that are looked for to show that the search sees where commands pass.
const WITNESS_BYTES: usize = 32;

/// Text that nobody else writes.
pub fn marker() -> String {
    let mut bytes = [0; MARKER_CHARACTERS];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .expect("the kernel gives randomness");
    bytes.iter().map(|byte| char::from(b"abcdefghijkmnpqrstuvwxyz23456789"[usize::from(byte % 32)])).collect()
}

/// The forms in which some texts may have been written.
pub struct Needles {
    forms: Vec<(&'static str, Vec<u8>)>,
    /// Which two bytes a form begins with.
    begins: Vec<bool>,
}

impl Needles {
    /// Every form of every text.
    pub fn of(texts: &[&[u8]]) -> Self {
        let mut needles = Self { forms: Vec::new(), begins: vec![false; 1 << 16] };
        for text in texts {
            needles.add_forms(text);
        }
        needles
    }

    fn add_forms(&mut self, text: &[u8]) {
        let hexadecimal = |upper: bool| -> Vec<u8> {
            let digits = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
            text.iter().map(digits).collect::<String>().into_bytes()
        };
        let utf16 = |little: bool| -> Vec<u8> {
            text.iter().flat_map(|byte| if little { [*byte, 0] } else { [0, *byte] }).collect()
        };
        let decimals = |between: &str| text.iter().map(u8::to_string).collect::<Vec<_>>().join(between).into_bytes();
        self.add("plain", text.to_vec());
        self.add("hexadecimal", hexadecimal(false));
        self.add("hexadecimal", hexadecimal(true));
        self.add("UTF-16", utf16(true));
        self.add("UTF-16", utf16(false));
        self.add("decimals", decimals(","));
        self.add("decimals", decimals(", "));
        for skipped in 0..3 {
            // Whole groups of three bytes only: what stands before and after changes the digits at the ends.
            let whole = text.get(skipped..).unwrap_or_default();
            let whole = whole.get(..whole.len() / 3 * 3).unwrap_or_default();
            self.add("base64", base64(whole, b"+/"));
            self.add("base64", base64(whole, b"-_"));
        }
    }

    fn add(&mut self, name: &'static str, form: Vec<u8>) {
        if form.len() < 8 || self.forms.iter().any(|(_, known)| *known == form) {
            return;
        }
        self.begins[usize::from(u16::from_le_bytes([form[0], form[1]]))] = true;
        self.forms.push((name, form));
    }

    /// Bytes of the longest form.
    pub fn longest(&self) -> usize {
        self.forms.iter().map(|(_, form)| form.len()).max().unwrap_or(0)
    }

    /// How often each form stands in `bytes`.
    pub fn count(&self, bytes: &[u8], found: &mut BTreeMap<&'static str, u64>) {
        for (at, pair) in bytes.windows(2).enumerate() {
            if !self.begins[usize::from(u16::from_le_bytes([pair[0], pair[1]]))] {
                continue;
            }
            for (name, form) in &self.forms {
                if bytes[at..].starts_with(form) {
                    *found.entry(name).or_default() += 1;
                }
            }
        }
    }

    /// Every form with its name, for controls.
    pub fn forms(&self) -> &[(&'static str, Vec<u8>)] {
        &self.forms
    }
}

/// RFC 4648 without padding, whole groups only; `last` are the digits 62 and 63.
fn base64(bytes: &[u8], last: &[u8; 2]) -> Vec<u8> {
    let mut digits: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    digits.extend_from_slice(last);
    let group = |group: &[u8]| {
        let number = group.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| digits[number >> shift & 63])
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

/// What was found in one place.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where.
    pub place: String,
    /// Bytes that were searched.
    pub bytes: u64,
    /// Markers found, by form.
    pub plaintext: BTreeMap<&'static str, u64>,
    /// How often the sealed command stood there.
    pub sealed: u64,
}

impl Row {
    /// Markers found in any form.
    pub fn hits(&self) -> u64 {
        self.plaintext.values().sum()
    }
}

/// The whole search.
pub struct Search {
    markers: Needles,
    witness: Needles,
    /// What was found, place by place.
    pub rows: Vec<Row>,
}

impl Search {
    /// For `markers`, and for the sealed command whose bytes end in `witness`.
    pub fn new(markers: &[&str], witness: &[u8]) -> Self {
        let texts: Vec<&[u8]> = markers.iter().map(|marker| marker.as_bytes()).collect();
        Self { markers: Needles::of(&texts), witness: Needles::of(&[witness]), rows: Vec::new() }
    }

    /// Searches bytes.
    pub fn bytes<'a>(&mut self, place: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> &Row {
        let mut row = self.row(place);
        for piece in pieces {
            self.look(piece, &mut row);
        }
        self.keep(row)
    }

    /// Searches all files below a folder.
    pub fn files(&mut self, place: &str, folder: &Path) -> &Row {
        let mut row = self.row(place);
        for (_, bytes) in crate::bytes_below(folder) {
            self.look(&bytes, &mut row);
        }
        self.keep(row)
    }

    /// Searches the memory of a process.
    pub fn memory(&mut self, place: &str, id: u32) -> std::io::Result<&Row> {
        let mut row = self.row(place);
        let overlap = self.markers.longest().max(self.witness.longest());
        let read = processes::read_memory(id, overlap, |piece| self.look(piece, &mut row))?;
        row.bytes = read;
        Ok(self.keep(row))
    }

    /// Searches a file that may have holes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file(&mut self, place: &str, path: &Path) -> std::io::Result<&Row> {
        let mut row = self.row(place);
        let overlap = self.markers.longest().max(self.witness.longest());
        row.bytes = core_dumps::read(path, overlap, |piece| self.look(piece, &mut row))?;
        Ok(self.keep(row))
    }

    fn row(&self, place: &str) -> Row {
        Row { place: place.to_owned(), bytes: 0, plaintext: BTreeMap::new(), sealed: 0 }
    }

    fn look(&self, bytes: &[u8], row: &mut Row) {
        row.bytes += bytes.len() as u64;
        self.markers.count(bytes, &mut row.plaintext);
        let mut sealed = BTreeMap::new();
        self.witness.count(bytes, &mut sealed);
        row.sealed += sealed.values().sum::<u64>();
    }

    fn keep(&mut self, row: Row) -> &Row {
        self.rows.push(row);
        &self.rows[self.rows.len() - 1]
    }
}

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {:<44} | {:>13} | {:>9} | {:>6} |", "place", "bytes", "plaintext", "sealed")?;
        writeln!(f, "|{}|{}:|{}:|{}:|", "-".repeat(46), "-".repeat(14), "-".repeat(10), "-".repeat(7))?;
        for row in &self.rows {
            writeln!(f, "| {:<44} | {:>13} | {:>9} | {:>6} |", row.place, row.bytes, row.hits(), row.sealed)?;
        }
        Ok(())
    }
}

/// The relayer run by hand through taps, in the place of the network's own, which is stopped meanwhile.
pub struct Tapped {
    /// In front of the node.
    pub node: Tap,
    /// In front of each TEE, in the order of the relayer's arguments: the gatekeeper, then the workers.
    pub tees: Vec<Tap>,
    /// The relayer.
    pub relayer: ByHand,
    _own: Stopped,
}

impl Tapped {
    /// Puts it there.
    pub fn start(network: &Network, log: &Path) -> Self {
        let own = processes::id(&network.base, "relayer");
        let mut words = processes::arguments(own);
        let node = Tap::of_node(host_of(network.node()));
        let mut tees = Vec::new();
        for at in 1..words.len() {
            if words[at - 1] == "--network" {
                words[at] = format!("ws://{}", node.address);
            } else if words[at - 1] == "--tee" {
                let tap = Tap::of_tee(host_of(&words[at]));
                words[at] = format!("http://{}", tap.address);
                tees.push(tap);
            }
        }
        let stopped = Stopped::new(own);
        Self { node, tees, relayer: ByHand::start(&words, log), _own: stopped }
    }

    /// Everything that the relayer said and heard.
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        std::iter::once(&self.node).chain(&self.tees).map(Tap::recorded).collect()
    }
}

/// The hashes of final blocks `from` on, as the node gives them.
fn final_blocks(node: &str, from: u64) -> std::io::Result<Vec<Value>> {
    let finalised = rpc(node, "chain_getFinalizedHead", json!([]))?["result"].clone();
    let head = rpc(node, "chain_getHeader", json!([finalised]))?;
    let number = head["result"]["number"].as_str().unwrap_or("0x0");
    let number = u64::from_str_radix(number.trim_start_matches("0x"), 16).unwrap_or(0);
    (from..=number).map(|block| Ok(rpc(node, "chain_getBlockHash", json!([block]))?["result"].clone())).collect()
}

/// The extrinsics of final blocks `from` on, as the node gives them.
pub fn extrinsics(node: &str, from: u64) -> std::io::Result<Vec<Vec<u8>>> {
    let mut extrinsics = Vec::new();
    for hash in final_blocks(node, from)? {
        let answer = rpc(node, "chain_getBlock", json!([hash]))?;
        decoded(&answer["result"]["block"]["extrinsics"], &mut extrinsics);
    }
    Ok(extrinsics)
}

/// The bodies and events of final blocks `from` on, as the node gives them: decoded, and the JSON beside.
pub fn chain(node: &str, from: u64) -> std::io::Result<Vec<Vec<u8>>> {
    let mut pieces = Vec::new();
    for hash in final_blocks(node, from)? {
        for answer in
            [rpc(node, "chain_getBlock", json!([hash]))?, rpc(node, "state_getStorage", json!([EVENTS, hash]))?]
        {
            decoded(&answer["result"], &mut pieces);
            pieces.push(answer.to_string().into_bytes());
        }
    }
    Ok(pieces)
}

/// Every hexadecimal string of a JSON value as bytes.
fn decoded(value: &Value, pieces: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) => pieces.extend(from_hex(text)),
        Value::Array(values) => values.iter().for_each(|value| decoded(value, pieces)),
        Value::Object(fields) => fields.values().for_each(|value| decoded(value, pieces)),
        _ => {}
    }
}

/// The bytes of `0x...`.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    let byte = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// The end of a sealed message: ciphertext that stands nowhere else.
pub fn witness(item: &Item) -> Vec<u8> {
    item.message.get(item.message.len().saturating_sub(WITNESS_BYTES)..).unwrap_or_default().to_vec()
}

/// Writes every form of the markers into a file and keeps them in this process, and finds each of them in both.
///
/// # Panics
/// When the search does not see what is there: then nothing that it did not find would mean anything.
pub fn prove_the_search(search: &mut Search, markers: &[&str], folder: &Path) {
    let control: PathBuf = folder.join("control");
    std::fs::create_dir_all(&control).expect("a folder");
    let texts: Vec<&[u8]> = markers.iter().map(|marker| marker.as_bytes()).collect();
    let needles = Needles::of(&texts);
    let mut held = Vec::new();
    for (_, form) in needles.forms() {
        // Between other bytes, so that neither beginning nor end helps.
        held.extend_from_slice(b"\0x");
        held.extend_from_slice(form);
        held.extend_from_slice(b"x\0");
    }
    std::fs::write(control.join("file"), &held).expect("a file");
    let every = |row: &Row| needles.forms().iter().all(|(name, _)| row.plaintext.contains_key(name));
    let row = search.files("control: a file with every form", &control).clone();
    assert!(every(&row) && row.hits() >= needles.forms().len() as u64, "the search misses forms in a file: {row:?}");
    if let Ok(row) = search.memory("control: this process", std::process::id()) {
        assert!(every(row), "the search misses forms in memory: {row:?}");
    }
    std::hint::black_box(&held);
    std::fs::remove_dir_all(&control).expect("the control goes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_wherever_it_begins() {
        let text = marker();
        let needles = Needles::of(&[text.as_bytes()]);
        let found = |bytes: &[u8]| {
            let mut found = BTreeMap::new();
            needles.count(bytes, &mut found);
            found
        };
        for before in 0..5 {
            let plain = ["x".repeat(before).as_bytes(), text.as_bytes(), b"yz"].concat();
            assert_eq!(found(&plain)["plain"], 1);
            // As a library would encode the whole, not as the search encodes its part.
            let padded: Vec<u8> = plain.iter().copied().chain([0, 0]).take(plain.len().div_ceil(3) * 3).collect();
            assert!(found(&base64(&padded, b"+/"))["base64"] >= 1, "{before}");
            let debug = format!("{plain:?}");
            assert_eq!(found(debug.as_bytes())["decimals"], 1);
            let wide: Vec<u8> =
                String::from_utf8(plain.clone()).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert!(found(&wide)["UTF-16"] >= 1);
        }
        assert!(found(marker().as_bytes()).is_empty(), "another marker is another");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        assert_eq!(base64(b"foobar", b"+/"), b"Zm9vYmFy");
        assert_eq!(base64(&[0xfb, 0xff, 0xfe], b"-_"), b"-__-");
    }

    #[test]
    fn a_process_that_holds_it_is_found() {
        let text = marker();
        let mut search = Search::new(&[&text], &[9; 32]);
        let folder = tempfile::tempdir().unwrap();
        prove_the_search(&mut search, &[&text], folder.path());
        assert_eq!(search.rows.len(), 2);
    }
}
