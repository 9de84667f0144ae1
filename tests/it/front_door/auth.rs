//! Whom the front door lets in, when it asks. Strangers wake nobody, reach nobody and learn nothing.

use std::sync::Arc;

use drowse::proxy::auth::{Authenticator, Unavailable, Verdict};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::world::{Start, Toy, World, until};

const HOST: &str = "Host: echo.default.agents.localhost";

/// Judges tokens by their names, and notes them.
#[derive(Default)]
struct Names {
    asked: Mutex<Vec<String>>,
    /// Asked about `slow`, and not answered yet.
    open: Mutex<Vec<oneshot::Sender<()>>>,
}

impl Authenticator for Names {
    fn authenticate(&self, token: &str) -> BoxFuture<'static, Result<Verdict, Unavailable>> {
        self.asked.lock().push(token.to_owned());
        let verdict = match token {
            "good" => Ok(Verdict::Allowed),
            "forbidden" => Ok(Verdict::Forbidden),
            "down" => Err(Unavailable::new("the API server at 10.0.0.1 is down")),
            "slow" => {
                let (sender, receiver) = oneshot::channel();
                self.open.lock().push(sender);
                return async move {
                    receiver.await.unwrap();
                    Ok(Verdict::Allowed)
                }
                .boxed();
            }
            _ => Ok(Verdict::Unauthenticated),
        };
        async { verdict }.boxed()
    }
}

/// A front door that asks `Names`, before an agent that sleeps.
async fn asleep(toy: &Toy) -> (World, Arc<Names>) {
    let names = Arc::new(Names::default());
    let authenticator = Some(Arc::clone(&names) as Arc<dyn Authenticator>);
    let world = World::start(toy.port, Start { asleep: true, authenticator, ..Start::default() }).await;
    (world, names)
}

impl World {
    /// What comes back for a request with these fields.
    async fn ask_with(&self, fields: &str) -> String {
        self.ask(&format!("GET / HTTP/1.1\n{fields}\nConnection: close\n\n")).await
    }

    fn counts(&self, outcome: &str, expected: u32) {
        let line = format!("drowse_authentications_total{{outcome=\"{outcome}\"}} {expected}\n");
        assert!(self.metrics.render().contains(&line), "{line}");
    }
}

#[tokio::test]
async fn a_caller_without_a_token_is_told_to_send_one_and_nobody_is_asked() {
    let mut toy = Toy::new().await;
    let (world, names) = asleep(&toy).await;
    for authorization in [
        "",
        "\nAuthorization: good",
        "\nAuthorization: Basic good",
        "\nAuthorization: Bearer ",
        "\nAuthorization: Bearer a b",
        "\nAuthorization: Bearer good\nAuthorization: Bearer good",
    ] {
        for (host, end) in [
            (HOST, "\"agent\":\"default/echo\"}\n"),
            ("Host: r\nX-Sandbox-ID: echo", "\n\n{\"detail\":\"unauthenticated\"}\n"),
        ] {
            let answer = world.ask_with(&format!("{host}{authorization}")).await;
            assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\n"), "{authorization:?}: {answer}");
            assert!(answer.contains("\nwww-authenticate: Bearer\n"), "{answer}");
            assert!(answer.ends_with(end), "{answer}");
        }
    }
    assert_eq!(names.asked.lock().len(), 0);
    assert_eq!((world.backend.resumes(), toy.was_called()), (0, false));
    world.counts("unauthenticated", 12);
}

