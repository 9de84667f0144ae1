//! One `GET` on a connection to an agent, and its answer as a whole: how an agent is asked whether it is at work.

use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Request};

use super::{Connection, RequestBody, SendError};

/// Far more than an answer of the contract, which has two short fields.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The connection was closed before anything was sent: another one will do.
    #[error("the connection was already closed")]
    Unsent,
    /// It broke off.
    #[error("the connection failed: {0}")]
    Failed(#[from] hyper::Error),
    /// What came is no HTTP.
    #[error("its answer cannot be read: {0}")]
    Bad(String),
    /// More than is read.
    #[error("its answer is longer than {} KiB", MAX_ANSWER_BYTES >> 10)]
    TooLong,
    /// Nothing that can be sent.
    #[error("it cannot be asked there: {0}")]
    Malformed(#[from] http::Error),
}

/// Asks, and gives the status of the answer, and with status 200 its content. The caller bounds it in time. Unless the content
/// was read to its end, the connection is of no more use.
pub async fn ping(
    connection: &mut Connection,
    authority: &str,
    path: &str,
) -> Result<(u16, Vec<u8>), PingError> {
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(USER_AGENT, HeaderValue::from_static("drowse-ping"))
        .body(RequestBody::default())?;
    let response = connection.send(request).await.map_err(|error| match error {
        SendError::Unsent(_) => PingError::Unsent,
        SendError::Failed(error) => PingError::Failed(error),
        SendError::Bad(wrong) => PingError::Bad(wrong),
    })?;
    let (status, mut incoming) = (response.status().as_u16(), response.into_body());
    let mut content = Vec::new();
    if status != 200 {
        return Ok((status, content));
    }
    while let Some(frame) = std::future::poll_fn(|cx| connection.poll_frame(&mut incoming, cx)).await {
        let frame = frame?;
        let data = frame.data_ref().map(AsRef::as_ref).unwrap_or_default();
        if content.len() + data.len() > MAX_ANSWER_BYTES {
            return Err(PingError::TooLong);
        }
        content.extend_from_slice(data);
    }
    Ok((status, content))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::upstream::testing::{answer, connection};

    async fn asked(head: &str, rest: &[u8]) -> (Result<(u16, Vec<u8>), PingError>, bool) {
        let (mut ours, mut agent) = connection().await;
        let answering = async {
            answer(&mut agent, head).await;
            // The other side may have had enough.
            let _ = agent.write_all(rest).await;
        };
        let (asked, ()) = tokio::join!(ping(&mut ours, "agent:80", "/ping?deep=1"), answering);
        (asked, ours.is_idle())
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_end_and_its_connection_can_be_used_again() {
        let content = br#"{"status": "Healthy"}"#;
        let head = format!("HTTP/1.1 200 OK\nContent-Length: {}\n\n", content.len());
        let (asked, idle) = asked(&head, content).await;
        assert_eq!(asked.unwrap(), (200, content.to_vec()));
        assert!(idle);
    }

    #[tokio::test]
    async fn of_an_error_only_the_status_is_read() {
        let (asked, idle) = asked("HTTP/1.1 404 Not Found\nContent-Length: 1000\n\n", b"what").await;
        assert_eq!(asked.unwrap(), (404, Vec::new()));
        assert!(!idle);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let endless = vec![b' '; MAX_ANSWER_BYTES * 2];
        let (long, idle) = asked("HTTP/1.1 200 OK\nConnection: close\n\n", &endless).await;
        assert!(matches!(long, Err(PingError::TooLong)), "{long:?}");
        assert!(!idle);
        let (exact, _) = asked(
            &format!("HTTP/1.1 200 OK\nContent-Length: {MAX_ANSWER_BYTES}\n\n"),
            &endless[..MAX_ANSWER_BYTES],
        )
        .await;
        assert_eq!(exact.unwrap().1.len(), MAX_ANSWER_BYTES);
    }

    #[tokio::test]
    async fn what_breaks_off_or_is_no_http_is_an_error() {
        for (head, is_http) in [("HTTP/1.1 200 OK\nContent-Length: 10\n\n{", true), ("SSH-2.0-x\n", false)] {
            let (mut ours, mut agent) = connection().await;
            let breaking = async {
                answer(&mut agent, head).await;
                drop(agent);
            };
            let (asked, ()) = tokio::join!(ping(&mut ours, "agent:80", "/ping"), breaking);
            match asked {
                Err(PingError::Failed(_)) if is_http => {}
                Err(PingError::Bad(_)) if !is_http => {}
                other => panic!("{head:?}: {other:?}"),
            }
        }
    }
}
