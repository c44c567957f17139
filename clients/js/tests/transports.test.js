// Event streams, and when a client turns to them. Tests/EndToEndTests has the tests with real nodes and proxies; here are
// answers and moments that those cannot be made to show on demand.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  answers, beats, clearAnswers, client, last, open, pass, requests, said, secret, settleStreams, sleep, sockets, start,
  streams, timers,
} from "./surroundings.js";

const epoch = "k3f9x2ab", position = (number) => `${epoch}.1000000-${number}`;
const notice = (number, room = "a") =>
  `data: {"id":"1000000-${number}","room":"${room}","type":"notice","data":{"n":${number}}}\n\n`;
const resume = (since, lost = false) =>
  `data: {"type":"resume","data":{"rooms":[{"room":"a","since":"${since}","lost":${lost}}]}}\n\n`;

let pages = 0;
/** A gateway of which the page knows nothing yet. */
const elsewhere = () => ({ url: `http://edge-${++pages}.example`, transport: "auto" });

/** A client with an event stream that has begun. */
async function stream(options) {
  await start({ transport: "events", ...options });
  await settleStreams();
  await streams.at(-1).send(":\n\n");
}

/** Lets the time pass, and what streams do in it. */
async function passStreams(ms) {
  await pass(ms);
  await settleStreams();
}

async function refuseSocket() {
  sockets.at(-1).end(1006);
  await settleStreams();
  await passStreams(last().retryInMs);
}

test("an error says as much as a close event of a WebSocket that does not open", async () => {
  await start(elsewhere());
  for (let failures = 1; failures <= 2; failures += 1) {
    const socket = sockets.at(-1);
    socket.fail();
    socket.end(1006);
    socket.fail();
    await settleStreams();
    assert.equal(last().reason.kind, "handshake");
    assert.equal(beats(), failures);
    await passStreams(last().retryInMs);
  }
  assert.equal(client.transport, "events");
  await start();
  sockets.at(-1).open();
  sockets.at(-1).fail();
  assert.equal(client.status, "open", "its close event has the code");
});

test("a stream is asked for as a WebSocket is", async () => {
  await stream({ rooms: ["a b", "ü&c"], durable: true, positions: { "ü&c": position(3) } });
  assert.equal(client.status, "open");
  assert.equal(client.transport, "events");
  const [{ url, headers }] = streams;
  assert.equal(url.pathname, "/events");
  assert.deepEqual([...url.searchParams], [
    ["token", secret], ["roomIds", "a b,ü&c"], ["since", `,${position(3)}`],
  ]);
  assert.deepEqual(headers, { Accept: "text/event-stream" });
  await stream({ tokenIn: "subprotocol", url: "wss://edge.example/push/" });
  assert.equal(String(streams[1].url), "https://edge.example/push/events?roomIds=a");
  assert.equal(streams[1].headers.Authorization, `Bearer ${secret}`);
  assert.equal(sockets.length, 0);
});

test("events are the same wherever the network cuts them", async () => {
  const text = '\ufeff: hello\n\ndata: {"n":\ndata: "ü😀",\ndata:"m": 1}\n\nid: k.1-1\n\nid:x\ndata:[2,\r\ndata:2]\r\n\r\n:\rdata: 3\r\r'
    + "event: other\ndata: 4\n\nevent: message\ndata\nunknown: 5\nretry: x\n\ndata: 6\n\n";
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7, bytes.length]) {
    said.notices.length = said.errors.length = 0;
    await start({ transport: "events" });
    await settleStreams();
    for (let at = 0; at < bytes.length; at += size) await streams.at(-1).send(bytes.slice(at, at + size));
    assert.deepEqual(said.notices, [{ n: "ü😀", m: 1 }, [2, 2], 3, 6], `${size} bytes at a time`);
    assert.equal(said.errors.length, 0);
    client.close();
  }
});

test("what is not complete at the end of a stream is nothing", async () => {
  await stream();
  await streams[0].send("data: 1\n");
  await streams[0].end();
  assert.deepEqual(said.notices, []);
  assert.deepEqual(last().reason, { kind: "close", code: 1006 });
});

