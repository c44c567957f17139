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
/** More than this no `Retry-After` is obeyed: five minutes. */
const maximumRetryAfterMs = 300_000;
/** Timers take a signed number of 32 bits; with more they fire at once. */
const maximumTimerMs = 2 ** 31 - 1;
/** A gateway that has served this client before may be half configured: so many refusals are tried again. */
const maximumRefusals = 5;
/** From this attempt on the caller hears of what may never heal: about 15 s. */
const tellingAttempt = 5;
/** A message counts as heard when a timer of so long, set with it, comes no later than the slack. */
const proofMs = 1_000, proofSlackMs = 250;
/** A stretch of time that is measured at once, and how far two clocks may differ in it. */
const stretchMs = 10_000, clockSlackMs = 1_000;
const maximumDetail = 200;
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
    case 1002: case 1007: case 1008: case 1009: return { action: "stop", reason: "protocol" };
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

/**
 * Milliseconds that a `Retry-After` asks for, in seconds or as a date (RFC 9110 section 10.2.3), at most five
 * minutes; 0 when it asks for nothing.
 */
export function retryAfterMs(text, now = Date.now()) {
  const value = String(text ?? "").trim();
  // Date.parse reads much that is no date of HTTP, "-5" among it.
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
  // Not `href`: that keeps a `?` or `#` with nothing behind it.
  return `${url.protocol.replace("ws", "http")}//${url.host}${url.pathname.replace(/\/+$/, "")}`;
}

