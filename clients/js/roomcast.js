// Roomcast's client: takes a token, opens a WebSocket for one or two rooms, beats, and stays connected.
// No dependency. Runs in every current browser, and in any other place where fetch and WebSocket are global.

/** How long the gateway waits for a heartbeat unless it is told otherwise (its `--heartbeat-timeout`). */
const standardHeartbeatMs = 30_000;
/** A beat comes after 71 to 83 % of that time: 21 to 25 s, with time left for a second attempt. */
const earliestBeat = 0.71, latestBeat = 0.83;
/** The gateway cuts up to 2 s late; the rest is the way. */
const verdictSlackMs = 5_000;
/** Shares of it again: what nobody answered is repeated after 1 to 3 s, what was not taken after 3 to 9 s. */
const unanswered = 1 / 30, untaken = 1 / 10;
const backoffBaseMs = 1_000, backoffCapMs = 30_000;
/** A node that goes away sends all of its clients to the others at about the same time. */
const movedSpreadMs = 2_000;
/** A connection that lived this long was good: the next failure is a first one. */
const stableMs = 10_000;
/** Who was too slow begins to back off here: 0 to 8 s. */
const crowdedAttempt = 3;
const requestMs = 10_000, openingMs = 15_000, getTokenMs = 30_000;
const maximumRooms = 2, maximumRoomBytes = 128, maximumIdentityBytes = 256;
const callbacks = ["onnotice", "onstatus", "ongap", "onerror"];
/** C0, DEL and C1. */
const controlCharacter = /[\u0000-\u001f\u007f-\u009f]/;

/** What a client does after its connection was closed with `code`; `canAsk`: there is a `getToken`. */
export function closeRule(code, canAsk) {
  switch (code) {
    case 1001: case 4000: return { action: "retry soon" };
    case 1013: return { action: "back off" };
    // Trying again would break the same rule again.
    case 1002: case 1007: case 1009: return { action: "stop", reason: "protocol" };
    // Whoever fights for the token makes two connections close each other for ever.
    case 4001: return { action: "stop", reason: "replaced" };
    // Who was sent away does not let himself in again; whether he may come back the caller's backend knows.
    case 4003: return canAsk ? { action: "new token" } : { action: "stop", reason: "revoked" };
    default: return { action: "retry" };
  }
}

/** Exponential backoff with full jitter: milliseconds to wait after `attempt` others have failed. */
export function backoffMs(attempt, random = Math.random) {
  return random() * Math.min(backoffCapMs, backoffBaseMs * 2 ** Math.min(attempt, 16));
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
    if (room.includes(",")) throw new TypeError("a room id must have no comma: it separates rooms");
  }
  return different;
}

function checkName(name, what, maximumBytes) {
  if (typeof name !== "string") throw new TypeError(`${what} must be a string`);
  if (/[\ud800-\udfff]/u.test(name)) throw new TypeError(`${what} must have no half of a surrogate pair`);
  const bytes = new TextEncoder().encode(name).length;
  if (bytes < 1 || bytes > maximumBytes) {
    throw new TypeError(`${what} must be 1 to ${maximumBytes} bytes of UTF-8, not ${bytes}`);
  }
  if (controlCharacter.test(name)) throw new TypeError(`${what} must have no control character`);
}

function checkedUrl(text) {
  let url = null;
  try {
    url = new URL(text, globalThis.location?.href);
  } catch { /* told below */ }
  if (!url || !/^(https?|wss?):$/.test(url.protocol) || url.search || url.hash || url.username || url.password) {
    throw new TypeError("url must be the gateway's http or https address, without query, fragment or password");
  }
  return url.href.replace(/^ws/, "http").replace(/\/$/, "");
}

