// The limit as a tank: who holds what, and the marks on the way to the limit.

import { HOLDERS, at, bytes, make, say } from "./words.js";

const MARKS = [
  ["warning_bytes", "WARNING", "W", "Warning"],
  ["critical_bytes", "CRITICAL", "C", "Critical"],
  ["exhausted_bytes", "EXHAUSTED", "E", "Exhausted"],
  ["ceiling_bytes", "ceiling", "▲", "New requests wait above"],
];

const parts = new Map();
const figures = new Map();
const lines = new Map();

function build() {
  const vessel = make("div", { className: "vessel" });
  for (const [key, name] of HOLDERS) {
    const figure = make("b");
    const row = make("li", {}, make("i", { className: `of-${key}`, "aria-hidden": "true" }), make("span", {}, name), figure);
    figures.set(key, { row, figure });
    at("legend").append(row);
    if (key === "free") continue;
    const part = make("div", { className: `part of-${key}` });
    parts.set(key, part);
    vessel.append(part);
  }
  at("tank").append(vessel);
  for (const [key, kind, letter] of MARKS) {
    const line = make("div", { className: `mark ${kind}` }, make("b", {}, letter));
    lines.set(key, line);
    at("tank").append(line);
  }
}

export function showTank({ tank, marks }) {
  if (!parts.size) build();
  const limit = marks.limit_bytes;
  let left = 0;
  for (const [key] of HOLDERS) {
    const { row, figure } = figures.get(key);
    say(figure, bytes(tank[key]));
    row.hidden = tank[key] === 0 && key === "jobs";
    const part = parts.get(key);
    if (!part) continue;
    const width = (100 * tank[key]) / limit;
    part.style.left = `${left}%`;
    part.style.width = `${width}%`;
    left += width;
  }
  for (const [key, line] of lines) line.style.left = `${(100 * marks[key]) / limit}%`;
  const told = MARKS.map(([key, , letter, name]) => `${letter}|${name} ${bytes(marks[key])}`);
  const text = [...told, `|Limit ${bytes(limit)}`].join("\n");
  if (at("marks").dataset.text === text) return;
  at("marks").dataset.text = text;
  at("marks").replaceChildren(...text.split("\n").map((each) => {
    const [letter, rest] = each.split("|");
    return make("span", {}, make("b", { "aria-hidden": "true" }, letter), ` ${rest}`);
  }));
}
