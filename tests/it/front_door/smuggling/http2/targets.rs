//! What a request is for: its pseudo-fields, its host, its path, its method, and streams that would be tunnels.

use super::wire::Then::{Data, Wait};
use super::{Row, Told, bad, good, late};
use Told::{Closed, Reset, Status};

/// RFC 9113 §8.3: pseudo-fields come first, once, and are those that there are.
const BY_PSEUDO: &str = "RFC 9113 §8.3";
/// RFC 9113 §8.3.1: which a request has, and what is in them.
const BY_REQUEST: &str = "RFC 9113 §8.3.1";
/// The rules in docs/routing.md.
const BY_ROUTING: &str = "docs/routing.md";

const GOT: &[&str] = &["GET /a [] "];

pub(super) const PSEUDO: &[Row] = &[
    good("in any order", BY_PSEUDO, ":authority={H}\n:path=/a\n:scheme=http\n:method=GET", &[], GOT),
    bad("two methods", BY_PSEUDO, "{GET}\n:method=POST", &[], Reset),
    bad("two equal methods", BY_PSEUDO, "{GET}\n:method=GET", &[], Reset),
    bad("two paths", BY_PSEUDO, "{GET}\n:path=/b", &[], Reset),
    bad("two schemes", BY_PSEUDO, "{GET}\n:scheme=https", &[], Reset),
    bad("two authorities", BY_PSEUDO, "{GET}\n:authority={H}", &[], Reset),
    bad("a path behind a field", BY_PSEUDO, "{GET}\n{no :path}\nx=1\n:path=/a", &[], Reset),
    bad(
        "an authority behind a field",
        BY_PSEUDO,
        "{GET}\n{no :authority}\nhost={H}\n:authority={H}",
        &[],
        Reset,
    ),
    bad("a method behind a field", BY_PSEUDO, "{GET}\nx=1\n:method=POST", &[], Reset),
    bad("one that there is not", BY_PSEUDO, "{GET}\n:evil=1", &[], Closed),
    bad("one in upper case", BY_PSEUDO, "{GET}\n:Path=/b", &[], Closed),
    bad("one without a name", BY_PSEUDO, "{GET}\n:=1", &[], Closed),
    bad("one with a space", BY_PSEUDO, "{GET}\n:path =/b", &[], Closed),
    bad("that of an answer", BY_PSEUDO, "{GET}\n:status=200", &[], Reset),
    bad("no method", BY_REQUEST, "{GET}\n{no :method}", &[], Reset),
    bad("no scheme", BY_REQUEST, "{GET}\n{no :scheme}", &[], Reset),
    bad("no path", BY_REQUEST, "{GET}\n{no :path}", &[], Reset),
    bad("a scheme that is none", BY_REQUEST, "{GET}\n{no :scheme}\n:scheme=ht tp", &[], Reset),
    bad("an empty scheme", BY_REQUEST, "{GET}\n{no :scheme}\n:scheme=", &[], Status(400)),
    bad("a scheme with a line", BY_REQUEST, "{GET}\n{no :scheme}\n:scheme=http␍␊evil: 1", &[], Reset),
    bad("a scheme with a URL", BY_REQUEST, "{GET}\n{no :scheme}\n:scheme=http://other/", &[], Reset),
    bad("another scheme", BY_REQUEST, "{GET}\n{no :scheme}\n:scheme=ftp", &[], Status(400)),
    good(
        "the scheme of TLS, which ends before us",
        BY_REQUEST,
        "{GET}\n{no :scheme}\n:scheme=https",
        &[],
        GOT,
    ),
    bad("a scheme in upper case", BY_REQUEST, "{GET}\n{no :scheme}\n:scheme=HTTP", &[], Status(400)),
];

