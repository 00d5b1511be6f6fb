// The page: reads the form, asks the model, shows the answer or what went wrong.

import { showEntities, startAnswer } from "./answer.js";
import { $, countCodePoints, make, mistake, number, plural } from "./dom.js";
import * as labels from "./labels.js";
import { showSnippets, startSnippets } from "./snippets.js";

const REASK_AFTER_MS = 350;

const FAILURES = {
  401: "An API key is needed",
  404: "This model is not served here",
  413: "The request is too large",
  429: "Too many requests at the moment",
  503: "The server is not ready",
  504: "The answer took too long",
};

let config = null;
let running = null; // AbortController of the request under way
let shown = null; // what the answer on the page belongs to: {body, labels, key, summary}
let reaskTimer = 0;
let key = ""; // the API key, where the server asks for one; gone with the page

// ---------------------------------------------------------------- asking

function requestBody() {
  const instance = {
    text: $("text").value,
    labels: labels.labelsToSend(),
    threshold: Number($("threshold").value),
    flat_ner: !$("nested").checked,
    multi_label: $("multi").checked,
  };
  return { instances: [instance] };
}

function predictPath() {
  return `/v1/models/${encodeURIComponent(config.model.name)}:predict`;
}

/** Asks for what the form says now. A request still under way is dropped: its answer is stale. */
async function ask({ reveal }) {
  clearTimeout(reaskTimer);
  if (!config) return loadConfig();
  if ($("label-input").value.trim()) labels.commitInput();
  if (findMistake()) return;
  const body = requestBody();
  const asked = { body, labels: labels.labels.map((label) => ({ ...label })) };
  asked.key = JSON.stringify(body);
  running?.abort();
  const mine = (running = new AbortController());
  showWaiting();
  const began = performance.now();
  let received = null;
  let failure = null;
  try {
    received = await post(predictPath(), asked.key, mine.signal);
  } catch (error) {
    failure = error;
  }
  if (running !== mine) return; // a newer request has taken over
  running = null;
  stopWaiting();
  if (failure?.name === "AbortError") return say("Cancelled.");
  if (failure) showFailure(failure);
  else showAnswer(asked, received, performance.now() - began);
  if (reveal) revealResults();
}

/** Says beside the field what is missing, so that a request that must fail is never sent. */
function findMistake() {
  const limits = config.limits;
  const text = $("text").value;
  let textMistake = "";
  if (!text.trim()) textMistake = "Type a text first.";
  else if (countCodePoints(text) > limits.max_text_chars) textMistake = "The text is too long.";
  const labelMistake = labels.findLabelMistake(limits.max_labels);
  mistake("text", textMistake);
  mistake("label-input", labelMistake);
  if (textMistake) $("text").focus();
  else if (labelMistake) $("label-input").focus();
  return Boolean(textMistake || labelMistake);
}

class Refusal extends Error {
  constructor(response, message) {
    super(message);
    this.status = response.status;
    this.requestId = response.headers.get("x-request-id");
    this.retryAfter = Number(response.headers.get("retry-after"));
  }
}

function keyHeader() {
  // In a header each character is a byte; the server then says that it knows no such key.
  return key ? { "X-API-Key": key.replace(/[^\x21-\x7e]/g, "?") } : {};
}

async function post(path, body, signal) {
  const headers = { "Content-Type": "application/json", ...keyHeader() };
  const response = await fetch(path, { method: "POST", headers, body, signal });
  const answer = await response.text();
  let json = null;
  try {
    json = JSON.parse(answer);
  } catch {
    // A proxy in between may answer in HTML; its status says enough.
  }
  if (!response.ok) throw new Refusal(response, typeof json?.error === "string" ? json.error : "");
  if (!json?.predictions?.[0]?.entities) throw new Refusal(response, "This is no list of entities.");
  return json;
}

function reaskSoon() {
  clearTimeout(reaskTimer);
  markStale();
  if (shown) reaskTimer = setTimeout(() => ask({ reveal: false }), REASK_AFTER_MS);
}

// ---------------------------------------------------------------- what the results side says

function say(message) {
  $("status").textContent = message;
}

function showOnly(id) {
  for (const part of ["failure", "empty", "answer"]) $(part).hidden = part !== id;
}

function showWaiting() {
  $("cancel").hidden = false;
  $("results").setAttribute("aria-busy", "true");
  say("Looking for entities…");
}

function stopWaiting() {
  if (document.activeElement === $("cancel")) $("run").focus(); // it is about to vanish
  $("cancel").hidden = true;
  $("results").setAttribute("aria-busy", "false");
}

