// The labels to find: chips, presets and descriptions.

import { $, make, mistake, number, plural } from "./dom.js";

export const COLOURS = 12; // classes c0 to c11 in page.css

/** Each label keeps its slot, hence its colour, while others come and go. */
export let labels = []; // {name, description, slot}
let presets = {};
let changed = () => {};

export function startLabels(onChange) {
  changed = onChange;
  $("label-input").addEventListener("keydown", onKey);
  $("label-input").addEventListener("paste", onPaste);
  $("chips").addEventListener("click", (event) => {
    if (!event.target.closest("button")) $("label-input").focus();
  });
  $("clear-labels").addEventListener("click", () => {
    setLabels({});
    $("label-input").focus();
  });
}

export function showPresets(available) {
  presets = available;
  const buttons = Object.entries(presets).map(([name, { title, description }]) => {
    const button = make("button", { type: "button", value: name, title: description ?? "" }, title);
    button.addEventListener("click", () => setLabels(presets[name].labels));
    return make("li", {}, button);
  });
  $("preset-list").replaceChildren(...buttons);
}

export function setLabels(described) {
  labels = Object.entries(described).map(([name, description], slot) => ({
    name,
    description: description ?? "",
    slot,
  }));
  mistake("label-input", "");
  show();
}

/** Turns what stands in the input into labels, and says which were there before. */
export function commitInput() {
  const refused = [];
  for (const part of $("label-input").value.split(/[,;\n\t]/)) {
    const name = part.trim().replace(/\s+/g, " ");
    if (!name) continue;
    if (labels.some((label) => label.name === name)) refused.push(name);
    else labels.push({ name, description: "", slot: freeSlot() });
  }
  $("label-input").value = "";
  mistake("label-input", refused.length ? `Already there: ${refused.join(", ")}` : "");
  show();
}

/** What the API takes: a list of names, or names with descriptions once there is one. */
export function labelsToSend() {
  const described = labels.some((label) => label.description.trim());
  return described ? asObject() : labels.map((label) => label.name);
}

export function findLabelMistake(limit) {
  if (!labels.length) return "Add at least one label.";
  return labels.length > limit ? `At most ${number(limit)} labels.` : "";
}

function asObject() {
  // fromEntries, not assignment: a label may be called "__proto__".
  return Object.fromEntries(
    labels.map(({ name, description }) => [name, description.trim() || null]),
  );
}

function freeSlot() {
  const taken = new Set(labels.map((label) => label.slot));
  let slot = 0;
  while (taken.has(slot)) slot += 1;
  return slot;
}

function remove(index) {
  const [gone] = labels.splice(index, 1);
  mistake("label-input", "");
  show();
  $("label-help").textContent = `Removed ${gone.name}`;
}

function show() {
  const none = labels.length === 0;
  $("label-help").textContent = none ? "Enter or comma adds" : plural(labels.length, "label");
  $("label-list").replaceChildren(...labels.map(chip));
  $("description-list").replaceChildren(...labels.map(descriptionField));
  $("describe").hidden = none;
  $("clear-labels").hidden = none;
  showWhichPreset();
  changed();
}

function chip({ name, slot }, index) {
  const button = make("button", { type: "button", "aria-label": `Remove ${name}` }, cross());
  button.addEventListener("click", () => {
    remove(index);
    const left = $("label-list").querySelectorAll("button");
    (left[index] ?? $("label-input")).focus(); // the focus must not fall out of the page
  });
  return make("li", { className: `chip c${slot % COLOURS}` }, make("span", {}, name), button);
}

function cross() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M3 3l6 6M9 3l-6 6");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

function descriptionField(label, index) {
  const id = `description-${index}`;
  const input = make("input", { type: "text", id, value: label.description, autocomplete: "off" });
  input.addEventListener("input", () => {
    label.description = input.value;
    showWhichPreset();
    changed();
  });
  return make("p", {}, make("label", { htmlFor: id }, label.name), input);
}

function showWhichPreset() {
  const current = JSON.stringify(asObject());
  for (const button of $("preset-list").querySelectorAll("button")) {
    const same = JSON.stringify(presets[button.value].labels) === current;
    button.setAttribute("aria-pressed", String(same));
  }
}

function onKey(event) {
  if (event.isComposing || event.ctrlKey || event.metaKey) return;
  if (event.key === "Enter" || event.key === ",") {
    event.preventDefault(); // Enter must not send the form, the comma must not be typed
    commitInput();
  } else if (event.key === "Backspace" && !event.target.value && labels.length) {
    remove(labels.length - 1);
  }
}

function onPaste(event) {
  const pasted = event.clipboardData.getData("text");
  if (!/[,;\n\t]/.test(pasted)) return;
  event.preventDefault(); // an input would drop the line breaks that separate labels
  const input = event.target;
  input.setRangeText(pasted.replace(/[\n\t]/g, ","), input.selectionStart, input.selectionEnd);
  commitInput();
}
