//! Publications: ZeroMQ PUSH to one or several servers, or HTTP POST to a server that is none of
//! ours.

use std::io;

use tidegate_sys::zeromq;

use crate::error::Error;
use crate::post::Post;

/// How long an endpoint may take to answer, and later to take a message.
const PATIENCE_MILLIS: i32 = 5000;

/// Who shall receive a message.
#[derive(Clone, Copy)]
pub(super) struct Audience<'a> {
    pub(super) channel: &'a str,
    /// The number of the one who is alone in it, if that is so.
    pub(super) user: Option<u32>,
}

/// Where messages are published to.
pub(super) enum Publisher {
    /// Sockets to the pull endpoints of servers.
    Push(Vec<(String, zmq::Socket)>),
    /// The one server of the run.
    Post(Post),
}

impl Publisher {
    /// Connects, and waits until every server has answered.
    pub(super) fn connect(endpoints: &[String]) -> Result<Self, Error> {
        let context = zmq::Context::new();
        let mut sockets = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let open = || -> io::Result<zmq::Socket> {
                let mut socket = zeromq::socket(&context, zmq::PUSH)?;
                // Without this it would queue for a server that is not there.
                socket.set_immediate(true)?;
                socket.set_sndtimeo(PATIENCE_MILLIS)?;
                socket.set_linger(PATIENCE_MILLIS)?;
                zeromq::connect(&mut socket, endpoint)?;
                Ok(socket)
            };
            let fail = |source| Error::Publish { endpoint: endpoint.clone(), source };
            let socket = open().map_err(fail)?;
            let polled = socket.poll(zmq::POLLOUT, PATIENCE_MILLIS.into());
            if polled.map_err(|error| fail(error.into()))? == 0 {
                return Err(Error::Endpoint(endpoint.clone()));
            }
            sockets.push((endpoint.clone(), socket));
        }
        Ok(Self::Push(sockets))
    }

    /// How many servers there are.
    pub(super) fn servers(&self) -> usize {
        match self {
            Self::Push(sockets) => sockets.len(),
            Self::Post(_) => 1,
        }
    }

    /// Publishes to one server; waits while it takes no more.
    pub(super) fn send(
        &self,
        server: usize,
        audience: Audience<'_>,
        payload: &[u8],
    ) -> Result<(), Error> {
        let sockets = match self {
            Self::Push(sockets) => sockets,
            Self::Post(post) => return post.send(audience, payload),
        };
        let (endpoint, socket) = &sockets[server];
        let parts = [audience.channel.as_bytes(), payload];
        socket.send_multipart(parts, 0).map_err(|source| match source {
            zmq::Error::EAGAIN => Error::Endpoint(endpoint.clone()),
            error => Error::Publish { endpoint: endpoint.clone(), source: error.into() },
        })
    }
}