function checkedOptions(options) {
  if (typeof options !== "object" || options === null) throw new TypeError("connect takes an object of options");
  const { userId, deviceId, getToken, tokenIn = "query", backgroundTimer = true } = options;
  const { heartbeatTimeoutMs = standardHeartbeatMs, WebSocket = globalThis.WebSocket } = options;
  const settings = {
    base: checkedUrl(options.url), rooms: checkedRooms(options.rooms),
    userId, deviceId, getToken, tokenIn, backgroundTimer, WebSocket,
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
  if (typeof WebSocket !== "function") throw new TypeError("no global WebSocket here: give one as WebSocket");
  for (const name of callbacks) {
    if (typeof (options[name] ?? connect) !== "function") throw new TypeError(`${name} must be a function`);
  }
  return settings;
}

/**
 * Time and timers of one client. Browsers slow the timers of hidden pages down, some by half a minute, which is later
 * than a heartbeat may be; those of a worker they leave alone. So both are set and the first one counts: where a
 * content security policy forbids the worker, the page's own are there.
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
    } catch { /* the page's own timers do */ }
  }

  /**
   * Milliseconds that only grow. The system's clock can be set back, and the steady one may stand still while the
   * machine sleeps: the one that went further counts, so that time is hidden by neither.
   */
  now() {
    const wall = Date.now(), steady = performance.now();
    const byWall = wall - this.#wallAt, bySteady = steady - this.#steadyAt;
    const passed = Math.max(byWall, bySteady, 0);
    // Not at each call: the rounding of both would add up.
    if (passed < stretchMs && Math.abs(byWall - bySteady) < clockSlackMs) return this.#passedMs + passed;
    this.#passedMs += passed;
    this.#wallAt = wall;
    this.#steadyAt = steady;
    return this.#passedMs;
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
  /** When a beat was last answered: the way to the gateway stood then. */
  #answeredAt = 0;
  /**
   * The last moment at which this client certainly heard its gateway; null before the first connection. Never the
   * moment in which an event was handled: the page may have been frozen or busy until then.
   */
  #heardAt = null;
  #dialedAt = 0;
  #cancelProof = null;
  /** A server has asked for silence until then. */
  #silentUntil = 0;
  /** Since when beats of this connection are refused with "token error". */
  #refusedAt = null;
  #isBeating = false;
  #wasOffline = false;
  /** Whether the gateway has ever served this client, and how often it has refused a token since. */
  #wasServed = false;
  #refusals = 0;
  /** Whether the caller knows of the trouble that there is. */
  #isTold = false;
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

  /** Time has passed unseen, perhaps hours of it. */
  #wake() {
    if (this.#clock.now() < this.#silentUntil) return;
    if (this.#status === "open") this.#beat();
    if (this.#status === "waiting") this.#connect();
  }

  /** A page that is about to hear nothing says goodbye: otherwise the gateway would wait for its beats. */
  #suspend() {
    if (this.#status === "waiting" || this.#status === "closed") return;
    this.#silentUntil = 0;
    // Its timer cannot come while the page is frozen; it is for a browser that forgets to say when that ends.
    this.#wait(backoffCapMs, { kind: "frozen" });
  }

  /** A connection from before may hang on an address that is no longer ours, and would say nothing for ever. */
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
   * Ends the client when there will be no token.
   *
   * @returns {Promise<Partial<Answer & {token: string}>>} without a token: why there is none now.
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
      cancel = this.#clock.after(getTokenMs, () => reject(failure("getToken has not answered in 30 s")));
    });
    try {
      const token = await Promise.race([late, getToken(request)]);
      if (token === null && step === this.#step) this.#end("no token");
      if (token === null || isToken(token)) return { token: token ?? undefined };
      throw new TypeError("Roomcast: getToken must give a token (letters, digits, - and _) or null");
    } catch (error) {
      if (step === this.#step) this.#report(error);
      return { reason: { kind: "getToken", detail: "getToken gave no token: onerror has why" } };
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
      this.#report(failure("no WebSocket can be made here (a page over https needs an https url)"));
      return this.#end("refused");
    }
    this.#socket = socket;
    this.#dialedAt = this.#clock.now();
    this.#cancelTimer = this.#clock.after(openingMs, () => this.#unopened());
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code, reason }) => (this.#status === "open" ? this.#closed(code, reason) : this.#unopened());
    // A close follows and says the same.
    socket.onerror = () => {};
  }

  /** A browser does not tell why a handshake was refused; a heartbeat does, as far as the token is the reason. */
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
    // The 101 left after the request did; when it came only a page knows that was not frozen meanwhile.
    this.#heardAt = this.#dialedAt;
    this.#refusedAt = null;
    this.#isBeating = this.#wasOffline = this.#isTold = false;
    this.#wasServed = true;
    this.#scheduleBeat();
    if (heardAt !== null) this.#counts.reconnects += 1;
    this.#tell("open");
    if (heardAt === null || socket !== this.#socket) return;
    this.#tellGap({ rooms: this.rooms, ms: Math.ceil(now - heardAt), source: "reconnect" });
  }

  /** Ends the step before and begins another one. */
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

  /** An attempt has failed, or a connection; a server may have asked for some patience. */
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
    // The event `online` ends it; the time is for machines that are wrongly told to be offline.
    const retryInMs = Math.round(isOffline ? Math.max(backoffCapMs, ms) : ms);
    this.#cancelTimer = this.#clock.after(retryInMs, () => this.#connect());
    this.#tell("waiting", { retryInMs, ...(code && { code }), reason: isOffline ? { kind: "offline" } : reason });
  }

  #closed(code, text) {
    if (this.#clock.now() - this.#openedAt >= stableMs) this.#attempt = 0;
    const { action, reason: ending } = closeRule(code, Boolean(this.#settings.getToken));
    const reason = { kind: "close", code, ...(text && { detail: shortened(text) }) };
    if (action === "stop") {
      this.#report(failure(`the connection is closed for good, ${ending}: ${describe(reason)}`, reason));
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
    // The gateway drops it. Proxies on the way see that the tunnel is used, and a dead one ends.
    this.#socket.send("");
    const answer = await this.#sendBeat();
    if (step !== this.#step) return;
    this.#isBeating = false;
    const now = this.#clock.now();
    // We slept: the gateway has closed the connection meanwhile, even if word of it was lost on the way.
    const isStale = Math.max(sentAt - this.#answeredAt, now - sentAt) > heartbeatTimeoutMs;
    if (isTokenError(answer)) return this.#refused(isStale);
    if (!isOfTheWay(answer)) {
      if (now - this.#answeredAt > heartbeatTimeoutMs + verdictSlackMs) return this.#fail(answer.reason);
      return this.#scheduleBeat(unanswered, 3 * unanswered);
    }
    const isTaken = answer.isGateways && answer.status === 200;
    if (!isStale || isTaken) this.#answeredAt = now;
    // 503: Redis is away. The connection stands, and its time counts from Redis' return.
    if (!isTaken) return this.#scheduleBeat(untaken, 3 * untaken, answer.waitMs);
    this.#refusedAt = null;
    if (isStale) return this.#connect();
    this.#heardAt = Math.max(this.#heardAt, sentAt);
    this.#scheduleBeat();
  }

  /**
   * The token is unknown. On a connection that was beaten in time it cannot have expired: either it was revoked, or
   * Redis has lost its data. Its node knows, and closes with 4003 or writes it again; so that is awaited.
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

  // MARK: What the caller hears

  /**
   * A message may have lain here while the page was busy or frozen, and the end of the connection behind it. It was
   * heard when it came if the connection stands a second later, and nothing was late meanwhile.
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
      return this.#report(failure("a frame that is no JSON"));
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
  return `${base}/${path}${query ? `?${new URLSearchParams(query)}` : ""}`;
}

/** @returns {token is string} */
function isToken(token) {
  return typeof token === "string" && /^[\w-]{1,512}$/.test(token);
}

/**
 * An answer of HTTP, or that there was none (status 0). `isGateways`: it has the form of the API's answers, all others
 * are somebody's on the way. `reason`: what to say of it if it is in the way. `waitMs`: the patience that it asks for.
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {boolean} isGateways
 * @property {unknown} [data]
 * @property {import("./roomcast.js").WaitReason} reason
 * @property {number} waitMs
 */

/**
 * An ingress, a portal or a firewall on the way speaks HTTP, too.
 *
 * @returns {Promise<Answer>}
 */
async function answered(response) {
  const { status, headers } = response;
  const isJson = /^application\/json *(;|$)/i.test(headers.get("content-type") ?? "");
  // Somebody's page may be long, and nobody reads it.
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

/** Whether the gateway itself would answer the same again. */
function isRefusal({ isGateways, status }) {
  return isGateways && status >= 400 && status < 500 && ![408, 429].includes(status);
}

/** Whether a beat's answer shows that the way to the gateway stands: not the page of a portal (511: RFC 6585). */
function isOfTheWay({ isGateways, status }) {
  return isGateways || status === 429 || (status >= 500 && status !== 511);
}

/** Whether trouble that has lasted is of a kind that may last for ever; an outage ends. */
function mayStay({ kind, status }, wasServed) {
  switch (kind) {
    case "handshake": return true;
    case "status": return status < 500 && status !== 429;
    case "network": case "timeout": return !wasServed;
    default: return false;
  }
}

const networkDetail = "no answer: the network, or an origin that the gateway does not allow, or a policy of the page; "
  + "a browser does not say which";
const handshakeDetail = "the gateway answers and the WebSocket does not open: an origin or a room that is not allowed, "
  + "a proxy that passes no upgrade, or a node that is full";

function describe(reason) {
  const { kind, status, code, detail } = reason;
  return [kind === "status" ? status : kind === "close" ? code : kind, detail].filter(Boolean).join(", ");
}

/** What is said in an error of this module. */
function failure(message, reason) {
  return Object.assign(new Error(`Roomcast: ${message}`), reason && { reason });
}

function shortened(text) {
  return text.slice(0, maximumDetail);
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
