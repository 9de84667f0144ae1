//! Conformance suites of the field, run through the front door: against an agent that is up, and against one that sleeps at the
//! first call.

mod autobahn;
mod grpc;
mod h2spec;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyUsagePurpose};
use tempfile::TempDir;

use crate::support::{Drowse, free_port};

/// The host of the agent, which the certificate is for.
const NAME: &str = "echo.default.agents.localhost";

/// How callers reach the front door.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// HTTP/2 from the first byte, without TLS.
    Clear,
    Tls,
}

/// A front door that also finds agents by the path.
struct Door {
    /// Its keys of the configuration.
    keys: String,
    /// Where it speaks TLS, if it does.
    tls: Option<u16>,
    certificates: TempDir,
}

fn door(way: Way) -> Door {
    let certificates = certificates();
    let mut door = Door {
        keys: "find_by: [header, host, path], path_prefix: /agents, ".to_owned(),
        tls: None,
        certificates,
    };
    if way == Way::Tls {
        let (port, cert, key) = (free_port(), door.file("cert.pem"), door.file("key.pem"));
        let tls =
            format!("tls: {{listen: \"127.0.0.1:{port}\", cert_file: \"{cert}\", key_file: \"{key}\"}}, ");
        door.keys.push_str(&tls);
        door.tls = Some(port);
    }
    door
}

impl Door {
    fn port(&self, drowse: &Drowse) -> u16 {
        self.tls.unwrap_or(drowse.front.port())
    }

    /// The certificate to trust.
    fn authority(&self) -> String {
        self.file("ca.pem")
    }

    fn file(&self, name: &str) -> String {
        self.certificates.path().join(name).display().to_string()
    }
}

/// An authority, and what it has signed for the agent's host.
fn certificates() -> TempDir {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = rcgen::KeyPair::generate().unwrap();
    write("ca.pem", params.self_signed(&key).unwrap().pem());
    let (issuer, key) = (Issuer::new(params, key), rcgen::KeyPair::generate().unwrap());
    let params = CertificateParams::new([NAME.to_owned()]).unwrap();
    write("cert.pem", params.signed_by(&key, &issuer).unwrap().pem());
    write("key.pem", key.serialize_pem());
    dir
}

/// How the agent is when a suite begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Warm,
    Asleep,
}

/// A suite that is about to begin.
struct Begun {
    start: Start,
    resumes: f64,
}

impl Start {
    /// Brings the agent there. It was up before in any case, so that the suite finds the same agent.
    async fn begin(self, drowse: &Drowse, agent: &str) -> Begun {
        let name = format!("default/{agent}");
        let (text, code) = drowse.command(&["resume", &name]).await;
        assert_eq!(code, 0, "{text}");
        drowse.wait_for_phase(agent, "Running").await;
        if self == Self::Asleep {
            let (text, code) = drowse.command(&["suspend", &name]).await;
            assert_eq!(code, 0, "{text}");
            drowse.wait_for_phase(agent, "Suspended").await;
        }
        Begun { start: self, resumes: resumes(drowse).await }
    }
}

impl Begun {
    /// What the suite cost: one resume if the agent slept, and none if it was up.
    async fn cost(&self, drowse: &Drowse) {
        let cost = resumes(drowse).await - self.resumes;
        let expected = if self.start == Start::Asleep { 1.0 } else { 0.0 };
        assert!((cost - expected).abs() < 0.5, "{cost} resumes, and not {expected}");
    }
}

async fn resumes(drowse: &Drowse) -> f64 {
    drowse.metric("drowse_resumes_total", "").await
}
