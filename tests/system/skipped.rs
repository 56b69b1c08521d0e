//! Samples that a component of `hotshoe:pipeline@0.2.0` leaves out, through a real daemon.

use hotshoe_link::FeedError;

use crate::pictures::recipe;
use crate::support::{DEADLINE, Workspace};

#[test]
fn a_skipped_sample_is_counted_and_answered_and_is_no_failure() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe());
    let daemon = workspace.device("a", &release, "").run();
    let feeder = daemon.feeder(4);
    for (number, kind) in ["application/x-skip", "image/png", "application/x-skip"]
        .into_iter()
        .enumerate()
    {
        feeder
            .send("test", kind, &number.to_string(), b"no picture".to_vec())
            .unwrap();
    }
    let mut skipped = 0;
    for _ in 0..3 {
        match feeder.next(DEADLINE).expect("an answer").result {
            Ok(body) => assert_eq!(body["insight"]["kind"], "classes", "{body}"),
            Err(FeedError::Refused(body)) => {
                assert_eq!(body["fault"], "skipped", "{body}");
                assert_eq!(body["message"], "no picture is wanted", "{body}");
                skipped += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(skipped, 2);
    let counters = daemon.status().counters;
    assert!(counters.add_up(), "{counters:?}");
    assert_eq!(
        (counters.accepted, counters.skipped, counters.results),
        (3, 2, 1)
    );
    assert_eq!((counters.failed, counters.faults.len()), (0, 0));
}
