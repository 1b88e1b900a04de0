//! The HTTP server: one thread, one runtime, bounded connections, and a deadline for everything.
//!
//! `axum::serve` has no options, so hyper is driven here. An HTTP client can hold a connection only
//! as long as it makes requests in time, never longer than [`CONNECTION_TIME_MAX`] and one request,
//! and only [`CONNECTIONS_MAX`] of them exist; more wait in the kernel's backlog.

use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::api::answers::{self, Requests};
use crate::api::router::{Shared, router};
use crate::api::{Control, metrics};
use crate::metrics::ApiMetrics;

/// Most HTTP connections at a time.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection takes further requests. Scrapers reconnect without noticing.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// Most bytes of a request head, and of a body that is read ahead.
const READ_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// How long no connection is accepted after an accept failed, as without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves the control plane on the calling thread until `stop` is sent or its sender is dropped.
pub fn serve(
    listener: TcpListener,
    control: Control,
    stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let (requests, queue) = Requests::new(control.timing.answer);
    let api = Arc::new(ApiMetrics::default());
    let (version, shards) = (control.facts.version, control.shards.clone());
    let shared = Shared {
        facts: control.facts,
        registry: metrics::registry(
            version,
            shards,
            (control.ingest, control.keeper.metrics()),
            (Arc::clone(&api), control.log),
        ),
        metrics: api,
        access: control.access,
        shards: control.shards,
        drain: control.drain,
        clock: control.clock,
        request_time_max: control.timing.request,
        requests,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::select! {
            _ = stop => Ok(()),
            result = answers::run(control.port, queue) => result,
            () = control.keeper.run() => Ok(()),
            () = accept(listener, router(shared), control.timing.request) => Ok(()),
        }
    })
}

async fn accept(listener: tokio::net::TcpListener, router: Router, request_time_max: Duration) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places);
        let place = place.acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve_connection(stream, router, request_time_max).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the internal address");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, request_time_max: Duration) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(request_time_max)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // How a connection ends is the client's affair: neither worth a log line nor a counter.
        _ = connection.as_mut() => return,
        () = sleep(CONNECTION_TIME_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(request_time_max, connection).await;
}
