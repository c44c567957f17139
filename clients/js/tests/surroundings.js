// The surroundings of a client in tests: a WebSocket, an event stream, a fetch and a clock that the test controls. Each test
// has new ones.
import { afterEach, beforeEach, mock } from "node:test";

import { connect } from "../roomcast.js";

export const secret = "secret-token_0123456789A";
/** What `/get/token` and `/heartbeat` answer where it is not the standard; `answer` has the form. */
export const answers = {};
export let sockets, streams, requests, said, client, timers;
/** How far the wall clock has been set, and what the steady one has gone on without any timer. */
let wallShift, steadyShift;

class FakeSocket {
  constructor(url, protocols) {
    Object.assign(this, { url: new URL(url), protocols, sent: [], closedWith: null });
    sockets.push(this);
  }
  send(text) { this.sent.push(text); }
  close(code) { this.closedWith = code; }
  open() { this.onopen?.(); }
  end(code, reason = "") { this.onclose?.({ code, reason }); }
  fail() { this.onerror?.({ type: "error" }); }
  receive(data) { this.onmessage?.({ data }); }
}

/** What `/events` answers: `send` adds to its body. */
class FakeStream {
  constructor(url, { headers, signal }) {
    Object.assign(this, { url, headers, signal });
    const body = new ReadableStream({ start: (controller) => { this.body = controller; } });
    signal.addEventListener("abort", () => { try { this.body.error(signal.reason); } catch { /* it has ended */ } });
    this.response = new Response(body, { headers: { "content-type": "text/event-stream" } });
    streams.push(this);
  }
  async send(text) {
    this.body.enqueue(typeof text === "string" ? new TextEncoder().encode(text) : text);
    await settleStreams();
  }
  async end() {
    this.body.close();
    await settleStreams();
  }
}

/** Lets everything happen that waits for nothing but promises. */
export async function settle() {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

/** The same where streams have a part, whose promises are settled in later turns. */
export async function settleStreams() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
}

export async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

/** The machine sleeps: its steady clock and its timers do, too. */
export function sleep(ms) {
  wallShift += ms;
}

/** The page is frozen: its clocks go on, its timers do not. */
export function freeze(ms) {
  wallShift += ms;
  steadyShift += ms;
}

/** Somebody sets the wall clock back. */
export function setBack(ms) {
  wallShift -= ms;
}

/** Everything is answered in the standard way again. */
export function clearAnswers() {
  for (const path of Object.keys(answers)) delete answers[path];
}

/**
 * Answers of `/get/token` and `/heartbeat`: status, `data`, further fields of the head. `null` is a network error, and
 * without `data` the answer is a page.
 */
export function answer(path) {
  const standard = [200, path.endsWith("/get/token") ? secret : null];
  const [status, data, fields] = answers[path] ?? standard;
  const type = data === undefined ? "text/html" : "application/json";
  const body = data === undefined ? "<!doctype html>" : JSON.stringify(data === null ? {} : { data });
  return new Response(body, { status, headers: { "content-type": type, ...fields } });
}

/** WebSockets only, unless the test is about transports. */
export async function start(options = {}) {
  client = connect({
    url: "http://edge.example", rooms: ["a"], WebSocket: FakeSocket, transport: "websocket", ...(!options.getToken && { userId: "u" }),
    onnotice: (notice) => said.notices.push(notice), onstatus: (change) => said.statuses.push(change),
    onresume: (resume) => said.resumes.push(resume), ongap: (gap) => said.gaps.push(gap),
    onerror: (error) => said.errors.push(error), ...options,
  });
  await settle();
  return client;
}

export async function open(options) {
  await start(options);
  sockets.at(-1).open();
}

export const beats = () => requests.filter((url) => url.pathname === "/heartbeat").length;
export const last = () => said.statuses.at(-1);

beforeEach(() => {
  sockets = []; streams = []; requests = [];
  clearAnswers();
  said = { notices: [], statuses: [], resumes: [], gaps: [], errors: [] };
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  wallShift = steadyShift = 0;
  const passed = Date.now;
  mock.method(Date, "now", () => passed.call(Date) + wallShift);
  mock.method(performance, "now", () => passed.call(Date) + steadyShift);
  timers = new Set();
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  mock.method(globalThis, "setTimeout", (action, ms) => {
    const timer = set(() => { timers.delete(timer); action(); }, ms);
    timers.add(timer);
    return timer;
  });
  mock.method(globalThis, "clearTimeout", (timer) => { timers.delete(timer); clear(timer); });
  mock.method(Math, "random", () => 0.5);
  mock.method(globalThis, "fetch", async (text, options) => {
    const url = new URL(text);
    requests.push(Object.assign(url, { headers: options.headers }));
    if (answers[url.pathname] === null) throw new TypeError(`cannot fetch ${text}`);
    if (url.pathname.endsWith("/events") && !answers["/events"]) return new FakeStream(url, options).response;
    return answer(url.pathname);
  });
});

afterEach(() => {
  client?.close();
  mock.restoreAll();
  mock.timers.reset();
});
