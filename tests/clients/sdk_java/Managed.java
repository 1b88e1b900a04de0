// The Java SDK against running edges: everything that a client may do, and what becomes of it when
// its connection breaks.

import io.github.centrifugal.centrifuge.*;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;

final class Managed extends Peers {
    interface Test {
        void run() throws Exception;
    }

    static void nothingIsLostOverBrokenConnections() throws Exception {
        var publications = 600;
        var channel = fresh("");
        var user = fresh("u");
        var way = new Proxy(MAIN);
        var through = new Reader(way.url, Reader.with(tokenOf(fresh("u"))));
        var ends = List.of(through.hear(channel), Reader.of(user).hear(channel));
        var wanted = new ArrayList<String>();
        for (var number = 0; number < publications; number++) {
            wanted.add("\"" + number + "x".repeat(number % 500) + "\"");
            publish(channel, wanted.get(number));
            if (number % 150 == 70) way.cut();
            if (number % 150 == 140) disconnect(user, 4001);
        }
        // Whatever was to come twice would have come before this.
        wanted.add("\"the end\"");
        publish(channel, "\"the end\"");
        for (var end : ends) {
            until("the end comes", () -> end.heard.contains("\"the end\""));
            same(end.heard, wanted);
            if (end.begun.size() < 3) throw new AssertionError("it began " + end.begun.size());
            for (var again : end.begun.subList(1, end.begun.size())) {
                same(List.of(again.wasRecovering(), again.getRecovered()), List.of(true, true));
            }
        }
    }

    static void whatIsForgottenIsNotRecovered() throws Exception {
        var channel = fresh("small:");
        var small = Reader.of("42").hear(channel);
        publish(channel, "0");
        until("the first comes", () -> small.heard.size() == 1);
        small.subscription.unsubscribe();
        // The edge knows, too: what it still sent would move the position.
        while (!ask("presence_stats", "{\"channel\":\"" + channel + "\"}").contains("clients\":0")) {
            Thread.sleep(10);
        }
        for (var number : List.of("1", "2", "3")) publish(channel, number);
        small.subscription.subscribe();
        until("it begins again", () -> small.begun.size() == 2);
        var again = small.begun.get(1);
        same(List.of(again.wasRecovering(), again.getRecovered()), List.of(true, false));
        publish(channel, "4");
        until("the next comes", () -> small.heard.size() == 2);
        same(small.heard, List.of("0", "4"));
    }

    static void presenceJoinsAndLeaves() throws Exception {
        var channel = fresh("");
        var info = "\"info\":{\"name\":\"Ann\"}";
        var ann = new Reader(MAIN + PATH, Reader.with(tokenOf("ann", info)));
        var first = ann.hear(channel);
        var bob = Reader.of("bob");
        var second = bob.hear(channel);
        var names = new TreeSet<String>();
        PresenceResult found = answer(first.subscription::presence);
        for (var one : found.getClients().values()) {
            names.add(one.getUser() + new String(one.getConnInfo()));
        }
        same(List.copyOf(names), List.of("ann{\"name\":\"Ann\"}", "bob"));
        PresenceStatsResult stats = answer(second.subscription::presenceStats);
        same(List.of(stats.getNumClients(), stats.getNumUsers()), List.of(2, 2));
        bob.client.disconnect();
        // Subscribers hear of themselves too.
        var wanted = List.of("ann came", "bob came", "bob went");
        until("all are told", () -> first.comings.size() == wanted.size());
        same(first.comings, wanted);
    }

    static HistoryResult history(Listener of, HistoryOptions.Builder options) throws Exception {
        return answer(callback -> of.subscription.history(options.build(), callback));
    }

    static void historyComesInPages() throws Exception {
        var listener = Reader.of("42").hear(fresh(""));
        var wanted = new ArrayList<String>();
        for (var number = 0; number < 25; number++) {
            var data = Integer.toString(number);
            wanted.add(data);
            Peers.<PublishResult>answer(
                callback -> listener.subscription.publish(data.getBytes(), callback));
        }
        var read = new ArrayList<String>();
        var since = new StreamPosition(0, "");
        while (true) {
            var options = new HistoryOptions.Builder().withLimit(10).withSince(since);
            var page = history(listener, options);
            if (page.getPublications().isEmpty()) break;
            for (var one : page.getPublications()) read.add(new String(one.getData()));
            var last = page.getPublications().get(page.getPublications().size() - 1);
            since = new StreamPosition(last.getOffset(), page.getEpoch());
        }
        same(read, wanted);
        var newest = history(listener, new HistoryOptions.Builder().withLimit(2).withReverse(true));
        var offsets = newest.getPublications().stream().map(Publication::getOffset).toList();
        same(offsets, List.of(25L, 24L));
        same(newest.getPublications().get(0).getInfo().getUser(), "42");
        var foreign = new HistoryOptions.Builder().withLimit(1);
        foreign.withSince(new StreamPosition(1, "beef"));
        var error = Peers.<HistoryResult>refusal(
            callback -> listener.subscription.history(foreign.build(), callback));
        same(error.getCode(), 112);
    }

