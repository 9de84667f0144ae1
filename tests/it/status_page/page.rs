//! The status page in the browser: what is to be seen on it, and what one does with it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::browser::Turn;
use crate::support::{Drowse, eventually};

/// What the driver calls some keys.
pub(super) const TAB: &str = "\u{e004}";
pub(super) const ENTER: &str = "\u{e007}";
pub(super) const ESCAPE: &str = "\u{e00c}";

/// The page of one Drowse.
pub(super) struct Page {
    browser: Turn,
    at: SocketAddr,
}

impl Page {
    /// Opens a path, in a window that remembers nothing.
    pub(super) async fn open(browser: Turn, drowse: &Drowse, path: &str) -> Self {
        let page = Self { browser, at: drowse.admin };
        page.size(1280, 800).await;
        page.colours("light").await;
        // What is stored belongs to the tab and the address, so it is another's only if the address is.
        page.browser.command("url", &json!({"url": "about:blank"})).await;
        for log in ["browser", "performance"] {
            page.log(log).await;
        }
        page.go(path).await;
        page
    }

    /// Follows a path.
    pub(super) async fn go(&self, path: &str) {
        self.browser.command("url", &json!({"url": format!("http://{}{path}", self.at)})).await;
    }

    /// What an expression of JavaScript is.
    pub(super) async fn see(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.browser.command("execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Waits until an expression is true.
    pub(super) async fn until(&self, expression: &str) {
        eventually(expression, async || self.see(expression).await == true).await;
    }

    /// The text of the first element.
    pub(super) async fn text(&self, selector: &str) -> String {
        let text = self.see(&format!("document.querySelector({selector:?})?.innerText ?? ''")).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text of the first such element has this in it.
    pub(super) async fn until_text(&self, selector: &str, part: &str) {
        let what = format!("{part:?} in {selector}");
        eventually(&what, async || self.text(selector).await.contains(part)).await;
    }

    /// The agents that are listed, in order.
    pub(super) async fn agents(&self) -> Vec<String> {
        let names =
            self.see("[...document.querySelectorAll('#rows a')].map((link) => link.textContent)").await;
        names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// Waits until these agents are listed.
    pub(super) async fn until_agents(&self, agents: &[&str]) {
        eventually(&format!("{agents:?} are listed"), async || self.agents().await == agents).await;
    }

    /// Types on the keyboard, wherever the focus is.
    pub(super) async fn keys(&self, keys: &str) {
        let both =
            |key: char| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let actions: Vec<_> = keys.chars().flat_map(both).collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.browser.command("actions", &json!({"actions": [keyboard]})).await;
    }

    /// Clicks on the first such element.
    pub(super) async fn click(&self, selector: &str) {
        let found = json!({"using": "css selector", "value": selector});
        let element = self.browser.command("element", &found).await;
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.browser.command(&format!("element/{id}/click"), &json!({})).await;
    }

    /// A window of this size.
    pub(super) async fn size(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.tools("Emulation.setDeviceMetricsOverride", &size).await;
    }

    /// A reader who wants it `light` or `dark`.
    pub(super) async fn colours(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.tools("Emulation.setEmulatedMedia", &features).await;
    }

    /// A command of Chromium's own.
    pub(super) async fn tools(&self, command: &str, parameters: &Value) -> Value {
        self.browser.command("goog/cdp/execute", &json!({"cmd": command, "params": parameters})).await
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        self.browser.command("se/log", &json!({"type": kind})).await.as_array().unwrap().clone()
    }

    /// Nothing was asked of anybody but this Drowse, and the console has no error but those that have one of these in them.
    pub(super) async fn assert_clean(&self, expected: &[&str]) {
        let is_expected = |text: &str| expected.iter().any(|part| text.contains(part));
        for entry in self.log("browser").await {
            let text = entry["message"].as_str().unwrap_or_default().to_owned();
            assert!(is_expected(&text), "the console says: {entry}");
        }
        let (mut own, origin) = (0, format!("http://{}/", self.at));
        for entry in self.log("performance").await {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            if message["message"]["method"] != "Network.requestWillBeSent" {
                continue;
            }
            let url = message["message"]["params"]["request"]["url"].as_str().unwrap().to_owned();
            assert!(url.starts_with(&origin), "asked for {url}");
            own += 1;
        }
        assert!(own > 3, "the log of requests has {own} only");
    }
}
