// Roomcast's client: takes a token, opens a WebSocket for one or two rooms, sends heartbeats, and stays connected. With
// `durable` each connection goes on behind the last notice of the one before.
// No dependency. Runs in every current browser, and in any other place where fetch and WebSocket are global.

/** How long the gateway waits for a heartbeat by default (its `--heartbeat-timeout`). */
const standardHeartbeatMs = 30_000;
/** A heartbeat follows after 71 to 83 % of that time: 21 to 25 s, which leaves time for a second attempt. */
const earliestBeat = 0.71, latestBeat = 0.83;
/** The gateway closes up to 2 s late; the rest is for the network. */
const verdictSlackMs = 5_000;
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
  const { durable = false, positions = null } = options;
  const settings = {
    base: checkedUrl(options.url), rooms: checkedRooms(options.rooms),
    userId, deviceId, getToken, tokenIn, backgroundTimer, WebSocket, durable,
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
  if (typeof WebSocket !== "function") throw new TypeError("there is no global WebSocket: give one in the options");
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
    this.#wallAt = wall;
    this.#steadyAt = steady;
    return this.#passedMs;
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
  /** Why the next token is needed, for `getToken`. */
  #tokenReason = "first";
  #socket = null;
  /** Attempts since the last good connection. */
  #attempt = 0;
  /** The number of the current step: results of an older step are void. */
  #step = 0;
  #openedAt = 0;
  /** When a heartbeat was last answered: the gateway was reachable then. */
  #answeredAt = 0;
  /**
   * The last moment at which this client certainly heard its gateway; null before the first connection. Never the
   * moment at which an event was handled, because the page may have been frozen or busy until then.
   */
  #heardAt = null;
  #dialedAt = 0;
  #cancelProof = null;
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
    for (const name of callbacks) this[name] = options[name] ?? null;
    this.#clock = new Clock(this.#settings.backgroundTimer);
    this.#listen();
    // Later, because the caller may want to set its callbacks first.
    queueMicrotask(() => { if (this.#status === "new") this.#connect(); });
  }

  /** @returns {import("./roomcast.js").Status} */
  get status() { return this.#status === "new" ? "connecting" : this.#status; }
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
    on(globalThis.document, "freeze", () => this.#suspend());
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
    if (answer.isGateways && answer.status === 200 && isToken(answer.data)) {
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
    const { base, rooms, tokenIn, durable, WebSocket } = this.#settings;
    const isInQuery = tokenIn === "query";
    const url = target(base, "ws", {
      ...(isInQuery && { token: this.#token }), roomIds: rooms.join(","),
      ...(durable && { since: rooms.map((room) => this.#positions.get(room) ?? "").join(",") }),
    });
    let socket;
    try {
      socket = new WebSocket(url.replace(/^http/, "ws"), isInQuery ? [] : ["roomcast", `token.${this.#token}`]);
    } catch {
      // The platform's own error quotes the URL, and with it the token.
      this.#report(failure("cannot open a WebSocket here (a page over https needs an https url)"));
      return this.#end("refused");
    }
    this.#socket = socket;
    this.#asked = durable ? new Map(this.#positions) : null;
    this.#dialedAt = this.#clock.now();
    this.#cancelTimer = this.#clock.after(openingMs, () => this.#unopened());
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code, reason }) => (this.#status === "open" ? this.#closed(code, reason) : this.#unopened());
    // A close event follows and says the same.
    socket.onerror = () => {};
  }

  /** A browser hides why a handshake was refused. A heartbeat shows whether the token is the reason. */
  async #unopened() {
    const step = this.#begin();
    const answer = await this.#sendBeat();
    if (step !== this.#step) return;
    if (isTokenError(answer)) this.#token = null;
    const isRefused = answer.isGateways && answer.status === 200;
    this.#fail(isRefused ? { kind: "handshake", detail: handshakeDetail } : answer.reason, answer.waitMs);
  }

  #opened() {
    const now = this.#clock.now();
    const socket = this.#socket;
    const heardAt = this.#heardAt;
    this.#openedAt = this.#answeredAt = now;
    // The 101 left after the request did. Only a page that was not frozen meanwhile would know when it arrived.
    this.#heardAt = this.#dialedAt;
    this.#refusedAt = null;
    this.#isBeating = this.#wasOffline = this.#isTold = false;
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
      socket.onopen = socket.onmessage = socket.onclose = null;
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

  #closed(code, text) {
    if (this.#clock.now() - this.#openedAt >= stableMs) this.#attempt = 0;
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
    this.#wait(action === "retry soon" && isFirst ? Math.random() * movedSpreadMs : delay, reason, code);
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

  #scheduleBeat(earliest = earliestBeat, latest = latestBeat, waitMs = 0) {
    const { heartbeatTimeoutMs } = this.#settings;
    const ms = heartbeatTimeoutMs * (earliest + Math.random() * (latest - earliest));
    const asked = waitMs && Math.min(waitMs, heartbeatTimeoutMs) + Math.random() * backoffBaseMs;
    this.#silentUntil = this.#clock.now() + asked;
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(Math.max(ms, asked), () => this.#beat());
  }

  async #beat() {
    if (this.#isBeating) return;
    this.#isBeating = true;
    this.#cancelTimer();
    const { heartbeatTimeoutMs } = this.#settings;
    const step = this.#step;
    const sentAt = this.#clock.now();
    // The gateway drops it. Proxies on the path see traffic, and a dead connection ends.
    this.#socket.send("");
    const answer = await this.#sendBeat();
    if (step !== this.#step) return;
    this.#isBeating = false;
    const now = this.#clock.now();
    // We slept: the gateway has closed the connection meanwhile, even if its Close frame was lost.
    const isStale = Math.max(sentAt - this.#answeredAt, now - sentAt) > heartbeatTimeoutMs;
    if (isTokenError(answer)) return this.#refused(isStale);
    if (!isOfTheWay(answer)) {
      if (now - this.#answeredAt > heartbeatTimeoutMs + verdictSlackMs) return this.#fail(answer.reason);
      return this.#scheduleBeat(unanswered, 3 * unanswered);
    }
    const isTaken = answer.isGateways && answer.status === 200;
    if (!isStale || isTaken) this.#answeredAt = now;
    // 503: Redis is unavailable. The connection stays, and its time starts anew when Redis is back.
    if (!isTaken) return this.#scheduleBeat(untaken, 3 * untaken, answer.waitMs);
    this.#refusedAt = null;
    if (isStale) return this.#connect();
    this.#heardAt = Math.max(this.#heardAt, sentAt);
    this.#scheduleBeat();
    // The first frame would have come with the 101.
    if (this.#asked) this.#foundOldNode();
  }

  /**
   * The token is unknown. If heartbeats were in time it cannot have expired: either it was revoked, or Redis has lost
   * its data. The node knows which, and closes with 4003 or writes the token again; so the client waits for that.
   */
  #refused(isStale) {
    const now = this.#clock.now();
    this.#refusedAt ??= now;
    const isOver = now - this.#refusedAt > this.#settings.heartbeatTimeoutMs + verdictSlackMs;
    this.#answeredAt = now;
    if (!isStale && !isOver) return this.#scheduleBeat(untaken, 3 * untaken);
    this.#token = null;
    this.#connect();
  }

  #sendBeat() {
    const token = this.#token;
    if (this.#settings.tokenIn === "query") return this.#request("heartbeat", { token });
    return this.#request("heartbeat", null, { Authorization: `Bearer ${token}` });
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
      return { status: 0, isGateways: false, waitMs: 0, reason };
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
    if (this.#cancelProof) return;
    const came = this.#clock.now();
    this.#cancelProof = this.#clock.after(proofMs, () => {
      this.#cancelProof = null;
      const isPrompt = this.#clock.now() - came <= proofMs + proofSlackMs;
      if (isPrompt) this.#heardAt = Math.max(this.#heardAt, came);
    });
  }

  #received(text) {
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
      if (socket !== this.#socket) return;
      this.#advance(text);
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

  /** Before the application has the notice, so that it finds this position when it stores what the notice caused. */
  #advance(text) {
    const [, id, escapedRoom] = durableHead.exec(text) ?? [];
    if (!id) return;
    const room = escapedRoom.replace(/\\(["\\])/g, "$1");
    const position = `${this.#positions.get(room)?.split(".")[0]}.${id}`;
    // Another publisher's frame may look like this, and a gateway would refuse its position for ever.
    if (isPosition(position)) this.#positions.set(room, position);
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
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {boolean} isGateways
 * @property {unknown} [data]
 * @property {import("./roomcast.js").WaitReason} reason
 * @property {number} waitMs
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
  };
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
