//! Logs: text for people or JSON for machines, on standard error, with a filter that changes while Drowse runs.

use std::io::IsTerminal;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// What a log line looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// A line to read.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error(
        "{filter:?} is not a log filter: {detail}; write a level (error, warn, info, debug, trace, off) or \
         levels by module, for example info,drowse::proxy=debug"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What the parser says.
        detail: String,
    },
    /// Somebody else has set up logging in this process, or has torn it down.
    #[error("the log of this process is not ours to change: {0}")]
    NotOurs(String),
}

/// Changes the filter. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
    /// That of the configuration.
    configured: Arc<Mutex<String>>,
}

impl LogControl {
    /// The filter in force.
    pub fn filter(&self) -> Result<String, LogError> {
        self.filter.with_current(ToString::to_string).map_err(|error| LogError::NotOurs(error.to_string()))
    }

    /// Puts another filter in force, at once and for all threads.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse(filter)?;
        self.filter.reload(parsed).map_err(|error| LogError::NotOurs(error.to_string()))
    }

    /// Puts the filter of the configuration in force, if that has changed. If it has not, the one that an operator has set for
    /// now stays.
    pub fn configure(&self, filter: &str) -> Result<(), LogError> {
        let mut configured = self.configured.lock();
        if *configured != filter {
            self.set_filter(filter)?;
            filter.clone_into(&mut configured);
        }
        Ok(())
    }
}

/// Sends the logs of this process to standard error. Once a process.
pub fn init(format: Format, filter: &str) -> Result<LogControl, LogError> {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (subscriber, control) = build(format, filter, colour, std::io::stderr)?;
    subscriber.try_init().map_err(|error| LogError::NotOurs(error.to_string()))?;
    Ok(control)
}

/// The same with another destination, and without making it the log of the process.
pub fn build<W>(
    format: Format,
    filter: &str,
    colour: bool,
    writer: W,
) -> Result<(impl tracing::Subscriber + Send + Sync + use<W>, LogControl), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let configured = Arc::new(Mutex::new(filter.to_owned()));
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines = match format {
        Format::Text => fmt::layer().with_ansi(colour).with_writer(writer).boxed(),
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    let lines = lines.with_filter(filter_fn(is_ours));
    Ok((tracing_subscriber::registry().with(filter).with(lines), LogControl { filter: handle, configured }))
}

/// Libraries that tell of what is no news to an operator: every attempt to connect to NATS, every mistake of a caller by HTTP/2,
/// every call to an API server that is away. What of that matters is said by us, once.
const TALKATIVE: [&str; 3] = ["async_nats", "h2::", "kube_client::"];

/// Whether a line is to be seen, if the filter has nothing against it.
fn is_ours(line: &Metadata<'_>) -> bool {
    *line.level() >= Level::DEBUG || !TALKATIVE.iter().any(|name| line.target().starts_with(name))
}

/// Whether a text is a filter.
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let refused = |detail: String| LogError::Filter { filter: filter.to_owned(), detail };
    let is_level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
    // A lone word that is no level would be taken for the name of a module, and log nothing else.
    let lone = filter.split(',').map(str::trim).find(|part| !part.contains(['=', '[']) && !is_level(part));
    if let Some(word) = lone {
        return Err(refused(format!("{word:?} is not a level")));
    }
    EnvFilter::builder().parse(filter).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::{Arc, LazyLock};

    use parking_lot::Mutex;

    use super::*;

    /// A log that a test can read.
    #[derive(Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        pub(crate) fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn logging(
        format: Format,
        filter: &str,
    ) -> (impl tracing::Subscriber + Send + Sync, LogControl, Lines) {
        // While there is but one, tracing asks that of the thread which comes to a line first, and another thread has none.
        static ANOTHER: LazyLock<tracing::Dispatch> =
            LazyLock::new(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default()));
        LazyLock::force(&ANOTHER);
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, control) = build(format, filter, false, move || writer.clone()).unwrap();
        (subscriber, control, lines)
    }

    #[test]
    fn a_new_filter_holds_from_the_next_line() {
        let (subscriber, control, lines) = logging(Format::Text, "info");
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("before");
            assert_eq!(lines.take(), "");
            control.set_filter("debug").unwrap();
            tracing::debug!("after");
            assert!(lines.take().contains("after"));
        });
        assert_eq!(
            control.filter().unwrap_err().to_string().split(':').next(),
            Some("the log of this process is not ours to change")
        );
    }

    #[test]
    fn talkative_libraries_are_seen_by_who_asks_for_their_details() {
        let (subscriber, control, lines) = logging(Format::Text, "info");
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "kube_client::client::builder", "failed");
            tracing::warn!(target: "async_nats", "failed");
            tracing::info!(target: "h2::codec", "failed");
            assert_eq!(lines.take(), "");
            control.set_filter("debug").unwrap();
            tracing::debug!(target: "kube_client::client::builder", "details");
            assert!(lines.take().contains("details"));
        });
    }

    #[test]
    fn the_filter_in_force_can_be_read() {
        let (_subscriber, control, _) = logging(Format::Text, "info,drowse::proxy=debug");
        let filter = control.filter().unwrap();
        assert!(filter.contains("info") && filter.contains("drowse::proxy=debug"), "{filter}");
    }

    #[test]
    fn json_lines_are_objects_with_the_fields_of_the_event() {
        let (subscriber, _control, lines) = logging(Format::Json, "info");
        tracing::subscriber::with_default(subscriber, || tracing::info!(agent = "default/echo", "resumed"));
        let line: serde_json::Value = serde_json::from_str(&lines.take()).unwrap();
        assert_eq!(
            (line["level"].as_str(), line["agent"].as_str(), line["message"].as_str()),
            (Some("INFO"), Some("default/echo"), Some("resumed"))
        );
    }

    #[test]
    fn what_is_not_a_filter_is_refused_with_an_example_and_changes_nothing() {
        let (_subscriber, control, _) = logging(Format::Text, "warn");
        for bad in ["", "  ", "debgu", "info,drowse", "drowse=loud", "a=b=c"] {
            let error = control.set_filter(bad).unwrap_err().to_string();
            assert!(error.contains("info,drowse::proxy=debug"), "{bad}: {error}");
            assert!(check_filter(bad).is_err());
        }
        assert_eq!(control.filter().unwrap(), "warn");
    }

    #[test]
    fn what_an_operator_has_set_stays_until_the_configuration_says_something_else() {
        let (_subscriber, control) = build(Format::Text, "info", false, io::sink).unwrap();
        control.set_filter("debug").unwrap();
        control.configure("info").unwrap();
        assert_eq!(control.filter().unwrap(), "debug");
        control.configure("warn").unwrap();
        assert_eq!(control.filter().unwrap(), "warn");
    }
}
