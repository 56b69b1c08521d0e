//! Requests while another release takes the place of the one that serves.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::free_address;
use super::guarded::raw;
use crate::site::{Site, light, settled_on};
use crate::support::{DEADLINE, environment};

/// One run of the model over HTTP: the status line's code, and what follows the head.
pub(crate) fn infer(url: &str, version: &str) -> (String, serde_json::Value) {
    let data = vec!["0"; 3 * 48 * 48].join(",");
    let body = format!(
        "{{\"inputs\":[{{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,3,48,48],\"data\":[{data}]}}]}}"
    );
    let answer = raw(
        url,
        &format!(
            "POST /v2/models/angle{version}/infer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).expect("a status").to_owned();
    (status, serde_json::from_str(body).expect("JSON"))
}

#[test]
fn a_swap_costs_no_request() {
    let mut site = Site::new();
    let model = environment().model("classify-angle");
    let models = format!("[models.angle]\nfile = \"{}\"\n", model.display());
    let (first, second) = (site.pack(&light(1, &models)), site.pack(&light(2, &models)));
    let url = free_address();
    let daemon = site.device("cam", &first, &format!("[oip]\nlisten = \"{url}\""));
    let daemon = daemon.run();
    let done = AtomicBool::new(false);
    let call = || {
        let (mut versions, started) = (BTreeSet::new(), Instant::now());
        // One more when it has ended.
        let mut last = false;
        while !last {
            last = done.load(Ordering::Acquire);
            assert!(started.elapsed() < 2 * DEADLINE, "no swap");
            let (status, answer) = infer(&url, "");
            assert_eq!(status, "200", "{answer}");
            versions.insert(answer["model_version"].as_str().unwrap().to_owned());
        }
        versions
    };
    let found = thread::scope(|scope| {
        let callers = [scope.spawn(call), scope.spawn(call)];
        assert_eq!(infer(&url, "/versions/1").0, "200");
        site.publish(&second);
        daemon.feed_until(settled_on(2));
        done.store(true, Ordering::Release);
        callers.map(|caller| caller.join().expect("a caller"))
    });
    for versions in found {
        assert_eq!(versions, ["1", "2"].map(str::to_owned).into());
    }
    let (status, answer) = infer(&url, "/versions/1");
    assert_eq!(status, "404", "{answer}");
}
