// The page of all agents. What is searched for is in its address, so that it survives a reload and the way back.

import { live } from "./live.js";
import { element, list, many, millis, number, phase, put, relative, since } from "./show.js";

/** Rows on a page: what a browser draws at once without a pause. */
const ROWS = 100;
/** Of the last wakes, drawn. */
const BARS = 20;
const TYPING_MS = 120;
const PHASES = ["Running", "Draining", "Suspending", "Suspended", "Resuming", "Failed", "Unknown"];

const get = (id) => document.getElementById(id);
const search = get("search");
const state = new URLSearchParams(location.search);
/** `typing`: what is in the search field was not asked for yet. `shown`: what is listed is what was asked for last. */
let started, typing, shown = false, jump = "";

const page = () => Math.max(0, Math.floor(Number(state.get("page")) || 0));

function question() {
  const query = new URLSearchParams({ limit: ROWS, offset: page() * ROWS });
  for (const key of ["search", "namespace", "phase", "sort"]) {
    if (state.get(key)) query.set(key, state.get(key));
  }
  return `/api/v1/overview?${query}`;
}

/** Takes over a choice. Another choice begins at the first page. */
function choose(key, value) {
  const set = (key, value) => (value ? state.set(key, value) : state.delete(key));
  if (key !== "page") state.delete("page");
  // What was typed just before counts as well.
  if (typing !== undefined) set("search", search.value.trim());
  set(key, value);
  const query = state.toString();
  history.replaceState(null, "", query ? `/?${query}` : "/");
  remember();
  clearTimeout(typing);
  typing = undefined;
  shown = false;
  controls();
  again();
}

/** So that an agent's page leads back to what was searched for. */
const remember = () => sessionStorage.setItem("drowse-list", location.search);

