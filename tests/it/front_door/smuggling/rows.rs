//! What callers send to have two readers see different requests in the same bytes.

/// Lines end in CRLF where `\n` stands. `␊`, `␍`, `␀` and `␋` are the bytes alone, `{H}` is a good `Host`.
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) sent: &'static str,
    /// The statuses of all answers, before the front door closes.
    pub(super) answers: &'static [u16],
    /// The requests that the agent gets: method and target, fields but `Host`, body, trailers.
    pub(super) heard: &'static [&'static str],
}

const fn row(
    what: &'static str,
    sent: &'static str,
    answers: &'static [u16],
    heard: &'static [&'static str],
) -> Row {
    Row { what, sent, answers, heard }
}

/// Refused, and nobody hears of it.
const fn bad(what: &'static str, sent: &'static str) -> Row {
    row(what, sent, &[400], &[])
}

const HELLO: &[&str] = &["POST /a [content-length: 5] hello"];
const CHUNKS: &[&str] = &["POST /a [transfer-encoding: chunked] hello"];

pub(super) const LENGTHS: &[Row] = &[
    row("a length", "POST /a HTTP/1.1\n{H}\nConnection: close\nContent-Length: 5\n\nhello", &[200], HELLO),
    row(
        "space around it",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nContent-Length:\t 5 \n\nhello",
        &[200],
        HELLO,
    ),
    row(
        "zeros in front",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nContent-Length: 005\n\nhello",
        &[200],
        HELLO,
    ),
    row(
        "equal ones (RFC 9112 §6.3: they count as one)",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nContent-Length: 5\ncontent-length: 5\n\nhello",
        &[200],
        HELLO,
    ),
    bad("different ones", "POST /a HTTP/1.1\n{H}\nContent-Length: 5\nContent-Length: 0\n\nhello"),
    bad("a list", "POST /a HTTP/1.1\n{H}\nContent-Length: 5, 5\n\nhello"),
    bad("a plus", "POST /a HTTP/1.1\n{H}\nContent-Length: +5\n\nhello"),
    bad("a minus", "POST /a HTTP/1.1\n{H}\nContent-Length: -5\n\nhello"),
    bad("a space within", "POST /a HTTP/1.1\n{H}\nContent-Length: 5 5\n\nhello"),
    bad("hexadecimal", "POST /a HTTP/1.1\n{H}\nContent-Length: 0x5\n\nhello"),
    bad("a point", "POST /a HTTP/1.1\n{H}\nContent-Length: 5.0\n\nhello"),
    bad("quotes", "POST /a HTTP/1.1\n{H}\nContent-Length: \"5\"\n\nhello"),
    bad("none", "POST /a HTTP/1.1\n{H}\nContent-Length:\n\nhello"),
    bad("2^64", "POST /a HTTP/1.1\n{H}\nContent-Length: 18446744073709551616\n\nhello"),
    bad("2^64 + 5", "POST /a HTTP/1.1\n{H}\nContent-Length: 18446744073709551621\n\nhello"),
    row("2^64 - 1", "POST /a HTTP/1.1\n{H}\nContent-Length: 18446744073709551615\n\nhello", &[431], &[]),
    bad("a space before the colon", "POST /a HTTP/1.1\n{H}\nContent-Length : 5\n\nhello"),
    bad("an underscore", "POST /a HTTP/1.1\n{H}\nContent_Length: 5\n\nhello"),
    bad(
        "one that Connection names",
        "POST /a HTTP/1.1\n{H}\nConnection: content-length\nContent-Length: 5\n\nhello",
    ),
    row(
        "the body of a GET",
        "GET /a HTTP/1.1\n{H}\nConnection: close\nContent-Length: 5\n\nhello",
        &[200],
        &["GET /a [content-length: 5] hello"],
    ),
    row(
        "a body that looks like a request",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nContent-Length: 17\n\nGET /b HTTP/1.1\n\n",
        &[200],
        &["POST /a [content-length: 17] GET /b HTTP/1.1\n"],
    ),
    row(
        "a request behind a body",
        "POST /a HTTP/1.1\n{H}\nContent-Length: 5\n\nhelloGET /b HTTP/1.1\n{H}\nConnection: close\n\n",
        &[200, 200],
        &["POST /a [content-length: 5] hello", "GET /b [] "],
    ),
    row(
        "no length in HTTP/1.0: no body, and nothing behind it",
        "POST /a HTTP/1.0\n{H}\n\nGET /b HTTP/1.1\n{H}\n\n",
        &[200],
        &["POST /a [] "],
    ),
];

