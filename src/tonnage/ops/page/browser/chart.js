// The last minutes as stacked areas, drawn anew when there is a new row or another width. A server
// that has just started has its first minutes spread over the whole width.

import { HOLDERS, LEVELS, at, bytes, clock, make, say } from "./words.js";

const SPANS_SECONDS = [180, 360, 900];
const GAP_SECONDS = 12;
const ROOM = { left: 62, right: 34, top: 12, bottom: 30 };
// Critical and exhausted lie close together, so their letters stand beside each other.
const MARKS = [["warning_bytes", "WARNING", "W", 6], ["critical_bytes", "CRITICAL", "C", 6], ["exhausted_bytes", "EXHAUSTED", "E", 20]];
const STACK = HOLDERS.slice(0, 7);

let drawn = null;

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Each row with the upper edges of its areas; all but the last, the file cache, are what is used.
function edges(row) {
  let top = 0;
  const tops = STACK.map(([key]) => (top += row[key]));
  return { ...row, used: tops.at(-2), tops };
}

function named(history) {
  return history.rows.map((row) => edges(Object.fromEntries(row.map((value, number) => [history.columns[number], value]))));
}

// Where nothing was noted for a while, as before a restart, nothing is drawn.
function runs(rows) {
  const found = [];
  rows.forEach((row, number) => {
    if (!number || row.time - rows[number - 1].time > GAP_SECONDS) found.push([]);
    found.at(-1).push(row);
  });
  return found;
}

export function showChart(history, marks) {
  const rows = named(history);
  const known = rows.length ? rows.at(-1).time - rows[0].time : 0;
  drawn = { rows, marks, span: SPANS_SECONDS.find((seconds) => seconds >= known) ?? SPANS_SECONDS.at(-1) };
  say(at("chart-title"), `The last ${drawn.span / 60} minutes`);
  draw();
  table(drawn.rows);
}

function draw() {
  if (!drawn) return;
  const { rows, marks, span } = drawn;
  const plot = at("plot");
  const [width, height] = [plot.clientWidth, plot.clientHeight];
  const end = rows.length ? rows.at(-1).time : Date.now() / 1000;
  const x = (time) => ROOM.left + (width - ROOM.left - ROOM.right) * (1 - (end - time) / span);
  const y = (size) => height - ROOM.bottom - (height - ROOM.top - ROOM.bottom) * Math.min(1, size / marks.limit_bytes);
  const picture = svg("svg", { role: "img", "aria-label": summary(rows, marks), viewBox: `0 0 ${width} ${height}` });
  scales(picture, x, y, end, span, marks, width, height);
  for (const run of runs(rows)) areas(picture, run, x, y, height);
  thresholds(picture, x(end - span), x(end), y, marks);
  const cursor = svg("line", { class: "cursor", y1: ROOM.top, y2: height - ROOM.bottom, visibility: "hidden" });
  picture.append(cursor);
  plot.replaceChildren(picture);
  if (rows.length < 2) at("readout").textContent = "The picture grows by a step every five seconds.";
  else if (at("readout").textContent.startsWith("The picture")) at("readout").textContent = "\u00a0";
  follow(picture, cursor, rows, x);
}

function scales(picture, x, y, end, span, marks, width, height) {
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const size = marks.limit_bytes * share;
    const line = { x1: ROOM.left, x2: width - ROOM.right, y1: y(size), y2: y(size), class: share === 1 ? "limit" : "grid" };
    picture.append(svg("line", line));
    picture.append(svg("text", { x: ROOM.left - 8, y: y(size) + 4, "text-anchor": "end" }, bytes(size)));
  }
  for (const back of width < 480 ? [0, span / 3, span] : [0, 1, 2, 3].map((part) => (span * part) / 3)) {
    const anchor = back === span ? "start" : "middle";
    const label = back === 0 ? "now" : `−${back / 60} min`;
    picture.append(svg("text", { x: x(end - back), y: height - 6, "text-anchor": anchor }, label));
  }
}

function areas(picture, run, x, y, height) {
  // One row alone would have no width.
  const points = run.length > 1 ? run : [{ ...run[0], time: run[0].time - 2 }, run[0]];
  STACK.forEach(([key], number) => {
    const upper = points.map((row) => `${x(row.time).toFixed(1)},${y(row.tops[number]).toFixed(1)}`);
    const lower = points.map((row) => `${x(row.time).toFixed(1)},${y(number ? row.tops[number - 1] : 0).toFixed(1)}`);
    picture.append(svg("polygon", { class: `area-${key}`, points: [...upper, ...lower.reverse()].join(" ") }));
  });
  const edge = points.map((row) => `${x(row.time).toFixed(1)},${y(row.used).toFixed(1)}`);
  picture.append(svg("polyline", { class: "edge", points: edge.join(" ") }));
  points.slice(1).forEach((row, number) => {
    const from = x(points[number].time);
    picture.append(svg("rect", { class: `band l${row.level}`, x: from, y: height - ROOM.bottom + 3, width: Math.max(1, x(row.time) - from + 0.5), height: 5 }));
  });
}

function thresholds(picture, from, to, y, marks) {
  for (const [key, level, letter, aside] of MARKS) {
    const height = y(marks[key]);
    picture.append(svg("line", { class: `mark ${level}`, x1: from, x2: to, y1: height, y2: height }));
    picture.append(svg("text", { class: level, x: to + aside, y: height + 4, "font-weight": 700 }, letter));
  }
}

function summary(rows, marks) {
  if (!rows.length) return "Memory over the last minutes: nothing is known yet.";
  const highest = rows.reduce((most, row) => (row.used > most.used ? row : most));
  return `Memory used over the last minutes: ${bytes(rows.at(-1).used)} at the end, at most ${bytes(highest.used)} `
    + `at ${clock(highest.time)}, of ${bytes(marks.limit_bytes)}. The table below has the figures.`;
}

function follow(picture, cursor, rows, x) {
  picture.addEventListener("pointermove", (event) => {
    if (!rows.length) return;
    const place = event.clientX - picture.getBoundingClientRect().left;
    const near = rows.reduce((best, row) => (Math.abs(x(row.time) - place) < Math.abs(x(best.time) - place) ? row : best));
    cursor.setAttribute("x1", x(near.time));
    cursor.setAttribute("x2", x(near.time));
    cursor.setAttribute("visibility", "visible");
    const held = `workers grown by ${bytes(near.workers_own)}, jobs ${bytes(near.jobs)}, file cache ${bytes(near.cache)}`;
    at("readout").textContent = `${clock(near.time)}: ${bytes(near.used)} used, ${LEVELS[near.level]}; ${held}`;
  });
  picture.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    at("readout").textContent = "\u00a0";
  });
}

function table(rows) {
  if (!at("chart-details").open) return;
  const heads = ["Time", "Level", "Used", ...STACK.map(([, name]) => name)];
  const line = (row) => make("tr", {},
    make("th", { scope: "row" }, clock(row.time)), make("td", {}, LEVELS[row.level]),
    ...[row.used, ...STACK.map(([key]) => row[key])].map((size) => make("td", { className: "number" }, bytes(size))));
  const minutes = rows.filter((row, number) => (rows.length - 1 - number) % 12 === 0).reverse();
  const top = make("tr", {}, ...heads.map((name, number) => make("th", { scope: "col", className: number > 1 ? "number" : "" }, name)));
  at("chart-table").replaceChildren(at("chart-caption"), make("thead", {}, top), make("tbody", {}, ...minutes.map(line)));
}

new ResizeObserver(draw).observe(at("plot"));
at("chart-details").addEventListener("toggle", () => drawn && table(drawn.rows));
