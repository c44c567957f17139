// A client that records everything it reports, for tests that observe it from outside.

/**
 * Connects, and keeps what the callbacks get, when beats are sent, by which transports it tries to connect, and what
 * `getToken` is asked.
 *
 * `options.tokens`: `getToken` takes them one after the other and repeats the last one.
 */
export function observed(connect, { tokens, ...options }) {
  const seen = {
    notices: [], resumes: [], statuses: [], gaps: [], errors: [], beats: 0, attempts: [], asked: [], tokens: [], urls: [],
    client: null,
  };
  const fetchIt = globalThis.fetch;
  globalThis.fetch = async (url, init) => {
    seen.urls.push(String(url));
    if (String(url).includes("/heartbeat")) seen.beats += 1;
    if (String(url).includes("/events?")) seen.attempts.push("events");
    const answer = await fetchIt(url, init);
    // Observing must not change anything, so the client itself handles every answer that is not a token.
    if (String(url).includes("/get/token") && answer.ok) {
      const body = await answer.clone().json().catch(() => null);
      if (body?.data) seen.tokens.push(body.data);
    }
    return answer;
  };
  const getToken = ({ reason }) => {
    seen.asked.push(reason);
    return tokens.length > 1 ? tokens.shift() : tokens[0];
  };
  const { WebSocket } = globalThis;
  seen.client = connect({
    ...options, ...(WebSocket && { WebSocket: observedSocket(WebSocket, seen) }), ...(tokens && { getToken }),
    onnotice: (notice) => seen.notices.push(notice.data), onstatus: (change) => seen.statuses.push(change),
    onresume: (resume) => seen.resumes.push(resume), ongap: (gap) => seen.gaps.push(gap),
    onerror: (error) => seen.errors.push(String(error)),
  });
  globalThis.seen = seen;
}

function observedSocket(WebSocket, seen) {
  return class extends WebSocket {
    constructor(url, protocols) {
      seen.attempts.push("websocket");
      super(url, protocols);
    }
  };
}
