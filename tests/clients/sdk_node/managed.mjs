// The npm SDK against a running edge: everything that a client may do, and what becomes of it when
// its connection breaks. Started by run.py beside this file.

import assert from "node:assert/strict";
import test from "node:test";
import WebSocket from "ws";
import {
  Backend, bare, client, connect, edge, endAll, event, forms, listen, metric, proxy, token, until,
} from "./peers.mjs";

const limit = { timeout: 30_000 };
const range = (count) => [...Array(count).keys()];
const backend = new Backend();
test.after(() => backend.close());
test.afterEach(endAll);

let count = 0;
/** A channel that no other test uses. */
const fresh = (prefix = "") => `${prefix}c${(count += 1)}`;

for (const form of Object.keys(forms)) {
  test(`nothing is lost over broken connections: ${form}`, limit, async () => {
    const [channel, way, publications] = [fresh(), await proxy(), 600];
    const through = client("cut", { form, url: way.url });
    const direct = client("thrown", { form });
    const subscriptions = [through, direct].map((each) => listen(each, channel));
    await Promise.all(subscriptions.map((each) => each.ready()));
    const recovered = [0, 0];
    subscriptions.forEach((each, at) =>
      each.on("subscribed", (ctx) => {
        assert.deepEqual([ctx.wasRecovering, ctx.recovered], [true, true]);
        recovered[at] += 1;
      }),
    );
    for (const number of range(publications)) {
      await backend.publish(channel, { number, padding: "x".repeat(number % 500) });
      if (number % 150 === 70) way.cut();
      if (number % 150 === 140) await backend.command("disconnect", { user: "thrown", code: 4001 });
      // Both are back before their connections break again.
      const breaks = (number + 1) / 150;
      if (breaks % 1 === 0) await until(() => recovered.every((times) => times >= breaks));
    }
    // What came twice came before the last one.
    await backend.publish(channel, { number: publications });
    await until(() => subscriptions.every(({ heard }) => heard.at(-1)?.number === publications));
    for (const { heard } of subscriptions) {
      assert.deepEqual(heard.map(({ number }) => number), range(publications + 1));
    }
  });

  test(`the position survives unsubscribing: ${form}`, limit, async () => {
    const channel = fresh();
    const reader = client("42", { form });
    const subscription = listen(reader, channel);
    await subscription.ready();
    await backend.publish(channel, 0);
    await until(() => subscription.heard.length === 1);
    subscription.unsubscribe();
    await backend.publish(channel, 1);
    subscription.subscribe();
    await until(() => subscription.heard.length === 2);
    // Two publications at most are remembered, so this position is lost.
    const small = listen(reader, fresh("small:"));
    await small.ready();
    await backend.publish(small.channel, 0);
    await until(() => small.heard.length === 1);
    small.unsubscribe();
    for (const number of [1, 2, 3]) await backend.publish(small.channel, number);
    small.subscribe();
    const subscribed = await event(small, "subscribed");
    assert.deepEqual([subscribed.wasRecovering, subscribed.recovered], [true, false]);
    await backend.publish(small.channel, 4);
    await until(() => small.heard.length === 2);
    assert.deepEqual([subscription.heard, small.heard], [[0, 1], [0, 4]]);
  });

  test(`presence, joins and leaves: ${form}`, limit, async () => {
    const channel = fresh();
    const info = { name: "Ann" };
    const ann = client("ann", { form, token: token({ sub: "ann", info }) });
    const first = listen(ann, channel);
    await first.ready();
    const news = [];
    first.on("join", ({ info: { user } }) => news.push(`${user} came`));
    first.on("leave", ({ info: { user } }) => news.push(`${user} went`));
    const bob = client("bob", { form });
    const second = listen(bob, channel);
    await second.ready();
    const { clients } = await first.presence();
    const list = Object.values(clients).map(({ user, connInfo }) => [
      user, connInfo === undefined || connInfo.length === 0 ? null : ann.form.read(connInfo),
    ]);
    assert.deepEqual(list.sort(), [["ann", info], ["bob", null]]);
    assert.deepEqual(await second.presenceStats(), { numClients: 2, numUsers: 2 });
    bob.disconnect();
    // Subscribers hear of themselves too.
    await until(() => news.length === 3);
    assert.deepEqual(news, ["ann came", "bob came", "bob went"]);
    assert.deepEqual(await first.presenceStats(), { numClients: 1, numUsers: 1 });
  });

  test(`history comes in pages: ${form}`, limit, async () => {
    const channel = fresh();
    const reader = client("42", { form });
    const subscription = listen(reader, channel);
    for (const number of range(25)) await subscription.publish(reader.form.write(number));
    const read = [];
    let since;
    for (;;) {
      const page = await subscription.history({ limit: 10, since });
      read.push(...page.publications.map(({ data }) => reader.form.read(data)));
      if (page.publications.length === 0) break;
      since = { epoch: page.epoch, offset: page.publications.at(-1).offset };
    }
    assert.deepEqual(read, range(25));
    const newest = await subscription.history({ limit: 3, reverse: true });
    assert.deepEqual(newest.publications.map(({ offset }) => offset), [25, 24, 23]);
    const top = await subscription.history({ limit: 0 });
    assert.deepEqual([top.offset, top.publications], [25, []]);
    const foreign = subscription.history({ limit: 1, since: { epoch: "beef", offset: 1 } });
    await assert.rejects(foreign, { code: 112 });
  });
}

