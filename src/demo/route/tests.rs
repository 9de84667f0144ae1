//! What targets ask for, and what is wrong with others.

use super::*;

fn uri(target: &str) -> Uri {
    target.parse().unwrap()
}

#[test]
fn parameters_are_read_and_have_defaults() {
    let secs = Duration::from_secs;
    let expected = [
        ("/slow", Route::Slow { length: secs(10), every: secs(1) }),
        ("/slow?for=3m&every=10ms", Route::Slow { length: secs(180), every: MIN_EVERY }),
        ("/slow?x&every=2s&for=0s&for=9s", Route::Slow { length: secs(0), every: secs(2) }),
        ("/busy", Route::Busy(secs(10))),
        ("/busy?for=0s", Route::Busy(secs(0))),
        ("/sse", Route::Events { every: secs(1), count: 5, kind: EventKind::Events }),
        (
            "/sse?kind=comments&count=100000",
            Route::Events { every: secs(1), count: 100_000, kind: EventKind::Comments },
        ),
        ("/sse?kind=halves", Route::Events { every: secs(1), count: 5, kind: EventKind::Halves }),
        ("/bytes/1073741824", Route::Bytes(MAX_BYTES)),
        ("/relay?to=http://b.x:81/y?z=1", Route::Relay(Uri::from_static("http://b.x:81/y?z=1"))),
        ("/status/404", Route::Status(StatusCode::NOT_FOUND)),
        ("/status/599", Route::Status(StatusCode::from_u16(599).unwrap())),
    ];
    for (target, expected) in expected {
        assert_eq!(Route::of(&uri(target)), Ok(expected), "{target}");
    }
}

#[test]
fn what_is_out_of_bounds_is_answered_with_what_to_write() {
    let wrong = [
        ("/busy?for=2h", r#"for: "2h" is too long; write at most 1h"#),
        ("/slow?for=61m", r#"for: "61m" is too long; write at most 1h"#),
        ("/slow?for=3", r#"for: "3" has no unit; write 3s, or 3m for minutes"#),
        ("/slow?every=9ms", "every: this is too short; write at least 10ms"),
        ("/sse?every=0s", "every: this is too short; write at least 10ms"),
        ("/sse?kind=x", r#"kind is "x"; write events, comments or halves"#),
        ("/sse?count=100001", r#"count is "100001"; write a whole number from 0 to 100000"#),
        ("/bytes/-1", r#"the number of bytes is "-1"; write a whole number from 0 to 1073741824"#),
        (
            "/bytes/1073741825",
            r#"the number of bytes is "1073741825"; write a whole number from 0 to 1073741824"#,
        ),
        ("/relay", r#"to is ""; write an http:// URL without an ampersand"#),
        ("/relay?to=/x", r#"to is "/x"; write an http:// URL without an ampersand"#),
        ("/status/101", r#"the status is "101"; write a whole number from 200 to 599"#),
        ("/status/ok", r#"the status is "ok"; write a whole number from 200 to 599"#),
    ];
    for (target, sentence) in wrong {
        assert_eq!(Route::of(&uri(target)), Err(RouteError::Invalid(sentence.into())), "{target}");
    }
}

#[test]
fn every_listed_path_exists_and_others_do_not() {
    for path in [&PATHS[..], &Call::PATHS].concat() {
        let target = path.replace("<n>", "1").replace("<code>", "200").replace("<path>", "a%2Fb");
        assert!(Route::of(&uri(&target)).is_ok(), "{target}");
    }
    for path in ["/nope", "/echo/", "/healthz/", "/bytes", "/statuses/200", "/upload/", "/list"] {
        assert_eq!(Route::of(&uri(path)), Err(RouteError::Unknown), "{path}");
    }
}

#[test]
fn the_path_of_a_file_is_taken_as_it_stands() {
    for (target, expected) in [
        ("/download/a%2Fb?x=1", Call::Download("a%2Fb")),
        ("/list/", Call::List("")),
        ("/exists/a//b/", Call::Exists("a//b/")),
    ] {
        assert_eq!(Route::of(&uri(target)), Ok(Route::Runtime(expected)), "{target}");
    }
}
