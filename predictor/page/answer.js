// The answer: legend, marked text and table.

import { $, codePointIndex, countCodePoints, make, number } from "./dom.js";
import { COLOURS } from "./labels.js";

// More than this would make the page slow; a button shows the rest.
const ROWS_AT_FIRST = 500;
const ROWS_MORE = 5_000;
const CHARACTERS_AT_FIRST = 20_000;

const collator = new Intl.Collator("en", { numeric: true });

let text = "";
let entities = [];
let colours = new Map(); // label → CSS class
let sorted = []; // {entity, index} in the order of the table
let sort = { column: "start", descending: false };

export function startAnswer() {
  $("whole-text").addEventListener("click", () => {
    showText(Infinity);
    $("marked").focus(); // the button is gone, and with it the focus
  });
  $("more-rows").addEventListener("click", () => {
    const before = $("rows").rows.length;
    addRows(ROWS_MORE);
    $("rows").rows[before].querySelector("button").focus({ preventScroll: true });
  });
  $("table").tHead.addEventListener("click", (event) => {
    const column = event.target.closest("button")?.dataset.column;
    if (column) sortBy(column);
  });
}

export function showEntities(asked, prediction) {
  text = asked.body.instances[0].text;
  entities = prediction.entities;
  colours = new Map(asked.labels.map(({ name, slot }) => [name, `c${slot % COLOURS}`]));
  showLegend();
  showText(CHARACTERS_AT_FIRST);
  showRows();
}

function showLegend() {
  const counts = new Map([...colours.keys()].map((label) => [label, 0]));
  for (const { label } of entities) counts.set(label, (counts.get(label) ?? 0) + 1);
  const items = [...counts].map(([label, count]) => {
    const tally = make("span", { className: "tally" }, number(count));
    const item = make("li", { className: colours.get(label) }, dot(), `${label} `, tally);
    item.classList.toggle("absent", count === 0);
    return item;
  });
  $("legend").replaceChildren(...items);
}

function dot() {
  return make("span", { className: "dot" });
}

// ---------------------------------------------------------------- marked text

function showText(limit) {
  const spans = gatherSpans();
  const length = countCodePoints(text);
  let end = Math.min(limit, length);
  for (const span of spans) if (span.start < end) end = Math.max(end, span.end); // cut no entity
  const shown = spans.filter((span) => span.start < end);
  $("marked").replaceChildren(markText(shown, end));
  $("marked").scrollTop = 0;
  $("whole-text").hidden = end === length;
  $("whole-text").textContent = `Show all ${number(length)} characters`;
}

/** One span for all entities at the same place; outer spans come before those inside them. */
function gatherSpans() {
  const spans = new Map();
  for (const [index, { start, end, label }] of entities.entries()) {
    const key = `${start}:${end}`;
    if (!spans.has(key)) spans.set(key, { start, end, labels: [], indexes: [] });
    spans.get(key).labels.push(label);
    spans.get(key).indexes.push(index);
  }
  return [...spans.values()].sort((a, b) => a.start - b.start || b.end - a.end);
}

/** Walks the text once, with a stack of the marks that are open. */
function markText(spans, end) {
  const unit = codePointIndex(text);
  const root = document.createDocumentFragment();
  const open = [{ node: root, end: Infinity, tags: [] }];
  const queue = [...spans];
  let at = 0;

  function writeUntil(position) {
    if (position > at) open.at(-1).node.append(text.slice(unit(at), unit(position)));
    at = position;
  }

  function closeUntil(position) {
    while (open.at(-1).end <= position) {
      writeUntil(open.at(-1).end);
      const { node, tags } = open.pop();
      node.append(...tags);
    }
    writeUntil(position);
  }

  for (let next = 0; next < queue.length; next += 1) {
    const span = queue[next];
    closeUntil(span.start);
    const outer = open.at(-1);
    const stop = Math.min(span.end, outer.end);
    const whole = stop === span.end;
    // A span that crosses the end of the one around it is continued after that one.
    if (!whole) insertInOrder(queue, next + 1, { ...span, start: stop });
    if (outer.node !== root) outer.node.classList.add("outer");
    const node = mark(span);
    outer.node.append(node);
    open.push({ node, end: stop, tags: whole ? span.labels.map(tag) : [] });
  }
  closeUntil(end);
  return root;
}

function insertInOrder(queue, from, span) {
  let place = from;
  while (place < queue.length && queue[place].start < span.start) place += 1;
  queue.splice(place, 0, span);
}

function mark({ labels, indexes }) {
  const node = make("mark", { className: colours.get(labels[0]), tabIndex: -1 });
  node.dataset.entities = indexes.join(" ");
  return node;
}

function tag(label) {
  return make("span", { className: `tag ${colours.get(label)}` }, label);
}

function showInText(index) {
  const find = () => $("marked").querySelector(`[data-entities~="${index}"]`);
  if (!find()) showText(Infinity);
  find().focus({ preventScroll: true });
  find().scrollIntoView({ block: "center" });
}

// ---------------------------------------------------------------- table

function sortBy(column) {
  const again = sort.column === column;
  sort = { column, descending: again ? !sort.descending : column === "score" };
  showRows();
}

function compare(a, b) {
  const [one, other] = [a.entity[sort.column], b.entity[sort.column]];
  const order = typeof one === "string" ? collator.compare(one, other) : one - other;
  return (sort.descending ? -order : order) || a.index - b.index;
}

function showRows() {
  sorted = entities.map((entity, index) => ({ entity, index })).sort(compare);
  $("rows").replaceChildren();
  addRows(ROWS_AT_FIRST);
  $("table").hidden = sorted.length === 0;
  $("none").hidden = sorted.length > 0;
  for (const button of $("table").tHead.querySelectorAll("button")) {
    const direction = sort.descending ? "descending" : "ascending";
    const mine = button.dataset.column === sort.column;
    button.parentElement.setAttribute("aria-sort", mine ? direction : "none");
  }
}

function addRows(count) {
  const before = $("rows").rows.length;
  const until = Math.min(before + count, sorted.length);
  $("rows").append(...sorted.slice(before, until).map(row));
  const next = sorted.length - until > ROWS_MORE ? `${number(ROWS_MORE)} more of` : "all";
  $("more-rows").hidden = until === sorted.length;
  $("more-rows").textContent = `Show ${next} ${number(sorted.length)} rows`;
}

function row({ entity, index }) {
  const name = make("button", { type: "button", title: "Show in the text" }, entity.text);
  name.addEventListener("click", () => showInText(index));
  const bar = make("span", { className: "bar" });
  bar.style.setProperty("--score", entity.score);
  return make(
    "tr",
    {},
    make("td", {}, name),
    make("td", { className: `label ${colours.get(entity.label)}` }, dot(), entity.label),
    make("td", { className: "score" }, entity.score.toFixed(3), bar),
    make("td", { className: "number" }, String(entity.start)),
    make("td", { className: "number" }, String(entity.end)),
  );
}
