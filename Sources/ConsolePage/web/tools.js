// The tools that need the admin key: send a notice, watch a room as a client does, revoke a token.

const byId = (id) => document.getElementById(id);
const MAXIMUM_ARRIVALS = 50;

/** Why a request failed; its text is for people. */
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function say(id, text, isBad = false) {
  byId(id).textContent = text;
  byId(id).classList.toggle("bad", isBad);
}

/** The tools; call `update` with every answer of the cluster API. */
export function setUpTools() {
  let hasActions = null;
  let key = sessionStorage.getItem("admin-key") ?? "";
  /** Notices on their way to this page: their text, and when they were sent. */
  let sent = [];
  let watching = null;

  function show() {
    byId("tools-off").hidden = hasActions !== false;
    byId("key-form").hidden = !hasActions || Boolean(key);
    byId("tools-on").hidden = !hasActions || !key;
  }

  function forgetKey() {
    key = "";
    sessionStorage.removeItem("admin-key");
    show();
  }

  async function post(address, body) {
    const answer = await fetch(address, {
      method: "POST", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
    });
    const result = await answer.json();
    if (answer.ok) return result;
    if (answer.status === 401) {
      forgetKey();
      say("key-note", "The gateway does not accept this key.", true);
      byId("key").focus();
    }
    throw new Refusal(answer.status, result.data);
  }

  // MARK: The key

  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const entered = byId("key").value.trim();
    // A header field cannot carry anything else.
    if (!/^[\x21-\x7e]{16,256}$/.test(entered)) return say("key-note", "A key has 16 to 256 visible ASCII characters.", true);
    key = entered;
    sessionStorage.setItem("admin-key", key);
    byId("key").value = "";
    say("key-note", "This tab keeps the key until you close it.");
    show();
    byId("data").focus();
  });

  // MARK: Send

  byId("send-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const room = byId("room").value;
    const type = byId("type").value;
    const text = byId("data").value;
    const durable = byId("durable").checked;
    let data;
    try {
      data = JSON.parse(text);
      byId("data").removeAttribute("aria-invalid");
    } catch (error) {
      byId("data").setAttribute("aria-invalid", "true");
      byId("data").focus();
      return say("send-note", `This is not JSON: ${error.message}`, true);
    }
    const notice = { text: JSON.stringify({ type, data }), room, at: performance.now() };
    sent = [...sent.slice(-MAXIMUM_ARRIVALS), notice];
    try {
      const { rooms: [{ nodes, id }] } = await post("../api/publish", { room, type, data, durable });
      const watched = watching?.room === room ? "" : " Watch the room to see it arrive.";
      // A Redis Cluster does not count the nodes.
      say("send-note", (nodes === null ? "Published." : nodes ? `Received by ${nodes} ${nodes === 1 ? "node" : "nodes"}.` : `No client is in “${room}”, so no node received it.`)
        + (id ? ` Kept as ${id}.` : "") + watched);
    } catch (error) {
      sent = sent.filter((one) => one !== notice);
      say("send-note", `Not sent: ${error.message}`, true);
    }
  });

  // MARK: Watch

  function arrived(room, text) {
    const now = performance.now();
    let canonical = text;
    try {
      // A durable notice has its id and its room in front.
      const { id, room: _, ...notice } = JSON.parse(text);
      canonical = JSON.stringify(id ? notice : JSON.parse(text));
    } catch { /* Shown unchanged. */ }
    const own = sent.findIndex((one) => one.room === room && one.text === canonical);
    const entry = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = new Date().toISOString();
    time.textContent = new Date().toLocaleTimeString("en-GB");
    const payload = document.createElement("code");
    payload.textContent = text;
    const note = document.createElement("small");
    if (own >= 0) {
      note.textContent = `${(now - sent[own].at).toFixed(1)} ms`;
      note.className = "own";
      note.title = "From the click to the arrival at this page";
      sent.splice(own, 1);
    }
    entry.append(time, payload, note);
    byId("arrivals-empty").hidden = true;
    byId("arrivals").prepend(entry);
    while (byId("arrivals").children.length > MAXIMUM_ARRIVALS) byId("arrivals").lastElementChild.remove();
  }

  function showWatching() {
    byId("watch").setAttribute("aria-pressed", String(Boolean(watching)));
    byId("watch").textContent = watching ? `Stop watching ${watching.room}` : "Watch the room";
    byId("arrivals-title").textContent = watching ? `Arrivals in ${watching.room}` : "Arrivals";
  }

  function stopWatching() {
    if (!watching) return;
    clearInterval(watching.timer);
    watching.socket.close(1000);
    watching = null;
    showWatching();
  }

  async function watch(room) {
    const { token, beatMs } = await post("api/admit", {});
    const address = new URL("api/watch", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.search = new URLSearchParams({ token, roomIds: room });
    const socket = new WebSocket(address);
    const timer = setInterval(() => post("api/beat", { token }).catch(() => {}), beatMs);
    const mine = { room, socket, timer };
    watching = mine;
    socket.addEventListener("open", () => say("send-note", `Watching “${room}”.`));
    socket.addEventListener("message", ({ data }) => arrived(room, data));
    socket.addEventListener("close", ({ code, reason }) => {
      if (watching !== mine) return;
      stopWatching();
      say("send-note", `The node closed the connection: ${code} ${reason}`, true);
    });
    showWatching();
  }

  byId("watch").addEventListener("click", async () => {
    if (watching) {
      stopWatching();
      return say("send-note", "");
    }
    const room = byId("room").value;
    if (!room || room.includes(",")) return say("send-note", "Enter one room; its name cannot contain a comma.", true);
    // A second click meanwhile would begin a second watch, and nothing would end the first.
    byId("watch").disabled = true;
    try {
      await watch(room);
    } catch (error) {
      say("send-note", `Cannot watch the room: ${error.message}`, true);
    } finally {
      byId("watch").disabled = false;
    }
  });

  // MARK: Revoke

  byId("revoke-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await post("api/revoke", { token: byId("token").value.trim() });
      say("revoke-note", "Revoked. If the token had a connection, it was closed with 4003.");
      byId("token").value = "";
    } catch (error) {
      say("revoke-note", error.status === 404 ? "No such token: it was revoked, or has expired." : `Not revoked: ${error.message}`, true);
    }
  });

  return {
    update(cluster) {
      if (hasActions === cluster.actions) return;
      hasActions = cluster.actions;
      show();
    },
  };
}
