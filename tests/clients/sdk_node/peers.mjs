// The two ends of an edge for the tests beside this file: clients that use the npm SDK in JSON and
// protobuf, a backend over ZeroMQ, and a proxy that breaks connections. The edge's addresses come
// as JSON in the variable EDGE: { websocket, internal, zeromq: { router }, strict, secret }, where
// `strict` is the public address of an edge without --dev.

import { createHmac } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { Centrifuge } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import WebSocket from "ws";
import * as zmq from "zeromq";

export const edge = JSON.parse(process.env.EDGE);
export const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

// A test that failed leaves its socket open, which must not keep the process from ending.
zmq.context.blocky = false;

const open = new Set();

/** Ends every client and proxy of a test, however it went. */
export function endAll() {
  open.forEach((end) => end());
  open.clear();
}

/** A token with these claims; `exp` may be given as `seconds` from now. */
export function token({ seconds, ...claims }) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  if (seconds !== undefined) claims.exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", edge.secret).update(signed).digest("base64url")}`;
}

/** The two forms of the protocol: the SDK of each, and how it reads and writes JSON as data. */
export const forms = {
  json: { Sdk: Centrifuge, read: (data) => data, write: (value) => value },
  protobuf: {
    Sdk: ProtobufCentrifuge,
    read: (data) => JSON.parse(Buffer.from(data).toString()),
    write: (value) => Buffer.from(JSON.stringify(value)),
  },
};

const address = `${edge.websocket}/connection/websocket`;

/** A client that is about to connect as this user. */
export function client(user, { form = "json", url = address, ...options } = {}) {
  const common = { websocket: WebSocket, minReconnectDelay: 20, maxReconnectDelay: 300 };
  const known = "token" in options || "getToken" in options ? {} : { token: token({ sub: user }) };
  const made = new forms[form].Sdk(url, { ...common, ...known, ...options });
  made.form = forms[form];
  made.connect();
  open.add(() => made.disconnect());
  return made;
}

/** A subscription that is about to begin; `heard` is what its channel said, in order. */
export function listen(of, channel, options = {}) {
  const subscription = of.newSubscription(channel, options);
  subscription.heard = [];
  subscription.on("publication", (ctx) => subscription.heard.push(of.form.read(ctx.data)));
  subscription.subscribe();
  return subscription;
}

/** What an event of a client or a subscription brings when it next happens. */
export const event = (emitter, name) => new Promise((resolve) => emitter.once(name, resolve));

/** Waits until a condition holds. The time limit is the test's. */
export async function until(condition) {
  while (!(await condition())) await sleep(10);
}

/** One backend, which asks and is answered. */
export class Backend {
  constructor() {
    this.socket = new zmq.Dealer({ linger: 0 });
    this.socket.connect(edge.zeromq.router);
  }

  async ask(topic, payload, meta = {}) {
    await this.socket.send([topic, payload, JSON.stringify(meta)]);
    const [answer] = await this.socket.receive();
    return JSON.parse(answer);
  }

  publish(channel, value) {
    return this.ask(channel, JSON.stringify(value));
  }

  command(op, meta) {
    return this.ask("$cmd", "", { op, ...meta });
  }

  close() {
    this.socket.close();
  }
}

/** A proxy before the edge; `cut` breaks what goes through it, in the middle of the next chunk. */
export async function proxy() {
  const { hostname, port } = new URL(edge.websocket);
  const pairs = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(port, hostname);
    const pair = { near, far, isCut: false };
    pairs.add(pair);
    const end = () => {
      near.destroy();
      far.destroy();
      pairs.delete(pair);
    };
    for (const socket of [near, far]) socket.on("error", end).on("close", end);
    near.on("data", (chunk) => far.write(chunk));
    far.on("data", (chunk) => {
      if (!pair.isCut) return near.write(chunk);
      near.write(chunk.subarray(0, chunk.length >> 1), end);
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  open.add(() => {
    server.close();
    pairs.forEach(({ near }) => near.destroy());
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}/connection/websocket`,
    cut: () => pairs.forEach((pair) => (pair.isCut = true)),
  };
}

/** A WebSocket without an SDK. */
export async function connect(path, subprotocols) {
  const socket = new WebSocket(edge.websocket + path, subprotocols);
  open.add(() => socket.terminate());
  await once(socket, "open");
  return socket;
}

/** A client that may break every rule: it speaks JSON, message by message. */
export async function bare(...commands) {
  const socket = await connect("/connection/websocket", []);
  const messages = [];
  socket.on("message", (data) => {
    messages.push(...data.toString().split("\n").filter(Boolean).map((line) => JSON.parse(line)));
  });
  socket.closed = new Promise((resolve) => socket.on("close", resolve));
  socket.answer = async (wanted) => {
    await until(() => messages.some(wanted));
    return messages.find(wanted);
  };
  socket.send(commands.map((each) => JSON.stringify(each)).join("\n"));
  return socket;
}

/** The sum of a metric over all shards, of the lines with this label if one is given. */
export async function metric(name, label = "") {
  const text = await (await fetch(`${edge.internal}/metrics`)).text();
  const lines = text.split("\n").filter((each) => each.startsWith(`${name}{${label}`));
  if (lines.length === 0) throw new Error(`no metric ${name} ${label}`);
  return lines.reduce((sum, line) => sum + Number(line.split(" ")[1]), 0);
}
