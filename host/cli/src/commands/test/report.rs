//! Prints the results of the tests, as text or JSON.

use std::collections::BTreeMap;

use hotshoe_pipeline::StageTime;
use serde::Serialize;

use super::runner::{TestOutcome, TestResult, TestRun};
use hotshoe_release::terminal::{Terminal, size};

#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    generation: u64,
    passed: usize,
    failed: usize,
    tests: Vec<Test<'a>>,
    stages: Vec<Stage>,
}

#[derive(Serialize)]
struct Test<'a> {
    name: &'a str,
    /// `[[tests]]`, or the recording's folder.
    from: &'a str,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_agreement: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tensors: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    micros: u64,
    stages: &'a [StageTime],
    log: &'a [String],
}

/// The figures of one stage over all tests.
#[derive(Serialize)]
struct Stage {
    name: String,
    runs: usize,
    mean_us: u64,
    max_us: u64,
    /// The peak of linear memory; none for a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// The peak of host tensors and images.
    #[serde(skip_serializing_if = "Option::is_none")]
    tensor_bytes: Option<u64>,
}

/// Prints the results.
pub(super) fn print(run: &TestRun, terminal: &Terminal) -> anyhow::Result<()> {
    let passed = run.tests.iter().filter(|(_, it)| it.passed()).count();
    let failed = run.tests.len() - passed;
    if terminal.json {
        return terminal.json(&Report {
            name: &run.release.name,
            generation: run.release.generation,
            passed,
            failed,
            tests: run.tests.iter().map(|it| test(it, terminal)).collect(),
            stages: stages(run),
        });
    }
    let grants: Vec<String> = run
        .release
        .components
        .values()
        .flat_map(|component| &component.grants)
        .map(ToString::to_string)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let allowed = if grants.is_empty() {
        "it needs no grants".to_owned()
    } else {
        format!("all its grants are allowed: {}", grants.join(", "))
    };
    terminal.print(format!(
        "{}, signed with a throw-away key; {allowed}",
        terminal.bold(&format!(
            "{} generation {}",
            run.release.name, run.release.generation
        ))
    ))?;
    let mut title = "";
    for (group, result) in &run.tests {
        if group != title {
            title = group;
            terminal.print(terminal.dim(title))?;
        }
        one(result, terminal)?;
    }
    terminal.print("")?;
    terminal.print(table(&stages(run), terminal))?;
    let text = format!("{passed} passed, {failed} failed");
    terminal.print(if failed == 0 {
        terminal.good(&text)
    } else {
        terminal.bad(&text)
    })
}

fn one(result: &TestResult, terminal: &Terminal) -> anyhow::Result<()> {
    let word = if result.passed() {
        terminal.good("pass")
    } else {
        terminal.bad("FAIL")
    };
    let text = match &result.outcome {
        TestOutcome::Result {
            passed,
            agreement,
            min_agreement,
            difference,
            ..
        } => {
            let agreement = format!("agreement {agreement:.3}, minimum {min_agreement}");
            match (passed, difference.is_some()) {
                (true, true) => format!("{agreement}, with differences"),
                _ => agreement,
            }
        }
        TestOutcome::Updated(path) => format!("wrote {}", path.display()),
        TestOutcome::NoSnapshot(path) => format!(
            "{} does not exist; check the result, then create it with --update",
            path.display()
        ),
        TestOutcome::Failed(error) => error.to_string(),
    };
    terminal.print(format!(
        "  {word} {}  {}  {text}",
        result.name,
        millis(result.micros())
    ))?;
    if let TestOutcome::Result {
        difference,
        tensors,
        ..
    } = &result.outcome
    {
        if let Some(difference) = difference {
            terminal.print(indented(&difference.text(terminal)))?;
        }
        for line in tensors {
            terminal.print(format!("       {}", terminal.warning(line)))?;
        }
    }
    for line in &result.log {
        terminal.print(format!("       {}", terminal.dim(&format!("log {line}"))))?;
    }
    Ok(())
}

fn test<'a>((from, result): &'a (String, TestResult), terminal: &Terminal) -> Test<'a> {
    let mut test = Test {
        name: &result.name,
        from,
        passed: result.passed(),
        agreement: None,
        min_agreement: None,
        difference: None,
        tensors: &[],
        updated: None,
        error: None,
        fault: None,
        micros: result.micros(),
        stages: &result.stages,
        log: &result.log,
    };
    match &result.outcome {
        TestOutcome::Result {
            agreement,
            min_agreement,
            difference,
            tensors,
            ..
        } => {
            test.agreement = Some(*agreement);
            test.min_agreement = Some(*min_agreement);
            test.difference = difference.as_ref().map(|it| it.text(terminal));
            test.tensors = tensors;
        }
        TestOutcome::Updated(path) => test.updated = Some(path.display().to_string()),
        TestOutcome::NoSnapshot(path) => {
            test.error = Some(format!("{} does not exist", path.display()))
        }
        TestOutcome::Failed(error) => {
            test.error = Some(error.to_string());
            test.fault = Some(error.fault.name());
        }
    }
    test
}

fn stages(run: &TestRun) -> Vec<Stage> {
    let mut order = Vec::new();
    let mut times: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for stage in run.tests.iter().flat_map(|(_, result)| &result.stages) {
        if !times.contains_key(stage.name.as_str()) {
            order.push(stage.name.as_str());
        }
        times.entry(&stage.name).or_default().push(stage.micros);
    }
    let of = |name: &str| {
        let taken = times.get(name).cloned().unwrap_or_default();
        let usage = run.usage.iter().find(|usage| usage.name == name);
        Stage {
            name: name.to_owned(),
            runs: taken.len(),
            mean_us: taken.iter().sum::<u64>() / (taken.len() as u64).max(1),
            max_us: taken.into_iter().max().unwrap_or_default(),
            memory_bytes: usage.map(|it| it.memory_bytes),
            tensor_bytes: usage.map(|it| it.tensor_bytes),
        }
    };
    order.into_iter().map(of).collect()
}

fn table(stages: &[Stage], terminal: &Terminal) -> String {
    let bytes = |held: Option<u64>| held.map_or_else(|| "-".to_owned(), size);
    let rows = stages.iter().map(|stage| {
        vec![
            stage.name.clone(),
            stage.runs.to_string(),
            millis(stage.mean_us),
            millis(stage.max_us),
            bytes(stage.memory_bytes),
            bytes(stage.tensor_bytes),
        ]
    });
    terminal.figures(
        &["stage", "runs", "mean", "most", "memory", "tensors"],
        rows,
    )
}

fn millis(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10)
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("       {line}")).collect();
    lines.join("\n")
}
