//! Against a small server that plays the API server.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const TOKEN: &str = "my.secret-token";

/// Answers one request by this; gives its head and body.
async fn once(answer: String) -> (SocketAddr, tokio::task::JoinHandle<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        let (head, body) = loop {
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8(read.clone()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str(body)
            {
                break (head.to_owned(), body);
            }
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        (head, body)
    });
    (address, serving)
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// As the API server answers: the question with a status.
fn reviewed(status: &Value) -> String {
    let review = json!({
        "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"managedFields": [{"manager": "drowse", "operation": "Update", "fieldsType": "FieldsV1"}]},
        "spec": {"token": TOKEN}, "status": status,
    });
    http("201 Created", &review.to_string())
}

fn reviews(address: SocketAddr, audiences: &[&str]) -> TokenReviews {
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let client = Client::try_from(config).unwrap();
    TokenReviews::new(client, audiences.iter().copied().map(str::to_owned).collect())
}

async fn ask(answer: String, audiences: &[&str]) -> Result<Verdict, Unavailable> {
    let (address, _serving) = once(answer).await;
    reviews(address, audiences).authenticate(TOKEN).await
}

#[tokio::test]
async fn the_api_server_is_asked_about_the_token_and_the_audiences() {
    for (audiences, spec) in [
        (&[][..], json!({"token": TOKEN})),
        (&["drowse", "other"][..], json!({"token": TOKEN, "audiences": ["drowse", "other"]})),
    ] {
        let (address, serving) =
            once(reviewed(&json!({"authenticated": true, "audiences": ["drowse"]}))).await;
        assert_eq!(reviews(address, audiences).authenticate(TOKEN).await, Ok(Verdict::Allowed));
        let (head, body) = serving.await.unwrap();
        assert!(head.starts_with("POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("\r\ncontent-type: application/json"), "{head}");
        assert_eq!(
            (&body["kind"], &body["apiVersion"]),
            (&json!("TokenReview"), &json!("authentication.k8s.io/v1"))
        );
        assert_eq!(body["spec"], spec);
    }
}

#[tokio::test]
async fn the_verdict_is_the_api_servers_and_the_audience_must_be_ours() {
    let user = json!({"username": "system:serviceaccount:a:b", "groups": ["x"]});
    let known = |audiences: Value| json!({"authenticated": true, "user": user, "audiences": audiences});
    for (status, audiences, expected) in [
        (known(json!(["api"])), &[][..], Verdict::Allowed),
        (known(Value::Null), &[][..], Verdict::Allowed),
        (known(json!(["other", "drowse"])), &["drowse"][..], Verdict::Allowed),
        (known(json!(["api"])), &["drowse"][..], Verdict::Forbidden),
        (known(Value::Null), &["drowse"][..], Verdict::Forbidden),
        (json!({"authenticated": false, "error": "token has expired"}), &[][..], Verdict::Unauthenticated),
        (json!({"error": "no"}), &[][..], Verdict::Unauthenticated),
        (json!({}), &["drowse"][..], Verdict::Unauthenticated),
    ] {
        assert_eq!(ask(reviewed(&status), audiences).await, Ok(expected), "{status}");
    }
    let without =
        json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {}}).to_string();
    assert_eq!(ask(http("201 Created", &without), &[]).await, Ok(Verdict::Unauthenticated), "no status");
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_pod_says_which_and_half_of_that_says_nothing() {
    const NAME: &str = "authentication.kubernetes.io/pod-name";
    const UID: &str = "authentication.kubernetes.io/pod-uid";
    let pod = BoundPod { namespace: "team-a".into(), name: "echo".into(), uid: PodUid("8f2c".into()) };
    let whole = json!({NAME: ["echo"], UID: ["8f2c"], "authentication.kubernetes.io/node-name": ["n"]});
    let bound = Verdict::AllowedPod(Arc::new(pod));
    let known = async |user: &Value, audiences: &[&str]| {
        let status = json!({"authenticated": true, "user": user, "audiences": ["drowse"]});
        ask(reviewed(&status), audiences).await
    };
    let user = |name: &str, extra: &Value| json!({"username": name, "extra": extra});
    let agent = "system:serviceaccount:team-a:agent";
    assert_eq!(known(&user(agent, &whole), &["drowse"]).await, Ok(bound));
    assert_eq!(known(&user(agent, &whole), &["other"]).await, Ok(Verdict::Forbidden));
    for user in [
        user("system:node:n", &whole),
        user("jane", &whole),
        user("system:serviceaccount:team-a", &whole),
        user(agent, &Value::Null),
        user(agent, &json!({NAME: ["echo"]})),
        user(agent, &json!({NAME: ["echo"], UID: []})),
        user(agent, &json!({NAME: ["echo"], UID: [""]})),
        user(agent, &json!({NAME: ["echo"], UID: ["8f2c", "77aa"]})),
    ] {
        assert_eq!(known(&user, &[]).await, Ok(Verdict::Allowed), "{user}");
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_say_is_no_verdict_and_the_token_is_not_repeated() {
    let status =
        |message: &str| json!({"kind": "Status", "status": "Failure", "message": message}).to_string();
    for (answer, expected) in [
        (
            http("403 Forbidden", &status("you cannot create resource")),
            "the API server answered 403: you cannot create resource; Drowse needs the permission to create \
             tokenreviews.authentication.k8s.io",
        ),
        (
            http("500 Internal Server Error", &status("bad my.secret-token!")),
            "the API server answered 500: bad <token>!",
        ),
        (http("400 Bad Request", "my.secret-token"), "the API server answered 400: "),
        (http("200 OK", "\"my.secret-token\""), "the API server's answer is no TokenReview"),
        (
            http("201 Created", "{\"spec\":{\"token\":\"my.secret-token\"},"),
            "the API server's answer is no TokenReview",
        ),
    ] {
        assert_eq!(ask(answer, &[]).await.unwrap_err().to_string(), expected);
    }
    let cut = "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{".to_owned();
    assert!(ask(cut, &[]).await.unwrap_err().to_string().contains("ended early"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let error = reviews(nobody, &[]).authenticate(TOKEN).await.unwrap_err().to_string();
    assert!(!error.is_empty() && !error.contains("secret"), "{error}");
}
