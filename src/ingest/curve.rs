//! The gate: says which CURVE clients come in, through the ZAP protocol (ZeroMQ RFC 27).
//!
//! libzmq asks it inside the process, once per connection, after the client has proved that it
//! owns its key. The gate is bound before any endpoint, because a CURVE server without a gate
//! lets everybody in. Peers without CURVE never get this far: libzmq itself refuses them.

use crate::ingest::peer::Reason;
use crate::ingest::peers::say;
use crate::ingest::{Authorized, Curve, Endpoint, Error};
use crate::metrics::IngestMetrics;
use crate::sys::{Complaints, zeromq};

/// Where libzmq looks for the gate.
const ADDRESS: &str = "inproc://zeromq.zap.01";

/// Most requests in one turn, so that a storm of connections does not stop the messages.
const REQUESTS_PER_TURN: usize = 64;

/// Answers libzmq's questions.
pub(super) struct Gate {
    socket: zmq::Socket,
    /// By ZAP domain: the endpoint's address, and whom it lets in.
    domains: Vec<(String, String, Authorized)>,
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
    ) -> Result<Option<Self>, Error> {
        let servers =
            endpoints.iter().enumerate().filter_map(|(place, endpoint)| match &endpoint.curve {
                Some(Curve::Server { authorized, .. }) => {
                    Some((domain(place), endpoint.address.clone(), authorized.clone()))
                }
                _ => None,
            });
        let domains: Vec<_> = servers.collect();
        if domains.is_empty() {
            return Ok(None);
        }
        let socket = zeromq::socket(context, zmq::REP)?;
        socket.set_linger(0)?;
        socket.bind(ADDRESS)?;
        Ok(Some(Self { socket, domains }))
    }

    /// The socket to wait for.
    pub(super) fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Answers what was asked.
    pub(super) fn serve(
        &self,
        metrics: &IngestMetrics,
        (complaints, now_nanos): (&Complaints, u64),
    ) {
        for _ in 0..REQUESTS_PER_TURN {
            let Ok(request) = self.socket.recv_multipart(zmq::DONTWAIT) else { return };
            let request: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
            let admitted = self.admits(&request);
            if !admitted {
                let address = self.endpoint(&request);
                let peer = peer(&request);
                say(Reason::UnknownKey, address, &peer, metrics, (complaints, now_nanos));
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
        match self.server(domain) {
            Some((_, _, Authorized::Any)) => true,
            Some((_, _, Authorized::Keys(keys))) => keys.iter().any(|known| known == key),
            None => false,
        }
    }

    fn server(&self, domain: &[u8]) -> Option<&(String, String, Authorized)> {
        self.domains.iter().find(|(name, ..)| name.as_bytes() == domain)
    }

    fn endpoint(&self, request: &[&[u8]]) -> &str {
        let domain = request.get(2).copied().unwrap_or_default();
        self.server(domain).map_or("", |(_, address, _)| address)
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
                (domain(0), String::new(), Authorized::Keys(vec![[1; 32], [2; 32]])),
                (domain(3), String::new(), Authorized::Any),
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