#[tokio::test]
async fn a_caller_who_is_not_let_in_wakes_nobody_and_is_told_why() {
    let mut toy = Toy::new().await;
    let (world, names) = asleep(&toy).await;
    for (token, status, slug, detail) in [
        ("bad", "401 Unauthorized", "unauthenticated", "unauthenticated"),
        ("forbidden", "403 Forbidden", "forbidden", "forbidden"),
        (
            "down",
            "503 Service Unavailable",
            "unreviewed",
            "the API server could not be asked whose the token is; the request reached nobody, send it again",
        ),
    ] {
        let bearer = format!("Authorization: Bearer {token}");
        let problem = world.ask_with(&format!("{HOST}\n{bearer}")).await;
        assert!(problem.starts_with(&format!("HTTP/1.1 {status}\n")), "{problem}");
        assert!(problem.contains(&format!("\"type\":\"https://drowse.dev/problems/{slug}\"")), "{problem}");
        let ours = world.ask_with(&format!("Host: r\nX-Sandbox-ID: echo\n{bearer}")).await;
        assert!(ours.starts_with(&format!("HTTP/1.1 {status}\n")), "{ours}");
        assert!(ours.ends_with(&format!("\n\n{{\"detail\":\"{detail}\"}}\n")), "{ours}");
        for answer in [problem, ours] {
            assert_eq!(answer.contains("\nretry-after: 1\n"), token == "down", "{answer}");
            assert_eq!(answer.contains("\nwww-authenticate: "), token == "bad", "{answer}");
            assert!(!answer.contains("10.0.0.1") && !answer.contains(&bearer), "{answer}");
        }
    }
    assert_eq!(names.asked.lock().len(), 6);
    assert_eq!((world.backend.resumes(), toy.was_called()), (0, false));
    for outcome in ["unauthenticated", "forbidden", "unreviewed"] {
        world.counts(outcome, 2);
    }
}

#[tokio::test]
async fn a_stranger_does_not_learn_which_agents_exist() {
    let toy = Toy::new().await;
    let (world, _names) = asleep(&toy).await;
    for token in ["bad", "forbidden", "down"] {
        let ask = async |name: &str| {
            let host = format!("Host: {name}.default.agents.localhost\nAuthorization: Bearer {token}");
            let fields =
                format!("Host: r\nX-Sandbox-ID: {name}\nX-Sandbox-UID: x\nAuthorization: Bearer {token}");
            let without_date = |answer: String| -> Vec<String> {
                answer
                    .lines()
                    .filter(|line| !line.starts_with("date: "))
                    .map(|line| line.replace(name, "…"))
                    .collect()
            };
            (without_date(world.ask_with(&host).await), without_date(world.ask_with(&fields).await))
        };
        assert_eq!(ask("echo").await, ask("gone").await);
    }
    let known = world.ask_with("Host: r\nX-Sandbox-ID: gone\nAuthorization: Bearer good").await;
    assert!(known.starts_with("HTTP/1.1 502 "), "{known}");
}

#[tokio::test]
async fn who_is_let_in_wakes_the_agent_and_the_agent_does_not_see_the_token() {
    let mut toy = Toy::new().await;
    let (world, _names) = asleep(&toy).await;
    for fields in [HOST, "Host: r\nX-Sandbox-ID: echo"] {
        let mut caller = world.caller().await;
        caller.send(&format!("GET / HTTP/1.1\n{fields}\nAuthorization: bearer good\n\n")).await;
        let mut agent = toy.accept().await;
        let head = agent.head().await;
        assert!(!head.contains("authorization") && !head.contains("good"), "{head}");
        agent.caller.send("HTTP/1.1 204 No Content\nConnection: close\n\n").await;
        assert!(caller.head().await.starts_with("http/1.1 204 "));
    }
    assert_eq!(world.backend.resumes(), 1);
    world.counts("allowed", 2);
}

#[tokio::test]
async fn without_somebody_to_ask_the_token_is_the_agents_business() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\nAuthorization: Bearer x\n\n")).await;
    assert!(toy.accept().await.head().await.contains("\nauthorization: Bearer x\n"));
    world.counts("allowed", 0);
}

#[tokio::test]
async fn the_health_check_and_what_names_no_agent_need_no_token() {
    let toy = Toy::new().await;
    let (world, names) = asleep(&toy).await;
    for (first, fields, status) in [
        ("GET /healthz", "Host: r", "200"),
        ("GET /", "Host: r", "404"),
        ("GET /", "Host: r\nX-Sandbox-ID: A", "400"),
    ] {
        let answer = world.ask(&format!("{first} HTTP/1.1\n{fields}\nConnection: close\n\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(names.asked.lock().len(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_while_its_token_is_reviewed_ends_the_question() {
    let toy = Toy::new().await;
    let (world, names) = asleep(&toy).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\nAuthorization: Bearer slow\n\n")).await;
    until(|| names.open.lock().len() == 1).await;
    assert_eq!(world.backend.resumes(), 0);
    drop(caller);
    until(|| names.open.lock()[0].is_closed()).await;
    assert_eq!(world.backend.resumes(), 0);
}
