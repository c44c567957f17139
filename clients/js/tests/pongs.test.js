// Heartbeats where the gateway counts pongs (`--heartbeat pong`), which a browser sends by itself, and where it does not.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  answers, beats, clearAnswers, client, freeze, last, open, pass, said, settle, settleStreams, sleep, sockets, start, streams,
} from "./surroundings.js";

const pong = { "roomcast-heartbeat": "pong" }, request = { "roomcast-heartbeat": "request" };

/** What a gateway with this field answers. */
function answerWith(fields) {
  clearAnswers();
  answers["/get/token"] = [200, "token", fields];
  answers["/heartbeat"] = [200, null, fields];
}

async function seconds(count) {
  for (let second = 0; second < count; second += 1) await pass(1_000);
}

/** A page of which the test sends the events. */
function page(t) {
  const document = Object.assign(new EventTarget(), { hidden: false });
  Object.defineProperty(globalThis, "document", { value: document, configurable: true });
  for (const name of ["addEventListener", "dispatchEvent"]) globalThis[name] = document[name].bind(document);
  t.after(() => { for (const name of ["document", "addEventListener", "dispatchEvent"]) delete globalThis[name]; });
  return (name, fields) => document.dispatchEvent(Object.assign(new Event(name), fields));
}

test("where pongs count it beats once after each connection, and then every five minutes", async () => {
  answerWith(pong);
  await open();
  await seconds(20);
  assert.equal(beats(), 0);
  await seconds(280);
  assert.equal(beats(), 1);
  assert.deepEqual(sockets[0].sent, [""]);
  await seconds(50);
  assert.equal(beats(), 2);
  await seconds(250);
  assert.equal(beats(), 2);
  sockets[0].end(1001);
  await pass(1_000);
  sockets[1].open();
  await seconds(250);
  assert.equal(beats(), 3);
  assert.equal(client.status, "open");
  assert.equal(sockets.length, 2);
});

test("a client whose token comes from elsewhere learns it from its first beat", async () => {
  answerWith(pong);
  await open({ getToken: () => "token" });
  await seconds(250);
  assert.equal(beats(), 1);
});

test("a gateway that says nothing, or says request, wants heartbeats", async () => {
  for (const fields of [undefined, request, { "roomcast-heartbeat": "PONG!" }]) {
    answerWith(fields);
    await open();
    const before = beats();
    await seconds(120);
    assert.ok(beats() - before >= 4, `${beats() - before} beats`);
    client.close();
  }
});

test("a page in place of a beat says nothing about pongs", async () => {
  answerWith(pong);
  await open({ getToken: () => "token" });
  answers["/heartbeat"] = [429, undefined, pong];
  await seconds(26);
  assert.ok(beats() >= 1);
  answerWith(request);
  await seconds(60);
  assert.ok(beats() >= 3, `${beats()} beats`);
});

test("the gateway that is changed to requests gets them from the next look on", async () => {
  answerWith(pong);
  await open();
  await seconds(200);
  assert.equal(beats(), 1);
  answerWith(request);
  await seconds(200);
  const before = beats();
  await seconds(100);
  assert.ok(beats() >= before + 3, `${beats()} beats`);
});

/** The balancer sends a beat to any node. */
test("a node that counts no pongs, where another one says that it does, costs one connection", async () => {
  answerWith(pong);
  await open();
  await seconds(55);
  assert.equal(beats(), 1);
  sockets[0].end(4000);
  await pass(1_000);
  sockets[1].open();
  await seconds(120);
  assert.ok(beats() >= 5, `${beats()} beats`);
  sockets[1].end(1001);
  await pass(1_000);
  sockets[2].open();
  const before = beats();
  await seconds(120);
  assert.equal(beats(), before + 1, "the next node may count them");
});

test("a 4000 that a sleep explains is not the node's fault", async () => {
  answerWith(pong);
  await open();
  await seconds(30);
  sleep(600_000);
  sockets[0].end(4000);
  await pass(1_000);
  sockets[1].open();
  await seconds(120);
  assert.equal(beats(), 2);
});

