//! The interoperability tests of gRPC, with the client and the server of gRPC for Go. The server is the agent. Left out is what these
//! two do not pass between themselves (ORCA, `pick_first_unary`), and credentials of other people's clouds.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

use super::{NAME, Start, Way, door};
use crate::support::{Agent, Drowse, program};

const CASES: [&str; 16] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "rpc_soak",
    "channel_soak",
];
/// For one case.
const LIMIT: Duration = Duration::from_mins(1);
const AT_ONCE: usize = 4;

/// Clients find an agent by the host that they call, and not every machine finds hosts of `localhost`. So they are told of
/// this proxy, which takes every host to the front door.
async fn proxy(to: SocketAddr) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        while let Ok((caller, _)) = listener.accept().await {
            tokio::spawn(connect(caller, to));
        }
    };
    (format!("http://{address}"), AbortOnDropHandle::new(tokio::spawn(serve)))
}

async fn connect(mut caller: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(caller.read_u8().await?);
    }
    let mut front = TcpStream::connect(to).await?;
    caller.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut caller, &mut front).await?;
    Ok(())
}

/// Runs one case, and says what is wrong.
async fn case(name: &str, mut client: Command) -> Option<String> {
    // A soak has its own limits, which are for machines that do nothing else.
    let patience =
        ["-soak_per_iteration_max_acceptable_latency_ms", "10000", "-soak_overall_timeout_seconds", "60"];
    let run = client.args(["-test_case", name]).args(patience).kill_on_drop(true).output();
    let Ok(output) = tokio::time::timeout(LIMIT, run).await else {
        return Some(format!("{name}: not done in {LIMIT:?}"));
    };
    let output = output.unwrap();
    (!output.status.success()).then(|| format!("{name}: {}", String::from_utf8_lossy(&output.stderr)))
}

async fn suite(start: Start, way: Way) {
    let (server, client) = (program("grpc-interop-server").await, program("grpc-interop-client").await);
    let mut agent = Agent::demo("echo").with(&["-port", "{port}"]);
    agent.program = Some(server);
    let door = door(way);
    let drowse = Drowse::start_door(&[agent], "idle_timeout: 1h", &door.keys).await;
    let begun = start.begin(&drowse, "echo").await;
    let to = SocketAddr::from(([127, 0, 0, 1], door.port(&drowse)));
    let (proxy, _serving) = proxy(to).await;
    let called = |name: &'static str| {
        let mut client = Command::new(&client);
        client
            .args(["-server_host", NAME, "-server_port", &to.port().to_string()])
            .env("HTTPS_PROXY", &proxy);
        if way == Way::Tls {
            client.args(["-use_tls", "-use_test_ca", "-ca_file", &door.authority()]);
        }
        Box::pin(case(name, client))
    };
    let failed: Vec<_> =
        futures_util::stream::iter(CASES).map(called).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), CASES.len(), failed.join("\n"));
    begun.cost(&drowse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_and_servers_get_along_while_the_agent_is_up() {
    suite(Start::Warm, Way::Clear).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_and_servers_get_along_when_the_agent_sleeps_at_first() {
    suite(Start::Asleep, Way::Clear).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_and_servers_get_along_over_tls_while_the_agent_is_up() {
    suite(Start::Warm, Way::Tls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_and_servers_get_along_over_tls_when_the_agent_sleeps_at_first() {
    suite(Start::Asleep, Way::Tls).await;
}
