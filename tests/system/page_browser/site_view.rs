//! The page of a site as its users see it: a real registry, real daemons and a real browser.

use super::assert_is_text;
use super::browser::Browser;
use crate::site::Site;
use crate::site_page::{Registry, forged, two_devices};
use crate::support::free_endpoint;

/// Whether so many cells of the map show these letters.
fn cells(letters: &str) -> String {
    format!(
        "[...document.querySelectorAll('.cells .cell')].map(it => it.textContent).sort().join('') === '{letters}'"
    )
}

#[test]
fn the_devices_of_a_site_are_cells_rows_and_a_view_each_and_a_hostile_name_is_text() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let site = Site::new();
    let endpoint = free_endpoint();
    let registry = Registry::start(&site, &endpoint, "", "");
    let [first, second] = two_devices(&site, &endpoint);
    browser.go(&registry.address);
    browser.wait("document.querySelector('#connection').textContent === 'Connected'");
    browser.wait("document.querySelector('h1').textContent === 'Site lab'");
    browser.wait(&cells("LL"));
    browser.pictures("site-map");

    browser.view("table");
    browser.wait("document.querySelectorAll('.devices tbody a').length === 2");
    let rows = browser.text(".devices tbody tr");
    for text in ["cam-a", "cam-b", "light 1", "live", "claimed"] {
        assert!(rows.contains(text), "{text}: {rows}");
    }
    browser.pictures("site-table");
    browser.click(".devices tbody a");
    browser.wait("document.querySelector('main h2').textContent === 'cam-a'");
    browser.wait("document.querySelector('.raw').textContent.startsWith('{')");
    let slots = "JSON.parse(document.querySelector('.raw').textContent).slots";
    assert_eq!(browser.value(slots), first.state()["slots"]);
    browser.pictures("site-device");

    let _odd = forged(
        &endpoint,
        "\u{202e}<script>window.ran = 1<",
        "<img src=x>",
        &second,
    );
    browser.view("map");
    browser.wait(&cells("LLL"));
    browser.view("table");
    let shown = "\u{27e8}U+202E\u{27e9}<script>window.ran = 1<";
    browser.wait(&format!(
        "document.querySelector('.devices').textContent.includes('{shown}')"
    ));
    assert_is_text(&browser);

    // A device that ends stays, and the map says so.
    assert!(second.stop().success());
    browser.view("map");
    browser.wait(&cells("LLO"));
    browser.pictures("site-offline");
    assert_is_text(&browser);
    let own = format!("http://{}/", registry.address);
    for request in browser.requests() {
        assert!(request.starts_with(&own), "{request}");
    }
}
