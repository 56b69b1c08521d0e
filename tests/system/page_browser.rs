//! The page as its users see it: a real daemon and a real browser.

#[path = "page_browser/browser.rs"]
mod browser;
#[path = "page_browser/rollouts_view.rs"]
mod rollouts_view;
#[path = "page_browser/site_view.rs"]
mod site_view;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use self::browser::Browser;
use super::oip::free_address;
use super::site::{Site, light, settled_on};
use super::support::{DEADLINE, Daemon, Workspace, environment, success};

const TOKEN: &str = "correct-horse-battery-staple";
/// What runs something if it becomes markup.
const MARKUP: &str =
    "<script>window.ran = 1</script><img src=\"x\" onerror=\"window.ran = 1\"></bdi></main>";
/// Turns what follows it round.
const TURN: char = '\u{202e}';

/// The figure of a value of the status, among those at the top.
fn figure(pointer: &str) -> String {
    format!("document.querySelector('.tiles [data-status=\"{pointer}\"]')?.textContent")
}

fn feed(daemon: &Daemon, ids: std::ops::Range<u32>) {
    for id in ids {
        let answer = &daemon.feed(&[(&id.to_string(), b"123".to_vec())])[0];
        assert!(answer.result.is_ok(), "{answer:?}");
    }
}

/// The status code of an order that the page sends without a token.
fn order_without_a_token(browser: &Browser, release: &str) -> Value {
    let body = json!({ "release": release }).to_string();
    browser.value(&format!(
        "fetch('api/rollback', {{ method: 'POST', body: {body:?} }}).then(it => it.status)"
    ))
}

#[test]
fn its_numbers_change_and_it_asks_no_other_host() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"");
    let daemon = site.device("cam", &installed, &config).run();
    browser.go(&address);
    browser.wait("document.querySelector('#connection').textContent === 'Connected'");
    browser.wait("document.querySelector('h1').textContent === 'cam at lab'");
    // The key Tab.
    browser.type_into("body", "\u{e004}");
    let focus =
        "[document.activeElement.className, getComputedStyle(document.activeElement).outlineStyle]";
    assert_eq!(browser.value(focus), json!(["skip", "solid"]));
    let results = figure("/counters/results");
    browser.wait(&format!("{results} === '0'"));
    feed(&daemon, 0..3);
    browser.wait(&format!("{results} === '3'"));
    browser.wait("document.querySelectorAll('.outputs article').length === 3");
    assert!(browser.text(".outputs").contains("bytes"));
    browser.wait("document.querySelector('.pipeline .stage [data-status$=p50_us]')");
    assert!(browser.text(".pipeline .stage h3").contains("measure"));

    browser.click("#pause");
    feed(&daemon, 3..5);
    browser.wait("document.querySelector('#connection').textContent === 'Paused; 2 outputs since'");
    assert_eq!(browser.value(&results), "3");
    assert_eq!(browser.text(".outputs h3").lines().count(), 3);
    browser.click("#pause");
    browser.wait(&format!("{results} === '5'"));
    assert!(browser.text(".heading").contains("2 more were not shown"));
    browser.pictures("live");

    browser.view("history");
    browser.wait("document.querySelector('.chart, main .empty')");
    browser.pictures("history-empty");
    browser.view("releases");
    browser.wait("document.querySelector('.slot.serving h3')?.textContent === 'light 1'");
    assert!(browser.text(".orders").contains("page.token-file"));
    let disabled = "[...document.querySelectorAll('.orders button')].every(it => it.disabled)";
    assert_eq!(browser.value(disabled), true);
    browser.pictures("releases");
    assert_eq!(browser.console(), Vec::<String>::new());
    let requests = browser.requests();
    assert!(requests.iter().any(|it| it.ends_with("/api/events")));
    let own = format!("http://{address}/");
    for request in requests {
        assert!(request.starts_with(&own), "{request}");
    }
    let live = daemon.state()["slots"]["live"]["release"].clone();
    let refused = order_without_a_token(&browser, live.as_str().unwrap());
    assert_eq!(refused, 403);

    assert!(daemon.stop().success());
    browser.wait("document.querySelector('#connection').textContent.startsWith('Connection lost')");
}

/// Answers the dialog that asks for the token.
fn give_token(browser: &Browser, asks: &str, token: &str) {
    browser.wait(&format!(
        "document.querySelector('#token') && document.querySelector('dialog').open
            && document.querySelector('#dialog-body').textContent.includes('{asks}')"
    ));
    browser.type_into("#token", token);
    browser.click("#dialog-confirm");
}

