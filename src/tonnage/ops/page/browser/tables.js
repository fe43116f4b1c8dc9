// Tables that stay while their figures change: rows are kept by their key, cells by their column.

import { make, say } from "./words.js";

// A column: title; value(row), which is shown as it is or by text(value); and number, more (left
// out on phones), rare (on tablets too), isHead, cell(row, td) for what is no text, sort (what to sort by).
export class Table {
  constructor(table, columns, { key, sorted = null, empty }) {
    Object.assign(this, { table, columns, key, empty, sorted, isDown: true, rows: new Map(), last: [] });
    this.body = make("tbody");
    this.heads = columns.map((column) => this.head(column));
    table.append(make("thead", {}, make("tr", {}, ...this.heads)), this.body);
    this.mark();
  }

  show(rows) {
    this.last = rows;
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const seen = new Set();
    const ordered = this.order(rows);
    ordered.forEach((row, place) => {
      const key = String(this.key(row));
      seen.add(key);
      const line = this.rows.get(key) ?? this.add(key);
      this.columns.forEach((column, number) => fill(column, row, line.children[number]));
      if (this.body.children[place] !== line) this.body.insertBefore(line, this.body.children[place] ?? null);
    });
    for (const [key, line] of this.rows) {
      if (seen.has(key)) continue;
      line.remove();
      this.rows.delete(key);
    }
    this.nothing?.remove();
    if (!rows.length) {
      this.nothing = make("tr", {}, make("td", { colSpan: this.columns.length, className: "empty" }, this.empty));
      this.body.append(this.nothing);
    }
    // A row that is moved or goes takes the focus with it: back, or to where the table is.
    if (focused && document.activeElement !== focused) {
      (focused.isConnected ? focused : this.table.parentElement).focus({ preventScroll: true });
    }
  }

  add(key) {
    const line = make("tr", {}, ...this.columns.map((column) => {
      const cell = make(column.isHead ? "th" : "td", { className: classes(column) });
      if (column.isHead) cell.scope = "row";
      return cell;
    }));
    this.rows.set(key, line);
    return line;
  }

  head(column) {
    const head = make("th", { scope: "col", className: classes(column) });
    if (!column.sort) {
      head.append(column.title ? column.title : make("span", { className: "hidden" }, "Actions"));
      return head;
    }
    const button = make("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      this.isDown = this.sorted === column.title ? !this.isDown : true;
      this.sorted = column.title;
      this.mark();
      this.show(this.last);
    });
    head.append(button);
    return head;
  }

  mark() {
    this.columns.forEach((column, number) => {
      if (!column.sort) return;
      const way = column.title === this.sorted ? (this.isDown ? "descending" : "ascending") : "none";
      this.heads[number].setAttribute("aria-sort", way);
    });
  }

  order(rows) {
    const column = this.columns.find(({ title }) => title === this.sorted);
    if (!column) return rows;
    const sign = this.isDown ? -1 : 1;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : (a ?? -1) - (b ?? -1));
    return [...rows].sort((a, b) => sign * compare(column.sort(a), column.sort(b)));
  }
}

function fill(column, row, cell) {
  if (column.cell) column.cell(row, cell);
  else say(cell, String(column.text ? column.text(column.value(row)) : column.value(row)));
  if (column.hint) cell.title = column.hint(row);
}

function classes({ number, more, rare, isName }) {
  return [number && "number", (more || rare) && "more", rare && "rare", isName && "name"].filter(Boolean).join(" ");
}
