//! Callers of the HTTP API, each on a connection that is kept, all in one thread.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::calls::{Caller, Said};

/// One read brings at most so much.
const READ_BYTES: usize = 64 * 1024;

/// Connections to the internal address.
pub(crate) struct HttpCallers {
    runtime: Runtime,
    lines: Vec<Line>,
}

/// One connection.
struct Line {
    stream: TcpStream,
    host: String,
    input: Vec<u8>,
}

impl HttpCallers {
    /// Opens so many.
    pub(crate) fn start(address: &str, count: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let lines = runtime.block_on(async {
            let mut lines = Vec::new();
            for _ in 0..count {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let input = Vec::with_capacity(READ_BYTES);
                lines.push(Line { stream, host: address.to_owned(), input });
            }
            io::Result::Ok(lines)
        })?;
        Ok(Self { runtime, lines })
    }

    /// Lets every caller ask so often. Returns how long each answer took, in nanoseconds.
    pub(crate) fn round(
        &mut self,
        callers: &mut Vec<Caller>,
        turns: usize,
    ) -> io::Result<Vec<u64>> {
        let pairs = std::mem::take(callers).into_iter().zip(std::mem::take(&mut self.lines));
        let tasks = pairs.map(|(caller, line)| ask(caller, line, turns));
        let mut nanos = Vec::new();
        self.runtime.block_on(async {
            let mut tasks: JoinSet<_> = tasks.collect();
            while let Some(done) = tasks.join_next().await {
                let (caller, line, more) = done.map_err(io::Error::other)??;
                callers.push(caller);
                self.lines.push(line);
                nanos.extend(more);
            }
            io::Result::Ok(())
        })?;
        callers.sort_by_key(|caller| caller.place);
        Ok(nanos)
    }
}

async fn ask(
    mut caller: Caller,
    mut line: Line,
    turns: usize,
) -> io::Result<(Caller, Line, Vec<u64>)> {
    let mut nanos = Vec::with_capacity(turns);
    let method = caller.calls.method;
    for _ in 0..turns {
        let begin = Instant::now();
        line.post(method.name(), &caller.body()).await?;
        let body = line.response().await?;
        nanos.push(begin.elapsed().as_nanos() as u64);
        caller.check(&Said::in_response(method, body)?)?;
    }
    Ok((caller, line, nanos))
}

impl Line {
    async fn post(&mut self, method: &str, body: &str) -> io::Result<()> {
        let (host, length) = (&self.host, body.len());
        let request = format!(
            "POST /api/{method} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await
    }

    /// Reads a whole response, which must be good, and returns its body.
    async fn response(&mut self) -> io::Result<&[u8]> {
        self.input.clear();
        loop {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::other("the server has closed a connection"));
            }
            let Some((head, length)) = read_head(&self.input)? else { continue };
            if self.input.len() >= head + length {
                return Ok(&self.input[head..]);
            }
        }
    }
}

/// The length of a response's head and that of its body, if the head is complete.
pub(crate) fn read_head(input: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(input).map_err(io::Error::other)? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(head) => head,
    };
    let length =
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| str::from_utf8(header.value).ok()?.parse().ok());
    match (response.code, length) {
        (Some(200), Some(length)) => Ok(Some((head, length))),
        _ => Err(io::Error::other(format!("answered {}", String::from_utf8_lossy(input)))),
    }
}
