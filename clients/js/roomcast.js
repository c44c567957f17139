// Roomcast's client: takes a token, opens a WebSocket (or an event stream) for one or two rooms, sends the heartbeats
// that the gateway needs, and stays connected. With `durable` each connection goes on behind the last notice of the one
// before.
// No dependency. Runs in every current browser, and in any other place where fetch is global.

/** How long the gateway waits for a heartbeat by default (its `--heartbeat-timeout`). */
const standardHeartbeatMs = 30_000;
/** A heartbeat follows after 71 to 83 % of that time: 21 to 25 s, which leaves time for a second attempt. */
const earliestBeat = 0.71, latestBeat = 0.83;
/** The gateway closes up to 2 s late; the rest is for the network. */
const verdictSlackMs = 5_000;
/** Where the gateway counts the browser's pongs, a heartbeat only shows that it is still there: every five minutes. */
const checkMs = 300_000;
/** Shares of it again: an unanswered heartbeat is repeated after 1 to 3 s, a refused one after 3 to 9 s. */
const unanswered = 1 / 30, untaken = 1 / 10;
const backoffBaseMs = 1_000, backoffCapMs = 30_000;
/** A node that goes away sends all of its clients to the others at about the same time. */
const movedSpreadMs = 2_000;
/** After a connection that lived this long the next failure counts as the first. */
const stableMs = 10_000;
/** A client that was too slow begins its backoff here: 0 to 8 s. */
const crowdedAttempt = 3;
const requestMs = 10_000, openingMs = 15_000, getTokenMs = 30_000;
/** With `transport: "auto"` the client turns to event streams after so many WebSockets that did not work. */
const maximumSocketFailures = 2;
/** For how long a page then begins with event streams. */
const rememberedMs = 3_600_000;
/**
 * What this page knows of the way to each gateway: whether it has passed a WebSocket, until when to begin with streams.
 *
 * @type {Map<string, { passesSockets: boolean, streamsUntil: number }>}
 */
