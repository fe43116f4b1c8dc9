// A state, put into the page: each part by itself, and only where it has changed.

import { showStores } from "./stores.js";
import { Table } from "./tables.js";
import { at, bytes, clock, count, duration, latency, make, rate, say } from "./words.js";

const MEANS = {
  OK: "",
  WARNING: "Memory is being collected.",
  CRITICAL: "Caches are emptied and workers may be recycled.",
  EXHAUSTED: "No new request is begun until there is room again.",
};
const LATELY_SECONDS = 10;
const STATES = { READY: "good", STARTING: "", DRAINING: "warn", STUCK: "bad" };
const SEVERITY = { WARNING: "warn", ERROR: "bad", CRITICAL: "bad" };

let tables = null;
// What had been refused by when, of the last seconds.
let refusals = [];

function build() {
  const workers = new Table(at("workers"), [
    { title: "Worker", isHead: true, value: (w) => w.index },
    { title: "State", cell: (w, cell) => tag(cell, w.state.toLowerCase(), STATES[w.state]) },
    { title: "Own memory", number: true, value: (w) => w.uss_bytes || w.held_bytes, text: bytes },
    { title: "Shared", number: true, more: true, value: (w) => Math.max(0, w.pss_bytes - w.uss_bytes), text: bytes },
    { title: "Promised", number: true, rare: true, value: (w) => w.promised_bytes, text: bytes },
    { title: "In flight", number: true, value: (w) => w.in_flight, text: count },
    { title: "Waiting", number: true, more: true, value: (w) => w.waiting, text: count },
    { title: "Requests", number: true, more: true, value: (w) => w.requests, text: count },
    { title: "Refused", number: true, rare: true, value: (w) => w.refused, text: count },
    { title: "Age", number: true, more: true, value: (w) => w.age_seconds, text: duration },
    { title: "Process", number: true, rare: true, value: (w) => w.pid },
    { title: "", number: true, cell: recycleButton },
  ], { key: (w) => w.index, empty: "No worker is running." });
  const routes = new Table(at("routes"), [
    { title: "Route", isHead: true, isName: true, value: (r) => r.name, hint: (r) => r.name, sort: (r) => r.name },
    { title: "Per second", number: true, value: (r) => r.per_second, text: rate, sort: (r) => r.per_second },
    { title: "Requests", number: true, more: true, value: (r) => r.requests, text: count, sort: (r) => r.requests },
    { title: "p50", number: true, more: true, value: (r) => r.p50_seconds, text: latency, sort: (r) => r.p50_seconds },
    { title: "p99", number: true, value: (r) => r.p99_seconds, text: latency, sort: (r) => r.p99_seconds },
    { title: "Cost, mean", number: true, more: true, value: cost("learned_mean_bytes"), sort: (r) => r.learned_mean_bytes },
    { title: "Cost, worst", number: true, value: cost("learned_worst_bytes"), sort: (r) => r.learned_worst_bytes },
    { title: "Errors", number: true, more: true, value: (r) => r.statuses[4] - r.shed, text: count, sort: (r) => r.statuses[4] - r.shed },
    { title: "Shed", number: true, value: (r) => r.shed, text: count, sort: (r) => r.shed },
  ], { key: (r) => r.name, sorted: "Requests", empty: "No request has been answered yet." });
  return { workers, routes };
}

export function showState(state) {
  tables ??= build();
  document.title = `${state.status.level} · ${state.server.name} · Tonnage`;
  say(at("server-name"), state.server.name);
  say(at("server-about"), `Tonnage ${state.server.version}, up ${duration(state.status.uptime_seconds)}, process ${state.server.pid}`);
  showLevel(state);
  showNow(state);
  tables.workers.show(state.status.workers);
  tables.routes.show(state.routes);
  showStores(state.stores);
  showEvents(state.events);
  showPostmortems(state.postmortems);
  showLeaks(state.leaks);
  showPlan(state);
  at("main").removeAttribute("aria-busy");
}

// What becomes of requests, by what they do and not by what a level usually means.
function fate({ time, status }) {
  refusals = [...refusals.filter((each) => each.time > time - LATELY_SECONDS && each.count <= status.refused), { time, count: status.refused }];
  const refused = status.refused - refusals[0].count;
  const waiting = status.workers.reduce((sum, worker) => sum + worker.waiting, 0);
  if (!waiting && !refused) return status.level === "OK" ? "There is room." : "No request waits.";
  const wait = waiting ? `${count(waiting)} ${waiting === 1 ? "request waits" : "requests wait"} for memory` : "No request waits";
  return `${wait}${refused ? `, ${count(refused)} ${refused === 1 ? "was" : "were"} refused in the last ${LATELY_SECONDS} s` : ""}.`;
}

function showLevel(state) {
  const { status, marks } = state;
  const { level } = status;
  at("level").dataset.level = level;
  say(at("level-word"), level);
  say(at("used"), `${bytes(status.used_bytes)} of ${bytes(marks.limit_bytes)} used, ${Math.round(status.usage_percent)} %`);
  const fewer = status.desired_workers < status.planned_workers ? ` It runs ${status.desired_workers} of ${status.planned_workers} workers, since recycling did not bring memory back.` : "";
  const blind = status.is_blind ? " Memory cannot be read just now: the level stands still." : "";
  const kills = status.kernel_kills ? ` The kernel has killed ${count(status.kernel_kills)} process(es).` : "";
  const told = fate(state);
  say(at("means"), `${level} for ${duration(status.level_seconds)}. ${status.is_stopping ? "The server is stopping." : `${MEANS[level]} ${told}`.trim()}${kills}${fewer}${blind}`);
}

