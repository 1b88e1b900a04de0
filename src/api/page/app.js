// The try page: one WebSocket to the edge, a form that publishes, and a log of what arrives.
"use strict";

const RECONNECT_FIRST_MS = 500;
const RECONNECT_MAX_MS = 30_000;
// A connection that lasted this long was a good one: the backoff begins anew.
const STABLE_MS = 5_000;
const ROWS_MAX = 500;
// A publication that has not come back by then was not for this connection.
const ECHO_MS = 10_000;
const LATENCIES_MAX = 101;
const TERMINAL_CODES = new Set([1000, 1002, 1003, 1007, 1008, 1009]);

const element = (id) => document.getElementById(id);
const encoder = new TextEncoder();

let info = { websocket: null, dev: false };
let socket = null;
let wanted = null;
let attempts = 0;
let timer = 0;
let outgoing = [];
let latencies = [];
const totals = { count: 0, bytes: 0, reconnects: 0 };

function setState(state, text) {
  const line = element("state");
  line.dataset.state = state;
  line.textContent = text;
  const active = wanted !== null;
  element("connect").disabled = active || socket !== null || !info.websocket;
  element("disconnect").disabled = !active;
  element("user").disabled = active;
  element("channels").disabled = active;
}

function socketUrl() {
  const user = encodeURIComponent(element("user").value.trim());
  const names = element("channels").value.split(",").map((name) => name.trim()).filter(Boolean);
  const query = names.length ? `?channels=${names.map(encodeURIComponent).join(",")}` : "";
  return `${info.websocket}/websocket/${user}${query}`;
}

function open() {
  const url = wanted;
  const current = new WebSocket(url);
  let openedAt = 0;
  socket = current;
  current.binaryType = "arraybuffer";
  setState("connecting", "Connecting…");
  element("url").textContent = url;
  current.onopen = () => {
    openedAt = performance.now();
    setState("open", "Connected");
    addEvent("Connected");
  };
  current.onmessage = (event) => receive(event.data, performance.now());
  current.onclose = (event) => {
    socket = null;
    if (openedAt && performance.now() - openedAt > STABLE_MS) attempts = 0;
    closed(describeClose(event, openedAt > 0), event.code);
  };
}

function describeClose(event, wasOpen) {
  const what = wasOpen ? "Connection closed" : "Could not connect";
  const reason = event.reason ? `: ${event.reason}` : "";
  return `${what} (code ${event.code}${reason})`;
}

function closed(description, code) {
  addEvent(description);
  // The application's codes from 3500 and from 4500 tell a client to stay away.
  const terminal = TERMINAL_CODES.has(code) || (code >= 3500 && code < 4000) || code >= 4500;
  if (wanted === null || terminal) {
    wanted = null;
    setState("closed", description);
    return;
  }
  // Half of the delay is random, so that a crowd that lost its edge does not return at once.
  const ceiling = Math.min(RECONNECT_MAX_MS, RECONNECT_FIRST_MS * 2 ** attempts);
  const delay = ceiling * (0.5 + Math.random() / 2);
  attempts += 1;
  setState("waiting", `${description}; trying again in ${(delay / 1000).toFixed(1)} s`);
  timer = setTimeout(() => {
    totals.reconnects += 1;
    showCounters();
    open();
  }, delay);
}

function disconnect() {
  wanted = null;
  clearTimeout(timer);
  if (socket) {
    setState("connecting", "Closing…");
    socket.close(1000, "bye");
  } else {
    setState("closed", "Not connected");
  }
}

function receive(data, now) {
  const text = typeof data === "string";
  const size = text ? encoder.encode(data).length : data.byteLength;
  const latency = text ? takeLatency(data, now) : null;
  totals.count += 1;
  totals.bytes += size;
  if (latency !== null) {
    latencies.push(latency);
    if (latencies.length > LATENCIES_MAX) latencies.shift();
  }
  addRow(text ? data : hexadecimal(data), `${size} B`, formatLatency(latency), "message");
  showCounters();
}

// Payloads travel verbatim, so an own publication is known by its text alone.
function takeLatency(text, now) {
  outgoing = outgoing.filter((sent) => now - sent.at < ECHO_MS);
  const place = outgoing.findIndex((sent) => sent.text === text);
  return place < 0 ? null : now - outgoing.splice(place, 1)[0].at;
}

