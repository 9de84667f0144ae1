//! A headless Chromium, driven over HTTP by the program that is made for it (`WebDriver`). One for all tests of the page that wait for
//! it or use it; the last of them ends it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{eventually, free_port, http};

/// It shows one page at a time, so one test has it at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static SHARED: Mutex<Shared> = Mutex::new(Shared { tests: 0, browser: None });

struct Shared {
    /// Those that use it and those that wait for it.
    tests: usize,
    browser: Option<Arc<Browser>>,
}

/// A test's wish for the browser. Make it before anything slow, so that there is one browser for all.
pub(super) struct Wish(());

impl Wish {
    pub(super) fn new() -> Self {
        SHARED.lock().tests += 1;
        Self(())
    }

    /// Waits for the turn.
    pub(super) async fn granted(&self) -> Turn {
        let turn = TURN.lock().await;
        let known = SHARED.lock().browser.clone();
        let browser = match known {
            Some(browser) => browser,
            None => Arc::new(Browser::start().await),
        };
        SHARED.lock().browser = Some(Arc::clone(&browser));
        Turn { browser, _turn: turn }
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let mut shared = SHARED.lock();
        shared.tests -= 1;
        // Ended here, so that no test program ends before its browser.
        let last = if shared.tests == 0 { shared.browser.take() } else { None };
        drop(shared);
        drop(last);
    }
}

/// The browser is this test's now.
pub(super) struct Turn {
    browser: Arc<Browser>,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

impl std::ops::Deref for Turn {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

/// A browser with one window.
pub(super) struct Browser {
    driver: Child,
    at: SocketAddr,
    session: String,
    /// Chromium writes into it, and lives a little longer than it is asked to.
    profile: TempDir,
}

/// For a machine without a screen, and so that it asks nobody for anything by itself.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// The page asks every two seconds; tests do not wait for that.
const QUICK: &str = "const own = setTimeout;
  window.setTimeout = (what, ms, ...more) => own(what, ms < 1000 ? ms : ms / 20, ...more);";

impl Browser {
    async fn start() -> Self {
        let (chromium, driver) = programs().await;
        let profile = TempDir::new().unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let driver = Command::new(driver)
            .arg(format!("--port={}", at.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver");
        let mut browser = Self { driver, at, session: String::new(), profile };
        eventually("ChromeDriver is ready", async || {
            let status = http::get(at, &at.to_string(), "/status").await;
            status.is_ok_and(|answer| answer.json()["value"]["ready"] == true)
        })
        .await;
        let mut arguments: Vec<_> = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", browser.profile.path().display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
        }}});
        let session = browser.call("POST", "/session", &wanted).await;
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        let quick = json!({"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": QUICK}});
        browser.command("goog/cdp/execute", &quick).await;
        browser
    }

    /// One command of the session.
    pub(super) async fn command(&self, what: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}/{what}", self.session), body).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = Request::builder().method(method).uri(path).header("host", self.at.to_string());
        let request = request.header("content-type", "application/json");
        let body = Full::new(Bytes::from(body.to_string()));
        let answer = http::send(self.at, request.body(body).unwrap()).await.expect("ChromeDriver answers");
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium with all of its processes. There is no runtime here.
        let asked = TcpStream::connect(self.at).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let (session, at) = (&self.session, self.at);
            write!(stream, "DELETE /session/{session} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n")?;
            stream.read(&mut [0; 1024])
        });
        if let Err(error) = asked {
            eprintln!("Chromium was not ended: {error}");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Chromium and what drives it.
async fn programs() -> (String, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/browser");
    let output = tokio::process::Command::new(script).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = said.lines().map(str::to_owned);
    match (output.status.success(), lines.next(), lines.next()) {
        (true, Some(chromium), Some(driver)) => (chromium, driver),
        _ => panic!("scripts/browser: {}{}", said, String::from_utf8_lossy(&output.stderr)),
    }
}
