//! The HTTP server: two threads, bounded connections, and a deadline for everything.
//!
//! The thread that [`serve`] is called on accepts connections, reads heads, sends answers, and
//! answers probes itself: `/health`, `/metrics`, `/info` and the pages. What the API is asked runs
//! on a second thread, so that no probe ever waits for a batch that is decoded or for a history
//! that is written as JSON; but for a few light calls at a time (`light`), which take less than to
//! hand them over. There is a place for every connection ([`Places`]), and a bound on the
//! requests to the API that have come as a whole and are under way; one more is refused at once.
//!
//! `axum::serve` has no options, so hyper is driven here.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Request, Uri};
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinSet, LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use crate::api::answers::{self, Requests};
use crate::api::bodies::Bodies;
use crate::api::error::ApiError;
use crate::api::light::{Light, is_light};
use crate::api::places::{Place, Places};
use crate::api::room::Room;
use crate::api::router::{DESCRIPTION, Shared, router};
use crate::api::socket::Socket;
use crate::api::unread::Unread;
use crate::api::{Control, Timing, backend, metrics, quiet};
use crate::keys::Keeper;
use crate::mesh::AskerPort;
use crate::metrics::{ApiMetrics, HttpMetrics};
use crate::sys::Complaints;

/// Most HTTP connections at a time.
const CONNECTIONS_MAX: usize = 320;

/// Most requests to the API that are under way at a time, their bodies being there. What is left
/// are places that whoever has nothing under way gives up for whoever comes, and so for probes.
const API_REQUESTS_MAX: usize = 256;

/// Most requests of try pages that are under way at a time.
const PAGE_REQUESTS_MAX: usize = 16;

/// Most light calls that are under way at a time.
const LIGHT_CALLS_MAX: usize = 64;

/// Where the try page asks.
const TRY_PREFIX: &str = "/try/";

/// How many that ask this thread again at once are served in one [`TURN`], so that nobody who
/// comes waits behind all that they ask.
const TURNS: usize = 4;

/// How long they wait, each time.
const TURN: Duration = Duration::from_millis(5);

/// How often in a row, a [`TURN`] apart, nobody is being served when all have heard their answers.
const QUIET_LOOKS: usize = 4;

/// Most bytes of a request head, and of a body that is read ahead.
const READ_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// The header that says how long a connection is kept.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How long no connection is accepted after an accept failed, as without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// In so many seconds a few lines say that accepts fail.
const COMPLAINT_SECONDS: u64 = 10;

/// How long those who have asked something have, at the end, to hear the answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves the control plane until `stop` is sent or its sender is dropped, and then until whoever
/// has asked something has heard the answer, or has not for two seconds.
pub fn serve(
    listener: TcpListener,
    control: Control,
    stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let requests = || Requests::new(control.timing.answer, Arc::clone(&control.drain));
    let ((light_requests, light_queue), (requests, queue)) = (requests(), requests());
    let (api, http) = (Arc::new(ApiMetrics::default()), Arc::new(HttpMetrics::default()));
    let (version, shards) = (control.facts.version, control.shards.clone());
    let shared = Shared {
        facts: control.facts,
        registry: metrics::registry(
            version,
            shards,
            (control.ingest, control.keeper.metrics()),
            (Arc::clone(&api), Arc::clone(&http)),
            control.log,
        ),
        page: metrics::Page::default(),
        metrics: api,
        access: control.access,
        shards: control.shards,
        drain: control.drain,
        clock: control.clock,
        request_time_max: control.timing.request,
        room: Room::default(),
        http: Arc::clone(&http),
        body_bytes_max: control.body_bytes_max,
        requests,
        light_requests,
        api_requests: Semaphore::new(API_REQUESTS_MAX),
        page_requests: Semaphore::new(PAGE_REQUESTS_MAX),
        asked: AtomicU64::new(0),
        bodies: Bodies::new(control.timing.answer / 2),
        long_turns: Semaphore::new(1),
    };
    let shared = Arc::new(shared);
    let api = ApiThread::start(control.api_port, (queue, Arc::clone(&shared)), control.keeper)?;
    let server = Rc::new(Server {
        places: Places::new(CONNECTIONS_MAX, control.timing, http),
        router: TowerToHyperService::new(router(Arc::clone(&shared))),
        shared,
        api: api.handle.clone(),
        turns: Semaphore::new(TURNS),
        light_calls: Semaphore::new(LIGHT_CALLS_MAX),
        timing: control.timing,
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let drain = Arc::clone(&server.shared.drain);
        let light = async move { answers::run(control.port, light_queue, &drain).await };
        let light = spawn_local(light);
        tokio::select! {
            // That it was dropped says the same.
            _ = stop => {}
            () = server.accept(&listener) => {}
            () = quiet::give_back(&server.shared.asked) => {}
            ended = light => return ended.unwrap_or_else(|error| Err(io::Error::other(error))),
            _ = api.ended => return Err(io::Error::other("the thread of the API ended")),
        }
        server.accept_last(listener).await;
        let _late = timeout(FAREWELL, server.all_heard()).await;
        Ok(())
    })?;
    drop(api.stop);
    api.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread of the API panicked")))
}

