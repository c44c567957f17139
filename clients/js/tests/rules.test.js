// The rules of the client that need no gateway: close codes, backoff, and what options are refused.
import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffMs, checkedRooms, closeRule, connect } from "../roomcast.js";

const good = { url: "http://127.0.0.1:1", rooms: ["a"], userId: "u", WebSocket: class {} };

test("every close code of the contract has its rule", () => {
  const rules = {
    1001: "retry soon", 1002: "stop", 1007: "stop", 1009: "stop", 1013: "back off",
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
    [{ WebSocket: null }, /WebSocket/], [{ onnotice: "x" }, /onnotice must be a function/],
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
