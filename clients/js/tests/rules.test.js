// The rules of the client that need no gateway: close codes, backoff, and which options it refuses.
import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffMs, checkedRooms, closeRule, connect, retryAfterMs } from "../roomcast.js";

const good = { url: "http://127.0.0.1:1", rooms: ["a"], userId: "u", WebSocket: class {} };

test("every close code of the contract has its rule", () => {
  const rules = {
    1001: "retry soon", 1002: "stop", 1007: "stop", 1008: "stop", 1009: "stop", 1013: "back off",
    4000: "retry soon", 4001: "stop", 4003: "stop",
  };
  for (const [code, action] of Object.entries(rules)) assert.equal(closeRule(Number(code), false).action, action);
  assert.equal(closeRule(4001, true).reason, "replaced");
  assert.equal(closeRule(4003, false).reason, "revoked");
  assert.equal(closeRule(4003, true).action, "new token");
});

test("codes that the contract does not name are tried again", () => {
  for (const code of [1000, 1005, 1006, 1011, 1012, 1014, 4002, 4999]) {
    assert.equal(closeRule(code, false).action, "retry");
  }
});

test("backoff doubles up to its cap and is spread over all of it", () => {
  const ceilings = [0, 1, 2, 3, 4, 5, 6, 1000].map((attempt) => backoffMs(attempt, () => 1));
  assert.deepEqual(ceilings, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  assert.equal(backoffMs(5, () => 0), 0);
  assert.equal(backoffMs(5, () => 0.5), 15000);
});

test("Retry-After is a number of seconds or a date, and no more than five minutes", () => {
  const now = Date.UTC(2026, 0, 1);
  for (const [text, ms] of [
    ["0", 0], ["1", 1_000], [" 30 ", 30_000], ["86400", 300_000], ["9".repeat(400), 300_000],
    ["Thu, 01 Jan 2026 00:00:30 GMT", 30_000], ["Thu, 01 Jan 2026 12:00:00 GMT", 300_000],
    ["Wed, 31 Dec 2025 23:59:59 GMT", 0], ["soon GMT", 0], ["-5", 0], ["1.5", 0], ["2030", 300_000], ["", 0], [null, 0],
    [undefined, 0], ["1e9", 0], ["Infinity", 0],
  ]) {
    assert.equal(retryAfterMs(text, now), ms, String(text));
  }
});

test("rooms keep their order and lose their repeats", () => {
  assert.deepEqual(checkedRooms(["b", "a", "b"]), ["b", "a"]);
});

test("a room id has 1 to 128 bytes, not characters", () => {
  assert.deepEqual(checkedRooms(["é".repeat(64)]), ["é".repeat(64)]);
  assert.throws(() => checkedRooms(["é".repeat(64) + "a"]), /1 to 128 bytes of UTF-8, not 129/);
  assert.throws(() => checkedRooms([""]), /not 0/);
});

test("rooms that no gateway takes are refused", () => {
  for (const [rooms, reason] of [
    ["lobby", /array/], [undefined, /array/], [[], /one or two rooms, not 0/], [["a", "b", "c"], /not 3/],
    [["a,b"], /comma/], [[7], /must be a string/], [["a\n"], /control/], [["\u007f"], /control/],
    [["\u0085"], /control/], [["\ud800"], /surrogate/],
  ]) {
    assert.throws(() => checkedRooms(rooms), (error) => error instanceof TypeError && reason.test(error.message));
  }
  assert.deepEqual(checkedRooms(["😀"]), ["😀"]);
});

test("options that cannot work are refused before anything is sent", () => {
  for (const [change, reason] of [
    [{ url: "ftp://a" }, /url/], [{ url: "nowhere" }, /url/], [{ url: "http://a/?b=c" }, /url/],
    [{ url: "http://user:secret@a/" }, /url/], [{ url: undefined }, /url/],
    [{ deviceId: "d" }, /one of userId and deviceId/], [{ userId: undefined }, /or getToken/],
    [{ userId: 42 }, /userId must be a string/], [{ userId: "u".repeat(257) }, /256 bytes/],
    [{ getToken: "t" }, /getToken must be a function/], [{ tokenIn: "header" }, /tokenIn/],
    [{ heartbeatTimeoutMs: 10 }, /heartbeatTimeoutMs/], [{ heartbeatTimeoutMs: "30s" }, /heartbeatTimeoutMs/],
    [{ heartbeatTimeoutMs: Infinity }, /heartbeatTimeoutMs/],
    [{ heartbeatTimeoutMs: NaN }, /heartbeatTimeoutMs/],
    [{ backgroundTimer: "no" }, /backgroundTimer/], [{ WebSocket: null }, /WebSocket/], [{ WebSocket: "x" }, /WebSocket/],
    [{ transport: "polling" }, /transport/], [{ transport: null }, /transport/],
    [{ onnotice: "x" }, /onnotice must be a function/], [{ onresume: {} }, /onresume must be a function/],
    [{ durable: "yes" }, /durable must be true or false/], [{ durable: true, positions: "a" }, /positions must be/],
    [{ durable: true, positions: [] }, /positions must be/], [{ positions: {} }, /durable: true/],
  ]) {
    assert.throws(
      () => connect({ ...good, ...change }).close(),
      (error) => error instanceof TypeError && reason.test(error.message),
      JSON.stringify(change));
  }
  assert.throws(() => connect(), TypeError);
});

test("a refused url is not quoted: it may have a password", () => {
  assert.throws(() => connect({ ...good, url: "http://user:secret@a/" }), (error) => !/secret/.test(error.message));
});
