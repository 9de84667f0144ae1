// Asks the admin API. Where it wants a token, the page asks for it once and keeps it for as long as the tab is open.

const PATIENCE_MS = 10_000;
const TOKEN = "drowse-token";

/** The API has answered, and not with what was asked for. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Asks for a path of the API: what it answers, and by which clock. */
export async function ask(path, { signal, method = "GET", body } = {}) {
  const headers = { accept: "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  const bounded = AbortSignal.timeout(method === "GET" ? PATIENCE_MS : 4 * PATIENCE_MS);
  const answer = await fetch(path, {
    method,
    headers,
    body: body && JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal: signal ? AbortSignal.any([signal, bounded]) : bounded,
  });
  const value = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, String(value.detail ?? answer.status));
  return { value, now: Date.parse(answer.headers.get("date") ?? "") || Date.now() };
}

/** Shows the form that asks for the token, in place of the page. `again` is called when there is one. */
export function askForToken(detail, again) {
  const form = document.getElementById("token");
  if (!form.hidden) return;
  const had = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  const input = Object.assign(document.createElement("input"), {
    type: "password", id: "token-text", autocomplete: "off", required: true, spellcheck: false,
  });
  const label = Object.assign(document.createElement("label"), { htmlFor: input.id, textContent: "Token" });
  const title = Object.assign(document.createElement("h2"), { textContent: "This Drowse wants a token" });
  const text = Object.assign(document.createElement("p"), {
    id: "token-why",
    textContent: had
      ? "The token was not accepted. It is the one in the file that admin.token_file names."
      : "It is the one in the file that admin.token_file names. This tab keeps it until it is closed.",
  });
  input.setAttribute("aria-describedby", text.id);
  const button = Object.assign(document.createElement("button"), { type: "submit", className: "strong", textContent: "Show the agents" });
  const line = document.createElement("div");
  line.append(input, button);
  form.replaceChildren(title, text, label, line);
  form.onsubmit = (event) => {
    event.preventDefault();
    // A header line takes visible ASCII only, and so does the API.
    const token = input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(token)) return;
    sessionStorage.setItem(TOKEN, token);
    show(false);
    again();
  };
  show(true);
  input.focus();
}

function show(form) {
  document.getElementById("token").hidden = !form;
  document.getElementById("main").hidden = form;
  const forget = document.getElementById("forget");
  forget.hidden = sessionStorage.getItem(TOKEN) === null;
}

const forget = document.getElementById("forget");
forget.hidden = sessionStorage.getItem(TOKEN) === null;
forget.onclick = () => {
  sessionStorage.removeItem(TOKEN);
  location.reload();
};
