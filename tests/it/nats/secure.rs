//! Servers that do not let everybody in: TLS, tokens, keys, and JWTs of an operator, on the port for clients and the one for leaf
//! nodes.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::servers::{NEWEST, OLDEST_CLUSTER, Servers, VERSIONS};
use super::world::{QUICK, SHORT, World, talker};
use crate::support::eventually;

/// An authority, and what it has signed: `ca.pem`, and for the server and Drowse `<name>.pem` with certificate and key.
fn authority() -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for (name, usage) in
        [("server", ExtendedKeyUsagePurpose::ServerAuth), ("drowse", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned(), name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.path().join(format!("{name}.pem")), signed.pem() + &key.serialize_pem()).unwrap();
    }
    dir
}

fn file(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).display().to_string()
}

/// A server that speaks TLS on both ports.
async fn tls_server(version: &str, authority: &TempDir, more: &str) -> Servers {
    let users = if more.contains("map") { "authorization { users: [{ user: drowse }] }" } else { "" };
    let (ca, own) = (file(authority, "ca.pem"), file(authority, "server.pem"));
    let tls = format!("tls {{ cert_file: \"{own}\", key_file: \"{own}\", ca_file: \"{ca}\", {more} }}");
    let config = format!("{users}\n{tls}\nleafnodes {{ listen: 127.0.0.1:LEAF_PORT, {tls} }}");
    let mut servers = Servers::start(version, 1, &config).await;
    servers.guest = ["--ca", &ca].map(str::to_owned).to_vec();
    servers
}

/// The section `nats.tls`.
fn tls_section(authority: &TempDir, with_certificate: bool, more: &str) -> String {
    let own = file(authority, "drowse.pem");
    let own = if with_certificate { format!(", cert_file: {own}, key_file: {own}") } else { String::new() };
    format!("{QUICK}  tls: {{ca_file: {}{own}{more}}}\n", file(authority, "ca.pem"))
}

/// A message to a sleeping agent wakes it, and its reply arrives.
async fn wakes(world: &World, what: &str) {
    for _ in 0..2 {
        world.drowse.wait_for_phase("echo", "Suspended").await;
        let answer = world.request("echo").await;
        assert!(answer.starts_with("0: r:0 "), "{what}: {answer}");
    }
}

async fn works(servers: Servers, section: &str, what: &str) {
    wakes(&World::with(servers, &[talker("echo")], SHORT, section).await, what).await;
}

