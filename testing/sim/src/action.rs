//! What can happen, one line of text each.
//!
//! A scenario is a text file: blank lines and what follows a `#` are skipped; `seed N`, `workers N`, `spares N` (workers that are
//! registered and no replicas at first) and `epoch N` (blocks that an epoch stays open at least) come first; every other line is an
//! action, a word and its numbers. TEE 0 is the gatekeeper, 1 and after are workers, spare ones last; accounts are numbered from 0, which deployed the token. Every number an action needs stands in its line, so
//! that removing a line changes nothing about the others. The table below is the whole language.

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $name:ident $word:literal $($argument:ident)*;)*) => {
        /// Something that happens.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Action {$(
            $(#[doc = $doc])+
            #[allow(missing_docs, reason = "the numbers are explained with the action")]
            $name { $($argument: u32),* },
        )*}

        impl std::fmt::Display for Action {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {$(
                    Self::$name { $($argument),* } => {
                        f.write_str($word)?;
                        $(write!(f, " {}", $argument)?;)*
                        Ok(())
                    }
                )*}
            }
        }

        impl std::str::FromStr for Action {
            type Err = ActionError;

            fn from_str(line: &str) -> Result<Self, ActionError> {
                let mut words = line.split_whitespace();
                let action = match words.next().unwrap_or_default() {
                    $($word => Self::$name {
                        $($argument: words
                            .next()
                            .and_then(|word| word.parse().ok())
                            .ok_or(ActionError::Number(stringify!($argument)))?,)*
                    },)*
                    _ => return Err(ActionError::Unknown),
                };
                if words.next().is_some() { Err(ActionError::TooMany) } else { Ok(action) }
            }
        }

        impl Action {
            /// Its word.
            pub fn word(&self) -> &'static str {
                match self { $(Self::$name { .. } => $word,)* }
            }
        }
    };
}

