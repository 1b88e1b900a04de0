// Node's ZeroMQ and WebSocket packages against a running edge, whose addresses come as JSON in
// the variable EDGE: { websocket, zeromq: { pull, router, pub, sub } } and, where the endpoints
// are guarded, curve: { server, public, secret }. Started by run.py beside this file.

import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import WebSocket from "ws";
import * as zmq from "zeromq";

const edge = JSON.parse(process.env.EDGE);
const curve = edge.curve && {
  curveServerKey: edge.curve.server,
  curvePublicKey: edge.curve.public,
  curveSecretKey: edge.curve.secret,
};
const limit = { timeout: 20_000 };

// A test that failed leaves its socket open, which must not keep the process from ending.
zmq.context.blocky = false;

function backend(Kind, endpoint) {
  const socket = new Kind({ linger: 0, ...curve });
  socket.connect(edge.zeromq[endpoint]);
  return socket;
}

async function listen(path) {
  const client = new WebSocket(edge.websocket + path);
  const messages = [];
  const waiting = [];
  client.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    waiting.length > 0 ? waiting.shift()(message) : messages.push(message);
  });
  client.next = () =>
    messages.length > 0
      ? Promise.resolve(messages.shift())
      : new Promise((resolve) => waiting.push(resolve));
  await once(client, "open");
  return client;
}

test("push publishes text and binary", limit, async () => {
  const push = backend(zmq.Push, "pull");
  const client = await listen("/websocket/42?channels=news");
  await push.send(["news", "hello"]);
  assert.equal(await client.next(), "hello");
  await push.send(["news", Buffer.from([0xff, 0x00])]);
  assert.deepEqual(await client.next(), Buffer.from([0xff, 0x00]));
  client.close();
  push.close();
});

test("dealer asks and is answered", limit, async () => {
  const dealer = backend(zmq.Dealer, "router");
  const phone = await listen("/websocket/43?device=phone");
  const laptop = await listen("/websocket/43?device=laptop");
  await dealer.send(["$cmd", "for you", JSON.stringify({ op: "user", user: "43", rid: "n1" })]);
  const [answer] = await dealer.receive();
  assert.deepEqual(JSON.parse(answer), { rid: "n1", ok: true, sessions: 2 });
  assert.deepEqual([await phone.next(), await laptop.next()], ["for you", "for you"]);
  phone.close();
  laptop.close();
  dealer.close();
});

test("a publisher is heard once it is connected", limit, async () => {
  const publisher = backend(zmq.Publisher, "sub");
  const client = await listen("/websocket?channels=weather");
  let heard;
  const first = client.next().then((message) => (heard = message));
  while (heard === undefined) {
    await publisher.send(["weather", "sunny"]);
    await Promise.race([first, new Promise((resolve) => setTimeout(resolve, 50))]);
  }
  assert.equal(heard, "sunny");
  client.close();
  publisher.close();
});

test("events tell what a client sent", limit, async () => {
  const events = backend(zmq.Subscriber, "pub");
  events.subscribe("$event.message");
  const client = await listen("/websocket/44");
  // The subscription may reach the edge after the first message: send until one is heard.
  const timer = setInterval(() => client.send("hello backend"), 50);
  const [topic, payload, meta] = await events.receive();
  clearInterval(timer);
  assert.deepEqual([topic.toString(), payload.toString()], ["$event.message", "hello backend"]);
  assert.equal(JSON.parse(meta).user, "44");
  client.close();
  events.close();
});
