//! The admin API: what operators, the command line and the status page ask and command. And the page itself.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::access::Access;
use super::config_state::ConfigBoard;
use super::fleet::Fleet;
use super::page::File;
use super::problem::{Problem, json};
use super::query;
use super::route::Resource;
use super::server::Handler;
use super::wire::{LogLevel, ResumeAll, Suspend};
use crate::agent::AgentKey;
use crate::engine::CommandError;
use crate::engine::overview::Query;
use crate::engine::snapshot::Overview;
use crate::telemetry::{LogControl, LogError};

/// Our longest body is a log filter.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// What an overview lists at most, and unless it is told: some 50 KB.
const MAX_PAGE: usize = 200;

/// Answers on the admin port.
pub struct Api {
    fleet: Arc<dyn Fleet>,
    config: Arc<ConfigBoard>,
    log: LogControl,
    access: Access,
}

impl Api {
    /// The API over this fleet, for those whom `access` lets in.
    pub fn new(fleet: Arc<dyn Fleet>, config: Arc<ConfigBoard>, log: LogControl, access: Access) -> Self {
        Self { fleet, config, log, access }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Problem> {
        let (head, body) = request.into_parts();
        if let Some(file) = File::find(head.uri.path()) {
            self.access.check_page(&head)?;
            return file.answer(&head);
        }
        self.access.check(&head)?;
        let resource = Resource::find(head.uri.path())?;
        resource.check_method(&head.method)?;
        match resource {
            Resource::Overview => self.overview(head.uri.query().unwrap_or_default()).await,
            Resource::Agents => self.agents(head.uri.query().unwrap_or_default()).await,
            Resource::Agent(key) => self.agent(&key),
            Resource::Suspend(key) => self.suspend(&key, read(body).await?).await,
            Resource::Resume(key) => self.resume(&key),
            Resource::ResumeAll => Ok(ok(&ResumeAll { agents: self.fleet.resume_all() })),
            Resource::LogLevel if head.method == Method::PUT => {
                self.set_log_level(read(body).await?.as_ref())
            }
            Resource::LogLevel => self.log_level(),
            Resource::Config => Ok(ok(&self.config.state())),
        }
    }

    async fn overview(&self, query: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let mut query = query::read(query)?;
        query.limit = Some(query.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE));
        let mut overview = self.scan(query).await?;
        let config = self.config.state();
        if !config.in_force.suspend {
            overview.notices.push("All suspensions are switched off (suspend: off).".to_owned());
        }
        if let Some(refused) = config.refused {
            overview.notices.push(format!(
                "The configuration file on disk was refused; the one before it is in force. {}",
                refused.error
            ));
        }
        if !config.needs_restart.is_empty() {
            let keys = config.needs_restart.join(", ");
            overview
                .notices
                .push(format!("The configuration file has values that wait for a restart: {keys}."));
        }
        Ok(ok(&overview))
    }

    async fn agents(&self, query: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let agents = self.scan(query::read(query)?).await?.agents;
        Ok(ok(&agents.into_iter().map(|row| row.agent).collect::<Vec<_>>()))
    }

    /// Of a hundred thousand agents this takes long enough for requests to notice, so it is not done where they are served.
    async fn scan(&self, query: Query) -> Result<Overview, Problem> {
        let fleet = Arc::clone(&self.fleet);
        let scan = tokio::task::spawn_blocking(move || fleet.overview(&query));
        scan.await.map_err(|error| {
            tracing::error!(%error, "failed to look at all agents");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the agents could not be listed; the log says why",
            )
        })
    }

    fn agent(&self, key: &AgentKey) -> Result<Response<Full<Bytes>>, Problem> {
        let detail = self.fleet.detail(key).ok_or(CommandError::NotFound)?;
        Ok(ok(&detail))
    }

    async fn suspend(&self, key: &AgentKey, how: Option<Suspend>) -> Result<Response<Full<Bytes>>, Problem> {
        let Suspend { stay } = how.unwrap_or_default();
        self.fleet.suspend(key, stay).await?;
        tracing::info!(agent = %key, stay, "an operator suspended the agent");
        self.after(key)
    }

    fn resume(&self, key: &AgentKey) -> Result<Response<Full<Bytes>>, Problem> {
        self.fleet.resume(key)?;
        tracing::info!(agent = %key, "an operator wants the agent up");
        self.after(key)
    }

    /// How the agent stands after a command.
    fn after(&self, key: &AgentKey) -> Result<Response<Full<Bytes>>, Problem> {
        let detail = self.fleet.detail(key).ok_or(CommandError::NotFound)?;
        Ok(ok(&detail.agent))
    }

    fn log_level(&self) -> Result<Response<Full<Bytes>>, Problem> {
        Ok(ok(&LogLevel { filter: self.log.filter()? }))
    }

    fn set_log_level(&self, wanted: Option<&LogLevel>) -> Result<Response<Full<Bytes>>, Problem> {
        let Some(LogLevel { filter }) = wanted else {
            return Err(Problem::bad_request("the body is empty; send {\"filter\": \"debug\"}"));
        };
        self.log.set_filter(filter)?;
        tracing::info!(filter, "an operator changed the log filter");
        self.log_level()
    }
}

impl Handler for Api {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Response<Full<Bytes>>> {
        Box::pin(async move { self.answer(request).await.unwrap_or_else(Problem::into_response) })
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let status = match error {
            CommandError::NotFound => StatusCode::NOT_FOUND,
            CommandError::NotManaged | CommandError::Busy { .. } => StatusCode::CONFLICT,
            CommandError::Refused { .. } => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        let status = match error {
            LogError::Filter { .. } => StatusCode::BAD_REQUEST,
            LogError::NotOurs(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

fn ok(value: &impl Serialize) -> Response<Full<Bytes>> {
    json(StatusCode::OK, value)
}

/// The body as JSON; `None` if it is empty.
async fn read<T: DeserializeOwned>(body: Incoming) -> Result<Option<T>, Problem> {
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let detail = format!("the body is longer than {MAX_BODY_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        } else {
            Problem::bad_request(format!("the body broke off: {error}"))
        }
    })?;
    let body = body.to_bytes();
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| Problem::bad_request(format!("the body is not what is wanted here: {error}")))
}
