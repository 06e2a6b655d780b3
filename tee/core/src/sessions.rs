//! Open sessions, in the cluster's committed state: so that all replicas agree on them, and a restart keeps them.
//!
//! A session is opened by a call that its account signed, and named there: the session key. Later commands are found by a one-time
//! tag and authorised by that key's signature. The state lists, for each session, the tags of the next numbers: a window of
//! [`SESSION_WINDOW`], which slides up with the highest number that was used.
//!
//! Guarantees: a tag is used up by a command that its session key signed in a wrapper that it asked for, and by nothing else; an
//! account has [`MAX_SESSIONS_PER_ACCOUNT`] sessions, and the oldest goes when it opens one more; a session ends with its epoch, and
//! what is left of it is removed bit by bit, a bounded number at a time. That a command executes once does not rest on tags: its
//! nonce is one of its account's, like every other command's.
//!
//! ```text
//! session/<id>        the session; id is the inbox sequence of the item that opened it
//! tag/<tag>           (id, number)
//! sessions/<account>  ids, oldest first
//! opened/<n>          id of the n-th session that was opened, until it is removed;  opened = (first, next) such n
//! ```
//! Accounts control how many sessions they open and how they number their commands.

use crate::world::{StateFault, Underway, SYSTEM};
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::session::SessionSecret;
use phala_protocol::{
    envelope::TAG_BYTES,
    limits::{MAX_SESSIONS_PER_ACCOUNT, SESSION_WINDOW},
    AccountId, Epoch,
};
use phala_state::Batch;

/// A session as the cluster's state keeps it.
#[derive(Encode, Decode)]
pub(crate) struct Session {
    pub account: AccountId,
    /// Ed25519: what authorises its commands.
    pub key: [u8; 32],
    pub epoch: Epoch,
    secret: [u8; 32],
    /// Tags of the numbers from here, up to but not including `next`, are listed, but for those that were used.
    first: u64,
    next: u64,
}

/// A session's place in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Numbered {
    pub id: u64,
    pub number: u64,
}

impl Drop for Session {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

impl Session {
    pub(crate) fn new(account: AccountId, key: [u8; 32], epoch: Epoch, secret: &SessionSecret) -> Self {
        Self { account, key, epoch, secret: *secret.expose(), first: 1, next: 1 }
    }

    pub(crate) fn secret(&self) -> SessionSecret {
        SessionSecret::from_bytes(&self.secret)
    }

    /// Moves the window so that it ends [`SESSION_WINDOW`] after `highest`, and lets go of what is as far behind.
    fn slide(&mut self, id: u64, highest: u64, batch: &mut Batch) -> Result<(), StateFault> {
        let secret = self.secret();
        let (first, next) =
            (highest.saturating_sub(SESSION_WINDOW), highest.saturating_add(SESSION_WINDOW).saturating_add(1));
        for number in self.next..next.max(self.next) {
            batch.set(&SYSTEM, &tag_key(&secret.tag(number)), Numbered { id, number }.encode())?;
        }
        for number in self.first..first.max(self.first) {
            batch.remove(&SYSTEM, &tag_key(&secret.tag(number)))?;
        }
        (self.first, self.next) = (first.max(self.first), next.max(self.next));
        Ok(())
    }
}

impl Underway {
    /// The session and the number that a tag stands for.
    pub(crate) fn session(&self, tag: &[u8]) -> Result<Option<(Numbered, Session)>, StateFault> {
        let batch = self.batch();
        let Some(numbered) = entry::<Numbered>(&batch, &tag_key(tag))? else { return Ok(None) };
        Ok(entry::<Session>(&batch, &session_key(numbered.id))?.map(|session| (numbered, session)))
    }

    /// Uses up a number of a session.
    pub(crate) fn use_number(&self, used: Numbered, mut session: Session) -> Result<(), StateFault> {
        let mut batch = self.batch();
        batch.remove(&SYSTEM, &tag_key(&session.secret().tag(used.number)))?;
        session.slide(used.id, used.number, &mut batch)?;
        batch.set(&SYSTEM, &session_key(used.id), session.encode())?;
        Ok(())
    }

