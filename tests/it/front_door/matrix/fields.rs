//! The fields of agent-sandbox's router.

use super::{Rule, Then};
use Then::{Reaches, Refused};

pub(super) const RULES: &[Rule] = &[
    Rule(
        "`X-Sandbox-ID` names the agent, `X-Sandbox-Namespace` its namespace (else `default`), `X-Sandbox-Port` its port.",
        &[
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo", Reaches("default/echo", &["x-sandbox-id: echo"])),
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: team\nX-Sandbox-Port: {team}",
                Reaches("team/echo", &["x-sandbox-namespace: team", "x-sandbox-port: {team}"]),
            ),
        ],
    ),
    Rule(
        "Without an `X-Sandbox-ID` the other `X-Sandbox` fields name nobody, and an empty field counts as absent.",
        &[
            ("GET /echo\nHost: r\nX-Sandbox-ID:", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-Namespace: team", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-Pod-IP: 127.0.0.1\nX-Sandbox-Port: {echo}", Refused(400)),
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Namespace:\nX-Sandbox-Port:\nX-Sandbox-UID:\nX-Sandbox-Pod-IP:",
                Reaches("default/echo", &[]),
            ),
            (
                "GET /echo\nHost: echo.team.agents.localhost\nX-Sandbox-Namespace: default",
                Reaches("team/echo", &[]),
            ),
        ],
    ),
    Rule(
        "`X-Sandbox-ID`, `-Namespace`, `-Port`, `-UID` and `-Pod-IP` reach only an agent that `X-Sandbox-ID` has named.",
        &[
            (
                "GET /echo\nHost: echo.default.agents.localhost\nX-Sandbox-Namespace: team\nX-Sandbox-Port: {other}",
                Reaches("default/echo", &["!x-sandbox-namespace", "!x-sandbox-port"]),
            ),
            (
                "GET /p/default/echo/{echo}/echo\nHost: r\nX-Sandbox-UID: a\nX-Sandbox-Pod-IP: 10.0.0.1",
                Reaches("default/echo", &["!x-sandbox-uid", "!x-sandbox-pod-ip"]),
            ),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nX-Sandbox-ID:",
                Reaches("default/echo", &["!x-sandbox-id"]),
            ),
        ],
    ),
    Rule(
        "Case means nothing in a field's name, and does in its value; space around a value means nothing.",
        &[
            ("GET /echo\nHost: r\nx-sANDBOX-iD: echo", Reaches("default/echo", &[])),
            ("GET /echo\nHost: r\nX-Sandbox-ID:\t echo \t", Reaches("default/echo", &[])),
            ("GET /echo\nHost: r\nX-Sandbox-ID: Echo", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: Team", Refused(400)),
        ],
    ),
    Rule(
        "A field of these that is given twice is refused, even if both are equal; only `X-Sandbox-Pod-IP` may be.",
        &[
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-ID: echo", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nx-sandbox-id: other", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID:\nX-Sandbox-ID: echo", Refused(400)),
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: team\nX-Sandbox-Namespace: default",
                Refused(400),
            ),
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: {echo}\nX-Sandbox-Port: {echo}",
                Refused(400),
            ),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-UID: a\nX-Sandbox-UID: b", Refused(400)),
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 10.0.0.1\nX-Sandbox-Pod-IP: 10.0.0.2",
                Reaches("default/echo", &[]),
            ),
        ],
    ),
    Rule(
        "A name that is no DNS label is refused: a list, a dot, percent-encoding, more than 63 characters, other characters.",
        &[
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo, other", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo,", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo.", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo.team", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: %65cho", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: ../other", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: ec_ho", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: ec ho", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: [::1]", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: \"echo\"", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: \u{e9}cho", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\u{0}", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: {long}", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: team/x", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: te%61m", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: {long}", Refused(400)),
        ],
    ),
    Rule(
        "`X-Sandbox-Port` is a number from 1 to 65535, with a sign or zeros in front as agent-sandbox's router reads it.",
        &[
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: +0{echo}",
                Reaches("default/echo", &[]),
            ),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: 0", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: -{echo}", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: 65536", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: 0x1F90", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: {echo}, {echo}", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: http", Refused(400)),
        ],
    ),
    Rule(
        "`X-Sandbox-UID` is the uid of that very object, or the request reaches nobody.",
        &[
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-UID: another", Refused(502)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-UID: \u{e9}", Refused(502)),
        ],
    ),
    Rule(
        "`X-Sandbox-Pod-IP` is never dialled, and is refused where it is no address, or one that no pod has.",
        &[
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 192.0.2.1",
                Reaches("default/echo", &[]),
            ),
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 2001:db8::1",
                Reaches("default/echo", &[]),
            ),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 169.254.169.254", Refused(400)),
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: ::ffff:169.254.169.254",
                Refused(400),
            ),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: [::1]", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 127.0.0.1:{other}", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: localhost", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 10.0.0.1, 10.0.0.2", Refused(400)),
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod-IP: 10.0.0.1\nX-Sandbox-Pod-IP: 0.0.0.0",
                Refused(400),
            ),
        ],
    ),
    // That it shortens the wait: `hold`.
    Rule(
        "`X-Sandbox-Timeout`, a number of seconds, with `X-Sandbox-ID`: shortens how long its caller is held, and lengthens nothing.",
        &[(
            "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Timeout: 30",
            Reaches("default/echo", &["x-sandbox-timeout: 30"]),
        )],
    ),
    Rule(
        "`X-Sandbox-Timeout` that is no number of seconds, and any other `X-Sandbox` field, means nothing and passes.",
        &[
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Timeout: soon\nX-Sandbox-Other: 1",
                Reaches("default/echo", &["x-sandbox-timeout: soon", "x-sandbox-other: 1"]),
            ),
            ("GET /echo\nHost: r\nX-Sandbox-Timeout: 5", Refused(404)),
        ],
    ),
    Rule(
        "Spelled with another mark for a hyphen (`X_Sandbox_ID`), they are refused, and so are `Content_Length` and `Transfer_Encoding`.",
        &[
            ("GET /echo\nHost: echo.default.agents.localhost\nX_Sandbox_ID: echo", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX_Sandbox_ID: other", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox_Namespace: team", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nx_sandbox_port: {other}", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX.Sandbox.UID: a", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Pod_IP: 10.0.0.1", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nContent_Length: 5", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nTransfer_Encoding: chunked", Refused(400)),
        ],
    ),
    Rule(
        "`Connection` may not name them, nor `Host`, `Content-Length` or `Transfer-Encoding`.",
        &[
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nConnection: x-sandbox-id", Refused(400)),
            ("GET /echo\nHost: r\nX-Sandbox-ID: echo\nConnection: close, X-Sandbox-Namespace", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost\nConnection: Host", Refused(400)),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nConnection: keep-alive\nConnection: hOST;x",
                Refused(400),
            ),
            ("GET /echo\nHost: echo.default.agents.localhost\nConnection: content-length", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost\nConnection: transfer-encoding", Refused(400)),
        ],
    ),
    Rule(
        "A request that names two agents, or two ports of one, in two ways is refused.",
        &[
            ("GET /echo\nHost: echo.default.agents.localhost\nX-Sandbox-ID: other", Refused(400)),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nX-Sandbox-ID: echo\nX-Sandbox-Namespace: team",
                Refused(400),
            ),
            ("GET /echo\nHost: echo.team.svc\nX-Sandbox-ID: echo", Refused(400)),
            ("GET /p/default/echo/{echo}/echo\nHost: other.default.agents.localhost", Refused(400)),
            ("GET /p/default/echo/{echo}/echo\nHost: r\nX-Sandbox-ID: other", Refused(400)),
            (
                "GET /echo\nHost: {echo}--echo.default.agents.localhost\nX-Sandbox-ID: echo\nX-Sandbox-Port: {other}",
                Refused(400),
            ),
            (
                "GET /p/default/echo/{echo}/echo\nHost: {echo}--echo.default.agents.localhost\nX-Sandbox-ID: echo",
                Reaches("default/echo", &["/echo"]),
            ),
        ],
    ),
];
