//! The table of metrics. A field's line is its declaration, its documentation and its exposition.

use crate::metrics::{Counter, Gauge, Histogram, Metric, Value};

macro_rules! metrics {
    ($(#[$doc:meta])* $table:ident { $($field:ident: $kind:ident
        = $name:literal $([$label:ident = $value:literal])? $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $table {
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl $table {
            /// Every metric of the table with its present value.
            pub fn metrics(&self) -> Vec<Metric<'_>> {
                vec![$(Metric {
                    name: $name,
                    help: $help,
                    label: metrics!(@label $($label $value)?),
                    value: Value::$kind(&self.$field),
                },)*]
            }
        }
    };
    (@label) => { None };
    (@label $label:ident $value:literal) => { Some((stringify!($label), $value)) };
}

metrics! {
    /// What one shard counts. Exposed with the label `shard`.
    ShardMetrics {
        connections: Gauge = "tidegate_connections"
            "Open WebSocket connections.";
        sockets: Gauge = "tidegate_sockets"
            "Accepted sockets in any state, from the accept to the close.";
        handshakes_pending: Gauge = "tidegate_handshakes_pending"
            "Accepted sockets whose opening handshake is not complete.";
        handshakes_accepted: Counter = "tidegate_handshakes" [result = "accepted"]
            "Opening handshakes by result.";
        handshakes_refused: Counter = "tidegate_handshakes" [result = "refused"]
            "Opening handshakes by result.";
        handshakes_timed_out: Counter = "tidegate_handshakes" [result = "timed_out"]
            "Opening handshakes by result.";
        handshakes_displaced: Counter = "tidegate_handshakes" [result = "displaced"]
            "Opening handshakes by result.";
        handshakes_aborted: Counter = "tidegate_handshakes" [result = "aborted"]
            "Opening handshakes by result.";
        refused_protocol: Counter = "tidegate_handshakes_refused" [reason = "protocol"]
            "Opening handshakes that were refused, by reason.";
        refused_path: Counter = "tidegate_handshakes_refused" [reason = "path"]
            "Opening handshakes that were refused, by reason.";
        refused_origin: Counter = "tidegate_handshakes_refused" [reason = "origin"]
            "Opening handshakes that were refused, by reason.";
        refused_token: Counter = "tidegate_handshakes_refused" [reason = "token"]
            "Opening handshakes that were refused, by reason.";
        refused_channel: Counter = "tidegate_handshakes_refused" [reason = "channel"]
            "Opening handshakes that were refused, by reason.";
        refused_limit: Counter = "tidegate_handshakes_refused" [reason = "limit"]
            "Opening handshakes that were refused, by reason.";
        refused_full: Counter = "tidegate_handshakes_refused" [reason = "full"]
            "Opening handshakes that were refused, by reason.";
        refused_command: Counter = "tidegate_handshakes_refused" [reason = "command"]
            "Opening handshakes that were refused, by reason.";
        refused_draining: Counter = "tidegate_handshakes_refused" [reason = "draining"]
            "Opening handshakes that were refused, by reason.";
        tokens_missing: Counter = "tidegate_tokens_refused" [reason = "missing"]
            "Tokens of clients that were not believed, by reason.";
        tokens_invalid: Counter = "tidegate_tokens_refused" [reason = "invalid"]
            "Tokens of clients that were not believed, by reason.";
        tokens_expired: Counter = "tidegate_tokens_refused" [reason = "expired"]
            "Tokens of clients that were not believed, by reason.";
        tokens_not_yet: Counter = "tidegate_tokens_refused" [reason = "not_yet"]
            "Tokens of clients that were not believed, by reason.";
        tokens_unknown_key: Counter = "tidegate_tokens_refused" [reason = "unknown_key"]
            "Tokens of clients that were not believed, by reason.";
        tokens_revoked: Counter = "tidegate_tokens_refused" [reason = "revoked"]
            "Tokens of clients that were not believed, by reason.";
        tokens_foreign: Counter = "tidegate_tokens_refused" [reason = "foreign"]
            "Tokens of clients that were not believed, by reason.";
        accept_errors: Counter = "tidegate_accept_errors"
            "Failed accepts, for example because the process is out of descriptors.";
        closed_by_peer: Counter = "tidegate_connections_closed" [reason = "peer"]
            "Connections closed, by reason.";
        closed_lost: Counter = "tidegate_connections_closed" [reason = "lost"]
            "Connections closed, by reason.";
        closed_protocol_error: Counter = "tidegate_connections_closed" [reason = "protocol_error"]
            "Connections closed, by reason.";
        closed_no_pong: Counter = "tidegate_connections_closed" [reason = "no_pong"]
            "Connections closed, by reason.";
        closed_slow: Counter = "tidegate_connections_closed" [reason = "slow"]
            "Connections closed, by reason.";
        closed_hoarding: Counter = "tidegate_connections_closed" [reason = "hoarding"]
            "Connections closed, by reason.";
        closed_half_read: Counter = "tidegate_connections_closed" [reason = "half_read"]
            "Connections closed, by reason.";
        closed_by_command: Counter = "tidegate_connections_closed" [reason = "command"]
            "Connections closed, by reason.";
        closed_expired: Counter = "tidegate_connections_closed" [reason = "expired"]
            "Connections closed, by reason.";
        closed_evicted: Counter = "tidegate_connections_closed" [reason = "evicted"]
            "Connections closed, by reason.";
        closed_drained: Counter = "tidegate_connections_closed" [reason = "drained"]
            "Connections closed, by reason.";
        messages_received: Counter = "tidegate_messages_received"
            "Complete messages from clients.";
        half_bytes: Gauge = "tidegate_half_read_bytes"
            "Memory of messages of clients that have come in part.";
        head_bytes: Gauge = "tidegate_handshake_bytes"
            "Memory of opening handshakes that have come in part or wait for an answer.";
        bytes_received: Counter = "tidegate_received_bytes"
            "Bytes read from client sockets.";
        publications: Counter = "tidegate_publications"
            "Publications this shard handed to its subscribers' logs.";
        publications_repeated: Counter = "tidegate_publications_repeated"
            "Publications that were not delivered because their idempotency key had come before.";
        publications_outdated: Counter = "tidegate_publications_outdated"
            "Publications that were not delivered because a newer version had come before.";
        keys_forgotten: Counter = "tidegate_idempotency_keys_forgotten"
            "Idempotency keys forgotten before their time because there were too many.";
        streams: Gauge = "tidegate_streams"
            "Channels whose stream has an epoch and offsets at this shard.";
        history_bytes: Gauge = "tidegate_history_bytes"
            "Memory of streams and what they remember, and of idempotency keys.";
        publications_evicted: Counter = "tidegate_history_publications_evicted"
            "Publications forgotten before their time to make room in the memory for history.";
        streams_evicted: Counter = "tidegate_streams_evicted" [lost = "publications"]
            "Streams that made room in the memory for history, by what they lost.";
        positions_evicted: Counter = "tidegate_streams_evicted" [lost = "position"]
            "Streams that made room in the memory for history, by what they lost.";
        recoveries: Counter = "tidegate_recoveries" [result = "recovered"]
            "Subscriptions with a position to recover from, by result.";
        recoveries_failed: Counter = "tidegate_recoveries" [result = "not_recovered"]
            "Subscriptions with a position to recover from, by result.";
        recovered: Counter = "tidegate_recovered_publications"
            "Missed publications that recoveries brought.";
        users: Gauge = "tidegate_users"
            "Users with a session, counted at the home of their personal channel.";
        enrolled: Gauge = "tidegate_presence_clients"
            "Subscribers known by name at this shard, counted once for each channel.";
        commands_refused: Counter = "tidegate_client_errors"
            "Commands of clients answered with an error.";
        commands_over_rate: Counter = "tidegate_client_commands_over_rate"
            "Commands of clients beyond the number that is allowed in a second.";
        commands_parked: Gauge = "tidegate_client_commands_parked"
            "Commands of clients that wait for earlier ones, a crowded shard or their turn.";
        commands_parked_bytes: Gauge = "tidegate_client_commands_parked_bytes"
            "Memory of frames of clients with commands that wait.";
        tokens_waiting: Gauge = "tidegate_tokens_waiting"
            "Tokens signed with a private key that wait until their signature is checked.";
        tokens_queued: Counter = "tidegate_tokens_queued"
            "Tokens signed with a private key, which are checked a few at a time.";
        subscribers_cut_off: Counter = "tidegate_subscriptions_cut_off"
            "Slow subscriptions ended with the advice to subscribe again and recover.";
        publications_unheard: Counter = "tidegate_publications_unheard"
            "Publications that reached a home shard while nobody was subscribed.";
        deliveries: Counter = "tidegate_deliveries"
            "Publications written completely to one socket, counted for each socket.";
        deliveries_abandoned: Counter = "tidegate_deliveries_dropped"
            [reason = "connection_closed"]
            "Publications that a subscriber did not get, by reason.";
        deliveries_slow: Counter = "tidegate_deliveries_dropped" [reason = "slow"]
            "Publications that a subscriber did not get, by reason.";
        bytes_sent: Counter = "tidegate_sent_bytes"
            "Bytes the kernel took for client sockets.";
        sends: Counter = "tidegate_sends"
            "Send operations on client sockets.";
        sends_refused: Counter = "tidegate_sends_refused"
            "Sends that a full socket took only in part or not at all.";
        fan_out: Histogram = "tidegate_fan_out_seconds"
            "From receipt of a publication to the last write of its round on this shard.";
        log_bytes: Gauge = "tidegate_log_bytes"
            "Encoded publications that some subscriber's socket has still to take.";
        outbox_bytes: Gauge = "tidegate_outbox_bytes"
            "Personal bytes that wait for a socket.";
        outbox_bytes_dropped: Counter = "tidegate_outbox_dropped_bytes"
            "Personal bytes dropped because the memory for what waits was needed.";
        lagging: Gauge = "tidegate_connections_lagging"
            "Connections whose socket is full.";
        channels: Gauge = "tidegate_channels"
            "Channels with a subscriber on this shard.";
        subscriptions: Gauge = "tidegate_subscriptions"
            "Subscriptions of connections on this shard.";
        pings_sent: Counter = "tidegate_pings_sent"
            "Heartbeat pings.";
        events_dropped: Counter = "tidegate_events_dropped" [reason = "link_full"]
            "Events for backends that were dropped, by reason; the event sequence shows the gap.";
        events_unheard: Counter = "tidegate_events_dropped" [reason = "no_endpoint"]
            "Events for backends that were dropped, by reason; the event sequence shows the gap.";
        event_bytes: Gauge = "tidegate_event_bytes"
            "Bytes of clients' messages on the link to the thread that tells backends of them.";
        answers_waiting: Gauge = "tidegate_answers_waiting"
            "Answers to backends that wait for room on a full link, counted once for each request.";
        reads_deferred: Counter = "tidegate_reads_deferred"
            "Times a readable socket waited for others or as something could not be passed on.";
        reads_paused: Counter = "tidegate_reads_paused"
            "Times a client was not read because it does not read itself or its commands wait.";
        envelopes_deferred: Counter = "tidegate_link_deferrals"
            "Times a full link between shards made this shard hold back commands.";
        link_bytes: Gauge = "tidegate_link_bytes"
            "Bytes of publications on links to this shard.";
        envelopes_parked: Gauge = "tidegate_link_parked"
            "Envelopes that wait for room on a full link to another shard.";
    }
}

metrics! {
    /// What the ingest thread counts.
    IngestMetrics {
        messages_sub: Counter = "tidegate_ingest_messages" [socket = "sub"]
            "ZeroMQ messages received, by kind of socket.";
        messages_pull: Counter = "tidegate_ingest_messages" [socket = "pull"]
            "ZeroMQ messages received, by kind of socket.";
        messages_router: Counter = "tidegate_ingest_messages" [socket = "router"]
            "ZeroMQ messages received, by kind of socket.";
        bytes: Counter = "tidegate_ingest_bytes"
            "Bytes of ZeroMQ messages received.";
        peers: Gauge = "tidegate_ingest_peers"
            "Connections to ZeroMQ endpoints.";
        peers_wrong_socket: Counter = "tidegate_ingest_peers_refused" [reason = "wrong_socket"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_left: Counter = "tidegate_ingest_peers_refused" [reason = "left"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_curve: Counter = "tidegate_ingest_peers_refused" [reason = "curve"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_unknown_key: Counter = "tidegate_ingest_peers_refused" [reason = "unknown_key"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_handshake: Counter = "tidegate_ingest_peers_refused" [reason = "handshake"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_protocol: Counter = "tidegate_ingest_peers_refused" [reason = "protocol"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_http: Counter = "tidegate_ingest_peers_refused" [reason = "http"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_tls: Counter = "tidegate_ingest_peers_refused" [reason = "tls"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_full: Counter = "tidegate_ingest_peers_refused" [reason = "full"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_too_long: Counter = "tidegate_ingest_peers_refused" [reason = "too_long"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_unfinished: Counter = "tidegate_ingest_peers_refused" [reason = "unfinished"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_subscriptions: Counter = "tidegate_ingest_peers_refused" [reason = "subscriptions"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_silent: Counter = "tidegate_ingest_peers_refused" [reason = "silent"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_replaced: Counter = "tidegate_ingest_peers_refused" [reason = "replaced"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        peers_not_accepted: Counter = "tidegate_ingest_peers_refused" [reason = "not_accepted"]
            "ZeroMQ peers that were not let in, or disconnected by the edge, by reason.";
        queued_bytes: Gauge = "tidegate_ingest_queued_bytes"
            "Bytes of ZeroMQ messages that have come and wait to be received.";
        malformed: Counter = "tidegate_ingest_malformed"
            "ZeroMQ messages that are not a valid command.";
        refused_unknown_client: Counter = "tidegate_ingest_refused" [code = "unknown_client"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        refused_channel_limit: Counter = "tidegate_ingest_refused" [code = "channel_limit"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        refused_subscriber_limit: Counter = "tidegate_ingest_refused" [code = "subscriber_limit"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        refused_unknown_namespace: Counter = "tidegate_ingest_refused" [code = "unknown_namespace"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        refused_not_available: Counter = "tidegate_ingest_refused" [code = "not_available"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        refused_position: Counter = "tidegate_ingest_refused" [code = "unrecoverable_position"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        refused_too_large: Counter = "tidegate_ingest_refused" [code = "too_large"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        refused_draining: Counter = "tidegate_ingest_refused" [code = "draining"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        refused_timeout: Counter = "tidegate_ingest_refused" [code = "timeout"]
            "Well-formed commands over ZeroMQ that failed, by code of the error.";
        surplus_parts: Counter = "tidegate_ingest_surplus_parts"
            "Message parts beyond the third, which the format reserves and the edge ignores.";
        gaps: Counter = "tidegate_ingest_gaps"
            "ZeroMQ messages missing between two numbers of one publisher's counter.";
        duplicates: Counter = "tidegate_ingest_duplicates"
            "ZeroMQ messages dropped because a publisher's number was seen before.";
        late: Counter = "tidegate_ingest_late"
            "ZeroMQ messages that came after one with a higher number: their gap is closed.";
        restarts: Counter = "tidegate_ingest_restarts"
            "Publishers' counters that began anew.";
        sources_forgotten: Counter = "tidegate_ingest_sources_forgotten"
            "Publishers' counters forgotten because too many publishers were seen since.";
        link_stalls: Counter = "tidegate_ingest_link_stalls"
            "Times a full link to a shard made the ingest thread stop reading.";
        answers: Counter = "tidegate_ingest_answers"
            "Commands answered to ROUTER peers.";
        answers_lost: Counter = "tidegate_ingest_answers_lost"
            "Answers whose ROUTER peer was gone or did not read.";
        requests_refused: Counter = "tidegate_ingest_requests_refused"
            "Commands refused because too many of them awaited their answer.";
        events_sent: Counter = "tidegate_events_sent"
            "Events published to backends, counted once for each endpoint.";
    }
}

metrics! {
    /// What the control plane counts of the HTTP API.
    ApiMetrics {
        publish: Counter = "tidegate_api_requests" [method = "publish"]
            "Requests to the HTTP API that showed the key, by method.";
        broadcast: Counter = "tidegate_api_requests" [method = "broadcast"]
            "Requests to the HTTP API that showed the key, by method.";
        subscribe: Counter = "tidegate_api_requests" [method = "subscribe"]
            "Requests to the HTTP API that showed the key, by method.";
        unsubscribe: Counter = "tidegate_api_requests" [method = "unsubscribe"]
            "Requests to the HTTP API that showed the key, by method.";
        disconnect: Counter = "tidegate_api_requests" [method = "disconnect"]
            "Requests to the HTTP API that showed the key, by method.";
        refresh: Counter = "tidegate_api_requests" [method = "refresh"]
            "Requests to the HTTP API that showed the key, by method.";
        presence: Counter = "tidegate_api_requests" [method = "presence"]
            "Requests to the HTTP API that showed the key, by method.";
        presence_stats: Counter = "tidegate_api_requests" [method = "presence_stats"]
            "Requests to the HTTP API that showed the key, by method.";
        history: Counter = "tidegate_api_requests" [method = "history"]
            "Requests to the HTTP API that showed the key, by method.";
        history_remove: Counter = "tidegate_api_requests" [method = "history_remove"]
            "Requests to the HTTP API that showed the key, by method.";
        info: Counter = "tidegate_api_requests" [method = "info"]
            "Requests to the HTTP API that showed the key, by method.";
        channels: Counter = "tidegate_api_requests" [method = "channels"]
            "Requests to the HTTP API that showed the key, by method.";
        user_status: Counter = "tidegate_api_requests" [method = "user_status"]
            "Requests to the HTTP API that showed the key, by method.";
        batch: Counter = "tidegate_api_requests" [method = "batch"]
            "Requests to the HTTP API that showed the key, by method.";
        internal: Counter = "tidegate_api_errors" [code = "100"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        unauthorized: Counter = "tidegate_api_errors" [code = "101"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        unknown_channel: Counter = "tidegate_api_errors" [code = "102"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        forbidden: Counter = "tidegate_api_errors" [code = "103"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        unknown_method: Counter = "tidegate_api_errors" [code = "104"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        limit_exceeded: Counter = "tidegate_api_errors" [code = "106"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        bad_request: Counter = "tidegate_api_errors" [code = "107"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        not_available: Counter = "tidegate_api_errors" [code = "108"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        overloaded: Counter = "tidegate_api_errors" [code = "111"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
        unrecoverable_position: Counter = "tidegate_api_errors" [code = "112"]
            "Requests to the HTTP API, and commands of its batches, that failed, by error code.";
    }
}

metrics! {
    /// What the control plane counts of its HTTP connections.
    HttpMetrics {
        connections: Gauge = "tidegate_http_connections"
            "Open connections to the internal address.";
        closed: Counter = "tidegate_http_connections_closed" [reason = "done"]
            "Connections to the internal address that ended, by reason.";
        idle: Counter = "tidegate_http_connections_closed" [reason = "idle"]
            "Connections to the internal address that ended, by reason.";
        slow_head: Counter = "tidegate_http_connections_closed" [reason = "slow_head"]
            "Connections to the internal address that ended, by reason.";
        slow_reader: Counter = "tidegate_http_connections_closed" [reason = "slow_reader"]
            "Connections to the internal address that ended, by reason.";
        displaced: Counter = "tidegate_http_connections_closed" [reason = "displaced"]
            "Connections to the internal address that ended, by reason.";
        requests_refused: Counter = "tidegate_http_requests_refused"
            "Requests to the HTTP API that were refused because too many were under way.";
        answer_bytes: Gauge = "tidegate_http_answer_bytes"
            "Memory of answers of the HTTP API that are being made or read.";
    }
}

metrics! {
    /// What the keeper of token keys counts.
    TokenMetrics {
        keys: Gauge = "tidegate_token_keys"
            "Keys that verify tokens.";
        sets_loaded: Counter = "tidegate_key_set_loads" [result = "ok"]
            "Attempts to read or fetch the key set, by result.";
        sets_failed: Counter = "tidegate_key_set_loads" [result = "failed"]
            "Attempts to read or fetch the key set, by result.";
        set_time: Gauge = "tidegate_key_set_loaded_seconds"
            "When the key set was last loaded, in seconds since 1970; 0 before.";
        revocations: Gauge = "tidegate_revocations"
            "Revocations that are remembered.";
        revocations_forgotten: Counter = "tidegate_revocations_forgotten"
            "Revocations that were forgotten before their time because there were too many.";
    }
}

metrics! {
    /// What the log counts, under its lock.
    LogMetrics {
        lines_dropped: Counter = "tidegate_log_lines_dropped"
            "Log lines dropped because standard error was full, slow or gone.";
    }
}
