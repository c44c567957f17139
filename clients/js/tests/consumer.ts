// A consumer of the types, checked by the TypeScript compiler and never run. Each `@ts-expect-error` is an error
// that the types must find.
import {
  backoffMs, connect, retryAfterMs, type Client, type ClientError, type Gap, type Positions, type StatusChange,
} from "roomcast";

const client: Client = connect({
  url: new URL("https://edge.example/push"), rooms: ["lobby", "user-42"], userId: "42",
  onnotice: ({ type, data }) => console.log(type, data),
  onstatus: async ({ status, reason, retryInMs }: StatusChange) => console.log(status, reason, retryInMs?.toFixed()),
});
client.ongap = ({ rooms, ms, source }: Gap) => console.log(rooms.join(), ms + 1, source === "server");
client.onerror = null;
function words(change: StatusChange): string {
  if (change.status === "closed") return change.reason === "replaced" ? "used elsewhere" : change.reason;
  if (change.status !== "waiting") return change.status;
  const { reason, retryInMs } = change;
  switch (reason.kind) {
    case "close": return `closed with ${reason.code.toFixed()}, again in ${retryInMs} ms`;
    case "status": return `${reason.status.toFixed()} ${reason.detail}`;
    case "offline": case "frozen": return reason.kind;
    default: return reason.detail.toUpperCase();
  }
}
client.onstatus = (change) => console.log(words(change), retryAfterMs("7"), retryAfterMs(null, Date.now()));
client.onerror = (error) => console.error((error as ClientError).reason?.kind === "network");
const total: number = client.counts.notices + client.counts.gaps + backoffMs(1);
if (client.status === "closed") client.close();

connect<{ price: number }>({
  url: "/", rooms: ["a"], tokenIn: "subprotocol", WebSocket,
  getToken: async ({ reason, signal }) => {
    const answer = await fetch(`/token?${reason}`, { signal });
    return answer.ok ? answer.text() : null;
  },
  onnotice: ({ price }) => console.log(price.toFixed(2), total),
});
connect({ url: "/", rooms: ["a"], deviceId: "kiosk", getToken: () => "t" });
const way: "websocket" | "events" = connect({ url: "/", rooms: ["a"], userId: "1", transport: "auto" }).transport;

const stored: Positions = client.positions;
const durable: Client = connect({
  url: "/", rooms: ["a"], userId: "1", durable: true, positions: stored,
  onnotice: ({ id, room, type, data }) => console.log(id?.length, room, type, data, durable.positions[room ?? "a"]),
  onresume: ({ rooms: [{ room, since, lost }] }) => console.log(room.length, since.length, lost === true),
  ongap: ({ source }) => console.log(source === "resume", durable.counts.resumed + durable.counts.lost),
});
connect({ url: "/", rooms: ["a"], userId: "1", durable: true, positions: JSON.parse("null") });

// @ts-expect-error: one identity, not two
connect({ url: "/", rooms: ["a"], userId: "1", deviceId: "2" });
// @ts-expect-error: a source of tokens is needed
connect({ url: "/", rooms: ["a"] });
// @ts-expect-error: rooms are a list
connect({ url: "/", rooms: "a", userId: "1" });
// @ts-expect-error: an identity is a string
connect({ url: "/", rooms: ["a"], userId: 42 });
// @ts-expect-error: no such place for a token
connect({ url: "/", rooms: ["a"], userId: "1", tokenIn: "header" });
// @ts-expect-error: no such transport
connect({ url: "/", rooms: ["a"], userId: "1", transport: "polling" });
// @ts-expect-error: a position is a string
connect({ url: "/", rooms: ["a"], userId: "1", durable: true, positions: { a: 7 } });
// @ts-expect-error: positions are the client's own
client.positions = {};
// @ts-expect-error: the status is the client's own
client.status = "open";
// @ts-expect-error: no such status
const wrong: boolean = client.status === "offline";
function kindOf(change: StatusChange): unknown {
  // @ts-expect-error: only the status `waiting` has a kind of reason
  return change.reason.kind;
}
// @ts-expect-error: no such kind
const never: boolean = client.onstatus !== null && ({} as import("roomcast").WaitReason).kind === "cors";
