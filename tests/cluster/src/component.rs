//! One component of a running cluster: starting, stopping, freezing it, and waiting until it works.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::certificates::NODE;
use crate::components::{self, Ready, Spec};
use crate::kubectl::Kubectl;
use crate::process::Process;
use crate::state::State;
use crate::{spawn, wait};

/// How long a component may take to work. A cold API server on a busy machine takes a third of it.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// How long a component may take to end by itself. An API server closes its port at once, and then waits a minute for
/// watches to end that nobody ends.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// One look at a component's health.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// One component of a cluster.
#[derive(Debug)]
pub struct Component<'a> {
    state: &'a State,
    kubectl: &'a Kubectl,
    name: String,
    spec: Spec,
}

impl<'a> Component<'a> {
    /// Fails if this cluster has no such component, and says which it has.
    pub(crate) fn of(state: &'a State, kubectl: &'a Kubectl, name: &str) -> Result<Self> {
        let names = components::names(state);
        let spec = names.contains(&name).then(|| components::spec(state, name)).flatten();
        match spec {
            Some(spec) => Ok(Self { state, kubectl, name: name.to_owned(), spec }),
            None => bail!("this cluster has no component {name:?}; it has {}", names.join(", ")),
        }
    }

    /// Its process as it was last started, which may be gone; none if it never was.
    pub fn process(&self) -> Option<Process> {
        spawn::written_down(self.state.dir(), &self.name)
    }

    /// Whether it runs, or is frozen.
    pub fn is_alive(&self) -> bool {
        self.process().is_some_and(Process::is_alive)
    }

    /// Starts it unless it runs, and waits until it works.
    pub fn start(&self) -> Result<()> {
        self.launch()?;
        self.wait_ready()
    }

    /// Starts it unless it runs.
    pub(crate) fn launch(&self) -> Result<()> {
        if !self.is_alive() {
            spawn::spawn(self.state, &self.name, &self.spec)?;
        }
        Ok(())
    }

    /// Tells it to end, and kills it if it does not.
    pub fn stop(&self) -> Result<()> {
        let ended = self.process().is_none_or(|process| process.end(STOP_GRACE));
        ensure!(ended, "failed to stop {}", self.name);
        Ok(())
    }

    /// Kills it at once, as a crash does.
    pub fn kill(&self) -> Result<()> {
        ensure!(self.process().is_none_or(Process::kill), "failed to kill {}", self.name);
        Ok(())
    }

    /// Stops it, starts it, and waits until it works.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Freezes it: its connections stay open, and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Ends a `pause`.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process().filter(|process| process.is_alive());
        process.with_context(|| format!("{} does not run; start it first", self.name))?.signal(signal);
        Ok(())
    }

    /// Waits until it works. Fails at once when it ended.
    pub fn wait_ready(&self) -> Result<()> {
        let log = self.state.file("logs").join(format!("{}.log", self.name));
        wait::until(&self.name, READY_LIMIT, || {
            ensure!(self.is_alive(), "{} ended", self.name);
            Ok(self.works().then_some(()))
        })
        .with_context(|| format!("{} does not work; see {}", self.name, log.display()))
    }

    fn works(&self) -> bool {
        match &self.spec.ready {
            Ready::Running => true,
            Ready::Http(address, path) => answers(*address, path),
            Ready::Socket(path) => UnixStream::connect(path).is_ok(),
            Ready::ApiServer => self.kubectl.succeeds(&["get", "--raw=/readyz"]),
            Ready::Node => {
                let jsonpath = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
                let node = self.kubectl.run(&["get", "node", NODE, "-o", jsonpath, "--request-timeout=3s"]);
                node.is_ok_and(|ready| ready == "True")
            }
        }
    }
}

/// Whether a GET of this path is answered with 200.
fn answers(address: SocketAddrV4, path: &str) -> bool {
    let ask = || -> std::io::Result<[u8; 12]> {
        let mut stream = TcpStream::connect_timeout(&address.into(), LOOK_LIMIT)?;
        stream.set_read_timeout(Some(LOOK_LIMIT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head)
    };
    ask().is_ok_and(|head| head.ends_with(b" 200"))
}
