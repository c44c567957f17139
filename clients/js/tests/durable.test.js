// What a client with `durable` does with positions, frame by frame. Tests/EndToEndTests has the tests with real nodes.
import assert from "node:assert/strict";
import { test } from "node:test";

import { answers, client, last, open, pass, said, setBack, settle, sleep, sockets, start } from "./surroundings.js";

/** When the clock of these tests begins. */
const began = 1_000_000, epoch = "k3f9x2ab";
const position = (number, of = epoch) => `${of}.${began}-${number}`;

const since = () => sockets.at(-1).url.searchParams.get("since");
const send = (text) => sockets.at(-1).receive(text);
const resume = (...entries) => {
  const rooms = entries.map(([room, since, lost = false]) => ({ room, since, lost }));
  send(JSON.stringify({ type: "resume", data: { rooms } }));
};
const escaped = (room) => room.replace(/["\\]/g, "\\$&");
const notice = (room, number) =>
  send(`{"id":"${began}-${number}","room":"${escaped(room)}","type":"notice","data":{"n":${number}}}`);

async function reconnect(code = 1006) {
  sockets.at(-1).end(code);
  await pass(last().retryInMs);
  sockets.at(-1).open();
}

/** Open, with these positions from the node. */
async function standing(options, ...rooms) {
  await open({ durable: true, ...options });
  resume(...rooms);
}

test("the handshake has the positions in the order of the rooms", async () => {
  await start({ rooms: ["a", "b"] });
  assert.equal(since(), null, "not opted in");
  assert.deepEqual(client.positions, {});
  await start({ rooms: ["a", "b"], durable: true });
  assert.equal(since(), ",");
  await start({ durable: true, positions: null });
  assert.equal(sockets.at(-1).url.search.slice(-7), "&since=", "opted in, without a position");
  const positions = { c: position(1), b: position(2) };
  await start({ rooms: ["a", "b"], durable: true, positions, tokenIn: "subprotocol" });
  assert.equal(since(), `,${position(2)}`);
  assert.deepEqual(client.positions, { b: position(2) });
});

test("a position moves with each notice, before the application has it", async () => {
  const found = [];
  const rooms = ["a", 'b"\\ü'];
  await standing({
    rooms, onnotice: ({ id, room, data }) => found.push([id, room, data.n, client.positions[room]]),
  }, ["a", position(0)], [rooms[1], position(7, "00000000")]);
  assert.deepEqual(said.resumes, [{ rooms: [
    { room: "a", since: position(0), lost: false }, { room: rooms[1], since: position(7, "00000000"), lost: false },
  ] }]);
  notice("a", 1);
  notice(rooms[1], 8);
  notice("a", 2);
  assert.deepEqual(found, [
    [`${began}-1`, "a", 1, position(1)], [`${began}-8`, rooms[1], 8, position(8, "00000000")],
    [`${began}-2`, "a", 2, position(2)],
  ]);
  const end = { a: position(2), [rooms[1]]: position(8, "00000000") };
  assert.deepEqual(JSON.parse(JSON.stringify(client.positions)), end);
  client.positions.a = "changed";
  assert.equal(client.positions.a, position(2), "it was a copy");
  assert.deepEqual(said.gaps, []);
});

test("ids of 16 digits stay as they are", async () => {
  await standing({}, ["a", position(0)]);
  send('{"id":"9007199254740993-9007199254740995","room":"a","type":"notice","data":null}');
  assert.equal(client.positions.a, `${epoch}.9007199254740993-9007199254740995`);
});

test("a notice that came before comes to nobody again", async () => {
  await standing({ rooms: ["a", "b"] }, ["a", `${epoch}.999-12`], ["b", `${epoch}.10000-9`]);
  for (const [room, id] of [
    ["a", "1000-2"], ["a", "1000-10"], ["a", "1000-10"], ["a", "1000-9"], ["a", "999-99"], ["a", "1000-11"], ["b", "9999-10"],
    ["b", "10000-10"], ["c", "1-1"], ["c", "1-1"],
  ]) send(`{"id":"${id}","room":"${room}","type":"notice","data":null}`);
  assert.deepEqual(said.notices.map(({ room, id }) => `${room} ${id}`), [
    "a 1000-2", "a 1000-10", "a 1000-11", "b 10000-10", "c 1-1", "c 1-1",
  ]);
  assert.deepEqual(client.positions, { a: `${epoch}.1000-11`, b: `${epoch}.10000-10` });
  assert.equal(client.counts.notices, 6);
});

for (const code of [1001, 1006, 1013, 4000]) {
  test(`after ${code} it goes on behind its last notice, and no gap is told`, async () => {
    await standing({}, ["a", position(0)]);
    notice("a", 1);
    await pass(10_000);
    await reconnect(code);
    assert.equal(since(), position(1));
    assert.deepEqual(client.positions, { a: position(1) });
    resume(["a", position(1)]);
    notice("a", 2);
    assert.deepEqual(said.notices.map(({ data }) => data.n), [1, 2]);
    assert.deepEqual(said.gaps, []);
    assert.deepEqual(client.counts, { notices: 2, reconnects: 1, gaps: 0, unreadable: 0, resumed: 1, lost: 0 });
  });
}

test("stored positions are as good as a connection's", async () => {
  await standing({ positions: { a: position(5) } }, ["a", position(5)]);
  notice("a", 6);
  assert.deepEqual(said.gaps, []);
  assert.deepEqual([client.counts.resumed, client.counts.reconnects], [1, 0]);
});

test("a loss is told before what follows it", async () => {
  const order = [];
  await standing({
    rooms: ["a", "b"],
    onresume: ({ rooms }) => order.push(rooms.map(({ lost }) => lost)), ongap: (gap) => order.push(gap),
    onnotice: ({ data }) => order.push(data.n),
  }, ["a", position(1)], ["b", position(1)]);
  notice("a", 2);
  await pass(7_000);
  sleep(5_000);
  await reconnect();
  resume(["a", position(9), true], ["b", position(1)]);
  notice("a", 10);
  assert.deepEqual(order, [
    [false, false], 2, [true, false], { rooms: ["a"], ms: 12_500, source: "resume" }, 10,
  ]);
  assert.deepEqual(client.positions, { a: position(10), b: position(1) });
  assert.deepEqual([client.counts.resumed, client.counts.lost, client.counts.gaps], [0, 1, 1]);
});

test("a loss within a connection is told, and begins no later than the last notice", async () => {
  await standing({ rooms: ["a", "b"] }, ["a", position(1)], ["b", position(1)]);
  for (let second = 0; second < 60; second += 1) await pass(1_000);
  resume(["b", "newepoch.1060000-0", true]);
  assert.deepEqual(said.gaps, [{ rooms: ["b"], ms: 60_000, source: "resume" }]);
  assert.deepEqual(client.positions, { a: position(1), b: "newepoch.1060000-0" });
  assert.equal(client.counts.lost, 1);
  resume(["a", "newepoch.1060000-0"]);
  assert.equal(said.gaps.length, 1, "moved, and nothing lost");
  resume(["c", position(1)]);
  assert.deepEqual(Object.keys(client.positions), ["a", "b"], "its own rooms only");
  await reconnect();
  assert.equal(since(), "newepoch.1060000-0,newepoch.1060000-0");
});

test("a loss within a connection does not begin before it", async () => {
  await standing({}, ["a", position(1)]);
  sleep(3_600_000);
  await reconnect();
  resume(["a", `${epoch}.${Date.now()}-0`, true]);
  await pass(1_000);
  resume(["a", position(9), true]);
  assert.deepEqual(said.gaps.map(({ ms }) => ms), [3_600_500, 1_000]);
});

test("a node that was cut off from Redis before it died makes no gap too short", async () => {
  await standing({}, ["a", position(1)]);
  for (let second = 0; second < 90; second += 1) await pass(1_000);
  await reconnect();
  resume(["a", position(9), true]);
  assert.equal(said.gaps[0].ms, 90_500, "heartbeats were answered meanwhile");
});

test("a wall clock that was set back makes no gap shorter than the absence", async () => {
  await standing({}, ["a", position(1)]);
  setBack(3_600_000);
  sleep(5_000);
  await reconnect();
  resume(["a", position(9), true]);
  assert.ok(said.gaps[0].ms >= 500, `${said.gaps[0].ms} ms`);
});

test("an old node is known by its first frame: a loss, told before that frame", async () => {
  const order = [];
  await standing({
    onresume: () => order.push("resume"), ongap: (gap) => order.push(gap), onnotice: ({ data }) => order.push(data.n),
  }, ["a", position(1)]);
  await pass(2_000);
  await reconnect();
  assert.equal(since(), position(1));
  notice("a", 5);
  notice("a", 6);
  assert.deepEqual(order, ["resume", { rooms: ["a"], ms: 2_500, source: "resume" }, 5, 6]);
  assert.deepEqual(client.positions, {});

  await pass(10_000);
  await reconnect();
  assert.equal(since(), "", "dropped");
  resume(["a", position(8)]);
  assert.equal(said.resumes.length, 0, "the test took them");
  assert.equal(order.at(-1).source, "resume", "what came in between is lost, though the node cannot know");
  assert.deepEqual(client.positions, { a: position(8) });
  await reconnect();
  resume(["a", position(8)]);
  assert.deepEqual([client.counts.resumed, client.counts.lost, client.counts.reconnects], [1, 2, 3]);
});

test("a loss that the node cannot know of is a loss in onresume, too", async () => {
  await standing({ rooms: ["a", "b"], positions: { a: "damaged" } }, ["a", position(1)], ["b", position(1)]);
  assert.deepEqual(said.resumes[0].rooms.map(({ lost }) => lost), [true, false]);
});

test("a first connection to an old node has missed nothing, the second has", async () => {
  await open({ durable: true });
  notice("a", 1);
  assert.deepEqual([said.gaps, client.positions], [[], {}]);
  await pass(3_000);
  await reconnect();
  notice("a", 2);
  assert.deepEqual(said.gaps, [{ rooms: ["a"], ms: 3_500, source: "resume" }]);
});

test("an old node that is silent is known by its first answered heartbeat", async () => {
  await standing({}, ["a", position(1)]);
  await reconnect();
  answers["/heartbeat"] = [503, "service unavailable"];
  await pass(24_000);
  assert.deepEqual(said.gaps, [], "this says nothing about the connection");
  delete answers["/heartbeat"];
  for (let second = 0; second < 10; second += 1) await pass(1_000);
  assert.equal(said.gaps.length, 1);
  assert.deepEqual(client.positions, {});
  notice("a", 2);
  for (let second = 0; second < 60; second += 1) await pass(1_000);
  assert.equal(said.gaps.length, 1, "once");
  resume(["a", position(2)]);
  assert.deepEqual([said.gaps.length, client.positions], [1, { a: position(2) }], "it was only late");
});

test("a connection that ends before its first frame moves nothing", async () => {
  await standing({}, ["a", position(1)]);
  for (let round = 0; round < 3; round += 1) await reconnect();
  assert.equal(since(), position(1));
  sockets.at(-1).end(1006);
  await pass(last().retryInMs);
  sockets.at(-1).end(1006);
  await settle();
  await pass(last().retryInMs);
  assert.equal(since(), position(1), "nor does a refused handshake");
  sockets.at(-1).open();
  resume(["a", position(1)]);
  assert.deepEqual(said.gaps, []);
});

test("a first connection that ended before its first frame leaves something to miss", async () => {
  await open({ durable: true });
  await reconnect();
  resume(["a", position(1)]);
  assert.deepEqual(said.gaps.map(({ source }) => source), ["resume"]);
});

test("a revoked client drops its positions, whoever comes back", async () => {
  await standing({}, ["a", position(1)]);
  sockets[0].end(4003);
  assert.deepEqual([client.status, client.positions], ["closed", {}]);
  await standing({ getToken: () => "token" }, ["a", position(1)]);
  await reconnect(4003);
  assert.equal(since(), "");
  resume(["a", position(9)]);
  assert.deepEqual(said.gaps, [{ rooms: ["a"], ms: 500, source: "resume" }]);
});

test("a replaced client still has the positions of its end", async () => {
  await standing({}, ["a", position(1)]);
  notice("a", 2);
  sockets[0].end(4001);
  assert.deepEqual([client.status, client.positions], ["closed", { a: position(2) }]);
});

test("a damaged position is not sent, and counts as lost", async () => {
  for (const damaged of [
    "", "garbage", 7, null, {}, `${epoch}.1-01`, `${epoch}.12345678901234567-1`, `${epoch}.1-1 `, `${epoch}.1-1\n`,
    `K3F9X2AB.1-1`, `${epoch}.1`, `k3f9x2a.1-1`, `${epoch}.1-1,${epoch}.1-1`, [position(1)],
  ]) {
    said.gaps.length = 0;
    await start({ durable: true, positions: { a: damaged } });
    assert.equal(since(), "", JSON.stringify(damaged));
    sockets.at(-1).open();
    resume(["a", position(3)]);
    assert.deepEqual(said.gaps.map(({ rooms, source }) => [...rooms, source]), [["a", "resume"]]);
    assert.ok(said.gaps[0].ms >= began, "nobody knows since when");
    assert.deepEqual(client.positions, { a: position(3) });
    client.close();
  }
});

test("a position of long ago is sent, and its loss told with its age", async () => {
  await standing({ positions: { a: `${epoch}.0-0` } }, ["a", position(3), true]);
  assert.deepEqual(said.gaps, [{ rooms: ["a"], ms: began, source: "resume" }]);
});

test("what is not exactly a resume is none", async () => {
  const good = { room: "a", since: position(1), lost: false };
  const frames = [
    { type: "resume" }, { type: "resume", data: null }, { type: "resume", data: { rooms: [] } },
    { type: "resume", data: { rooms: [good], more: 1 } }, { type: "resume", data: { rooms: [good] }, more: 1 },
    { type: "resume", data: { rooms: { 0: good } } }, { type: "resume", data: { rooms: [null] } },
    { type: "resumed", data: { rooms: [good] } }, { type: "resume", data: [good] }, ["resume", { rooms: [good] }],
    ...[
      { room: "a", since: position(1) }, { ...good, more: 1 }, { ...good, lost: 1 }, { ...good, since: "1-1" },
      { ...good, room: 7 }, { ...good, since: null },
    ].map((entry) => ({ type: "resume", data: { rooms: [good, entry] } })),
  ];
  await standing({}, ["a", position(0)]);
  for (const frame of frames) send(JSON.stringify(frame));
  assert.deepEqual(said.notices, frames);
  assert.equal(said.resumes.length, 1);
  assert.deepEqual(client.positions, { a: position(0) });
});

test("what is not exactly the head of a durable notice moves nothing", async () => {
  await standing({}, ["a", position(1)]);
  for (const frame of [
    '{"room":"a","id":"5-5","type":"notice","data":1}', '{ "id":"5-5","room":"a","type":"notice","data":1}',
    '{"id":"5-5","room":"b","type":"notice","data":1}', '{"id":"5","room":"a","type":"notice","data":1}',
    '{"id":"05-5","room":"a","type":"notice","data":1}', '{"id":"5-05","room":"a","type":"notice","data":1}',
    '{"id":"12345678901234567-1","room":"a","type":"notice","data":1}', '{"id":"5-5","room":"\\u0061","data":1}',
    '{"id":5,"room":"a","type":"notice","data":1}', '{"type":"notice","data":{"id":"5-5","room":"a","n":1}}', "7", "null",
  ]) {
    send(frame);
    assert.deepEqual(client.positions, { a: position(1) }, frame);
  }
  assert.equal(said.notices.length, 12, "the application has each of them");
  send("{");
  assert.equal(client.counts.unreadable, 1);
});

test("a room may have the name of a property that every object has", async () => {
  const rooms = ["__proto__", "constructor"];
  await standing({ rooms }, ["__proto__", position(1)]);
  assert.equal(since(), ",");
  const stored = JSON.stringify(client.positions);
  await start({ rooms, durable: true, positions: JSON.parse(stored) });
  assert.equal(since(), `${position(1)},`);
});

test("a client without durable takes a resume for a notice, and a reconnection for a gap", async () => {
  await open();
  resume(["a", position(1)]);
  notice("a", 2);
  await reconnect();
  assert.equal(since(), null);
  assert.deepEqual([said.notices.length, said.resumes, client.positions], [2, [], {}]);
  assert.deepEqual(said.gaps.map(({ source }) => source), ["reconnect"]);
});

test("callbacks may close a client in the middle of a loss", async () => {
  await open({ durable: true, positions: { a: position(1) }, onresume: () => client.close() });
  resume(["a", position(2), true]);
  assert.deepEqual(said.gaps, []);
  await open({ durable: true, positions: { a: position(1) }, ongap: () => client.close() });
  notice("a", 2);
  assert.deepEqual(said.notices, []);
  assert.equal(client.status, "closed");
});
