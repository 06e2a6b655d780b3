//! A stream on which a write waits for a bounded time.
//!
//! Guarantees: where the peer takes nothing of what is written to it for so long, the write fails, and whoever writes may let go of the
//! connection. Does not: bound how long a peer takes that reads a little now and then, nor how long it says nothing. The peer controls both.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{ready, Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{sleep, Sleep},
};

/// The stream.
pub(crate) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// The end of patience with the write that waits, if one does.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Lets a write on `stream` wait for `patience`.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    /// What comes of a write.
    fn in_time(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.in_time(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tokio::io::{duplex, AsyncReadExt as _, AsyncWriteExt as _};

    const PATIENCE: Duration = Duration::from_millis(600);

    #[tokio::test]
    async fn a_write_that_nobody_takes_fails_in_time() {
        let (near, _far) = duplex(16);
        let begun = Instant::now();
        let failed = Patient::new(near, PATIENCE).write_all(&[7; 64]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= PATIENCE);
    }

    #[tokio::test]
    async fn whoever_reads_a_little_at_a_time_gets_everything() {
        let (near, mut far) = duplex(16);
        let begun = Instant::now();
        let writing = tokio::spawn(async move { Patient::new(near, PATIENCE).write_all(&[7; 320]).await });
        let (mut taken, mut chunk) = (0, [0; 16]);
        while taken < 320 {
            tokio::time::sleep(PATIENCE / 12).await;
            taken += far.read(&mut chunk).await.unwrap();
        }
        writing.await.unwrap().unwrap();
        assert!(begun.elapsed() > PATIENCE, "no write waited for long, all of them together did");
    }
}
