//! The styles host and service: an agent named by a host.

use super::{Named, port};
use crate::agent::is_dns_label;
use crate::proxy::settings::{Settings, Style};

/// Whether this host (lower case, without port) is `drowse.<domain>`. No agent has it: theirs have a label more.
pub(super) fn is_ours(settings: &Settings, host: &str) -> bool {
    below(host, &settings.domain) == Some("drowse")
}

/// The agent that this host (lower case, without port) names. `None` if it is not about agents.
pub(super) fn parse<'a>(settings: &Settings, host: &'a str) -> Result<Option<Named<'a>>, String> {
    if settings.find_by.contains(&Style::Host)
        && let Some(labels) = below(host, &settings.domain)
    {
        return by_host(labels, &settings.domain).map(Some);
    }
    if settings.find_by.contains(&Style::Service)
        && let Some(labels) = service_labels(host, &settings.cluster_domain)
    {
        return two_labels(labels)
            .map(|(agent, namespace)| Named { style: Style::Service, namespace, agent, port: None })
            .map(Some)
            .ok_or_else(|| format!("{host:?} is not <agent>.<namespace>.svc"));
    }
    Ok(None)
}

fn by_host<'a>(labels: &'a str, domain: &str) -> Result<Named<'a>, String> {
    let malformed = || {
        format!(
            "{labels:?} before .{domain} is not [<port>--]<agent>.<namespace>, for example 8080--echo.default"
        )
    };
    // Byte by byte: for so few of them a searcher costs more.
    let dot = labels.bytes().position(|byte| byte == b'.').ok_or_else(malformed)?;
    let (first, namespace) = (&labels[..dot], &labels[dot + 1..]);
    let (port, agent) = split_port(first)?;
    if !is_dns_label(agent) || !is_dns_label(namespace) {
        return Err(malformed());
    }
    Ok(Named { style: Style::Host, namespace, agent, port })
}

/// `8081--echo` is port 8081 of echo; `my--agent` is an agent. (An agent whose name begins with digits and `--`
/// can be reached by the other styles.)
fn split_port(label: &str) -> Result<(Option<u16>, &str), String> {
    let after_digits = label.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &label[..label.len() - after_digits.len()];
    match after_digits.strip_prefix("--") {
        Some(agent) if !digits.is_empty() => {
            let port = port(digits).ok_or_else(|| format!("{digits} is not a port from 1 to 65535"))?;
            Ok((Some(port), agent))
        }
        _ => Ok((None, label)),
    }
}

/// What stands before `.<domain>`.
fn below<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    host.strip_suffix(domain)?.strip_suffix('.')
}

fn service_labels<'a>(host: &'a str, cluster_domain: &str) -> Option<&'a str> {
    let host = below(host, cluster_domain).unwrap_or(host);
    host.strip_suffix(".svc")
}

fn two_labels(labels: &str) -> Option<(&str, &str)> {
    labels.split_once('.').filter(|(one, two)| is_dns_label(one) && is_dns_label(two))
}
