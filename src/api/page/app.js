// The try page: one client of the edge, a form that publishes, and a log of what arrives. The client
// is a plain WebSocket, which is here, or the SDK in sdk.js.
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
let tab = "raw";
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
  for (const id of ["user", "channels", "token", "tab-raw", "tab-sdk"]) {
    element(id).disabled = active || socket !== null;
  }
  for (const id of ["offline", "history", "presence"]) {
    element(id).disabled = !(active && tab === "sdk");
  }
}

function channelNames() {
  return element("channels").value.split(",").map((name) => name.trim()).filter(Boolean);
}

function socketPath() {
  const user = encodeURIComponent(element("user").value.trim());
  const names = channelNames().map(encodeURIComponent).join(",");
  return `/websocket/${user}${names ? `?channels=${names}` : ""}`;
}

// A token travels among the subprotocols, so that no log of addresses has it.
function subprotocols() {
  const token = element("token").value.trim();
  return token ? ["tidegate", `token.${token}`] : [];
}

function open() {
  const url = info.websocket + wanted;
  const current = new WebSocket(url, subprotocols());
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
    if (openedAt || wanted === null) {
      closed(describeClose(event), isTerminal(event.code));
    } else {
      refused(event);
    }
  };
}

function describeClose({ code, reason }) {
  return `Connection closed (code ${code}${reason ? `: ${reason}` : ""})`;
}

// The application's codes from 3500 and from 4500 tell a client to stay away.
function isTerminal(code) {
  return TERMINAL_CODES.has(code) || (code >= 3500 && code < 4000) || code >= 4500;
}

// A browser does not tell its page why a handshake failed, so the edge is asked over HTTP.
async function refused(event) {
  const { status, reason } = await askWhy(wanted, subprotocols());
  if (status === null) {
    closed(`Could not connect (code ${event.code}): ${reason}`, false);
  } else if (status === 101) {
    closed(`Could not connect (code ${event.code}), though now it would work`, false);
  } else {
    const isFinal = status >= 400 && status < 500 && status !== 429;
    closed(`Could not connect: status ${status}, ${reason}`, isFinal);
  }
}

async function askWhy(path, protocols) {
  try {
    const response = await fetch("/try/refusal", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ path, protocols: protocols.join(", ") }),
    });
    const answer = await response.json();
    return answer.error ? { status: null, reason: answer.error.message } : answer;
  } catch (error) {
    return { status: null, reason: `the edge does not answer (${error.message})` };
  }
}

function closed(description, terminal) {
  addEvent(description);
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

function receive(data, now, note = "") {
  const text = typeof data === "string";
  const size = text ? encoder.encode(data).length : data.byteLength;
  const latency = text ? takeLatency(data, now) : null;
  totals.count += 1;
  totals.bytes += size;
  if (latency !== null) {
    latencies.push(latency);
    if (latencies.length > LATENCIES_MAX) latencies.shift();
  }
  addRow((text ? data : hexadecimal(data)) + note, `${size} B`, formatLatency(latency), "message");
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
  // An event has neither size nor latency, and needs their room on a narrow screen.
  const isEvent = kind === "event";
  for (const [text, name] of isEvent ? cells.slice(0, 2) : cells) {
    const cell = row.insertCell();
    cell.className = name;
    cell.textContent = text;
    cell.colSpan = isEvent && name === "payload" ? 3 : 1;
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

// Whether a publication reaches this page too: only then has it a latency.
function comesBack({ all, channel, user }) {
  if (element("state").dataset.state !== "open") return false;
  if (all) return true;
  return user === undefined
    ? channelNames().includes(channel) : tab === "raw" && user === element("user").value.trim();
}

async function publish() {
  const to = chosenTarget();
  const data = element("data").value;
  const body = to === "all" ? { all: true, data } : { [to]: element("target").value.trim(), data };
  const sent = { text: data, at: performance.now() };
  if (comesBack(body)) outgoing.push(sent);
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
    const nobody = wanted === null ? "nobody is subscribed: press Connect first" : "nobody is subscribed";
    const reached = answer.sessions
      ? `Reached ${answer.sessions} session${plural}` : `Published, but ${nobody}`;
    showResult(`${reached} (answered in ${milliseconds} ms)`, false);
  } catch (error) {
    outgoing = outgoing.filter((other) => other !== sent);
    showResult(`Not published: ${error.message}`, true);
  }
}

function connect() {
  if (wanted !== null || socket !== null || !info.websocket) return;
  attempts = 0;
  if (tab === "sdk") {
    wanted = "/connection/websocket";
    sdk.connect();
  } else {
    wanted = socketPath();
    open();
  }
}

function choose(chosen) {
  tab = chosen;
  for (const name of ["raw", "sdk"]) {
    element(`tab-${name}`).setAttribute("aria-selected", name === tab);
  }
  element("connect-form").setAttribute("aria-labelledby", `tab-${tab}`);
  for (const part of document.querySelectorAll("[data-tab]")) {
    part.hidden = part.dataset.tab !== tab;
  }
  element("user").required = tab === "raw";
  setState("closed", "Not connected");
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
  connect();
});
element("disconnect").addEventListener("click", () => {
  if (tab === "sdk") sdk.disconnect();
  else disconnect();
});
element("tab-raw").addEventListener("click", () => choose("raw"));
element("tab-sdk").addEventListener("click", () => choose("sdk"));
element("clear").addEventListener("click", clearLog);
element("publish-form").addEventListener("change", (event) => {
  if (event.target.name === "to") showTarget();
});
element("publish-form").addEventListener("submit", (event) => {
  event.preventDefault();
  publish();
});
start();