for (const [code, delay] of [[1001, 1_000], [4000, 1_000], [1013, 4_000], [4999, 500]]) {
  test(`after an event of ${code} it comes back with the same token in ${delay} ms`, async () => {
    await stream();
    await streams[0].send(`event: close\ndata: {"code":${code},"reason":"why"}\n\ndata: 1\n\n`);
    const reason = { kind: "close", code, detail: "why" };
    assert.deepEqual(last(), { status: "waiting", previous: "open", retryInMs: delay, code, reason });
    assert.ok(streams[0].signal.aborted);
    assert.deepEqual(said.notices, [], "nothing follows");
    await passStreams(delay);
    assert.equal(streams[1].url.searchParams.get("token"), secret);
    await streams[1].send(":\n\n");
    assert.deepEqual(said.gaps, [{ rooms: ["a"], ms: delay, source: "reconnect" }]);
  });
}

test("a node that goes away says when to come back, and at most in half a minute", async () => {
  for (const [retry, delay] of [[7_321, 7_321], [3_600_000, 30_000]]) {
    await stream();
    await streams.at(-1).send(`retry: ${retry}\nevent: close\ndata: {"code":1001,"reason":"node is going away"}\n\n`);
    assert.equal(last().retryInMs, delay);
    client.close();
  }
  await stream();
  await streams.at(-1).send('retry: 7000\nevent: close\ndata: {"code":4000,"reason":"no heartbeat"}\n\n');
  assert.equal(last().retryInMs, 1_000, "its own spread for every other code");
});

for (const [code, reason] of [[1008, "protocol"], [4001, "replaced"], [4003, "revoked"]]) {
  test(`after an event of ${code} it ends: ${reason}`, async () => {
    await stream();
    await streams[0].send(`retry: 2147483647\nevent: close\ndata: {"code":${code},"reason":"x"}\n\n`);
    assert.deepEqual(last(), { status: "closed", previous: "open", reason, code });
    assert.equal(timers.size, 0);
  });
}

test("a close event that says nothing is an end like any other", async () => {
  for (const data of ["{", "null", '{"code":"1001","reason":7}']) {
    await stream();
    await streams.at(-1).send(`event: close\ndata: ${data}\n\n`);
    assert.deepEqual(last().reason, { kind: "close", code: 1006 }, data);
    client.close();
  }
});

test("a refusal says what it is", async () => {
  for (const [answer, reason, retryInMs] of [
    [[403, "Room not allowed"], { kind: "status", status: 403, detail: "Room not allowed" }, 500],
    [[429, "Too many connections", { "retry-after": "7" }],
      { kind: "status", status: 429, detail: "Too many connections" }, 7_500],
    [[503, "service unavailable", { "retry-after": "9" }],
      { kind: "status", status: 503, detail: "service unavailable" }, 9_500],
    [[502], { kind: "status", status: 502, detail: "not the gateway's answer" }, 500],
    [[200], { kind: "status", status: 200, detail: "not the gateway's answer" }, 500],
  ]) {
    clearAnswers();
    answers["/events"] = answer;
    await start({ transport: "events" });
    await settleStreams();
    assert.deepEqual(last(), { status: "waiting", previous: "connecting", retryInMs, reason });
    client.close();
  }
});

test("a token error takes a new token, and needs no beat", async () => {
  answers["/events"] = [500, "Token error"];
  await start({ transport: "events" });
  await settleStreams();
  clearAnswers();
  await passStreams(500);
  assert.deepEqual(requests.map(({ pathname }) => pathname), ["/get/token", "/events", "/get/token", "/events"]);
});

test("a stream of which nothing but the head comes is given up", async () => {
  await start({ transport: "events" });
  await settleStreams();
  assert.equal(client.status, "connecting");
  await passStreams(15_000);
  assert.ok(streams[0].signal.aborted);
  assert.equal(last().reason.kind, "handshake");
  assert.match(last().reason.detail, /event stream does not begin/);
});

test("a stream beats in both modes", async () => {
  const pong = { "roomcast-heartbeat": "pong" };
  Object.assign(answers, { "/get/token": [200, secret, pong], "/heartbeat": [200, null, pong] });
  await stream();
  for (let second = 0; second < 60; second += 1) {
    await passStreams(1_000);
    if (second % 20 === 0) await streams[0].send(":\n\n");
  }
  assert.ok(beats() >= 2);
  assert.equal(streams.length, 1);
});

test("without comments silence means nothing", async () => {
  await stream();
  for (let second = 0; second < 600; second += 1) await passStreams(1_000);
  assert.equal(streams.length, 1);
});

