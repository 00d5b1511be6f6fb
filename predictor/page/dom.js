// Elements, and the two ways of counting a text: code points (the API) and UTF-16 units (JavaScript).

export const $ = (id) => document.getElementById(id);

const format = new Intl.NumberFormat("en");
export const number = (value) => format.format(value);

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** Children that are strings become text nodes: nothing a user typed can become markup. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function countCodePoints(text) {
  const pairs = text.match(/[\ud800-\udbff][\udc00-\udfff]/g);
  return text.length - (pairs ? pairs.length : 0);
}

/** Returns a function from an offset in code points to the offset in UTF-16 units. */
export function codePointIndex(text) {
  if (!/[\ud800-\udbff]/.test(text)) return (offset) => Math.min(offset, text.length);
  const units = new Uint32Array(text.length + 1);
  let points = 0;
  let unit = 0;
  for (const character of text) {
    units[points++] = unit;
    unit += character.length;
  }
  units[points] = unit;
  return (offset) => units[Math.min(offset, points)];
}

/** Shows what is wrong with a field beside it, and tells assistive technology; "" clears it. */
export function mistake(fieldId, message) {
  $(`${fieldId}-error`).textContent = message;
  if (message) $(fieldId).setAttribute("aria-invalid", "true");
  else $(fieldId).removeAttribute("aria-invalid");
}
