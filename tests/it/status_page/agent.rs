//! The page of one agent: what explains it, what may be commanded, and whose words are on it.

use super::browser::Wish;
use super::page::{ENTER, ESCAPE, Page, TAB};
use super::world::World;
use crate::support::{Agent, Drowse, eventually, host, http};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_explained_with_what_happened_to_it() {
    let world = World::with_three("/agents/default/echo").await;
    let page = &world.page;
    page.until_text("#reason", "suspended by Drowse; the next call resumes it").await;
    page.until_text("#recent, #no-recent", "Nothing that Drowse remembers").await;
    assert_eq!(world.drowse.get("echo", "/").await.status, 200);
    page.until_text("#reason", "idle in 59m").await;
    page.until_text("#phase", "Running").await;
    page.until_text("#signals", "requests\nyes, until 20").await;
    page.until_text("#facts", "Decided by\nidle_timeout: 1h, defaults").await;
    page.until_text("#recent", "came up in ").await;
    page.until_text("#policy .decisive", "idle_timeout").await;

    let (said, code) = world.drowse.command(&["suspend", "default/echo", "--stay"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(world.drowse.get("echo", "/").await.status, 409);
    page.until_text("#reason", "suspended by a person").await;
    page.until_text("#recent", "suspended, to stay so").await;
    page.until_text("#refusals", "1 caller: a person has suspended it").await;
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_shows_why_and_the_last_lines_of_the_log() {
    let script = "echo no database '<b>' >&2; exit 3";
    let bad = Agent { program: Some("sh".to_owned()), ..Agent::demo("echo") }.with(&["-c", script]);
    let world = World::open(&[bad], "/agents/default/echo").await;
    let caller = {
        let front = world.drowse.front;
        tokio::spawn(async move { http::get(front, &host("echo"), "/").await })
    };
    world.page.until_text("#failure", "crash: exit").await;
    world.page.until_text("#log", "no database <b>").await;
    world.page.until_text("#recent", "did not start: crash").await;
    caller.abort();
    world.page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_confirmed_first_and_its_outcome_is_said() {
    let world = World::with_three("/agents/default/echo").await;
    let page = &world.page;
    page.until("!document.querySelector('#resume').hidden").await;
    page.click("#resume").await;
    page.until("document.activeElement.id === 'no'").await;
    page.keys(ESCAPE).await;
    page.until("!document.querySelector('#confirm').open").await;
    page.click("#resume").await;
    page.click("#no").await;
    assert_eq!(world.drowse.phase("echo").await, "Suspended", "whoever says no has done nothing");

    page.click("#resume").await;
    page.keys(&format!("{TAB}{ENTER}")).await;
    page.until_text("#outcome", "Done.").await;
    world.drowse.wait_for_phase("echo", "Running").await;
    page.until("!document.querySelector('#suspend').hidden").await;
    page.click("#suspend").await;
    page.click("#stay").await;
    page.click("#yes").await;
    page.until_text("#outcome", "suspended by a person; calls do not resume it").await;
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_agent_is_not_suspended_and_it_is_said_why() {
    let world = World::with_three("/agents/default/echo").await;
    assert_eq!(world.drowse.get("echo", "/").await.status, 200);
    let slow = {
        let front = world.drowse.front;
        tokio::spawn(async move { http::get(front, &host("echo"), "/slow?for=1h").await })
    };
    eventually("the request is in flight", async || world.drowse.agent("echo").await["inFlight"] == 1).await;
    world.page.until_text("#reason", "1 request in flight").await;
    world.page.click("#suspend").await;
    world.page.click("#yes").await;
    world.page.until_text("#outcome", "not suspended: 1 request in flight").await;
    slow.abort();
    world.page.assert_clean(&["409"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_say_stays_text() {
    let world = World::with_three("/agents/default/echo").await;
    let page = &world.page;
    let evil = "<img src=x onerror='window.run=1'><script>window.run=1</script>";
    world.lease(evil).await;
    page.until_text("#lease-list", evil).await;
    page.go("/").await;
    page.click("#search").await;
    page.keys(evil).await;
    page.until_text("#none", &format!("No agent is called like “{evil}” here")).await;
    assert_eq!(page.see("window.run === undefined && document.images.length").await, 1, "ours alone");
    // And if the page did otherwise, the browser would not let it.
    let html =
        "(() => { try { document.body.innerHTML = '<b>'; return 'done' } catch { return 'refused' } })()";
    assert_eq!(page.see(html).await, "refused");
    page.assert_clean(&["TrustedHTML"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_there_is_said_to_be_missing() {
    let world = World::with_three("/agents/default/nobody").await;
    world.page.until_text("#reason", "there is no agent of that name").await;
    assert_eq!(world.page.see("document.querySelector('#detail').hidden").await, true);
    world.page.assert_clean(&["404"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_token_is_wanted_the_page_asks_once_and_tells_it_to_nobody_else() {
    let wish = Wish::new();
    let mut drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h").await;
    let config = std::fs::read_to_string(drowse.config_path()).unwrap();
    let own = format!("admin: {{listen: \"{}\"", drowse.admin);
    std::fs::write(drowse.dir.path().join("token"), "0123456789abcdef").unwrap();
    std::fs::write(drowse.config_path(), config.replace(&own, &format!("{own}, token_file: token"))).unwrap();
    drowse.crash().await;

    let page = Page::open(wish.granted().await, &drowse, "/").await;
    page.until("document.activeElement.id === 'token-text'").await;
    page.keys(&format!("not-the-right-one{ENTER}")).await;
    page.until_text("#token-why", "was not accepted").await;
    page.keys(&format!("0123456789abcdef{ENTER}")).await;
    page.until_agents(&["default/echo"]).await;
    page.click("#rows a").await;
    page.until_text("#reason", "suspended by Drowse").await;
    let stored = "Object.keys(localStorage).length + document.cookie.length + location.href.indexOf('0123456789abcdef')";
    assert_eq!(page.see(stored).await, -1, "in the memory of this tab, and nowhere else");
    page.click("#forget").await;
    page.until("document.activeElement.id === 'token-text'").await;
    page.assert_clean(&["401"]).await;
}