test("who shows no token is told so and stays away", limit, async () => {
  const url = `${edge.strict}/connection/websocket`;
  for (const form of Object.keys(forms)) {
    const nobody = client("", { form, url, token: "" });
    const { code, reason } = await event(nobody, "disconnected");
    assert.deepEqual([code, reason], [101, "unauthorized"]);
    const somebody = client("42", { form, url });
    await somebody.ready();
    // One that tries again is connecting, until it is told otherwise.
    assert.equal(nobody.state, "disconnected");
  }
});

test("raw, JSON and protobuf subscribers hear each other", limit, async () => {
  const channel = fresh();
  const raw = await connect(`/websocket?channels=${channel}`, [
    "tidegate", `token.${token({ sub: "raw" })}`,
  ]);
  const texts = [];
  raw.on("message", (data, isBinary) => texts.push(isBinary ? [...data] : data.toString()));
  const [json, protobuf] = Object.keys(forms).map((form) => client(form, { form }));
  const first = json.newSubscription(channel);
  const second = protobuf.newSubscription(channel);
  const [objects, bytes] = [[], []];
  first.on("publication", ({ data, tags, info }) => objects.push([data, tags, info?.user]));
  second.on("publication", ({ data, info }) => bytes.push([Buffer.from(data), info?.user]));
  for (const each of [first, second]) each.subscribe();
  await Promise.all([first.ready(), second.ready()]);
  await backend.publish(channel, { from: "a backend" });
  await first.publish({ from: "JSON" });
  await second.publish(Buffer.from([0xff, 0x00]));
  await until(() => [texts, objects, bytes].every((heard) => heard.length === 3));
  const [one, two] = ['{"from":"a backend"}', '{"from":"JSON"}'];
  assert.deepEqual(texts, [one, two, [255, 0]]);
  assert.deepEqual(objects, [
    [{ from: "a backend" }, undefined, undefined],
    [{ from: "JSON" }, undefined, "json"],
    ["/wA=", { "tidegate.encoding": "base64" }, "protobuf"],
  ]);
  const binary = Buffer.from([0xff, 0x00]);
  assert.deepEqual(bytes, [
    [Buffer.from(one), undefined], [Buffer.from(two), "json"], [binary, "protobuf"],
  ]);
});

test("tokens are renewed before connections and subscriptions end", limit, async () => {
  const channel = fresh("private:");
  let [ofConnection, ofSubscription, interruptions] = [0, 0, 0];
  const reader = client("42", {
    getToken: async () => token({ sub: "42", seconds: (ofConnection += 1) && 2 }),
  });
  const subscription = listen(reader, channel, {
    getToken: async () => token({ sub: "42", channel, seconds: (ofSubscription += 1) && 2 }),
  });
  await subscription.ready();
  reader.on("connecting", () => (interruptions += 1));
  subscription.on("subscribing", () => (interruptions += 1));
  await until(() => ofConnection >= 3 && ofSubscription >= 3);
  await backend.publish(channel, "still here");
  await until(() => subscription.heard.length === 1);
  assert.equal(interruptions, 0);
});

test("an expired token is replaced, or ends what it allowed", limit, async () => {
  const channel = fresh("private:");
  const late = token({ sub: "42", seconds: -5 });
  const reader = client("42", { token: late, getToken: async () => token({ sub: "42" }) });
  const subscription = listen(reader, channel, {
    token: token({ sub: "42", channel, seconds: -5 }),
    getToken: async () => token({ sub: "42", channel }),
    minResubscribeDelay: 10,
    maxResubscribeDelay: 50,
  });
  await subscription.ready();
  reader.disconnect();
  const hello = { id: 1, connect: { token: token({ sub: "42", seconds: 60 }) } };
  const ending = { channel, token: token({ sub: "42", channel, seconds: 1 }) };
  const socket = await bare(hello, { id: 2, subscribe: ending });
  const push = await socket.answer((message) => message.push?.unsubscribe);
  assert.deepEqual([push.push.channel, push.push.unsubscribe.code], [channel, 2501]);
  socket.close();
  const short = await bare({ id: 1, connect: { token: token({ sub: "42", seconds: 1 }) } });
  assert.equal(await short.closed, 3005);
});

