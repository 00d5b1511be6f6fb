// What was asked, as a command, as a program and as JSON, with the answer as received.

import { $, number } from "./dom.js";

const SHOWN = 20_000; // characters on the page; "Copy" always takes everything
const ARGUMENT_LIMIT = 120_000; // bytes; Linux refuses one argument of 128 KiB

let url = "";
let body = null;
let keyed = false; // whether an API key was sent; it is never shown
let response = null;
let selected = "table";

const CODE = {
  curl: asCurl,
  python: asPython,
  request: () => JSON.stringify(body, null, 2),
  response: () => JSON.stringify(response, null, 2),
};

export function startSnippets() {
  $("tabs").addEventListener("click", (event) => {
    const tab = event.target.closest("button");
    if (tab) select(tab);
  });
  $("tabs").addEventListener("keydown", onKey);
  $("copy").addEventListener("click", copy);
}

export function showSnippets(askedUrl, askedBody, received, withKey) {
  url = askedUrl;
  body = askedBody;
  response = received;
  keyed = withKey;
  select($(`tab-${selected}`));
}

function select(tab) {
  selected = tab.id.slice("tab-".length);
  for (const each of $("tabs").children) {
    each.setAttribute("aria-selected", String(each === tab));
    each.tabIndex = each === tab ? 0 : -1;
  }
  const isTable = selected === "table";
  $("panel-table").hidden = !isTable;
  $("panel-code").hidden = isTable;
  if (!isTable) showCode(tab);
}

function showCode(tab) {
  const code = CODE[selected]();
  const cut = code.length > SHOWN;
  $("panel-code").setAttribute("aria-labelledby", tab.id);
  $("code").textContent = cut ? `${code.slice(0, SHOWN)}…` : code;
  $("code-note").textContent = cut
    ? `The first ${number(SHOWN)} of ${number(code.length)} characters. Copy takes all.`
    : "";
  $("copy").textContent = "Copy";
}

function onKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const tabs = [...$("tabs").children];
  const next = tabs.at((tabs.indexOf(event.target) + step) % tabs.length);
  select(next);
  next.focus();
}

function shellQuote(argument) {
  return `'${argument.replaceAll("'", "'\\''")}'`;
}

function asCurl() {
  const json = JSON.stringify(body);
  const quoted = shellQuote(json);
  const long = new TextEncoder().encode(quoted).length > ARGUMENT_LIMIT;
  // JSON.stringify writes one line, so no line of the text can end the here-document.
  const data = long ? `@- <<'JSON'\n${json}\nJSON` : quoted;
  return [
    `curl -sS ${shellQuote(url)} \\`,
    "  -H 'Content-Type: application/json' \\",
    ...(keyed ? ['  -H "X-API-Key: $GLINER_API_KEY" \\'] : []),
    `  --data-binary ${data}`,
  ].join("\n");
}

function asPython() {
  const words = { true: "True", false: "False", null: "None" };
  // Strings match first and stay as they are: a text may well contain "true".
  const literal = JSON.stringify(body, null, 4).replace(
    /"(?:[^"\\]|\\.)*"|true|false|null/g,
    (token) => words[token] ?? token,
  );
  return [
    "import json",
    ...(keyed ? ["import os"] : []),
    "from urllib.request import Request, urlopen",
    "",
    `url = ${JSON.stringify(url)}`,
    `body = ${literal}`,
    'headers = {"Content-Type": "application/json"}',
    ...(keyed ? ['headers["X-API-Key"] = os.environ["GLINER_API_KEY"]'] : []),
    "request = Request(url, json.dumps(body).encode(), headers)",
    "with urlopen(request) as response:",
    "    [prediction] = json.load(response)[\"predictions\"]",
    'for entity in prediction["entities"]:',
    '    print(entity["start"], entity["end"], entity["label"], entity["text"], sep="\\t")',
  ].join("\n");
}

async function copy() {
  const code = CODE[selected]();
  let copied = true;
  try {
    await navigator.clipboard.writeText(code);
  } catch {
    copied = copyBySelection(code);
  }
  $("copy").textContent = copied ? "Copied" : "Not allowed";
}

/** Browsers give no clipboard to a page that came over plain HTTP; the old command still works. */
function copyBySelection(code) {
  const area = document.createElement("textarea");
  area.className = "unseen";
  area.value = code;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  $("copy").focus();
  return copied;
}