function checkedOptions(options) {
  if (typeof options !== "object" || options === null) throw new TypeError("connect takes an object of options");
  const { userId, deviceId, getToken, tokenIn = "query", backgroundTimer = true } = options;
  const { heartbeatTimeoutMs = standardHeartbeatMs, WebSocket = globalThis.WebSocket } = options;
  const settings = {
    base: checkedUrl(options.url), rooms: checkedRooms(options.rooms),
    userId, deviceId, getToken, tokenIn, backgroundTimer, heartbeatTimeoutMs, WebSocket,
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
  if (typeof WebSocket !== "function") throw new TypeError("no global WebSocket here: give one as WebSocket");
  for (const name of callbacks) {
    if (typeof (options[name] ?? connect) !== "function") throw new TypeError(`${name} must be a function`);
  }
  return settings;
}

/**
 * Timers of one client. Browsers slow the timers of hidden pages down, some by half a minute, which is later than
 * a heartbeat may be; those of a worker they leave alone. So both are set and the first one counts: where a content
 * security policy forbids the worker, the page's own are there.
 */
class Clock {
  #pending = new Map();
  #lastNumber = 0;
  #worker = null;

  constructor(inBackground) {
    if (!inBackground || typeof document === "undefined" || typeof Worker === "undefined") return;
    const source = "onmessage = ({ data: [n, ms] }) => setTimeout(postMessage, ms, n)";
    try {
      this.#worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`);
      this.#worker.onmessage = ({ data }) => this.#fire(data);
      this.#worker.onerror = (event) => event.preventDefault();
    } catch { /* the page's own timers do */ }
  }

  /** Calls `action` once after `ms`, unless the returned function is called before. */
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
  onnotice; onstatus; ongap; onerror;
  #settings;
  #clock;
  /** @type {import("./roomcast.js").Status | "new"} */
  #status = "new";
  #counts = { notices: 0, reconnects: 0, gaps: 0, unreadable: 0 };
  #token = null;
  /** Why the next token is needed, for `getToken`. */
  #tokenReason = "first";
  #socket = null;
  /** Attempts since the last connection that was good. */
  #attempt = 0;
  /** The number of the step under way: what an older step finds out later is void. */
  #step = 0;
  #openedAt = 0;
  /** When a beat was last answered by anybody: the way to the gateway stood then. */
  #answeredAt = 0;
  /** Since when beats of this connection are refused with "token error". */
  #refusedAt = null;
  #isBeating = false;
  /** When the network went, or the connection; nothing has come since. */
  #offlineAt = null;
  #lostAt = null;
  #cancelTimer = () => {};
  #ending = new AbortController();

  constructor(options) {
    this.#settings = checkedOptions(options);
    for (const name of callbacks) this[name] = options[name] ?? null;
    this.#clock = new Clock(this.#settings.backgroundTimer);
    this.#listen();
    // Not at once: the caller may want to set its callbacks first.
    queueMicrotask(() => { if (this.#status === "new") this.#connect(); });
  }

  /** @returns {import("./roomcast.js").Status} */
  get status() { return this.#status === "new" ? "connecting" : this.#status; }
  get rooms() { return [...this.#settings.rooms]; }
  get counts() { return { ...this.#counts }; }

  close() { this.#end("closed"); }

  // MARK: The page

  #listen() {
    const { signal } = this.#ending;
    const on = (target, name, action) => target?.addEventListener?.(name, action, { signal });
    on(globalThis.document, "visibilitychange", () => { if (!document.hidden) this.#wake(); });
    on(globalThis.document, "resume", () => this.#wake());
    if (typeof document === "undefined") return;
    on(globalThis, "offline", () => { this.#offlineAt ??= Date.now(); });
    on(globalThis, "online", () => this.#online());
  }

  /** Time has passed unseen, perhaps hours of it. */
  #wake() {
    if (this.#status === "open") this.#beat();
    if (this.#status === "waiting") this.#connect();
  }

  /** A connection from before may hang on an address that is no longer ours, and would say nothing for ever. */
  #online() {
    const offlineAt = this.#offlineAt;
    this.#offlineAt = null;
    if (this.#status === "open" && offlineAt !== null) return this.#replace(offlineAt);
    this.#wake();
  }

  // MARK: Connecting

  async #connect() {
    const step = this.#begin();
    this.#tell("connecting");
    if (step !== this.#step) return;
    if (this.#token === null) {
      const token = await this.#takeToken();
      if (step !== this.#step) return;
      if (token === null) return this.#wait(backoffMs(this.#attempt++));
      this.#token = token;
      this.#tokenReason = "token error";
    }
    this.#open();
  }

  /** @returns {Promise<string|null>} null when there is none now; ends the client when there will be none. */
  async #takeToken() {
    const { getToken, userId, deviceId } = this.#settings;
    if (getToken) return this.#askCaller(getToken);
    const identity = userId !== undefined ? { isLogin: "true", userId } : { isLogin: "false", deviceId };
    const step = this.#step;
    const answer = await this.#request("get/token", identity);
    if (answer?.status === 200 && isToken(answer.data)) return answer.data;
    if (step === this.#step && isRefusal(answer)) {
      this.#report(new Error(`Roomcast: no token for this client: ${answer.status} ${answer.data ?? ""}`));
      this.#end("refused");
    }
    return null;
  }

  /** @returns {Promise<string|null>} */
  async #askCaller(getToken) {
    const { rooms, userId, deviceId } = this.#settings;
    const request = { reason: this.#tokenReason, rooms: [...rooms], userId, deviceId, signal: this.#ending.signal };
    const step = this.#step;
    let cancel = () => {};
    /** @type {Promise<never>} */
    const late = new Promise((_, reject) => {
      cancel = this.#clock.after(getTokenMs, () => reject(new Error("Roomcast: getToken has not answered in 30 s")));
    });
    try {
      const token = await Promise.race([late, getToken(request)]);
      if (token === null && step === this.#step) this.#end("no token");
      if (token === null || isToken(token)) return token;
      throw new TypeError("Roomcast: getToken must give a token (letters, digits, - and _) or null");
    } catch (error) {
      if (step === this.#step) this.#report(error);
      return null;
    } finally {
      cancel();
    }
  }

  #open() {
    const { base, rooms, tokenIn, WebSocket } = this.#settings;
    const isInQuery = tokenIn === "query";
    const roomIds = rooms.join(",");
    const url = target(base, "ws", isInQuery ? { token: this.#token, roomIds } : { roomIds });
    let socket;
    try {
      socket = new WebSocket(url.replace(/^http/, "ws"), isInQuery ? [] : ["roomcast", `token.${this.#token}`]);
    } catch {
      // The platform's own error quotes the URL, and with it the token.
      this.#report(new Error("Roomcast: no WebSocket can be made here (a page over https needs an https url)"));
      return this.#end("refused");
    }
    this.#socket = socket;
    this.#cancelTimer = this.#clock.after(openingMs, () => this.#unopened());
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code }) => (this.#status === "open" ? this.#closed(code) : this.#unopened());
    // A close follows and says the same.
    socket.onerror = () => {};
  }

  /** A browser does not tell why a handshake was refused; a heartbeat does, as far as the token is the reason. */
  async #unopened() {
    const step = this.#begin();
    const answer = await this.#request("heartbeat", { token: this.#token });
    if (step !== this.#step) return;
    if (isTokenError(answer)) this.#token = null;
    this.#wait(backoffMs(this.#attempt++));
  }

  #opened() {
    const now = Date.now();
    const socket = this.#socket;
    const lostAt = this.#lostAt;
    this.#openedAt = this.#answeredAt = now;
    this.#offlineAt = this.#lostAt = this.#refusedAt = null;
    this.#isBeating = false;
    this.#scheduleBeat();
    if (lostAt !== null) this.#counts.reconnects += 1;
    this.#tell("open");
    if (lostAt === null || socket !== this.#socket) return;
    this.#tellGap({ rooms: this.rooms, ms: Math.max(0, now - lostAt), source: "reconnect" });
  }

  /** Ends the step before and begins another one. */
  #begin() {
    this.#cancelTimer();
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    return ++this.#step;
  }

  #wait(ms, code) {
    this.#begin();
    const isOffline = globalThis.navigator?.onLine === false;
    // The event `online` ends it; the time is for machines that are wrongly told to be offline.
    const retryInMs = Math.round(isOffline ? backoffCapMs : ms);
    this.#cancelTimer = this.#clock.after(retryInMs, () => this.#connect());
    this.#tell("waiting", { retryInMs, ...(code && { code }), ...(isOffline && { reason: "offline" }) });
  }

  /** Gives the connection up, which has brought nothing since `lostAt`, and makes another one. */
  #replace(lostAt) {
    this.#lostAt = lostAt;
    this.#connect();
  }

  #closed(code) {
    const { heartbeatTimeoutMs, getToken } = this.#settings;
    const now = Date.now();
    // The Close may be old: it lay there while the machine slept.
    const isStale = now - this.#answeredAt > heartbeatTimeoutMs;
    this.#lostAt = this.#offlineAt ?? (isStale ? this.#answeredAt : now);
    if (now - this.#openedAt >= stableMs) this.#attempt = 0;
    const { action, reason } = closeRule(code, Boolean(getToken));
    if (action === "stop") return this.#end(reason, code);
    if (action === "new token") {
      this.#token = null;
      this.#tokenReason = "revoked";
    }
    const isFirst = this.#attempt === 0;
    if (action === "back off") this.#attempt = Math.max(this.#attempt, crowdedAttempt);
    const delay = backoffMs(this.#attempt++);
    this.#wait(action === "retry soon" && isFirst ? Math.random() * movedSpreadMs : delay, code);
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

  #scheduleBeat(earliest = earliestBeat, latest = latestBeat) {
    const ms = this.#settings.heartbeatTimeoutMs * (earliest + Math.random() * (latest - earliest));
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(ms, () => this.#beat());
  }

  async #beat() {
    if (this.#isBeating) return;
    this.#isBeating = true;
    this.#cancelTimer();
    const { heartbeatTimeoutMs } = this.#settings;
    const step = this.#step;
    const sentAt = Date.now();
    // The gateway drops it. Proxies on the way see that the tunnel is used, and a dead one ends.
    this.#socket.send("");
    const answer = await this.#request("heartbeat", { token: this.#token });
    if (step !== this.#step) return;
    this.#isBeating = false;
    const now = Date.now();
    const aliveAt = this.#answeredAt;
    // We slept: the gateway has closed the connection meanwhile, even if word of it was lost on the way.
    const isStale = Math.max(sentAt - aliveAt, now - sentAt) > heartbeatTimeoutMs;
    if (isTokenError(answer)) return this.#refused(isStale);
    if (answer === null) {
      if (now - aliveAt <= heartbeatTimeoutMs + verdictSlackMs) return this.#scheduleBeat(unanswered, 3 * unanswered);
      this.#lostAt = this.#offlineAt ?? aliveAt;
      return this.#wait(backoffMs(this.#attempt++));
    }
    if (!isStale || answer.status === 200) this.#answeredAt = now;
    // 503: Redis is away. The connection stands, and its time counts from Redis' return.
    if (answer.status !== 200) return this.#scheduleBeat(untaken, 3 * untaken);
    this.#refusedAt = null;
    if (isStale) return this.#replace(aliveAt);
    this.#scheduleBeat();
  }

  /**
   * The token is unknown. On a connection that was beaten in time it cannot have expired: either it was revoked, or
   * Redis has lost its data. Its node knows, and closes with 4003 or writes it again; so that is awaited.
   */
  #refused(isStale) {
    const now = Date.now();
    this.#refusedAt ??= now;
    const isOver = now - this.#refusedAt > this.#settings.heartbeatTimeoutMs + verdictSlackMs;
    const aliveAt = isStale ? this.#answeredAt : now;
    this.#answeredAt = now;
    if (!isStale && !isOver) return this.#scheduleBeat(untaken, 3 * untaken);
    this.#token = null;
    this.#replace(aliveAt);
  }

  /** @returns {Promise<{status: number, data?: unknown}|null>} null when nobody answered. */
  async #request(path, query) {
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    const cancel = this.#clock.after(requestMs, abort);
    this.#ending.signal.addEventListener("abort", abort);
    try {
      const url = target(this.#settings.base, path, query);
      const response = await fetch(url, { signal: attempt.signal, cache: "no-store", credentials: "omit" });
      const body = await response.json().catch(() => null);
      // A page instead of JSON: some portal on the way, not the gateway.
      return body === null && response.ok ? null : { status: response.status, data: body?.data };
    } catch {
      return null;
    } finally {
      cancel();
      this.#ending.signal.removeEventListener("abort", abort);
    }
  }

  // MARK: What the caller hears

  #received(text) {
    let notice;
    try {
      notice = JSON.parse(text);
    } catch {
      this.#counts.unreadable += 1;
      return this.#report(new Error("Roomcast: a frame that is no JSON"));
    }
    if (isGap(notice)) return this.#tellGap({ rooms: notice.data.rooms, ms: notice.data.ms, source: "server" });
    this.#counts.notices += 1;
    this.#call("onnotice", notice);
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

  /** What a callback throws, now or later, is reported and goes no further. */
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
  return `${base}/${path}?${new URLSearchParams(query)}`;
}

/** @returns {token is string} */
function isToken(token) {
  return typeof token === "string" && /^[\w-]{1,512}$/.test(token);
}

function isTokenError(answer) {
  return answer?.status === 500 && String(answer.data).toLowerCase() === "token error";
}

/** Whether asking again would bring the same answer. */
function isRefusal(answer) {
  return answer !== null && answer.status >= 400 && answer.status < 500 && ![408, 429].includes(answer.status);
}

/** The gateway's own frame: `{"type":"gap","data":{"rooms":["a"],"ms":1234}}` and nothing else in it. */
function isGap(notice) {
  const { type, data } = notice ?? {};
  return type === "gap" && Array.isArray(data?.rooms) && Number.isFinite(data.ms) && Object.keys(data).length === 2;
}

/**
 * Connects to a Roomcast gateway and stays connected until `close()`. The types say what it takes and gives.
 *
 * @param {import("./roomcast.js").ConnectOptions} options
 * @returns {import("./roomcast.js").Client}
 */
export function connect(options) {
  return new Client(options);
}
