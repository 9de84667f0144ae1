//! The files of the status page, and the overview that it asks for.

use super::*;

#[tokio::test]
async fn the_page_is_served_with_what_keeps_it_safe_and_is_asked_for_anew_each_time() {
    let server = Server::api(None).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/agents/default/echo", "text/html; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/list.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';")
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-cache");

        let again = |etag: &str| {
            let request = Request::get(path).header("host", "localhost").header("if-none-match", etag);
            server.send(request.body(Full::default()).unwrap())
        };
        let etag = answer.header("etag");
        for known in [etag, &format!("W/{etag}"), &format!("\"other\", {etag}")] {
            let answer = again(known).await;
            assert_eq!((answer.status, answer.body.as_str(), answer.header("etag")), (304, "", etag));
        }
        assert_eq!(again("\"of-an-older-version\"").await.status, 200);
    }
    assert_eq!(server.get("/page/nothing.js").await.status, 404);
    assert_eq!(server.get("/agents/default/No").await.status, 404);
    let head = server.call("HEAD", "/", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn without_a_token_the_page_is_for_this_machine_as_the_api_is() {
    let server = Server::api(None).await;
    for path in ["/", "/page/list.js", "/api/v1/overview"] {
        let rebound = Request::get(path).header("host", "rebound.example:9090").body(Full::default());
        assert_eq!(server.send(rebound.unwrap()).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn with_a_token_the_page_is_there_to_ask_for_it_and_tells_nothing() {
    let server = Server::api(Some("0123456789abcdef")).await;
    let get = |path: &'static str| server.send(Request::get(path).body(Full::default()).unwrap());
    let known = get("/agents/default/echo").await;
    assert_eq!(known.status, 200);
    assert_eq!(known.body, get("/agents/default/nobody").await.body, "not even who there is");
    assert_eq!(get("/page/api.js").await.status, 200);
    assert_eq!(get("/api/v1/overview").await.status, 401);
}

#[tokio::test]
async fn an_overview_is_bounded_and_warns_of_a_configuration_that_is_not_in_force() {
    let server = Server::api(None).await;
    server.board.refused("drowse.yaml:3:1: idle_timeout", Timestamp::UNIX_EPOCH);
    for (query, limit) in [("", 200), ("?limit=100000", 200), ("?limit=1", 1)] {
        let overview = server.get(&format!("/api/v1/overview{query}")).await.json();
        assert_eq!(overview["offset"], limit, "the table answers with the limit that it is given");
        let notice = overview["notices"][0].as_str().unwrap();
        assert!(notice.contains("drowse.yaml:3:1"), "{notice}");
    }
    let list = server.get("/api/v1/agents?limit=1").await.json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    server.board.applied(&config("off"), &[], Timestamp::UNIX_EPOCH);
    let overview = server.get("/api/v1/overview?namespace=team-a").await.json();
    assert_eq!(overview["notices"], json!(["All suspensions are switched off (suspend: off)."]));
    assert_eq!(overview["agents"][0]["name"], "notes");
}