test("a stream that is silent for two comments is dead, whatever the beats say", async () => {
  await stream();
  for (let second = 0; second < 120; second += 1) {
    await passStreams(1_000);
    if (second % 25 === 24) await streams[0].send(":\n\n");
  }
  assert.equal(streams.length, 1);
  for (let second = 0; second < 120 && streams.length === 1; second += 1) await passStreams(1_000);
  assert.ok(streams[0].signal.aborted);
  const { reason } = said.statuses.find(({ status }) => status === "waiting");
  assert.deepEqual(reason, { kind: "close", code: 1006, detail: "the event stream was silent" });
  await streams[1].send(":\n\n");
  assert.equal(said.gaps.length, 1);
});

test("comments show that the gateway was there", async () => {
  await stream();
  await passStreams(10_000);
  await streams[0].send(":\n\n");
  await passStreams(1_000);
  await passStreams(2_000);
  await streams[0].end();
  await passStreams(500);
  await streams[1].send(":\n\n");
  assert.equal(said.gaps[0].ms, 3_500);
});

test("two WebSockets that fail where HTTP works lead to an event stream", async () => {
  const way = elsewhere();
  await start(way);
  assert.equal(client.transport, "websocket");
  await refuseSocket();
  assert.equal(sockets.length, 2);
  await refuseSocket();
  assert.equal(sockets.length, 2);
  await streams[0].send(`:\n\n${notice(1)}`);
  assert.deepEqual([client.status, client.transport, said.notices.length], ["open", "events", 1]);
  assert.deepEqual(said.gaps, [], "nothing was open before");

  await start(way);
  await settleStreams();
  assert.deepEqual([sockets.length, streams.length], [2, 2], "the next client knows");
  client.close();
  await start(elsewhere());
  assert.equal(sockets.length, 3, "another gateway's way may be another");
  client.close();
  sleep(3_600_000);
  await start(way);
  assert.equal(sockets.length, 4, "and not for ever");
});

test("an hour later one more failure is enough", async () => {
  const way = elsewhere();
  await start(way);
  for (let attempt = 0; attempt < 2; attempt += 1) await refuseSocket();
  await streams[0].send(":\n\n");
  await streams[0].end();
  await passStreams(last().retryInMs);
  assert.deepEqual([sockets.length, streams.length], [2, 2], "within the hour none at all");
  await streams[1].send(":\n\n");
  sleep(3_600_000);
  await streams[1].end();
  await passStreams(last().retryInMs);
  assert.equal(sockets.length, 3);
  await refuseSocket();
  assert.deepEqual([sockets.length, streams.length], [3, 3]);
});

test("while nothing answers it stays with WebSockets", async () => {
  answers["/heartbeat"] = null;
  await start(elsewhere());
  for (let attempt = 0; attempt < 8; attempt += 1) await refuseSocket();
  assert.deepEqual([sockets.length, streams.length], [9, 0]);
});

test("where neither opens it tries both in turn, and remembers nothing", async () => {
  const way = elsewhere();
  await start(way);
  answers["/events"] = [502];
  for (let attempt = 0; attempt < 3; attempt += 1) await refuseSocket();
  const tried = requests.filter(({ pathname }) => pathname === "/events").length;
  assert.deepEqual([sockets.length, tried], [3, 1]);
  client.close();
  await start(way);
  assert.equal(sockets.length, 4);
});

test("an older gateway has no event streams", async () => {
  await start(elsewhere());
  answers["/events"] = [404, "Not found"];
  await refuseSocket();
  await refuseSocket();
  assert.deepEqual(last().reason, { kind: "status", status: 404, detail: "Not found" });
  await passStreams(last().retryInMs);
  assert.equal(sockets.length, 3);
});

test("what a page remembers ends with a gateway that has become an older one", async () => {
  const way = elsewhere();
  await start(way);
  for (let attempt = 0; attempt < 2; attempt += 1) await refuseSocket();
  await streams[0].send(":\n\n");
  answers["/events"] = [404, "Not found"];
  await streams[0].end();
  await passStreams(last().retryInMs);
  assert.equal(last().reason.status, 404);
  await passStreams(last().retryInMs);
  assert.equal(sockets.length, 3);
});

test("a full gateway is not a proxy that refuses WebSockets", async () => {
  const way = elsewhere();
  await start(way);
  answers["/events"] = [503, "service unavailable", { "retry-after": "3" }];
  await refuseSocket();
  await refuseSocket();
  assert.equal(last().reason.status, 503);
  await passStreams(last().retryInMs);
  assert.equal(sockets.length, 3);
  sockets.at(-1).open();
  client.close();
  await start(way);
  assert.equal(sockets.length, 4);
});

