// `cent.js`, the npm client of the HTTP API, against a running edge: all its methods, one command in
// a request and several. Started by run.py beside this file.

import assert from "node:assert/strict";
import test from "node:test";
import { CentClient, CentException } from "cent.js";
import { client, edge, endAll, event, listen, until } from "./peers.mjs";

const limit = { timeout: 30_000 };
const backend = (apiKey) => new CentClient({ url: `${edge.internal}/api`, apiKey });
const api = backend(edge.key);
test.afterEach(endAll);

test("what it publishes is heard, remembered and forgotten", limit, async () => {
  const [channel, other] = ["news", "other"];
  const subscription = listen(client("42"), channel);
  await subscription.ready();
  const { offset, epoch } = await api.publish({ channel, data: { n: 1 }, tags: { kind: "first" } });
  assert.equal(offset, 1);
  await api.publish({ channel, data: { n: 2 }, skip_history: true });
  const { responses } = await api.broadcast({ channels: [channel, other], data: { n: 3 } });
  assert.deepEqual(responses.map(({ result }) => result.offset), [2, 1]);
  await until(() => subscription.heard.length === 3);
  assert.deepEqual(subscription.heard, [{ n: 1 }, { n: 2 }, { n: 3 }]);

  const newest = await api.getHistory({ channel, limit: 10, reverse: true });
  assert.equal(newest.epoch, epoch);
  const read = newest.publications.map(({ data, tags }) => [data, tags]);
  assert.deepEqual(read, [[{ n: 3 }, undefined], [{ n: 1 }, { kind: "first" }]]);
  const since = { offset: 1, epoch };
  assert.equal((await api.getHistory({ channel, limit: 10, since })).publications.length, 1);
  assert.deepEqual(await api.removeHistory({ channel }), {});
  assert.deepEqual((await api.getHistory({ channel, limit: 10 })).publications, []);

  const { presence } = await api.getPresence({ channel });
  assert.deepEqual(Object.values(presence).map(({ user }) => user), ["42"]);
  assert.deepEqual(await api.getPresenceStats({ channel }), { num_clients: 1, num_users: 1 });
  const { channels } = await api.getChannels({ pattern: "ne*" });
  assert.deepEqual(channels, { news: { num_clients: 1 } });
  const { nodes } = await api.getInfo();
  assert.deepEqual([nodes.length, nodes[0].num_clients], [1, 1]);
});

test("it rules connections", limit, async () => {
  const [channel, user] = ["given", "43"];
  const reader = client(user);
  const begun = [];
  reader.on("subscribed", (ctx) => begun.push(ctx.channel));
  await event(reader, "connected");
  await api.subscribe({ user, channel });
  await until(() => begun.includes(channel));
  const gone = event(reader, "unsubscribed");
  await api.unsubscribe({ user, channel });
  assert.equal((await gone).channel, channel);
  // A time that is over ends what is refreshed to it.
  const closed = event(reader, "connecting");
  await api.refresh({ user, expired: true });
  assert.equal((await closed).code, 3005);
  await event(reader, "connected");
  const ended = event(reader, "disconnected");
  await api.disconnect({ user });
  assert.equal((await ended).code, 3503);
});

test("it sends many commands at once", limit, async () => {
  const channel = "piped";
  const replies = await api.pipeline([
    { method: "publish", params: { channel, data: { n: 1 } } },
    { method: "publish", params: { channel: "nowhere:1", data: { n: 2 } } },
    { method: "history", params: { channel, limit: 1 } },
  ]);
  assert.deepEqual([replies.length, replies[0].offset, replies[1]], [3, 1, undefined]);
  assert.deepEqual(replies[2].publications.map(({ data }) => data), [{ n: 1 }]);
});

test("it is told of errors", limit, async () => {
  await assert.rejects(api.publish({ channel: "nowhere:1", data: {} }), CentException);
  await assert.rejects(backend("a-key-that-is-wrong").getInfo(), CentException);
});
