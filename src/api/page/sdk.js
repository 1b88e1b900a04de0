// The try page's other client: the published SDK of the Centrifuge protocol, with history, presence
// and a network that a button takes away.
"use strict";

const HISTORY_ROWS = 10;

const sdk = (() => {
  let client = null;
  // Stands for the browser's network: what it says is all that the SDK hears of it.
  let network = null;
  let isOffline = false;

  // What a WebSocket does without a network.
  class Unreachable {
    constructor() {
      setTimeout(() => this.onclose?.({ code: 1006, reason: "" }));
    }
    send() {}
    close() {}
  }

  // The SDK takes its WebSockets from here, so that being offline keeps it from coming back.
  function Network(url, protocols) {
    return isOffline ? new Unreachable() : new WebSocket(url, protocols);
  }

  function show(data) {
    return typeof data === "string" ? data : JSON.stringify(data);
  }

  function subscribe(name) {
    const subscription = client.newSubscription(name);
    subscription.on("subscribed", (context) => {
      const position = context.streamPosition
        ? ` at offset ${context.streamPosition.offset}` : ", which has no history";
      const recovery = context.wasRecovering
        ? (context.recovered ? ", with all that was missed" : ", but not all that was missed") : "";
      addEvent(`Subscribed to ${name}${position}${recovery}`);
    });
    subscription.on("unsubscribed", ({ code, reason }) => {
      addEvent(`Unsubscribed from ${name} (code ${code}: ${reason})`);
    });
    subscription.on("error", ({ error }) => addEvent(`${name}: ${describe(error)}`));
    subscription.on("publication", ({ data, offset }) => {
      receive(show(data), performance.now(), offset ? `  (offset ${offset})` : "");
    });
    subscription.subscribe();
  }

  function describe(error) {
    return `error ${error.code}, ${error.message}`;
  }

  async function each(ask) {
    const subscriptions = Object.entries(client?.subscriptions() ?? {});
    for (const [name, subscription] of subscriptions) {
      try {
        addEvent(`${name}: ${await ask(subscription)}`);
      } catch (error) {
        addEvent(`${name}: ${describe(error)}`);
      }
    }
  }

  async function history(subscription) {
    const { publications } = await subscription.history({ limit: HISTORY_ROWS, reverse: true });
    const rows = publications.map(({ offset, data }) => `${offset} ${show(data)}`);
    return rows.length ? `the newest are ${rows.join(" | ")}` : "remembers nothing";
  }

  async function presence(subscription) {
    const clients = Object.values((await subscription.presence()).clients);
    const users = clients.map(({ user, client: id }) => user || `nobody in particular (${id})`);
    return `${users.length} here: ${users.join(", ")}`;
  }

  function setOffline(value) {
    isOffline = value;
    element("offline").textContent = isOffline ? "Come back" : "Go offline";
    network?.dispatchEvent(new Event(isOffline ? "offline" : "online"));
  }

  function ended(text) {
    client = null;
    wanted = null;
    setOffline(false);
    addEvent(text);
    setState("closed", text);
  }

  function connect() {
    const token = element("token").value.trim();
    network = new EventTarget();
    const options = { networkEventTarget: network, websocket: Network, ...(token && { token }) };
    client = new Centrifuge(`${info.websocket}/connection/websocket`, options);
    element("url").textContent = `${info.websocket}/connection/websocket`;
    client.on("connecting", ({ code, reason }) => {
      if (code !== 0) addEvent(`Connection lost (code ${code}: ${reason})`);
      setState(code ? "waiting" : "connecting", isOffline ? "Offline" : "Connecting…");
    });
    client.on("connected", ({ client: id }) => {
      setState("open", "Connected");
      addEvent(`Connected as ${id}`);
    });
    client.on("disconnected", ({ code, reason }) => {
      ended(`Disconnected (code ${code}: ${reason})`);
    });
    client.on("error", async ({ type, error }) => {
      if (isOffline || type !== "transport") return addEvent(`${type}: ${describe(error)}`);
      const { status, reason } = await askWhy("/connection/websocket", []);
      if (status !== 101) addEvent(`Could not connect: ${status ? `status ${status}, ` : ""}${reason}`);
    });
    // What comes through no subscription of this page: to everybody, or to the token's user.
    client.on("message", ({ data }) => receive(show(data), performance.now()));
    client.on("publication", ({ data }) => receive(show(data), performance.now()));
    channelNames().forEach(subscribe);
    client.connect();
  }

  element("offline").addEventListener("click", () => setOffline(!isOffline));
  element("history").addEventListener("click", () => each(history));
  element("presence").addEventListener("click", () => each(presence));

  return { connect, disconnect: () => client?.disconnect() };
})();
