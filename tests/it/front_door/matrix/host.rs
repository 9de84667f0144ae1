//! The host: `Host`, the authority of an absolute target, and service names.

use super::{Rule, Then};
use Then::{Reaches, Refused};

pub(super) const RULES: &[Rule] = &[
    Rule(
        "HTTP/1.1 has exactly one `Host`; without one, or with two, even equal ones, it is refused.",
        &[
            ("GET /echo", Refused(400)),
            ("GET /echo\nX-Sandbox-ID: echo", Refused(400)),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nHost: echo.default.agents.localhost",
                Refused(400),
            ),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nHost: other.default.agents.localhost",
                Refused(400),
            ),
            ("GET /echo\nHost: echo.default.agents.localhost\nhOST: r", Refused(400)),
            ("GET http://echo.default.agents.localhost/echo", Refused(400)),
        ],
    ),
    Rule(
        "HTTP/1.0 may leave `Host` out, and an empty one counts as none: then another way names the agent, or nothing does.",
        &[
            ("GET /echo HTTP/1.0", Refused(404)),
            ("GET /echo HTTP/1.0\nX-Sandbox-ID: echo", Reaches("default/echo", &[])),
            ("GET http://echo.default.agents.localhost/echo HTTP/1.0", Reaches("default/echo", &["/echo"])),
            ("GET /echo\nHost:", Refused(404)),
            ("GET /echo\nHost:\nX-Sandbox-ID: echo", Reaches("default/echo", &[])),
        ],
    ),
    Rule(
        "Case means nothing in a host, nor does space around it, nor one dot at its end.",
        &[
            ("GET /echo\nhost: ECHO.Default.agents.LOCALHOST", Reaches("default/echo", &[])),
            ("GET /echo\nHost:  \t echo.default.agents.localhost \t", Reaches("default/echo", &[])),
            ("GET /echo\nHost: echo.default.agents.localhost.", Reaches("default/echo", &[])),
            ("GET /echo\nHost: echo.default.agents.localhost.:80", Reaches("default/echo", &[])),
            ("GET /echo\nHost: Echo.Default.SVC.", Reaches("default/echo", &[])),
        ],
    ),
    Rule(
        "What is no host, or no port, is refused: a list, percent-encoding, user information, other characters.",
        &[
            ("GET /echo\nHost: echo.default.agents.localhost, other.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: echo%2Edefault.agents.localhost", Refused(400)),
            ("GET /echo\nHost: r@echo.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost/x", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost..", Refused(400)),
            ("GET /echo\nHost: .", Refused(400)),
            ("GET /echo\nHost: echo .default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: \u{e9}cho.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: echo\u{1}.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost:0", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost:65536", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost:80:80", Refused(400)),
            ("GET /echo\nHost: [::1", Refused(400)),
            ("GET /echo\nHost: [fe80::1%25eth0]", Refused(400)),
        ],
    ),
    Rule(
        "The port in a `Host` is ours and never the agent's; its own is named by `<port>--` in front.",
        &[
            ("GET /echo\nHost: echo.default.agents.localhost:{other}", Reaches("default/echo", &[])),
            ("GET /echo\nHost: {echo}--echo.default.agents.localhost:1", Reaches("default/echo", &[])),
            ("GET /echo\nHost: echo.default.svc:{other}", Reaches("default/echo", &[])),
        ],
    ),
    Rule(
        "A port that is not the agent's own is refused where all agents share an address.",
        &[
            ("GET /echo\nHost: {other}--echo.default.agents.localhost", Refused(502)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: {other}", Refused(502)),
            ("GET /p/default/echo/{other}/echo\nHost: r", Refused(502)),
        ],
    ),
    Rule(
        "A host below the domain that is not `[<port>--]<agent>.<namespace>` is refused, and not looked for elsewhere.",
        &[
            ("GET /echo\nHost: echo.agents.localhost", Refused(400)),
            ("GET /echo\nHost: a.echo.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: ec_ho.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: -echo.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: 0--echo.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: 080--echo.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: {long}.default.agents.localhost", Refused(400)),
            ("GET /echo\nHost: echo.agents.localhost\nX-Sandbox-ID: echo", Refused(400)),
            ("GET /echo\nHost: echo.svc", Refused(400)),
            ("GET /echo\nHost: a.echo.default.svc", Refused(400)),
        ],
    ),
    Rule(
        "Any other host, and every address, names nobody.",
        &[
            ("GET /echo\nHost: r", Refused(404)),
            ("GET /echo\nHost: agents.localhost", Refused(404)),
            ("GET /echo\nHost: echo.default.agents.localhost.example", Refused(404)),
            ("GET /echo\nHost: echo.default.xagents.localhost", Refused(404)),
            ("GET /echo\nHost: echo.default.svc.example", Refused(404)),
            ("GET /echo\nHost: 127.0.0.1:{echo}", Refused(404)),
            ("GET /echo\nHost: [::1]:{echo}", Refused(404)),
            ("GET /echo\nHost: [::ffff:127.0.0.1]", Refused(404)),
            ("GET /echo\nHost: [::1]:8080\nX-Sandbox-ID: echo", Reaches("default/echo", &[])),
        ],
    ),
    Rule(
        "An agent that is not there gets 404, and 502 if it is named as agent-sandbox's router has it; 503 with `Retry-After` while a replica that has just started does not know all agents yet.",
        &[
            ("GET /echo\nHost: nobody.default.agents.localhost", Refused(404)),
            ("GET /echo\nHost: echo.nowhere.agents.localhost", Refused(404)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: nobody", Refused(502)),
            ("GET /p/default/nobody/80/\nHost: r", Refused(502)),
        ],
    ),
    Rule(
        "An absolute target is an http URL, and its host and port are those of `Host`.",
        &[
            (
                "GET http://Echo.default.agents.localhost:80/echo?a\nHost: echo.default.agents.localhost",
                Reaches("default/echo", &["/echo?a"]),
            ),
            (
                "GET http://echo.default.agents.localhost/echo\nHost: other.default.agents.localhost",
                Refused(400),
            ),
            ("GET http://r/echo\nHost: echo.default.agents.localhost", Refused(400)),
            ("GET http://echo.default.agents.localhost/echo\nHost:", Refused(400)),
            (
                "GET http://echo.default.agents.localhost:81/echo\nHost: echo.default.agents.localhost",
                Refused(400),
            ),
            (
                "GET http://a@echo.default.agents.localhost/echo\nHost: echo.default.agents.localhost",
                Refused(400),
            ),
            (
                "GET ftp://echo.default.agents.localhost/echo\nHost: echo.default.agents.localhost",
                Refused(400),
            ),
            ("GET http://127.0.0.1:{echo}/echo\nHost: 127.0.0.1:{echo}", Refused(404)),
        ],
    ),
    Rule(
        "Any other target that does not begin with `/` is refused.",
        &[
            ("OPTIONS *\nHost: echo.default.agents.localhost", Refused(400)),
            ("GET echo.default.agents.localhost:80\nHost: echo.default.agents.localhost", Refused(400)),
            ("GET echo\nHost: echo.default.agents.localhost", Refused(400)),
            (
                "CONNECT echo.default.agents.localhost:80\nHost: echo.default.agents.localhost:80",
                Refused(405),
            ),
        ],
    ),
    Rule(
        "`drowse.<domain>` is Drowse itself, with no `X-Sandbox` field.",
        &[
            ("GET /echo\nHost: drowse.agents.localhost", Refused(404)),
            ("GET /p/default/echo/{echo}/echo\nHost: Drowse.agents.localhost.", Refused(404)),
            ("GET /echo\nHost: drowse.agents.localhost\nX-Sandbox-ID: echo", Refused(400)),
        ],
    ),
    Rule(
        "`GET /healthz` for `drowse.<domain>`, or for a host that names no agent, is answered by Drowse while it lives, whoever asks.",
        &[
            ("GET /healthz\nHost: drowse.agents.localhost", Refused(200)),
            ("GET /healthz\nHost: r", Refused(200)),
            ("GET /echo\nHost: r", Refused(404)),
        ],
    ),
    Rule(
        "`Host` reaches the agent as it was sent, unless the agent is named as the router has it: then it is the agent's address.",
        &[
            (
                "GET /echo\nHost: ECHO.default.agents.localhost:81",
                Reaches("default/echo", &["host: ECHO.default.agents.localhost:81"]),
            ),
            (
                "GET /echo\nHost: r:81\nX-Sandbox-ID: echo",
                Reaches("default/echo", &["host: 127.0.0.1:{echo}"]),
            ),
            (
                "GET /p/default/echo/{echo}/echo\nHost: r:81",
                Reaches("default/echo", &["host: 127.0.0.1:{echo}"]),
            ),
        ],
    ),
    Rule(
        "Service names are hosts like any other, with `.svc` or `.svc.<cluster domain>` at their end.",
        &[
            ("GET /echo\nHost: echo.default.svc", Reaches("default/echo", &[])),
            ("GET /echo\nHost: echo.team.svc.cluster.local:80", Reaches("team/echo", &[])),
        ],
    ),
];
