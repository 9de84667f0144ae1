//! Whole configuration files: good ones, and every way in which one is refused.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::agent::AgentKey;
use crate::backend::Profile;

const MINIMAL: &str = "backend:\n  process: {}\n";

const FULL: &str = "\
backend:
  process:
    state_dir: state
    stop_grace: 2s
    agents:
      - name: echo
        command: [drowse, demo-agent, --port, \"{port}\"]
        port: 9101
      - name: relay
        namespace: prod
        command: [./bin/agent, -v]
        port: 9102
        env: {LISTEN: \"127.0.0.1:{port}\", LEVEL: 1.10}
        working_dir: /var/lib/relay
        labels: {tier: 007}
        annotations: {drowse.dev/idle-timeout: 9s}
front_door:
  listen: 127.0.0.1:0
  domain: Agents.Example
  find_by: [host, path, service]
  path_prefix: /agents
  max_head: 16KiB
  drain_timeout: 0s
admin: {listen: \"0.0.0.0:9090\", token_file: token}
limits: {held: 5, held_body: 1KiB}
suspend: off
defaults:
  allow_annotations: true
  idle_timeout: 1m 30s
rules:
  - match: {namespace: prod, name: \"re*\", labels: {tier: 007}}
    max_in_flight: 1
  - manage: false
telemetry: {log: {level: \"warn,drowse=debug\", format: json}}
";

fn good(text: &str) -> Config {
    parse(text, Path::new("/etc/drowse/drowse.yaml")).unwrap_or_else(|error| panic!("{error}"))
}

/// Each problem as `line:column key: message`.
fn problems(text: &str) -> Vec<String> {
    let error = parse(text, Path::new("/etc/drowse/drowse.yaml")).expect_err(text);
    let print = |p: &Problem| format!("{}:{} {}: {}", p.at.line, p.at.column, p.key, p.message);
    error.problems().iter().map(print).collect()
}

fn with_agents(agents: &str) -> String {
    format!("backend:\n  process:\n    agents:\n{agents}")
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = good(MINIMAL);
    let Backend::Process(process) = &config.backend else { panic!() };
    assert_eq!(process.state_dir, PathBuf::from("/etc/drowse/.drowse"));
    assert_eq!((process.stop_grace, process.agents.len()), (Duration::from_secs(5), 0));
    assert_eq!(config.front_door.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.front_door.find_by, [FindBy::Header, FindBy::Host]);
    assert_eq!(config.front_door.idle_connection_timeout, Duration::from_mins(2));
    assert_eq!((config.held_body_bytes, config.limits.held_body_bytes), (64 << 10, 256 << 20));
    assert!(config.suspend);
    let resolved = config.rules.resolve(&AgentKey::new("default", "echo"), &Profile::default());
    assert_eq!(resolved.policy, resolve::built_in(false));
}

#[test]
fn a_full_file_is_read_to_the_last_key() {
    let config = good(FULL);
    let Backend::Process(process) = &config.backend else { panic!() };
    let [echo, relay] = &process.agents[..] else { panic!("{process:?}") };
    assert_eq!(
        (echo.program.clone(), &echo.args[..]),
        (Program::ThisProgram, &["demo-agent", "--port", "9101"].map(str::to_owned)[..])
    );
    assert_eq!(echo.working_dir, PathBuf::from("/etc/drowse/state/default/echo"));
    assert_eq!(relay.program, Program::Named("/etc/drowse/./bin/agent".into()));
    assert_eq!(relay.env["LISTEN"], "127.0.0.1:9102");
    assert_eq!(relay.env["LEVEL"], "1.10");
    assert_eq!(relay.working_dir, PathBuf::from("/var/lib/relay"));
    assert_eq!(relay.annotations["idle-timeout"], "9s");
    assert_eq!(config.front_door.domain, "agents.example");
    assert_eq!(config.front_door.path_prefix.as_deref(), Some("/agents"));
    assert_eq!(config.admin.token_file, Some(PathBuf::from("/etc/drowse/token")));
    assert_eq!(config.limits.held, 5);
    assert_eq!(config.log.format, LogFormat::Json);
    let profile = Profile {
        labels: (&relay.labels).into(),
        annotations: (&relay.annotations).into(),
        port: Some(relay.port),
        only_port: true,
        hands_off: None,
    };
    let resolved = config.rules.resolve(&relay.key, &profile);
    let from: Vec<_> =
        resolved.provenance.iter().map(|o| format!("{}={} {}", o.key, o.value, o.from)).collect();
    assert_eq!(from[1], "manage=false rules[1] (line 33)");
    assert_eq!(from[2], "idle_timeout=9s annotation drowse.dev/idle-timeout");
    assert_eq!(from[7], "max_in_flight=1 rules[0] (line 31)");
    assert!(!resolved.policy.suspend);
    let echo = config.rules.resolve(&echo.key, &Profile::default());
    assert_eq!((echo.policy.idle_timeout, echo.policy.max_in_flight), (Duration::from_secs(90), None));
}

#[test]
fn a_file_without_content_says_what_it_needs() {
    for text in ["", "\n", "# nothing\n", "---\n"] {
        assert!(
            problems(text)[0].ends_with("write at least backend: with process: or kubernetes: below"),
            "{text:?}"
        );
    }
    assert_eq!(problems("suspend: on\n"), ["1:1 : the key backend is missing; write backend: … here"]);
    let advice = "no kind of backend is named; write process: with a list of agents below, or kubernetes: {}";
    assert_eq!(problems("backend: {}\n"), [format!("1:1 backend: {advice}")]);
    assert_eq!(problems("backend: {process: }\n"), [format!("1:11 backend.process: {advice}")]);
}

#[test]
fn all_mistakes_of_a_file_are_reported_together() {
    let text = "\
backend:
  process:
    agents:
      - {name: Echo, command: [x], port: 1}
      - {name: a, command: [], port: 8080}
      - {name: b, command: [x], port: 9, env: {\"A=B\": c}, annotations: {team: x}}
      - {name: b, command: [x], port: 9, annotations: {drowse.dev/idle-timout: 5m}}
front_door:
  listen: :8080
  find_by: [path, path]
  idel_timeout: 5m
admin:
  listen: 0.0.0.0:8081
suspend: perhaps
defaults:
  idle_timeout: 30
rules:
  - match: {name: Bad}
    max_held: 0
";
    assert_eq!(
        problems(text),
        [
            "4:16 backend.process.agents[0].name: \"Echo\" does not fit into a host name; write at most 63 lower-case letters, digits and -, such as echo",
            "5:19 backend.process.agents[1].command: there is no program; write a list such as [my-agent, --port, \"{port}\"]",
            "6:55 backend.process.agents[2].env.A=B: \"A=B\" cannot be an environment variable; write NAME: value",
            "6:79 backend.process.agents[2].annotations.team: \"team\" is not for Drowse; write drowse.dev/<rule-key>, such as drowse.dev/idle-timeout",
            "7:16 backend.process.agents[3].name: default/b stands here a second time (first in line 6); write another name",
            "7:39 backend.process.agents[3].port: port 9 is taken by the agent default/b; write another port",
            "7:80 backend.process.agents[3].annotations.drowse.dev/idle-timout: annotation drowse.dev/idle-timout is not known; write drowse.dev/idle-timeout",
            "9:11 front_door.listen: \":8080\" is no address to listen on; write 0.0.0.0:8080 for every interface, or 127.0.0.1:8080",
            "10:3 front_door.find_by: path needs a prefix; write path_prefix: /agents below front_door",
            "10:19 front_door.find_by[1]: this way stands here a second time; write it once",
            "11:3 front_door: the key \"idel_timeout\" is not known; write one of listen, tls, domain, auth, token_review, find_by, path_prefix, cluster_domain, head_timeout, idle_connection_timeout, max_head, max_connections, max_streams, shutdown_delay, drain_timeout",
            "13:11 admin.listen: 0.0.0.0:8081 is taken by health.listen; write another port",
            "13:11 admin.listen: 0.0.0.0:8081 can be reached from other machines; write token_file: <file with a token> below admin, or listen on 127.0.0.1:8081",
            "14:10 suspend: \"perhaps\" is neither on nor off; write on or off",
            "16:17 defaults.idle_timeout: \"30\" has no unit; write 30s, or 30m for minutes",
            "18:19 rules[0].match.name: \"Bad\" fits no name; write lower-case letters, digits, - and *, such as \"worker-*\"",
            "19:15 rules[0].max_held: \"0\" does not fit; write a whole number from 1 to 4294967295",
        ]
    );
}

#[test]
fn windows_that_cannot_be_are_refused_where_they_stand() {
    let good_one = "0 8 * * mon-fri for 10h Europe/Berlin";
    let many = format!("[{}]", [good_one; 17].join(", "));
    let text = format!(
        "{MINIMAL}defaults:
  keep_awake:
    - {good_one}
    - 0 8 * * mon-fri for 10h Europe/Berlim
    - \"* 8 31 nov * for 10h UTC\"
rules:
  - keep_awake: {many}
  - keep_awake: {good_one}
"
    );
    assert_eq!(
        problems(&text),
        [
            "6:7 defaults.keep_awake[1]: \"Europe/Berlim\" is not the name of a time zone; write Europe/Berlin",
            "7:7 defaults.keep_awake[2]: \"* 8 31 nov *\" never comes: its months have no such day; write a day that one of them has, such as 28",
            "9:17 rules[0].keep_awake: 17 windows are too many; write at most 16",
            "10:17 rules[1].keep_awake: this is \"0 8 * * mon-fri for 10h Europe/Berlin\"; write a list: [a, b]",
        ]
    );
    let config = good(&format!("{MINIMAL}defaults: {{keep_awake: [\"{good_one}\"]}}\n"));
    let policy = config.rules.resolve(&AgentKey::new("default", "echo"), &Profile::default()).policy;
    assert_eq!(policy.keep_awake.to_string(), format!("[\"{good_one}\"]"));
}

#[test]
fn ports_are_used_once() {
    let agent = |name: &str, port: u16| format!("      - {{name: {name}, command: [x], port: {port}}}\n");
    let text = with_agents(&(agent("a", 8080) + &agent("b", 7) + &agent("c", 7)));
    assert_eq!(
        problems(&text),
        [
            "4:39 backend.process.agents[0].port: port 8080 is taken by front_door.listen; write another port",
            "6:39 backend.process.agents[2].port: port 7 is taken by the agent default/b; write another port",
        ]
    );
    good(&format!("{MINIMAL}front_door: {{listen: 127.0.0.1:0}}\nadmin: {{listen: 127.0.0.1:0}}\n"));
}

#[test]
fn bounds_that_contradict_each_other_are_refused() {
    let both = format!("{MINIMAL}limits: {{held_body: 2MiB, held_body_total: 1MiB}}\n");
    assert_eq!(
        problems(&both),
        ["3:44 limits.held_body_total: 1MiB for all is less than held_body for one; write at least 2MiB"]
    );
    for head in ["4KiB", "2MiB"] {
        assert!(
            problems(&format!("{MINIMAL}front_door: {{max_head: {head}}}\n"))[0]
                .contains("write a size from 8KiB to 1MiB")
        );
    }
    let useless = format!("{MINIMAL}front_door: {{path_prefix: /a}}\n");
    assert!(problems(&useless)[0].contains("write path into find_by"));
}

#[test]
fn the_error_is_printed_with_file_line_and_mark() {
    let error = parse("backend: {process: {}}\nfront_dor: {}\n", Path::new("config/my.yaml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "config/my.yaml:2:1: the key \"front_dor\" is not known; write front_door\n    2 | front_dor: {}\n      | ^"
    );
}

#[test]
fn files_that_cannot_be_read_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drowse.yaml");
    assert!(load(&path).unwrap_err().to_string().contains("cannot be read"));
    assert!(load(dir.path()).unwrap_err().to_string().contains("it is a folder"));
    std::fs::write(&path, b"a: 1\nb: \xff\n").unwrap();
    assert!(
        load(&path)
            .unwrap_err()
            .to_string()
            .ends_with("drowse.yaml:2:4: this is not UTF-8; write the file in UTF-8")
    );
    std::fs::write(&path, vec![b'#'; 3 << 20]).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("write a smaller one"));
    std::fs::write(&path, "\u{feff}backend: {process: {}}\r\n").unwrap();
    assert_eq!(load(&path).unwrap().path, path);
}

#[test]
fn every_file_that_comes_with_drowse_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let yaml: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    assert!(yaml.len() >= 2, "{yaml:?}");
    for path in yaml {
        load(&path).unwrap_or_else(|error| panic!("{error}"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema="), "{}", path.display());
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstream/drowse.yaml");
    load(&beside).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_large_file_full_of_mistakes_is_answered_and_so_is_a_large_good_one() {
    let agent = |i: usize, port| format!("      - {{name: a{i}, command: [x], port: {port}}}\n");
    let many: String = (0..9_000).map(|i| agent(i, i + 20_000)).collect();
    let Backend::Process(process) = good(&with_agents(&many)).backend else { panic!() };
    assert_eq!(process.agents.len(), 9_000);
    let bad: String = (0..9_000).map(|i| agent(i, 0)).collect();
    assert_eq!(problems(&with_agents(&bad)).len(), Problems::MOST);
}

/// Every answer is a configuration, or an error whose problems all say what to write.
fn answers(bytes: &[u8]) -> Result<(), TestCaseError> {
    match parse_bytes(bytes, Path::new("x")) {
        Ok(_) => {}
        Err(error) => {
            prop_assert!(!error.problems().is_empty() && error.problems().len() <= Problems::MOST);
            for problem in error.problems() {
                prop_assert!(problem.message.contains("; write "), "{error}");
            }
        }
    }
    Ok(())
}

/// Pieces that YAML or the configuration treats specially.
const PIECES: [&str; 20] = [
    "\t",
    "\n",
    "\0",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: *a\n",
    "{",
    "]",
    "\"",
    "'",
    "---\n",
    "!!int ",
    "~",
    "|\n",
    "? ",
    "99999999999999999999",
    "\u{feff}",
    "{port}",
];

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        answers(&bytes)?;
    }

    #[test]
    fn any_mix_of_yaml_pieces_is_answered(picks in prop::collection::vec(0..PIECES.len(), 0..60)) {
        let text: String = picks.into_iter().map(|pick| PIECES[pick]).collect();
        answers(text.as_bytes())?;
    }

    #[test]
    fn a_good_file_with_slips_is_answered(slips in prop::collection::vec((0..FULL.len(), 0..8_usize, 0..PIECES.len()), 1..6)) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (at, cut, piece) in slips {
            let at = at.min(bytes.len());
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, PIECES[piece].bytes());
        }
        answers(&bytes)?;
    }

    #[test]
    fn a_good_file_cut_anywhere_is_answered(end in 0..FULL.len()) {
        answers(&FULL.as_bytes()[..end])?;
    }
}

#[test]
fn the_commented_file_changes_no_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/drowse.yaml");
    let shown = load(&path).unwrap();
    let bare = parse(MINIMAL, &path).unwrap();
    let of =
        |config: &Config| config.rules.resolve(&AgentKey::new("default", "echo"), &Profile::default()).policy;
    assert_eq!(of(&shown), of(&bare));
    assert_eq!(Config { rules: bare.rules.clone(), ..shown }, bare);
}

#[test]
fn the_section_nats_is_read_and_its_mistakes_are_told() {
    let with = |nats: &str, more: &str| format!("{MINIMAL}\nnats: {{{nats}}}\n{more}");
    let config = good(&with(
        "servers: [\"nats://a\", \"tls://b:4333\"], client: {user: drowse, password_file: secret}, hold: {replicas: 3}",
        "defaults: {messages: micro, ready: messages}",
    ));
    let nats = config.nats.unwrap();
    let shown =
        |all: &[crate::nats::address::ServerAddress]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&nats.servers), ["a:4222", "b:4333"]);
    assert_eq!(shown(&nats.leaf_servers), ["a:7422", "b:7422"], "the same hosts");
    assert!(nats.leaf_servers[1].tls && nats.client == nats.leaf, "{nats:?}");
    assert_eq!((nats.hold.replicas, nats.hold.timeout), (3, Duration::from_mins(5)));
    for (nats, words) in [
        ("servers: []", "no server is named"),
        ("servers: [\"http://a\"]", "unknown scheme"),
        ("servers: [\"nats://u:p@a\"]", "password_file"),
        ("servers: [a], client: {user: u}", "needs a password"),
        ("servers: [a], client: {password_file: f}", "needs a user"),
        ("servers: [a], leaf: {token_file: f, nkey_file: g}", "another kind"),
        ("servers: [a], tls: {cert_file: f}", "needs its key"),
        ("servers: [a], hold: {replicas: 7}", "from 1 to 5"),
        ("servers: [a], hold: {stream: a.b}", "no name of a stream"),
    ] {
        let found = problems(&with(nats, "")).join("\n");
        assert!(found.contains(words), "{nats}: {found}");
    }
}

#[test]
fn rules_about_messages_need_the_section_nats() {
    for keys in ["defaults: {messages: subject}", "rules: [{ready: messages}]"] {
        let found = problems(&format!("{MINIMAL}\n{keys}")).join("\n");
        assert!(found.contains("needs the section nats"), "{keys}: {found}");
    }
    good(&format!("{MINIMAL}\ndefaults: {{messages: \"off\", ready: port}}"));
}

#[test]
fn an_agent_is_stopped_unless_it_says_freeze_and_is_probed_where_it_says() {
    let config = good(&with_agents(
        "      - {name: a, command: [x], port: 1}\n      - {name: b, command: [x], port: 2, suspend: freeze, probe: /ready}\n",
    ));
    let Backend::Process(process) = config.backend else { panic!() };
    let says: Vec<_> = process.agents.iter().map(|agent| (agent.suspend, agent.probe.as_deref())).collect();
    assert_eq!(says, [(Suspend::Stop, None), (Suspend::Freeze, Some("/ready"))]);
    let found =
        problems(&with_agents("      - {name: a, command: [x], port: 1, suspend: sleep, probe: ready}\n"));
    assert!(found[0].contains("stop") && found[1].contains("write one such as /healthz"), "{found:?}");
}

#[test]
fn an_agent_with_messages_cannot_be_frozen_whichever_rule_gives_it_them() {
    let nats = "nats: {servers: [\"nats://a\"]}\n";
    let agent = "      - {name: a, command: [x], port: 1, suspend: freeze, annotations: {drowse.dev/messages: subject}}\n";
    let with = |rules: &str| with_agents(agent) + nats + rules;
    for rules in [
        "defaults: {messages: micro}\n",
        "defaults: {ready: messages}\n",
        "rules: [{match: {name: a}, messages: subject}]\n",
        "defaults: {allow_annotations: true}\n",
    ] {
        let found = problems(&with(rules)).join("\n");
        assert!(found.contains("backend.process.agents[0].suspend: a frozen agent"), "{rules}: {found}");
    }
    good(&with("rules: [{match: {name: b}, messages: subject}]\n"));
}

#[test]
fn callers_are_taken_for_a_while_after_the_end_began_where_nodes_have_to_hear_of_it() {
    let delay = |text: &str| good(text).front_door.shutdown_delay;
    assert_eq!(delay(MINIMAL), Duration::ZERO);
    assert_eq!(delay(&format!("{MINIMAL}front_door: {{shutdown_delay: 2s}}\n")), Duration::from_secs(2));
    let on_cluster =
        |keys: &str| format!("backend: {{kubernetes: {{}}}}\nfront_door: {{auth: none{keys}}}\n");
    assert_eq!(delay(&on_cluster("")), Duration::from_secs(5));
    assert_eq!(delay(&on_cluster(", shutdown_delay: 0s")), Duration::ZERO);
}

#[test]
fn who_may_wait_longer_than_the_drain_lasts_is_warned_of() {
    assert_eq!(good(MINIMAL).warnings(), [""; 0], "the defaults fit each other");
    let short = good(&format!("{MINIMAL}front_door: {{drain_timeout: 30s}}\n")).warnings();
    let warning = |rest: &str| {
        format!(
            "front_door.drain_timeout: 30s is less than hold_timeout, {rest}, so that callers who wait for an agent when \
             Drowse ends may be refused; write "
        )
    };
    assert_eq!(short, [warning("55s (built in)") + "55s or more"]);
    let defaults = format!(
        "{MINIMAL}front_door: {{drain_timeout: 30s}}\ndefaults: {{hold_timeout: 30s}}\nrules:\n  - {{match: {{name: a}}, hold_timeout: 20s}}\n"
    );
    assert_eq!(good(&defaults).warnings(), [""; 0], "what is built in does not hold for anybody");
    let longer = format!("{defaults}  - {{match: {{name: b}}, hold_timeout: 2m}}\n");
    assert_eq!(good(&longer).warnings(), [warning("2m (rules[1] (line 7))") + "2m or more"]);
}