/// The log tells of both connections what is to be done, and nothing hangs.
async fn is_refused(servers: Servers, section: &str, advice: &str) {
    let mut world = World::start(servers, &[talker("echo")], SHORT, section).await;
    for missing in ["no connection to NATS yet", "no leaf-node link"] {
        let told = |line: &str| line.contains(missing) && line.contains(advice);
        eventually(missing, async || world.drowse.log().lines().any(told)).await;
    }
    assert!(!world.drowse.log().contains("the message door is open"));
    assert_eq!(world.drowse.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_a_private_authority_a_message_wakes_an_agent() {
    let authority = authority();
    for version in [VERSIONS[0], NEWEST] {
        for scheme in ["nats", "tls"] {
            let mut servers = tls_server(version, &authority, "").await;
            servers.scheme = scheme;
            works(servers, &tls_section(&authority, false, ""), &format!("{version} {scheme}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_refused_and_the_log_says_what_to_do() {
    let (ours, theirs) = (authority(), authority());
    for section in [&tls_section(&ours, false, ""), QUICK] {
        is_refused(tls_server(NEWEST, &theirs, "").await, section, "nats.tls.ca_file").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tls_is_asked_for_and_not_spoken_the_log_says_so() {
    let mut servers = Servers::single(NEWEST).await;
    servers.scheme = "tls";
    is_refused(servers, QUICK, "no TLS is spoken there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_begins_with_tls_is_spoken_to_like_that_if_the_configuration_says_so() {
    let (authority, more) = (authority(), "handshake_first: true");
    for version in [OLDEST_CLUSTER, NEWEST] {
        let mut servers = tls_server(version, &authority, more).await;
        servers.guest.push("--tls-first".to_owned());
        works(servers, &tls_section(&authority, false, ", handshake_first: true"), version).await;
    }
    let servers = tls_server(NEWEST, &authority, more).await;
    is_refused(servers, &tls_section(&authority, false, ""), "nats.tls.handshake_first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_ours_is_shown_to_a_server_that_wants_one() {
    let (authority, stranger) = (authority(), authority());
    for more in ["verify: true", "verify_and_map: true"] {
        let mut servers = tls_server(NEWEST, &authority, more).await;
        servers.guest.extend(["--identity".to_owned(), file(&authority, "drowse.pem")]);
        works(servers, &tls_section(&authority, true, ""), more).await;
    }
    let servers = tls_server(NEWEST, &authority, "verify: true").await;
    is_refused(servers, &tls_section(&authority, false, ""), "write nats.tls.cert_file").await;
    let servers = tls_server(NEWEST, &authority, "verify: true").await;
    std::fs::copy(stranger.path().join("drowse.pem"), authority.path().join("drowse.pem")).unwrap();
    is_refused(servers, &tls_section(&authority, true, ""), "does not accept the certificate").await;
}

/// Credentials of one kind for both connections.
fn sign_in(key: &str, file: &str) -> String {
    format!("{QUICK}  client: {{{key}: {file}}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_a_message_wakes_an_agent() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("token"), "hush\n").unwrap();
    for version in [VERSIONS[0], NEWEST] {
        let mut servers = Servers::start(version, 1, "authorization { token: hush }").await;
        let url = servers.urls().replace("://", "://hush@");
        servers.guest = vec!["--url".to_owned(), url];
        works(servers, &sign_in("token_file", &file(&dir, "token")), version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_nkey_a_message_wakes_an_agent() {
    let (dir, user) = (TempDir::new().unwrap(), KeyPair::new_user());
    std::fs::write(dir.path().join("seed"), user.seed().unwrap()).unwrap();
    let seed = file(&dir, "seed");
    for version in [VERSIONS[0], NEWEST] {
        let users = format!("authorization {{ users: [{{ nkey: {} }}] }}", user.public_key());
        let mut servers = Servers::start(version, 1, &users).await;
        servers.guest = vec!["--nkey".to_owned(), seed.clone()];
        works(servers, &sign_in("nkey_file", &seed), version).await;
    }
}

/// An operator with an account, and one for the server itself.
struct Operator {
    own: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

impl Operator {
    fn new() -> Self {
        let [system, account] = [KeyPair::new_account(), KeyPair::new_account()];
        Self { own: KeyPair::new_operator(), system, account }
    }

    /// The configuration of a server, which lets in all users of the account but these.
    fn server(&self, revoked: &[&KeyPair]) -> String {
        let claims = json!({"type": "operator", "version": 2});
        let operator = jwt(&self.own, &self.own, &claims);
        let limits = ["subs", "data", "payload", "imports", "exports", "conn", "leaf"];
        let limits: Value = limits.map(|limit| (limit.to_owned(), Value::from(-1))).into_iter().collect();
        let system = json!({"type": "account", "version": 2, "limits": limits});
        let mut account = system.clone();
        for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
            account["limits"][limit] = (-1).into();
        }
        account["revocations"] =
            revoked.iter().map(|user| (user.public_key(), Value::from(REVOKED_AT))).collect();
        let preload = [(&self.system, system), (&self.account, account)]
            .map(|(key, claims)| format!("{}: \"{}\"", key.public_key(), jwt(&self.own, key, &claims)));
        format!(
            "operator: \"{operator}\"\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {} }}",
            self.system.public_key(),
            preload.join(", ")
        )
    }

    /// Writes the credentials of a user, as `nsc` does.
    fn write_creds(&self, user: &KeyPair, path: &Path) {
        let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            jwt(&self.account, user, &claims),
            user.seed().unwrap()
        );
        std::fs::write(path, text).unwrap();
    }
}

/// When all JWTs here are made, in seconds since 1970, and when some are revoked.
const ISSUED_AT: u32 = 1_700_000_000;
const REVOKED_AT: u32 = ISSUED_AT + 1;

fn jwt(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> String {
    let subject = subject.public_key();
    let claims = json!({
        "jti": subject, "iat": ISSUED_AT, "iss": issuer.public_key(), "name": "test", "sub": subject, "nats": claims,
    });
    let parts = [json!({"typ": "JWT", "alg": "ed25519-nkey"}), claims];
    let text = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_jwt_of_an_operator_a_message_wakes_an_agent_and_a_new_one_is_read_when_it_is_revoked() {
    let (dir, operator) = (TempDir::new().unwrap(), Operator::new());
    let [ours, guest, next] = [(); 3].map(|()| KeyPair::new_user());
    let (creds, guests) = (file(&dir, "drowse.creds"), file(&dir, "guest.creds"));
    operator.write_creds(&guest, Path::new(&guests));
    for version in [VERSIONS[0], NEWEST] {
        operator.write_creds(&ours, Path::new(&creds));
        let mut servers = Servers::start(version, 1, &operator.server(&[])).await;
        servers.guest = vec!["--creds".to_owned(), guests.clone()];
        let world = World::with(servers, &[talker("echo")], SHORT, &sign_in("creds_file", &creds)).await;
        wakes(&world, version).await;
        let told = world.drowse.log().lines().count();
        world.servers.reload(0, &operator.server(&[&ours])).await;
        is_locked_out(&world, told).await;
        operator.write_creds(&next, Path::new(&creds));
        is_back(&world).await;
        wakes(&world, version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_once_and_tried_until_it_is_right() {
    let dir = TempDir::new().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "one").unwrap();
    let users = |word: &str| {
        format!(
            "authorization {{ users: [{{user: drowse, password: {word}}}, {{user: guest, password: guest}}] }}"
        )
    };
    let section = format!("{QUICK}  client: {{user: drowse, password_file: {}}}\n", password.display());
    // 2.9 answers no questions about its counters any more when its users were reloaded.
    for version in [OLDEST_CLUSTER, NEWEST] {
        let mut servers = Servers::start(version, 1, &users("two")).await;
        let url = servers.urls().replace("://", "://guest:guest@");
        servers.guest = vec!["--url".to_owned(), url];
        let world = World::start(servers, &[talker("echo")], SHORT, &section).await;
        is_locked_out(&world, 0).await;
        world.servers.reload(0, &users("one")).await;
        is_back(&world).await;
        wakes(&world, "the server was corrected").await;
        world.drowse.wait_for_phase("echo", "Suspended").await;
        // A reload ends connections of clients alone: what comes over the link waits until there is one again.
        world.servers.reload(0, &users("two")).await;
        let waits = async {
            eventually("it waits", async || world.drowse.metric("drowse_held_messages", "").await > 0.5)
                .await;
            std::fs::write(&password, "two").unwrap();
        };
        let (answer, ()) = tokio::join!(world.request("echo"), waits);
        assert!(answer.starts_with("0: r:0 "), "{answer}");
        std::fs::write(&password, "one").unwrap();
    }
}

/// Waits until both connections were refused again and again, which the log tells of once, after so many lines.
async fn is_locked_out(world: &World, told: usize) {
    let refusals = || world.servers.log(0).matches("authentication error").count();
    let before = refusals();
    eventually("it is refused", async || refusals() >= before + 12).await;
    assert!(world.drowse.metric("drowse_nats_link_up", "").await < 0.5);
    let log = world.drowse.log();
    let new: Vec<_> = log.lines().skip(told).filter(|line| line.contains("nats")).collect();
    assert!(new.iter().any(|line| line.contains("do the credentials")), "{new:#?}");
    assert!(new.len() <= 6, "{new:#?}");
}

async fn is_back(world: &World) {
    world.wait_until_open(1).await;
    eventually("it is back", async || world.drowse.metric("drowse_nats_link_up", "").await > 0.5).await;
}
