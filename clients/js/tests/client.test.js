// What a client does if its surroundings misbehave in ways that a real gateway cannot be made to show on demand.
// Tests/EndToEndTests has the tests with real ones.
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import {
  answer, answers, beats, clearAnswers, client, last, open, pass, requests, said, secret, setBack, settle, sleep, sockets,
  start, timers,
} from "./surroundings.js";

test("the token goes where it is told to", async () => {
  await start({ rooms: ["a b", "ü&c"] });
  assert.equal(sockets[0].url.protocol, "ws:");
  assert.equal(sockets[0].url.searchParams.get("roomIds"), "a b,ü&c");
  assert.equal(sockets[0].url.searchParams.get("token"), secret);
  assert.deepEqual(sockets[0].protocols, []);
  client.close();
  await start({ tokenIn: "subprotocol", url: "wss://edge.example/push/" });
  assert.equal(String(sockets[1].url), "wss://edge.example/push/ws?roomIds=a");
  assert.deepEqual(sockets[1].protocols, ["roomcast", `token.${secret}`]);
  assert.equal(requests[1].pathname, "/push/get/token");
});

test("a beat has the token where the handshake has it not in its URL either", async () => {
  await open();
  await pass(25_000);
  assert.equal(requests.at(-1).href, `http://edge.example/heartbeat?token=${secret}`);
  assert.deepEqual(requests.at(-1).headers, {});
  client.close();
  await open({ tokenIn: "subprotocol" });
  await pass(25_000);
  assert.equal(requests.at(-1).href, "http://edge.example/heartbeat");
  assert.deepEqual(requests.at(-1).headers, { Authorization: `Bearer ${secret}` });
  sockets.at(-1).end(1006);
  await pass(500);
  sockets.at(-1).end(1006);
  await settle();
  assert.equal(requests.at(-1).href, "http://edge.example/heartbeat", "nor in that after a handshake");
});

test("beats come in time, with something on the socket for the proxies", async () => {
  await open();
  await pass(21_000);
  assert.equal(beats(), 0);
  await pass(4_000);
  assert.equal(beats(), 1);
  assert.deepEqual(sockets[0].sent, [""]);
  await pass(25_000);
  assert.equal(beats(), 2);
});

test("a frame that is no JSON costs nothing but a report", async () => {
  await open();
  for (const data of ["{", "", new ArrayBuffer(2)]) sockets[0].receive(data);
  sockets[0].receive('{"type":"notice","data":1}');
  assert.equal(client.status, "open");
  assert.deepEqual(client.counts, {
    notices: 1, reconnects: 0, gaps: 0, unreadable: 3, resumed: 0, lost: 0,
  });
  assert.equal(said.errors.length, 3);
});

test("any JSON is a notice but the gateway's own gap", async () => {
  await open();
  const notices = [null, 7, "x", [], {}, { type: "gap" }, { type: "gap", data: { rooms: ["a"], ms: "1" } }];
  for (const notice of notices) sockets[0].receive(JSON.stringify(notice));
  assert.deepEqual(said.notices, notices);
  assert.equal(client.counts.gaps, 0);
});

for (const [code, delay] of [[1001, 1_000], [4000, 1_000], [1006, 500], [1013, 4_000], [4999, 500]]) {
  test(`after ${code} it comes back with the same token in ${delay} ms`, async () => {
    await open();
    sockets[0].end(code);
    const reason = { kind: "close", code };
    assert.deepEqual(last(), { status: "waiting", previous: "open", retryInMs: delay, code, reason });
    await pass(delay - 1);
    assert.equal(sockets.length, 1);
    await pass(1);
    assert.equal(sockets[1].url.searchParams.get("token"), secret);
    sockets[1].open();
    assert.deepEqual(said.gaps, [{ rooms: ["a"], ms: delay, source: "reconnect" }]);
    assert.equal(client.counts.reconnects, 1);
  });
}

for (const [code, reason] of [
  [1002, "protocol"], [1007, "protocol"], [1008, "protocol"], [1009, "protocol"], [4001, "replaced"],
  [4003, "revoked"],
]) {
  test(`after ${code} it ends: ${reason}`, async () => {
    await open();
    sockets[0].end(code);
    await pass(3_600_000);
    assert.deepEqual(last(), { status: "closed", previous: "open", reason, code });
    assert.equal(sockets.length, 1);
    assert.equal(requests.length, 1);
    assert.deepEqual(said.errors.map(({ reason }) => reason), [{ kind: "close", code }], "this does not heal");
    assert.match(said.errors[0].message, new RegExp(`${reason}: ${code}$`));
  });
}

