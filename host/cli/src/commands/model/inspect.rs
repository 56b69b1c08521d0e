use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_infer::inspect::{Dimension, Fit, Inspection, Port, Work, inspect};
use serde::Serialize;

use super::{OrtArgs, ShapeArgs, read_model};
use hotshoe_release::terminal::{Terminal, size};

/// The most nodes that are listed by name.
const NAMED_NODES: usize = 5;

/// Show the contents of an ONNX file, and which backends can run it
///
/// Shows inputs, outputs, operators, parameters, metadata and an estimate of the multiply-adds of convolutions, matrix products and
/// recurrent layers. An open outermost dimension counts as 1; give other open dimensions with --shape. Nodes inside If, Loop or Scan are
/// listed but not counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe model inspect detect.onnx --shape x=1,3,640,640
  hotshoe model inspect detect.onnx --json | jq '.backends[] | select(.runs | not)'

Exit code 1 if no backend can run it.")]
pub(super) struct Args {
    /// The ONNX file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    shape: ShapeArgs,
    #[command(flatten)]
    ort: OrtArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    bytes: u64,
    #[serde(flatten)]
    inspection: Inspection,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let bytes = read_model(&args.file)?;
    let inspection = inspect(&bytes, &args.shape.shapes()?, &args.ort.options())
        .with_context(|| format!("cannot inspect {}", args.file.display()))?;
    let report = Report {
        file: &args.file,
        bytes: bytes.len() as u64,
        inspection,
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        print(&report, terminal)?;
    }
    Ok(if report.inspection.backends.iter().any(|fit| fit.runs) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(report: &Report<'_>, terminal: &Terminal) -> anyhow::Result<()> {
    let it = &report.inspection;
    let opsets: Vec<String> = it
        .opsets
        .iter()
        .map(|(domain, version)| format!("{domain} {version}"))
        .collect();
    let producer = match it.producer.as_str() {
        "" => "an unnamed tool",
        producer => producer,
    };
    terminal.print(format!(
        "{}  {}, by {producer}; format {}, opset {}",
        terminal.bold(&report.file.display().to_string()),
        size(report.bytes),
        it.ir_version,
        opsets.join(", ")
    ))?;
    let ports = |kind: &str, ports: &[Port]| {
        let rows = ports.iter().map(|port| row(kind, port));
        rows.collect::<Vec<_>>()
    };
    let mut rows = ports("input", &it.inputs);
    rows.extend(ports("output", &it.outputs));
    terminal.print(terminal.table(&["", "name", "type", "shape"], rows))?;
    let by_type = it.parameters.by_type.iter();
    let by_type: Vec<String> = by_type
        .map(|(kind, amount)| format!("{} of {kind}", count(amount.count)))
        .collect();
    terminal.print(format!(
        "\nparameters: {}, {} in memory{}",
        count(it.parameters.count),
        size(it.parameters.bytes),
        in_brackets(&by_type)
    ))?;
    for file in &it.external_files {
        terminal.print(format!(
            "  {} {file}",
            terminal.warning("external weights:")
        ))?;
    }
    work(&it.work, &it.inputs, terminal)?;
    let mut operators: Vec<_> = it.operators.iter().collect();
    operators.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let operators: Vec<String> = operators
        .into_iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    terminal.print(format!("{} nodes: {}", it.nodes, operators.join(", ")))?;
    for (key, value) in &it.metadata {
        terminal.print(format!("metadata {key}: {}", shortened(value)))?;
    }
    terminal.print("")?;
    for fit in &it.backends {
        terminal.print(verdict(fit, terminal))?;
    }
    Ok(())
}

fn row(kind: &str, port: &Port) -> Vec<String> {
    let shape = port
        .shape
        .as_deref()
        .map_or("not stated".to_owned(), |shape| {
            let sizes = shape.iter().map(|dimension| match dimension {
                Dimension::Fixed(size) => size.to_string(),
                Dimension::Open(name) => name.clone(),
            });
            format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
        });
    vec![
        kind.to_owned(),
        port.name.clone(),
        port.element_type.clone(),
        shape,
    ]
}

fn work(work: &Work, inputs: &[Port], terminal: &Terminal) -> anyhow::Result<()> {
    if !work.open.is_empty() {
        let flags: Vec<String> = work.open.iter().map(|name| flag(name, inputs)).collect();
        return terminal.print(format!(
            "multiply-adds: {}",
            terminal.warning(&format!(
                "unknown, because inputs have open dimensions; give {}",
                flags.join(" ")
            ))
        ));
    }
    let Some(total) = work.multiply_adds else {
        let amount = work.not_counted.len();
        let nodes = if amount == 1 { "node is" } else { "nodes are" };
        return terminal.print(format!(
            "multiply-adds: {}",
            terminal.warning(&format!(
                "unknown, because {amount} {nodes} inside If, Loop or Scan, or without a known shape: {}",
                named(&work.not_counted)
            ))
        ));
    };
    let by_operator: Vec<String> = work
        .by_operator
        .iter()
        .map(|(name, part)| format!("{name} {}", count(*part)))
        .collect();
    let shapes: Vec<String> = work
        .shapes
        .iter()
        .map(|(name, shape)| format!("{name} {shape:?}"))
        .collect();
    let mut line = format!(
        "multiply-adds: {}{} per run{} for {}",
        if work.not_counted.is_empty() {
            ""
        } else {
            "more than "
        },
        count(total),
        in_brackets(&by_operator),
        shapes.join(", ")
    );
    if !work.assumed.is_empty() {
        line.push_str(&format!(
            "; the open outermost dimension of {} counts as 1",
            work.assumed.join(", ")
        ));
    }
    terminal.print(line)?;
    if !work.not_counted.is_empty() {
        terminal.print(terminal.warning(&format!(
            "  not counted, inside If, Loop or Scan, or without a known shape: {}",
            named(&work.not_counted)
        )))?;
    }
    Ok(())
}

/// The names of the first nodes, and the number of others.
fn named(nodes: &[String]) -> String {
    let first: Vec<&str> = nodes.iter().take(NAMED_NODES).map(String::as_str).collect();
    let first = first.join(", ");
    match nodes.len().saturating_sub(NAMED_NODES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn in_brackets(parts: &[String]) -> String {
    if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    }
}

/// The option `--shape x=1,3,?,?`, with the known sizes.
fn flag(name: &str, inputs: &[Port]) -> String {
    let shape = inputs
        .iter()
        .find(|input| input.name == name)
        .and_then(|input| input.shape.as_deref());
    let sizes = shape.unwrap_or_default().iter();
    let sizes: Vec<String> = sizes
        .enumerate()
        .map(|(position, dimension)| match dimension {
            Dimension::Fixed(size) => size.to_string(),
            Dimension::Open(_) if position == 0 => "1".to_owned(),
            Dimension::Open(_) => "?".to_owned(),
        })
        .collect();
    format!("--shape {name}={}", sizes.join(","))
}

fn verdict(fit: &Fit, terminal: &Terminal) -> String {
    let name = format!("{:<5}", fit.backend.to_string());
    if fit.runs {
        let more = if fit.planned {
            "plans a run with these shapes"
        } else {
            "loads it; give --shape to check whether it can plan a run"
        };
        return format!("{name}  {}  {more}", terminal.good("can run it"));
    }
    let at = match (&fit.operator, &fit.node) {
        (Some(operator), Some(node)) => format!("{operator} (node \"{node}\"): "),
        _ => String::new(),
    };
    let reason = fit.reason.as_deref().unwrap_or_default();
    format!("{name}  {}  {at}{reason}", terminal.bad("cannot"))
}

/// A number with an SI prefix: `1.24 G`.
fn count(number: u64) -> String {
    let value = number as f64;
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{:.2} k", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", value / 1e6),
        _ => format!("{:.2} G", value / 1e9),
    }
}

/// Truncates a metadata value, which may be a whole list of labels.
fn shortened(value: &str) -> String {
    const MOST: usize = 60;
    let line: String = value
        .chars()
        .take(MOST)
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect();
    if value.chars().nth(MOST).is_some() {
        format!("{line}... ({} characters)", value.chars().count())
    } else {
        line
    }
}
