//! The gate: says which CURVE clients come in, through the ZAP protocol (ZeroMQ RFC 27).
//!
//! libzmq asks it inside the process, once per connection, after the client has proved that it
//! owns its key. The gate is bound before any endpoint, because a CURVE server without a gate
//! lets everybody in. Peers without CURVE never get this far: libzmq itself refuses them.

use crate::ingest::{Authorized, Curve, Endpoint};
use crate::sys::Complaints;

/// Where libzmq looks for the gate.
const ADDRESS: &str = "inproc://zeromq.zap.01";

/// Most requests in one turn, so that a storm of connections does not stop the messages.
const REQUESTS_PER_TURN: usize = 64;

/// Answers libzmq's questions.
pub(super) struct Gate {
    socket: zmq::Socket,
    /// By ZAP domain: which endpoint lets whom in.
    domains: Vec<(String, Authorized)>,
}

/// The ZAP domain of an endpoint by its place in the configuration.
pub(super) fn domain(place: usize) -> String {
    format!("tidegate.{place}")
}

impl Gate {
    /// A gate for all CURVE servers among the endpoints; none if there is none.
    pub(super) fn open(
        context: &zmq::Context,
        endpoints: &[Endpoint],
    ) -> zmq::Result<Option<Self>> {
        let servers =
            endpoints.iter().enumerate().filter_map(|(place, endpoint)| match &endpoint.curve {
                Some(Curve::Server { authorized, .. }) => Some((domain(place), authorized.clone())),
                _ => None,
            });
        let domains: Vec<_> = servers.collect();
        if domains.is_empty() {
            return Ok(None);
        }
        let socket = context.socket(zmq::REP)?;
        socket.set_linger(0)?;
        socket.bind(ADDRESS)?;
        Ok(Some(Self { socket, domains }))
    }

    /// The socket to wait for.
    pub(super) fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Answers what was asked.
    pub(super) fn serve(&self, complaints: &Complaints, now_nanos: u64) {
        for _ in 0..REQUESTS_PER_TURN {
            let Ok(request) = self.socket.recv_multipart(zmq::DONTWAIT) else { return };
            let request: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
            let admitted = self.admits(&request);
            if !admitted && let Some(suppressed) = complaints.admit(now_nanos) {
                let address = peer(&request);
                tracing::warn!(suppressed, address, "CURVE client refused: unknown key");
            }
            let id = request.get(1).copied().unwrap_or_default();
            let (status, text): (&[u8], &[u8]) =
                if admitted { (b"200", b"OK") } else { (b"400", b"unknown key") };
            // Only libzmq asks, and it always reads.
            let _ = self.socket.send_multipart([b"1.0", id, status, text, b"", b""], zmq::DONTWAIT);
        }
    }

    /// A request: version, id, domain, peer address, routing id, mechanism, credentials.
    fn admits(&self, request: &[&[u8]]) -> bool {
        let [b"1.0", _, domain, _, _, b"CURVE", key] = *request else { return false };
        let server = self.domains.iter().find(|(name, _)| name.as_bytes() == domain);
        match server {
            Some((_, Authorized::Any)) => true,
            Some((_, Authorized::Keys(keys))) => keys.iter().any(|known| known == key),
            None => false,
        }
    }
}

fn peer(request: &[&[u8]]) -> String {
    String::from_utf8_lossy(request.get(3).copied().unwrap_or_default()).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_keys_of_the_right_endpoint_come_in() {
        let gate = Gate {
            socket: zmq::Context::new().socket(zmq::REP).unwrap(),
            domains: vec![
                (domain(0), Authorized::Keys(vec![[1; 32], [2; 32]])),
                (domain(3), Authorized::Any),
            ],
        };
        let ask = |version: &[u8], place, mechanism: &[u8], key: &[u8]| {
            let domain = domain(place);
            gate.admits(&[version, b"1", domain.as_bytes(), b"::1", b"", mechanism, key])
        };
        assert!(ask(b"1.0", 0, b"CURVE", &[2; 32]));
        assert!(!ask(b"1.0", 0, b"CURVE", &[3; 32]));
        assert!(!ask(b"1.0", 0, b"CURVE", b""));
        assert!(ask(b"1.0", 3, b"CURVE", &[3; 32]));
        assert!(!ask(b"1.0", 3, b"NULL", &[3; 32]));
        assert!(!ask(b"1.0", 1, b"CURVE", &[1; 32]));
        assert!(!ask(b"2.0", 3, b"CURVE", &[1; 32]));
        assert!(!gate.admits(&[]));
    }
}
