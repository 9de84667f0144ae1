//! Where a request ends: `Content-Length` against the frames of its stream, and what comes behind a body.

use super::wire::Then::{Data, MoreTrailers, Trailers, Wait};
use super::{Row, Told, bad, good, late};
use Told::{Closed, Reset, Status};

/// RFC 9113 §8.1.1: a length that is not that of all DATA frames makes a request malformed.
const BY_FRAMES: &str = "RFC 9113 §8.1.1";
/// RFC 9110 §8.6: one number, in digits.
const BY_DIGITS: &str = "RFC 9110 §8.6";
/// RFC 9110 §6.5.1: what may come behind a body.
const BY_TRAILERS: &str = "RFC 9110 §6.5.1";

const HELLO: &[&str] = &["POST /a [content-length: 5] hello"];
const CHUNKS: &[&str] = &["POST /a [transfer-encoding: chunked] hello"];
const EMPTY: &[&str] = &["POST /a [content-length: 0] "];
const NOTHING: &[&str] = &["POST /a [] "];

pub(super) const LENGTHS: &[Row] = &[
    good("a length", BY_FRAMES, "{POST}\ncontent-length=5", &[Data("hello")], HELLO),
    good(
        "in several frames",
        BY_FRAMES,
        "{POST}\ncontent-length=5",
        &[Data("he"), Data("llo"), Data("")],
        HELLO,
    ),
    good("none", BY_FRAMES, "{POST}", &[Data("hello")], CHUNKS),
    good("none, and no body", BY_FRAMES, "{POST}", &[], NOTHING),
    good(
        "none, and an empty body",
        BY_FRAMES,
        "{POST}",
        &[Data("")],
        &["POST /a [transfer-encoding: chunked] "],
    ),
    good("0", BY_FRAMES, "{POST}\ncontent-length=0", &[], EMPTY),
    good(
        "0, and an empty body",
        BY_FRAMES,
        "{POST}\ncontent-length=0",
        &[Data("")],
        &["POST /a [content-length: 0] "],
    ),
    good(
        "the body of a GET",
        BY_FRAMES,
        "{GET}\ncontent-length=5",
        &[Data("hello")],
        &["GET /a [content-length: 5] hello"],
    ),
    good(
        "of a GET, without a length",
        BY_FRAMES,
        "{GET}",
        &[Data("hello")],
        &["GET /a [transfer-encoding: chunked] hello"],
    ),
    bad("too short a body", BY_FRAMES, "{POST}\ncontent-length=9", &[Data("hello")], Reset),
    bad("too long a body", BY_FRAMES, "{POST}\ncontent-length=4", &[Data("hello")], Reset),
    late("too long by a frame", BY_FRAMES, "{POST}\ncontent-length=5", &[Data("hello"), Data("x")], HELLO),
    late("a body in spite of 0", BY_FRAMES, "{POST}\ncontent-length=0", &[Data("hello")], EMPTY),
    late(
        "a request in spite of 0",
        BY_FRAMES,
        "{POST}\ncontent-length=0",
        &[Data("GET /b HTTP/1.1␍␊Host: x␍␊␍␊")],
        EMPTY,
    ),
    bad("no body", BY_FRAMES, "{POST}\ncontent-length=5", &[], Reset),
    bad("no body of a GET", BY_FRAMES, "{GET}\ncontent-length=5", &[], Reset),
    bad(
        "too short before trailers",
        BY_FRAMES,
        "{POST}\ncontent-length=9\ntrailer=x",
        &[Data("hello"), Trailers("x=1")],
        Reset,
    ),
    bad("different ones", BY_DIGITS, "{POST}\ncontent-length=5\ncontent-length=0", &[Data("hello")], Reset),
    bad(
        "different ones, the last right",
        BY_DIGITS,
        "{POST}\ncontent-length=0\ncontent-length=5",
        &[Data("hello")],
        Reset,
    ),
    good(
        "equal ones count as one",
        BY_DIGITS,
        "{POST}\ncontent-length=5\ncontent-length=5",
        &[Data("hello")],
        HELLO,
    ),
    good(
        "with zeros in front",
        BY_DIGITS,
        "{POST}\ncontent-length=5\ncontent-length=005",
        &[Data("hello")],
        HELLO,
    ),
    good("zeros in front", BY_DIGITS, "{POST}\ncontent-length=005", &[Data("hello")], HELLO),
    bad("a list", BY_DIGITS, "{POST}\ncontent-length=5, 5", &[Data("hello")], Reset),
    bad("a list of others", BY_DIGITS, "{POST}\ncontent-length=5,0", &[Data("hello")], Reset),
    bad("a plus", BY_DIGITS, "{POST}\ncontent-length=+5", &[Data("hello")], Reset),
    bad("a minus", BY_DIGITS, "{POST}\ncontent-length=-5", &[Data("hello")], Reset),
    bad("a space before it", BY_DIGITS, "{POST}\ncontent-length= 5", &[Data("hello")], Reset),
    bad("a space behind it", BY_DIGITS, "{POST}\ncontent-length=5 ", &[Data("hello")], Reset),
    bad("a space within", BY_DIGITS, "{POST}\ncontent-length=5 5", &[Data("hello")], Reset),
    bad("hexadecimal", BY_DIGITS, "{POST}\ncontent-length=0x5", &[Data("hello")], Reset),
    bad("a point", BY_DIGITS, "{POST}\ncontent-length=5.0", &[Data("hello")], Reset),
    bad("quotes", BY_DIGITS, "{POST}\ncontent-length=\"5\"", &[Data("hello")], Reset),
    bad("no digit", BY_DIGITS, "{POST}\ncontent-length=", &[], Status(400)),
    bad("no digit of a GET", BY_DIGITS, "{GET}\ncontent-length=", &[], Status(400)),
    bad("no digit, and a number", BY_DIGITS, "{POST}\ncontent-length=\ncontent-length=0", &[], Status(400)),
    bad("no digit, and a body", BY_DIGITS, "{POST}\ncontent-length=", &[Data("hello")], Reset),
    bad("2^64", BY_DIGITS, "{POST}\ncontent-length=18446744073709551616", &[Data("hello")], Reset),
    bad("2^64 + 5", BY_DIGITS, "{POST}\ncontent-length=18446744073709551621", &[Data("hello")], Reset),
    bad("2^63 - 1", BY_DIGITS, "{POST}\ncontent-length=9223372036854775807", &[Data("hello")], Reset),
    bad("20 digits", BY_DIGITS, "{POST}\ncontent-length=00000000000000000005", &[Data("hello")], Reset),
    bad("an underscore", "docs/routing.md", "{POST}\ncontent_length=5", &[Data("hello")], Status(400)),
    good(
        "a body that looks like a request",
        BY_FRAMES,
        "{POST}\ncontent-length=28",
        &[Data("GET /b HTTP/1.1␍␊Host: x␍␊␍␊")],
        &["POST /a [content-length: 28] GET /b HTTP/1.1\nHost: x\n\n"],
    ),
    good(
        "the end of chunks and a request within a body",
        BY_FRAMES,
        "{POST}",
        &[Data("0␍␊␍␊GET /b HTTP/1.1␍␊Host: x␍␊␍␊")],
        &["POST /a [transfer-encoding: chunked] 0\n\nGET /b HTTP/1.1\nHost: x\n\n"],
    ),
    good(
        "a request within the body of a GET",
        BY_FRAMES,
        "{GET}",
        &[Data("GET /b HTTP/1.1␍␊Host: x␍␊␍␊")],
        &["GET /a [transfer-encoding: chunked] GET /b HTTP/1.1\nHost: x\n\n"],
    ),
];