#[test]
fn a_swap_appears_and_a_rollback_needs_the_token_and_a_second_answer() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let mut site = Site::new();
    let installed = site.pack(&light(1, ""));
    fs::write(site.workspace.path("token"), TOKEN).unwrap();
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"\ntoken-file = \"token\"");
    let daemon = site.device("cam", &installed, &config).run();
    browser.go(&address);
    give_token(&browser, "asks for its token", "a-token-that-is-wrong");
    give_token(&browser, "refused the token", TOKEN);
    let generation = "document.querySelector('[data-status=\"/release/generation\"]')?.textContent";
    browser.wait(&format!("{generation} === '1'"));
    let second = site.pack(&light(2, ""));
    site.publish(&second);
    let state = daemon.feed_until(settled_on(2));
    browser.wait(&format!("{generation} === '2'"));
    browser.wait("document.querySelector('.columns ol').textContent.includes('light 2')");

    browser.view("releases");
    browser.wait(
        "[...document.querySelectorAll('.slot h3')].map(it => it.textContent).join() === 'light 2,light 1'",
    );
    browser.wait("document.querySelector('.stack').textContent.includes('generation')");
    browser.pictures("releases-swapped");
    let live = state["slots"]["live"]["release"].as_str().unwrap();
    assert_eq!(order_without_a_token(&browser, live), 401);
    browser.click(".orders button");
    browser.wait("document.querySelector('dialog').open");
    let asked = browser.text("#dialog-body");
    assert_eq!(asked, "The device leaves light 2 and serves light 1.");
    browser.pictures("roll-back");
    browser.click("#dialog-cancel");
    browser.wait("!document.querySelector('dialog').open");
    assert_eq!(daemon.status().release.unwrap().generation, 2);

    browser.click(".orders button");
    browser.wait("document.querySelector('dialog').open");
    browser.click("#dialog-confirm");
    browser.wait("document.querySelector('main [role=status]').textContent === 'Roll back: done'");
    daemon.wait_until(settled_on(1));
    browser.wait("document.querySelector('.slot.serving h3')?.textContent === 'light 1'");
    browser.view("history");
    browser.wait("document.querySelector('main ol').textContent.includes('rolled back')");
    browser.pictures("history");
    // The browser itself writes each refusal to the console.
    let console = browser.console();
    assert!(
        console.iter().all(|it| it.contains("status of 401")),
        "{console:?}"
    );
}

/// A sample of a release whose pipeline begins with a policy: an insight with this text.
fn telling(text: &str) -> Vec<u8> {
    let outline = [[0, 0], [1, 0], [1, 1], [0, 1]];
    let line = json!({ "text": text, "score": 0.5, "outline": outline });
    json!({ "kind": "text", "lines": [line] })
        .to_string()
        .into_bytes()
}

/// Puts a text before each text of a value.
fn spoil(value: &mut Value, text: &str) {
    match value {
        Value::String(it) => it.insert_str(0, text),
        Value::Array(items) => items.iter_mut().for_each(|it| spoil(it, text)),
        Value::Object(fields) => fields.values_mut().for_each(|it| spoil(it, text)),
        _ => {}
    }
}

/// Nothing of what the page shows has become markup, or turns the text around it.
#[track_caller]
fn assert_is_text(browser: &Browser) {
    assert_eq!(browser.value("window.ran ?? 0"), 0);
    let markup = "document.querySelectorAll('body script, body img, body iframe').length";
    assert_eq!(browser.value(markup), 0);
    let turns = format!(
        "document.body.textContent.includes('\\u{:x}')",
        u32::from(TURN)
    );
    assert_eq!(browser.value(&turns), false);
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn hostile_texts_are_shown_as_text() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let workspace = Workspace::new();
    let policy = environment().root.join("target/guests/empty-policy.wasm");
    let recipe = format!(
        "name = \"told\"\ngeneration = 1\nexpires-in = \"365d\"\n[components.empty-policy]\nfile = \"{}\"\nworld = \"policy\"\n\
         [[pipeline]]\npolicy = \"empty-policy\"\n",
        policy.display()
    );
    let release = workspace.release(&recipe);
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"");
    let daemon = workspace.device("cam", &release, &config).run();
    browser.go(&address);
    browser.wait("document.querySelector('#connection').textContent === 'Connected'");
    let feeder = daemon.feeder(1);
    let turned = format!("{TURN}gpj.exe");
    for (id, text) in [MARKUP, &turned, &"x".repeat(1_000_000)]
        .into_iter()
        .enumerate()
    {
        feeder
            .send("test", "application/json", &id.to_string(), telling(text))
            .unwrap();
        let answer = feeder.next(DEADLINE).unwrap();
        assert!(answer.result.is_ok(), "{text:.80}: {answer:.400?}");
    }
    browser.wait("document.querySelectorAll('.outputs article').length === 3");
    let shown = browser.text(".outputs");
    for text in [
        MARKUP,
        "\u{27e8}U+202E\u{27e9}gpj.exe",
        "(1,000,000 characters)",
    ] {
        assert!(shown.contains(text), "{text}: {shown:.2000}");
    }
    assert!(shown.len() < 10_000, "{}", shown.len());
    assert_is_text(&browser);

    // The same in each text of the status; its names are the keys of some figures.
    let mut status = daemon.state();
    spoil(&mut status, &format!("{MARKUP}{TURN}"));
    status["device"] = format!("{MARKUP}{TURN}{}", "x".repeat(1_000_000)).into();
    status["counters"]["dropped"] = json!({ MARKUP: 2 });
    status["kept_back"] = json!({ MARKUP: { MARKUP: 3 } });
    let event = json!({ "status": status, "left_out": 0 });
    let stream = json!(format!("event: status\ndata: {event}\n\n"));
    let source = format!(
        "const own = window.fetch;
         const stream = () => new ReadableStream({{ start: (it) => it.enqueue(new TextEncoder().encode({stream})) }});
         window.fetch = (path, options) => path === 'api/events' ? Promise.resolve(new Response(stream())) : own(path, options);"
    );
    browser.tool(
        "Page.addScriptToEvaluateOnNewDocument",
        &json!({ "source": source }),
    );
    browser.go(&address);
    browser.wait("document.querySelector('h1').textContent.includes('<script>')");
    assert!(browser.text("h1").len() < 1_000);
    assert!(browser.text("title").len() < 1_000);
    assert!(browser.text(".tiles").contains(MARKUP));
    assert!(browser.text(".columns").contains(MARKUP));
    assert_is_text(&browser);
    browser.pictures("hostile");
    browser.view("releases");
    browser.wait("document.querySelector('.slot.serving')");
    assert_is_text(&browser);
}

