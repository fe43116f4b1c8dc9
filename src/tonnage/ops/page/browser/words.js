// How figures are said. Sizes are MB of 2**20 bytes, as everywhere in Tonnage.

const MIB = 2 ** 20;

export function bytes(size) {
  if (size === null || size === undefined) return "–";
  const sign = size < 0 ? "−" : "";
  const mb = Math.abs(size) / MIB;
  if (mb >= 10240) return `${sign}${(mb / 1024).toFixed(1)} GB`;
  if (mb >= 100) return `${sign}${Math.round(mb)} MB`;
  if (mb >= 0.05 || mb === 0) return `${sign}${mb.toFixed(1).replace(/\.0$/, "")} MB`;
  return `${sign}${Math.max(1, Math.round(mb * 1024))} KB`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

export function latency(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 ms";
  const ms = seconds * 1000;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

export function count(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString("en-GB");
}

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  return perSecond >= 10 || perSecond === 0 ? count(Math.round(perSecond)) : perSecond.toFixed(1);
}

export function clock(unixSeconds, parts = { hour: "2-digit", minute: "2-digit", second: "2-digit" }) {
  return new Date(unixSeconds * 1000).toLocaleTimeString("en-GB", parts);
}

export const HOLDERS = [
  ["supervisor", "Supervisor"],
  ["zygote", "Zygote (imported application)"],
  ["workers_shared", "Workers, as they started"],
  ["workers_own", "Workers, grown since"],
  ["jobs", "Jobs"],
  ["unexplained", "Unexplained"],
  ["cache", "File cache"],
  ["free", "Free"],
];
export const LEVELS = ["OK", "WARNING", "CRITICAL", "EXHAUSTED"];

// An element with properties, attributes (those with a dash, and role) and children.
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const at = (id) => document.getElementById(id);

// Only what has changed is touched: a reader's place, a selection and the focus stay.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