    /// Opens a session. The account's oldest goes if it has as many as it may, and so do those of epochs that are over.
    pub(crate) fn open_session(&self, id: u64, mut session: Session) -> Result<(), StateFault> {
        let mut batch = self.batch();
        let list = list_key(&session.account);
        let mut ids = entry::<Vec<u64>>(&batch, &list)?.unwrap_or_default();
        while ids.len() >= MAX_SESSIONS_PER_ACCOUNT {
            remove(&mut batch, ids.remove(0))?;
        }
        ids.push(id);
        batch.set(&SYSTEM, &list, ids.encode())?;
        session.slide(id, 0, &mut batch)?;
        batch.set(&SYSTEM, &session_key(id), session.encode())?;
        let (first, next) = queue(&batch)?;
        batch.set(&SYSTEM, &opened_key(next), id.encode())?;
        batch.set(&SYSTEM, OPENED, (first, next.saturating_add(1)).encode())?;
        Ok(())
    }

    /// Removes up to `at_most` sessions of epochs other than `epoch`, oldest first.
    pub(crate) fn end_sessions(&self, epoch: Epoch, at_most: usize) -> Result<(), StateFault> {
        let mut batch = self.batch();
        let (start, next) = queue(&batch)?;
        let mut first = start;
        while first < next && first.saturating_sub(start) < at_most as u64 {
            let key = opened_key(first);
            let id = entry::<u64>(&batch, &key)?.ok_or(StateFault::Entry)?;
            if let Some(session) = entry::<Session>(&batch, &session_key(id))? {
                if session.epoch == epoch {
                    break;
                }
                let list = list_key(&session.account);
                let mut ids = entry::<Vec<u64>>(&batch, &list)?.unwrap_or_default();
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    batch.remove(&SYSTEM, &list)?;
                } else {
                    batch.set(&SYSTEM, &list, ids.encode())?;
                }
                remove(&mut batch, id)?;
            }
            batch.remove(&SYSTEM, &key)?;
            first = first.saturating_add(1);
        }
        if first != start {
            batch.set(&SYSTEM, OPENED, (first, next).encode())?;
        }
        Ok(())
    }
}

/// Removes a session and its tags.
fn remove(batch: &mut Batch, id: u64) -> Result<(), StateFault> {
    let Some(session) = entry::<Session>(batch, &session_key(id))? else { return Ok(()) };
    let secret = session.secret();
    for number in session.first..session.next {
        batch.remove(&SYSTEM, &tag_key(&secret.tag(number)))?;
    }
    batch.remove(&SYSTEM, &session_key(id))?;
    Ok(())
}

fn entry<T: DecodeAll>(batch: &Batch, key: &[u8]) -> Result<Option<T>, StateFault> {
    match batch.get(&SYSTEM, key)? {
        Some(bytes) => T::decode_all(&mut bytes.as_slice()).map(Some).map_err(|_| StateFault::Entry),
        None => Ok(None),
    }
}

/// Numbers of the sessions that were opened and not removed: from, up to but not including.
fn queue(batch: &Batch) -> Result<(u64, u64), StateFault> {
    Ok(entry(batch, OPENED)?.unwrap_or_default())
}

const OPENED: &[u8] = b"opened";

fn opened_key(number: u64) -> Vec<u8> {
    [b"opened/".as_slice(), &number.to_be_bytes()].concat()
}

fn session_key(id: u64) -> Vec<u8> {
    [b"session/".as_slice(), &id.to_be_bytes()].concat()
}

fn list_key(account: &AccountId) -> Vec<u8> {
    [b"sessions/".as_slice(), &account.0].concat()
}

fn tag_key(tag: &[u8]) -> Vec<u8> {
    const { assert!(TAG_BYTES == 16) };
    [b"tag/".as_slice(), tag].concat()
}
