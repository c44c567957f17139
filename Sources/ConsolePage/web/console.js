// The page: fetches the state of the cluster every two seconds and shows it.

import { Chart } from "./charts.js";
import { History, largestRooms } from "./history.js";
import { setUpTools } from "./tools.js";

const INTERVAL_MS = 2000;
const byId = (id) => document.getElementById(id);

// MARK: Numbers for people

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (value) => (value >= 100_000 ? short : plain).format(value);
const rate = (value) => (value > 0 && value < 10 ? value.toFixed(1) : count(value));

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function milliseconds(value) {
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value >= 10 ? Math.round(value) : Number(value.toPrecision(2))} ms`;
}

function duration(ms) {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.floor(ms / 1000)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const orDash = (value, format) => (value === null || value === undefined ? "–" : format(value));

// MARK: Charts

const CLOSES = new Map(Object.entries({
  1001: ["1001 going away", "c1"], 1002: ["1002 protocol", "c5"], 1007: ["1007 not UTF-8", "c5"],
  1008: ["1008 pings", "c5"], 1009: ["1009 too big", "c5"], 1013: ["1013 slow", "c5"],
  4000: ["4000 no heartbeat", "c4"], 4001: ["4001 replaced", "c3"], 4003: ["4003 revoked", "c7"],
  peer: ["by the client", "c6"], lost: ["lost", "c2"],
}));

const charts = {
  connections: new Chart(byId("chart-connections"), "Connections",
    [{ name: "", tone: "c1", value: (point) => point.connections }], count),
  notices: new Chart(byId("chart-notices"), "Notices/s", [{ name: "", tone: "c3", value: (point) => point.notices }], rate),
  deliveries: new Chart(byId("chart-deliveries"), "Deliveries/s",
    [{ name: "", tone: "c1", value: (point) => point.deliveries }], rate),
  latency: new Chart(byId("chart-latency"), "Latency", [
    { name: "p50", tone: "c1", value: (point) => point.p50 }, { name: "p99", tone: "c2", value: (point) => point.p99 },
  ], milliseconds, "log"),
  closes: new Chart(byId("chart-closes"), "Connections ended", [], count, "bars"),
};

function drawCharts(history) {
  for (const name of ["connections", "notices", "deliveries", "latency"]) charts[name].update(history.points);
  const series = history.closeReasons.map(([reason, total]) => {
    const [name, tone] = CLOSES.get(reason) ?? [reason, "c6"];
    return { name, tone, value: (point) => point.closes[reason] ?? 0, total: () => total };
  });
  charts.closes.update(history.points, series);
}

// MARK: Parts of the page

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawTotals(cluster, history) {
  const total = (name) => cluster.nodes.reduce((sum, node) => sum + node[name], 0);
  const ready = cluster.nodes.filter((node) => node.ready).length;
  byId("total-connections").textContent = count(total("connections"));
  byId("total-limit").textContent = `of ${short.format(total("connectionsLimit"))}`;
  byId("total-deliveries").textContent = orDash(history.last.deliveries, rate);
  byId("total-notices").textContent = orDash(history.last.notices, rate);
  byId("total-p99").textContent = orDash(history.last.p99, milliseconds);
  byId("total-rooms").textContent = count(total("rooms"));
  byId("total-nodes").textContent = ready;
  byId("total-nodes-all").textContent = `of ${cluster.nodes.length}`;
}

function state(node) {
  if (node.draining) return ["warn", "Draining"];
  return node.ready ? ["good", "Ready"] : ["bad", "Not ready"];
}

function nodeRow(node, change, own) {
  const [level, text] = state(node);
  const load = element("meter", {
    min: 0, max: Math.max(1, node.connectionsLimit), value: node.connections, low: node.connectionsLimit * 0.8,
    high: node.connectionsLimit * 0.95, optimum: 0, "aria-label": `Connections of ${node.id}`,
  });
  const number = (label, value) => element("td", { class: "number", "data-label": label }, value);
  const workers = `${node.workers} ${node.workers === 1 ? "worker" : "workers"}`;
  const streams = node.eventStreams ? ` · ${count(node.eventStreams)} of its connections are event streams` : "";
  const compressed = node.compressed ? ` · ${count(node.compressed)} take compressed notices` : "";
  const lost = node.redisReconnects ? ` · ${node.redisReconnects}× lost Redis` : "";
  return element("tr", {},
    element("td", {}, element("div", { class: "name" }, node.id + (own ? " (this one)" : "")),
      element("div", { class: "minor" }, `${node.address} · ${node.version} · ${workers}${streams}${compressed}${lost}`)),
    element("td", { class: "state-cell" }, element("span", { class: "pill" }, element("span", { class: "dot", "data-level": level }), text)),
    element("td", { class: "span" }, element("div", { class: "load" }, load,
      element("span", {}, `${count(node.connections)} / ${short.format(node.connectionsLimit)}`))),
    number("Rooms", count(node.rooms)),
    number("Deliveries/s", orDash(change?.delivered, rate)),
    number("Handshakes/s", orDash(change?.handshakes, rate)),
    number("Queued", bytes(node.queueBytes)),
    number("Memory", bytes(node.memoryBytes)),
    number("Uptime", duration(node.uptimeMs)));
}

function drawNodes(cluster, history) {
  const rows = cluster.nodes.map((node) => nodeRow(node, history.nodes.get(node.id)?.change, node.id === cluster.node));
  byId("nodes").tBodies[0].replaceChildren(...rows);
}

function historyText({ notices, bytes: size, oldestMs }) {
  const kept = `${count(notices)} kept · ${bytes(size)}`;
  return oldestMs === null ? kept : `${kept} · oldest ${duration(oldestMs)}`;
}

function drawRooms(cluster) {
  const histories = new Map(cluster.histories.map((history) => [history.room, history]));
  const rooms = largestRooms(cluster.nodes, 12);
  byId("rooms-empty").hidden = rooms.length > 0;
  byId("rooms").replaceChildren(...rooms.map(([room, members]) => {
    const share = element("i", { "aria-hidden": "true" });
    share.style.width = `${(100 * members) / rooms[0][1]}%`;
    const history = histories.get(room);
    const name = element("span", {}, room);
    if (history) name.append(element("small", { class: "minor" }, historyText(history)));
    return element("li", {}, share, name, element("span", {}, count(members)));
  }));
}

function drawState(level, text, banner = "") {
  byId("state").firstElementChild.dataset.level = level;
  if (byId("state-text").textContent !== text) byId("state-text").textContent = text;
  const place = byId("banner");
  if (place.textContent !== banner) place.textContent = banner;
  place.hidden = !banner;
}

// MARK: Polling

const history = new History();

async function refresh() {
  const answer = await fetch("api/cluster", { cache: "no-store" });
  if (!answer.ok) throw new Error(`the node answered ${answer.status}`);
  const cluster = await answer.json();
  history.add(cluster, performance.now());
  drawTotals(cluster, history);
  drawCharts(history);
  drawNodes(cluster, history);
  drawRooms(cluster);
  tools.update(cluster);
  const nodes = `${cluster.nodes.length} ${cluster.nodes.length === 1 ? "node" : "nodes"}`;
  if (cluster.redis !== null) {
    drawState("bad", "Redis is unavailable", `This node cannot reach Redis (${cluster.redis}), so the page shows this node alone. `
      + "Clients stay connected; nothing is delivered until Redis is back.");
  } else {
    const isReady = cluster.nodes.every((node) => node.ready);
    drawState(isReady ? "good" : "warn", isReady ? `Live · ${nodes}` : `Live · ${nodes}, not all ready`);
  }
  byId("footer").textContent = `Seen from ${cluster.node}. Nodes report every two seconds; a node that is silent for ten disappears.`;
}

async function run() {
  for (;;) {
    const begin = performance.now();
    try {
      await refresh();
    } catch (error) {
      drawState("bad", "No answer", `This node does not answer (${error.message}). The page tries again every two seconds.`);
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(250, INTERVAL_MS - (performance.now() - begin))));
  }
}

// MARK: Colours

const THEMES = ["auto", "light", "dark"];

function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  const title = name[0].toUpperCase() + name.slice(1);
  byId("theme").textContent = title;
  byId("theme").setAttribute("aria-label", `Colours: ${name === "auto" ? "automatic" : name}`);
}

let theme = THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";
setTheme(theme);
byId("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  localStorage.setItem("theme", theme);
  setTheme(theme);
});

const tools = setUpTools();
run();