test("a cached token that has expired sends nobody away", { timeout: 60_000 }, async () => {
  // An application that gives the same token until its own clock says that it is old.
  const cached = (claims) => {
    const old = token({ ...claims, seconds: 1 });
    let asked = 0;
    return async () => ((asked += 1) <= 2 ? old : token(claims));
  };
  const channel = fresh("private:");
  const reader = client("42", { token: "", getToken: cached({ sub: "42" }) });
  const other = client("43");
  const subscription = listen(other, channel, { getToken: cached({ sub: "43", channel }) });
  const ends = [];
  reader.on("disconnected", (ctx) => ends.push(ctx));
  subscription.on("unsubscribed", (ctx) => ends.push(ctx));
  await event(reader, "connected");
  const again = event(reader, "connected");
  const refused = event(subscription, "error");
  await subscription.ready();
  // The connection is closed with 3005 and made anew; the subscription asks again, or is made anew.
  assert.equal((await event(reader, "connecting")).code, 3005);
  await again;
  assert.equal((await refused).error.code, 109);
  await until(() => subscription.state === "subscribed");
  await backend.publish(channel, "still here");
  await until(() => subscription.heard.length === 1);
  assert.deepEqual(ends, []);
});

test("server-side subscriptions come with the token and from backends", limit, async () => {
  const [granted, named, later, user] = [fresh(), fresh("private:"), fresh(), fresh("u")];
  const claims = { sub: user, channels: [granted], subs: { [named]: { data: { hello: 1 } } } };
  const reader = client(user, { token: token(claims) });
  const [channels, heard] = [[], []];
  reader.on("subscribed", ({ channel, data }) => channels.push([channel, data]));
  reader.on("publication", ({ channel, data }) => heard.push([channel, data]));
  await until(() => channels.length === 3);
  const expected = [[`#${user}`, undefined], [granted, undefined], [named, { hello: 1 }]];
  assert.deepEqual(channels.sort(), expected.sort());
  await backend.command("subscribe", { user, channels: [later] });
  await until(() => channels.length === 4);
  const all = [`#${user}`, granted, named, later];
  for (const channel of all) await backend.publish(channel, channel);
  await until(() => heard.length === 4);
  const again = event(reader, "connecting");
  await backend.command("disconnect", { user, code: 4001, reason: "again" });
  await again;
  for (const channel of all.slice(0, 3)) await backend.publish(channel, "missed");
  await until(() => heard.length === 7);
  const missed = heard.slice(4).map(([channel, data]) => [channel, data]);
  assert.deepEqual(missed.sort(), all.slice(0, 3).map((channel) => [channel, "missed"]).sort());
  await backend.command("subscribe", { user, channels: [later] });
  const gone = event(reader, "unsubscribed");
  await backend.command("unsubscribe", { user, channels: [later] });
  assert.equal((await gone).channel, later);
});

for (const form of Object.keys(forms)) {
  test(`subscriptions of backends have data, recover and expire: ${form}`, limit, async () => {
    const [channel, user] = [fresh(), fresh("u")];
    const reader = client(user, { form });
    await reader.ready();
    const { epoch } = await backend.publish(channel, 0);
    for (const number of [1, 2]) await backend.publish(channel, number);
    const heard = [];
    reader.on("publication", ({ data, offset }) => heard.push([reader.form.read(data), offset]));
    const subscribed = event(reader, "subscribed");
    const expires_at = Math.floor(Date.now() / 1000) + 2;
    const data = JSON.stringify({ seat: 7 });
    const options = { user, channels: [channel], data, expires_at, offset: 1, epoch };
    await backend.command("subscribe", options);
    const told = await subscribed;
    assert.deepEqual([reader.form.read(told.data), told.streamPosition.offset], [{ seat: 7 }, 1]);
    const unsubscribed = event(reader, "unsubscribed");
    await backend.publish(channel, 3);
    await until(() => heard.length === 3);
    assert.deepEqual(heard, [[1, 2], [2, 3], [3, 4]]);
    assert.equal((await unsubscribed).channel, channel);
  });
}

