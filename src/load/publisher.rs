//! ZeroMQ PUSH to one or several servers.

use super::error::Error;

/// How long an endpoint may take to answer, and later to take a message.
const PATIENCE_MILLIS: i32 = 5000;

/// Sockets to the pull endpoints of servers.
pub(super) struct Publisher {
    sockets: Vec<(String, zmq::Socket)>,
}

impl Publisher {
    /// Connects, and waits until every server has answered.
    pub(super) fn connect(endpoints: &[String]) -> Result<Self, Error> {
        let context = zmq::Context::new();
        let mut sockets = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let open = || -> zmq::Result<zmq::Socket> {
                let socket = context.socket(zmq::PUSH)?;
                // Without this it would queue for a server that is not there.
                socket.set_immediate(true)?;
                socket.set_sndtimeo(PATIENCE_MILLIS)?;
                socket.set_linger(PATIENCE_MILLIS)?;
                socket.connect(endpoint)?;
                Ok(socket)
            };
            let fail = |source| Error::Publish { endpoint: endpoint.clone(), source };
            let socket = open().map_err(fail)?;
            if socket.poll(zmq::POLLOUT, PATIENCE_MILLIS.into()).map_err(fail)? == 0 {
                return Err(Error::Endpoint(endpoint.clone()));
            }
            sockets.push((endpoint.clone(), socket));
        }
        Ok(Self { sockets })
    }

    /// How many servers there are.
    pub(super) fn servers(&self) -> usize {
        self.sockets.len()
    }

    /// Publishes to one server; waits while it takes no more.
    pub(super) fn send(&self, server: usize, channel: &str, payload: &[u8]) -> Result<(), Error> {
        let (endpoint, socket) = &self.sockets[server];
        socket.send_multipart([channel.as_bytes(), payload], 0).map_err(|source| match source {
            zmq::Error::EAGAIN => Error::Endpoint(endpoint.clone()),
            source => Error::Publish { endpoint: endpoint.clone(), source },
        })
    }
}
