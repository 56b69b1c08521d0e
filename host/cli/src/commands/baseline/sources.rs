//! What is measured if nothing is chosen.

use hotshoe_drift::{MAX_SERIES, SAMPLE, Source};
use hotshoe_engine::Insight;
use hotshoe_pipeline::Trace;

/// Scores, counts and labels by the kind of an insight, and statistics of the picture and of the first input of each model.
pub(super) fn of(insight: &Insight, trace: &Trace) -> Vec<Source> {
    let mut texts: Vec<String> = of_insight(insight).into_iter().map(str::to_owned).collect();
    if let Insight::Scalars { scalars } = insight {
        texts.extend((0..scalars.len()).map(|number| format!("mean(scalars.{number}.value)")));
    }
    let is_picture = |content_type: &str| {
        content_type.starts_with("image/") || content_type.starts_with("video/x-raw")
    };
    let sample = trace.inner.as_ref().or(trace.sample.as_ref());
    if sample.is_some_and(|sample| is_picture(&sample.content_type)) {
        texts.extend(statistics(SAMPLE));
    }
    let mut models: Vec<&str> = trace
        .inputs
        .iter()
        .map(|(model, _)| model.as_str())
        .collect();
    models.dedup();
    for model in models {
        texts.extend(statistics(model));
    }
    let mut sources: Vec<Source> = texts.iter().filter_map(|it| it.parse().ok()).collect();
    sources.truncate(MAX_SERIES);
    sources
}

fn of_insight(insight: &Insight) -> Vec<&'static str> {
    match insight {
        Insight::Classes { .. } => vec!["max(classes.*.score)", "label(classes.0.label)"],
        Insight::Detections { .. } => vec![
            "mean(detections.*.score)",
            "count(detections)",
            "label(detections.*.label)",
        ],
        Insight::Text { .. } => vec!["mean(lines.*.score)", "count(lines)"],
        Insight::Embedding { .. } => vec!["embedding(values)"],
        Insight::Scalars { .. } | Insight::Mask { .. } | Insight::Custom { .. } => Vec::new(),
    }
}

fn statistics(of: &str) -> [String; 3] {
    ["brightness", "contrast", "sharpness"].map(|statistic| format!("{statistic}({of})"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use std::sync::Arc;

    use hotshoe_engine::{Sample, Scalar};

    use super::*;

    fn texts(insight: &Insight, trace: &Trace) -> Vec<String> {
        of(insight, trace).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_kind_of_insight_the_picture_and_the_models_say_what_is_measured() {
        let trace = Trace {
            sample: Some(Sample {
                id: "a".to_owned(),
                source: "a".to_owned(),
                content_type: "image/png".to_owned(),
                timestamp_us: 0,
                payload: Arc::from(Vec::new()),
            }),
            inputs: vec![("read".to_owned(), Vec::new())],
            ..Trace::default()
        };
        let text = Insight::Text { lines: Vec::new() };
        let expected = [
            "mean(lines.*.score)",
            "count(lines)",
            "brightness(@sample)",
            "contrast(@sample)",
            "sharpness(@sample)",
            "brightness(read)",
            "contrast(read)",
            "sharpness(read)",
        ];
        assert_eq!(texts(&text, &trace), expected);
    }

    #[test]
    fn each_scalar_is_measured_up_to_the_limit() {
        let scalar = |number: usize| Scalar {
            name: number.to_string(),
            value: 0.0,
            unit: String::new(),
        };
        let scalars = (0..40).map(scalar).collect();
        let found = texts(&Insight::Scalars { scalars }, &Trace::default());
        assert_eq!(found.len(), MAX_SERIES);
        assert_eq!(found[1], "mean(scalars.1.value)");
    }
}
