//! What an error of the API means for a write: was it done, was it not, or can nobody tell.

use std::error::Error;
use std::sync::Arc;

use kube::core::Status;

use crate::lifecycle::{Failure, FailureClass, WriteError};

/// What an error means for the write that it came from.
pub(super) fn of_write(error: &kube::Error) -> WriteError {
    match error {
        kube::Error::Api(status) => match status.code {
            // Not every 404 is about the object: the kind may not be served for a moment.
            404 if status.details.as_ref().is_some_and(|details| !details.name.is_empty()) => {
                WriteError::Gone
            }
            409 => WriteError::Conflict,
            // An object with another uid is another object.
            422 if is_about_uid(status) => WriteError::Conflict,
            // Turned away at the door: too many requests, or not known to the API server.
            401 | 404 | 429 => {
                WriteError::TurnedAway(format!("status {}: {}", status.code, status.message).into())
            }
            // Admission comes before storage.
            500 if status.message.contains("failed calling webhook") => {
                WriteError::TurnedAway(status.message.as_str().into())
            }
            400..=499 => WriteError::Refused(refused(&status.message)),
            code => WriteError::Unknown(format!("status {code}: {}", status.message).into()),
        },
        other if was_not_sent(other) => WriteError::NotSent(with_causes(other).into()),
        other => WriteError::Unknown(with_causes(other).into()),
    }
}

fn is_about_uid(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

fn refused(message: &str) -> Failure {
    let class =
        if message.contains("exceeded quota") { FailureClass::Quota } else { FailureClass::Admission };
    Failure::new(class, Arc::<str>::from(message))
}

/// There was not even a connection to send it on.
fn was_not_sent(error: &kube::Error) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

/// An error and what it comes from, in one line.
pub(super) fn with_causes(error: &kube::Error) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let cause = cause.to_string();
        // Many wrappers repeat what they wrap.
        if !text.ends_with(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

fn causes(error: &kube::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error: &&(dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::mpsc;

    use super::super::index::Report;
    use super::super::suspicion::Suspicion;
    use super::*;

    fn api_error(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.to_owned(), ..Status::default() }))
    }

    #[test]
    fn each_status_says_whether_it_was_written() {
        let about = serde_json::json!({"code": 404, "message": "x", "details": {"name": "echo", "kind": "sandboxes"}});
        let about: Status = serde_json::from_value(about).unwrap();
        assert_eq!(of_write(&kube::Error::Api(Box::new(about))), WriteError::Gone);
        assert!(matches!(of_write(&api_error(404, "no such kind")), WriteError::TurnedAway(_)));
        assert!(matches!(
            of_write(&api_error(500, "failed calling webhook \"x\"")),
            WriteError::TurnedAway(_)
        ));
        assert_eq!(of_write(&api_error(409, "x")), WriteError::Conflict);
        assert!(matches!(of_write(&api_error(429, "slow down")), WriteError::TurnedAway(_)));
        assert!(matches!(of_write(&api_error(401, "who")), WriteError::TurnedAway(_)));
        for code in [400, 403, 422] {
            let WriteError::Refused(failure) = of_write(&api_error(code, "denied by policy")) else {
                panic!("{code}")
            };
            assert_eq!((failure.class, &*failure.detail), (FailureClass::Admission, "denied by policy"));
        }
        let WriteError::Refused(failure) = of_write(&api_error(403, "exceeded quota: x")) else { panic!() };
        assert_eq!(failure.class, FailureClass::Quota);
        let cause =
            serde_json::json!({"field": "metadata.uid", "message": "field is immutable", "reason": "x"});
        let status = serde_json::json!({"code": 422, "message": "x", "details": {"causes": [cause]}});
        let status: Status = serde_json::from_value(status).unwrap();
        assert_eq!(of_write(&kube::Error::Api(Box::new(status))), WriteError::Conflict);
        for code in [500, 503, 504] {
            assert!(matches!(of_write(&api_error(code, "x")), WriteError::Unknown(_)), "{code}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_means_that_nothing_was_sent() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = kube::Config::new(format!("http://127.0.0.1:{port}").parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let error = client.apiserver_version().await.unwrap_err();
        let WriteError::NotSent(why) = of_write(&error) else { panic!("{error:?}") };
        assert!(why.contains("refused"), "{why}");
    }

    #[tokio::test]
    async fn an_answer_is_no_sign_that_the_api_server_is_away() {
        let (suspicion, (reports, mut told)) = (Suspicion::default(), mpsc::channel(9));
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let api = kube::Api::all(kube::Client::try_from(config).unwrap());
        let mut looking = std::pin::pin!(suspicion.clone().look(api, 0, reports));
        assert!(looking.as_mut().now_or_never().is_none());
        assert_eq!(told.try_recv().unwrap().1, Report::Live);
        for (code, message) in [(401, "who"), (404, "x"), (429, "slow down"), (500, "failed calling webhook")]
        {
            let error = of_write(&api_error(code, message));
            suspicion.over(async { Err(error) }).await.unwrap_err();
            assert!(looking.as_mut().now_or_never().is_none());
            assert!(told.try_recv().is_err(), "{code}");
        }
        suspicion.over(async { Err(WriteError::NotSent("no route".into())) }).await.unwrap_err();
        assert!(looking.as_mut().now_or_never().is_none());
        assert_eq!(told.try_recv().unwrap().1, Report::Broken);
    }
}