pub(super) const TRAILERS: &[Row] = &[
    good(
        "announced ones pass",
        BY_TRAILERS,
        "{POST}\ntrailer=x-sum",
        &[Data("hello"), Trailers("x-sum=1")],
        &["POST /a [trailer: x-sum, transfer-encoding: chunked] hello x-sum: 1"],
    ),
    good(
        "others are left out",
        BY_TRAILERS,
        "{POST}",
        &[Data("hello"), Trailers("x-sum=1\nhost=evil")],
        CHUNKS,
    ),
    good(
        "what is about the request is left out, announced or not",
        BY_TRAILERS,
        "{POST}\ntrailer=x-sum, host, x-sandbox-id, x-forwarded-for\ntrailer=x_real_ip, drowse-start, forwarded",
        &[
            Data("hello"),
            Trailers(
                "x-sum=1\nhost=evil\nx-sandbox-id=evil\nx-forwarded-for=evil\nx_real_ip=evil\ndrowse-start=evil\nforwarded=evil",
            ),
        ],
        &["POST /a [trailer: x-sum, transfer-encoding: chunked] hello x-sum: 1"],
    ),
    good(
        "so is what says who calls, and what the body is",
        BY_TRAILERS,
        "{POST}\ntrailer=authorization, cookie, expect, max-forwards, cache-control, content-type, content-encoding, content-range, range, x-sum",
        &[
            Data("hello"),
            Trailers(
                "authorization=evil\ncookie=evil\nexpect=evil\nmax-forwards=1\ncache-control=evil\ncontent-type=evil\ncontent-encoding=evil\ncontent-range=evil\nrange=evil\nx-sum=1",
            ),
        ],
        &["POST /a [trailer: x-sum, transfer-encoding: chunked] hello x-sum: 1"],
    ),
    good(
        "a length",
        BY_TRAILERS,
        "{POST}\ntrailer=content-length",
        &[Data("hello"), Trailers("content-length=9")],
        CHUNKS,
    ),
    good(
        "trailers alone",
        BY_TRAILERS,
        "{POST}\ntrailer=x-sum",
        &[Trailers("x-sum=1")],
        &["POST /a [trailer: x-sum, transfer-encoding: chunked]  x-sum: 1"],
    ),
    good(
        "a pseudo-field is no field of the request (RFC 9113 §8.3), and is left out",
        BY_TRAILERS,
        "{POST}\ntrailer=x-sum",
        &[Data("hello"), Trailers(":path=/b\nx-sum=1")],
        &["POST /a [trailer: x-sum, transfer-encoding: chunked] hello x-sum: 1"],
    ),
    bad(
        "of the connection",
        "RFC 9113 §8.2.2",
        "{POST}",
        &[Data("hello"), Trailers("transfer-encoding=chunked")],
        Reset,
    ),
    bad(
        "a pseudo-field behind others",
        "RFC 9113 §8.3",
        "{POST}",
        &[Data("hello"), Trailers("x=1\n:path=/b")],
        Reset,
    ),
    bad(
        "a pseudo-field that there is not",
        "RFC 9113 §8.3",
        "{POST}",
        &[Data("hello"), Trailers(":evil=1")],
        Closed,
    ),
    bad(
        "CR and LF in a value",
        "RFC 9113 §8.2.1",
        "{POST}",
        &[Data("hello"), Trailers("x=1␍␊␍␊GET /b HTTP/1.1")],
        Closed,
    ),
    bad("CR and LF in a name", "RFC 9113 §8.2.1", "{POST}", &[Data("hello"), Trailers("x␍␊y=1")], Closed),
    bad("upper case", "RFC 9113 §8.2.1", "{POST}", &[Data("hello"), Trailers("X=1")], Closed),
    bad("without an end", "RFC 9113 §8.1", "{POST}", &[Data("hello"), MoreTrailers("x=1"), Wait], Reset),
    bad(
        "more data behind them",
        "RFC 9113 §8.1",
        "{POST}",
        &[Data("hello"), MoreTrailers("x=1"), Data("more")],
        Reset,
    ),
];
