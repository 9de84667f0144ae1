// The page of one agent: what `drowse explain` tells, and the two commands.

import { Refused, ask } from "./api.js";
import { live } from "./live.js";
import { calendar, element, list, many, millis, phase, put, relative, since } from "./show.js";

const get = (id) => document.getElementById(id);
const [, , namespace, name] = location.pathname.split("/");
const path = `/api/v1/agents/${namespace}/${name}`;

get("name").append(element("span", { class: "ns" }, `${namespace}/`), name);
put(get("command"), `drowse explain ${namespace}/${name}`);
document.title = `${namespace}/${name} · Drowse`;
get("back").href = `/${sessionStorage.getItem("drowse-list") ?? ""}`;

/** A moment as people see it, with the moment itself for comparing with logs. */
const moment = (at, now) => `${relative(at, now)} (${calendar(at)})`;

/** The same of the end of something. */
const until = (at, now) => `until ${calendar(at)} (${relative(at, now)})`;

function show(agent, now) {
  get("detail").hidden = false;
  phase(get("phase"), agent.phase);
  put(get("reason"), agent.reason);
  document.title = `${agent.name} ${agent.phase} · Drowse`;
  facts(agent, now);
  signals(agent, now);
  failure(agent, now);
  happenings(agent, now);
  policy(agent);
  commands(agent);
}

/** One other replica's part. */
function elsewhere(share, now) {
  const parts = [
    share.inFlight > 0 && `${share.inFlight} in flight`,
    share.held > 0 && many(share.held, "caller") + " waiting",
    share.messagesWaiting > 0 && many(share.messagesWaiting, "message") + " waiting",
    share.openConnections > 0 && many(share.openConnections, "open connection"),
    share.lastActivity && `last active ${moment(share.lastActivity, now)} (${(share.source ?? "activity").replaceAll("_", " ")})`,
  ].filter(Boolean);
  return parts.join(", ") || "not in use";
}

function facts(agent, now) {
  const facts = [
    [agent.phase, `for ${since(agent.since, now)} (since ${calendar(agent.since)})`],
    ["Last activity", agent.lastActivity ? moment(agent.lastActivity, now) : "none seen since Drowse started"],
    agent.idleDeadline && ["Suspends", `${moment(agent.idleDeadline, now)}, if nothing happens`],
    ["Requests in flight", String(agent.inFlight)],
    ["Callers waiting", String(agent.held)],
    (agent.subjects.length > 0 || agent.messagesWaiting > 0) && ["Messages waiting", String(agent.messagesWaiting)],
    agent.subjects.length > 0 && ["Subjects", `${agent.subjects.join(", ")}: ${agent.subscribed ? "subscribed" : "nobody subscribes"}`],
    agent.openConnections > 0 && ["Open connections", `${agent.openConnections}, ${agent.lastData ? `last data ${moment(agent.lastData, now)}` : "no data yet"}`],
    ...(agent.elsewhere ?? []).map((share) => [`At ${share.replica}`, elsewhere(share, now)]),
    ...(agent.silent ?? []).map(({ replica, since: then }) => [`At ${replica}`, `nothing was heard for ${since(then, now)}; it may use the agent`]),
    agent.address && ["Address", agent.address],
    ["Managed", agent.managed ? "yes" : "no"],
    agent.decidedBy && ["Decided by", `${agent.decidedBy.key}: ${agent.decidedBy.value}, ${agent.decidedBy.from}`],
  ].filter(Boolean);
  const make = () => element("div", {}, element("dt"), element("dd"));
  list(get("facts"), facts, ([what], at) => `${at} ${what}`, make, (line, [what, value]) => {
    put(line.firstChild, what);
    put(line.lastChild, value);
  });
}

function signals(agent, now) {
  get("no-signals").hidden = agent.signals.length > 0;
  const make = () => element("li", {}, element("b"), element("span", { class: "until" }), element("span", { class: "says" }));
  const fill = (line, [what, keeps, says, active]) => {
    const [first, second, third] = line.children;
    line.dataset.active = String(active);
    put(first, what);
    put(second, keeps);
    put(third, says);
  };
  const lines = agent.signals.map((signal) => {
    const keeps = !signal.active ? "no" : signal.until ? `yes, ${until(signal.until, now)}` : "yes";
    return [signal.source.replaceAll("_", " "), keeps, signal.says, signal.active];
  });
  list(get("signals"), lines, ([what]) => what, make, fill);
  get("leases").hidden = agent.leases.length === 0;
  const leases = agent.leases.map((lease) => [lease.id, until(lease.until, now), lease.reason || "no reason given", true]);
  list(get("lease-list"), leases, ([id]) => id, make, fill);
}

