//! What a campaign has run so far, in a file that the next run goes on from (`--record FILE`). Never shipped.
//!
//! A [`Record`] says what decides the campaign, and has its pieces in order. What a piece is, each campaign says itself; what those of
//! [`seeds`] have in common is here.
//!
//! Guarantees: the file is replaced whole after each piece; a file of another campaign, or a damaged one, is refused and left as it is;
//! what was added stays in it. Whoever runs the campaign controls the file. Does not: keep two runs from writing one file.
#![forbid(unsafe_code)]

pub mod seeds;

use anyhow::{ensure, Context, Result};
use serde::{de::DeserializeOwned, Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

const VERSION: u32 = 1;

/// A piece of a campaign that `C` decides.
pub trait Piece<C>: Serialize + DeserializeOwned {
    /// Whether these are pieces of `campaign`, each once and in order. What is not, is damaged.
    fn fit(campaign: &C, pieces: &[Self]) -> bool;
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Content<C, P> {
    version: u32,
    campaign: C,
    // Of fuzz they were rows.
    #[serde(alias = "rows")]
    pieces: Vec<P>,
}

/// The pieces `P` so far of a campaign that `C` decides; in memory only when no file was named.
pub struct Record<C, P> {
    path: Option<PathBuf>,
    content: Content<C, P>,
}

impl<C, P> Record<C, P>
where
    C: Debug + PartialEq + Serialize + DeserializeOwned,
    P: Piece<C>,
{
    /// Opens the record at `path`, or begins it.
    ///
    /// # Errors
    /// When the file is another campaign's, or no record.
    pub fn open(path: Option<&Path>, campaign: C) -> Result<Self> {
        let begun = |campaign| Content { version: VERSION, campaign, pieces: Vec::new() };
        let Some(path) = path else { return Ok(Self { path: None, content: begun(campaign) }) };
        let named = path.display();
        let content = match read::<Content<C, P>>(path)? {
            None => begun(campaign),
            Some(content) => {
                let same = content.version == VERSION && content.campaign == campaign;
                ensure!(same, "{named} is the record of another campaign: {:?}", content.campaign);
                ensure!(P::fit(&campaign, &content.pieces), "the pieces of {named} do not follow each other");
                content
            }
        };
        Ok(Self { path: Some(path.to_owned()), content })
    }

    /// Adds a piece, and writes it down.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, piece: P) -> Result<()> {
        self.content.pieces.push(piece);
        self.path.as_deref().map_or(Ok(()), |path| write(path, &self.content))
    }
}

impl<C, P> Record<C, P> {
    /// What decides the campaign.
    pub fn campaign(&self) -> &C {
        &self.content.campaign
    }

    /// All pieces, in order.
    pub fn pieces(&self) -> &[P] {
        &self.content.pieces
    }
}

/// What the file at `path` says; nothing when there is none.
///
/// # Errors
/// When it cannot be read, or says something else.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is no record of this campaign", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Replaces the file at `path` whole.
///
/// # Errors
/// When it cannot be written.
pub fn write<T: Serialize + ?Sized>(path: &Path, content: &T) -> Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, serde_json::to_vec_pretty(content)?)
        .and_then(|()| fs::rename(&aside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The commit that runs, as `cargo xtask campaign` says it, as far as it is known.
pub fn commit() -> String {
    std::env::var("PHALA_COMMIT").unwrap_or_else(|_| "unknown".to_owned())
}

/// Each of the commits once.
pub fn commits<'a>(commits: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    commits.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many numbers, from zero on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Numbers {
        count: u32,
        of: u8,
    }

    impl Piece<Numbers> for u32 {
        fn fit(campaign: &Numbers, pieces: &[Self]) -> bool {
            pieces.len() <= campaign.count as usize && (0..).zip(pieces).all(|(place, piece)| place == *piece)
        }
    }

    const NUMBERS: Numbers = Numbers { count: 3, of: 1 };

    #[test]
    fn a_record_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        for piece in 0..3_u32 {
            let mut record = Record::<_, u32>::open(Some(&path), NUMBERS).unwrap();
            assert_eq!((record.campaign(), record.pieces().len()), (&NUMBERS, piece as usize));
            record.add(piece).unwrap();
        }
        assert_eq!(Record::<_, u32>::open(Some(&path), NUMBERS).unwrap().pieces(), [0, 1, 2]);
        let rows = fs::read_to_string(&path).unwrap().replace("\"pieces\"", "\"rows\"");
        fs::write(&path, rows).unwrap();
        assert_eq!(Record::<_, u32>::open(Some(&path), NUMBERS).unwrap().pieces(), [0, 1, 2]);
    }

    #[test]
    fn another_campaigns_record_or_a_damaged_one_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        Record::<_, u32>::open(Some(&path), NUMBERS).unwrap().add(0).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for other in [Numbers { count: 4, ..NUMBERS }, Numbers { of: 2, ..NUMBERS }] {
            let error = Record::<_, u32>::open(Some(&path), other).err().unwrap();
            assert!(error.to_string().contains("another campaign"), "{error}");
        }
        let [later, moved] = [("\"version\": 1", "\"version\": 2"), ("0\n  ]", "1\n  ]")].map(|(from, to)| {
            assert!(whole.contains(from), "{whole}");
            whole.replace(from, to)
        });
        for damaged in [&whole[..whole.len() / 2], "", &later, &moved] {
            fs::write(&path, damaged).unwrap();
            assert!(Record::<_, u32>::open(Some(&path), NUMBERS).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn without_a_file_nothing_is_written() {
        let mut record = Record::<_, u32>::open(None, NUMBERS).unwrap();
        record.add(0).unwrap();
        assert_eq!(record.pieces(), [0]);
    }

    #[test]
    fn each_commit_is_named_once() {
        assert_eq!(commits(["b", "a", "b"]), ["a", "b"]);
    }
}
