//! Requests about shared data, and answers: what is read merges, in either order, to the same state.
#![no_main]

use std::sync::LazyLock;

use hotshoe_shared_data::{
    Action, Answer, Definition, JsonText, Replica, Request, Rule, SharedDataError, SharedValue,
    SignedRequest, Writer, read_answer, read_request,
};
use hotshoe_trust::{Signatures, SigningKey, TrustRoot};
use libfuzzer_sys::fuzz_target;

/// Some day, in milliseconds since 1970-01-01T00:00:00Z: that of the seeds.
const NOW_MS: u64 = 1_800_000_000_000;

static ROOT: LazyLock<TrustRoot> = LazyLock::new(|| {
    let key = SigningKey::generate()
        .and_then(|key| key.public_key())
        .expect("a key");
    let text = format!(
        "version = 1\nthreshold = 1\n\n{}",
        TrustRoot::key_entry("a", &key, &["*"])
    );
    TrustRoot::parse(&text).expect("a root")
});

fn replica(rule: Rule) -> Replica {
    let mut replica = Replica::new(Writer::device("line-4"));
    replica.define("name", Definition::new(rule));
    replica
}

fn check(state: SharedValue) {
    let (mut one, mut other) = (replica(state.rule()), replica(state.rule()));
    let own = JsonText::try_from("1".to_owned()).expect("JSON");
    let written = match state.rule() {
        Rule::Append => other.append("name", own, NOW_MS),
        _ => other.set("name", own, NOW_MS),
    };
    written.expect("a write");
    let exchange = |to: &mut Replica, state: &SharedValue| -> Result<(), SharedDataError> {
        to.exchange("name", state.clone(), NOW_MS, NOW_MS).map(drop)
    };
    let taken = exchange(&mut one, &state);
    assert_eq!(taken.is_ok(), exchange(&mut other, &state).is_ok());
    if taken.is_ok() {
        let theirs = other.state("name").expect("a state").clone();
        exchange(&mut one, &theirs).expect("a replica's own state is valid");
        assert_eq!(one.state("name").expect("a state"), &theirs);
    }
}

fuzz_target!(|data: &[u8]| {
    let optional = read_request(data, "lab", "line-4", Signatures::Optional(&ROOT));
    if let Ok(checked) = optional
        && let Action::Exchange { state, .. } = checked.request.shared_data
    {
        let required = read_request(data, "lab", "line-4", Signatures::Required(&ROOT));
        assert!(required.is_err(), "no signer has that key");
        check(state);
    }
    // The request alone, which the fuzzer would seldom wrap.
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let bytes = SignedRequest::new(&request).to_bytes();
        let _ = read_request(&bytes, "lab", "line-4", Signatures::Optional(&ROOT));
    }
    if let Ok(Answer::Value { state, .. }) = read_answer(data, "name") {
        check(state);
    }
});