pub(super) const HOSTS: &[Row] = &[
    good("the same as Host", BY_REQUEST, "{GET}\nhost={H}", &[], GOT),
    good(
        "in another case, and with its port",
        BY_REQUEST,
        "{GET}\nhost=ECHO.default.agents.localhost:80",
        &[],
        GOT,
    ),
    good("Host alone", BY_REQUEST, "{GET}\n{no :authority}\nhost={H}", &[], GOT),
    good("a port", BY_REQUEST, "{GET}\n{no :authority}\n:authority={H}:8080", &[], GOT),
    bad("another than Host", BY_REQUEST, "{GET}\nhost=other.default.agents.localhost", &[], Status(400)),
    bad("another port than Host", BY_REQUEST, "{GET}\nhost={H}:81", &[], Status(400)),
    bad("an empty Host beside it", BY_REQUEST, "{GET}\nhost=", &[], Status(400)),
    bad("two Hosts", BY_ROUTING, "{GET}\nhost={H}\nhost={H}", &[], Status(400)),
    bad("two Hosts alone", BY_ROUTING, "{GET}\n{no :authority}\nhost={H}\nhost={H}", &[], Status(400)),
    bad("a list", BY_ROUTING, "{GET}\n{no :authority}\nhost={H}, {H}", &[], Status(400)),
    bad("neither", BY_ROUTING, "{GET}\n{no :authority}", &[], Status(400)),
    bad("an empty Host alone names nobody", BY_ROUTING, "{GET}\n{no :authority}\nhost=", &[], Status(404)),
    bad("user information", BY_REQUEST, "{GET}\n{no :authority}\n:authority=echo@{H}", &[], Status(400)),
    bad("with a password", BY_REQUEST, "{GET}\n{no :authority}\n:authority=a:b@{H}", &[], Status(400)),
    bad("in Host", BY_ROUTING, "{GET}\n{no :authority}\nhost=echo@{H}", &[], Status(400)),
    bad("empty", BY_REQUEST, "{GET}\n{no :authority}\n:authority=", &[], Reset),
    bad("empty, beside a Host", BY_REQUEST, "{GET}\n{no :authority}\n:authority=\nhost={H}", &[], Reset),
    bad("a port alone", BY_ROUTING, "{GET}\n{no :authority}\n:authority=:80", &[], Status(400)),
    bad("a port that is none", BY_ROUTING, "{GET}\n{no :authority}\n:authority={H}:0", &[], Status(400)),
    bad(
        "a port that is no number",
        BY_ROUTING,
        "{GET}\n{no :authority}\n:authority={H}:http",
        &[],
        Status(400),
    ),
    bad("a path", BY_REQUEST, "{GET}\n{no :authority}\n:authority={H}/b", &[], Reset),
    bad("a URL", BY_REQUEST, "{GET}\n{no :authority}\n:authority=http://{H}", &[], Reset),
    bad("a line", BY_REQUEST, "{GET}\n{no :authority}\n:authority={H}␍␊evil: 1", &[], Reset),
    bad("a space", BY_REQUEST, "{GET}\n{no :authority}\n:authority={H} x", &[], Reset),
    bad("NUL", BY_REQUEST, "{GET}\n{no :authority}\n:authority={H}␀", &[], Reset),
    bad("space before Host", "RFC 9113 §8.2.1", "{GET}\n{no :authority}\nhost= {H}", &[], Status(400)),
    bad("two agents", BY_ROUTING, "{GET}\nx-sandbox-id=other", &[], Status(400)),
    bad("an agent with an underscore", BY_ROUTING, "{GET}\nx_sandbox_id=echo", &[], Status(400)),
];