test("where a WebSocket has worked its page begins with one", async () => {
  const way = elsewhere();
  await start(way);
  sockets[0].open();
  sockets[0].receive("{}");
  sockets[0].end(1006);
  await passStreams(last().retryInMs);
  await refuseSocket();
  await refuseSocket();
  await streams[0].send(":\n\n");
  await start(way);
  assert.deepEqual([sockets.length, streams.length], [4, 1]);
});

test("a proxy that agrees to an upgrade and cuts it is one that refuses", async () => {
  await start(elsewhere());
  for (let attempt = 0; attempt < 2; attempt += 1) {
    sockets.at(-1).open();
    await refuseSocket();
  }
  assert.deepEqual([sockets.length, streams.length], [2, 1]);
});

test("another network is another way", async (t) => {
  const page = new EventTarget();
  Object.defineProperty(globalThis, "document", { value: page, configurable: true });
  for (const name of ["addEventListener", "dispatchEvent"]) globalThis[name] = page[name].bind(page);
  t.after(() => { for (const name of ["document", "addEventListener", "dispatchEvent"]) delete globalThis[name]; });
  await start(elsewhere());
  for (let attempt = 0; attempt < 2; attempt += 1) await refuseSocket();
  await streams[0].send(":\n\n");
  for (const name of ["offline", "online"]) page.dispatchEvent(new Event(name));
  await settleStreams();
  assert.deepEqual([sockets.length, streams.length], [3, 1]);
});

test("where there is no WebSocket at all it begins with an event stream", async (t) => {
  const own = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  if (own) {
    delete globalThis.WebSocket;
    t.after(() => Object.defineProperty(globalThis, "WebSocket", own));
  }
  await start({ ...elsewhere(), WebSocket: undefined });
  await settleStreams();
  assert.equal(streams.length, 1);
});

test("positions go over from one transport to the other", async () => {
  await start({ ...elsewhere(), durable: true });
  sockets[0].open();
  const text = (event) => event.slice("data: ".length, -2);
  sockets[0].receive(text(resume(position(0))));
  sockets[0].receive(text(notice(1)));
  sockets[0].end(1006);
  await passStreams(last().retryInMs);
  await refuseSocket();
  await refuseSocket();
  assert.equal(streams[0].url.searchParams.get("since"), position(1));
  await streams[0].send(`:\n\n${resume(position(1))}${notice(2)}id: ${position(2)}\n\n${notice(3)}`);
  await streams[0].end();
  answers["/events"] = [502];
  await passStreams(last().retryInMs);
  for (let attempt = 0; attempt < 3 && sockets.length < 4; attempt += 1) await passStreams(last().retryInMs);
  assert.equal(sockets.at(-1).url.searchParams.get("since"), position(3));
  sockets.at(-1).open();
  sockets.at(-1).receive(text(resume(position(3))));
  sockets.at(-1).receive(text(notice(4)));
  assert.deepEqual(said.notices.map(({ data }) => data.n), [1, 2, 3, 4]);
  assert.deepEqual(said.gaps, []);
  assert.equal(client.counts.resumed, 2);
});

test("close ends a stream at every moment", async () => {
  const moments = [
    async () => { await start({ transport: "events" }); await settleStreams(); },
    async () => stream(),
    async () => { await stream(); await streams.at(-1).end(); },
    async () => stream({ onnotice: () => client.close() }),
  ];
  for (const moment of moments) {
    await moment();
    await streams.at(-1).send("data: 1\n\ndata: 2\n\n").catch(() => {});
    client.close();
    const before = [said.statuses.length, said.notices.length, requests.length];
    assert.ok(streams.at(-1).signal.aborted || said.statuses.some(({ status }) => status === "waiting"));
    assert.equal(timers.size, 0);
    await passStreams(3_600_000);
    assert.deepEqual([said.statuses.length, said.notices.length, requests.length], before);
  }
  assert.deepEqual(said.errors, []);
});

test("no error of a stream names the token", async () => {
  answers["/events"] = answers["/heartbeat"] = null;
  await start({ transport: "events" });
  for (let attempt = 0; attempt < 6; attempt += 1) await passStreams(last()?.retryInMs ?? 0);
  for (const error of said.errors) assert.doesNotMatch(String(error.stack) + JSON.stringify(error), /secret/);
});