actions! {
    /// The chain builds a block and makes it final.
    Block "block";
    /// So many blocks, all final, of which no TEE hears.
    Blocks "blocks" times;
    /// The chain builds a block that is not final yet.
    Build "build";
    /// All that is built becomes final.
    Finalise "finalise";
    /// What is not final is abandoned; other blocks will take its place.
    Reorganise "reorganise";
    /// As `block`, and the authorities hand over to so many new ones.
    Handover "handover" authorities;
    /// The clock of block producers jumps forward.
    ClockForward "clock_forward" seconds;
    /// The clock of block producers jumps back.
    ClockBack "clock_back" seconds;
    /// An honest delivery to a TEE with so many boundaries at most; what the TEE has for others is carried away.
    Deliver "deliver" tee boundaries;
    /// An honest delivery is made and kept back.
    Hold "hold" tee;
    /// A delivery that was kept back arrives: number `index` modulo how many there are.
    Bring "bring" tee index;
    /// The last delivery arrives once more.
    Repeat "repeat" tee;
    /// A delivery for TEE `other` arrives at `tee`.
    Cross "cross" tee other;
    /// An honest delivery is altered in way number `kind` before it arrives (the table is in `forger.rs`).
    Tamper "tamper" tee kind salt;
    /// An honest delivery of an older final block arrives.
    Stale "stale" tee blocks;
    /// A block that is not final arrives, with its state and items, and half of the votes.
    Early "early" tee;
    /// A fork with a transfer that the chain never has: built, abandoned, and brought with half of the votes.
    Fork "fork" tee salt;
    /// A header that strangers "finalised" arrives, with true state and items.
    Forge "forge" tee salt;
    /// What is on its way to a TEE is lost.
    Lose "lose" tee;
    /// What the TEE has for others: 0 carried away, 1 withheld, 2 carried in reverse order, 3 altered first.
    Carry "carry" tee mode;
    /// Nothing reaches the TEE or leaves it.
    Partition "partition" tee;
    /// The partition ends.
    Heal "heal" tee;
    /// The process is killed: memory is lost, what was written stays.
    Crash "crash" tee;
    /// The power goes: memory is lost, and of what was not synced a random part.
    PowerCut "power_cut" tee salt;
    /// The power goes in the middle of an honest delivery, after so many changes of the disk.
    Tear "tear" tee changes salt;
    /// The process is started, after it was ended in order if it runs.
    Start "start" tee;
    /// The host copies the disk.
    Snapshot "snapshot" tee;
    /// The process is killed and the host puts an older copy of the disk back: number `index` modulo how many there are.
    Rewind "rewind" tee index;
    /// The process is killed and the disk of its store is emptied.
    Wipe "wipe" tee;
    /// The process is killed, and a part of its disk is overwritten.
    Damage "damage" tee salt;
    /// The process is killed, and the longest row of its store is altered, with checksums that hold. Once its pages are written that is a
    /// contract's code, and the file opens; before, it is a boundary of the journal, and the file does not.
    Alter "alter" tee;
    /// After so many more changes the disk is full.
    Full "full" tee changes;
    /// There is room on the disk again.
    Room "room" tee;
    /// The machine gives no entropy.
    Dry "dry" tee;
    /// It gives entropy again.
    Wet "wet" tee;
    /// An account sends tokens to another.
    Transfer "transfer" from to amount;
    /// An account keeps marked words in the keeper contract.
    Keep "keep" account salt;
    /// An account pushes something wrong (the table is in `client.rs`).
    Poison "poison" account kind;
    /// An envelope that is in the inbox already is pushed once more by somebody.
    Copy "copy" index;
    /// Clients push again what abandoned blocks lost.
    PushAgain "push_again";
    /// An account asks a worker for its balance, its reply and the kept words.
    Query "query" tee account;
    /// The last query of a worker arrives there once more.
    Requery "requery" tee;
    /// A root of the next era is made, of four seats of which three give keys, and the cluster goes over to it; if it does so already,
    /// nothing. Seats answer nothing as after `mute`.
    NextRoot "next_root" seats;
    /// Of roots that were made so, the seats whose bits are set answer nothing: 1, 2, 4 and 8.
    Mute "mute" seats;
    /// Of roots that are made so, now and later, the seats whose bits are set lie in way number `kind` (the table is in `root.rs`), in their
    /// own name and in that of every other seat, and no others do. When everything comes to rest as many go on as leave enough that
    /// are honest.
    Lie "lie" seats kind;
    /// A worker is no replica any more.
    Leave "leave" tee;
    /// A worker becomes a replica again.
    Join "join" tee;
    /// Worker `other`, which is no replica, takes the place of `tee`, which is one.
    Replace "replace" tee other;
    /// An account creates so many contracts of code that is large and all different: snapshots get more parts.
    Deploy "deploy" contracts;
    /// A relayer asks a worker for so many parts more of a snapshot of its state, and keeps them.
    HandOut "hand_out" tee parts;
    /// A relayer brings part of a snapshot that it altered in way number `kind` (the table is in `shelf.rs`).
    Spoil "spoil" tee kind salt;
    /// Relayers hand on no snapshot that they keep (1), or do (0), until everything comes to rest.
    Withhold "withhold" held;
    /// Relayers have a folder for snapshots (1), or none (0), and then what they kept is gone. No fault: it outlasts `settle`.
    Folders "folders" kept;
    /// So many times: an honest delivery to every TEE, then a block.
    Round "round" times;
    /// All faults stop; everything accepted must be answered within a bound, and all is audited.
    Settle "settle";
    /// The last delivery to this TEE was refused as the relayer's fault.
    ExpectRefused "expect_refused" tee;
    /// The last delivery to this TEE failed for a reason that is not the relayer's.
    ExpectFault "expect_fault" tee;
    /// The last delivery to this TEE was taken.
    ExpectTaken "expect_taken" tee;
    /// The worker answers queries.
    ExpectServing "expect_serving" tee;
    /// The worker answers no query, or does not run.
    ExpectSilent "expect_silent" tee;
    /// The worker has said that it lacks the state, and has not taken it over since.
    ExpectLacking "expect_lacking" tee;
    /// The worker has taken so many parts of a snapshot, and the state is not its own yet.
    ExpectTaking "expect_taking" tee parts;
    /// Relayers keep so many whole snapshots of the open epoch, or more.
    ExpectKept "expect_kept" snapshots;
    /// The worker has executed all final items but so many.
    ExpectBehind "expect_behind" tee items;
    /// The open epoch is at least this.
    ExpectEpoch "expect_epoch" epoch;
    /// The root of this era answers, the cluster's epochs are of it, and it goes over to no other.
    ExpectEra "expect_era" era;
}

