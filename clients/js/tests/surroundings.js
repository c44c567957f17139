// The surroundings of a client in tests: a WebSocket, a fetch and a clock that the test controls. Each test has new ones.
import { afterEach, beforeEach, mock } from "node:test";

import { connect } from "../roomcast.js";

export const secret = "secret-token_0123456789A";
/** What `/get/token` and `/heartbeat` answer where it is not the standard; `answer` has the form. */
export const answers = {};
export let sockets, requests, said, client, timers;
/** How far the wall clock has been set. */
let wallShift;

class FakeSocket {
  constructor(url, protocols) {
    Object.assign(this, { url: new URL(url), protocols, sent: [], closedWith: null });
    sockets.push(this);
  }
  send(text) { this.sent.push(text); }
  close(code) { this.closedWith = code; }
  open() { this.onopen?.(); }
  end(code, reason = "") { this.onclose?.({ code, reason }); }
  receive(data) { this.onmessage?.({ data }); }
}

/** Lets everything happen that waits for nothing but promises. */
export async function settle() {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

export async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

/** The machine sleeps: its steady clock and its timers do, too. */
export function sleep(ms) {
  wallShift += ms;
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

export async function start(options = {}) {
  client = connect({
    url: "http://edge.example", rooms: ["a"], WebSocket: FakeSocket, ...(!options.getToken && { userId: "u" }),
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
  sockets = []; requests = [];
  clearAnswers();
  said = { notices: [], statuses: [], resumes: [], gaps: [], errors: [] };
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  wallShift = 0;
  const passed = Date.now;
  mock.method(Date, "now", () => passed.call(Date) + wallShift);
  mock.method(performance, "now", () => passed.call(Date));
  timers = new Set();
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  mock.method(globalThis, "setTimeout", (action, ms) => {
    const timer = set(() => { timers.delete(timer); action(); }, ms);
    timers.add(timer);
    return timer;
  });
  mock.method(globalThis, "clearTimeout", (timer) => { timers.delete(timer); clear(timer); });
  mock.method(Math, "random", () => 0.5);
  mock.method(globalThis, "fetch", async (text, { headers }) => {
    const url = new URL(text);
    requests.push(Object.assign(url, { headers }));
    if (answers[url.pathname] === null) throw new TypeError(`cannot fetch ${text}`);
    return answer(url.pathname);
  });
});

afterEach(() => {
  client?.close();
  mock.restoreAll();
  mock.timers.reset();
});
