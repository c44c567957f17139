// A consumer of the types, checked by the TypeScript compiler and never run. Each `@ts-expect-error` is an error
// that the types must find.
import { backoffMs, connect, type Client, type Gap, type StatusChange } from "roomcast";

const client: Client = connect({
  url: new URL("https://edge.example/push"), rooms: ["lobby", "user-42"], userId: "42",
  onnotice: ({ type, data }) => console.log(type, data),
  onstatus: async ({ status, reason, retryInMs }: StatusChange) => console.log(status, reason, retryInMs?.toFixed()),
});
client.ongap = ({ rooms, ms, source }: Gap) => console.log(rooms.join(), ms + 1, source === "server");
client.onerror = null;
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
// @ts-expect-error: the status is the client's own
client.status = "open";
// @ts-expect-error: no such status
const wrong: boolean = client.status === "offline";
