// Keeps a page up to date: asks every two seconds while somebody can see it, less often while Drowse does not answer, and
// one question at a time.

import { Refused, ask, askForToken } from "./api.js";

const EVERY_MS = 2_000;
const AT_MOST_MS = 10_000;

/**
 * Asks for `path()` again and again, and gives each answer to `show(value, now)`. What comes for a question that was
 * replaced by a newer one is dropped. `failed(error)` hears of answers that are refusals.
 */
export function live(path, show, failed) {
  let timer, underWay, failures = 0, stopped = false;
  const status = document.getElementById("live");

  async function again() {
    clearTimeout(timer);
    underWay?.abort();
    if (document.hidden) return say("paused", "Paused while this tab is hidden");
    const own = (underWay = new AbortController());
    let next;
    try {
      const { value, now } = await ask(path(), { signal: own.signal });
      if (own.signal.aborted) return;
      say("on", failures > 0 ? "Live again" : "Live");
      failures = 0;
      stopped = false;
      next = EVERY_MS;
      show(value, now);
    } catch (error) {
      if (own.signal.aborted) return;
      if (error instanceof Refused && error.status === 401) {
        say("paused", "Waiting for the token");
        return askForToken(error.message, again);
      }
      failures += 1;
      next = Math.min(EVERY_MS * 2 ** Math.min(failures - 1, 4), AT_MOST_MS);
      if (error instanceof Refused) {
        say("off", "Drowse refuses this");
      } else if (error instanceof TypeError || error.name === "TimeoutError") {
        say("off", "Drowse does not answer; what is shown is old. Trying again");
      } else {
        // A mistake of this page's own: seen, and not taken for an outage.
        console.error(error);
        say("off", "This page cannot show what Drowse answers; reload it");
      }
      failed?.(error);
    }
    timer = setTimeout(again, next);
  }

  // The text changes only with the state, for it is read out.
  function say(state, text) {
    document.body.dataset.live = state;
    if (status.textContent !== text) status.textContent = text;
  }

  document.addEventListener("visibilitychange", again);
  again();
  return again;
}