function showAnswer(asked, received, milliseconds) {
  const prediction = received.predictions[0];
  const { entities, words, windows } = prediction;
  const found = plural(entities.length, "entity", "entities");
  const size = `${plural(words, "word")} in ${plural(windows, "window")}`;
  shown = { ...asked, summary: `${found} · ${size} · ${number(Math.round(milliseconds))} ms` };
  showEntities(asked, prediction);
  showSnippets(location.origin + predictPath(), asked.body, received, Boolean(key));
  showOnly("answer");
  markStale();
}

/** The answer stays true to what was asked: when the form has moved on, the page says so. */
function markStale() {
  if (!shown || running) return;
  const stale = JSON.stringify(requestBody()) !== shown.key;
  $("answer").classList.toggle("stale", stale);
  say(stale ? "The form has changed since this answer." : shown.summary);
}

function showFailure(error) {
  shown = null;
  say("");
  const refused = error instanceof Refusal;
  const facts = [];
  let title = "The server cannot be reached";
  let message = "";
  let advice = "Check the connection, then try again.";
  if (refused) {
    const other = error.status < 500 ? "The server refused this request" : "The server failed";
    title = FAILURES[error.status] ?? other;
    message = error.message;
    advice = error.retryAfter > 0 ? `Try again in ${plural(error.retryAfter, "second")}.` : "";
    facts.push(`HTTP ${error.status}`);
    if (error.requestId) facts.push(`request ${error.requestId}`);
  }
  $("failure-title").textContent = title;
  $("failure-message").textContent = message;
  $("failure-advice").textContent = advice;
  $("failure-facts").textContent = facts.join(" · ");
  $("key-form").hidden = error.status !== 401;
  if (error.status === 401 && !$("key")) makeKeyField();
  showOnly("failure");
}

/** Made when it is needed: without keys the page has no field for a secret. */
function makeKeyField() {
  const field = { id: "key", type: "password", autocomplete: "off", spellcheck: false };
  $("key-form").append(make("label", { htmlFor: "key" }, "API key"), make("input", field));
}

function retry() {
  if (!$("key-form").hidden) key = $("key").value.trim();
  ask({ reveal: false });
}

/** On a phone the results lie below the form: bring them into view once they are there. */
function revealResults() {
  const { top } = $("results").getBoundingClientRect();
  if (top > window.innerHeight * 0.7) $("results").scrollIntoView();
}

// ---------------------------------------------------------------- the form

function showCount() {
  const count = number(countCodePoints($("text").value));
  const limit = config ? ` of ${number(config.limits.max_text_chars)}` : "";
  $("text-count").textContent = `${count}${limit} characters`;
}

function showThreshold() {
  $("threshold-value").textContent = Number($("threshold").value).toFixed(2);
}

function showExamples() {
  for (const example of $("examples").content.children) {
    const button = make("button", { type: "button" }, example.title);
    button.addEventListener("click", () => tryExample(example));
    $("example-list").append(make("li", {}, button));
  }
}

function tryExample(example) {
  if (!config) return;
  const { preset, labels: names, nested } = example.dataset;
  const own = names?.split(", ").map((name) => [name, null]);
  labels.setLabels(own ? Object.fromEntries(own) : (config.presets[preset]?.labels ?? {}));
  $("text").value = example.textContent;
  $("nested").checked = nested !== undefined;
  $("multi").checked = false;
  showCount();
  ask({ reveal: true });
}

async function loadConfig() {
  try {
    const response = await fetch("/api/v1/config", { headers: keyHeader() });
    if (!response.ok) throw new Refusal(response, "The settings of this page did not load.");
    config = await response.json();
  } catch (error) {
    return showFailure(error);
  }
  const { model, defaults, presets } = config;
  $("threshold").value = defaults.threshold;
  $("nested").checked = !defaults.flat_ner;
  $("multi").checked = defaults.multi_label;
  const facts = [`Model ${model.name}`, `version ${model.version}`, model.engine, model.precision];
  facts.push(`entities of up to ${plural(model.max_width, "word")}`);
  $("model").textContent = facts.join(" · ");
  showOnly("empty");
  showThreshold();
  showCount();
  labels.showPresets(presets);
  labels.setLabels(Object.values(presets)[0]?.labels ?? {});
}

function start() {
  labels.startLabels(markStale);
  startAnswer();
  startSnippets();
  showExamples();
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask({ reveal: true });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    ask({ reveal: true });
  });
  $("cancel").addEventListener("click", () => running?.abort());
  $("retry").addEventListener("click", retry);
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    retry();
  });
  $("text").addEventListener("input", () => {
    mistake("text", "");
    showCount();
    markStale();
  });
  $("threshold").addEventListener("input", showThreshold);
  for (const id of ["threshold", "nested", "multi"]) $(id).addEventListener("input", reaskSoon);
  loadConfig();
}

start();
