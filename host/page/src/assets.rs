//! The files of the page, which are in the program.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, Response};
use include_dir::{Dir, include_dir};

use crate::error::PageRequestError;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/files");

/// What the browser holds the page to: only its own files and its own server. So text of a component that became markup would run nothing,
/// and reach no other host.
const HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The first file of a device's page.
pub(crate) const DEVICE: &str = "index.html";
/// The first file of a site's page.
pub(crate) const SITE: &str = "site.html";

/// Answers a request for a file.
pub(crate) fn answer(
    method: &Method,
    path: &str,
    index: &str,
) -> Result<Response<Body>, PageRequestError> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(PageRequestError::Method(method.to_string()));
    }
    find(path, index).ok_or_else(|| PageRequestError::NoPath(path.to_owned()))
}

/// The file at a path; `index` is at the root. It has nothing of a device, so it needs no token: the page that asks for the token is one of
/// them.
pub(crate) fn find(path: &str, index: &str) -> Option<Response<Body>> {
    let name = match path.trim_start_matches('/') {
        "" => index,
        name => name,
    };
    let file = FILES.get_file(name)?;
    let mut response = Response::new(Body::from(file.contents()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Some(guarded(response))
}

/// Adds the rules for the browser.
pub(crate) fn guarded(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    #[test]
    fn the_page_is_at_the_root_and_other_paths_are_nothing() {
        for index in [DEVICE, SITE] {
            let page = find("/", index).unwrap();
            assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        }
        for path in ["/../Cargo.toml", "/nothing.js", "/js", "//etc/passwd"] {
            assert!(find(path, DEVICE).is_none(), "{path}");
        }
    }

    #[test]
    fn no_file_names_another_host_or_has_script_or_style_in_markup() {
        for file in FILES.files() {
            let text = file.contents_utf8().unwrap();
            let name = file.path().display();
            // The name of a namespace is not fetched.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !text.contains("http:") && !text.contains("https:"),
                "{name}"
            );
            for unsafe_use in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!text.contains(unsafe_use), "{name}: {unsafe_use}");
            }
            assert!(
                !text.contains(" style=\""),
                "{name}: the policy refuses styles in markup"
            );
            assert!(!text.contains(" onclick="), "{name}");
        }
    }

    /// The relative luminance of `#rrggbb`, as WCAG 2 defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.03928 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    #[test]
    fn text_has_the_contrast_of_wcag_aa_in_light_and_in_dark() {
        let css = FILES.get_file("page.css").unwrap().contents_utf8().unwrap();
        let themes: Vec<&str> = css.split(":root {").skip(1).collect();
        assert_eq!(themes.len(), 2);
        for theme in themes {
            let colour = |name: &str| {
                let (_, rest) = theme.split_once(&format!("--{name}: ")).unwrap();
                luminance(rest.split(';').next().unwrap())
            };
            let contrast = |a: &str, b: &str| {
                let (a, b) = (colour(a), colour(b));
                (a.max(b) + 0.05) / (a.min(b) + 0.05)
            };
            for text in ["text", "muted", "accent", "good", "warning", "bad"] {
                for behind in ["background", "panel"] {
                    let found = contrast(text, behind);
                    assert!(found >= 4.5, "{text} on {behind}: {found}");
                }
            }
            assert!(contrast("on-accent", "accent") >= 4.5);
            // Borders of controls and lines of charts.
            assert!(contrast("line", "background") >= 3.0);
        }
    }
}
