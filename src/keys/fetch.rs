//! Gets the bytes of a key set from where the configuration says, bounded in length and time.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::header::{ACCEPT, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;

use crate::keys::LoadError;
use crate::limits::KEY_SET_BYTES_MAX;

/// Where the key set is.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Http(Client<HttpConnector, Empty<Bytes>>, Uri),
    Https(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, Uri),
}

impl Source {
    /// A source on the web; for https with the system's root certificates.
    pub(super) fn web(address: Uri) -> io::Result<Self> {
        let mut client = Client::builder(TokioExecutor::new());
        // A fetch is rare, so no connection is kept for the next one.
        client.pool_max_idle_per_host(0);
        if address.scheme_str() != Some("https") {
            return Ok(Self::Http(client.build(HttpConnector::new()), address));
        }
        let connector = HttpsConnectorBuilder::new().with_native_roots()?;
        let connector = connector.https_only().enable_http1().build();
        Ok(Self::Https(client.build(connector), address))
    }

    /// The bytes of the set as they are now.
    pub(super) async fn load(&self, patience: Duration) -> Result<Vec<u8>, LoadError> {
        let load = async {
            match self {
                Self::File(path) => {
                    let path = path.clone();
                    let read = tokio::task::spawn_blocking(move || read_file(&path));
                    read.await.map_err(|error| LoadError::Fetch(error.to_string()))?
                }
                Self::Http(client, address) => fetch(client, address).await,
                Self::Https(client, address) => fetch(client, address).await,
            }
        };
        tokio::time::timeout(patience, load).await.unwrap_or(Err(LoadError::Timeout))
    }
}

/// The bytes of a file, if they are not too many.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    let limit = KEY_SET_BYTES_MAX as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| LoadError::File { path: path.to_owned(), source })?;
    if bytes.len() > KEY_SET_BYTES_MAX { Err(LoadError::TooLong) } else { Ok(bytes) }
}

async fn fetch<C: Connect + Clone + Send + Sync + 'static>(
    client: &Client<C, Empty<Bytes>>,
    address: &Uri,
) -> Result<Vec<u8>, LoadError> {
    let request = Request::get(address)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| LoadError::Fetch(error.to_string()))?;
    let answer = client.request(request).await.map_err(|error| LoadError::Fetch(chain(&error)))?;
    if answer.status() != StatusCode::OK {
        return Err(LoadError::Status(answer.status().as_u16()));
    }
    let body = Limited::new(answer.into_body(), KEY_SET_BYTES_MAX).collect().await;
    match body {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(LoadError::TooLong),
        Err(error) => Err(LoadError::Fetch(chain(&*error))),
    }
}

/// An error with its causes: what went wrong is in the last one.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