/// Why a line is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// No such word.
    #[error("there is no such action")]
    Unknown,
    /// A number is missing or malformed.
    #[error("the number '{0}' is missing or malformed")]
    Number(&'static str),
    /// More numbers than the action has.
    #[error("there are more numbers than the action has")]
    TooMany,
}

/// What a simulation starts from, and what happens then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Of all entropy.
    pub seed: u64,
    /// Replicas of the cluster, 1 to 4.
    pub workers: usize,
    /// Workers beside them that are registered and no replicas at first, 1 at most.
    pub spares: usize,
    /// Blocks that an epoch stays open at least.
    pub epoch_length: u32,
    /// What happens.
    pub actions: Vec<Action>,
}

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}: '{text}'")]
pub struct ScenarioError {
    /// Number of the line, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What is wrong with it.
    pub reason: ActionError,
}

impl std::str::FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let mut scenario = Self { seed: 1, workers: 3, spares: 0, epoch_length: 20, actions: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let meaning = line.split('#').next().unwrap_or_default().trim();
            let failed = |reason| ScenarioError { line: index + 1, text: line.to_owned(), reason };
            let number = |rest: &str| rest.trim().parse::<u64>().map_err(|_| failed(ActionError::Number("value")));
            match meaning.split_once(' ') {
                Some(("seed", rest)) => scenario.seed = number(rest)?,
                Some(("workers", rest)) => scenario.workers = (number(rest)? as usize).clamp(1, 4),
                Some(("spares", rest)) => scenario.spares = (number(rest)? as usize).min(1),
                Some(("epoch", rest)) => scenario.epoch_length = (number(rest)? as u32).max(4),
                _ if meaning.is_empty() => {}
                _ => scenario.actions.push(meaning.parse().map_err(failed)?),
            }
        }
        Ok(scenario)
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, workers, spares, epoch_length, .. } = self;
        writeln!(f, "seed {seed}\nworkers {workers}\nspares {spares}\nepoch {epoch_length}")?;
        self.actions.iter().try_for_each(|action| writeln!(f, "{action}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_reads_what_it_writes() {
        let text = "# a comment\n\nseed 7\nworkers 2\nspares 1\nepoch 9\nblock\ntear 1 5 99 # in the middle\nround 3\n";
        let scenario: Scenario = text.parse().unwrap();
        assert_eq!((scenario.seed, scenario.workers, scenario.spares, scenario.epoch_length), (7, 2, 1, 9));
        assert_eq!(scenario.actions.len(), 3);
        assert_eq!(scenario.actions[1], Action::Tear { tee: 1, changes: 5, salt: 99 });
        assert_eq!(scenario.to_string().parse::<Scenario>().unwrap(), scenario);
    }

    #[test]
    fn says_which_line_is_wrong() {
        let wrong = |text: &str| text.parse::<Scenario>().map_err(|error| (error.line, error.reason));
        assert_eq!(wrong("block\nblok"), Err((2, ActionError::Unknown)));
        assert_eq!(wrong("tear 1 5"), Err((1, ActionError::Number("salt"))));
        assert_eq!(wrong("block 1"), Err((1, ActionError::TooMany)));
        assert_eq!(wrong("seed x"), Err((1, ActionError::Number("value"))));
    }
}