/// The thread on which requests to the API are carried out.
struct ApiThread {
    handle: Handle,
    /// Ends it when dropped.
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl ApiThread {
    fn start(
        port: AskerPort,
        (queue, shared): (answers::Queue, Arc<Shared>),
        keeper: Keeper,
    ) -> io::Result<Self> {
        let runtime: Runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (is_alive, ended) = oneshot::channel();
        let body = move || {
            // Dropped however the thread ends.
            let _is_alive: oneshot::Sender<()> = is_alive;
            let ended = runtime.block_on(async {
                tokio::select! {
                    _ = stopped => Ok(()),
                    result = answers::run(port, queue, &shared.drain) => result,
                    () = keeper.run() => Ok(()),
                    () = quiet::give_back(&shared.asked) => Ok(()),
                }
            });
            // A key set that is being read from a disk or a name server that is gone takes as long
            // as it takes.
            runtime.shutdown_background();
            ended
        };
        let thread = Builder::new().name("api".to_owned()).spawn(body)?;
        Ok(Self { handle, stop, ended, thread })
    }
}

/// What connections share.
struct Server {
    places: Places,
    router: TowerToHyperService<Router>,
    shared: Arc<Shared>,
    api: Handle,
    /// For those who ask this thread again at once.
    turns: Semaphore,
    /// For light calls.
    light_calls: Semaphore,
    timing: Timing,
}

impl Server {
    async fn accept(self: &Rc<Self>, listener: &tokio::net::TcpListener) {
        let complaints = Complaints::in_seconds(COMPLAINT_SECONDS);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    self.take_in(stream);
                    // Those that are there have their turn before the next.
                    yield_now().await;
                }
                Err(error) => {
                    if let Some(suppressed) = complaints.admit(self.shared.clock.now_nanos()) {
                        tracing::warn!(%error, suppressed, "cannot accept on the internal address");
                    }
                    // Its descriptor may be the one that is wanting.
                    self.places.displace();
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes in those who have connected by now, and nobody else.
    async fn accept_last(self: &Rc<Self>, listener: tokio::net::TcpListener) {
        while let Ok(Ok((stream, _))) = timeout(Duration::ZERO, listener.accept()).await {
            self.take_in(stream);
        }
    }

    fn take_in(self: &Rc<Self>, stream: TcpStream) {
        let server = Rc::clone(self);
        let place = self.places.take();
        spawn_local(async move { server.serve_connection(stream, place).await });
    }

    /// Waits until nobody is being served. Whoever has just sent a request is seen by then.
    async fn all_heard(&self) {
        let mut looks = 0;
        while looks < QUIET_LOOKS {
            sleep(TURN).await;
            looks = if self.places.is_anybody_served() { 0 } else { looks + 1 };
        }
    }

    async fn serve_connection(self: Rc<Self>, stream: TcpStream, place: Rc<Place>) {
        let answer = service_fn(|request| self.answer(&place, request));
        let socket = TokioIo::new(Socket::new(stream, Rc::clone(&place)));
        // Deadlines are those of the place: hyper's own would end an idle connection like a slow
        // one.
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            // One that has said all, and that it has, still hears the answers.
            .half_close(true)
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .serve_connection(socket, answer);
        let end = tokio::select! {
            // How a client ends a connection is its own affair.
            _ = connection => None,
            end = place.lost() => Some(end),
        };
        self.places.give_back(&place, end);
    }

    async fn answer(
        &self,
        place: &Place,
        mut request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        trim_path(&mut request);
        place.ready().await;
        if place.is_eager() && !is_for_api(request.uri().path()) {
            let _turn = self.turns.acquire().await;
            sleep(TURN).await;
        }
        if is_for_api(request.uri().path()) {
            self.places.relieve(self.shared.room.held());
        }
        let (request, body) = Unread::watch(request);
        place.begin(body.clone());
        self.shared.asked.fetch_add(1, Ordering::Relaxed);
        let mut response = self.respond(request).await;
        let is_last = body.is_left() || self.is_ending();
        let headers = response.headers_mut();
        if is_last {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if let Ok(value) = format!("timeout={}", self.timing.idle.as_secs()).try_into() {
            headers.insert(KEEP_ALIVE, value);
        }
        place.finish(response.body().size_hint().lower() as usize);
        Ok(response)
    }

    async fn respond(&self, mut request: Request<Body>) -> Response {
        let light = if is_light(&request) { self.light_calls.try_acquire().ok() } else { None };
        if light.is_some() {
            request.extensions_mut().insert(Light);
        }
        let is_for_api = light.is_none() && is_for_api(request.uri().path());
        let router = self.router.call(request);
        if !is_for_api {
            let Ok(response) = router.await;
            return response;
        }
        // It ends with its connection, as the set does.
        let mut tasks = JoinSet::new();
        tasks.spawn_on(router, &self.api);
        match tasks.join_next().await {
            Some(Ok(Ok(response))) => response,
            _ => backend::failure(ApiError::Failed),
        }
    }

    /// Whether connections should not be used again.
    fn is_ending(&self) -> bool {
        self.shared.drain.is_announced() || self.places.are_scarce()
    }
}

/// Whether a request is carried out on the thread of the API.
fn is_for_api(path: &str) -> bool {
    let is_method = path.starts_with(backend::PREFIX) && path != DESCRIPTION;
    is_method || path == backend::LINES || path.starts_with(TRY_PREFIX)
}

/// A slash at the end of a path means nothing.
fn trim_path<B>(request: &mut Request<B>) {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() || trimmed.len() == path.len() {
        return;
    }
    let uri = match request.uri().query() {
        Some(query) => Uri::try_from(format!("{trimmed}?{query}")),
        None => Uri::try_from(trimmed),
    };
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_end_mean_nothing() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "//"),
            ("/health/", "/health"),
            ("/metrics//", "/metrics"),
            ("/api/publish/?a=/", "/api/publish?a=/"),
            ("/info", "/info"),
        ] {
            let mut request = Request::builder().uri(path).body(()).unwrap();
            trim_path(&mut request);
            assert_eq!(request.uri(), expected, "{path}");
        }
    }

    #[test]
    fn probes_are_told_from_requests_to_the_api() {
        for path in ["/api", "/api/publish", "/api/nothing", "/try/publish", "/try/refusal"] {
            assert!(is_for_api(path), "{path}");
        }
        for path in ["/", "/health", "/metrics", "/info", "/api/openapi.json", "/apis"] {
            assert!(!is_for_api(path), "{path}");
        }
    }
}
