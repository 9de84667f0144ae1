//! Makes room for many connections: a caller is an open file here, and two in Drowse, which inherits the limit.

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open besides connections, generously.
const OTHERS: u64 = 128;

/// Raises the soft limit to the hard one. Fails if that is not enough for so many connections in one process.
pub(crate) fn allow(connections: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if let Some(missing) = missing(limit.maximum, connections) {
        bail!("{missing}");
    }
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).context("failed to raise the limit of open files")
}

fn missing(hard: Option<u64>, connections: u64) -> Option<String> {
    let (hard, needed) = (hard?, connections + OTHERS);
    (hard < needed).then(|| {
        format!(
            "{connections} connections in one process need {needed} open files, and the hard limit is {hard}; \
             raise it (ulimit -Hn), or ask for fewer callers or a lower --max-in-flight"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_said_before_the_storm() {
        assert_eq!(missing(None, 1 << 40), None);
        assert_eq!(missing(Some(1128), 1000), None);
        let text = missing(Some(1127), 1000).unwrap();
        assert!(text.contains("need 1128 open files") && text.contains("limit is 1127"), "{text}");
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        allow(1).unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
