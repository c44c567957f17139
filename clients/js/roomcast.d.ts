// The types of roomcast.js. Its README explains each option.

/** What a publisher sends: `{"type":"notice","data":{…}}`. A durable notice also has `id` and `room`. */
export interface Notice {
  id?: string;
  room?: string;
  type: string;
  data: unknown;
}

/**
 * Notices may be missing, because Pub/Sub keeps nothing for absent clients. Ask your backend for what is new, at a
 * random moment within a few seconds: all clients of a node have the same gap.
 */
export interface Gap {
  /** The rooms in which something may be missing. */
  rooms: string[];
  /**
   * Length in milliseconds, never too short. After a reconnection it counts from the last moment at which the client
   * certainly heard its gateway, which may be the last heartbeat; after a loss in a durable room also from the last
   * durable notice before it, by the page's clock, if that is longer.
   */
  ms: number;
  /**
   * `server`: the node was cut off from Redis. `reconnect`: this client was cut off from the node. `resume`, only with
   * `durable`: a node has lost durable notices, no longer keeps them, or is too old to keep any.
   */
  source: "server" | "reconnect" | "resume";
}

/** For each room the position of its last durable notice: opaque strings, to be stored and given to the next client. */
export type Positions = Record<string, string>;

/** Where a connection begins; it comes again if a node finds a loss later. */
export interface Resume {
  rooms: {
    room: string;
    /** Each durable notice behind this position follows, once and in order. */
    since: string;
    /** Whether notices may be missing before it; `ongap` receives these rooms, too. */
    lost: boolean;
  }[];
}

/** How notices come: over a WebSocket, or over an event stream (`text/event-stream`, by `fetch`). */
export type Transport = "websocket" | "events";

/** `connecting`: getting a token or shaking hands. `waiting`: until the next attempt. `closed`: for good. */
export type Status = "connecting" | "open" | "waiting" | "closed";

export type EndReason =
  /** `close()` was called. */
  | "closed"
  /** 4001: another connection uses the token. */
  | "replaced"
  /** 4003: the token was revoked, and there is no `getToken` to ask for another one. */
  | "revoked"
  /** 1002, 1007, 1008, 1009: this client, or something in between, breaks the protocol. */
  | "protocol"
  /** The gateway refuses a token for this client (400, 401, …), or a WebSocket cannot even be tried here. */
  | "refused"
  /** `getToken` returned null. */
  | "no token";

/** Why a client waits. `detail` is for people: its words may change. */
export type WaitReason =
  /** The connection was closed, with `code` (1006: it was cut). */
  | { kind: "close"; code: number; detail?: string }
  /** An unexpected HTTP answer, from the gateway or from something in front of it. */
  | { kind: "status"; status: number; detail: string }
  /** No answer. A browser does not say whether the network or CORS is the reason. */
  | { kind: "network"; detail: string }
  /** No answer in time. */
  | { kind: "timeout"; detail: string }
  /** The gateway answers, but the WebSocket (a browser does not say why) or the event stream does not open. */
  | { kind: "handshake"; detail: string }
  /** `getToken` failed; `onerror` received its error. */
  | { kind: "getToken"; detail: string }
  /** The page is frozen, or in the back/forward cache; the client goes on when the page comes back. */
  | { kind: "frozen" }
  /** There is no network. */
  | { kind: "offline" };

export type StatusChange =
  | { status: "connecting" | "open"; previous: Status; reason?: undefined; code?: undefined; retryInMs?: undefined }
  | {
    status: "waiting";
    previous: Status;
    reason: WaitReason;
    /** The close code of the connection that has ended. */
    code?: number;
    /** Milliseconds until the next attempt; events of the page may bring it forward. */
    retryInMs: number;
  }
  | { status: "closed"; previous: Status; reason: EndReason; code?: number; retryInMs?: undefined };

/** An error of this module. `reason` is there if an answer, a close or silence led to it. */
export interface ClientError extends Error {
  reason?: WaitReason;
}

/** Why a token is asked for. */
export interface TokenRequest {
  /** `token error`: the gateway does not know the previous token, mostly because it has expired. */
  reason: "first" | "token error" | "revoked";
  rooms: string[];
  userId?: string;
  deviceId?: string;
  /** Aborted by `close()`. */
  signal: AbortSignal;
}