function hexadecimal(buffer) {
  const bytes = [...new Uint8Array(buffer, 0, Math.min(64, buffer.byteLength))];
  const digits = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `binary: ${digits}${buffer.byteLength > 64 ? " …" : ""}`;
}

function formatLatency(latency) {
  return latency === null ? "–" : `${latency.toFixed(1)} ms`;
}

function addRow(payload, size, latency, kind) {
  const row = document.createElement("tr");
  row.className = kind;
  const now = new Date();
  const milliseconds = String(now.getMilliseconds()).padStart(3, "0");
  const time = `${now.toTimeString().slice(0, 8)}.${milliseconds}`;
  const cells = [[time, "time"], [payload, "payload"], [size, "number"], [latency, "number"]];
  for (const [text, name] of cells) {
    const cell = row.insertCell();
    cell.className = name;
    cell.textContent = text;
  }
  const log = element("log");
  log.prepend(row);
  while (log.rows.length > ROWS_MAX) log.deleteRow(-1);
  element("empty").hidden = true;
}

function addEvent(text) {
  addRow(text, "", "", "event");
}

function showCounters() {
  element("count").textContent = totals.count.toLocaleString();
  element("bytes").textContent = totals.bytes.toLocaleString();
  element("reconnects").textContent = totals.reconnects.toLocaleString();
  const sorted = latencies.toSorted((a, b) => a - b);
  element("latency").textContent = formatLatency(latencies.at(-1) ?? null);
  element("median").textContent = formatLatency(sorted[sorted.length >> 1] ?? null);
}

function clearLog() {
  element("log").replaceChildren();
  element("empty").hidden = false;
  latencies = [];
  Object.assign(totals, { count: 0, bytes: 0, reconnects: 0 });
  showCounters();
}

function chosenTarget() {
  return document.querySelector("input[name=to]:checked").value;
}

function showTarget() {
  const to = chosenTarget();
  const target = element("target");
  const previous = target.dataset.to ?? "channel";
  target.dataset[previous] = target.value;
  target.dataset.to = to;
  target.value = to === "all" ? "" : (target.dataset[to] ?? element("user").value);
  target.disabled = to === "all";
  target.required = to !== "all";
  const labels = { channel: "Channel", user: "User", all: "Everybody who is connected" };
  element("target-label").textContent = labels[to];
}

function showResult(text, failed) {
  const line = element("result");
  line.textContent = text;
  line.toggleAttribute("data-failed", failed);
}

async function publish() {
  const to = chosenTarget();
  const data = element("data").value;
  const body = to === "all" ? { all: true, data } : { [to]: element("target").value.trim(), data };
  const sent = { text: data, at: performance.now() };
  outgoing.push(sent);
  showResult("", false);
  try {
    const response = await fetch("/try/publish", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    const milliseconds = (performance.now() - sent.at).toFixed(1);
    const plural = answer.sessions === 1 ? "" : "s";
    const reached = `Reached ${answer.sessions} session${plural}`;
    showResult(`${reached}, answered in ${milliseconds} ms`, false);
  } catch (error) {
    outgoing = outgoing.filter((other) => other !== sent);
    showResult(`Not published: ${error.message}`, true);
  }
}

async function start() {
  try {
    info = await (await fetch("/info")).json();
  } catch (error) {
    setState("closed", `The edge does not answer: ${error.message}`);
    return;
  }
  const shards = `${info.shards} shard${info.shards === 1 ? "" : "s"}`;
  element("facts").textContent = `Version ${info.version}, ${shards}, ${info.websocket}`;
  setState("closed", "Not connected");
  if (!info.dev) {
    for (const field of element("publish-form").elements) field.disabled = true;
    showResult("Publishing from this page needs --dev.", true);
  }
}

element("connect-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (wanted !== null || socket !== null || !info.websocket) return;
  wanted = socketUrl();
  attempts = 0;
  open();
});
element("disconnect").addEventListener("click", disconnect);
element("clear").addEventListener("click", clearLog);
element("publish-form").addEventListener("change", (event) => {
  if (event.target.name === "to") showTarget();
});
element("publish-form").addEventListener("submit", (event) => {
  event.preventDefault();
  publish();
});
start();