function showNow({ status, routes }) {
  const total = (key) => status.workers.reduce((sum, worker) => sum + worker[key], 0);
  const known = routes.filter((route) => route.per_second !== null);
  const perSecond = known.length || !routes.length ? known.reduce((sum, route) => sum + route.per_second, 0) : null;
  const { jobs } = status;
  const rows = [
    ["Requests a second", rate(perSecond), "last 10 s"],
    ["In flight", count(total("in_flight")), `${count(total("connections"))} connections`],
    ["Waiting for memory", count(total("waiting")), `${count(status.waited)} have waited`],
    ["Refused", count(status.refused), `of ${count(status.requests)} requests`],
    ["Promised", bytes(status.reserved_bytes), "to requests and jobs"],
    ["Collected", bytes(status.reclaimed_bytes), `${count(status.reclaims)} times`],
    ["Recycled", count(status.recycles), `${bytes(status.recycled_bytes)} came free`],
    ["Jobs", `${count(jobs.running)} running`, `${count(jobs.waiting)} waiting, ${count(jobs.done)} done, ${count(jobs.failed + jobs.killed + jobs.timed_out)} failed`],
  ];
  const list = at("now");
  if (list.children.length !== rows.length) {
    list.replaceChildren(...rows.map(([name]) => make("div", {}, make("dt", {}, name), make("dd", {}, make("span"), make("small")))));
  }
  rows.forEach(([, figure, more], number) => {
    const shown = list.children[number].lastChild;
    say(shown.firstChild, figure);
    say(shown.lastChild, more);
  });
}

function showEvents(events) {
  const list = at("events");
  const newest = events.length ? `${events[0].time} ${events.length}` : "none";
  if (list.dataset.newest === newest) return;
  list.dataset.newest = newest;
  const lines = events.map(({ time, level, text }) => make("li", {},
    make("time", { dateTime: new Date(time * 1000).toISOString() }, clock(time)),
    make("span", {}, SEVERITY[level] ? make("span", { className: `tag ${SEVERITY[level]}` }, level.toLowerCase()) : null, text.replaceAll(" -> ", " → "))));
  list.replaceChildren(...(lines.length ? lines : [make("li", { className: "empty" }, "Nothing has happened yet.")]));
}

function showPostmortems(reports) {
  const box = at("postmortems");
  const names = reports.map(({ name }) => name).join(" ") || "none";
  if (box.dataset.names === names) return;
  box.dataset.names = names;
  const open = new Map([...box.querySelectorAll("details[open]")].map((node) => [node.dataset.name, node]));
  const shown = reports.map((report) => open.get(report.name) ?? reportNode(report));
  box.replaceChildren(...(shown.length ? shown : [make("p", { className: "empty" }, "Nothing has died.")]));
}

function reportNode({ name, time, summary }) {
  const text = make("pre", { tabIndex: 0 });
  const when = Number.isNaN(Date.parse(time)) ? time : new Date(time).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const node = make("details", { className: "report" }, make("summary", {}, summary, make("small", {}, when)), text);
  node.dataset.name = name;
  node.addEventListener("toggle", async () => {
    if (!node.open || text.textContent) return;
    text.textContent = "…";
    const url = new URL("postmortem", import.meta.url);
    url.searchParams.set("name", name);
    try {
      const answer = await fetch(url);
      text.textContent = answer.ok ? await answer.text() : "The report is gone, or too long to be shown here.";
    } catch {
      text.textContent = "";
      node.open = false;
    }
  });
  return node;
}

function showLeaks(leaks) {
  at("leaks-card").hidden = !leaks.length;
  at("leaks").replaceChildren(...leaks.map((leak) => make("li", {},
    `Worker ${leak.worker} grows by ${bytes(leak.bytes_per_second * 60)} a minute`
    + `${leak.bytes_per_request ? `, ${bytes(leak.bytes_per_request)} a request` : ""}; so far ${bytes(leak.grown_bytes)}.`)));
}

function showPlan({ plan, marks }) {
  const table = at("plan");
  if (table.tBodies.length || !plan.length) return;
  const line = ({ name, bytes: size, why }) => make("tr", {}, make("th", { scope: "row" }, name, make("div", { className: "why" }, why)), make("td", { className: "number" }, bytes(size)));
  const head = make("tr", {}, make("th", { scope: "col" }, "For"), make("th", { scope: "col", className: "number" }, "Set aside"));
  const total = plan.reduce((sum, { bytes: size }) => sum + size, 0);
  const foot = make("tr", {}, make("th", { scope: "row" }, total === marks.limit_bytes ? "The limit" : "The limit at the start"), make("td", { className: "number" }, bytes(total)));
  table.append(make("thead", {}, head), make("tbody", {}, ...plan.map(line)), make("tfoot", {}, foot));
}

function cost(key) {
  return (route) => (route[key] === null ? "–" : `${bytes(route[key])}${route.is_known ? "" : " ?"}`);
}

function tag(cell, text, kind) {
  if (!cell.firstChild) cell.append(make("span"));
  cell.firstChild.className = `tag ${kind ?? ""}`;
  say(cell.firstChild, text);
}

function recycleButton(worker, cell) {
  if (cell.firstChild) return;
  const button = make("button", { type: "button", "aria-label": `Recycle worker ${worker.index}` }, "Recycle");
  Object.assign(button.dataset, { act: "recycle", worker: worker.index });
  cell.append(button);
}