function controls() {
  if (document.activeElement !== search) search.value = state.get("search") ?? "";
  get("sort").value = state.get("sort") || "name";
  for (const chip of get("phases").children) {
    chip.setAttribute("aria-pressed", String(chip.value === (state.get("phase") ?? "")));
  }
  const by = state.get("sort") || "name";
  for (const head of document.querySelectorAll("th[data-sort]")) {
    const is = head.dataset.sort.replace("-", "") === by.replace("-", "");
    if (is) head.setAttribute("aria-sort", by.startsWith("-") ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

function show(overview, now) {
  // Those that are left are on fewer pages.
  if (overview.agents.length === 0 && overview.matched > 0) {
    return choose("page", String(Math.ceil(overview.matched / ROWS) - 1));
  }
  shown = typing === undefined;
  if (started !== undefined && started !== overview.started) put(get("live"), "Live again, after a restart of Drowse");
  started = overview.started;
  notices(overview.notices);
  tiles(overview, now);
  phases(overview.phases);
  namespaces(overview.namespaces);
  rows(overview, now);
  pager(overview);
  put(get("version"), `Drowse ${overview.version}`);
  document.title = `${many(overview.total, "agent")} · Drowse`;
  if (shown) land();
}

function notices(texts) {
  // What is wrong with a file is shown below in its own lines.
  const make = () => element("p", { class: "notice" }, element("span"), element("code"));
  list(get("notices"), texts, (text) => text, make, (notice, text) => {
    const [first, ...more] = text.split("\n");
    put(notice.firstChild, first);
    put(notice.lastChild, more.join("\n"));
    notice.lastChild.hidden = more.length === 0;
  });
}

function tiles(overview, now) {
  put(get("total"), number(overview.total));
  put(get("held"), many(overview.held, "caller"));
  get("held").classList.toggle("hot", overview.held > 0);
  put(get("messages"), many(overview.messagesWaiting, "message"));
  put(get("in-flight"), number(overview.inFlight));
  put(get("uptime"), `Drowse is up for ${since(overview.started, now)}`);
  const { count, failed, p50Ms, p90Ms, p99Ms, last } = overview.wakes;
  put(get("p50"), count ? millis(p50Ms) : "–");
  put(get("median"), count ? `Time to wake, median of ${number(count)}` : "Time to wake, median");
  const texts = [count && `p90 ${millis(p90Ms)}`, count && `p99 ${millis(p99Ms)}`, failed && `${number(failed)} failed`];
  put(get("wakes"), texts.filter(Boolean).join(", ") || "Nobody woke yet");
  const drawn = last.slice(0, BARS).reverse();
  const most = Math.max(...drawn.map((wake) => wake.tookMs));
  list(get("bars"), drawn, (wake) => `${wake.at} ${wake.namespace}/${wake.name}`, () => element("i"), (bar, wake) => {
    // By the root, so that one slow start leaves the others to be seen.
    bar.style.height = `${Math.max(8, 100 * Math.sqrt(wake.tookMs / most))}%`;
    put(bar, "", `${wake.namespace}/${wake.name}: ${millis(wake.tookMs)}, ${relative(wake.at, now)}`);
  });
}

function phases(counts) {
  const of = new Map(counts.map(({ phase, agents }) => [phase, agents]));
  const all = counts.reduce((sum, { agents }) => sum + agents, 0);
  const make = ({ name }) => {
    const chip = element("button", { type: "button", value: name, class: "chip" }, element("span"), element("b"));
    if (name) chip.firstChild.dataset.phase = name;
    chip.onclick = () => choose("phase", chip.value);
    return chip;
  };
  // Phases that nobody is in would be noise; the one that is chosen stays, so that it can be left.
  const worth = PHASES.filter((name) => of.get(name) || ["Running", "Suspended"].includes(name) || state.get("phase") === name);
  const items = [{ name: "", text: "All", agents: all }, ...worth.map((name) => ({ name, text: name, agents: of.get(name) ?? 0 }))];
  list(get("phases"), items, (item) => item.name, make, (chip, item) => {
    put(chip.firstChild, item.text);
    put(chip.lastChild, number(item.agents));
  });
  list(get("bar"), PHASES.filter((name) => of.get(name)), (name) => name, (name) => element("i", { "data-phase": name }), (part, name) => {
    part.style.flexGrow = String(of.get(name) / all);
  });
  controls();
}

function namespaces(names) {
  const pick = get("namespace");
  const chosen = state.get("namespace") ?? "";
  const all = chosen && !names.includes(chosen) ? [...names, chosen].sort() : names;
  pick.parentElement.hidden = all.length < 2 && !chosen;
  // Not while it is open under somebody's pointer, unless it changes.
  if ([...pick.options].slice(1).map((option) => option.value).join() !== all.join()) {
    pick.replaceChildren(new Option("all", ""), ...all.map((name) => new Option(name, name)));
  }
  pick.value = chosen;
}

const COLUMNS = ["phase", "for", "active", "waiting", "flight", "wake", "why"];
function makeRow() {
  const name = element("a", {}, element("span", { class: "ns" }), element("span", { class: "name" }));
  const row = element("tr", { role: "row" }, element("th", { scope: "row", role: "rowheader", class: "agent" }, name));
  for (const column of COLUMNS) {
    row.append(element("td", { role: "cell", class: `of-${column}` }, element("span")));
  }
  return row;
}

function fillRow(row, agent, now) {
  const link = row.firstElementChild.firstElementChild;
  const href = `/agents/${agent.namespace}/${agent.name}`;
  if (link.getAttribute("href") !== href) {
    link.href = href;
    put(link.firstChild, `${agent.namespace}/`);
    put(link.lastChild, agent.name);
  }
  const of = (column) => row.querySelector(`.of-${column}`).firstElementChild;
  const waiting = [agent.held && many(agent.held, "caller"), agent.messagesWaiting && many(agent.messagesWaiting, "message")];
  phase(of("phase"), agent.phase);
  cell(of("for"), since(agent.since, now));
  cell(of("active"), agent.lastActivity && relative(agent.lastActivity, now));
  cell(of("waiting"), waiting.filter(Boolean).join(",\n"));
  cell(of("flight"), agent.inFlight ? number(agent.inFlight) : "");
  cell(of("wake"), agent.lastWakeMs === null ? "" : millis(agent.lastWakeMs));
  cell(of("why"), agent.reason, agent.reason);
}

function cell(inside, text, title) {
  inside.parentElement.classList.toggle("empty", !text);
  put(inside, text || "–", title);
}

function rows(overview, now) {
  const table = get("agents").firstElementChild;
  table.hidden = overview.agents.length === 0;
  list(get("rows"), overview.agents, (agent) => `${agent.namespace}/${agent.name}`, makeRow, (row, agent) => fillRow(row, agent, now));
  const none = get("none");
  none.hidden = !table.hidden;
  get("filter").hidden = get("count").hidden = overview.total === 0;
  if (none.hidden) return;
  if (overview.total === 0) {
    none.replaceChildren(
      element("h2", {}, "No agents yet"),
      element("p", {}, "Agents are listed in the configuration of Drowse, or are Agent Sandboxes that one of its rules names. They appear here by themselves."),
    );
  } else if (none.dataset.of !== state.toString()) {
    const clear = element("button", { type: "button" }, "Show all agents");
    clear.onclick = () => {
      search.value = "";
      for (const key of ["search", "namespace"]) state.delete(key);
      choose("phase", "");
      search.focus();
    };
    const what = state.get("search") ? `No agent is called like “${state.get("search")}” here` : "No agent is like this";
    none.replaceChildren(element("h2", {}, what), clear);
  }
  none.dataset.of = overview.total === 0 ? "" : state.toString();
}

function pager(overview) {
  const { matched, total, offset, agents } = overview;
  const part = agents.length < matched ? `${number(offset + 1)} to ${number(offset + agents.length)} of ` : "";
  put(get("count"), `${part}${many(matched, "agent")}${matched < total ? ` (of ${number(total)})` : ""}`);
  get("before").hidden = get("after").hidden = matched <= ROWS;
  get("before").disabled = offset === 0;
  get("after").disabled = offset + agents.length >= matched;
}

/** Whoever pressed Tab or Enter in the search before the answer was there meant what is found, not what was there. */
function land() {
  const first = get("rows").querySelector("a");
  const how = jump;
  jump = "";
  if (how && first) how === "open" ? first.click() : first.focus();
}

search.oninput = () => {
  clearTimeout(typing);
  shown = false;
  jump = "";
  typing = setTimeout(() => choose("search", search.value.trim()), TYPING_MS);
};

search.onkeydown = (event) => {
  if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (event.key === "Enter") {
    jump = "open";
    event.preventDefault();
  } else if (event.key === "Tab" && !shown && !jump) {
    jump = "focus";
    event.preventDefault();
  }
  if (jump && shown) land();
};

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest?.("input:not([type=checkbox]), select, textarea")) return;
  event.preventDefault();
  search.focus();
  search.select();
});

get("filter").onsubmit = (event) => event.preventDefault();
get("sort").onchange = ({ target }) => choose("sort", target.value === "name" ? "" : target.value);
get("namespace").onchange = ({ target }) => choose("namespace", target.value);
get("before").onclick = () => choose("page", String(page() - 1));
get("after").onclick = () => choose("page", String(page() + 1));

// The heads of the columns are a short cut for the pointer; the keyboard has "Sort by".
for (const head of document.querySelectorAll("th[data-sort]")) {
  head.onclick = () => {
    const [own, by] = [head.dataset.sort, state.get("sort") || "name"];
    const other = own.startsWith("-") ? own.slice(1) : `-${own}`;
    const next = by === own ? other : own;
    choose("sort", next === "name" ? "" : next);
  };
}

// The whole row leads to the agent, and its text can still be selected.
get("rows").onclick = (event) => {
  if (event.target.closest("a") || String(getSelection())) return;
  event.target.closest("tr")?.querySelector("a").click();
};

remember();
controls();
const again = live(question, show, () => (jump = ""));
