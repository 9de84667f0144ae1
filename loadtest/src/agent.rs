//! One agent behind a Drowse: calls to it, and what the admin API says of it and does to it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::{HeaderValue, Method, StatusCode, Uri};
use serde_json::Value;

use crate::client::{Answer, Call};
use crate::loopback::Loopback;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at something that must happen.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One agent, and the Drowse in front of it.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    front: Loopback,
    admin: Loopback,
    host: HeaderValue,
    show: Uri,
    suspend: Uri,
    resume: Uri,
}

impl Agent {
    pub(crate) fn new(front: Loopback, admin: Loopback, namespace: &str, name: &str) -> anyhow::Result<Self> {
        let at = format!("/api/v1/agents/{namespace}/{name}");
        Ok(Self {
            front,
            admin,
            host: HeaderValue::try_from(format!("{name}.{namespace}.agents.localhost"))?,
            show: Uri::try_from(&at)?,
            suspend: Uri::try_from(format!("{at}/suspend"))?,
            resume: Uri::try_from(format!("{at}/resume"))?,
        })
    }

    /// A request to the agent through the front door.
    pub(crate) fn call(&self, path: &'static str) -> Call {
        self.call_at(self.front, path)
    }

    /// The same request to somewhere else.
    pub(crate) fn call_at(&self, to: Loopback, path: &'static str) -> Call {
        Call::new(Method::GET, to, self.host.clone(), Uri::from_static(path))
    }

    fn ask(&self, method: Method, what: &Uri) -> Call {
        Call::new(method, self.admin, HeaderValue::from_static("127.0.0.1"), what.clone())
    }

    /// Asks for a resume.
    pub(crate) fn to_resume(&self) -> Call {
        self.ask(Method::POST, &self.resume)
    }

    /// Asks for a suspension, which is answered when it is written.
    pub(crate) fn to_suspend(&self) -> Call {
        self.ask(Method::POST, &self.suspend)
    }

    /// The agent as the admin API shows it.
    pub(crate) async fn state(&self) -> anyhow::Result<Value> {
        let answer =
            self.ask(Method::GET, &self.show).once().await.context("the admin API does not answer")?;
        Ok(answer.json())
    }

    /// Suspends the agent, and waits until it is.
    pub(crate) async fn suspend(&self) -> anyhow::Result<()> {
        let suspended = async {
            let answer = self.ask_to_suspend().await?;
            let status = answer.status;
            ensure!(status.is_success(), "the admin API answers {status}: {}", answer.json()["detail"]);
            self.until_asleep().await
        };
        tokio::time::timeout(PATIENCE, suspended).await.context("the agent does not get suspended")?
    }

    /// Waits until it sleeps. Bounded by the caller.
    pub(crate) async fn until_asleep(&self) -> anyhow::Result<()> {
        while self.state().await?["phase"] != "Suspended" {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Asks until the request before no longer counts as in flight: Drowse may see its end after the caller does.
    async fn ask_to_suspend(&self) -> anyhow::Result<Answer> {
        loop {
            let answer = self.to_suspend().once().await.context("the admin API does not answer")?;
            if answer.status != StatusCode::CONFLICT {
                return Ok(answer);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
