//! HTTP POST of each message, on a connection of its own: what every other server's way of taking
//! publications can be reached by. The answer is waited for, because it keeps the order.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;

use crate::error::Error;
use crate::handshake::USER;
use crate::publisher::Audience;

/// What hyper and the system may say.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long a server may take over a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an answer may be.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What a body template must have: here the message stands, in base64.
pub(super) const BASE64: &str = "{base64}";

/// Where the channel's name stands in a path or body.
pub(super) const CHANNEL: &str = "{channel}";

/// A server's address for publications.
pub(super) struct Post {
    address: SocketAddr,
    host: String,
    /// `{channel}` is replaced by the channel's name and `{number}` by the number of the user,
    /// here and in the body.
    path: String,
    /// None means the message itself.
    body: Option<String>,
    runtime: Runtime,
}

impl Post {
    /// An address, as the URL names it, and what is posted there.
    pub(super) fn new(
        address: SocketAddr,
        host: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<Self, Error> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { address, host: host.to_owned(), path: path.to_owned(), body, runtime })
    }

    /// Publishes, and waits until that is confirmed.
    pub(super) fn send(&self, audience: Audience<'_>, payload: &[u8]) -> Result<(), Error> {
        let exchange = async {
            let exchange = self.exchange(self.request(audience, payload)?);
            timeout(PATIENCE, exchange).await.map_err(|_| "no answer in 30 s")?
        };
        let reason = match self.runtime.block_on(exchange) {
            Ok(status) if status.is_success() => return Ok(()),
            Ok(status) => status.to_string(),
            Err(failure) => failure.to_string(),
        };
        Err(Error::Post { url: format!("http://{}{}", self.host, self.path), reason })
    }

    fn request(
        &self,
        audience: Audience<'_>,
        payload: &[u8],
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let fill = |text: &str| {
            let text = text.replace(CHANNEL, audience.channel);
            match audience.user {
                Some(number) => text.replace(USER, &number.to_string()),
                None => text,
            }
        };
        let (kind, body) = match &self.body {
            None => ("application/octet-stream", payload.to_vec()),
            Some(template) => {
                let text = fill(template).replace(BASE64, &STANDARD.encode(payload));
                ("application/json", text.into_bytes())
            }
        };
        let request = Request::post(fill(&self.path))
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, kind)
            .header(CONNECTION, "close");
        Ok(request.body(body.into())?)
    }

    /// What the server says to it on a new connection.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let ask = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?;
            Ok(status)
        };
        tokio::pin!(ask);
        tokio::select! {
            answer = &mut ask => answer,
            ended = connection => {
                ended?;
                ask.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const SEVEN: Audience<'_> = Audience { channel: "#7", user: Some(7) };

    /// Posts a message to a server that answers with these bytes: what the server got.
    fn post(body: Option<&str>, audience: Audience<'_>, answer: &[u8]) -> (String, Option<Error>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.to_vec();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(&answer).unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let post =
            Post::new(address, "there:9", "/pub/{number}?x", body.map(str::to_owned)).unwrap();
        let error = post.send(audience, b"\x01hello").err();
        (server.join().unwrap(), error)
    }

    #[test]
    fn a_request_carries_the_message_or_the_template_with_it() {
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let (plain, error) = post(None, SEVEN, ok);
        assert!(error.is_none(), "{error:?}");
        assert!(plain.starts_with("POST /pub/7?x HTTP/1.1\r\nhost: there:9\r\n"), "{plain}");
        assert!(plain.ends_with("\r\n\r\n\x01hello"), "{plain}");
        let template = r#"{"to":{number},"b":"{base64}"}"#;
        let (filled, error) = post(Some(template), SEVEN, ok);
        assert!(error.is_none(), "{error:?}");
        assert!(filled.contains("application/json"), "{filled}");
        assert!(filled.ends_with("\r\n\r\n{\"to\":7,\"b\":\"AWhlbGxv\"}"), "{filled}");
        let news = Audience { channel: "news", user: None };
        let (named, _) = post(Some(r#"{"c":"{channel}","b":"{base64}"}"#), news, ok);
        assert!(named.ends_with("\r\n\r\n{\"c\":\"news\",\"b\":\"AWhlbGxv\"}"), "{named}");
    }

    #[test]
    fn only_a_status_of_two_hundred_and_some_is_success() {
        for good in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 202 Yes\r\n\r\nqueued"] {
            let (_, error) = post(None, SEVEN, good.as_bytes());
            assert!(error.is_none(), "{good}: {error:?}");
        }
        for (bad, reason) in [
            ("", "connection closed"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found"),
            ("HTTP/1.1 20\r\n\r\n", "invalid"),
            ("200 OK\r\n\r\n", "invalid"),
        ] {
            let (_, error) = post(None, SEVEN, bad.as_bytes());
            let text = error.expect(bad).to_string();
            assert!(text.contains("http://there:9/pub/{number}?x"), "{text}");
            assert!(text.contains(reason), "{bad}: {text}");
        }
    }
}
