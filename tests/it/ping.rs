//! Agents that are asked whether they are at work before they are suspended: the real program and the demo agent.

use crate::support::{Agent, Drowse, eventually, http};

/// Asked soon after it was used, and again as soon.
const QUICK: &str = "idle_timeout: 200ms\nmin_running: 0s\nping: /ping";

impl Drowse {
    /// How often `echo` (and whoever else is there) was asked, with this outcome.
    async fn pings(&self, outcome: &str) -> f64 {
        self.metric("drowse_pings_total", &format!("outcome=\"{outcome}\"")).await
    }

    async fn overruled(&self, said: &str) -> f64 {
        self.metric("drowse_pings_overruled_total", &format!("said=\"{said}\"")).await
    }

    async fn asked_more_than(&self, times: f64, outcome: &str) {
        eventually(&format!("asked and {outcome}"), async || self.pings(outcome).await > times).await;
    }

    async fn reason(&self) -> String {
        self.agent("echo").await["reason"].as_str().expect("a reason").to_owned()
    }
}

fn answered(answer: &http::Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_says_it_is_busy_stays_up_and_sleeps_when_it_says_healthy() {
    let drowse = Drowse::start(&[Agent::demo("echo"), Agent::demo("other")], QUICK).await;
    assert_eq!(drowse.get("echo", "/busy?for=1h").await.json()["status"], "HealthyBusy");
    let before = drowse.agent("echo").await["lastActivity"].clone();
    drowse.asked_more_than(2.0, "busy").await;
    let echo = drowse.agent("echo").await;
    assert_eq!((&echo["phase"], &echo["lastActivity"]), (&"Running".into(), &before), "no activity");

    // Another one that says nothing of the kind falls asleep beside it.
    answered(&drowse.get("other", "/").await);
    drowse.wait_for_phase("other", "Suspended").await;
    assert_eq!(drowse.phase("echo").await, "Running");

    let says = "says HealthyBusy for ";
    eventually("the reason names its word", async || drowse.reason().await.contains(says)).await;
    let (explained, _) = drowse.command(&["explain", "default/echo"]).await;
    let signal = explained.lines().map(str::trim).find(|line| line.starts_with("ping "));
    assert!(signal.is_some_and(|line| line.contains(says) && line.contains("busy_cap")), "{explained}");
    let (status, _) = drowse.command(&["status", "default/echo"]).await;
    assert!(status.contains("Running"), "{status}");

    answered(&drowse.get("echo", "/busy?for=0s").await);
    drowse.wait_for_phase("echo", "Suspended").await;
    assert!(drowse.overruled("").await < 0.5);
    assert!(!drowse.reason().await.contains("HealthyBusy"), "{}", drowse.reason().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_busy_for_ever_is_suspended_at_its_cap_and_explain_says_so() {
    let drowse = Drowse::start(&[Agent::demo("echo")], &format!("{QUICK}\nbusy_cap: 1s")).await;
    answered(&drowse.get("echo", "/busy?for=1h").await);
    drowse.asked_more_than(0.0, "busy").await;
    drowse.wait_for_phase("echo", "Suspended").await;
    assert!(drowse.pings("healthy").await < 0.5);
    assert!((drowse.overruled("busy").await - 1.0).abs() < 0.5);
    assert!(drowse.log().contains("suspended although it says HealthyBusy"));
    let (explained, _) = drowse.command(&["explain", "default/echo"]).await;
    assert!(explained.contains("it still said HealthyBusy, which counts for 1s at most"), "{explained}");

    // The next life begins with a clean slate.
    answered(&drowse.get("echo", "/").await);
    drowse.wait_for_phase("echo", "Suspended").await;
    assert!(drowse.pings("healthy").await > 0.5);
    assert!(!drowse.reason().await.contains("HealthyBusy"), "{}", drowse.reason().await);
}

/// Where a broken agent is asked, what counts it, and what explain says.
const BROKEN: [(&str, &str, &str); 6] = [
    ("/nope", "no_such_path", "it answers 404, as if it had no such path; correct the path"),
    ("/status/503", "status", "it answers 503; let the agent answer 200"),
    ("/status/302", "status", "it answers 302; that is not followed"),
    ("/whoami", "invalid", "its answer has no status; let the agent answer {"),
    ("/bytes/1000000", "invalid", "its answer is longer than 16 KiB"),
    ("/close", "unreachable", "GET /close on port "),
];

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_ping_is_broken_stays_up_until_the_cap_and_is_told_of_once() {
    for (path, outcome, says) in BROKEN {
        let defaults = format!("idle_timeout: 150ms\nmin_running: 0s\nping: {path}\nbusy_cap: 1h");
        let drowse = Drowse::start(&[Agent::demo("echo")], &defaults).await;
        answered(&drowse.get("echo", "/").await);
        drowse.asked_more_than(1.0, outcome).await;
        assert_eq!(drowse.phase("echo").await, "Running", "{path}");
        eventually(&format!("explain says {says}"), async || drowse.reason().await.contains(says)).await;
        assert!(drowse.reason().await.contains("kept up by its ping"), "{}", drowse.reason().await);
        let told = || drowse.log().matches("idle, but its ping fails").count();
        eventually("the log says so", async || told() > 0).await;
        drowse.asked_more_than(3.0, outcome).await;
        assert_eq!(told(), 1, "{path}");

        drowse.edit_defaults(&defaults.replace("1h", "500ms"));
        drowse.wait_for_phase("echo", "Suspended").await;
        assert!((drowse.overruled("failed").await - 1.0).abs() < 0.5, "{path}");
        let reason = drowse.reason().await;
        assert!(reason.contains("its ping had failed") && reason.contains(says), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nobody_is_and_one_that_is_not_the_agents_own_are_broken_pings() {
    let (echo, other) = (Agent::demo("echo"), Agent::demo("other"));
    let theirs = other.port;
    let defaults = format!("idle_timeout: 150ms\nmin_running: 0s\nping: \":{theirs}/ping\"");
    let drowse = Drowse::start(&[echo, other], &defaults).await;
    // It would say Healthy.
    answered(&drowse.get("other", "/").await);
    answered(&drowse.get("echo", "/").await);
    eventually("echo is told of", async || drowse.reason().await.contains("no other port than its own"))
        .await;
    assert_eq!(drowse.phase("echo").await, "Running");
    drowse.wait_for_phase("other", "Suspended").await;
    // The rule is corrected.
    drowse.edit_defaults(QUICK);
    drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_that_is_never_answered_is_given_up_and_requests_are_served_meanwhile() {
    let defaults = "idle_timeout: 200ms\nmin_running: 0s\nping: \"/slow?for=1h\"\nbusy_cap: 1h";
    let drowse = Drowse::start(&[Agent::demo("echo")], defaults).await;
    answered(&drowse.get("echo", "/").await);
    eventually("it is asked", async || drowse.reason().await.contains("being asked")).await;
    let served = drowse.get("echo", "/").await;
    assert_eq!((served.status, served.header("drowse-start")), (200, "warm"));
    drowse.asked_more_than(0.0, "timed_out").await;
    eventually("it is told", async || drowse.reason().await.contains("no answer within 5s")).await;
    assert_eq!(drowse.phase("echo").await, "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_agent_is_asked_like_any_other() {
    let drowse = Drowse::start(&[Agent::demo("echo").frozen()], QUICK).await;
    answered(&drowse.get("echo", "/busy?for=1h").await);
    drowse.asked_more_than(1.0, "busy").await;
    assert_eq!(drowse.phase("echo").await, "Running");
    answered(&drowse.get("echo", "/busy?for=0s").await);
    drowse.wait_for_phase("echo", "Suspended").await;
    assert_eq!(drowse.get("echo", "/").await.json()["starts"], 1, "and it was frozen");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_dry_run_the_agents_word_is_part_of_the_report() {
    let drowse = Drowse::start(&[Agent::demo("echo")], &format!("{QUICK}\ndry_run: true")).await;
    answered(&drowse.get("echo", "/busy?for=1h").await);
    drowse.asked_more_than(2.0, "busy").await;
    assert!(!drowse.log().contains("would be suspended now"));
    answered(&drowse.get("echo", "/busy?for=0s").await);
    eventually("it is reported", async || drowse.log().contains("would be suspended now")).await;
    assert_eq!(drowse.phase("echo").await, "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_suspends_a_busy_agent_and_with_suspend_off_nobody_is_asked() {
    let off = "suspend: off\n".to_owned();
    let drowse = Drowse::start_with(&[Agent::demo("echo")], QUICK, off).await;
    answered(&drowse.get("echo", "/busy?for=1h").await);
    let idle = async || {
        let signals = drowse.agent("echo").await["signals"].as_array().unwrap().clone();
        signals.iter().all(|signal| signal["active"] == false)
    };
    eventually("nothing keeps it up", idle).await;
    let (text, code) = drowse.command(&["suspend", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    drowse.wait_for_phase("echo", "Suspended").await;
    assert!(drowse.pings("").await < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_who_says_where_an_agent_is_asked_and_refuses_what_is_no_path() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("drowse.yaml");
    let check = async |ping: &str, annotation: &str| {
        let text = format!(
            "backend:\n  process:\n    agents:\n      - name: echo\n        port: 9101\n        \
             command: [drowse, demo-agent, --port, \"{{port}}\"]\n        annotations: {{{annotation}}}\n\
             rules:\n  - allow_annotations: true\n    ping: {ping}\n"
        );
        std::fs::write(&file, text).unwrap();
        let output = tokio::process::Command::new(crate::support::PROGRAM)
            .args(["check", "--config"])
            .arg(&file)
            .arg("default/echo")
            .output()
            .await
            .unwrap();
        let both = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(both).unwrap())
    };
    let row = |text: &str| {
        let line = text.lines().map(str::trim).find(|line| line.starts_with("ping "));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
    };
    let (code, text) = check(":9000/ping", "").await;
    assert_eq!(code, Some(0), "{text}");
    assert!(row(&text).starts_with("ping :9000/ping rules[0]"), "{text}");
    let warning = "  warning: ping names port 9000, and a process has no port but its own, 9101, ";
    assert!(text.contains(warning) && text.contains("; write ping: /ping\n"), "{text}");
    let (code, text) = check(":9101/ping", "").await;
    assert!(code == Some(0) && !text.contains("warning"), "{text}");
    let (_, text) = check("off", "drowse.dev/ping: /busy").await;
    assert_eq!(row(&text), "ping /busy annotation drowse.dev/ping", "{text}");
    let (_, text) = check("/ping", "drowse.dev/ping: \"off\"").await;
    assert_eq!(row(&text), "ping off annotation drowse.dev/ping", "{text}");
    let (code, text) = check("pong", "").await;
    assert!(code == Some(78) && text.contains("write a path such as /ping"), "{text}");
}