    static void tokensAreRenewedBeforeTheyEnd() throws Exception {
        var channel = fresh("private:");
        var connections = new AtomicInteger();
        var subscriptions = new AtomicInteger();
        var options = new Options();
        options.setTokenGetter(new ConnectionTokenGetter() {
            @Override
            public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
                connections.incrementAndGet();
                callback.Done(null, tokenOf("42", "\"exp\":" + inSeconds(2)));
            }
        });
        var reader = new Reader(MAIN + PATH, options);
        var rules = new SubscriptionOptions();
        rules.setTokenGetter(new SubscriptionTokenGetter() {
            @Override
            public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback callback) {
                subscriptions.incrementAndGet();
                callback.Done(null, subscriptionToken(event.getChannel(), 2));
            }
        });
        var listener = reader.listen(channel, rules);
        listener.ready();
        until("both are renewed twice", () -> connections.get() >= 3 && subscriptions.get() >= 3);
        publish(channel, "1");
        until("it hears", () -> listener.heard.size() == 1);
        // Each began once.
        same(List.of(reader.connecting.size(), listener.pauses.size()), List.of(1, 1));
    }

    static String subscriptionToken(String channel, long seconds) {
        var claim = "\"channel\":\"" + channel + "\"";
        return tokenOf("42", claim, "\"exp\":" + inSeconds(seconds));
    }

    /** That of a connection: with one of a subscription this SDK gives up, at any server. */
    static void anExpiredTokenIsReplaced() throws Exception {
        var channel = fresh("private:");
        var options = Reader.with(tokenOf("42", "\"exp\":" + inSeconds(-5)));
        options.setTokenGetter(new ConnectionTokenGetter() {
            @Override
            public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
                callback.Done(null, tokenOf("42"));
            }
        });
        var reader = new Reader(MAIN + PATH, options);
        var rules = new SubscriptionOptions();
        rules.setTokenGetter(new SubscriptionTokenGetter() {
            @Override
            public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback callback) {
                callback.Done(null, subscriptionToken(channel, 60));
            }
        });
        reader.listen(channel, rules).ready();
    }

    static void serverSideSubscriptionsRecover() throws Exception {
        var granted = fresh("");
        var named = fresh("private:");
        var later = fresh("");
        var user = fresh("u");
        var channels = "\"channels\":[\"" + granted + "\"]";
        var subs = "\"subs\":{\"" + named + "\":{\"data\":{\"hello\":1}}}";
        var reader = new Reader(MAIN + PATH, Reader.with(tokenOf(user, channels, subs)));
        until("all begin", () -> reader.subscribed.size() == 3);
        var wanted = List.of("#" + user, granted, named + "{\"hello\":1}");
        same(new TreeSet<>(reader.subscribed), new TreeSet<>(wanted));
        var target = "{\"user\":\"" + user + "\",\"channel\":\"";
        ask("subscribe", target + later + "\"}");
        until("one more begins", () -> reader.subscribed.contains(later));
        var all = List.of("#" + user, granted, named, later);
        for (var channel : all) publish(channel, "1");
        until("all come", () -> reader.heard.size() == 4);
        disconnect(user, 4001);
        var missed = new TreeSet<String>();
        for (var channel : all.subList(0, 3)) {
            publish(channel, "2");
            missed.add(channel + " 2");
        }
        until("what was missed comes", () -> reader.heard.size() == 7);
        same(new TreeSet<>(reader.heard.subList(4, 7)), missed);
        ask("unsubscribe", target + granted + "\"}");
        until("one ends", () -> reader.unsubscribed.contains(granted));
    }

    static void whatIsNotAllowedIsRefused() throws Exception {
        var reader = Reader.of("42");
        var client = reader.client;
        var data = "1".getBytes();
        var silent = fresh("silent:");
        same(Peers.<RPCResult>refusal(to -> client.rpc("any", data, to)).getCode(), 108);
        same(Peers.<PublishResult>refusal(to -> client.publish(silent, data, to)).getCode(), 103);
        same(Peers.<PresenceResult>refusal(to -> client.presence(silent, to)).getCode(), 108);
        for (var each : Map.of("nowhere:1", 102, fresh("private:"), 103).entrySet()) {
            var listener = reader.listen(each.getKey(), new SubscriptionOptions());
            until("it ends", () -> listener.ended.contains(each.getValue()));
        }
    }

    static void codesSayWhetherToComeBack() throws Exception {
        for (var each : Map.of(4001, true, 3010, true, 4500, false, 3503, false).entrySet()) {
            var user = fresh("u");
            var reader = Reader.of(user);
            disconnect(user, each.getKey());
            if (each.getValue()) {
                until("it comes back", () -> reader.connected.size() == 2);
                same(reader.connecting.get(1), each.getKey());
            } else {
                until("it stays away", () -> reader.disconnected.contains(each.getKey()));
                same(reader.client.getState(), ClientState.DISCONNECTED);
            }
        }
    }

    static void whoIsNotLetInStaysAway() throws Exception {
        for (var each : Map.of("", 101, "bad.token.here", 3500).entrySet()) {
            var reader = new Reader(STRICT + PATH, Reader.with(each.getKey()));
            until("it gives up", () -> reader.disconnected.contains(each.getValue()));
        }
    }

    static void theOlderSessionGivesWayForGood() throws Exception {
        var user = fresh("u");
        var older = new Reader(STRICT + PATH, Reader.with(tokenOf(user)));
        older.ready();
        var newer = new Reader(STRICT + PATH, Reader.with(tokenOf(user)));
        until("it gives way", () -> older.disconnected.contains(4501));
        newer.ready();
        same(newer.disconnected, List.of());
    }

    static void whoIsTooFastIsToldSo() throws Exception {
        var reader = new Reader(STRICT + PATH, Reader.with(tokenOf(fresh("u"))));
        var listener = reader.hear(fresh(""));
        var errors = new ArrayList<ReplyError>();
        until("it is too fast", () -> !tryPublish(listener, "1", errors));
        same(List.of(errors.get(0).getCode(), errors.get(0).isTemporary()), List.of(111, true));
        until("it may again", () -> tryPublish(listener, "2", errors));
        until("it hears", () -> listener.heard.contains("2"));
        same(reader.connected.size(), 1);
    }

    /** Whether the publication was taken; if it was not, the error is added. */
    static boolean tryPublish(Listener listener, String data, List<ReplyError> errors) {
        try {
            Peers.<PublishResult>answer(
                callback -> listener.subscription.publish(data.getBytes(), callback));
            return true;
        } catch (Exception error) {
            errors.add((ReplyError) error.getCause());
            return false;
        }
    }

    static void aMessageThatIsTooLongCostsTheConnection() throws Exception {
        var reader = Reader.of("42");
        var listener = reader.hear(fresh(""));
        var text = "x".repeat(70_000).getBytes(StandardCharsets.UTF_8);
        listener.subscription.publish(text, (error, result) -> {});
        // This SDK connects again, with a code of its own.
        until("it comes back", () -> reader.connected.size() == 2);
        same(reader.connecting, List.of(0, 3));
    }

    /** Drains an edge, so it comes last and once. */
    static void aDrainSendsClientsElsewhere() throws Exception {
        var channel = fresh("");
        var way = new Proxy(edge("leaving"));
        var reader = new Reader(way.url, Reader.with(tokenOf(fresh("u"))));
        var listener = reader.hear(channel);
        way.lead(MAIN);
        ProcessHandle.of(Long.parseLong(edge("leaving_pid"))).orElseThrow().destroy();
        until("it subscribes elsewhere", () -> listener.begun.size() == 2);
        same(reader.disconnected, List.of());
        // Streams are a process's own: the client is told that it may have missed something.
        var again = listener.begun.get(1);
        same(List.of(again.wasRecovering(), again.getRecovered()), List.of(true, false));
        publish(channel, "1");
        until("it hears", () -> listener.heard.contains("1"));
    }

    public static void main(String[] words) throws Exception {
        var tests = new LinkedHashMap<String, Test>();
        tests.put("nothing is lost over broken connections",
            Managed::nothingIsLostOverBrokenConnections);
        tests.put("what is forgotten is not recovered", Managed::whatIsForgottenIsNotRecovered);
        tests.put("presence, joins and leaves", Managed::presenceJoinsAndLeaves);
        tests.put("history comes in pages", Managed::historyComesInPages);
        tests.put("tokens are renewed before they end", Managed::tokensAreRenewedBeforeTheyEnd);
        tests.put("an expired token is replaced", Managed::anExpiredTokenIsReplaced);
        tests.put("server-side subscriptions recover", Managed::serverSideSubscriptionsRecover);
        tests.put("what is not allowed is refused", Managed::whatIsNotAllowedIsRefused);
        tests.put("codes say whether to come back", Managed::codesSayWhetherToComeBack);
        tests.put("who is not let in stays away", Managed::whoIsNotLetInStaysAway);
        tests.put("the older session gives way for good", Managed::theOlderSessionGivesWayForGood);
        tests.put("who is too fast is told so", Managed::whoIsTooFastIsToldSo);
        tests.put("a message that is too long costs the connection",
            Managed::aMessageThatIsTooLongCostsTheConnection);
        tests.put("a drain sends clients elsewhere", Managed::aDrainSendsClientsElsewhere);
        var isWell = true;
        for (var test : tests.entrySet()) {
            if (words.length > 0 && !test.getKey().contains(words[0])) continue;
            try {
                test.getValue().run();
                System.out.println("ok: " + test.getKey());
            } catch (Throwable error) {
                isWell = false;
                System.out.println("FAILED: " + test.getKey());
                error.printStackTrace(System.out);
            }
            endAll();
        }
        System.exit(isWell ? 0 : 1);
    }
}
