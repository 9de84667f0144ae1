//! The section `nats`.

use std::path::Path;

use super::super::decode::{Document, Step};
use super::super::raw;
use crate::nats::address::ServerAddress;
use crate::nats::credentials::CredentialsSource;
use crate::nats::settings::{HoldSettings, Settings, TlsFiles};

use Step::{Index, Key};

/// Where servers listen if an address does not say.
const CLIENT_PORT: u16 = 4222;
const LEAF_PORT: u16 = 7422;

/// Checks the section.
pub(super) fn resolve(raw: raw::Nats, document: &Document<'_, '_>, folder: &Path) -> Settings {
    let tls_first = raw.tls.as_ref().is_some_and(|tls| tls.handshake_first);
    let addresses = |texts: &[String], key, default_port| -> Vec<_> {
        let all = addresses(texts, key, default_port, document);
        all.into_iter().map(|address| ServerAddress { tls_first, ..address }).collect()
    };
    let servers = addresses(&raw.servers, "servers", CLIENT_PORT);
    if raw.servers.is_empty() {
        let advice = "no server is named; write for example [nats://127.0.0.1:4222]";
        document.report(&[Key("nats"), Key("servers")], advice);
    }
    let leaf_servers = if raw.leaf_servers.is_empty() {
        servers.iter().map(|server| ServerAddress { port: LEAF_PORT, ..server.clone() }).collect()
    } else {
        addresses(&raw.leaf_servers, "leaf_servers", LEAF_PORT)
    };
    let client = raw.client.map(|raw| sign_in(raw, "client", document, folder)).unwrap_or_default();
    let leaf = raw.leaf.map_or_else(|| client.clone(), |raw| sign_in(raw, "leaf", document, folder));
    let replicas = raw.hold.replicas.get();
    if replicas > 5 {
        let message = format!("{replicas} is more than JetStream keeps; write a number from 1 to 5");
        document.report(&[Key("nats"), Key("hold"), Key("replicas")], message);
    }
    if !raw.hold.stream.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        || raw.hold.stream.is_empty()
    {
        let message = format!("{:?} is no name of a stream; write one such as DROWSE_HOLD", raw.hold.stream);
        document.report(&[Key("nats"), Key("hold"), Key("stream")], message);
    }
    Settings {
        servers,
        leaf_servers,
        client,
        leaf,
        tls: raw.tls.map(|raw| tls(raw, document, folder)).unwrap_or_default(),
        hold: HoldSettings {
            store: raw.hold.store,
            stream: raw.hold.stream,
            replicas: replicas as usize,
            timeout: raw.hold.timeout.get(),
            max_bytes: raw.hold.max_bytes.get(),
        },
        poll_every: raw.poll_every.get(),
        watch_below: raw.watch_below.get(),
        wakes_per_minute: raw.wakes_per_minute.get(),
    }
}

fn addresses(
    texts: &[String],
    key: &'static str,
    default_port: u16,
    document: &Document<'_, '_>,
) -> Vec<ServerAddress> {
    let read = |(index, text): (usize, &String)| match ServerAddress::parse(text, default_port) {
        Ok(address) => Some(address),
        Err(message) => {
            document.report(&[Key("nats"), Key(key), Index(index)], message);
            None
        }
    };
    texts.iter().enumerate().filter_map(read).collect()
}

fn sign_in(
    raw: raw::SignIn,
    section: &'static str,
    document: &Document<'_, '_>,
    folder: &Path,
) -> CredentialsSource {
    let report = |key: &'static str, message: &str| {
        document.report(&[Key("nats"), Key(section), Key(key)], message.to_owned());
    };
    let at = |file: String| folder.join(file);
    let kinds = [
        ("user", raw.user.is_some() || raw.password_file.is_some()),
        ("token_file", raw.token_file.is_some()),
        ("creds_file", raw.creds_file.is_some()),
        ("nkey_file", raw.nkey_file.is_some()),
    ];
    let mut named = kinds.iter().filter(|(_, named)| *named);
    if let (Some((first, _)), Some((second, _))) = (named.next(), named.next()) {
        report(second, &format!("there are credentials of another kind already; keep {first} or {second}"));
    }
    match (raw.user, raw.password_file) {
        (Some(user), Some(file)) => return CredentialsSource::Password { user, file: at(file) },
        (Some(_), None) => report("user", "a user needs a password; write password_file: <file>"),
        (None, Some(_)) => report("password_file", "a password needs a user; write user: <name>"),
        (None, None) => {}
    }
    match (raw.token_file, raw.creds_file, raw.nkey_file) {
        (Some(file), ..) => CredentialsSource::Token(at(file)),
        (_, Some(file), _) => CredentialsSource::Creds(at(file)),
        (_, _, Some(file)) => CredentialsSource::Nkey(at(file)),
        _ => CredentialsSource::None,
    }
}

fn tls(raw: raw::NatsTls, document: &Document<'_, '_>, folder: &Path) -> TlsFiles {
    let at = |file: String| folder.join(file);
    let report = |key: &'static str, message: &str| {
        document.report(&[Key("nats"), Key("tls"), Key(key)], message.to_owned());
    };
    let identity = match (raw.cert_file, raw.key_file) {
        (Some(cert), Some(key)) => Some((at(cert), at(key))),
        (Some(_), None) => {
            report("cert_file", "a certificate needs its key; write key_file: <file>");
            None
        }
        (None, Some(_)) => {
            report("key_file", "a key needs its certificate; write cert_file: <file>");
            None
        }
        (None, None) => None,
    };
    TlsFiles { ca: raw.ca_file.map(at), identity }
}
