//! `make test` itself: it must never call a run good that is not. The script runs with a cargo that only pretends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What a good run of cargo test prints, shortened.
const GOOD: &str = "\
   Compiling drowse v0.1.0
     Running unittests src/lib.rs (target/debug/deps/drowse-0123)
running 2 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
     Running tests/it/main.rs (target/debug/deps/it-0123)
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

/// What a good run on a cluster prints, and one of the model.
const CLUSTER: &str = "\
Starting a cluster
     Running tests/e2e/main.rs (target/debug/deps/e2e-0123)
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

/// What a test that failed prints, and the one beside it.
const BAD: &str = "\
   Compiling drowse v0.1.0
     Running tests/it/main.rs (target/debug/deps/it-0123)
test a ... FAILED
test b ... FAILED

failures:

---- a stdout ----
{long}
thread 'a' panicked at tests/it/a.rs:1:1:
a is wrong

---- b stdout ----

thread 'b' panicked at tests/it/b.rs:1:1:
b is wrong


failures:
    a
    b

test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

/// Runs `scripts/test`; `cargo` is a shell script that gets the name of the command as `$1`. Gives the last line, and
/// whether it ended well.
fn make_test(cargo: &str) -> (String, bool) {
    run(cargo, true)
}

fn run(cargo: &str, with_cluster: bool) -> (String, bool) {
    let (out, good) = print(cargo, with_cluster);
    (out.lines().last().unwrap_or_default().to_owned(), good)
}

