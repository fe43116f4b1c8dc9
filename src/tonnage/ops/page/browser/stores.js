// Caches, writers, pools and the like: a table for each kind, with a column for each figure it has.

import { Table } from "./tables.js";
import { at, bytes, count, latency, make } from "./words.js";

// How what entries of a cache went for is counted: one key for each reason.
const GONE = "gone_";
const KINDS = { cache: "Caches", writer: "Writers", pool: "Pools", rate_limit: "Rate limits" };
// A table of more columns has a row of the page for itself.
const MOST_NARROW = 5;

// By kind, what is shown of it.
const groups = new Map();

export function showStores(stores) {
  at("clear-all").hidden = !stores.some(({ kind }) => kind === "cache");
  const kinds = grouped(stores);
  let hadFocus = null;
  for (const [kind, group] of groups) {
    if (kinds.has(kind) && group.keys === keysOf(kinds.get(kind))) continue;
    if (group.node.contains(document.activeElement)) hadFocus = kind;
    group.node.remove();
    groups.delete(kind);
  }
  const box = at("stores");
  [...kinds].forEach(([kind, found], place) => {
    if (!groups.has(kind)) groups.set(kind, storeTable(kind, found));
    const { node, table } = groups.get(kind);
    table.show(found);
    if (box.children[place] !== node) box.insertBefore(node, box.children[place] ?? null);
    if (kind === hadFocus) node.querySelector(".scroll").focus({ preventScroll: true });
  });
  const nothing = at("no-stores");
  if (!kinds.size && !nothing) box.append(make("p", { id: "no-stores", className: "empty" }, "The application has made none."));
  else if (kinds.size) nothing?.remove();
}

// By kind, in their order; those of which nothing has ever been counted are left out.
function grouped(stores) {
  const found = new Map(Object.keys(KINDS).map((kind) => [kind, []]));
  for (const store of stores) found.set(store.kind, [...(found.get(store.kind) ?? []), store]);
  for (const [kind, group] of found) if (!keysOf(group)) found.delete(kind);
  return found;
}

function keysOf(stores) {
  // What has never been counted is left out: most stores could count much that never happens.
  const counted = stores.flatMap(({ counts }) => Object.keys(counts).filter((key) => counts[key]));
  const keys = [...stores.flatMap(({ now }) => Object.keys(now)), ...counted].filter((key) => !key.startsWith(GONE));
  // A column for each reason would come while one looks: they share one, which is always there.
  if (keys.length && stores.some(({ kind }) => kind === "cache")) keys.push("gone");
  return [...new Set(keys)].join(" ");
}

function storeTable(kind, stores) {
  const keys = keysOf(stores);
  const title = KINDS[kind] ?? spoken(kind);
  const columns = [{ title: "Name", isHead: true, isName: true, value: (s) => s.name }];
  for (const key of keys.split(" ").filter(Boolean)) {
    if (key === "gone") columns.push({ title: "Gone", number: true, value: gone });
    else columns.push({ title: label(key, keys), number: true, value: (s) => s.now[key] ?? s.counts[key], text: said(key) });
  }
  if (kind === "cache") columns.push({ title: "Hit ratio", number: true, value: hitRatio }, { title: "", number: true, cell: clearButton });
  const caption = `stores-${kind}`;
  const table = make("table", {}, make("caption", { id: caption }, title));
  const node = make("div", { className: columns.length > MOST_NARROW ? "group broad" : "group" }, make("div", { className: "scroll", role: "region", tabIndex: 0, "aria-labelledby": caption }, table));
  return { node, keys, table: new Table(table, columns, { key: (s) => s.name, empty: "" }) };
}

function gone({ counts }) {
  const reasons = Object.entries(counts).filter(([key, times]) => key.startsWith(GONE) && times);
  return reasons.map(([key, times]) => `${spoken(key.slice(GONE.length)).toLowerCase()} ${count(times)}`).join(", ") || "0";
}

function hitRatio({ counts: { hits = 0, misses = 0 } }) {
  return hits + misses ? `${Math.round((100 * hits) / (hits + misses))} %` : "–";
}

function label(key, keys) {
  const stem = key.replace(/_(bytes|seconds)$/, "");
  return stem !== key && keys.split(" ").includes(stem) ? `${spoken(stem)}, size` : spoken(stem);
}

function spoken(name) {
  return name.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
}

function said(key) {
  if (key.endsWith("_bytes")) return bytes;
  if (key.endsWith("_seconds")) return latency;
  return (value) => (value === undefined ? "–" : count(Math.round(value * 100) / 100));
}

function clearButton(store, cell) {
  if (cell.firstChild) return;
  const button = make("button", { type: "button", "aria-label": `Clear the cache ${store.name}` }, "Clear");
  Object.assign(button.dataset, { act: "cache/clear", name: store.name });
  cell.append(button);
}
