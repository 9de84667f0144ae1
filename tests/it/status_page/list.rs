//! The page of all agents: what it lists, that it lives, and how agents are found.

use serde_json::json;

use super::page::{ENTER, ESCAPE, TAB};
use super::world::{World, sleepers};
use crate::support::Agent;

/// How often the list was asked for.
const POLLS: &str =
    "performance.getEntriesByType('resource').filter((one) => one.name.includes('overview')).length";
const FIRST: &str = "#rows tr:first-child";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_wakes_is_seen_without_a_reload() {
    let world = World::with_three("/").await;
    let page = &world.page;
    page.until_agents(&["default/echo", "default/relay", "team-a/notes"]).await;
    assert_eq!(page.text(&format!("{FIRST} .of-phase")).await, "Suspended");
    assert_eq!(page.text("#p50").await, "–");
    page.see("window.same = true").await;

    assert_eq!(world.drowse.get("echo", "/").await.status, 200);
    page.until_text(&format!("{FIRST} .of-phase"), "Running").await;
    page.until_text(&format!("{FIRST} .of-wake"), "ms").await;
    page.until_text(&format!("{FIRST} .of-active"), "ago").await;
    page.until_text(&format!("{FIRST} .of-why"), "idle in 59m").await;
    page.until_text("#wakes", "p90").await;
    page.until_text("#phases", "Running\n1").await;
    page.until_text("#live", "Live").await;
    assert_eq!(page.see("window.same").await, true);
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_shown_while_he_waits() {
    let slow = Agent::demo("echo").with(&["--start-delay", "1h"]);
    let world = World::open(&[slow, Agent::demo("relay")], "/?sort=-waiting").await;
    let page = &world.page;
    page.until_text("#held", "0 callers").await;
    let caller = {
        let front = world.drowse.front;
        tokio::spawn(
            async move { crate::support::http::get(front, &crate::support::host("echo"), "/").await },
        )
    };
    page.until_text("#held", "1 caller").await;
    page.until_text(&format!("{FIRST} .of-waiting"), "1 caller").await;
    page.until_text(&format!("{FIRST} .of-phase"), "Resuming").await;
    caller.abort();
    page.until_text("#held", "0 callers").await;
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_found_by_name_namespace_and_phase_and_the_address_keeps_it() {
    let world = World::with_three("/").await;
    let page = &world.page;
    page.until_agents(&["default/echo", "default/relay", "team-a/notes"]).await;
    page.click("#search").await;
    page.keys("TEAM not").await;
    page.until_agents(&["team-a/notes"]).await;
    page.until_text("#count", "1 agent (of 3)").await;
    page.go(page.see("location.search").await.as_str().unwrap()).await;
    page.until_agents(&["team-a/notes"]).await;
    assert_eq!(page.see("document.querySelector('#search').value").await, "TEAM not");

    page.click("#search").await;
    page.keys(ESCAPE).await;
    page.until_agents(&["default/echo", "default/relay", "team-a/notes"]).await;
    page.click("#phases [value=Running]").await;
    page.until_text("#none", "No agent is like this").await;
    assert_eq!(world.drowse.get("relay", "/").await.status, 200);
    page.until_agents(&["default/relay"]).await;
    page.click("#phases [value=Suspended]").await;
    page.until_agents(&["default/echo", "team-a/notes"]).await;
    page.see("(pick => { pick.value = 'team-a'; pick.onchange({target: pick}) })(document.querySelector('#namespace'))").await;
    page.until_agents(&["team-a/notes"]).await;
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_leads_from_the_list_to_an_agent_and_back() {
    let world = World::with_three("/").await;
    let page = &world.page;
    page.until_agents(&["default/echo", "default/relay", "team-a/notes"]).await;
    // All at once, faster than any answer comes: what is opened is what was searched for, not what was there.
    page.keys(&format!("/rel{TAB}{ENTER}")).await;
    page.until("location.pathname === '/agents/default/relay'").await;
    page.until_text("#reason", "suspended by Drowse; the next call resumes it").await;
    page.until_text("#facts", "idle_timeout: 1h").await;
    assert_eq!(page.text("#name").await, "default/relay");

    page.click("#back").await;
    page.until_agents(&["default/relay"]).await;
    page.keys(&format!("/{TAB}")).await;
    page.until("document.activeElement.textContent === 'default/relay'").await;
    // It stays on the agent while the list is written anew.
    let before = page.see(POLLS).await.as_u64().unwrap();
    page.until(&format!("{POLLS} > {}", before + 1)).await;
    assert_eq!(page.see("document.activeElement.textContent").await, "default/relay");
    let outline = page.see("getComputedStyle(document.activeElement).outlineStyle").await;
    assert_eq!(outline, "solid", "the focus is seen");
    page.assert_clean(&[]).await;
}

/// What can be reached with Tab, until it begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_trapped_nowhere() {
    let world = World::with_three("/").await;
    let page = &world.page;
    page.until_agents(&["default/echo", "default/relay", "team-a/notes"]).await;
    let mut met = Vec::new();
    for _ in 0..15 {
        page.keys(TAB).await;
        let focus = "document.activeElement.id || document.activeElement.value || document.activeElement.textContent.trim()";
        met.push(page.see(focus).await.as_str().unwrap().to_owned());
    }
    for wanted in [
        "Skip to the agents",
        "Drowse",
        "Suspended",
        "namespace",
        "sort",
        "search",
        "default/echo",
        "team-a/notes",
    ] {
        assert!(met.iter().any(|one| one == wanted), "{wanted} in {met:?}");
    }
    assert!(met.iter().filter(|one| *one == "Drowse").count() <= 2, "{met:?}");
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_agents_are_shown_a_page_at_a_time() {
    let world = World::open(&sleepers(2_000), "/").await;
    let page = &world.page;
    page.until_text("#count", "1 to 100 of 2,000 agents").await;
    assert_eq!(page.see("document.querySelectorAll('#rows tr').length").await, 100);
    page.click("#after").await;
    page.until_text("#count", "101 to 200 of 2,000 agents").await;
    assert_eq!(page.agents().await[0], "many/a0100");
    page.keys("/a199").await;
    page.until_text("#count", "10 agents (of 2,000)").await;
    assert_eq!(page.agents().await[9], "many/a1999");
    // However much is asked for, the answer is bounded.
    let overview = world.overview("limit=100000").await;
    assert_eq!(overview["agents"].as_array().unwrap().len(), 200);
    assert_eq!(overview["matched"], 2_000);
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_drowse_is_said_and_survived() {
    let mut world = World::with_three("/").await;
    world.page.until_agents(&["default/echo", "default/relay", "team-a/notes"]).await;
    world.drowse.kill().await;
    world.page.until_text("#live", "Drowse does not answer").await;
    assert_eq!(world.page.agents().await.len(), 3, "what was known stays to be seen");
    world.drowse.start_again().await;
    world.page.until_text("#live", "after a restart of Drowse").await;
    assert_eq!(world.drowse.get("echo", "/").await.status, 200);
    world.page.until_text(&format!("{FIRST} .of-phase"), "Running").await;
    world.page.until("document.querySelector('#live').textContent === 'Live'").await;
    world.page.assert_clean(&["net::ERR"]).await;
}

/// Timers that are set and have neither fired nor been taken back.
const TIMERS: &str = "window.timers = new Set();
  const [set, clear] = [window.setTimeout, clearTimeout];
  window.setTimeout = (what, ...how) => {
    const timer = set(() => (timers.delete(timer), what()), ...how);
    timers.add(timer);
    return timer;
  };
  window.clearTimeout = (timer) => (timers.delete(timer), clear(timer));";

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_tab_asks_nothing() {
    let world = World::with_three("/").await;
    let page = &world.page;
    let script = page.tools("Page.addScriptToEvaluateOnNewDocument", &json!({"source": TIMERS})).await;
    page.go("/").await;
    page.until_text("#live", "Live").await;
    page.until("timers.size > 0").await;
    let hide = |hidden: bool| {
        format!(
            "(Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}}), \
             document.dispatchEvent(new Event('visibilitychange')))"
        )
    };
    page.see(&hide(true)).await;
    page.until_text("#live", "Paused").await;
    assert_eq!(page.see("timers.size").await, 0, "nothing would ever wake it");
    let polls = page.see(POLLS).await;
    page.see(&hide(false)).await;
    page.until(&format!("{POLLS} > {polls}")).await;
    page.until_text("#live", "Live").await;
    page.tools("Page.removeScriptToEvaluateOnNewDocument", &script).await;
    page.assert_clean(&[]).await;
}
