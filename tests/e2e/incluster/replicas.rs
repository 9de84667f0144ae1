//! Three replicas of Drowse that agree on every suspension.

use std::net::SocketAddr;

use async_nats::{Client, ConnectOptions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::http::{Answer, Call};
use super::installation::Installation;
use super::kubectl::{eventually, get, is};
use super::nats::Nats;
use super::sandbox::{Namespace, Sandbox};

/// One replica.
struct Replica {
    pod: String,
    address: SocketAddr,
}

impl Replica {
    /// All that are ready.
    fn all(drowse: &Installation) -> Vec<Self> {
        let ready = drowse.pods().into_iter().filter(|pod| is(pod, "Ready"));
        ready
            .map(|pod| Self {
                pod: pod["metadata"]["name"].as_str().unwrap().to_owned(),
                address: SocketAddr::new(pod["status"]["podIP"].as_str().unwrap().parse().unwrap(), 8080),
            })
            .collect()
    }

    fn call(&self, agent: &Sandbox, path: &str) -> Call {
        let host = format!("{}.{}.agents.test", agent.name, agent.namespace);
        Call::new(self.address, path, &[("Host", &host)])
    }

    fn get(&self, agent: &Sandbox, path: &str) -> Answer {
        let answer = self.call(agent, path).answer();
        assert_eq!(answer.status, 200, "{}: {answer:?}", self.pod);
        answer
    }

    fn explain(&self, drowse: &Installation, agent: &Sandbox) -> String {
        drowse.drowse(&["exec", &self.pod, "--", "/drowse", "explain", &agent.key()])
    }

    /// Its process, which this machine sees as it sees all of the cluster.
    fn process(&self) -> Pid {
        let mine = format!("POD_NAME={}", self.pod);
        let is_mine = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mine.as_bytes())
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Pid::from_raw(pids.into_iter().find(is_mine).expect("its process")).unwrap()
    }
}

/// The pod that leads.
fn leader() -> String {
    eventually("somebody leads", || {
        let lease = get("drowse-system", "lease/drowse")?;
        let holder = lease["spec"]["holderIdentity"].as_str()?.to_owned();
        Some(holder.rsplit_once('_')?.0.to_owned())
    })
}