pub(super) const PATHS: &[Row] = &[
    good(
        "a query",
        BY_REQUEST,
        "{GET}\n{no :path}\n:path=/a%2f..//b?c=/d?e",
        &[],
        &["GET /a%2f..//b?c=/d?e [] "],
    ),
    good("two slashes", BY_REQUEST, "{GET}\n{no :path}\n:path=//other/a", &[], &["GET //other/a [] "]),
    good("a fragment, which is left out", "RFC 9110 §7.1", "{GET}\n{no :path}\n:path=/a#b", &[], GOT),
    good("a fragment alone, likewise", "RFC 9110 §7.1", "{GET}\n{no :path}\n:path=#b", &[], &["GET / [] "]),
    good(
        "bytes above ASCII, as they are",
        BY_ROUTING,
        "{GET}\n{no :path}\n:path=/\u{e9}",
        &[],
        &["GET /\u{e9} [] "],
    ),
    bad("empty", BY_REQUEST, "{GET}\n{no :path}\n:path=", &[], Reset),
    bad("no slash", BY_REQUEST, "{GET}\n{no :path}\n:path=a", &[], Reset),
    bad("a query alone", BY_REQUEST, "{GET}\n{no :path}\n:path=?a", &[], Status(400)),
    bad("a star", BY_REQUEST, "{GET}\n{no :path}\n:path=*", &[], Status(400)),
    bad(
        "the server as such",
        BY_ROUTING,
        "{GET}\n{no :method}\n{no :path}\n:method=OPTIONS\n:path=*",
        &[],
        Status(400),
    ),
    bad(
        "the server as such, by Host",
        BY_ROUTING,
        "{GET}\n{no :authority}\n{no :path}\nhost={H}\n:path=*",
        &[],
        Reset,
    ),
    bad("a URL", BY_REQUEST, "{GET}\n{no :path}\n:path=http://other.default.agents.localhost/", &[], Reset),
    bad("a space and a version", BY_REQUEST, "{GET}\n{no :path}\n:path=/b HTTP/1.1", &[], Reset),
    bad("a whole request", BY_REQUEST, "{GET}\n{no :path}\n:path=/b HTTP/1.1␍␊Host: x␍␊␍␊GET /c", &[], Reset),
    bad("LF", BY_REQUEST, "{GET}\n{no :path}\n:path=/b␊", &[], Reset),
    bad("CR", BY_REQUEST, "{GET}\n{no :path}\n:path=/b␍", &[], Reset),
    bad("NUL", BY_REQUEST, "{GET}\n{no :path}\n:path=/b␀", &[], Reset),
    bad("a tab", BY_REQUEST, "{GET}\n{no :path}\n:path=/b\tc", &[], Reset),
    bad("DEL", BY_REQUEST, "{GET}\n{no :path}\n:path=/b\u{7f}", &[], Reset),
    bad("a line in a query", BY_REQUEST, "{GET}\n{no :path}\n:path=/b?c␍␊evil: 1", &[], Reset),
    bad("a space in a query", BY_REQUEST, "{GET}\n{no :path}\n:path=/b?c d", &[], Reset),
];