test("a frozen page keeps its connection, and is sure of it when it wakes", async (t) => {
  const happen = page(t);
  answerWith(pong);
  await open();
  await seconds(30);
  for (const number of [1, 2]) {
    happen("freeze");
    assert.equal(sockets[0].closedWith, null);
    freeze(3_600_000);
    happen("resume");
    sockets[0].receive(`{"type":"notice","data":${number}}`);
    await settle();
    assert.equal(beats(), 1 + number);
    await seconds(100);
  }
  assert.deepEqual(said.notices.map(({ data }) => data), [1, 2]);
  assert.equal(sockets.length, 1);
  assert.deepEqual(said.gaps, []);
  assert.equal(client.status, "open");
});

test("a page that is frozen before its first beat keeps its connection as well", async (t) => {
  const happen = page(t);
  answerWith(pong);
  await open();
  happen("freeze");
  assert.equal(sockets[0].closedWith, null);
  happen("pagehide");
  assert.equal(sockets[0].closedWith, 1000, "a page of the back/forward cache cannot");
});

test("a page that is frozen during a handshake, or over an event stream, says goodbye", async (t) => {
  const happen = page(t);
  answerWith(pong);
  await start();
  happen("freeze");
  assert.equal(sockets[0].closedWith, 1000);
  assert.deepEqual(last().reason, { kind: "frozen" });
  client.close();
  await start({ transport: "events" });
  await settleStreams();
  await streams[0].send(":\n\n");
  assert.equal(client.status, "open");
  happen("freeze");
  assert.ok(streams[0].signal.aborted);
});

test("a beat of a page that is shown is repeated until it is answered", async (t) => {
  const happen = page(t);
  answerWith(pong);
  await open();
  await seconds(60);
  assert.equal(beats(), 1);
  answers["/heartbeat"] = null;
  happen("visibilitychange");
  await seconds(10);
  assert.ok(beats() >= 4, `${beats()} beats`);
});

test("what waited in a frozen page shortens no gap", async (t) => {
  const happen = page(t);
  answerWith(pong);
  await open();
  await seconds(30);
  happen("freeze");
  freeze(5_000);
  answers["/heartbeat"] = null;
  happen("resume");
  sockets[0].receive("{}");
  await seconds(3);
  sockets[0].end(1006);
  await pass(1_000);
  sockets[1].open();
  assert.ok(said.gaps[0].ms >= 8_000, `${said.gaps[0].ms} ms`);
});

test("a pause without an event of the page is looked into, and ends nothing", async () => {
  answerWith(pong);
  await open();
  await seconds(60);
  assert.equal(beats(), 1);
  freeze(60_000);
  await seconds(30);
  assert.equal(beats(), 2);
  assert.equal(sockets.length, 1);
  freeze(600_000);
  sockets[0].receive("{}");
  await seconds(2);
  sockets[0].end(1006);
  await pass(1_000);
  sockets[1].open();
  assert.ok(said.gaps[0].ms >= 600_000, `${said.gaps[0].ms} ms: the message may have waited`);
});

test("a machine that slept answered no ping", async () => {
  answerWith(pong);
  await open();
  await seconds(60);
  sleep(3_600_000);
  for (let second = 0; second < 30 && sockets.length < 2; second += 1) await pass(1_000);
  assert.equal(sockets[0].closedWith, 1000);
  sockets[1].open();
  assert.ok(said.gaps[0].ms >= 3_600_000, `${said.gaps[0].ms} ms`);
});

test("a network that dies in silence is found by the next look", async () => {
  answerWith(pong);
  await open();
  await seconds(60);
  answers["/heartbeat"] = null;
  for (let second = 0; second < 420 && client.status === "open"; second += 1) await pass(1_000);
  assert.equal(sockets[0].closedWith, 1000);
  answerWith(pong);
  await pass(last().retryInMs);
  sockets[1].open();
  assert.ok(said.gaps[0].ms > 300_000, `${said.gaps[0].ms} ms`);
});

test("Redis away is no reason to leave, and beats go on until one is taken", async () => {
  answerWith(pong);
  await open();
  answers["/heartbeat"] = [503, "service unavailable"];
  await seconds(120);
  const before = beats();
  assert.ok(before > 10, `${before} beats`);
  answerWith(pong);
  await seconds(120);
  assert.ok(beats() - before <= 2, `${beats() - before} beats`);
  assert.equal(sockets.length, 1);
});