test("attempts that fail come less and less often, and a good connection forgets them", async () => {
  await open();
  sockets[0].end(1006);
  for (const delay of [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
    assert.equal(last().retryInMs, delay);
    await pass(delay);
    sockets.at(-1).end(1006);
    await settle();
  }
  await pass(15_000);
  sockets.at(-1).open();
  await pass(9_999);
  sockets.at(-1).end(1006);
  assert.equal(last().retryInMs, 15_000, "too short to be good");
  await pass(15_000);
  sockets.at(-1).open();
  await pass(10_000);
  sockets.at(-1).end(1006);
  assert.equal(last().retryInMs, 500);
});

test("a handshake without an answer is given up", async () => {
  await start();
  await pass(15_000);
  assert.equal(sockets[0].closedWith, 1000);
  assert.equal(client.status, "waiting");
});

test("a refused handshake asks whether it was the token", async () => {
  await start();
  answers["/heartbeat"] = [500, "token error"];
  sockets[0].end(1006);
  await settle();
  await pass(500);
  assert.equal(requests.filter((url) => url.pathname === "/get/token").length, 2);
  answers["/heartbeat"] = [503, "service unavailable"];
  sockets[1].end(1006);
  await settle();
  await pass(1_000);
  assert.equal(sockets.length, 3);
  assert.equal(requests.filter((url) => url.pathname === "/get/token").length, 2, "503 is not the token's fault");
});

test("Redis away is no reason to leave", async () => {
  await open();
  answers["/heartbeat"] = [503, "service unavailable"];
  for (let second = 0; second < 300; second += 1) await pass(1_000);
  assert.equal(client.status, "open");
  assert.equal(sockets.length, 1);
  assert.ok(beats() > 30 && beats() < 100, `${beats()} beats`);
  delete answers["/heartbeat"];
  for (let second = 0; second < 60; second += 1) await pass(1_000);
  assert.equal(sockets.length, 1);
});

test("a token that its node writes again after a loss of Redis is kept", async () => {
  await open();
  await pass(24_000);
  answers["/heartbeat"] = [500, "token error"];
  for (let second = 0; second < 45; second += 1) await pass(1_000);
  assert.ok(beats() > 3);
  delete answers["/heartbeat"];
  for (let second = 0; second < 60; second += 1) await pass(1_000);
  assert.equal(sockets.length, 1);
  assert.equal(client.status, "open");
});

test("a token that stays unknown is replaced, should its node say nothing", async () => {
  await open();
  answers["/heartbeat"] = [500, "token error"];
  for (let second = 0; second < 65; second += 1) await pass(1_000);
  assert.equal(sockets.length, 2);
  assert.equal(requests.filter((url) => url.pathname === "/get/token").length, 2);
  assert.equal(sockets[0].closedWith, 1000);
});

test("a way that is dead is found by the beats, and the gap begins where they ended", async () => {
  await open();
  await pass(24_000);
  answers["/heartbeat"] = null;
  for (let second = 0; second < 70; second += 1) await pass(1_000);
  assert.equal(sockets[0].closedWith, 1000);
  assert.ok(sockets.length > 1);
  delete answers["/heartbeat"];
  sockets.at(-1).open();
  assert.equal(said.gaps.length, 1);
  assert.ok(said.gaps[0].ms > 60_000, `${said.gaps[0].ms} ms`);
});

test("a gap counts from what was heard, not from when a busy page found the end", async () => {
  await open();
  await pass(24_000);
  assert.equal(beats(), 1, "the last thing that was heard");
  await pass(8_000);
  sockets[0].end(1006);
  await pass(500);
  sockets[1].open();
  assert.deepEqual(said.gaps, [{ rooms: ["a"], ms: 8_500, source: "reconnect" }]);
});

test("a message was heard when it came, if nothing was late in the second after it", async () => {
  await open();
  await pass(10_000);
  sockets[0].receive("{}");
  await pass(1_000);
  await pass(2_000);
  sockets[0].end(1006);
  await pass(500);
  sockets[1].open();
  assert.equal(said.gaps[0].ms, 3_500);
});

test("a message that lay there with the end of its connection behind it shortens no gap", async () => {
  await open();
  await pass(5_000);
  sleep(8_000);
  sockets[0].receive("{}");
  sockets[0].end(1006);
  await pass(500);
  sockets[1].open();
  assert.equal(said.gaps[0].ms, 13_500);
  sleep(8_000);
  sockets[1].receive("{}");
  sleep(7_000);
  await pass(1_000);
  sockets[1].end(1006);
  await pass(1_000);
  sockets[2].open();
  assert.equal(said.gaps[1].ms, 17_000, "the proof came late");
});

test("a connection that opened during a pause of the page was heard before it", async () => {
  await start();
  sleep(8_000);
  sockets[0].open();
  sockets[0].end(1006);
  await pass(500);
  sockets[1].open();
  assert.equal(said.gaps[0].ms, 8_500);
});

test("what was answered during a pause of the page was heard before it", async () => {
  await open();
  await pass(23_000);
  let arrive;
  globalThis.fetch.mock.mockImplementationOnce(() => new Promise((resolve) => { arrive = resolve; }));
  await pass(500);
  sleep(8_000);
  arrive(answer("/heartbeat"));
  await settle();
  sockets[0].end(1006);
  await pass(500);
  sockets[1].open();
  assert.ok(said.gaps[0].ms >= 8_500, `${said.gaps[0].ms} ms`);
});

test("a wall clock that is set back hides neither a dead connection nor a gap", async () => {
  await open();
  await pass(24_000);
  answers["/heartbeat"] = null;
  setBack(3_600_000);
  for (let second = 0; second < 70; second += 1) await pass(1_000);
  assert.equal(sockets[0].closedWith, 1000);
  delete answers["/heartbeat"];
  sockets.at(-1).open();
  assert.ok(said.gaps[0].ms > 60_000, `${said.gaps[0].ms} ms`);
});

test("setting the clock back does not hide a sleep", async () => {
  await open();
  sockets[0].end(1006);
  setBack(7_200_000);
  await pass(500);
  sleep(3_600_000);
  sockets[1].open();
  assert.ok(said.gaps[0].ms >= 3_600_000, `${said.gaps[0].ms} ms`);
});

test("after a sleep the first beat decides, and the sleep is part of the gap", async () => {
  await open();
  sleep(3_600_000);
  await pass(25_000);
  assert.equal(sockets.length, 2);
  assert.equal(sockets[0].closedWith, 1000);
  sockets[1].open();
  assert.ok(said.gaps[0].ms >= 3_600_000, `${said.gaps[0].ms} ms`);
});

test("a Close that lay there during the sleep does not shorten the gap", async () => {
  await open();
  sleep(3_600_000);
  sockets[0].end(4000);
  await pass(1_000);
  sockets[1].open();
  assert.ok(said.gaps[0].ms >= 3_600_000, `${said.gaps[0].ms} ms`);
});

test("getToken says why it is asked, and null ends the client", async () => {
  const asked = [];
  const tokens = ["first-token", "second-token", null];
  await open({ getToken: async ({ reason, rooms }) => { asked.push([reason, ...rooms]); return tokens.shift(); } });
  sockets[0].end(4003);
  await pass(500);
  sockets[1].open();
  assert.equal(sockets[1].url.searchParams.get("token"), "second-token");
  sockets[1].end(4003);
  await pass(1_000);
  assert.deepEqual(asked, [["first", "a"], ["revoked", "a"], ["revoked", "a"]]);
  assert.equal(last().reason, "no token");
});

test("a getToken that fails is reported and asked again", async () => {
  const failures = [
    () => { throw new Error("thrown"); }, () => Promise.reject(new Error("rejected")), () => undefined,
    () => "no token at all!", () => new Promise(() => {}), () => "good",
  ];
  await start({ getToken: () => failures.shift()() });
  for (let second = 0; second < 120 && !sockets.length; second += 1) await pass(1_000);
  assert.equal(sockets[0].url.searchParams.get("token"), "good");
  assert.deepEqual(said.errors.map((error) => error.message.slice(0, 28)), [
    "thrown", "rejected", "Roomcast: getToken must retu", "Roomcast: getToken must retu",
    "Roomcast: getToken did not a",
  ]);
});

test("a client that may have no token ends, and says what the gateway said", async () => {
  answers["/get/token"] = [401, "Issue key required"];
  await start();
  assert.equal(last().reason, "refused");
  assert.match(said.errors[0].message, /401 Issue key required/);
});

for (const status of [200, 400, 401, 403, 404]) {
  test(`a page of somebody else's with ${status} in place of a token is no refusal`, async () => {
    answers["/get/token"] = [status];
    await start();
    assert.equal(last().status, "waiting");
    assert.deepEqual(last().reason, { kind: "status", status, detail: "not the gateway's answer" });
    for (let second = 0; second < 120; second += 1) await pass(1_000);
    assert.equal(said.errors.length, 1, "told once, when it stays");
    assert.deepEqual(said.errors[0].reason, last().reason);
    delete answers["/get/token"];
    await pass(30_000);
    assert.equal(sockets.length, 1);
  });
}

test("JSON that is not of the API's form is no refusal", async () => {
  for (const body of ['{"message":"no Route matched"}', '"data"', "[]", "null", '{"data":{"status":404}}', "{"]) {
    const headers = { "content-type": "application/json; charset=utf-8" };
    globalThis.fetch.mock.mockImplementationOnce(async () => new Response(body, { status: 404, headers }));
    await start();
    assert.equal(last().status, "waiting", body);
    client.close();
  }
});

test("refusals end a client that was served before only when they last", async () => {
  await open();
  answers["/heartbeat"] = [500, "token error"];
  answers["/get/token"] = [401, "Issue key required"];
  sockets[0].end(1006);
  await pass(500);
  sockets[1].end(1006);
  await settle();
  let asked = 0;
  while (client.status !== "closed" && asked < 100) {
    await pass(last().retryInMs);
    asked = requests.filter((url) => url.pathname === "/get/token").length - 1;
  }
  assert.equal(asked, 6);
  assert.equal(last().reason, "refused");
  assert.match(said.errors.at(-1).message, /401 Issue key required/);
});

test("a refusal that goes away is forgotten", async () => {
  await open();
  for (let round = 0; round < 3; round += 1) {
    answers["/heartbeat"] = [500, "token error"];
    answers["/get/token"] = [404, "Not found"];
    sockets.at(-1).end(1006);
    await pass(last().retryInMs);
    sockets.at(-1).end(1006);
    await settle();
    for (let attempt = 0; attempt < 4; attempt += 1) await pass(last().retryInMs);
    assert.equal(client.status, "waiting");
    clearAnswers();
    await pass(last().retryInMs);
    sockets.at(-1).open();
    await pass(10_000);
  }
  assert.equal(client.status, "open");
});

test("pages in place of beats are no answers, and no reason to leave but the last", async () => {
  await open();
  answers["/heartbeat"] = [404];
  await pass(24_000);
  assert.equal(client.status, "open");
  for (let second = 0; second < 30; second += 1) await pass(1_000);
  assert.equal(sockets[0].closedWith, 1000);
  assert.equal(requests.filter((url) => url.pathname === "/get/token").length, 1, "the token is not in doubt");
  assert.equal(said.statuses.find(({ status }) => status === "waiting").reason.status, 404);
});

test("a token error has to be the gateway's own", async () => {
  await open();
  globalThis.fetch.mock.mockImplementation(async () =>
    new Response('{"data":"token error"}', { status: 500, headers: { "content-type": "text/plain" } }));
  sockets[0].end(1006);
  await pass(500);
  sockets[1].end(1006);
  await settle();
  await pass(1_000);
  assert.equal(sockets[2].url.searchParams.get("token"), secret);
});

test("whoever asks for patience gets it", async () => {
  answers["/get/token"] = [429, "Too many requests", { "retry-after": "7" }];
  await start();
  assert.equal(last().retryInMs, 7_500);
  assert.deepEqual(last().reason, { kind: "status", status: 429, detail: "Too many requests" });
  answers["/get/token"] = [503, undefined, { "retry-after": new Date(Date.now() + 67_500).toUTCString() }];
  await pass(7_499);
  assert.equal(requests.length, 1);
  await pass(1);
  assert.equal(requests.length, 2);
  assert.ok(Math.abs(last().retryInMs - 61_000) < 1_000, `${last().retryInMs} ms`);
  answers["/get/token"] = [500, "x", { "retry-after": "60" }];
  await pass(last().retryInMs);
  assert.equal(last().retryInMs, 2_000, "only 429 and 503 are about load");
  delete answers["/get/token"];
  await pass(2_000);
  answers["/heartbeat"] = [429, "Too many requests", { "retry-after": "20" }];
  sockets[0].end(1006);
  await settle();
  assert.equal(last().retryInMs, 24_000, "a handshake's refusal is known from the beat");
  await pass(24_000);
  sockets[1].open();
  const before = beats();
  await pass(24_000);
  assert.equal(beats(), before + 1);
  await pass(19_000);
  assert.equal(beats(), before + 1);
  await pass(2_000);
  assert.equal(beats(), before + 2);
});

test("the reason to wait has what is known", async () => {
  answers["/get/token"] = null;
  await start();
  assert.equal(last().reason.kind, "network");
  assert.match(last().reason.detail, /does not allow this origin.*does not say which/);
  answers["/get/token"] = [400, "Invalid request parameters", { "roomcast-detail": "userId: missing" }];
  await pass(500);
  assert.deepEqual(said.errors.at(-1).reason, { kind: "status", status: 400, detail: "userId: missing" });
  clearAnswers();
  await start();
  sockets.at(-1).end(1006);
  await settle();
  assert.equal(last().reason.kind, "handshake");
  await pass(500);
  sockets.at(-1).open();
  sockets.at(-1).end(1001, "node is going away");
  assert.deepEqual(last().reason, { kind: "close", code: 1001, detail: "node is going away" });
  globalThis.fetch.mock.mockImplementation(() => new Promise(() => {}));
  await start();
  await pass(10_000);
  assert.equal(last().status, "connecting", "this fetch cannot be aborted");
});

test("what may stay for ever is told once, and what heals is not", async () => {
  answers["/get/token"] = null;
  await start();
  for (let attempt = 0; attempt < 10; attempt += 1) await pass(last().retryInMs);
  assert.deepEqual(said.errors.map(({ reason }) => reason.kind), ["network"]);
  clearAnswers();
  await pass(last().retryInMs);
  sockets.at(-1).open();
  await pass(10_000);
  for (let attempt = 0; attempt < 10; attempt += 1) {
    answers["/heartbeat"] = null;
    sockets.at(-1).end(1006);
    await settle();
    await pass(last().retryInMs);
  }
  assert.equal(said.errors.length, 1, "it was served before: an outage");
  clearAnswers();
  sockets.at(-1).end(1006);
  await settle();
  assert.deepEqual(said.errors.map(({ reason }) => reason.kind), ["network", "handshake"]);
});

test("without an answer tokens are asked for again", async () => {
  answers["/get/token"] = null;
  await start();
  answers["/get/token"] = [503, "service unavailable"];
  await pass(500);
  assert.equal(last().retryInMs, 1_000);
  delete answers["/get/token"];
  await pass(1_000);
  assert.equal(sockets.length, 1);
});

test("no error names the token", async () => {
  class Throwing { constructor(url) { throw new SyntaxError(`bad url ${url}`); } }
  await start({ WebSocket: Throwing });
  assert.equal(last().reason, "refused");
  await start({ getToken: () => `${secret} ` });
  assert.equal(said.errors.length, 2);
  for (const error of said.errors) assert.doesNotMatch(String(error.stack) + JSON.stringify(error), /secret/);
});

test("a timeout that no timer can hold makes no storm of beats", async () => {
  await open({ heartbeatTimeoutMs: 2 ** 40 });
  await pass(3_600_000);
  assert.equal(beats(), 0);
});

test("slashes at the end of the url are none too many", async () => {
  for (const url of ["http://edge.example/push//", "http://edge.example/push///?", "http://edge.example/push#"]) {
    await start({ url });
    assert.equal(requests.at(-1).pathname, "/push/get/token");
    assert.equal(sockets.at(-1).url.pathname, "/push/ws");
    client.close();
  }
});

test("a page that is frozen or put away says goodbye, and comes back at once", async (t) => {
  const page = Object.assign(new EventTarget(), { hidden: false });
  Object.defineProperty(globalThis, "document", { value: page, configurable: true });
  for (const name of ["addEventListener", "dispatchEvent"]) globalThis[name] = page[name].bind(page);
  t.after(() => { for (const name of ["document", "addEventListener", "dispatchEvent"]) delete globalThis[name]; });
  const happen = (name, fields) => page.dispatchEvent(Object.assign(new Event(name), fields));

  await open();
  await pass(5_000);
  for (const [going, coming, fields] of [
    ["freeze", "resume"], ["pagehide", "pageshow", { persisted: true }], ["freeze", "visibilitychange"],
  ]) {
    const before = sockets.length;
    happen(going, fields);
    assert.equal(sockets.at(-1).closedWith, 1000);
    assert.deepEqual(last(), { status: "waiting", previous: "open", retryInMs: 30_000, reason: { kind: "frozen" } });
    happen(going, fields);
    sleep(8_000);
    happen(coming, fields);
    happen(coming, fields);
    await settle();
    assert.equal(sockets.length, before + 1);
    sockets.at(-1).open();
    assert.ok(said.gaps.at(-1).ms >= 8_000, `${said.gaps.at(-1).ms} ms`);
  }
  assert.equal(said.gaps.length, 3);
  happen("pageshow", { persisted: false });
  assert.equal(beats(), 0, "a page that was only loaded");
  answers["/heartbeat"] = [503, "service unavailable", { "retry-after": "20" }];
  await pass(24_000);
  happen("freeze");
  happen("resume");
  assert.equal(client.status, "connecting", "it was a beat that should wait");
  client.close();
  happen("freeze");
  happen("resume");
  assert.equal(client.status, "closed");
});

test("asked for patience it does not come back for a glance", async (t) => {
  const page = Object.assign(new EventTarget(), { hidden: false });
  Object.defineProperty(globalThis, "document", { value: page, configurable: true });
  t.after(() => { delete globalThis.document; });
  answers["/get/token"] = [429, "Too many requests", { "retry-after": "60" }];
  await start();
  page.dispatchEvent(new Event("visibilitychange"));
  await pass(59_000);
  page.dispatchEvent(new Event("visibilitychange"));
  await settle();
  assert.equal(requests.length, 1);
  sleep(60_000);
  page.dispatchEvent(new Event("visibilitychange"));
  await settle();
  assert.equal(requests.length, 2, "the time has passed, asleep");
});

test("close is final at every moment", async () => {
  const moments = [
    async () => start(), async () => { await start(); sockets.at(-1).end(1006); },
    async () => open(), async () => { await open(); mock.timers.tick(24_000); },
    async () => { await open(); sockets.at(-1).end(1001); },
    async () => start({ getToken: () => new Promise(() => {}) }),
  ];
  for (const moment of moments) {
    await moment();
    client.close();
    client.close();
    assert.deepEqual([last().status, last().reason], ["closed", "closed"]);
    const before = [said.statuses.length, sockets.length, requests.length];
    sockets.at(-1)?.end(1006);
    sockets.at(-1)?.open();
    assert.equal(timers.size, 0);
    await pass(3_600_000);
    assert.deepEqual([said.statuses.length, sockets.length, requests.length], before);
    assert.equal(client.status, "closed");
  }
});

test("callbacks may close the client", async () => {
  await start({ onstatus: ({ status }) => { if (status === "connecting") client.close(); } });
  assert.equal(requests.length, 0);
  await open({ onstatus: ({ status }) => { if (status === "open") client.close(); } });
  assert.equal(client.status, "closed");
  assert.equal(sockets[0].closedWith, 1000);
  await open({ onstatus: ({ status }) => { if (status === "waiting") client.close(); } });
  sockets.at(-1).end(1006);
  await pass(60_000);
  assert.equal(sockets.length, 2);
});

test("an onerror that throws harms nobody", async () => {
  const printed = mock.method(console, "error", () => {});
  await open({ onnotice: () => { throw new Error("a"); }, onerror: () => { throw new Error("b"); } });
  sockets[0].receive("{}");
  client.onerror = null;
  sockets[0].receive("{}");
  client.onerror = async () => { throw new Error("c"); };
  sockets[0].receive("{}");
  await settle();
  assert.deepEqual(printed.mock.calls.map(({ arguments: [error] }) => error.message), ["b", "a", "c"]);
  assert.equal(client.status, "open");
});
