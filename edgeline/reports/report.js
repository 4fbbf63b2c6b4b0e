"use strict";
/* What a report does beyond being read: its tables are sorted and searched, marks of a figure tell
   their values at once, and the page around it learns its height. It takes every text from the
   document, and puts text into it, never markup. */
const FEW = 12; // rows of a table that nobody has to search
const UNITS = {
  "%": 0.01, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, ns: 1e-9, "µs": 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600
};

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

/* A cell as a number, its unit counted in; NaN where it is none, as a date, a version or a time of day:
   what follows a number stands apart from it. */
function amount(text) {
  const found = text.match(/^[<>≥≤~\s]*([+\-−]?[\d,]*\.?\d+(?:e[+-]?\d+)?)\s*(%|[A-Za-zµ]*)(?=$|\s+\D|[,;:)]\s)/i);
  return found ? Number(found[1].replace(/,/g, "").replace("−", "-")) * (UNITS[found[2]] || 1) : NaN;
}

/* What a cell says first: one of several lines, as of each split, is sorted by the first. */
function first(cell) {
  const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim();
    if (text) return text;
  }
  return "";
}

/* Of a table in parts, what a search has found is seen, wherever it was sorted to. */
function unfold(box) {
  const searched = box.classList.contains("searched");
  for (const part of box.children) {
    const found = part.querySelector("tbody tr:not([hidden])") !== null;
    part.hidden = searched && !found;
    if (part.localName === "details") part.open = searched && found;
  }
}

function sort(box, tables, column, heads, head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const each of heads) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const sizes = tables.map(table => table.tBodies[0].rows.length);
  const keyed = tables.flatMap(table => [...table.tBodies[0].rows]).map(row => {
    const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
    const value = amount(text ? first(row.cells[column]) : "");
    return { row, text, none: text === "–" || text === "", value };
  });
  const numbers = keyed.every(each => each.none || !Number.isNaN(each.value));
  const order = (a, b) => numbers ? a.value - b.value : a.text.localeCompare(b.text, "en", { numeric: true });
  keyed.sort((a, b) => a.none || b.none ? a.none - b.none : (down ? -1 : 1) * order(a, b));
  let from = 0;
  tables.forEach((table, place) => {
    table.tBodies[0].append(...keyed.slice(from, from += sizes[place]).map(each => each.row));
  });
  if (box.classList.contains("searched")) unfold(box);
}

function search(box, tables) {
  const rows = tables.flatMap(table => [...table.tBodies[0].rows]);
  const line = element("div", { className: "search" });
  const input = element("input", { type: "search", placeholder: "Search the rows" });
  input.setAttribute("aria-label", "Search the rows of this table");
  const count = element("span", { textContent: rows.length.toLocaleString("en") + " rows" });
  const texts = new Map(rows.map(row => [row, [...row.cells].map(cell => cell.textContent).join("\n").toLowerCase()]));
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const row of rows) {
      row.hidden = !words.every(word => texts.get(row).includes(word));
      found += !row.hidden;
    }
    box.classList.toggle("searched", words.length > 0);
    unfold(box);
    const all = rows.length.toLocaleString("en") + " rows";
    count.textContent = words.length ? found.toLocaleString("en") + " of " + all : all;
  });
  line.append(input, count);
  box.before(line);
}

for (const box of document.querySelectorAll(".rows")) {
  if (box.closest("[data-slider]")) continue;
  const tables = [...box.querySelectorAll("table")];
  const total = tables.reduce((sum, table) => sum + table.tBodies[0].rows.length, 0);
  if (total > FEW) search(box, tables);
  const heads = tables.map(table => table.tHead ? [...table.tHead.rows[0].cells] : []);
  for (const own of total > 2 ? heads : []) {
    own.forEach((head, column) => {
      if (!head.textContent) return;
      head.tabIndex = 0;
      const start = () => sort(box, tables, column, heads.flat(), head);
      head.addEventListener("click", start);
      head.addEventListener("keydown", event => { if (event.key === "Enter") start(); });
    });
  }
}

