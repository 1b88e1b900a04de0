//! A running shard is told anew.

use std::sync::Arc;

use crate::settings::ShardSettings;
use crate::shard::{Net, Shard};

impl<N: Net> Shard<N> {
    /// Takes other settings. Open connections stay, and what they do next follows the new ones:
    /// timers that are armed first end as they were.
    pub(super) fn configure(&mut self, settings: Arc<ShardSettings>) {
        self.admission.configure(&settings);
        self.halves.configure(&settings.halves);
        self.settings = settings;
        self.shed_halves();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc::{channel, sync_channel};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::hub::Site;
    use crate::mesh::Envelope;
    use crate::metrics::ShardMetrics;
    use crate::settings::HubSettings;
    use crate::shard::{Drain, Start, run};
    use crate::sys::{Clock, ring};
    use crate::token::{Authority, Keys, Revocations, Rules, Verifier};
    use crate::ws::Limits;

    /// The status of the answer, and the connection.
    fn connect(address: SocketAddr, path: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), stream)
    }

    /// Sends a frame, and returns the first bytes of what comes back.
    fn ask<const N: usize>(stream: &mut TcpStream, opcode: u8, payload: &[u8]) -> [u8; N] {
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend(payload);
        stream.write_all(&frame).unwrap();
        let mut answer = [0; N];
        stream.read_exact(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_shard_that_runs_is_told_anew_and_keeps_its_connections() {
        let settings = ShardSettings {
            echo: false,
            ..ShardSettings::unlimited(HubSettings::unlimited().into())
        };
        let (mut ports, askers) = crate::mesh::build(1, 64, 7).unwrap();
        let (port, listener) = (ports.remove(0), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let (left, all_left) = channel();
        let verifier = Verifier::new(Keys::default(), Rules::default());
        let drain = Arc::new(Drain::new(1, move || left.send(()).unwrap()));
        let start = Start {
            settings: Arc::new(settings.clone()),
            site: Site { epoch_seed: 7, ..Site::new(port.shard, port.homes.clone()) },
            ring: ring::Size::LEAST,
            core: None,
            port,
            metrics: vec![Arc::new(ShardMetrics::default())],
            drain: Arc::clone(&drain),
            authority: Arc::new(Authority::new(verifier, Revocations::new(60))),
        };
        let (started, word) = sync_channel(1);
        let thread = std::thread::spawn(move || run(start, listener, Clock::start(), &started));
        word.recv().unwrap().unwrap();

        assert_eq!(connect(address, "/echo").0, "404");
        let (status, mut first) = connect(address, "/websocket/1");
        let (_, mut second) = connect(address, "/websocket/2");
        assert_eq!(status, "101");
        assert_eq!(ask(&mut first, 0x9, b"twelve bytes"), *b"\x8a\x0ctwelve bytes");
        let limits = Limits { message_bytes_max: 10, ..settings.limits };
        let settings = ShardSettings { echo: true, limits, ..settings };
        askers[0].shards[0].try_send(Envelope::Configure(settings.into())).unwrap();
        askers[0].shards[0].ring();
        let begin = Instant::now();
        while connect(address, "/echo").0 != "101" {
            assert!(begin.elapsed() < Duration::from_secs(10), "the door stays shut");
        }
        let [opcode, _, code @ ..]: [u8; 4] = ask(&mut first, 0x2, b"twelve bytes");
        assert_eq!((opcode, u16::from_be_bytes(code)), (0x88, 1009));
        assert_eq!(ask(&mut second, 0x9, b"short"), *b"\x8a\x05short", "others stay");

        drop((first, second));
        drain.begin();
        all_left.recv().unwrap();
        drain.end();
        thread.join().unwrap().unwrap();
    }
}
