//! What a caller says about itself.

use super::{Rule, Then};
use Then::{Reaches, Refused};

pub(super) const RULES: &[Rule] = &[
    Rule(
        "Where a request comes from is what we saw: `Forwarded`, `X-Forwarded-For`, `-Host`, `-Port`, `-Proto` and `X-Real-IP` of a caller are replaced.",
        &[
            (
                "GET /echo\nHost: echo.default.agents.localhost\nX-Forwarded-For: evil\nX-Forwarded-For: evil, evil\nX-Real-IP: evil",
                Reaches("default/echo", &["x-forwarded-for: 127.0.0.1", "x-real-ip: 127.0.0.1"]),
            ),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nx-fORWARDED-hOST: evil\nX-Forwarded-Proto: https\nX-Forwarded-Port: 1",
                Reaches(
                    "default/echo",
                    &["x-forwarded-host: echo.default.agents.localhost", "x-forwarded-proto: http"],
                ),
            ),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nForwarded: for=evil\nForwarded: for=evil;host=evil",
                Reaches(
                    "default/echo",
                    &["forwarded: for=127.0.0.1;proto=http;host=\"echo.default.agents.localhost\""],
                ),
            ),
            (
                "GET /echo\nHost: r:81\nX-Sandbox-ID: echo\nX-Forwarded-Host: evil",
                Reaches("default/echo", &["x-forwarded-host: r:81"]),
            ),
        ],
    ),
    Rule(
        "They name no agent.",
        &[
            ("GET /echo\nHost: r\nX-Forwarded-Host: echo.default.agents.localhost", Refused(404)),
            ("GET /echo\nHost: r\nForwarded: host=echo.default.agents.localhost", Refused(404)),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nX-Forwarded-Host: other.default.agents.localhost",
                Reaches("default/echo", &[]),
            ),
        ],
    ),
    Rule(
        "`Connection` cannot make us leave them out.",
        &[(
            "GET /echo\nHost: echo.default.agents.localhost\nConnection: X-Forwarded-For, Forwarded, X-Real-IP, Via",
            Reaches(
                "default/echo",
                &["x-forwarded-for: 127.0.0.1", "x-real-ip: 127.0.0.1", "via: 1.1 drowse"],
            ),
        )],
    ),
    Rule(
        "Every other `X-Forwarded` field, `X-Client-IP`, `Client-IP`, `True-Client-IP`, `X-Cluster-Client-IP`, `CF-Connecting-IP` and `X-Original-Forwarded-For` is removed.",
        &[(
            "GET /echo\nHost: echo.default.agents.localhost\nX-Forwarded-Client-Cert: evil\nX-Forwarded-User: evil\nX-Forwarded-Prefix: /evil\nX-Client-IP: evil\nClient-IP: evil\nTrue-Client-IP: evil\nX-Cluster-Client-IP: evil\nCF-Connecting-IP: evil\nX-Original-Forwarded-For: evil",
            Reaches(
                "default/echo",
                &[
                    "!x-forwarded-client-cert",
                    "!x-forwarded-user",
                    "!x-forwarded-prefix",
                    "!x-client-ip",
                    "!client-ip",
                    "!true-client-ip",
                    "!x-cluster-client-ip",
                    "!cf-connecting-ip",
                    "!x-original-forwarded-for",
                ],
            ),
        )],
    ),
    Rule(
        "`Drowse-*` is ours: what a caller says under such a name is removed.",
        &[(
            "GET /echo\nHost: echo.default.agents.localhost\nDrowse-Start: warm\nDROWSE-Agent: default/other",
            Reaches("default/echo", &["!drowse-start", "!drowse-agent"]),
        )],
    ),
    Rule(
        "Spelled with another mark for a hyphen, all of these are removed too, and so are the fields of one connection.",
        &[(
            "GET /echo\nHost: echo.default.agents.localhost\nX_Forwarded_For: evil\nX-Forwarded_Host: evil\nX_Real_IP: evil\nX.Real.IP: evil\nDrowse_Start: evil\nProxy_Authorization: evil\nKeep_Alive: evil",
            Reaches(
                "default/echo",
                &[
                    "!x_forwarded_for",
                    "!x-forwarded_host",
                    "!x_real_ip",
                    "!x.real.ip",
                    "!drowse_start",
                    "!proxy_authorization",
                    "!keep_alive",
                    "x-real-ip: 127.0.0.1",
                ],
            ),
        )],
    ),
    Rule(
        "`Authorization` does not reach an agent that is named as agent-sandbox's router has it, nor any agent where Drowse checks tokens; else it passes.",
        &[
            (
                "GET /echo\nHost: r\nX-Sandbox-ID: echo\nAuthorization: Bearer t",
                Reaches("default/echo", &["!authorization"]),
            ),
            (
                "GET /p/default/echo/{echo}/echo\nHost: r\nAuthorization: Bearer t",
                Reaches("default/echo", &["!authorization"]),
            ),
            (
                "GET /echo\nHost: echo.default.agents.localhost\nAuthorization: Bearer t",
                Reaches("default/echo", &["authorization: Bearer t"]),
            ),
        ],
    ),
    Rule(
        "Fields of one connection, and what `Connection` names, end here.",
        &[(
            "GET /echo\nHost: echo.default.agents.localhost\nConnection: keep-alive, X-Hop\nX-Hop: 1\nKeep-Alive: 1\nProxy-Authorization: x\nProxy-Connection: x\nTE: gzip",
            Reaches(
                "default/echo",
                &["!connection", "!x-hop", "!keep-alive", "!proxy-authorization", "!proxy-connection", "!te"],
            ),
        )],
    ),
    Rule(
        "Every other field passes as it is, whatever marks are in its name.",
        &[(
            "GET /echo\nHost: echo.default.agents.localhost\nX_My.Field: 1\nX-My: \u{e9} \t2\nX-My: 3\nCookie: a=b\nVia: 1.0 other",
            Reaches(
                "default/echo",
                &[
                    "x_my.field: 1",
                    "x-my: \u{e9} \t2",
                    "x-my: 3",
                    "cookie: a=b",
                    "via: 1.0 other",
                    "via: 1.1 drowse",
                ],
            ),
        )],
    ),
    Rule(
        "A name that is no token, or has a space behind it, is refused.",
        &[
            ("GET /echo\nHost: echo.default.agents.localhost\nX-Sandbox-ID : echo", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost\n X-Sandbox-ID: echo", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost\nX-S\u{e9}: echo", Refused(400)),
            ("GET /echo\nHost: echo.default.agents.localhost\n: echo", Refused(400)),
        ],
    ),
];
