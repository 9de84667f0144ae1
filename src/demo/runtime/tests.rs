//! The runtime API over real connections, with the shapes that agent-sandbox's Python SDK 1.0.8 sends and reads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::tests::{Running, read};
use super::command::MAX_OUTPUT;
use super::upload::MAX_FILE;

/// An agent with its folder of files.
struct World {
    agent: Running,
    dir: TempDir,
}

impl World {
    async fn new(options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        Self { agent: Running::start_with(&dir, options).await, dir }
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let request = Request::post(path).header("host", "x").header("content-type", content_type);
        let request = request.body(Full::new(body.into())).unwrap();
        let (status, _, text) = read(self.agent.send(request).await.unwrap()).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn execute(&self, command: &str) -> Value {
        let (status, outcome) =
            self.post("/execute", "application/json", json!({"command": command}).to_string()).await;
        assert_eq!(status, 200, "{outcome}");
        outcome
    }

    async fn upload(&self, path: &str, content: &[u8]) -> (u16, Value) {
        let head = format!(
            "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{path}\"\r\n\
             Content-Type: text/plain\r\n\r\n"
        );
        let body = [head.as_bytes(), content, b"\r\n--X--\r\n"].concat();
        self.post("/upload", "multipart/form-data; boundary=X", body).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (status, _, text) = self.agent.call("GET", path).await;
        (status, text)
    }

    async fn exists(&self, path: &str) -> Value {
        self.agent.json(&format!("/exists/{path}")).await["exists"].clone()
    }
}

fn outcome(stdout: &str, stderr: &str, exit_code: i32) -> Value {
    json!({
        "stdout": stdout, "stderr": stderr, "exit_code": exit_code, "timed_out": false, "truncated": false,
    })
}

#[tokio::test]
async fn builtin_commands_run_where_there_is_no_program() {
    let world = World::new(&[]).await;
    fs::write(world.files().join("a b"), "text").unwrap();
    let folder = fs::canonicalize(world.files()).unwrap();
    for (command, expected) in [
        ("echo hi", outcome("hi\n", "", 0)),
        ("echo 'a  b' \"c\" > d", outcome("a  b c > d\n", "", 0)),
        ("cat 'a b'", outcome("text", "", 0)),
        (
            "cat ../state.json",
            outcome(
                "",
                "cat: ../state.json: access denied: write a path below the folder of files, without `..`\n",
                1,
            ),
        ),
        ("cat nope", outcome("", "cat: nope: no such file or folder\n", 1)),
        ("cat", outcome("", "write `cat FILE` or `pwd`\n", 2)),
        ("pwd", outcome(&format!("{}\n", folder.display()), "", 0)),
        ("true", outcome("", "", 0)),
        ("false", outcome("", "", 1)),
        ("echo 'a", outcome("", "a quote is not closed", 2)),
        ("", outcome("", "there is no command", 2)),
    ] {
        assert_eq!(world.execute(command).await, expected, "{command}");
    }
}

#[tokio::test]
async fn programs_run_only_if_they_may() {
    let world = World::new(&[]).await;
    let refused = world.execute("touch made").await;
    assert_eq!(refused["exit_code"], 127, "{refused}");
    assert!(refused["stderr"].as_str().unwrap().contains("--run-programs"), "{refused}");
    assert!(!world.files().join("made").exists());

    let world = World::new(&["--run-programs"]).await;
    assert_eq!(world.execute("touch made").await, outcome("", "", 0));
    assert!(world.files().join("made").exists(), "it runs in the folder of files");
    assert_eq!(world.execute("sh -c 'echo out; echo err >&2; exit 7'").await, outcome("out\n", "err\n", 7));
    assert_eq!(world.execute("sh -c 'kill -9 $$'").await["exit_code"], -9);
    assert_eq!(world.execute("no-such-program").await["exit_code"], 127);
    assert_eq!(world.execute("./made").await["exit_code"], 126, "not executable");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let world = World::new(&["--run-programs"]).await;
    let order = json!({
        "command": "sh -c 'sleep 1000 & echo $! > pid; wait'", "timeout_seconds": 0.5,
    });
    let (status, answer) = world.post("/execute", "application/json", order.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["exit_code"], &answer["timed_out"]), (&json!(124), &json!(true)), "{answer}");
    assert_eq!(answer["stderr"], "the command was killed after 0.5 seconds");
    let pid = fs::read_to_string(world.files().join("pid")).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    let alive = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let gone = async {
        while alive() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it is killed");
}

#[tokio::test]
async fn output_is_cut_and_the_command_still_ends() {
    let world = World::new(&["--run-programs"]).await;
    let answer = world.execute("head -c 3000000 /dev/zero").await;
    let kept = answer["stdout"].as_str().unwrap().len() as u64;
    assert_eq!((kept, &answer["exit_code"], &answer["truncated"]), (MAX_OUTPUT, &json!(0), &json!(true)));

    let world = World::new(&[]).await;
    fs::File::create(world.files().join("large")).unwrap().set_len(MAX_OUTPUT + 1).unwrap();
    let answer = world.execute("cat large").await;
    assert_eq!(answer["truncated"], true);
}

#[tokio::test]
async fn a_wrong_order_is_told_what_to_write() {
    let world = World::new(&[]).await;
    let json = "application/json; charset=utf-8";
    for (content_type, body, status, part) in [
        ("text/plain", r#"{"command": "true"}"#.to_owned(), 415, "application/json"),
        (json, "{}".to_owned(), 422, "command"),
        (json, r#"{"command": "true", "timeout_seconds": 0}"#.to_owned(), 422, "above 0"),
        (json, r#"{"command": "true", "timeout_seconds": -1}"#.to_owned(), 422, "above 0"),
        (json, format!(r#"{{"command": "echo {}"}}"#, "x".repeat(65_536)), 413, "65536 bytes"),
    ] {
        let (got, answer) = world.post("/execute", content_type, body).await;
        let message = answer["message"].as_str().unwrap();
        assert!(got == status && message.contains(part), "{got} {message}");
    }
    let (status, answer) = world.post("/execute", json, r#"{"command": "true", "other": 1}"#).await;
    assert_eq!((status, &answer["exit_code"]), (200, &json!(0)));
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_sent() {
    let world = World::new(&[]).await;
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let (status, answer) = world.upload("a/b/c.bin", &content).await;
    assert_eq!((status, answer), (200, json!({"message": "File \"a/b/c.bin\" uploaded successfully."})));
    assert_eq!(fs::read(world.files().join("a/b/c.bin")).unwrap(), content);

    let (status, headers, _) = world.agent.call("HEAD", "/download/a%2Fb%2Fc.bin").await;
    assert_eq!((status, headers["content-length"].to_str().unwrap()), (200, "300000"));
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(world.upload("a/b/c.bin", b"new").await.0, 200);
    for path in ["a%2Fb%2Fc.bin", "%2Fa%2Fb%2Fc.bin", "a/b/c.bin", "a%2F%2F.%2Fb/c%2Ebin"] {
        assert_eq!(world.get(&format!("/download/{path}")).await, (200, "new".into()), "{path}");
    }
    assert_eq!(fs::read_dir(world.files().join("a/b")).unwrap().count(), 1, "no draft is left");
}

#[tokio::test]
async fn a_path_is_decoded_once() {
    let world = World::new(&[]).await;
    assert_eq!(world.upload("50%25 ä", b"x").await.0, 200);
    assert_eq!(world.get("/download/50%2525%20%C3%A4").await, (200, "x".into()));
    assert_eq!(world.get("/download/50%25%20%C3%A4").await.0, 404);
}

#[tokio::test]
async fn a_folder_is_listed_in_order_of_names() {
    let world = World::new(&[]).await;
    assert_eq!(world.get("/list/.").await, (200, "[]\n".into()));
    world.upload("b.txt", b"four").await;
    world.upload("a/deep", b"").await;
    symlink("b.txt", world.files().join("link")).unwrap();
    for root in ["", ".", "%2F"] {
        let list = world.agent.json(&format!("/list/{root}")).await;
        let rows: Vec<_> = list.as_array().unwrap().iter().map(|row| (&row["name"], &row["type"])).collect();
        assert_eq!(rows, [(&json!("a"), &json!("directory")), (&json!("b.txt"), &json!("file"))]);
        assert_eq!(list[1]["size"], 4);
        assert!(list[1]["mod_time"].as_f64().unwrap() > 1.7e9, "{list}");
    }
    assert_eq!(world.agent.json("/list/a").await[0]["name"], "deep");
    assert_eq!(world.get("/list/b.txt").await.0, 404);
    assert_eq!(world.get("/list/nope").await.0, 404);
    assert_eq!(world.get("/download/a").await.0, 404, "a folder is no file");
    assert_eq!(world.agent.json("/exists/a%2Fdeep").await, json!({"path": "a/deep", "exists": true}));
    for (path, exists) in [("a", true), (".", true), ("%2F", true), ("nope", false), ("b.txt%2Fx", false)] {
        assert_eq!(world.exists(path).await, exists, "{path}");
    }
}

#[tokio::test]
async fn nothing_outside_of_the_folder_is_read_or_written() {
    let world = World::new(&[]).await;
    let outside = world.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    for (link, target) in [("dir", outside.clone()), ("file", outside.join("secret"))] {
        symlink(target, world.files().join(link)).unwrap();
    }
    for path in ["..", "..%2Foutside%2Fsecret", "../outside/secret", "a%2F..%2F..%2Foutside%2Fsecret", "%00"]
    {
        for call in ["download", "list", "exists"] {
            assert_eq!(world.get(&format!("/{call}/{path}")).await.0, 403, "{call} {path}");
        }
    }
    let absolute = outside.join("secret").display().to_string().replace('/', "%2F");
    for path in ["dir%2Fsecret", "file", &absolute] {
        assert_eq!(world.get(&format!("/download/{path}")).await.0, 404, "{path}");
        assert_eq!(world.exists(path).await, false, "{path}");
    }
    assert_eq!(world.get("/list/dir").await.0, 404);
    assert_eq!(world.upload("../outside/new", b"x").await.0, 403);
    assert_eq!(world.upload("dir/new", b"x").await.0, 404);
    assert_eq!(world.upload(&format!("{}/new", outside.display()), b"x").await.0, 200, "below the folder");
    assert_eq!(world.upload("file", b"x").await.0, 200, "takes the place of the link");
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(world.files().join("file")).unwrap(), "x");
}

#[tokio::test]
async fn a_pipe_is_no_file_and_blocks_nobody() {
    let world = World::new(&["--run-programs"]).await;
    assert_eq!(world.execute("mkfifo pipe").await["exit_code"], 0);
    assert_eq!(world.get("/download/pipe").await.0, 404);
    assert_eq!(world.exists("pipe").await, false);
}

#[tokio::test]
async fn an_upload_that_is_refused_leaves_the_old_file_and_no_draft() {
    let world = World::new(&[]).await;
    world.upload("a", b"old").await;
    let (status, answer) = world.upload("a", &vec![0; usize::try_from(MAX_FILE).unwrap() + 1]).await;
    assert_eq!((status, &answer["message"]), (413, &json!("the file is larger than 64 MiB")));
    let cut = "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nnew";
    assert_eq!(world.post("/upload", "multipart/form-data; boundary=X", cut).await.0, 400);
    assert_eq!(fs::read_to_string(world.files().join("a")).unwrap(), "old");
    assert_eq!(fs::read_dir(world.files()).unwrap().count(), 1);

    let nameless = "--X\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nnew\r\n--X--\r\n";
    for (content_type, body) in [
        ("multipart/form-data; boundary=X", nameless),
        ("multipart/form-data; boundary=X", "--X--\r\n"),
        ("multipart/form-data", nameless),
        ("text/plain", nameless),
    ] {
        let (status, answer) = world.post("/upload", content_type, body).await;
        let message = answer["message"].as_str().unwrap();
        assert!(status == 400 && message.starts_with("send a form with one file"), "{status} {message}");
    }
}
