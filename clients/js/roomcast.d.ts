// The types of roomcast.js. Its README says what each option is for.

/** What a publisher sends: `{"type":"notice","data":{…}}`. */
export interface Notice {
  type: string;
  data: unknown;
}

/** Notices may be missing: Pub/Sub keeps nothing for those who are away. Fetch from your backend what is new. */
export interface Gap {
  /** The rooms in which something may be missing. */
  rooms: string[];
  /**
   * How long it was, in milliseconds, never too short. After a reconnection it counts from the last thing that was
   * certainly heard, which may be the last heartbeat.
   */
  ms: number;
  /** `server`: the node was away from Redis. `reconnect`: this client was away from the node. */
  source: "server" | "reconnect";
}

/** `connecting`: a token or a handshake is under way. `waiting`: until the next attempt. `closed`: for good. */
export type Status = "connecting" | "open" | "waiting" | "closed";

export type EndReason =
  /** `close()` was called. */
  | "closed"
  /** 4001: another connection uses the token. */
  | "replaced"
  /** 4003: the token was revoked, and there is no `getToken` to ask for another one. */
  | "revoked"
  /** 1002, 1007, 1008, 1009: something between the two breaks the protocol. */
  | "protocol"
  /** The gateway has no token for this client (400, 401, …), or no WebSocket can be made here. */
  | "refused"
  /** `getToken` gave null. */
  | "no token";

/** Why a client waits. `detail` is for people: its words may change. */
export type WaitReason =
  /** The connection was closed, with `code` (1006: it was cut). */
  | { kind: "close"; code: number; detail?: string }
  /** HTTP answered, and not as hoped: the gateway, or something in front of it. */
  | { kind: "status"; status: number; detail: string }
  /** Nobody answered. A browser does not say whether the network or CORS is at fault. */
  | { kind: "network"; detail: string }
  /** No answer in time. */
  | { kind: "timeout"; detail: string }
  /** The gateway knows the token, and the WebSocket does not open. A browser does not say why. */
  | { kind: "handshake"; detail: string }
  /** `getToken` has failed, as `onerror` was told. */
  | { kind: "getToken"; detail: string }
  /** The page is frozen, or left and kept in the back/forward cache; it goes on when it comes back. */
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
    /** Milliseconds until the next attempt; what happens in the page may bring it forward. */
    retryInMs: number;
  }
  | { status: "closed"; previous: Status; reason: EndReason; code?: number; retryInMs?: undefined };

/** An error of this module. `reason`: what has led to it, where that was an answer, a close or silence. */
export interface ClientError extends Error {
  reason?: WaitReason;
}

/** Why a token is asked for. */
export interface TokenRequest {
  /** `token error`: the one before is unknown to the gateway, mostly because it has expired. */
  reason: "first" | "token error" | "revoked";
  rooms: string[];
  userId?: string;
  deviceId?: string;
  /** Aborted by `close()`. */
  signal: AbortSignal;
}

/** Resolves to a token, or to null when there will be none: the client ends. A rejection is tried again. */
export type GetToken = (request: TokenRequest) => Promise<string | null> | string | null;

/** Where tokens come from: the gateway itself (for a user or a device), or your backend. */
export type TokenSource =
  | { userId: string; deviceId?: undefined; getToken?: GetToken }
  | { deviceId: string; userId?: undefined; getToken?: GetToken }
  | { userId?: undefined; deviceId?: undefined; getToken: GetToken };

export interface Callbacks<N = Notice> {
  onnotice: ((notice: N) => unknown) | null;
  onstatus: ((change: StatusChange) => unknown) | null;
  ongap: ((gap: Gap) => unknown) | null;
  /**
   * What does not heal by itself (a `ClientError`): a refusal, a close for good, no connection for a long time and no
   * sign that one is possible. What a callback threw, a `getToken` that failed, a frame that is no JSON. Without it,
   * `console.error`.
   */
  onerror: ((error: unknown) => unknown) | null;
}

export type ConnectOptions<N = Notice> = TokenSource & Partial<Callbacks<N>> & {
  /** The gateway's address: http, https, ws or wss. In a page it may be relative. */
  url: string | URL;
  /** One or two room ids: 1 to 128 bytes of UTF-8 without control characters and commas. */
  rooms: readonly string[];
  /** How handshakes and heartbeats carry the token; `subprotocol`: in no URL. `query` unless given. */
  tokenIn?: "query" | "subprotocol";
  /** The gateway's `--heartbeat-timeout` in milliseconds, at least 1000; 30000 unless given. */
  heartbeatTimeoutMs?: number;
  /** Whether a worker keeps the time while the page is hidden; true unless given. */
  backgroundTimer?: boolean;
  /** In place of the global `WebSocket`. */
  WebSocket?: new (url: string, protocols?: string[]) => unknown;
};

export interface Counts {
  notices: number;
  /** Connections after the first one. */
  reconnects: number;
  /** Calls of `ongap`. */
  gaps: number;
  /** Frames that are no JSON. */
  unreadable: number;
}

export interface Client<N = Notice> extends Callbacks<N> {
  readonly status: Status;
  readonly rooms: string[];
  readonly counts: Counts;
  /** Ends it for good; a second call does nothing. */
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

/** Milliseconds before the next attempt, after so many that failed; `random` gives 0 up to and without 1. */
export function backoffMs(attempt: number, random?: () => number): number;

/** The different rooms of `rooms`. @throws TypeError when they are none that a gateway takes. */
export function checkedRooms(rooms: readonly string[]): string[];

/**
 * Milliseconds that a `Retry-After` asks for, in seconds or as a date, at most five minutes; 0 when it asks for
 * nothing.
 */
export function retryAfterMs(text: string | null | undefined, now?: number): number;