pub(super) const METHODS: &[Row] = &[
    good("one of its own", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=BREW", &[], &["BREW /a [] "]),
    good(
        "in lower case, which is another",
        "RFC 9110 §9.1",
        "{GET}\n{no :method}\n:method=get",
        &[],
        &["get /a [] "],
    ),
    good(
        "CONNECT in lower case is another",
        "RFC 9110 §9.1",
        "{GET}\n{no :method}\n:method=connect",
        &[],
        &["connect /a [] "],
    ),
    good("that of the preface", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=PRI", &[], &["PRI /a [] "]),
    bad("a space", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=GET /b", &[], Closed),
    bad(
        "a whole request",
        "RFC 9110 §9.1",
        "{GET}\n{no :method}\n:method=GET /b HTTP/1.1␍␊Host: x␍␊␍␊GET",
        &[],
        Closed,
    ),
    bad("LF", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=␊GET", &[], Closed),
    bad("CR", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=GET␍", &[], Closed),
    bad("NUL", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=GET␀", &[], Closed),
    bad("a colon", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=GET:", &[], Closed),
    bad("bytes above ASCII", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=G\u{e9}T", &[], Closed),
    bad("empty", "RFC 9110 §9.1", "{GET}\n{no :method}\n:method=", &[], Closed),
    bad("a tunnel to anywhere", "RFC 9113 §8.5", ":method=CONNECT\n:authority={H}:80", &[Wait], Status(405)),
    bad(
        "a tunnel with a path",
        "RFC 9113 §8.5",
        ":method=CONNECT\n:authority={H}:80\n:path=/",
        &[Wait],
        Reset,
    ),
    bad(
        "a tunnel with a scheme",
        "RFC 9113 §8.5",
        ":method=CONNECT\n:authority={H}:80\n:scheme=http",
        &[Wait],
        Reset,
    ),
    bad("a tunnel with all of that", "RFC 9113 §8.5", "{GET}\n{no :method}\n:method=CONNECT", &[Wait], Reset),
    bad("a tunnel without a host", "RFC 9113 §8.5", ":method=CONNECT", &[Wait], Status(405)),
    bad(
        "a tunnel with a request in it",
        "RFC 9113 §8.5",
        ":method=CONNECT\n:authority={H}:80",
        &[Data("GET /b HTTP/1.1␍␊Host: x␍␊␍␊")],
        Status(405),
    ),
    bad(
        "a tunnel with a length",
        "RFC 9113 §8.5",
        ":method=CONNECT\n:authority={H}:80\ncontent-length=5",
        &[Data("hello")],
        Closed,
    ),
    bad(
        "another protocol",
        "RFC 8441 §4",
        "{GET}\n{no :method}\n:method=CONNECT\n:protocol=connect-udp",
        &[Wait],
        Status(501),
    ),
    bad(
        "WebSocket in another case",
        "RFC 8441 §4",
        "{GET}\n{no :method}\n:method=CONNECT\n:protocol=WebSocket",
        &[Wait],
        Status(501),
    ),
    bad(
        "a protocol that is a line",
        "RFC 8441 §4",
        "{GET}\n{no :method}\n:method=CONNECT\n:protocol=websocket␍␊evil: 1",
        &[Wait],
        Status(501),
    ),
    bad("a protocol of a GET", "RFC 8441 §4", "{GET}\n:protocol=websocket", &[], Reset),
    bad("a protocol of a POST", "RFC 8441 §4", "{POST}\n:protocol=websocket", &[Data("hello")], Reset),
    bad(
        "WebSocket without a path",
        "RFC 8441 §4",
        "{GET}\n{no :method}\n{no :path}\n:method=CONNECT\n:protocol=websocket",
        &[Wait],
        Reset,
    ),
    bad(
        "WebSocket without a scheme",
        "RFC 8441 §4",
        "{GET}\n{no :method}\n{no :scheme}\n:method=CONNECT\n:protocol=websocket",
        &[Wait],
        Reset,
    ),
    bad(
        "WebSocket for a star",
        "RFC 8441 §4",
        "{GET}\n{no :method}\n{no :path}\n:method=CONNECT\n:protocol=websocket\n:path=*",
        &[Wait],
        Status(400),
    ),
    bad(
        "two protocols",
        "RFC 8441 §4",
        "{GET}\n{no :method}\n:method=CONNECT\n:protocol=websocket\n:protocol=websocket",
        &[Wait],
        Reset,
    ),
];

const SWITCH: &[&str] =
    &["GET /a [sec-websocket-version: 13, sec-websocket-key: KEY, connection: upgrade, upgrade: websocket] "];

/// The agent answers 200, and so makes no tunnel: nothing that came in the stream may become a request.
pub(super) const TUNNELS: &[Row] = &[
    late(
        "a WebSocket with a length",
        "RFC 8441 §5",
        "{GET}\n{no :method}\n:method=CONNECT\n:protocol=websocket\nsec-websocket-version=13\nsec-websocket-key=evil\ncontent-length=0",
        &[Data("GET /b HTTP/1.1␍␊Host: x␍␊␍␊")],
        SWITCH,
    ),
    Row {
        told: Status(502),
        ..good(
            "a WebSocket with a request in it",
            "RFC 8441 §5",
            "{GET}\n{no :method}\n:method=CONNECT\n:protocol=websocket\nsec-websocket-version=13\nsec-websocket-key=evil",
            &[Data("GET /b HTTP/1.1␍␊Host: x␍␊␍␊")],
            SWITCH,
        )
    },
];
