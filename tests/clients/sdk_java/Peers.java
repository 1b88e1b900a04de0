// The two ends of an edge for the tests beside this file: clients that use the Java SDK, which
// speaks protobuf, a backend over the HTTP API, and a proxy that breaks connections. run.py says in
// the variable EDGE where the edges are.

import io.github.centrifugal.centrifuge.*;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Peers {
    static final int PATIENCE_SECONDS = 30;
    static final String PATH = "/connection/websocket";
    static final String MAIN = edge("websocket");
    static final String STRICT = edge("strict");

    private static final List<Client> clients = new CopyOnWriteArrayList<>();
    private static final HttpClient http = HttpClient.newHttpClient();
    private static int count;

    /** What run.py says of the edges; each is a text or a number. */
    static String edge(String name) {
        var pattern = Pattern.compile('"' + name + "\": (?:\"([^\"]*)\"|(\\d+))");
        var found = pattern.matcher(System.getenv("EDGE"));
        if (!found.find()) throw new IllegalStateException("EDGE has no " + name);
        return found.group(1) == null ? found.group(2) : found.group(1);
    }

    /** A name that no other test uses. */
    static String fresh(String prefix) {
        count += 1;
        return prefix + "java" + count;
    }

    static long inSeconds(long seconds) {
        return Instant.now().getEpochSecond() + seconds;
    }

    /** A token with these claims, which are the inside of a JSON object. */
    static String token(String claims) {
        var encoder = Base64.getUrlEncoder().withoutPadding();
        var head = encoder.encodeToString("{\"alg\":\"HS256\",\"typ\":\"JWT\"}".getBytes());
        var signed = head + "." + encoder.encodeToString(("{" + claims + "}").getBytes());
        try {
            var mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(edge("secret").getBytes(), "HmacSHA256"));
            return signed + "." + encoder.encodeToString(mac.doFinal(signed.getBytes()));
        } catch (java.security.GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    /** A token of this user; `more` are further claims. */
    static String tokenOf(String user, String... more) {
        var claims = "\"sub\":\"" + user + "\"";
        return token(more.length == 0 ? claims : claims + "," + String.join(",", more));
    }

    /** Waits for a condition. */
    static void until(String what, BooleanSupplier condition) throws InterruptedException {
        var end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) throw new AssertionError("in vain: " + what);
            Thread.sleep(10);
        }
    }

    static void same(Object found, Object wanted) {
        if (Objects.equals(found, wanted)) return;
        throw new AssertionError(found + " instead of " + wanted);
    }

    /** What a command of the SDK is answered with. */
    static <T> T answer(Consumer<ResultCallback<T>> command) throws Exception {
        var answer = new CompletableFuture<T>();
        command.accept((error, result) -> {
            if (error != null) answer.completeExceptionally(error);
            else answer.complete(result);
        });
        return answer.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }

    /** The error that a command of the SDK is answered with. */
    static <T> ReplyError refusal(Consumer<ResultCallback<T>> command) throws Exception {
        try {
            answer(command);
        } catch (java.util.concurrent.ExecutionException error) {
            if (error.getCause() instanceof ReplyError told) return told;
            throw error;
        }
        throw new AssertionError("it was carried out");
    }

    /** A backend's request; the body is a JSON object. */
    static String ask(String method, String body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(edge("internal") + "/api/" + method))
            .header("X-API-Key", edge("key"))
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        var answer = http.send(request, HttpResponse.BodyHandlers.ofString()).body();
        if (answer.contains("\"error\"")) throw new AssertionError(method + ": " + answer);
        return answer;
    }

    static void publish(String channel, String json) throws Exception {
        ask("publish", "{\"channel\":\"" + channel + "\",\"data\":" + json + "}");
    }

    static void disconnect(String user, int code) throws Exception {
        var goodbye = "{\"code\":" + code + ",\"reason\":\"go\"}";
        ask("disconnect", "{\"user\":\"" + user + "\",\"disconnect\":" + goodbye + "}");
    }

    /** Ends the clients of a test, however it went. */
    static void endAll() throws InterruptedException {
        for (var client : clients) client.close(1000);
        clients.clear();
    }

    /** A client of the SDK, and what became of it. */
    static final class Reader extends EventListener {
        final Client client;
        final List<Integer> connecting = new CopyOnWriteArrayList<>();
        final List<Integer> disconnected = new CopyOnWriteArrayList<>();
        final List<ConnectedEvent> connected = new CopyOnWriteArrayList<>();
        final List<String> subscribed = new CopyOnWriteArrayList<>();
        final List<String> unsubscribed = new CopyOnWriteArrayList<>();
        final List<String> heard = new CopyOnWriteArrayList<>();

        /** Begins to connect. */
        Reader(String url, Options options) {
            options.setMinReconnectDelay(20);
            options.setMaxReconnectDelay(300);
            options.setTimeout(PATIENCE_SECONDS * 1000);
            client = new Client(url, options, this);
            clients.add(client);
            client.connect();
        }

        /** One that is connected as this user. */
        static Reader of(String user) throws InterruptedException {
            var reader = new Reader(MAIN + PATH, with(tokenOf(user)));
            reader.ready();
            return reader;
        }

        static Options with(String token) {
            var options = new Options();
            options.setToken(token);
            return options;
        }

        void ready() throws InterruptedException {
            until("it connects", () -> client.getState() == ClientState.CONNECTED);
        }

        /** A subscription that is about to begin. */
        Listener listen(String channel, SubscriptionOptions options) throws Exception {
            var listener = new Listener();
            options.setMinResubscribeDelay(10);
            options.setMaxResubscribeDelay(50);
            listener.subscription = client.newSubscription(channel, options, listener);
            listener.subscription.subscribe();
            return listener;
        }

        /** A subscription that has begun. */
        Listener hear(String channel) throws Exception {
            var listener = listen(channel, new SubscriptionOptions());
            listener.ready();
            return listener;
        }

        @Override
        public void onConnecting(Client client, ConnectingEvent event) {
            connecting.add(event.getCode());
        }

        @Override
        public void onConnected(Client client, ConnectedEvent event) {
            connected.add(event);
        }

        @Override
        public void onDisconnected(Client client, DisconnectedEvent event) {
            disconnected.add(event.getCode());
        }

        @Override
        public void onSubscribed(Client client, ServerSubscribedEvent event) {
            var data = event.getData() == null ? "" : new String(event.getData());
            subscribed.add(event.getChannel() + data);
        }

        @Override
        public void onUnsubscribed(Client client, ServerUnsubscribedEvent event) {
            unsubscribed.add(event.getChannel());
        }

        @Override
        public void onPublication(Client client, ServerPublicationEvent event) {
            heard.add(event.getChannel() + " " + new String(event.getData()));
        }
    }

    /** A subscription, and what it brought. */
    static final class Listener extends SubscriptionEventListener {
        Subscription subscription;
        final List<String> heard = new CopyOnWriteArrayList<>();
        final List<SubscribedEvent> begun = new CopyOnWriteArrayList<>();
        final List<Integer> pauses = new CopyOnWriteArrayList<>();
        final List<Integer> ended = new CopyOnWriteArrayList<>();
        final List<String> comings = new CopyOnWriteArrayList<>();

        void ready() throws InterruptedException {
            until("it subscribes", () -> subscription.getState() == SubscriptionState.SUBSCRIBED);
        }

        @Override
        public void onPublication(Subscription of, PublicationEvent event) {
            heard.add(new String(event.getData()));
        }

        @Override
        public void onSubscribed(Subscription of, SubscribedEvent event) {
            begun.add(event);
        }

        @Override
        public void onSubscribing(Subscription of, SubscribingEvent event) {
            pauses.add(event.getCode());
        }

        @Override
        public void onUnsubscribed(Subscription of, UnsubscribedEvent event) {
            ended.add(event.getCode());
        }

        @Override
        public void onJoin(Subscription of, JoinEvent event) {
            comings.add(event.getInfo().getUser() + " came");
        }

        @Override
        public void onLeave(Subscription of, LeaveEvent event) {
            comings.add(event.getInfo().getUser() + " went");
        }
    }

    /** A proxy before an edge; `cut` breaks what goes through it, in the middle of a chunk. */
    static final class Proxy {
        final String url;
        private volatile URI far;
        private final Set<boolean[]> pairs = ConcurrentHashMap.newKeySet();

        Proxy(String to) throws IOException {
            var listener = new ServerSocket(0, 50, java.net.InetAddress.getLoopbackAddress());
            url = "ws://127.0.0.1:" + listener.getLocalPort() + PATH;
            lead(to);
            begin(() -> {
                while (true) {
                    var near = listener.accept();
                    begin(() -> carry(near));
                }
            });
        }

        /** Connects to another edge from now on. */
        void lead(String to) {
            far = URI.create(to);
        }

        void cut() {
            for (var isCut : pairs) isCut[0] = true;
        }

        private void carry(Socket near) throws IOException {
            var isCut = new boolean[1];
            try (near; var server = new Socket(far.getHost(), far.getPort())) {
                pairs.add(isCut);
                begin(() -> {
                    try (server) {
                        near.getInputStream().transferTo(server.getOutputStream());
                    }
                });
                var chunk = new byte[1 << 16];
                while (true) {
                    var size = server.getInputStream().read(chunk);
                    if (size < 0) return;
                    near.getOutputStream().write(chunk, 0, isCut[0] ? size / 2 : size);
                    if (isCut[0]) return;
                }
            } finally {
                pairs.remove(isCut);
            }
        }

        private interface Job {
            void run() throws IOException;
        }

        /** A thread that ends with its sockets. */
        private static void begin(Job job) {
            var thread = new Thread(() -> {
                try {
                    job.run();
                } catch (IOException end) {
                    // One side is gone, and with it the other.
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
    }


}
