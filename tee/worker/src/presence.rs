//! Whether the peer of a connection is still there while its answer is made.
//!
//! Why: the HTTP beneath reads nothing more while a byte waits that came after a request, and then it does not see that whoever sent that has
//! hung up: a delivery with one byte after it kept its place until its time was over. Here the same socket is read beside it.
//! Guarantees: a peer that hangs up is noticed whatever it sent before, and one that sends ever more is not read for ever.
//! Does not: keep what it reads. Whoever sends more than a request, and goes on before the answer, loses that, and its connection ends with the
//! answer; what came together with the request is the next request, as ever, unless it loses more. Nor tell whoever ends only what he sends,
//! and would still read, from one that hangs up: both look the same, and neither gets an answer, as from the HTTP beneath alone. The peer
//! controls what it sends and when.

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{ready, Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        tcp::{OwnedReadHalf, OwnedWriteHalf},
        TcpStream,
    },
    sync::oneshot,
};

/// Bytes after a request that are read before its answer. Whoever sends more is cut off.
const MAX_AHEAD: usize = 32 * 1024;

/// The stream of a connection, and its peer.
pub(crate) fn watched(stream: TcpStream) -> (Stream, Peer) {
    let (from, to) = stream.into_split();
    let from = Arc::new(from);
    (Stream { from: from.clone(), to }, Peer(from))
}

/// What the HTTP reads and writes.
pub(crate) struct Stream {
    from: Arc<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

/// Whoever is at the other end.
#[derive(Clone)]
pub(crate) struct Peer(Arc<OwnedReadHalf>);

impl Peer {
    /// Waits until the peer has hung up, or has sent more than [`MAX_AHEAD`] bytes. `ahead` counts what it sent meanwhile, which is lost.
    /// Not while a request's body is still to be read; a body that nobody wanted counts with the rest.
    pub(crate) async fn gone(&self, ahead: &mut usize) {
        let mut chunk = [0; 1_024];
        while *ahead <= MAX_AHEAD {
            if self.0.readable().await.is_err() {
                return;
            }
            match self.0.try_read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => *ahead += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// A request's body, and who waits until nobody reads it any more: it was read to its end, or is not wanted.
pub(crate) struct Expected {
    body: Incoming,
    _reader: oneshot::Sender<()>,
}

impl Expected {
    /// The second ends with the first.
    pub(crate) fn new(body: Incoming) -> (Self, oneshot::Receiver<()>) {
        let (reader, ended) = oneshot::channel();
        (Self { body, _reader: reader }, ended)
    }
}

impl Body for Expected {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream: &TcpStream = (*self.from).as_ref();
        loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_read_buf(into) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().to).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().to).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.to.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().to).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().to).poll_shutdown(context)
    }
}
