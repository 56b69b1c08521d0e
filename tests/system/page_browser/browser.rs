//! A headless Chromium with a new profile, driven through WebDriver.

use std::env;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Instant;

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hotshoe_tests::{DEADLINE, Need, free_port, root, skip, until};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Without what Chromium does for itself: it asks no host but those of the page.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en-US",
];
/// Names, widths and heights of the screens that pictures are taken on.
const SCREENS: [(&str, u32, u32); 2] = [("desktop", 1280, 800), ("phone", 390, 844)];
/// Most pixels of a picture's height.
const MAX_HEIGHT: u64 = 6000;

/// A browser, closed when it is dropped.
pub(super) struct Browser {
    runtime: Runtime,
    client: Option<Client>,
    driver: Child,
    _profile: TempDir,
}

/// A command of chromedriver that is not in the standard.
#[derive(Debug)]
struct OwnCommand {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for OwnCommand {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as FromStr>::Err> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

fn program(name: &str) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            format!(
                "there is no `{name}` (`apt-get install --no-install-recommends chromium chromium-driver`)"
            )
        })
}

impl Browser {
    /// Starts it. Without Chromium, the test is skipped.
    pub(super) fn open() -> Option<Self> {
        let programs = program("chromium").and_then(|it| Ok((it, program("chromedriver")?)));
        let (chromium, driver) = match programs {
            Ok(programs) => programs,
            Err(reason) => {
                skip(Need::Browser, &reason);
                return None;
            }
        };
        let port = free_port();
        let profile = TempDir::new().unwrap();
        let driver = Command::new(driver)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let mut browser = Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: None,
            driver,
            _profile: profile,
        };
        until("chromedriver listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let mut capabilities: Capabilities = Map::new();
        capabilities.insert(
            "goog:chromeOptions".to_owned(),
            json!({ "binary": chromium, "args": arguments }),
        );
        capabilities.insert(
            "goog:loggingPrefs".to_owned(),
            json!({ "browser": "ALL", "performance": "ALL" }),
        );
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let connected = browser
            .runtime
            .block_on(builder.connect(&format!("http://127.0.0.1:{port}")));
        browser.client = Some(connected.unwrap());
        Some(browser)
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Opens the page at an address.
    pub(super) fn go(&self, address: &str) {
        let url = format!("http://{address}/");
        self.runtime.block_on(self.client().goto(&url)).unwrap();
    }

    /// Opens a view of the page.
    pub(super) fn view(&self, name: &str) {
        self.click(&format!("nav a[href='#{name}']"));
        self.wait(&format!(
            "document.querySelector('nav a[aria-current]').hash === '#{name}'"
        ));
    }

    /// The value of an expression of JavaScript; that of a promise when it is there.
    pub(super) fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        let run = self.client().execute(&script, Vec::new());
        self.runtime
            .block_on(run)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until an expression of JavaScript is true.
    #[track_caller]
    pub(super) fn wait(&self, expression: &str) {
        let started = Instant::now();
        while self.value(&format!("Boolean({expression})")) != true {
            let page = || self.value("document.body.innerText");
            assert!(
                started.elapsed() < DEADLINE,
                "still not so: {expression}\n{}",
                page().as_str().unwrap_or_default()
            );
        }
    }

    /// The text of all that a selector finds, as it is there.
    pub(super) fn text(&self, selector: &str) -> String {
        let found =
            format!("[...document.querySelectorAll({selector:?})].map(it => it.textContent)");
        let texts = self.value(&found);
        let texts = texts.as_array().unwrap().iter();
        texts
            .map(|it| it.as_str().unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub(super) fn click(&self, selector: &str) {
        let find = self.client().find(Locator::Css(selector));
        let found = self.runtime.block_on(find).unwrap();
        self.runtime.block_on(found.click()).unwrap();
    }

    /// Types a text into a field.
    pub(super) fn type_into(&self, selector: &str, text: &str) {
        let find = self.client().find(Locator::Css(selector));
        let found = self.runtime.block_on(find).unwrap();
        self.runtime.block_on(found.send_keys(text)).unwrap();
    }

    fn own(&self, path: &'static str, body: Value) -> Value {
        let command = OwnCommand { path, body };
        self.runtime
            .block_on(self.client().issue_cmd(command))
            .unwrap()
    }

    /// A command of the browser's developer tools.
    pub(super) fn tool(&self, name: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.own("goog/cdp/execute", body)
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.own("se/log", json!({ "type": kind }));
        log.as_array().unwrap().clone()
    }

    /// What the console has had since the last call.
    pub(super) fn console(&self) -> Vec<String> {
        let log = self.log("browser");
        log.iter()
            .map(|it| it["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The addresses in the network that were asked for since the last call: not those inside the browser, such as its first tab's.
    pub(super) fn requests(&self) -> Vec<String> {
        let log = self.log("performance");
        log.iter()
            .map(|it| serde_json::from_str(it["message"].as_str().unwrap()).unwrap())
            .filter(|it: &Value| it["message"]["method"] == "Network.requestWillBeSent")
            .map(|it| {
                let url = &it["message"]["params"]["request"]["url"];
                url.as_str().unwrap().to_owned()
            })
            .filter(|it| {
                ["http", "ws", "ftp"]
                    .iter()
                    .any(|scheme| it.starts_with(scheme))
            })
            .collect()
    }

    fn screen(&self, width: u32, height: u64, is_phone: bool) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.tool("Emulation.setDeviceMetricsOverride", &screen);
        // A page that is wider than a phone makes it zoom out.
        self.wait(&format!(
            "Math.abs(visualViewport.height * visualViewport.scale - {height}) < 2"
        ));
    }

    /// Writes pictures of the open view to `target/page`, on each screen in light and in dark. Nothing is wider than the screen.
    pub(super) fn pictures(&self, name: &str) {
        let folder = root().join("target/page");
        fs::create_dir_all(&folder).unwrap();
        for (screen, width, height) in SCREENS {
            for theme in ["light", "dark"] {
                let theme_of = json!({ "features": [
                    { "name": "prefers-color-scheme", "value": theme },
                    // Colours that are on their way would be in the picture.
                    { "name": "prefers-reduced-motion", "value": "reduce" },
                ] });
                self.tool("Emulation.setEmulatedMedia", &theme_of);
                self.screen(width, height.into(), screen == "phone");
                let wide = self.value("document.documentElement.scrollWidth");
                assert!(
                    wide.as_u64().unwrap() <= u64::from(width),
                    "{name} has {wide} pixels on {screen}"
                );
                let whole = self.value("document.documentElement.scrollHeight");
                let whole = whole.as_u64().unwrap().clamp(u64::from(height), MAX_HEIGHT);
                self.screen(width, whole, screen == "phone");
                let picture = self.runtime.block_on(self.client().screenshot()).unwrap();
                let file = folder.join(format!("{name}-{screen}-{theme}.png"));
                fs::write(file, picture).unwrap();
            }
        }
        self.tool("Emulation.clearDeviceMetricsOverride", &json!({}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(client.close());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
