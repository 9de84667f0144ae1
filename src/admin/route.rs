//! Which resource of the API a path names.

use http::{Method, StatusCode};

use super::problem::Problem;
use crate::agent::AgentKey;

/// What the API has, for somebody who asked for something else.
const PATHS: &str = "the status page at /, /api/v1/overview, /api/v1/agents, /api/v1/agents/{namespace}/{name}, \
     POST /api/v1/agents/{namespace}/{name}/suspend and /resume, POST /api/v1/resume-all, \
     GET and PUT /api/v1/log-level, /api/v1/config";

/// A resource of the admin API.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Overview,
    Agents,
    Agent(AgentKey),
    Suspend(AgentKey),
    Resume(AgentKey),
    ResumeAll,
    LogLevel,
    Config,
}

impl Resource {
    pub(super) fn find(path: &str) -> Result<Self, Problem> {
        let nothing_here = || Problem::new(StatusCode::NOT_FOUND, format!("nothing here; there is {PATHS}"));
        let rest = path.strip_prefix("/api/v1/").ok_or_else(nothing_here)?;
        let parts: Vec<&str> = rest.split('/').collect();
        match parts[..] {
            ["overview"] => Ok(Self::Overview),
            ["agents"] => Ok(Self::Agents),
            ["agents", namespace, name] => key(namespace, name).map(Self::Agent),
            ["agents", namespace, name, "suspend"] => key(namespace, name).map(Self::Suspend),
            ["agents", namespace, name, "resume"] => key(namespace, name).map(Self::Resume),
            ["resume-all"] => Ok(Self::ResumeAll),
            ["log-level"] => Ok(Self::LogLevel),
            ["config"] => Ok(Self::Config),
            _ => Err(nothing_here()),
        }
    }

    /// The methods that it takes, as the `Allow` field lists them.
    const fn allow(&self) -> &'static str {
        match self {
            Self::Overview | Self::Agents | Self::Agent(_) | Self::Config => "GET, HEAD",
            Self::Suspend(_) | Self::Resume(_) | Self::ResumeAll => "POST",
            Self::LogLevel => "GET, HEAD, PUT",
        }
    }

    pub(super) fn check_method(&self, method: &Method) -> Result<(), Problem> {
        let allow = self.allow();
        let allowed = allow.split(", ").any(|name| name == method.as_str());
        if allowed { Ok(()) } else { Err(Problem::method_not_allowed(allow)) }
    }
}

fn key(namespace: &str, name: &str) -> Result<AgentKey, Problem> {
    format!("{namespace}/{name}").parse().map_err(|error| Problem::bad_request(format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> AgentKey {
        AgentKey::new("default", "echo")
    }

    #[test]
    fn every_resource_has_one_path() {
        let find = |path| Resource::find(path).unwrap();
        assert_eq!(find("/api/v1/overview"), Resource::Overview);
        assert_eq!(find("/api/v1/agents"), Resource::Agents);
        assert_eq!(find("/api/v1/agents/default/echo"), Resource::Agent(echo()));
        assert_eq!(find("/api/v1/agents/default/echo/suspend"), Resource::Suspend(echo()));
        assert_eq!(find("/api/v1/agents/default/echo/resume"), Resource::Resume(echo()));
        assert_eq!(find("/api/v1/resume-all"), Resource::ResumeAll);
        assert_eq!(find("/api/v1/log-level"), Resource::LogLevel);
        assert_eq!(find("/api/v1/config"), Resource::Config);
    }

    #[test]
    fn a_path_that_is_not_there_is_told_what_is() {
        for path in
            ["/api", "/api/v1", "/api/v1/", "/api/v1/agents/", "/api/v1/agents/default", "/api/v2/agents"]
        {
            let problem = Resource::find(path).unwrap_err();
            assert_eq!(problem.status, 404, "{path}");
            assert!(problem.detail.contains("/api/v1/agents/{namespace}/{name}"), "{}", problem.detail);
        }
    }

    #[test]
    fn a_name_that_no_agent_can_have_is_refused() {
        for path in ["/api/v1/agents/default/Echo", "/api/v1/agents/%2e/echo", "/api/v1/agents//echo/resume"]
        {
            assert_eq!(Resource::find(path).unwrap_err().status, 400, "{path}");
        }
    }

    #[test]
    fn the_wrong_method_is_told_the_right_ones() {
        let refused = |resource: Resource, method| resource.check_method(&method).unwrap_err().allow;
        assert_eq!(refused(Resource::Suspend(echo()), Method::GET), Some("POST"));
        assert_eq!(refused(Resource::ResumeAll, Method::GET), Some("POST"));
        assert_eq!(refused(Resource::Agents, Method::POST), Some("GET, HEAD"));
        assert_eq!(refused(Resource::LogLevel, Method::DELETE), Some("GET, HEAD, PUT"));
        assert!(Resource::Agents.check_method(&Method::HEAD).is_ok());
    }
}
