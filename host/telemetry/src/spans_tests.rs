#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::UNIX_EPOCH;

use hotshoe_daemon::TracedEnd;
use hotshoe_pipeline::StageTime;

use super::*;

const PARENT: [u8; 8] = [7; 8];

fn sample(stages: &[(&str, u64)], end: TracedEnd) -> TracedSample {
    TracedSample {
        context: TraceContext::root([1; 16], [2; 8]),
        parent: Some(PARENT),
        id: "page-7".to_owned(),
        source: "hotshoe/lab/cam/input/page".to_owned(),
        arrival: Arrival::Message,
        release: Some(("light".to_owned(), 3)),
        arrived: UNIX_EPOCH + Duration::from_secs(1),
        queued: Some(Duration::from_micros(10)),
        stages: stages
            .iter()
            .map(|(name, micros)| StageTime {
                name: (*name).to_owned(),
                micros: *micros,
            })
            .collect(),
        total: Duration::from_micros(100),
        end,
    }
}

fn result() -> TracedEnd {
    TracedEnd {
        outcome: "result",
        reason: None,
        stage: None,
    }
}

/// Name, begin and end in microseconds after the arrival.
fn times(spans: &[Span]) -> Vec<(&str, u64, u64)> {
    let since = |nanos: u64| nanos.checked_sub(1_000_000_000).unwrap() / 1_000;
    spans
        .iter()
        .map(|it| {
            let (begin, end) = (it.start_time_unix_nano, it.end_time_unix_nano);
            (it.name.as_str(), since(begin), since(end))
        })
        .collect()
}

#[test]
fn stages_follow_each_other_and_models_are_parts_of_their_component() {
    let stages = [
        ("pre", 20),
        ("pre/small", 5),
        ("pre/large", 7),
        ("prelude", 30),
        ("policy", 4),
    ];
    let spans = spans(&sample(&stages, result()));
    assert_eq!(
        times(&spans),
        [
            ("process", 0, 100),
            ("queue", 0, 10),
            ("pre", 10, 30),
            ("pre/small", 10, 15),
            ("pre/large", 15, 22),
            ("prelude", 30, 60),
            ("policy", 60, 64),
        ]
    );
    let parents: Vec<&[u8]> = spans
        .iter()
        .map(|it| it.parent_span_id.as_slice())
        .collect();
    let (root, pre) = (spans[0].span_id.as_slice(), spans[2].span_id.as_slice());
    assert_eq!(root, [2; 8]);
    assert_eq!(parents, [&PARENT, root, root, pre, pre, root, root]);
    assert!(spans.iter().all(|it| it.trace_id == [1; 16]));
    let mut ids: Vec<_> = spans.iter().map(|it| it.span_id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());
}

#[test]
fn a_failure_has_its_stage_and_its_name_and_no_text() {
    let end = TracedEnd {
        outcome: "failed",
        reason: Some("trap".to_owned()),
        stage: Some("pre".to_owned()),
    };
    let spans = spans(&sample(&[("pre", 20)], end));
    let failed = |span: &Span| {
        let status = span.status.clone().unwrap_or_default();
        assert_eq!(status.message, "");
        status.code == i32::from(StatusCode::Error)
    };
    assert_eq!(
        spans.iter().map(failed).collect::<Vec<_>>(),
        [true, false, true]
    );
    for span in [&spans[0], &spans[2]] {
        assert!(span.attributes.contains(&text("error.type", "trap")));
    }
}

#[test]
fn a_sample_that_is_dropped_in_the_queue_has_one_span() {
    let end = TracedEnd {
        outcome: "dropped",
        reason: Some("queue_full_oldest".to_owned()),
        stage: None,
    };
    let mut dropped = sample(&[], end);
    dropped.queued = None;
    let spans = spans(&dropped);
    assert_eq!(times(&spans), [("process", 0, 100)]);
    assert_eq!(spans[0].kind, i32::from(SpanKind::Consumer));
}