test("errors have the protocol's codes", limit, async () => {
  const reader = client("42");
  const ended = (channel, options) => event(listen(reader, channel, options), "unsubscribed");
  await reader.ready();
  await assert.rejects(reader.rpc("any", {}), { code: 108 });
  assert.equal((await ended("nowhere:1")).code, 102);
  assert.equal((await ended("talk#43,44")).code, 103);
  const other = fresh("private:");
  assert.equal((await ended(other)).code, 103);
  assert.equal((await ended(fresh("private:"), { token: "no.token.this" })).code, 103);
  await assert.rejects(reader.publish(fresh("silent:"), 1), { code: 103 });
  await assert.rejects(reader.presence(fresh("silent:")), { code: 108 });
  await assert.rejects(reader.history(fresh("silent:"), { limit: 1 }), { code: 108 });
  reader.disconnect();
  const channel = fresh();
  const late = token({ sub: "42", channel: other, seconds: -5 });
  const hello = { id: 1, connect: { token: token({ sub: "42" }) } };
  const socket = await bare(
    hello, { id: 2, subscribe: { channel } }, { id: 3, subscribe: { channel } },
    { id: 4, subscribe: { channel: fresh(), type: 1 } },
    { id: 5, subscribe: { channel: fresh(), recover: true, epoch: "beef", offset: 1, flag: 2 } },
    { id: 6, subscribe: { channel: other, token: late } },
    { id: 7, ping: {} },
  );
  const codes = { 3: 105, 4: 108, 5: 112, 6: 109, 7: 104 };
  for (const [id, code] of Object.entries(codes)) {
    const answer = await socket.answer((message) => message.id === Number(id));
    assert.equal(answer.error?.code, code, `command ${id}`);
  }
});

test("close codes say whether to come back", limit, async () => {
  const users = [[4001, true], [3010, true], [4500, false], [undefined, false]];
  for (const [code, comesBack] of users) {
    const user = fresh("u");
    const reader = client(user);
    await reader.ready();
    const next = event(reader, comesBack ? "connecting" : "disconnected");
    await backend.command("disconnect", { user, code, reason: "go" });
    assert.equal((await next).code, code ?? 3503);
    if (comesBack) await reader.ready();
    assert.equal(reader.state, comesBack ? "connected" : "disconnected");
    reader.disconnect();
  }
  const stranger = client("42", { token: "bad.token.here" });
  assert.equal((await event(stranger, "disconnected")).code, 3500);
  assert.equal(await (await bare({ id: 1, subscribe: { channel: fresh() } })).closed, 3501);
  assert.equal(await (await bare({ id: 1, connect: {}, subscribe: {} })).closed, 3501);
});

test("a slow subscriber is told to recover, and does", limit, async () => {
  const [channel, publications] = [fresh(), 800];
  const sockets = [];
  class Kept extends WebSocket {
    constructor(...all) {
      super(...all);
      sockets.push(this);
    }
  }
  const reader = client("slow", { websocket: Kept });
  const subscription = listen(reader, channel);
  await subscription.ready();
  const codes = [];
  subscription.on("subscribing", ({ code }) => codes.push(code));
  sockets[0]._socket.pause();
  const padding = "x".repeat(16_000);
  for (const number of range(publications)) await backend.publish(channel, { number, padding });
  await until(async () => (await metric("tidegate_subscriptions_cut_off_total")) > 0);
  sockets[0]._socket.resume();
  await until(() => subscription.heard.length >= publications);
  assert.deepEqual(subscription.heard.map(({ number }) => number), range(publications));
  assert.deepEqual([new Set(codes), sockets.length], [new Set([2500]), 1]);
});

test("a crowd that is thrown off comes back and misses nothing", limit, async () => {
  const [channel, clients, publications] = [fresh("crowd:"), 300, 400];
  const recoveries = () => metric("tidegate_recoveries_total", 'result="recovered"');
  const before = await recoveries();
  const crowd = range(clients).map((at) =>
    client("crowd", { form: at % 2 ? "json" : "protobuf", maxReconnectDelay: 1000 }),
  );
  const subscriptions = crowd.map((each) => listen(each, channel));
  await Promise.all(subscriptions.map((each) => each.ready(30_000)));
  for (const number of range(publications)) {
    const { sessions } = await backend.publish(channel, number);
    if (number === 0) assert.equal(sessions, clients);
    if (number === 100 || number === 250) {
      await backend.command("disconnect", { user: "crowd", code: 4001, reason: "again" });
    }
    if (number === 200) await until(async () => (await recoveries()) >= before + clients);
  }
  await until(() => subscriptions.every(({ heard }) => heard.length >= publications));
  for (const { heard } of subscriptions) assert.deepEqual(heard, range(publications));
  const count = (await recoveries()) - before;
  assert.ok(count >= 2 * clients, `${count} recoveries`);
});

test("the metrics have counted all that", limit, async () => {
  await until(async () => (await metric("tidegate_connections")) === 0);
  const gauges = ["tidegate_channels", "tidegate_subscriptions", "tidegate_presence_clients"];
  for (const name of gauges) assert.equal(await metric(name), 0, name);
  // In each form a small history had forgotten; once the epoch was foreign.
  assert.equal(await metric("tidegate_recoveries_total", 'result="not_recovered"'), 3);
  assert.ok((await metric("tidegate_recovered_publications_total")) > 1000);
  assert.ok((await metric("tidegate_client_errors_total")) >= 16);
  assert.ok((await metric("tidegate_connections_closed_total", 'reason="command"')) >= 600);
});