/// The same, and all that it prints.
fn print(cargo: &str, with_cluster: bool) -> (String, bool) {
    let dir = TempDir::new().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(dir.path().join("good"), GOOD).unwrap();
    let long: Vec<_> = (0..100).map(|line| format!("said {line}")).collect();
    fs::write(dir.path().join("bad"), BAD.replace("{long}", &long.join("\n"))).unwrap();
    fs::write(dir.path().join("cluster"), CLUSTER).unwrap();
    // `cargo install --root R …` leaves a cargo-deny and a cargo-fuzz that are content, unless they are to find something.
    let install = "if [ $1 = install ]; then\n\
        while [ $1 != --root ]; do shift; done\n\
        mkdir -p $2/bin && cd $2/bin && printf '#!/bin/sh\n[ ! -e $TARGET/finds-$3 ] || { echo found it; exit 1; }\n' |\n\
        tee cargo-deny > cargo-fuzz && chmod +x *; exit\nfi\n";
    // An image is made, and a cluster and the model run one test each.
    let cluster = "if [ $1 = metadata ]; then echo \"{\\\"target_directory\\\":\\\"$TARGET\\\"}\"; exit; fi\n\
        if [ $1 = rustc ]; then exit; fi\n\
        case \"$*\" in\n*' image '*) echo x > $TARGET/image/drowse.tar; exit;;\n\
        *' run --image '*) [ -n \"$CLUSTER\" ] || exit 1; cat $CLUSTER; exit;;\n\
        *' --package drowse-model '*) cat $MODEL; exit;;\nesac\n";
    let pretended = format!("#!/bin/sh\n[ \"$2\" = --version ] && exit\n{install}{cluster}{cargo}\n");
    // Every toolchain is there.
    for (name, script) in [("cargo", pretended.as_str()), ("rustup", "#!/bin/sh\n")] {
        fs::write(bin.join(name), script).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test"))
        .env("PATH", path)
        .env("XDG_CACHE_HOME", dir.path())
        .env("CARGO_HOME", dir.path())
        .env("GOOD", dir.path().join("good"))
        .env("BAD", dir.path().join("bad"))
        .env("CLUSTER", if with_cluster { dir.path().join("cluster") } else { "".into() })
        .env("MODEL", dir.path().join("cluster"))
        .env("TARGET", dir.path().join("target"))
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

#[test]
fn a_good_run_sums_all_tests_and_checks() {
    let (last, good) = make_test("[ $1 = test ] && cat $GOOD; exit 0");
    assert_eq!(
        (last.as_str(), good),
        ("13 passed, 0 failed", true),
        "5 tests, 1 of the model, 1 on a cluster, and format, lints, benchmarks, image, fuzzing and licences"
    );
}

#[test]
fn failed_tests_are_counted_and_fail_the_run() {
    let (last, good) =
        make_test("[ $1 = test ] && sed 's/ok. 3 passed; 0/FAILED. 1 passed; 2/' $GOOD && exit 101; exit 0");
    assert_eq!((last.as_str(), good), ("11 passed, 2 failed", false));
}

#[test]
fn a_test_program_that_dies_is_a_failure() {
    let (last, good) = make_test("[ $1 = test ] && sed '$d' $GOOD && exit 101; exit 0");
    assert_eq!((last.as_str(), good), ("10 passed, 1 failed", false));
}

#[test]
fn tests_that_do_not_build_are_a_failure() {
    let (last, good) = make_test("[ $1 = test ] && echo 'error: could not compile' && exit 101; exit 0");
    assert_eq!((last.as_str(), good), ("8 passed, 1 failed", false));
}

#[test]
fn a_test_program_without_tests_is_a_failure() {
    let (last, good) = make_test("[ $1 = test ] && sed 's/3 passed/0 passed/' $GOOD; exit 0");
    assert_eq!((last.as_str(), good), ("10 passed, 1 failed", false));
    let (last, good) = make_test("exit 0");
    assert_eq!((last.as_str(), good), ("8 passed, 1 failed", false), "no test program at all");
}

#[test]
fn a_run_that_fails_without_a_failed_test_is_a_failure() {
    let (last, good) = make_test("[ $1 = test ] && cat $GOOD && exit 1; exit 0");
    assert_eq!((last.as_str(), good), ("13 passed, 1 failed", false));
}

#[test]
fn a_check_that_finds_something_is_a_failure() {
    let (last, good) = make_test("[ $1 = clippy ] && exit 101; [ $1 = test ] && cat $GOOD; exit 0");
    assert_eq!((last.as_str(), good), ("12 passed, 1 failed", false));
}

#[test]
fn a_cluster_that_does_not_start_is_a_failure() {
    let (last, good) = run("[ $1 = test ] && cat $GOOD; exit 0", false);
    assert_eq!((last.as_str(), good), ("12 passed, 1 failed", false));
}

#[test]
fn what_failed_tests_said_stands_at_the_end_of_the_log() {
    let (out, good) = print("[ $1 = test ] && cat $BAD && exit 101; exit 0", true);
    let (_, end) = out.split_once("\nfailed test: a\n").unwrap_or_else(|| panic!("{out}"));
    assert!(end.starts_with("said 73\n"), "its last 30 lines: {end}");
    assert!(
        end.contains(
            "\na is wrong\n\nfailed test: b\nthread 'b' panicked at tests/it/b.rs:1:1:\nb is wrong\n"
        ),
        "{end}"
    );
    assert!(!good && end.ends_with("\nfailed: tests\n8 passed, 2 failed\n"), "{end}");
    let (out, _) = print("[ $1 = test ] && echo 'error: could not compile' && exit 101; exit 0", true);
    assert!(out.contains("\nthe end of tests:\nerror: could not compile\n"), "{out}");
}

#[test]
fn a_fuzz_target_that_finds_something_is_named_beside_what_it_prints() {
    let fuzzing = "[ $1 = clippy ] && mkdir -p $TARGET && touch $TARGET/finds-routing
        [ $1 = test ] && cat $GOOD; exit 0";
    let (out, good) = print(fuzzing, true);
    assert!(!good && out.contains("routing: FAILED\nfound it\nrouting: FAILED\n"), "{out}");
    assert!(out.ends_with("\nfailed: fuzzing\n12 passed, 1 failed\n"), "{out}");
}
