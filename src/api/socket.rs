//! A client's socket that tells its connection's place what moves.
//!
//! A socket that is closed while something of a client is unread is reset, and the answer that the
//! client has not read yet is gone. So whoever is answered while a body is on its way is heard out.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::api::places::Place;

/// So much of a body is heard out at most: four times the longest that an option allows.
const UNREAD_BYTES_MAX: usize = 256 << 20;

/// So much of it is read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// A socket and the place of its connection.
pub(super) struct Socket {
    stream: TcpStream,
    place: Rc<Place>,
    /// How much was read of a body that nobody wants.
    unread_bytes: usize,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, place: Rc<Place>) -> Self {
        Self { stream, place, unread_bytes: 0 }
    }

    /// Reads what a client still sends and throws it away, until it ends or has sent too much.
    fn poll_hear_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK_BYTES];
        while self.unread_bytes < UNREAD_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.unread_bytes += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.place.note_input();
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.place.note_output(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.place.note_output(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when all that it had to send is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.place.note_flush();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        if self.place.hears_out() { self.poll_hear_out(context) } else { Poll::Ready(Ok(())) }
    }
}