/* A slider over the rows of a table: the chosen row as a line of facts. */
for (const box of document.querySelectorAll("[data-slider]")) {
  const table = box.querySelector("table");
  const names = [...table.tHead.rows[0].cells].map(cell => cell.textContent.trim());
  const rows = [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent));
  const input = element("input", { type: "range", min: 0, max: rows.length - 1, value: box.dataset.slider });
  input.setAttribute("aria-label", names[0]);
  const facts = element("div", { className: "facts" });
  const show = () => facts.replaceChildren(...names.map((name, place) => {
    const fact = element("div", { className: "fact" });
    fact.append(element("b", { textContent: rows[input.value][place] }), element("span", { textContent: name }));
    return fact;
  }));
  input.addEventListener("input", show);
  show();
  box.prepend(input, facts);
}

/* A graph of operators is larger than a screen: nearer, farther, all of it. */
for (const box of document.querySelectorAll(".ops")) {
  const drawing = box.querySelector("svg");
  const [wide, tall] = ["width", "height"].map(side => drawing[side].baseVal.value);
  let scale = 1;
  const zoom = to => {
    scale = Math.min(Math.max(to, 0.1), 4);
    drawing.setAttribute("width", wide * scale);
    drawing.setAttribute("height", tall * scale);
  };
  const bar = element("div", { className: "search" });
  for (const [text, label, next] of [
    ["−", "farther", () => scale / 1.4], ["+", "nearer", () => scale * 1.4],
    ["all", "the whole graph", () => Math.min(box.clientWidth / wide, box.clientHeight / tall)], ["1:1", "as large as it is drawn", () => 1],
  ]) {
    const button = element("button", { type: "button", textContent: text, title: label });
    button.addEventListener("click", () => zoom(next()));
    bar.append(button);
  }
  box.before(bar);
  const chosen = element("pre", { className: "chosen", hidden: true });
  drawing.addEventListener("click", event => { // what a box tells, to be read and copied
    const mark = event.target.closest("g.op, g.end");
    for (const other of drawing.querySelectorAll(".picked")) other.classList.remove("picked");
    chosen.hidden = mark === null;
    if (mark === null) return;
    mark.classList.add("picked");
    const title = mark.querySelector(":scope > title");
    chosen.textContent = title ? title.textContent : mark.dataset.hint;
  });
  box.after(chosen);
}

/* A mark's <title> at once, beside the pointer, and by a tap. */
const hint = element("div", { id: "hint", hidden: true });
document.body.append(hint);
document.addEventListener("pointerover", event => {
  const mark = event.target.closest && event.target.closest("svg [data-hint], svg :has(> title)");
  if (!mark) { hint.hidden = true; return; }
  const title = mark.querySelector(":scope > title");
  if (title) { // else the browser shows it a second time
    mark.dataset.hint = title.textContent;
    title.remove();
  }
  hint.textContent = mark.dataset.hint;
  hint.hidden = false;
  const left = Math.min(event.clientX + 12, innerWidth - hint.offsetWidth - 8);
  const top = event.clientY + 16 + hint.offsetHeight > innerHeight ? event.clientY - hint.offsetHeight - 8 : event.clientY + 16;
  hint.style.left = Math.max(left, 4) + "px";
  hint.style.top = top + "px";
});

/* Which tab is shown; that it is shown does the style. */
const tabs = [...document.querySelectorAll("nav.tabs a")];
function mark() {
  const name = decodeURIComponent(location.hash);
  const shown = tabs.find(tab => decodeURIComponent(tab.hash) === name) || tabs[0];
  for (const tab of tabs) tab.removeAttribute("aria-current");
  shown.setAttribute("aria-current", "page");
  shown.scrollIntoView({ block: "nearest", inline: "center" });
  const tab = document.getElementById(decodeURIComponent(shown.hash.slice(1)));
  for (const frame of tab.querySelectorAll("iframe")) frame.loading = "eager";
}
if (tabs.length) {
  mark();
  addEventListener("hashchange", mark);
}

/* A page within another is as tall as what it shows: it tells its height, a number, and nothing else. */
const TALLEST = 30000;
addEventListener("message", event => {
  const height = event.data && event.data.edgelineReportHeight;
  if (!Number.isFinite(height)) return;
  for (const frame of document.querySelectorAll("iframe.report")) {
    if (frame.contentWindow === event.source) frame.style.height = Math.min(Math.max(height + 4, 120), TALLEST) + "px";
  }
});
if (parent !== window) {
  document.documentElement.classList.add("framed");
  const tell = () => parent.postMessage({ edgelineReportHeight: document.body.offsetHeight }, "*");
  tell();
  new ResizeObserver(tell).observe(document.body);
}