/// The pods that take part.
fn members() -> Vec<String> {
    let lease = get("drowse-system", "lease/drowse").expect("the Lease");
    let annotations = lease["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let members = annotations.iter().filter(|(key, _)| key.starts_with("drowse.dev/replica-"));
    let pod = |member: &serde_json::Value| member.as_str().unwrap().split(' ').next().unwrap().to_owned();
    let mut members: Vec<_> = members.map(|(_, member)| pod(member)).collect();
    members.sort();
    members
}

fn generation(agent: &Sandbox) -> u64 {
    agent.object()["metadata"]["generation"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_suspend_what_is_idle_by_way_of_all_of_them_and_each_wakes_it() {
    let space = Namespace::new("agree");
    let _nats = Nats::start().await;
    let drowse = Installation::of("ha-messages");
    let replicas = Replica::all(&drowse);
    let mut pods: Vec<_> = replicas.iter().map(|replica| replica.pod.clone()).collect();
    pods.sort();
    assert_eq!((pods.len(), members()), (3, pods));

    let agent = space.agent("shared");
    agent.wait_until_asleep();
    for replica in &replicas {
        assert_eq!(replica.get(&agent, "/").header("drowse-start"), "cold");
        for other in replicas.iter().filter(|other| other.pod != replica.pod) {
            assert_eq!(other.get(&agent, "/").status, 200);
        }
        agent.wait_until_asleep();
    }

    // A request that takes much longer than the idle timeout, by way of a replica that does not lead: nobody else knows of it.
    let leads = leader();
    let follower = replicas.iter().find(|replica| replica.pod != leads).unwrap();
    follower.get(&agent, "/");
    let before = generation(&agent);
    let slow = follower.call(&agent, "/slow?for=12s");
    // But all are told, and each says where it is.
    let shown = format!("1 request in flight at {}", follower.pod);
    for other in replicas.iter().filter(|other| other.pod != follower.pod) {
        eventually(&format!("{} shows it", other.pod), || {
            let explained = other.explain(&drowse, &agent);
            (explained.contains(&shown) && explained.contains(&format!("{}: 1 in flight", follower.pod)))
                .then_some(())
        });
    }
    assert_eq!(slow.answer().status, 200);
    assert_eq!(generation(&agent), before, "it was suspended under a request");
    agent.wait_until_asleep();
    let told =
        replicas.iter().filter(|replica| replica.explain(&drowse, &agent).contains("suspended by Drowse"));
    assert_eq!(told.count(), 3);
    drowse.assert_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_or_leaves_is_replaced_and_meanwhile_agents_are_woken() {
    let space = Namespace::new("leader");
    let _nats = Nats::start().await;
    let drowse = Installation::of("ha-messages");
    let agent = space.agent("led");
    agent.wait_until_asleep();

    let replicas = Replica::all(&drowse);
    let leads = leader();
    let killed = replicas.iter().find(|replica| replica.pod == leads).unwrap();
    kill_process(killed.process(), Signal::KILL).unwrap();
    let others: Vec<_> = replicas.iter().filter(|replica| replica.pod != leads).collect();
    assert_eq!(others[0].get(&agent, "/").header("drowse-start"), "cold");
    assert_eq!(others[1].get(&agent, "/").status, 200);
    // The one that was killed takes part anew in the same pod, and has to be asked.
    agent.wait_until_asleep();
    assert_eq!(members().len(), 3);

    drowse.drowse(&["delete", "pod", &leader(), "--wait=false"]);
    let gone = leads;
    eventually("another leads, and a new replica takes part", || {
        drowse.wait_until_rolled_out();
        (members().len() == 3 && Replica::all(&drowse).len() == 3).then_some(())
    });
    println!("{gone} was replaced by {}", leader());
    assert_eq!(drowse.get(&agent, "/").header("drowse-start"), "cold");
    agent.wait_until_asleep();
}

/// A holder of leases, over NATS: the server gives each of its orders to one replica, by chance.
struct Holder(Client);

impl Holder {
    async fn connect() -> Self {
        let service = get("nats", "service/nats").expect("the Service");
        let address = format!("{}:4222", service["spec"]["clusterIP"].as_str().unwrap());
        let options = ConnectOptions::with_user_and_password("e2e".to_owned(), "secretOfE2e".to_owned());
        Self(options.connect(address).await.unwrap())
    }

    async fn order(&self, agent: &Sandbox, action: &str) -> Value {
        let subject = format!("drowse.lease.{}.{}", agent.namespace, agent.name);
        let order = json!({"action": action, "id": "job", "reason": "at work", "ttl": "10m"});
        let answer = self.0.request(subject, order.to_string().into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer["error"].is_null(), "{action}: {answer}");
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_known_to_all_replicas_and_outlives_the_one_that_gave_it() {
    let space = Namespace::new("shared-lease");
    let _nats = Nats::start().await;
    let drowse = Installation::of("ha-messages");
    let replicas = Replica::all(&drowse);
    let agent = space.agent("leased");
    let holder = Holder::connect().await;
    drowse.get(&agent, "/");
    holder.order(&agent, "take").await;
    let all_show = |shows: bool, replicas: &[Replica]| {
        for replica in replicas {
            let what = format!("{} shows the lease: {shows}", replica.pod);
            eventually(&what, || {
                (replica.explain(&drowse, &agent).contains("at work") == shows).then_some(())
            });
        }
    };
    all_show(true, &replicas);
    // Whichever replica gets the order knows the lease.
    for _ in 0..12 {
        holder.order(&agent, "renew").await;
    }
    // Each of them goes once, and so does the one that carried out the last order.
    drowse.drowse(&["rollout", "restart", "deployment/drowse"]);
    drowse.wait_until_rolled_out();
    let replicas = Replica::all(&drowse);
    assert_eq!(replicas.len(), 3);
    all_show(true, &replicas);
    assert_eq!(agent.object()["spec"]["operatingMode"], "Running", "it keeps the agent up");
    holder.order(&agent, "end").await;
    all_show(false, &replicas);
    agent.wait_until_asleep();
}