pub(super) const CODINGS: &[Row] = &[
    row(
        "chunks",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
        &[200],
        CHUNKS,
    ),
    row(
        "case and space",
        "POST /a HTTP/1.1\n{H}\nConnection: close\ntransfer-ENCODING:\t CHUNKED \t\n\n5\nhello\n0\n\n",
        &[200],
        CHUNKS,
    ),
    row(
        "a length before it counts for nothing, and nothing follows (RFC 9112 §6.1)",
        "POST /a HTTP/1.1\n{H}\nContent-Length: 4\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\nGET /b HTTP/1.1\n{H}\n\n",
        &[200],
        CHUNKS,
    ),
    row(
        "a length behind it likewise",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\nContent-Length: 0\n\n5\nhello\n0\n\nGET /b HTTP/1.1\n{H}\n\n",
        &[200],
        CHUNKS,
    ),
    row(
        "a length that is none likewise, behind it",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\nContent-Length: x\n\n5\nhello\n0\n\nGET /b HTTP/1.1\n{H}\n\n",
        &[200],
        CHUNKS,
    ),
    bad(
        "a length that is none before it",
        "POST /a HTTP/1.1\n{H}\nContent-Length: x\nTransfer-Encoding: chunked\n\n0\n\n",
    ),
    bad("another coding", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: gzip, chunked\n\n0\n\n"),
    bad("identity", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: identity\nContent-Length: 5\n\nhello"),
    bad("identity last", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked, identity\n\n0\n\n"),
    bad("identity first", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: identity, chunked\n\n0\n\n"),
    bad("chunks in chunks", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked, chunked\n\n0\n\n"),
    bad("a comma behind", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked,\n\n0\n\n"),
    bad("a comma in front", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: ,chunked\n\n0\n\n"),
    bad("a letter in front", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: xchunked\n\n0\n\n"),
    bad("a parameter", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked;q=1\n\n0\n\n"),
    bad("quotes", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: \"chunked\"\n\n0\n\n"),
    bad("a vertical tab", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: ␋chunked\n\n0\n\n"),
    bad("a NUL", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked␀\n\n0\n\n"),
    bad("none", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding:\nContent-Length: 5\n\nhello"),
    bad(
        "two fields",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n",
    ),
    bad(
        "two, the last odd",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\nTransfer-Encoding: cow\n\n0\n\n",
    ),
    bad(
        "two, the first odd",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: cow\nTransfer-Encoding: chunked\n\n0\n\n",
    ),
    bad("a space before the colon", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding : chunked\n\n0\n\n"),
    bad("a tab before the colon", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding\t: chunked\n\n0\n\n"),
    bad("a space before the name", "POST /a HTTP/1.1\n{H}\n Transfer-Encoding: chunked\n\n0\n\n"),
    bad("a folded value", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding:\n chunked\n\n0\n\n"),
    bad("an underscore", "POST /a HTTP/1.1\n{H}\nTransfer_Encoding: chunked\n\n0\n\n"),
    bad("behind a CR", "POST /a HTTP/1.1\n{H}\nX: y␍Transfer-Encoding: chunked\n\n0\n\n"),
    bad("HTTP/1.0", "POST /a HTTP/1.0\n{H}\nTransfer-Encoding: chunked\n\n0\n\n"),
    bad(
        "one that Connection names",
        "POST /a HTTP/1.1\n{H}\nConnection: transfer-encoding\nTransfer-Encoding: chunked\n\n0\n\n",
    ),
];

/// The head of a request in chunks has gone to the agent before they are read: of a bad one it gets a part, which it can take
/// for no request, and its connection is closed.
pub(super) const CHUNKED: &[Row] = &[
    row(
        "extensions are left out",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nTransfer-Encoding: chunked\n\n5;a=\"b\";c\nhello\n0;d\n\n",
        &[200],
        CHUNKS,
    ),
    row(
        "several, in any case, with zeros",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nTransfer-Encoding: chunked\n\n0001\nh\n00A\n0123456789\n000\n\n",
        &[200],
        &["POST /a [transfer-encoding: chunked] h0123456789"],
    ),
    row(
        "a request behind them",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\nGET /b HTTP/1.1\n{H}\nConnection: close\n\n",
        &[200, 200],
        &["POST /a [transfer-encoding: chunked] hello", "GET /b [] "],
    ),
    bad("LF alone behind a size", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n5␊hello\n0\n\n"),
    bad("CR alone behind a size", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n5␍hello\n0\n\n"),
    bad("LF alone in an extension", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n5;a␊hello\n0\n\n"),
    bad("LF alone behind a chunk", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n5\nhello␊0\n\n"),
    bad(
        "a chunk longer than its size",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n5\nhello!\n0\n\n",
    ),
    bad(
        "a size of 2^64",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n10000000000000000\nhello\n0\n\n",
    ),
    bad(
        "a size of 2^64 + 5",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n10000000000000005\nhello\n0\n\n",
    ),
    bad("a minus", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n-5\nhello\n0\n\n"),
    bad("a plus", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n+5\nhello\n0\n\n"),
    bad("0x", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n0x5\nhello\n0\n\n"),
    bad("no size", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n\nhello\n0\n\n"),
    bad(
        "no digit before an extension",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n;a\nhello\n0\n\n",
    ),
    bad("a space before a size", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n 5\nhello\n0\n\n"),
    bad("a letter behind a size", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n5g\nhello\n0\n\n"),
    bad("a NUL behind a size", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n5␀\nhello\n0\n\n"),
    row(
        "trailers that were not announced are left out",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 1\nHost: evil\n\n",
        &[200],
        CHUNKS,
    ),
    row(
        "trailers that decide something are left out, however they are spelled",
        "POST /a HTTP/1.1\n{H}\nConnection: close\nTransfer-Encoding: chunked\nTrailer: X-Sum, Content-Length, Transfer-Encoding, Host, X-Sandbox-ID\nTrailer: X-Forwarded-For, x_real_ip, Drowse-Start, Content_Length, Keep-Alive, TE\n\n5\nhello\n0\nX-Sum: 1\nContent-Length: 9\nTransfer-Encoding: chunked\nHost: evil\nX-Sandbox-ID: evil\nX-Forwarded-For: evil\nX_Real_IP: evil\nDrowse-Start: evil\nContent_Length: 9\nKeep-Alive: 1\nTE: x\n\n",
        &[200],
        &["POST /a [trailer: x-sum, transfer-encoding: chunked] hello x-sum: 1"],
    ),
    bad(
        "a space before the colon of a trailer",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n0\nX : 1\n\n",
    ),
    bad("a folded trailer", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n0\nX: 1\n 2\n\n"),
    bad("CR alone in a trailer", "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\n0\nX: 1␍Y: 2\n\n"),
];

pub(super) const HEADS: &[Row] = &[
    row(
        "a line may end in LF alone (RFC 9112 §2.2), and leaves in CRLF",
        "POST /a HTTP/1.1␊{H}␊Connection: close␊Content-Length: 5␊␊hello",
        &[200],
        HELLO,
    ),
    row(
        "empty lines first (RFC 9112 §2.2)",
        "\n\nGET /a HTTP/1.1\n{H}\nConnection: close\n\n",
        &[200],
        &["GET /a [] "],
    ),
    row(
        "a URL without a path",
        "GET http://echo.default.agents.localhost?x HTTP/1.1\n{H}\nConnection: close\n\n",
        &[200],
        &["GET /?x [] "],
    ),
    row(
        "a URL without a path that has a fragment, which is left out",
        "GET http://echo.default.agents.localhost#/x HTTP/1.1\n{H}\nConnection: close\n\n",
        &[200],
        &["GET / [] "],
    ),
    bad("CR alone", "GET /a HTTP/1.1␍{H}␍␍"),
    bad("CR in a value", "GET /a HTTP/1.1\n{H}\nX: a␍b\n\n"),
    bad("NUL in a value", "GET /a HTTP/1.1\n{H}\nX: a␀b\n\n"),
    bad("NUL in a name", "GET /a HTTP/1.1\n{H}\nX␀: a\n\n"),
    bad("NUL in a target", "GET /a␀ HTTP/1.1\n{H}\n\n"),
    bad("a vertical tab in a target", "GET /a␋b HTTP/1.1\n{H}\n\n"),
    bad("a folded value", "GET /a HTTP/1.1\n{H}\nX: a\n b\n\n"),
    bad("a folded value behind a tab", "GET /a HTTP/1.1\n{H}\nX: a\n\tb\n\n"),
    bad("a space before a colon", "GET /a HTTP/1.1\n{H}\nX : a\n\n"),
    bad("no colon", "GET /a HTTP/1.1\n{H}\nX\n\n"),
    bad("no name", "GET /a HTTP/1.1\n{H}\n: a\n\n"),
    bad("a space before the first field", "GET /a HTTP/1.1\n {H}\n\n"),
    bad("HTTP/0.9", "GET /a\n"),
    bad("HTTP/0.9 with a version", "GET /a HTTP/0.9\n\n"),
    bad("HTTP/1.2", "GET /a HTTP/1.2\n{H}\n\n"),
    bad("HTTP/11", "GET /a HTTP/11\n{H}\n\n"),
    bad("the version in lower case", "GET /a http/1.1\n{H}\n\n"),
    bad("nearly the preface of HTTP/2", "PRI * HTTP/2.0\n\nXX\n\n"),
    bad("two versions", "GET /a HTTP/1.1 HTTP/1.1\n{H}\n\n"),
    bad("a space in a target", "GET /a b HTTP/1.1\n{H}\n\n"),
    bad("two spaces", "GET  /a HTTP/1.1\n{H}\n\n"),
    bad("a tab for a space", "GET\t/a HTTP/1.1\n{H}\n\n"),
    bad("a space first", " GET /a HTTP/1.1\n{H}\n\n"),
    bad("a method that is no token", "G(T /a HTTP/1.1\n{H}\n\n"),
    bad("a head of another protocol", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\nGET /a HTTP/1.1\n{H}\n\n"),
    bad("a request line among the fields", "GET /a HTTP/1.1\nGET /b HTTP/1.1\n{H}\n\n"),
    bad("another host in the target", "GET http://other.default.agents.localhost/ HTTP/1.1\n{H}\n\n"),
    bad("an odd expectation", "POST /a HTTP/1.1\n{H}\nExpect: 200-maybe\nContent-Length: 5\n\nhello"),
    bad(
        "an expectation with more",
        "POST /a HTTP/1.1\n{H}\nExpect: y 100-continue\nContent-Length: 5\n\nhello",
    ),
    bad(
        "an expectation in a list",
        "POST /a HTTP/1.1\n{H}\nExpect: 100-continue, x\nContent-Length: 5\n\nhello",
    ),
    bad(
        "two expectations",
        "POST /a HTTP/1.1\n{H}\nExpect: 100-continue\nExpect: 100-continue\nContent-Length: 5\n\nhello",
    ),
];

pub(super) const NEXT: &[Row] = &[
    bad("nothing is served behind a bad head", "GET /a HTTP/1.1\n{H}\nX : a\n\nGET /b HTTP/1.1\n{H}\n\n"),
    bad("nothing is served behind a bad host", "GET /a HTTP/1.1\nHost: a b\n\nGET /b HTTP/1.1\n{H}\n\n"),
    bad(
        "nothing is served behind two agents",
        "GET /a HTTP/1.1\n{H}\nX-Sandbox-ID: o\n\nGET /b HTTP/1.1\n{H}\n\n",
    ),
    bad(
        "nothing is served behind a look-alike",
        "GET /a HTTP/1.1\n{H}\nContent_Length: 0\n\nGET /b HTTP/1.1\n{H}\n\n",
    ),
    bad(
        "nothing is served behind a bad chunk",
        "POST /a HTTP/1.1\n{H}\nTransfer-Encoding: chunked\n\nx\n\nGET /b HTTP/1.1\n{H}\n\n",
    ),
    row(
        "a request without a body that reaches nobody leaves the next one whole",
        "GET /a HTTP/1.1\nHost: elsewhere\n\nGET /b HTTP/1.1\n{H}\nConnection: close\n\n",
        &[404, 200],
        &["GET /b [] "],
    ),
    row(
        "the body of a request that reaches nobody is no request",
        "POST /a HTTP/1.1\nHost: elsewhere\nContent-Length: 64\n\nGET /b HTTP/1.1\n{H}\n\n",
        &[404],
        &[],
    ),
    row(
        "nor are its chunks",
        "POST /a HTTP/1.1\nHost: elsewhere\nTransfer-Encoding: chunked\n\n40\nGET /b HTTP/1.1\n{H}\n\n",
        &[404],
        &[],
    ),
    row(
        "nor what follows them",
        "POST /a HTTP/1.1\nHost: elsewhere\nContent-Length: 5\n\nhelloGET /b HTTP/1.1\n{H}\n\n",
        &[404],
        &[],
    ),
    row(
        "a switch of protocols with a body is an ordinary request",
        "GET /a HTTP/1.1\n{H}\nConnection: Upgrade, close\nUpgrade: websocket\nContent-Length: 5\n\nhello",
        &[200],
        &["GET /a [content-length: 5] hello"],
    ),
    row(
        "what follows a switch that the agent does not make is the next request",
        "GET /a HTTP/1.1\n{H}\nConnection: Upgrade\nUpgrade: websocket\n\nGET /b HTTP/1.1\n{H}\nConnection: close\n\n",
        &[200, 200],
        &["GET /a [connection: upgrade, upgrade: websocket] ", "GET /b [] "],
    ),
    row(
        "h2c is not switched to",
        "GET /a HTTP/1.1\n{H}\nConnection: Upgrade, HTTP2-Settings, close\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n\nPRI * HTTP/2.0\n\nSM\n\n",
        &[200],
        &["GET /a [] "],
    ),
    bad(
        "two protocols to switch to",
        "GET /a HTTP/1.1\n{H}\nConnection: Upgrade\nUpgrade: websocket, h2c\n\n",
    ),
];