/** Resolves to a token, or to null to end the client. After a rejection the client asks again. */
export type GetToken = (request: TokenRequest) => Promise<string | null> | string | null;

/** Where tokens come from: the gateway itself (for a user or a device), or your backend. */
export type TokenSource =
  | { userId: string; deviceId?: undefined; getToken?: GetToken }
  | { deviceId: string; userId?: undefined; getToken?: GetToken }
  | { userId?: undefined; deviceId?: undefined; getToken: GetToken };

export interface Callbacks<N = Notice> {
  onnotice: ((notice: N) => unknown) | null;
  onstatus: ((change: StatusChange) => unknown) | null;
  /** Only with `durable`. */
  onresume: ((resume: Resume) => unknown) | null;
  ongap: ((gap: Gap) => unknown) | null;
  /**
   * Trouble that does not pass by itself (a `ClientError`): a refusal, a close for good, no connection for a long time
   * and no sign that one is possible. Also errors from callbacks and `getToken`, and frames that are not JSON. Without
   * it the client uses `console.error`.
   */
  onerror: ((error: unknown) => unknown) | null;
}

export type ConnectOptions<N = Notice> = TokenSource & Partial<Callbacks<N>> & {
  /** The gateway's address: http, https, ws or wss. In a page it may be relative. */
  url: string | URL;
  /** One or two room ids: 1 to 128 bytes of UTF-8 without control characters and commas. */
  rooms: readonly string[];
  /** Whether durable notices that the client missed are delivered after a reconnection; false by default. */
  durable?: boolean;
  /** With `durable`, where to begin: the stored `positions` of an earlier client. Other rooms' are ignored. */
  positions?: Readonly<Positions> | null;
  /**
   * `auto`, the default: a WebSocket, and after two that do not work where HTTP does an event stream, with which later
   * clients of the page begin for an hour.
   */
  transport?: "auto" | Transport;
  /** How handshakes and heartbeats carry the token; `subprotocol` keeps it out of URLs. `query` by default. */
  tokenIn?: "query" | "subprotocol";
  /** The gateway's `--heartbeat-timeout` in milliseconds, at least 1000; 30000 by default. */
  heartbeatTimeoutMs?: number;
  /** Whether a worker keeps the time while the page is hidden; true by default. */
  backgroundTimer?: boolean;
  /** In place of the global `WebSocket`. Where there is none, `auto` begins with an event stream. */
  WebSocket?: new (url: string, protocols?: string[]) => unknown;
};

export interface Counts {
  notices: number;
  /** Connections after the first one. */
  reconnects: number;
  /** Calls of `ongap`. */
  gaps: number;
  /** Frames that are not JSON. */
  unreadable: number;
  /** Connections that went on where an earlier one had ended, and missed no durable notice. */
  resumed: number;
  /** Losses in durable rooms: calls of `ongap` with the source `resume`. */
  lost: number;
}

export interface Client<N = Notice> extends Callbacks<N> {
  readonly status: Status;
  /** What the present connection uses, or the last one, or the first one to come. */
  readonly transport: Transport;
  readonly rooms: string[];
  readonly counts: Counts;
  /**
   * A copy of the present positions, empty without `durable`. They include the notice that `onnotice` is called for: store
   * them when what it causes is stored.
   */
  readonly positions: Positions;
  /** Ends the client for good; a second call does nothing. */
  close(): void;
}

/**
 * Connects to a Roomcast gateway and stays connected until `close()`.
 *
 * @throws TypeError for options that cannot work; nothing has been sent then.
 */
export function connect<N = Notice>(options: ConnectOptions<N>): Client<N>;

/** What a client does after its connection was closed with `code`. */
export function closeRule(code: number, canAsk: boolean): {
  action: "retry" | "retry soon" | "back off" | "new token" | "stop";
  reason?: EndReason;
};

/** Milliseconds before the next attempt, after `attempt` failed ones; `random` returns 0 up to and without 1. */
export function backoffMs(attempt: number, random?: () => number): number;

/** The different rooms of `rooms`. @throws TypeError if a gateway would refuse them. */
export function checkedRooms(rooms: readonly string[]): string[];

/**
 * Milliseconds that a `Retry-After` asks for, in seconds or as a date, at most five minutes; 0 if it asks for nothing.
 */
export function retryAfterMs(text: string | null | undefined, now?: number): number;
