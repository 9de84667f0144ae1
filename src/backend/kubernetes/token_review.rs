//! Asks the API server whose a bearer token is (`TokenReview`, `authentication.k8s.io/v1`).
//!
//! The request is made by hand: what kube reads for us it may also log, and the API server repeats the token.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use kube::Client;
use kube::client::Body;
use serde::Deserialize;

use super::error::with_causes;
use crate::agent::PodUid;
use crate::proxy::auth::{Authenticator, BoundPod, Unavailable, Verdict};

/// A review repeats the token, which fits into a request head, and names a user.
const MAX_ANSWER_BYTES: usize = 2 << 20;

/// Bearer tokens as the API server judges them.
///
/// Whoever it knows may call, as with agent-sandbox's router (v1.0.3, `sandbox-router/authz/tokenreview.go`): which
/// agents an identity may reach is not said anywhere. Whose token is known but for none of our audiences may not.
pub struct TokenReviews {
    client: Client,
    audiences: Vec<String>,
}

/// An error as the API server writes it.
#[derive(Deserialize)]
struct Status {
    message: String,
}

impl TokenReviews {
    /// Tokens must be for one of these audiences, or with none for the API server itself.
    pub const fn new(client: Client, audiences: Vec<String>) -> Self {
        Self { client, audiences }
    }

    fn request(&self, token: &str) -> Result<Request<Body>, Unavailable> {
        let audiences = Some(self.audiences.clone()).filter(|audiences| !audiences.is_empty());
        let spec = TokenReviewSpec { audiences, token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let unfit = |error: &dyn std::fmt::Display| Unavailable::new(error.to_string());
        let review = serde_json::to_vec(&review).map_err(|error| unfit(&error))?;
        Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Body::from(review))
            .map_err(|error| unfit(&error))
    }
}

impl Authenticator for TokenReviews {
    fn authenticate(&self, token: &str) -> BoxFuture<'static, Result<Verdict, Unavailable>> {
        let (client, audiences, token) = (self.client.clone(), self.audiences.clone(), token.to_owned());
        let request = self.request(&token);
        async move {
            let answer =
                client.send(request?).await.map_err(|error| Unavailable::new(with_causes(&error)))?;
            let (status, text) = read(answer).await?;
            if !status.is_success() {
                return Err(refused(status, &text, &token));
            }
            // What serde says of it could repeat some of it.
            let review: TokenReview = serde_json::from_slice(&text)
                .map_err(|_| Unavailable::new("the API server's answer is no TokenReview"))?;
            Ok(verdict(&review.status.unwrap_or_default(), &audiences))
        }
        .boxed()
    }
}

async fn read(answer: Response<Body>) -> Result<(StatusCode, Bytes), Unavailable> {
    let status = answer.status();
    let text = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    let text =
        text.map_err(|error| Unavailable::new(format!("the API server's answer ended early: {error}")))?;
    Ok((status, text.to_bytes()))
}

/// The API server would not say: most often because we may not ask.
fn refused(status: StatusCode, text: &[u8], token: &str) -> Unavailable {
    let message = serde_json::from_slice(text).map(|Status { message }| message).unwrap_or_default();
    let advice = if status == StatusCode::FORBIDDEN {
        "; Drowse needs the permission to create tokenreviews.authentication.k8s.io"
    } else {
        ""
    };
    let message = message.replace(token, "<token>");
    Unavailable::new(format!("the API server answered {}: {message}{advice}", status.as_u16()))
}

fn verdict(status: &TokenReviewStatus, wanted: &[String]) -> Verdict {
    if status.authenticated != Some(true) {
        return Verdict::Unauthenticated;
    }
    // An API server that knows nothing of audiences says nothing of them: then the token is for itself alone.
    let meant = status.audiences.as_deref().unwrap_or_default();
    if !wanted.is_empty() && !meant.iter().any(|audience| wanted.contains(audience)) {
        return Verdict::Forbidden;
    }
    match status.user.as_ref().and_then(bound_pod) {
        Some(pod) => Verdict::AllowedPod(Arc::new(pod)),
        None => Verdict::Allowed,
    }
}

/// The pod that a token is bound to, which the API server has looked up while it reviewed it (Kubernetes v1.33,
/// `pkg/serviceaccount/claims.go` and `util.go`).
fn bound_pod(user: &UserInfo) -> Option<BoundPod> {
    let account = user.username.as_deref()?.strip_prefix("system:serviceaccount:")?;
    let (namespace, _account) = account.split_once(':')?;
    let only = |key: &str| match user.extra.as_ref()?.get(key)?.as_slice() {
        [value] if !value.is_empty() => Some(Arc::from(value.as_str())),
        _ => None,
    };
    Some(BoundPod {
        namespace: namespace.into(),
        name: only("authentication.kubernetes.io/pod-name")?,
        uid: PodUid(only("authentication.kubernetes.io/pod-uid")?),
    })
}

#[cfg(test)]
mod tests;
