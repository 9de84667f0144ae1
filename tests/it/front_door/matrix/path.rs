//! The path, where it names an agent.

use super::{Rule, Then};
use Then::{Reaches, Refused};

pub(super) const RULES: &[Rule] = &[
    Rule(
        "`<prefix>/<namespace>/<agent>/<port>` names an agent; what follows is passed on byte for byte, with the query.",
        &[
            (
                "GET /p/default/echo/{echo}/echo?a=%2F&b=//../x\nHost: r",
                Reaches("default/echo", &["/echo?a=%2F&b=//../x"]),
            ),
            ("GET /p/team/echo/{team}/echo\nHost: r", Reaches("team/echo", &["/echo"])),
            ("GET http://r/p/default/echo/{echo}/echo\nHost: r", Reaches("default/echo", &["/echo"])),
        ],
    ),
    Rule(
        "The prefix is compared byte for byte: another case, percent-encoding or a second slash is another path.",
        &[
            ("GET /P/default/echo/{echo}/echo\nHost: r", Refused(404)),
            ("GET /%70/default/echo/{echo}/echo\nHost: r", Refused(404)),
            ("GET //p/default/echo/{echo}/echo\nHost: r", Refused(404)),
            ("GET /px/default/echo/{echo}/echo\nHost: r", Refused(404)),
            ("GET /p\nHost: r", Refused(404)),
            ("GET /x?/p/default/echo/{echo}/echo\nHost: r", Refused(404)),
            (
                "GET /%70/default/echo/{echo}/echo\nHost: r\nX-Sandbox-ID: other\nX-Sandbox-Port: {echo}",
                Refused(502),
            ),
        ],
    ),
    Rule(
        "Dots in a path are never resolved.",
        &[
            ("GET /x/../p/default/echo/{echo}/echo\nHost: r", Refused(404)),
            ("GET /p/../p/default/echo/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/../default/echo/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/%2e%2e/{echo}/echo\nHost: r", Refused(400)),
        ],
    ),
    Rule(
        "Percent-encoding in the three parts is read; what is no name or port then is refused, and an encoded slash with it.",
        &[
            ("GET /p/def%61ult/ech%6F/{echo}/echo\nHost: r", Reaches("default/echo", &["/echo"])),
            ("GET /p/default%2Fecho/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/other%2F../{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/echo%00/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/%ff/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/ech%6/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/ech%256F/{echo}/echo\nHost: r", Refused(400)),
        ],
    ),
    Rule(
        "A path below the prefix that names no agent is refused, and not looked for elsewhere.",
        &[
            ("GET /p/\nHost: echo.default.agents.localhost", Refused(400)),
            ("GET /p/default/echo\nHost: echo.default.agents.localhost", Refused(400)),
            ("GET /p/default/echo/?/{echo}/\nHost: echo.default.agents.localhost", Refused(400)),
            ("GET /p//default/echo/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/Default/echo/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/Echo/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/echo./{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/ec_ho/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/echo;x/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/echo,other/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/{long}/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/\u{e9}cho/{echo}/echo\nHost: r", Refused(400)),
            ("GET /p/default/echo/0/echo\nHost: r", Refused(400)),
            ("GET /p/default/echo/65536/echo\nHost: r", Refused(400)),
            ("GET /p/default/echo/[::1]:{echo}/echo\nHost: r", Refused(400)),
        ],
    ),
];