const ways = new Map();
const unknownWay = { passesSockets: false, streamsUntil: 0 };
/** The client obeys a `Retry-After` up to this: five minutes. */
const maximumRetryAfterMs = 300_000;
/** Timers take a signed 32-bit number; with a larger one they fire at once. */
const maximumTimerMs = 2 ** 31 - 1;
/** If the gateway has served this client before, a deployment may be half done: so many refusals are tried again. */
const maximumRefusals = 5;
/** From this attempt on (about 15 s) the caller hears of trouble that may never pass. */
const tellingAttempt = 5;
/** A message counts as heard if a timer that is set with it fires at most this slack too late. */
const proofMs = 1_000, proofSlackMs = 250;
/** The clocks are compared once in this stretch of time, and may differ by this slack. */
const stretchMs = 10_000, clockSlackMs = 1_000;
const maximumDetail = 200;
const maximumRooms = 2, maximumRoomBytes = 128, maximumIdentityBytes = 256;
const callbacks = ["onnotice", "onstatus", "onresume", "ongap", "onerror"];
/** `<epoch>.<ms>-<n>`: behind the dot is the id of a notice, before it what a node compares. */
const positionPattern = /^[a-z0-9]{8}\.(0|[1-9]\d{0,15})-(0|[1-9]\d{0,15})$/;
/** How a durable notice begins: its id and its room, of which `"` and `\` are escaped. */
const durableHead = /^\{"id":"(\d{1,16}-\d{1,16})","room":"((?:[^"\\]|\\["\\])*)",/;
/** C0, DEL and C1. */
const controlCharacter = /[\u0000-\u001f\u007f-\u009f]/;

/** What a client does after its connection was closed with `code`; `canAsk`: there is a `getToken`. */
export function closeRule(code, canAsk) {
  switch (code) {
    case 1001: case 4000: return { action: "retry soon" };
    case 1013: return { action: "back off" };
    // Another attempt would break the same rule again.
    case 1002: case 1007: case 1008: case 1009: return { action: "stop", reason: "protocol" };
    // If both clients insisted, their connections would close each other for ever.
    case 4001: return { action: "stop", reason: "replaced" };
    // A revoked client must not take a new token itself; the caller's backend knows whether it may return.
    case 4003: return canAsk ? { action: "new token" } : { action: "stop", reason: "revoked" };
    default: return { action: "retry" };
  }
}

/** Exponential backoff with full jitter: milliseconds to wait after `attempt` failed attempts. */
export function backoffMs(attempt, random = Math.random) {
  return random() * Math.min(backoffCapMs, backoffBaseMs * 2 ** Math.min(attempt, 16));
}

/**
 * Milliseconds that a `Retry-After` asks for, in seconds or as a date (RFC 9110 section 10.2.3), at most five
 * minutes; 0 if it asks for nothing.
 */
export function retryAfterMs(text, now = Date.now()) {
  const value = String(text ?? "").trim();
  // Date.parse accepts much that is not an HTTP date, "-5" among it.
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : / GMT$/.test(value) ? Date.parse(value) - now : 0;
  return ms > 0 ? Math.min(ms, maximumRetryAfterMs) : 0;
}

/** The different rooms of `rooms`, if a gateway takes them; otherwise a TypeError that says what is wrong. */
export function checkedRooms(rooms) {
  if (!Array.isArray(rooms)) throw new TypeError("rooms must be an array of one or two room ids");
  const different = [...new Set(rooms)];
  if (different.length < 1 || different.length > maximumRooms) {
    throw new TypeError(`rooms must name one or two rooms, not ${different.length}`);
  }
  for (const room of different) {
    checkName(room, "a room id", maximumRoomBytes);
    if (room.includes(",")) throw new TypeError("a room id must not contain a comma: commas separate rooms");
  }
  return different;
}

function checkName(name, what, maximumBytes) {
  if (typeof name !== "string") throw new TypeError(`${what} must be a string`);
  if (/[\ud800-\udfff]/u.test(name)) throw new TypeError(`${what} must not contain half of a surrogate pair`);
  const bytes = new TextEncoder().encode(name).length;
  if (bytes < 1 || bytes > maximumBytes) {
    throw new TypeError(`${what} must be 1 to ${maximumBytes} bytes of UTF-8, not ${bytes}`);
  }
  if (controlCharacter.test(name)) throw new TypeError(`${what} must not contain control characters`);
}

function checkedUrl(text) {
  let url = null;
  try {
    url = new URL(text, globalThis.location?.href);
  } catch { /* reported below */ }
  if (!url || !/^(https?|wss?):$/.test(url.protocol) || url.search || url.hash || url.username || url.password) {
    throw new TypeError("url must be the gateway's http or https address, without query, fragment or password");
  }
  // Not `href`, which keeps a `?` or `#` with nothing behind it.
  return `${url.protocol.replace("ws", "http")}//${url.host}${url.pathname.replace(/\/+$/, "")}`;
}

function checkedOptions(options) {
  if (typeof options !== "object" || options === null) throw new TypeError("connect takes an object with options");
  const { userId, deviceId, getToken, tokenIn = "query", backgroundTimer = true } = options;
  const { heartbeatTimeoutMs = standardHeartbeatMs, WebSocket = globalThis.WebSocket } = options;
  const { durable = false, positions = null, transport = "auto" } = options;
  const settings = {
    base: checkedUrl(options.url), rooms: checkedRooms(options.rooms),
    userId, deviceId, getToken, tokenIn, backgroundTimer, WebSocket, durable, transport,
    heartbeatTimeoutMs: Math.min(heartbeatTimeoutMs, maximumTimerMs),
  };
  if (getToken !== undefined && typeof getToken !== "function") throw new TypeError("getToken must be a function");
  if (userId !== undefined) checkName(userId, "userId", maximumIdentityBytes);
  if (deviceId !== undefined) checkName(deviceId, "deviceId", maximumIdentityBytes);
  const identities = [userId, deviceId].filter((identity) => identity !== undefined).length;
  if (identities !== 1 && !(getToken && identities === 0)) {
    throw new TypeError("give one of userId and deviceId, or getToken");
  }
  if (!["query", "subprotocol"].includes(tokenIn)) throw new TypeError('tokenIn must be "query" or "subprotocol"');
  if (!(Number.isFinite(heartbeatTimeoutMs) && heartbeatTimeoutMs >= 1_000)) {
    throw new TypeError("heartbeatTimeoutMs must be a number of milliseconds, at least 1000");
  }
  if (typeof backgroundTimer !== "boolean") throw new TypeError("backgroundTimer must be true or false");
  if (typeof durable !== "boolean") throw new TypeError("durable must be true or false");
  if (positions !== null && (typeof positions !== "object" || Array.isArray(positions))) {
    throw new TypeError("positions must be an object, as the client's property of that name");
  }
  if (positions !== null && !durable) throw new TypeError("positions are for clients with durable: true");
  if (!["auto", "websocket", "events"].includes(transport)) {
    throw new TypeError('transport must be "auto", "websocket" or "events"');
  }
  if (WebSocket === undefined && transport === "websocket") {
    throw new TypeError("there is no global WebSocket: give one in the options");
  }
  if (WebSocket !== undefined && typeof WebSocket !== "function") throw new TypeError("WebSocket must be a class");
  for (const name of callbacks) {
    if (typeof (options[name] ?? connect) !== "function") throw new TypeError(`${name} must be a function`);
  }
  return settings;
}

/**
 * Time and timers of one client. Browsers delay the timers of hidden pages, some by half a minute, which is too late
 * for a heartbeat, and leave those of a worker alone. So the client sets both and the first one counts: if a content
 * security policy forbids the worker, the page's own timers remain.
 */
class Clock {
  #pending = new Map();
  #lastNumber = 0;
  #worker = null;
  #passedMs = 0;
  #asleepMs = 0;
  #wallAt = Date.now();
  #steadyAt = performance.now();

  constructor(inBackground) {
    if (!inBackground || typeof document === "undefined" || typeof Worker === "undefined") return;
    const source = "onmessage = ({ data: [n, ms] }) => setTimeout(postMessage, ms, n)";
    try {
      this.#worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`);
      this.#worker.onmessage = ({ data }) => this.#fire(data);
      this.#worker.onerror = (event) => event.preventDefault();
    } catch { /* the page's own timers remain */ }
  }

  /**
   * Milliseconds that only grow. The system's clock can be set back, and the steady one may stand still while the
   * machine sleeps. The one that advanced further counts, so that neither hides time.
   */
  now() {
    const wall = Date.now(), steady = performance.now();
    const byWall = wall - this.#wallAt, bySteady = steady - this.#steadyAt;
    const passed = Math.max(byWall, bySteady, 0);
    // Not at each call, because the rounding errors of both would add up.
    if (passed < stretchMs && Math.abs(byWall - bySteady) < clockSlackMs) return this.#passedMs + passed;
    this.#passedMs += passed;
    this.#asleepMs += Math.max(byWall - bySteady, 0);
    this.#wallAt = wall;
    this.#steadyAt = steady;
    return this.#passedMs;
  }

  /** How much of `now()` the machine certainly slept: on many systems the steady clock stands still meanwhile. */
  get asleepMs() {
    this.now();
    return this.#asleepMs;
  }

  /** Calls `action` once after `ms`, unless the caller calls the returned function first. */
  after(ms, action) {
    const number = ++this.#lastNumber;
    this.#pending.set(number, { action, timer: setTimeout(() => this.#fire(number), ms) });
    this.#worker?.postMessage([number, ms]);
    return () => this.#take(number);
  }

  stop() {
    for (const number of this.#pending.keys()) this.#take(number);
    this.#worker?.terminate();
  }

  #fire(number) { this.#take(number)?.action(); }

  #take(number) {
    const entry = this.#pending.get(number);
    clearTimeout(entry?.timer);
    this.#pending.delete(number);
    return entry;
  }
}

/**
 * An event stream with the interface of a WebSocket, and `onheard`, which is called whenever anything came, with true
 * for mere comments. `onclose` also receives `answer`, if the stream was refused, and `retryMs`, if it said when to come
 * back.
 */
class EventStream {
  onopen = null; onheard = null; onmessage = null; onclose = null;
  #rest = "";
  #event = { name: "", lines: [] };
  #retryMs;
  #ending = new AbortController();

  constructor(url, headers) { this.#run(url, { Accept: "text/event-stream", ...headers }); }

  close() { this.#ending.abort(); }

  /** Nothing can be sent here. */
  send() {}

  async #run(url, headers) {
    const { signal } = this.#ending;
    /** @type {{ code: number, reason: string, answer?: Answer }} */
    let end = { code: 1006, reason: "" };
    try {
      const response = await fetch(url, { signal, headers, cache: "no-store", credentials: "omit" });
      const isStream = /^text\/event-stream *(;|$)/i.test(response.headers.get("content-type") ?? "");
      if (response.status === 200 && isStream) end = await this.#read(response);
      else end.answer = await answered(response);
    } catch { /* cut, or not reached */ }
    this.onclose?.({ ...end, retryMs: this.#retryMs });
  }

  /** Returns how it ended. */
  async #read(response) {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (let isOpen = false; ; isOpen = true) {
      const { done, value } = await reader.read();
      if (done) return { code: 1006, reason: "" };
      // Not before: a proxy may pass on the head, and keep the rest to itself.
      if (!isOpen) this.onopen?.();
      // LF, CR or CRLF ends a line; a CR at the very end may be half of a CRLF.
      const lines = (this.#rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
      this.#rest = lines.pop();
      this.onheard?.(this.#rest === "" && lines.every((line) => /^:|^$/.test(line)));
      for (const line of lines) {
        const end = line === "" ? this.#dispatch() : this.#take(line);
        if (end) {
          this.close();
          return end;
        }
      }
    }
  }

  #take(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#event.lines.push(value);
    if (name === "event") this.#event.name = value;
    if (name === "retry" && /^\d+$/.test(value)) this.#retryMs = Number(value);
    // `id` is for EventSource: the client takes positions from the notices themselves, as over a WebSocket.
  }

  /** Returns how the stream ended if this event says so. */
  #dispatch() {
    const { name, lines } = this.#event;
    this.#event = { name: "", lines: [] };
    const data = lines.join("\n");
    if (data === "") return;
    if (name === "") this.onmessage?.({ data });
    if (name === "close") return closeEvent(data);
  }
}

/** `{"code":1001,"reason":"node is going away"}`; without a code the stream was cut. */
function closeEvent(text) {
  let said = null;
  try {
    said = JSON.parse(text);
  } catch { /* cut */ }
  const { code, reason } = said ?? {};
  return { code: Number.isInteger(code) ? code : 1006, reason: typeof reason === "string" ? reason : "" };
}

class Client {
  onnotice; onstatus; onresume; ongap; onerror;
  #settings;
  #clock;
  /** @type {import("./roomcast.js").Status | "new"} */
  #status = "new";
  #counts = { notices: 0, reconnects: 0, gaps: 0, unreadable: 0, resumed: 0, lost: 0 };
  /**
   * For each room, the position behind which the next connection goes on. Null: there is none, and notices may be
   * missing. No entry: there is none yet, and nothing to miss.
   *
   * @type {Map<string, string | null>}
   */
  #positions;
  /** The positions at the handshake, until the first frame shows whether the node knows them. */
  #asked = null;
  /** For how long the client had heard no gateway when its connection opened; null: it was the first. */
  #awayMs = null;
  #token = null;
  /** Whether the gateway said that pongs, which a browser sends by itself, count as heartbeats. */
  #countsPongs = false;
  /** Pongs did not keep the last connection, whatever the gateway said: the next one sends heartbeats. */
  #mustBeat = false;
  /** Why the next token is needed, for `getToken`. */
  #tokenReason = "first";
  /** A WebSocket, or an event stream. */
  #socket = null;
  #isStream = false;
  #way;
  /** WebSockets in a row that did not work where HTTP does. */
  #socketFailures = 0;
  /** Whether a message came over the present connection, and when anything last came over the event stream. */
  #hasHeard = false;
  #streamHeardAt = 0;
  /** The longest silence that a comment of an event stream has ended: how often the gateway sends one. 0: not known. */
  #pingMs = 0;
  /** Attempts since the last good connection. */
  #attempt = 0;
  /** The number of the current step: results of an older step are void. */
  #step = 0;
  #openedAt = 0;
  /** When a heartbeat was last answered, or due and not needed: until then the connection was kept. */
  #keptAt = 0;
  /** How long the machine had slept by then. */
  #asleepMs = 0;
  /** When a heartbeat of this connection was last taken; null: the next one is needed. */
  #beatenAt = null;
  /**
   * The last moment at which this client certainly heard its gateway; null before the first connection. Never the
   * moment at which an event was handled, because the page may have been frozen or busy until then.
   */
  #heardAt = null;
  #dialedAt = 0;
  #cancelProof = null;
  /** When the page was frozen with its connection, so that messages may have waited; null: a beat was answered since. */
  #frozenAt = null;
  /** A server asked the client to stay silent until then. */
  #silentUntil = 0;
  /** Since when heartbeats of this connection get "token error". */
  #refusedAt = null;
  #isBeating = false;
  #wasOffline = false;
  /** Whether the gateway has ever served this client, and how often it has refused a token since. */
  #wasServed = false;
  #refusals = 0;
  /** Whether the caller knows about the present trouble. */
  #isTold = false;
  #cancelTimer = () => {};
  #ending = new AbortController();

  constructor(options) {
    this.#settings = checkedOptions(options);
    this.#positions = readPositions(options.positions, this.#settings.rooms);
    const { base } = this.#settings;
    this.#way = ways.get(base) ?? { ...unknownWay };
    ways.set(base, this.#way);
    this.#isStream = this.#opensStream();
    for (const name of callbacks) this[name] = options[name] ?? null;
    this.#clock = new Clock(this.#settings.backgroundTimer);
    this.#listen();
    // Later, because the caller may want to set its callbacks first.
    queueMicrotask(() => { if (this.#status === "new") this.#connect(); });
  }

  /** @returns {import("./roomcast.js").Status} */
  get status() { return this.#status === "new" ? "connecting" : this.#status; }
  /** @returns {"websocket" | "events"} */
  get transport() { return this.#isStream ? "events" : "websocket"; }
  get rooms() { return [...this.#settings.rooms]; }
  get counts() { return { ...this.#counts }; }
  get positions() { return Object.fromEntries([...this.#positions].filter(([, position]) => position !== null)); }

  close() { this.#end("closed"); }

  // MARK: The page

  #listen() {
    const { signal } = this.#ending;
    const on = (target, name, action) => target?.addEventListener?.(name, action, { signal });
    const wake = () => this.#wake();
    on(globalThis.document, "visibilitychange", () => { if (!document.hidden) this.#wake(); });
    on(globalThis.document, "freeze", () => this.#freeze());
    on(globalThis.document, "resume", wake);
    if (typeof document === "undefined") return;
    on(globalThis, "pagehide", () => this.#suspend());
    on(globalThis, "pageshow", ({ persisted }) => { if (persisted) this.#wake(); });
    on(globalThis, "offline", () => { this.#wasOffline = true; });
    on(globalThis, "online", () => this.#online());
  }

  /** The page slept, perhaps for hours. */
  #wake() {
    if (this.#clock.now() < this.#silentUntil) return;
    if (this.#status === "open") this.#beat();
    if (this.#status === "waiting") this.#connect();
  }

  /** A frozen page sends no heartbeats. If pongs count its connection stays, because the browser answers pings. */
  #freeze() {
    if (this.#status !== "open" || !this.#isKept) return this.#suspend();
    this.#frozenAt = this.#clock.now();
    this.#cancelProof?.();
    this.#cancelProof = null;
  }

  /** The page will hear nothing for a while. It closes its connection, or the gateway would wait for its heartbeats. */
  #suspend() {
    if (this.#status === "waiting" || this.#status === "closed") return;
    this.#silentUntil = 0;
    // The timer cannot fire while the page is frozen; it is for a browser that does not report the end of that.
    this.#wait(backoffCapMs, { kind: "frozen" });
  }

  /** An older connection may hang on an address that this machine no longer has, and would stay silent for ever. */
  #online() {
    const isOther = this.#wasOffline;
    this.#wasOffline = false;
    // Another network may pass WebSockets, or no longer pass them.
    if (isOther) Object.assign(this.#way, unknownWay);
    if (this.#status === "open" && isOther) return this.#connect();
    this.#wake();
  }

  // MARK: Connecting

  async #connect() {
    const step = this.#begin();
    this.#tell("connecting");
    if (step !== this.#step) return;
    if (this.#token === null) {
      const { token, reason, waitMs } = await this.#takeToken();
      if (step !== this.#step) return;
      if (!token) return this.#fail(reason, waitMs);
      this.#token = token;
      this.#tokenReason = "token error";
    }
    this.#open();
  }

  /**
   * Ends the client if there will be no token.
   *
   * @returns {Promise<Partial<Answer & {token: string}>>} without a token, the reason.
   */
  async #takeToken() {
    const { getToken, userId, deviceId } = this.#settings;
    if (getToken) return this.#askCaller(getToken);
    const identity = userId !== undefined ? { isLogin: "true", userId } : { isLogin: "false", deviceId };
    const step = this.#step;
    const answer = await this.#request("get/token", identity);
    if (step !== this.#step) return answer;
    if (isTaken(answer) && isToken(answer.data)) {
      this.#countsPongs = answer.countsPongs;
      this.#wasServed = true;
      this.#refusals = 0;
      return { token: answer.data };
    }
    if (isRefusal(answer) && (!this.#wasServed || ++this.#refusals > maximumRefusals)) {
      const { status, data, reason } = answer;
      this.#report(failure(`no token for this client: ${status} ${data}`, reason));
      this.#end("refused");
    }
    return answer;
  }

  /** @returns {Promise<Partial<Answer & {token: string}>>} */
  async #askCaller(getToken) {
    const { rooms, userId, deviceId } = this.#settings;
    const request = { reason: this.#tokenReason, rooms: [...rooms], userId, deviceId, signal: this.#ending.signal };
    const step = this.#step;
    let cancel = () => {};
    /** @type {Promise<never>} */
    const late = new Promise((_, reject) => {
      cancel = this.#clock.after(getTokenMs, () => reject(failure("getToken did not answer within 30 s")));
    });
    try {
      const token = await Promise.race([late, getToken(request)]);
      if (token === null && step === this.#step) this.#end("no token");
      if (token === null || isToken(token)) return { token: token ?? undefined };
      throw new TypeError("Roomcast: getToken must return a token (letters, digits, - and _) or null");
    } catch (error) {
      if (step === this.#step) this.#report(error);
      return { reason: { kind: "getToken", detail: "getToken returned no token: onerror has the reason" } };
    } finally {
      cancel();
    }
  }

  #open() {
    const { rooms, tokenIn, durable } = this.#settings;
    this.#isStream = this.#opensStream();
    const socket = this.#dial({
      ...(tokenIn === "query" && { token: this.#token }), roomIds: rooms.join(","),
      ...(durable && { since: rooms.map((room) => this.#positions.get(room) ?? "").join(",") }),
    });
    if (!socket) {
      this.#report(failure("cannot open a WebSocket here (a page over https needs an https url)"));
      return this.#end("refused");
    }
    this.#socket = socket;
    this.#asked = durable ? new Map(this.#positions) : null;
    this.#dialedAt = this.#clock.now();
    this.#cancelTimer = this.#clock.after(openingMs, () => this.#unopened());
    socket.onopen = () => this.#opened();
    socket.onheard = (isComment) => this.#heard(isComment);
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = (end) => (this.#status === "open" ? this.#closed(end) : this.#unopened(end.answer));
    // Node.js 22 reports a refused handshake by this event alone; elsewhere a close event follows and says the same.
    socket.onerror = () => { if (this.#socket === socket && this.#status !== "open") this.#unopened(); };
  }

  /** A connection that has yet to open; null if none can. */
  #dial(query) {
    const { base, tokenIn, WebSocket } = this.#settings;
    if (this.#isStream) return new EventStream(target(base, "events", query), this.#credentials());
    const subprotocols = tokenIn === "query" ? [] : ["roomcast", `token.${this.#token}`];
    try {
      return new WebSocket(target(base, "ws", query).replace(/^http/, "ws"), subprotocols);
    } catch {
      // The platform's own error quotes the URL, and with it the token.
      return null;
    }
  }

  #credentials() {
    return this.#settings.tokenIn === "query" ? {} : { Authorization: `Bearer ${this.#token}` };
  }

  // MARK: Transports

  #opensStream() {
    const { transport, WebSocket } = this.#settings;
    if (transport !== "auto") return transport === "events";
    const isRemembered = Date.now() < this.#way.streamsUntil;
    return WebSocket === undefined || isRemembered || this.#socketFailures >= maximumSocketFailures;
  }

  #socketWorked() {
    this.#socketFailures = 0;
    this.#way.passesSockets = true;
  }

  /** The present transport does not open, and HTTP works: with `auto` the other one may. */
  #transportFailed() {
    if (this.#isStream) this.#way.streamsUntil = 0;
    this.#socketFailures = this.#isStream ? maximumSocketFailures - 1 : this.#socketFailures + 1;
  }

  /**
   * WebSockets have failed. The next clients of the page need not find out themselves, unless one has worked before:
   * then a node was perhaps full. From now on one more failure is enough.
   */
  #streamOpened() {
    const { transport, WebSocket } = this.#settings;
    const isNews = transport === "auto" && WebSocket && !this.#way.passesSockets;
    if (isNews) this.#way.streamsUntil = Date.now() + rememberedMs;
    this.#socketFailures = maximumSocketFailures - 1;
  }

  /**
   * A browser hides why a WebSocket's handshake was refused. A heartbeat shows whether the token is the reason, and
   * whether HTTP works. `refusal`: the answer to an event stream, which says all of it if it is the gateway's own.
   */
  async #unopened(refusal) {
    const step = this.#begin();
    const isKnown = refusal?.isGateways;
    const answer = isKnown ? refusal : await this.#sendBeat();
    if (step !== this.#step) return;
    if (isTokenError(answer)) this.#token = null;
    // 404: an older gateway, which has no event streams.
    else if (isKnown ? answer.status === 404 : isTaken(answer)) this.#transportFailed();
    // It may have refused the WebSockets for the same reason.
    else if (isKnown) this.#socketFailures = maximumSocketFailures - 1;
    const waitMs = Math.max(answer.waitMs, refusal?.waitMs ?? 0);
    if (refusal) return this.#fail(refusal.reason, waitMs);
    const detail = this.#isStream ? streamDetail : handshakeDetail;
    this.#fail(isTaken(answer) ? { kind: "handshake", detail } : answer.reason, waitMs);
  }

  #opened() {
    const now = this.#clock.now();
    const socket = this.#socket;
    const heardAt = this.#heardAt;
    this.#openedAt = this.#streamHeardAt = now;
    this.#kept(now);
    this.#beatenAt = null;
    // The 101 left after the request did. Only a page that was not frozen meanwhile would know when it arrived.
    this.#heardAt = this.#dialedAt;
    this.#refusedAt = null;
    this.#isBeating = this.#wasOffline = this.#isTold = this.#hasHeard = false;
    this.#frozenAt = null;
    if (this.#isStream) this.#streamOpened();
    this.#wasServed = true;
    this.#scheduleBeat();
    if (heardAt !== null) this.#counts.reconnects += 1;
    this.#awayMs = heardAt === null ? null : Math.ceil(now - heardAt);
    // From now on notices are missing in each room in which the next connection does not begin at a position.
    for (const room of this.rooms) this.#positions.set(room, this.#positions.get(room) ?? null);
    this.#tell("open");
    if (this.#settings.durable || this.#awayMs === null || socket !== this.#socket) return;
    this.#tellGap({ rooms: this.rooms, ms: this.#awayMs, source: "reconnect" });
  }

  /** Ends the previous step and begins another one. */
  #begin() {
    this.#cancelTimer();
    this.#cancelProof?.();
    this.#cancelProof = null;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onheard = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    return ++this.#step;
  }

  /** An attempt or a connection has failed; a server may have asked the client to wait. */
  #fail(reason, waitMs = 0) {
    const delay = backoffMs(this.#attempt++);
    if (this.#attempt >= tellingAttempt && !this.#isTold && mayStay(reason, this.#wasServed)) {
      const step = this.#step;
      this.#isTold = true;
      this.#report(failure(`still no connection: ${describe(reason)}`, reason));
      if (step !== this.#step) return;
    }
    this.#silentUntil = this.#clock.now() + waitMs;
    this.#wait(waitMs + delay, reason);
  }

  #wait(ms, reason, code) {
    this.#begin();
    const isOffline = globalThis.navigator?.onLine === false;
    // The event `online` ends the wait; the time is for machines that the browser wrongly reports as offline.
    const retryInMs = Math.round(isOffline ? Math.max(backoffCapMs, ms) : ms);
    this.#cancelTimer = this.#clock.after(retryInMs, () => this.#connect());
    this.#tell("waiting", { retryInMs, ...(code && { code }), reason: isOffline ? { kind: "offline" } : reason });
  }

  #closed({ code, reason: text, retryMs = 0 }) {
    const now = this.#clock.now();
    const isStable = now - this.#openedAt >= stableMs;
    if (isStable) this.#attempt = 0;
    // Some proxies agree to an upgrade and pass nothing on.
    if (!this.#isStream && code === 1006 && !isStable && !this.#hasHeard) this.#socketFailures += 1;
    else if (!this.#isStream) this.#socketWorked();
    // The page was awake all the time, so its browser did answer.
    this.#mustBeat = code === 4000 && now - this.#keptAt <= this.#settings.heartbeatTimeoutMs;
    const { action, reason: ending } = closeRule(code, Boolean(this.#settings.getToken));
    // The next token may be another user's.
    if (code === 4003) this.#dropPositions();
    const reason = { kind: "close", code, ...(text && { detail: shortened(text) }) };
    if (action === "stop") {
      this.#report(failure(`the connection was closed for good, ${ending}: ${describe(reason)}`, reason));
      return this.#end(ending, code);
    }
    if (action === "new token") {
      this.#token = null;
      this.#tokenReason = "revoked";
    }
    const isFirst = this.#attempt === 0;
    if (action === "back off") this.#attempt = Math.max(this.#attempt, crowdedAttempt);
    const delay = backoffMs(this.#attempt++);
    // A node that goes away spreads its event streams itself.
    const spread = code === 1001 && retryMs ? Math.min(retryMs, backoffCapMs) : Math.random() * movedSpreadMs;
    this.#wait(action === "retry soon" && isFirst ? spread : delay, reason, code);
  }

  #end(reason, code) {
    if (this.#status === "closed") return;
    this.#begin();
    this.#ending.abort();
    this.#clock.stop();
    this.#token = null;
    this.#tell("closed", { reason, ...(code && { code }) });
  }

  // MARK: Heartbeats

  /** Whether the browser's pongs keep the present connection. They come from WebSockets only. */
  get #isKept() { return this.#countsPongs && !this.#mustBeat && !this.#isStream; }

  #kept(now) {
    this.#keptAt = now;
    this.#asleepMs = this.#clock.asleepMs;
  }

  /**
   * It is time for a heartbeat. The first one of a connection shows in which mode the gateway is. Where pongs count,
   * others are needed only now and then, and when the page or the machine may have slept.
   */
  #tick() {
    const now = this.#clock.now();
    const isRecent = this.#beatenAt !== null && now - this.#beatenAt < checkMs;
    if (!this.#isKept || !isRecent || now - this.#keptAt > this.#settings.heartbeatTimeoutMs) return this.#beat();
    this.#kept(now);
    this.#scheduleBeat();
  }

  #scheduleBeat(earliest = earliestBeat, latest = latestBeat, waitMs = 0) {
    const { heartbeatTimeoutMs } = this.#settings;
    const ms = heartbeatTimeoutMs * (earliest + Math.random() * (latest - earliest));
    const asked = waitMs && Math.min(waitMs, heartbeatTimeoutMs) + Math.random() * backoffBaseMs;
    this.#silentUntil = this.#clock.now() + asked;
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(Math.max(ms, asked), () => this.#tick());
  }

  async #beat() {
    if (this.#isBeating) return;
    this.#isBeating = true;
    this.#cancelTimer();
    const { heartbeatTimeoutMs } = this.#settings;
    const step = this.#step;
    const sentAt = this.#clock.now();
    this.#beatenAt = null;
    // The gateway drops it. Proxies on the path see traffic, and a dead connection ends.
    this.#socket.send("");
    const answer = await this.#sendBeat();
    if (step !== this.#step) return;
    this.#isBeating = false;
    const now = this.#clock.now();
    // We slept: the gateway has closed the connection meanwhile, even if its Close frame was lost. Pongs also come from
    // frozen pages; not from machines that sleep.
    const isStale = heartbeatTimeoutMs < (this.#isKept
      ? this.#clock.asleepMs - this.#asleepMs : Math.max(sentAt - this.#keptAt, now - sentAt));
    if (isTokenError(answer)) return this.#refused(isStale);
    if (!isOfTheWay(answer)) {
      if (now - this.#keptAt > heartbeatTimeoutMs + verdictSlackMs) return this.#fail(answer.reason);
      return this.#scheduleBeat(unanswered, 3 * unanswered);
    }
    if (!isStale || isTaken(answer)) this.#kept(now);
    // 503: Redis is unavailable. The connection stays, and its time starts anew when Redis is back.
    if (!isTaken(answer)) return this.#scheduleBeat(untaken, 3 * untaken, answer.waitMs);
    this.#refusedAt = null;
    if (sentAt > this.#frozenAt) this.#frozenAt = null;
    this.#beatenAt = now;
    this.#countsPongs = answer.countsPongs;
    if (isStale) return this.#connect();
    if (this.#isSilent(now)) return this.#closed({ code: 1006, reason: "the event stream was silent" });
    this.#heardAt = Math.max(this.#heardAt, sentAt);
    this.#scheduleBeat();
    // The first frame would have come with the 101.
    if (this.#asked) this.#foundOldNode();
  }

  /**
   * Whether an event stream has missed a comment and the next one. TCP notices nothing: the client sends nothing. The
   * next stream may be another node's, with other comments.
   */
  #isSilent(now) {
    const isSilent = this.#isStream && this.#pingMs > 0 && now - this.#streamHeardAt > 2 * this.#pingMs + verdictSlackMs;
    if (isSilent) this.#pingMs = 0;
    return isSilent;
  }

  /**
   * The token is unknown. If heartbeats were in time it cannot have expired: either it was revoked, or Redis has lost
   * its data. The node knows which, and closes with 4003 or writes the token again; so the client waits for that.
   */
  #refused(isStale) {
    const now = this.#clock.now();
    this.#refusedAt ??= now;
    const isOver = now - this.#refusedAt > this.#settings.heartbeatTimeoutMs + verdictSlackMs;
    this.#kept(now);
    if (!isStale && !isOver) return this.#scheduleBeat(untaken, 3 * untaken);
    this.#token = null;
    this.#connect();
  }

  #sendBeat() {
    const isInQuery = this.#settings.tokenIn === "query";
    return this.#request("heartbeat", isInQuery ? { token: this.#token } : null, this.#credentials());
  }

  /** @returns {Promise<Answer>} */
  async #request(path, query, headers = {}) {
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    let isLate = false;
    const cancel = this.#clock.after(requestMs, () => { isLate = true; abort(); });
    this.#ending.signal.addEventListener("abort", abort);
    try {
      const url = target(this.#settings.base, path, query);
      const { signal } = attempt;
      return await answered(await fetch(url, { signal, headers, cache: "no-store", credentials: "omit" }));
    } catch (error) {
      /** @type {import("./roomcast.js").WaitReason} */
      const reason = isLate
        ? { kind: "timeout", detail: "no answer in 10 s" }
        : { kind: "network", detail: shortened(String(error?.cause?.code ?? networkDetail)) };
      return { status: 0, isGateways: false, waitMs: 0, countsPongs: false, reason };
    } finally {
      cancel();
      this.#ending.signal.removeEventListener("abort", abort);
    }
  }

  // MARK: Callbacks

  /**
   * A message may have waited here while the page was busy or frozen, and the end of the connection behind it. If the
   * connection still stands a second later and no timer was late, the message was handled when it arrived.
   */
  #prove() {
    if (this.#cancelProof || this.#frozenAt !== null) return;
    const came = this.#clock.now();
    if (came - this.#keptAt > this.#settings.heartbeatTimeoutMs) return;
    this.#cancelProof = this.#clock.after(proofMs, () => {
      this.#cancelProof = null;
      const isPrompt = this.#clock.now() - came <= proofMs + proofSlackMs;
      if (isPrompt) this.#heardAt = Math.max(this.#heardAt, came);
    });
  }

  /** Something came over an event stream. */
  #heard(isComment) {
    const now = this.#clock.now();
    if (isComment) this.#pingMs = Math.max(this.#pingMs, now - this.#streamHeardAt);
    this.#streamHeardAt = now;
    this.#prove();
  }

  #received(text) {
    if (!this.#isStream && !this.#hasHeard) this.#socketWorked();
    this.#hasHeard = true;
    this.#prove();
    let notice;
    try {
      notice = JSON.parse(text);
    } catch {
      this.#counts.unreadable += 1;
      return this.#report(failure("a frame is not JSON"));
    }
    if (this.#settings.durable) {
      if (isResume(notice)) return this.#resumed(notice.data.rooms);
      const socket = this.#socket;
      if (this.#asked) this.#foundOldNode();
      if (socket !== this.#socket || !this.#advance(text)) return;
    }
    if (isGap(notice)) return this.#tellGap({ rooms: notice.data.rooms, ms: notice.data.ms, source: "server" });
    this.#counts.notices += 1;
    this.#call("onnotice", notice);
  }

  // MARK: Positions

  #resumed(entries) {
    const socket = this.#socket;
    const before = this.#asked ?? new Map(this.#positions);
    const isFirst = this.#asked !== null;
    this.#asked = null;
    const rooms = entries.map(({ room, since, lost }) => {
      // The node cannot know of a position that it was not given.
      const isDropped = isFirst && before.get(room) === null;
      if (this.#positions.has(room)) this.#positions.set(room, since);
      return { room, since, lost: lost || isDropped };
    });
    const lost = rooms.filter((entry) => entry.lost).map(({ room }) => room);
    const wentOn = isFirst && lost.length === 0 && [...before.values()].some((position) => position !== null);
    if (wentOn) this.#counts.resumed += 1;
    this.#call("onresume", { rooms });
    if (socket === this.#socket) this.#tellLoss(lost, before, isFirst);
  }

  /** No `resume` came first: this node ignores positions, and sends live notices only. */
  #foundOldNode() {
    const before = this.#asked;
    this.#asked = null;
    this.#dropPositions();
    this.#tellLoss([...before.keys()], before, true);
  }

  #dropPositions() {
    for (const room of this.#positions.keys()) this.#positions.set(room, null);
  }

  /**
   * Before the application has the notice, so that it finds this position when it stores what the notice caused. False
   * if the notice came before.
   */
  #advance(text) {
    const [, id, escapedRoom] = durableHead.exec(text) ?? [];
    if (!id) return true;
    const room = escapedRoom.replace(/\\(["\\])/g, "$1");
    const [epoch, last] = this.#positions.get(room)?.split(".") ?? [];
    const position = `${epoch}.${id}`;
    // Another publisher's frame may look like this, and a gateway would refuse its position for ever.
    if (!isPosition(position)) return true;
    if (!isBehind(id, last)) return false;
    this.#positions.set(room, position);
    return true;
  }

  /**
   * What is missing in a room is newer than its position. A node may have been cut off from Redis while it answered, so
   * the time without a gateway alone would be too short.
   */
  #tellLoss(rooms, before, isFirst) {
    if (rooms.length === 0) return;
    const awayMs = isFirst ? this.#awayMs : 0;
    const ages = rooms.map((room) => {
      const position = before.get(room);
      return position || awayMs === null ? Date.now() - positionTime(position) : 0;
    });
    this.#counts.lost += 1;
    this.#tellGap({ rooms, ms: Math.max(awayMs ?? 0, ...ages), source: "resume" });
  }

  #tellGap(gap) {
    this.#counts.gaps += 1;
    this.#call("ongap", gap);
  }

  #tell(status, detail = {}) {
    const previous = this.status;
    this.#status = status;
    this.#call("onstatus", { status, previous, ...detail });
  }

  /** An error that a callback throws, now or later, is reported and goes no further. */
  #call(name, argument) {
    try {
      const result = this[name]?.(argument);
      if (typeof result?.then === "function") result.then(undefined, (error) => this.#report(error));
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error) {
    try {
      if (!this.onerror) return console.error(error);
      const result = this.onerror(error);
      if (typeof result?.then === "function") result.then(undefined, (failure) => console.error(failure));
    } catch (failure) {
      console.error(failure);
    }
  }
}

function target(base, path, query) {
  return `${base}/${path}${query ? `?${new URLSearchParams(query)}` : ""}`;
}

/** @returns {token is string} */
function isToken(token) {
  return typeof token === "string" && /^[\w-]{1,512}$/.test(token);
}

/**
 * An HTTP answer, or none (status 0). `isGateways`: it has the form of the API's answers; any other comes from
 * something in front of the gateway. `reason`: how to report it if it is a failure. `waitMs`: the wait that it asks for.
 * `countsPongs`: pongs count as heartbeats.
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {boolean} isGateways
 * @property {unknown} [data]
 * @property {import("./roomcast.js").WaitReason} reason
 * @property {number} waitMs
 * @property {boolean} countsPongs
 */

/**
 * An ingress, a portal or a firewall in front of the gateway speaks HTTP, too.
 *
 * @returns {Promise<Answer>}
 */
async function answered(response) {
  const { status, headers } = response;
  const isJson = /^application\/json *(;|$)/i.test(headers.get("content-type") ?? "");
  // The page of an ingress may be long, and nothing reads it.
  if (!isJson) response.body?.cancel().catch(() => {});
  const body = isJson ? await response.json().catch(() => null) : null;
  const isGateways = typeof body === "object" && body !== null && (status === 200 || typeof body.data === "string");
  const said = isGateways ? headers.get("roomcast-detail") ?? body.data ?? "not expected" : "not the gateway's answer";
  return {
    status, isGateways, data: isGateways ? body.data : undefined,
    reason: { kind: "status", status, detail: shortened(String(said)) },
    waitMs: status === 429 || status === 503 ? retryAfterMs(headers.get("retry-after")) : 0,
    countsPongs: headers.get("roomcast-heartbeat") === "pong",
  };
}

function isTaken({ isGateways, status }) {
  return isGateways && status === 200;
}

function isTokenError(answer) {
  return answer.isGateways && answer.status === 500 && String(answer.data).toLowerCase() === "token error";
}

/** Whether the gateway itself would give the same answer again. */
function isRefusal({ isGateways, status }) {
  return isGateways && status >= 400 && status < 500 && ![408, 429].includes(status);
}

/** Whether a heartbeat's answer shows that the gateway is reachable; the page of a portal does not (511: RFC 6585). */
function isOfTheWay({ isGateways, status }) {
  return isGateways || status === 429 || (status >= 500 && status !== 511);
}

/** Whether lasting trouble is of a kind that may never pass; an outage passes. */
function mayStay({ kind, status }, wasServed) {
  switch (kind) {
    case "handshake": return true;
    case "status": return status < 500 && status !== 429;
    case "network": case "timeout": return !wasServed;
    default: return false;
  }
}

const networkDetail = "no answer: the network is down, the gateway does not allow this origin, or a policy of the page "
  + "forbids the request; the browser does not say which";
const handshakeDetail = "the gateway answers and the WebSocket does not open: the origin or a room is not allowed, "
  + "a proxy does not pass on the upgrade, the node is full, or it cannot read the history of durable rooms";
const streamDetail = "the gateway answers and the event stream does not begin: something on the way holds it back";

function describe(reason) {
  const { kind, status, code, detail } = reason;
  return [kind === "status" ? status : kind === "close" ? code : kind, detail].filter(Boolean).join(", ");
}

/** An error of this module. */
function failure(message, reason) {
  return Object.assign(new Error(`Roomcast: ${message}`), reason && { reason });
}

function shortened(text) {
  return text.slice(0, maximumDetail);
}

/** Whether it is the gateway's own frame, `{"type":"gap","data":{"rooms":["a"],"ms":1234}}` and nothing else. */
function isGap(notice) {
  const { type, data } = notice ?? {};
  return type === "gap" && Array.isArray(data?.rooms) && Number.isFinite(data.ms) && Object.keys(data).length === 2;
}

/**
 * Whether it is the node's own frame, and nothing else:
 * `{"type":"resume","data":{"rooms":[{"room":"a","since":"k3f9x2ab.1795969278590-57","lost":false}]}}`
 */
function isResume(notice) {
  return hasOnly(notice, "type", "data") && notice.type === "resume" && hasOnly(notice.data, "rooms")
    && Array.isArray(notice.data.rooms) && notice.data.rooms.length > 0
    && notice.data.rooms.every((entry) => hasOnly(entry, "room", "since", "lost")
      && typeof entry.room === "string" && isPosition(entry.since) && typeof entry.lost === "boolean");
}

function hasOnly(value, ...names) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.keys(value).length === names.length && names.every((name) => name in value);
}

function isPosition(value) {
  return typeof value === "string" && positionPattern.test(value);
}

/** Whether the notice `id` (`<ms>-<n>`) comes after the one of `last`. A number would not hold 16 digits. */
function isBehind(id, last) {
  const [[ms, n], [lastMs, lastN]] = [id, last].map((text) => text.split("-").map((digits) => digits.padStart(16, "0")));
  return ms > lastMs || (ms === lastMs && n > lastN);
}

/** Milliseconds since 1970 at which a position's notice was stored; 0 without a position. */
function positionTime(position) {
  return Number(positionPattern.exec(position ?? "")?.[1] ?? 0);
}

/** The stored positions of `rooms`. A damaged one counts as lost, because a gateway would refuse it again and again. */
function readPositions(stored, rooms) {
  const entries = Object.entries(stored ?? {}).filter(([room]) => rooms.includes(room));
  return new Map(entries.map(([room, position]) => [room, isPosition(position) ? position : null]));
}

/**
 * Connects to a Roomcast gateway and stays connected until `close()`. The types describe options and callbacks.
 *
 * @param {import("./roomcast.js").ConnectOptions} options
 * @returns {import("./roomcast.js").Client}
 */
export function connect(options) {
  return new Client(options);
}
