//! Introducing ourselves to a server: the fields of `CONNECT` on a leaf-node link (`leafConnectInfo` in nats-server's
//! `server/leafnode.go`), and the answer to its challenge.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::nats::credentials::Credentials;

/// What a server says about itself in `INFO`, as far as a leaf needs it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    /// Its name.
    pub server_name: String,
    /// Its version, such as `2.10.23`.
    pub version: String,
    /// The challenge for those who sign.
    pub nonce: Option<String>,
    /// The cluster that it is in; none if it is alone.
    pub cluster: Option<String>,
    /// It speaks nothing but TLS.
    pub tls_required: bool,
    /// The size of a message with its headers, in bytes, at most.
    pub max_payload: usize,
}

impl ServerInfo {
    /// Whether it is in a cluster whose servers may give a leaf what a client of another server is there to take: they learned
    /// to tell these apart in 2.10.23.
    pub fn is_cluster_too_old(&self) -> bool {
        let mut numbers = self.version.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
        let version = [numbers.next(), numbers.next(), numbers.next()].map(Option::unwrap_or_default);
        self.cluster.is_some() && version < [2, 10, 23]
    }
}

/// How a leaf introduces itself.
#[derive(Debug, Serialize)]
pub struct Introduction<'a> {
    server_id: &'a str,
    name: &'a str,
    cluster: &'a str,
    version: &'a str,
    headers: bool,
    protocol: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

/// Who a leaf says that it is. Servers tell leaves apart by `id`, and what came from a cluster is not sent to other leaves
/// that name the same one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Unique, also between restarts.
    pub id: String,
    /// For people.
    pub name: String,
    /// The cluster.
    pub cluster: String,
}

/// The version of nats-server whose leaf protocol is spoken. A hub reads it to know what a leaf understands.
const SPOKEN_VERSION: &str = "2.11.0";

impl<'a> Introduction<'a> {
    /// Answers a server that has said this about itself.
    pub fn new(
        identity: &'a Identity,
        credentials: &'a Credentials,
        server: &ServerInfo,
    ) -> Result<Self, String> {
        let mut this = Self {
            server_id: &identity.id,
            name: &identity.name,
            cluster: &identity.cluster,
            version: SPOKEN_VERSION,
            headers: true,
            protocol: 1,
            user: None,
            pass: None,
            auth_token: None,
            jwt: None,
            nkey: None,
            sig: None,
        };
        match credentials {
            Credentials::None => {}
            Credentials::Password { user, password } => {
                this.user = Some(user);
                this.pass = Some(password);
            }
            Credentials::Token(token) => this.auth_token = Some(token),
            Credentials::Key { key, jwt } => {
                let nonce = server
                    .nonce
                    .as_deref()
                    .ok_or("the server asks for no signature, so a key is of no use")?;
                let signature =
                    key.sign(nonce.as_bytes()).map_err(|error| format!("failed to sign: {error}"))?;
                this.sig = Some(URL_SAFE_NO_PAD.encode(signature));
                match jwt {
                    Some(jwt) => this.jwt = Some(jwt),
                    None => this.nkey = Some(key.public_key()),
                }
            }
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_of_a_cluster_can_be_too_old() {
        for (version, cluster, too_old) in [
            ("2.9.10", None, false),
            ("2.9.10", Some("c"), true),
            ("2.10.22", Some("c"), true),
            ("2.10.23-RC.1", Some("c"), false),
            ("2.11.0", Some("c"), false),
            ("3.0", Some("c"), false),
        ] {
            let cluster = cluster.map(str::to_owned);
            let info = ServerInfo { version: version.to_owned(), cluster, ..ServerInfo::default() };
            assert_eq!(info.is_cluster_too_old(), too_old, "{version}");
        }
    }
}
