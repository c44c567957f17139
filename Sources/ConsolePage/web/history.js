// From the nodes' reports to rates, quantiles and the series of the last ten minutes. Pure: no page, no clock.

/** How many points it keeps: ten minutes in steps of two seconds. */
export const LIMIT = 300;

/** Numbers by a name from a report. The name may be `constructor`, which an ordinary object already has. */
const counts = () => Object.create(null);

/** What happened between two reports from one start of a node; null if they cannot be compared. */
export function difference(before, after) {
  if (!before || before.startedAt !== after.startedAt || after.uptimeMs <= before.uptimeMs) return null;
  const seconds = (after.uptimeMs - before.uptimeMs) / 1000;
  const rate = (name) => Math.max(0, after[name] - before[name]) / seconds;
  const closes = counts();
  for (const [reason, count] of Object.entries(after.closes)) {
    const more = count - (Object.hasOwn(before.closes, reason) ? before.closes[reason] : 0);
    if (more > 0) closes[reason] = more;
  }
  const comparable = before.publishToFlush.length === after.publishToFlush.length;
  return {
    received: rate("received"),
    delivered: rate("delivered"),
    handshakes: rate("handshakes"),
    closes,
    buckets: comparable ? after.publishToFlush.map((count, index) => count - before.publishToFlush[index]) : [],
  };
}

/** A quantile of cumulative buckets in ms, within their resolution; null if nothing was counted. */
export function quantile(buckets, boundsMs, part) {
  const total = buckets.at(-1) ?? 0;
  if (!total) return null;
  const rank = total * part;
  const index = buckets.findIndex((count) => count >= rank);
  if (index >= boundsMs.length) return boundsMs.at(-1);
  const [low, below] = index ? [boundsMs[index - 1], buckets[index - 1]] : [0, 0];
  return low + ((boundsMs[index] - low) * (rank - below)) / (buckets[index] - below);
}

const sum = (items, number) => items.reduce((total, item) => total + number(item), 0);

/** All nodes over time. */
export class History {
  points = [];
  /** By node: its last report, and the difference to the one before. */
  nodes = new Map();

  /** Takes an answer of the cluster API; `time` is the page's, in ms. */
  add(cluster, time) {
    const closes = counts();
    const nodes = new Map();
    for (const report of cluster.nodes) {
      const known = this.nodes.get(report.id);
      const change = difference(known?.report, report);
      if (change) for (const [reason, count] of Object.entries(change.closes)) closes[reason] = (closes[reason] ?? 0) + count;
      // A report that is read twice keeps its difference; the first one of a new start has none yet.
      const same = known && known.report.startedAt === report.startedAt && known.report.uptimeMs === report.uptimeMs;
      nodes.set(report.id, { report, change: change ?? (same ? known.change : null) });
    }
    this.nodes = nodes;
    const changes = [...nodes.values()].map((node) => node.change).filter(Boolean);
    const length = cluster.boundsMs.length + 1;
    const buckets = Array.from({ length }, (_, index) => sum(changes, (change) => change.buckets[index] ?? 0));
    this.points.push({
      time,
      connections: sum(cluster.nodes, (node) => node.connections),
      notices: changes.length ? sum(changes, (change) => change.received) : null,
      deliveries: changes.length ? sum(changes, (change) => change.delivered) : null,
      p50: quantile(buckets, cluster.boundsMs, 0.5),
      p99: quantile(buckets, cluster.boundsMs, 0.99),
      closes,
    });
    if (this.points.length > LIMIT) this.points.shift();
  }

  get last() { return this.points.at(-1); }

  /** Why connections ended, over all points, most frequent reason first. */
  get closeReasons() {
    const totals = counts();
    for (const point of this.points) {
      for (const [reason, count] of Object.entries(point.closes)) totals[reason] = (totals[reason] ?? 0) + count;
    }
    return Object.entries(totals).sort((left, right) => right[1] - left[1] || (left[0] < right[0] ? -1 : 1));
  }
}

/** Rooms of all nodes, added up, largest first. */
export function largestRooms(nodes, count) {
  const rooms = new Map();
  for (const node of nodes) for (const { room, members } of node.topRooms) rooms.set(room, (rooms.get(room) ?? 0) + members);
  return [...rooms].sort((left, right) => right[1] - left[1] || (left[0] < right[0] ? -1 : 1)).slice(0, count);
}
