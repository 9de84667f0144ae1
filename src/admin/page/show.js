// How things are written. Everything that comes from the API is put in as text, never as markup: names, reasons and logs
// are what agents say.

const MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

/** A span in seconds, as the command line writes it: `12s`, `3m20s`, `47m`, `5h10m`, `3d`. */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (big, bigUnit, small, smallUnit) => `${big}${bigUnit}${small ? `${small}${smallUnit}` : ""}`;
  if (s < 100) return `${s}s`;
  if (s < 10 * MINUTE) return two(Math.floor(s / MINUTE), "m", s % MINUTE, "s");
  if (s < 3 * HOUR) return `${Math.floor(s / MINUTE)}m`;
  if (s < DAY) return two(Math.floor(s / HOUR), "h", Math.floor((s % HOUR) / MINUTE), "m");
  if (s < 2 * DAY) return `${Math.floor(s / HOUR)}h`;
  return `${Math.floor(s / DAY)}d`;
}

/** How long ago a moment was. */
export const since = (moment, now) => span((now - Date.parse(moment)) / 1000);

/** A moment seen from now: `12s ago`, `in 48s`. */
export function relative(moment, now) {
  const apart = (Date.parse(moment) - now) / 1000;
  return apart > 0 ? `in ${span(apart + 1)}` : `${span(-apart)} ago`;
}

/** To the second, in UTC, as the log has it. */
export const calendar = (moment) => `${new Date(moment).toISOString().slice(0, 19).replace("T", " ")}Z`;

/** A span in milliseconds, as exact as is useful. */
export function millis(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(2)} s` : span(ms / 1000);
}

const whole = new Intl.NumberFormat("en");
export const number = (n) => whole.format(n);

/** `1 caller`, `2 callers`. */
export const many = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;

/** An element with attributes, and text or elements in it. */
export function element(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

/** Changes a text only if it is another, so that what a reader has selected stays selected. */
export function put(node, text, title = "") {
  if (node.textContent !== text) node.textContent = text;
  if (node.title !== title) node.title = title;
}

/** The phase as a mark with its name. */
export function phase(node, name) {
  if (node.dataset.phase === name) return;
  node.className = "phase";
  node.dataset.phase = name;
  node.textContent = name;
}

/**
 * Makes the children of `parent` those of these items, in this order. The child of an item that was there before stays the same
 * element, with the focus if it has it. `make` makes a child, `fill` writes into it.
 */
export function list(parent, items, key, make, fill) {
  const focused = document.activeElement;
  const wanted = new Set(items.map(key));
  const known = new Map();
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) known.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const child = known.get(name) ?? make(item);
    child.dataset.key = name;
    fill(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}