/// All figures of the status that the view has: where in the status, the value and the text.
const FIGURES: &str = "[...document.querySelectorAll('main [data-status]')].map(it => [it.dataset.status, it.value, it.textContent])";
/// Texts with digits that are neither a figure, nor a text of the status, nor a time, nor made of figures by the page.
const OTHER_NUMBERS: &str = "(() => {
    const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (node.parentElement.closest('[data-status], [data-derived], bdi, time')) continue;
        if (/[0-9]/.test(node.data.replace(/p50|p95/g, ''))) found.push(node.data);
    }
    return found;
})()";

/// Whether a text says a value, within what it leaves out.
fn says(text: &str, pointer: &str, value: f64) -> bool {
    let mut words = text.split(' ');
    let Some(number) = words.next().and_then(|it| it.replace(',', "").parse().ok()) else {
        return false;
    };
    let number: f64 = number;
    if !pointer.ends_with("_us") {
        return (number - value).abs() < 1e-9;
    }
    let unit = match words.next() {
        Some("\u{b5}s") => 1.0,
        Some("ms") => 1e3,
        Some("s") => 1e6,
        _ => return false,
    };
    (number * unit - value).abs() <= value * 0.005
}

/// What `hotshoe status --json` says.
fn status(config: &Path) -> Value {
    let text = success([
        "status".as_ref(),
        "--config".as_ref(),
        config.as_os_str(),
        "--json".as_ref(),
    ]);
    let answers: Value = serde_json::from_str(&text).unwrap();
    answers[0].clone()
}

/// The figures that differ from the status.
fn differences(browser: &Browser, status: &Value) -> Vec<String> {
    let figures = browser.value(FIGURES);
    let figures = figures.as_array().unwrap().iter();
    figures
        .filter(|figure| {
            let [pointer, value, text] = [0, 1, 2].map(|it| figure[it].as_str().unwrap());
            let there = status.pointer(pointer).and_then(Value::as_f64);
            there.is_none_or(|there| value.parse() != Ok(there) || !says(text, pointer, there))
        })
        .map(|figure| {
            let pointer = figure[0].as_str().unwrap();
            format!("{figure}, not {:?}", status.pointer(pointer))
        })
        .collect()
}

#[test]
fn every_number_is_one_of_status_json() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"");
    let device = workspace.device("cam", &release, &config);
    let daemon = device.run();
    browser.go(&address);
    let feeder = daemon.feeder(1);
    let picture = fs::read(environment().picture("text.png")).unwrap();
    for (id, bytes) in [&picture[..], b"no picture", &picture, &picture]
        .into_iter()
        .enumerate()
    {
        feeder
            .send("test", "image/png", &id.to_string(), bytes.to_vec())
            .unwrap();
        assert_eq!(feeder.next(DEADLINE).unwrap().result.is_ok(), id != 1);
    }
    daemon.wait_until(|state| {
        state["counters"]["in_flight"] == 0 && state["counters"]["results"] == 3
    });
    browser.wait(&format!("{} === '3'", figure("/counters/results")));
    browser.wait("document.querySelector('.pipeline .infer')");
    // The uptime and the memory change: they are compared at one second.
    let started = std::time::Instant::now();
    loop {
        let found = differences(&browser, &status(&device.config));
        if found.is_empty() {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{found:#?}");
    }
    let figures = browser.value(FIGURES).to_string();
    for pointer in [
        "/counters/results",
        "/counters/accepted",
        "/counters/failed",
        "/counters/in_flight",
        "/counters/failed_at/classify-angle-pre",
        "/queue/len",
        "/queue/capacity",
        "/memory/resident_mib",
        "/uptime_s",
        "/stages/0/p50_us",
        "/stages/0/p95_us",
        "/models/0/runs",
        "/models/0/failed",
        "/release/generation",
        "/swaps",
        "/rollbacks",
        "/workers",
        "/session/peers",
    ] {
        assert!(figures.contains(&format!("\"{pointer}\"")), "{pointer}");
    }
    assert_eq!(browser.value(OTHER_NUMBERS), json!([]));
}