function failure(agent, now) {
  const { failure, log } = agent;
  get("failure").hidden = !failure;
  if (!failure) return;
  const times = failure.attempts === 1 ? "once" : `${failure.attempts} times in a row`;
  // Whether a call starts it is said beside its phase.
  const next = { Resuming: " The next attempt is under way.", Running: " It is up again." }[agent.phase] ?? "";
  const retry = failure.retryAt && Date.parse(failure.retryAt) > now ? ` Next attempt ${moment(failure.retryAt, now)}.` : next;
  put(get("failure-text"), `It failed ${times}: ${failure.class}: ${failure.detail}.${retry}`);
  get("log").hidden = log.length === 0;
  put(get("log"), log.join("\n"));
}

function happenings(agent, now) {
  const make = () => element("li", {}, element("time"), element("span"));
  const fill = (line, { at, text }) => {
    line.firstChild.dateTime = at;
    put(line.firstChild, relative(at, now), calendar(at));
    put(line.lastChild, text);
  };
  const recent = agent.recent.map(({ at, what, tookMs }) => ({ at, text: tookMs === null ? what : `${what} in ${millis(tookMs)}` }));
  const refusals = agent.refusals.map(({ last, times, why }) => ({ at: last, text: `${many(times, "caller")}: ${why}` }));
  list(get("recent"), recent, ({ at, text }) => `${at} ${text}`, make, fill);
  list(get("refusals"), refusals, ({ at, text }) => `${at} ${text}`, make, fill);
  get("no-recent").hidden = recent.length > 0;
  get("no-refusals").hidden = refusals.length > 0;
}

function policy(agent) {
  const make = () => element("tr", {}, element("th", { scope: "row" }), element("td"), element("td"));
  list(get("policy"), agent.policy, ({ key }) => key, make, (row, { key, value, from }) => {
    [key, value, from].forEach((text, column) => put(row.children[column], text));
    row.classList.toggle("decisive", agent.decidedBy?.key === key);
  });
}

function commands(agent) {
  get("suspend").hidden = !agent.managed || agent.phase !== "Running";
  get("resume").hidden = !agent.managed || !["Suspending", "Suspended", "Failed"].includes(agent.phase);
}

/** Nothing is commanded by one click: the dialog says what will happen, and begins at "Cancel". */
function confirm(verb, text, withStay) {
  const dialog = get("confirm");
  put(get("confirm-title"), `${verb} ${namespace}/${name}?`);
  put(get("confirm-text"), text);
  put(get("yes"), verb);
  get("stay-label").hidden = !withStay;
  get("stay").checked = false;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => (dialog.onclose = () => done(dialog.returnValue === "yes")));
}

async function command(verb, body) {
  const buttons = [get("suspend"), get("resume")];
  for (const button of buttons) button.disabled = true;
  try {
    const { value } = await ask(`${path}/${verb}`, { method: "POST", body });
    say(`Done. It is ${value.phase}: ${value.reason}`);
  } catch (error) {
    say(error instanceof Refused ? error.message : `Drowse has not answered; whether it was done, the phase shows`, true);
  }
  for (const button of buttons) button.disabled = false;
  again();
}

function say(text, bad = false) {
  const outcome = get("outcome");
  outcome.hidden = false;
  outcome.classList.toggle("bad", bad);
  put(outcome, text);
}

get("suspend").onclick = async () => {
  const text = "It is suspended now if nobody uses it, whatever its idle timeout. A working agent is never suspended.";
  if (await confirm("Suspend", text, true)) await command("suspend", { stay: get("stay").checked });
};

get("resume").onclick = async () => {
  if (await confirm("Resume", "It is started now, also if a person has suspended it.", false)) await command("resume");
};

const again = live(() => path, show, (error) => {
  if (error instanceof Refused) {
    get("detail").hidden = true;
    for (const id of ["suspend", "resume"]) get(id).hidden = true;
    phase(get("phase"), "Unknown");
    put(get("reason"), error.message);
  }
});
