//! Filters in the grammar of a pipeline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{RELEASE_TOML, release};
use hotshoe_trust::{
    Component, PipelineInput, PipelineOutput, Release, ReleaseError, StageFailure, Step, World,
    release_toml::ReleaseToml,
};
use serde_json::json;

fn step(word: &str) -> Step {
    match word {
        "filter" => Step::Filter {
            component: "motion".into(),
        },
        "infer" => Step::Infer {
            model: "detect".into(),
        },
        "stage" => Step::Stage {
            component: "read".into(),
        },
        _ => Step::Policy {
            component: "label".into(),
            on_failure: StageFailure::FailClosed,
        },
    }
}

/// The valid release with a filter, and these steps.
fn with(steps: &str) -> Release {
    let mut release = release();
    let motion = Component {
        world: World::Filter,
        ..release.components["label"].clone()
    };
    release.components.insert("motion".into(), motion);
    release.pipeline = steps.split_whitespace().map(step).collect();
    release
}

#[test]
fn filters_stand_before_everything_else() {
    for good in [
        "filter stage",
        "filter filter stage policy",
        "filter infer policy",
        "filter policy",
    ] {
        with(good).validate().expect(good);
    }
    for (bad, at) in [
        ("filter", 1),
        ("filter filter", 2),
        ("stage filter", 2),
        ("infer filter", 2),
        ("stage policy filter", 3),
    ] {
        let refused = with(bad).validate();
        assert!(
            matches!(refused, Err(ReleaseError::Order { step, .. }) if step == at),
            "{bad}: {refused:?}"
        );
    }
    let mut wrong = with("filter stage");
    wrong.components.get_mut("motion").unwrap().world = World::Policy;
    assert!(matches!(
        wrong.validate(),
        Err(ReleaseError::World {
            step: 1,
            needed: World::Filter,
            ..
        })
    ));
}

#[test]
fn a_filter_changes_neither_input_nor_output_of_a_pipeline() {
    for (steps, input, output) in [
        (
            "filter stage policy",
            PipelineInput::Sample,
            PipelineOutput::Insight,
        ),
        (
            "filter filter infer",
            PipelineInput::Tensors,
            PipelineOutput::Outputs,
        ),
        (
            "filter policy",
            PipelineInput::Insight,
            PipelineOutput::Insight,
        ),
    ] {
        let release = with(steps);
        assert_eq!(PipelineInput::of(&release.pipeline), input, "{steps}");
        assert_eq!(PipelineOutput::of(&release.pipeline), output, "{steps}");
    }
}

#[test]
fn a_filter_is_a_step_of_the_file_and_exports_what_0_2_0_has() {
    let text = RELEASE_TOML.replacen(
        "[[pipeline]]",
        "[[pipeline]]\nfilter = \"motion\"\n[[pipeline]]",
        1,
    );
    let file = ReleaseToml::parse(&text).unwrap();
    let first = file.pipeline[0].step();
    assert_eq!(*first, step("filter"));
    assert_eq!(
        serde_json::to_value(first).unwrap(),
        json!({"filter": {"component": "motion"}})
    );
    let exports: Vec<_> = World::Filter.exports().collect();
    assert_eq!(exports, ["hotshoe:pipeline/admit@0.2.0"]);
}
