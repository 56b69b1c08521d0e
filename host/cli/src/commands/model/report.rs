//! A comparison for people.

use super::measure::{Comparison, Subject};
use crate::terminal::{Terminal, size};

/// Prints the tables and the verdict.
pub fn print(comparison: &Comparison, terminal: &Terminal) -> anyhow::Result<()> {
    let outputs = comparison.outputs.iter().map(|it| {
        vec![
            it.output.clone(),
            format!("{} {}", percent(it.agreement), it.measure.text()),
            format!("{:.6}", it.cosine_mean),
            format!("{:.6}", it.cosine_min),
            format!("{:.3e}", it.max_error),
        ]
    });
    let header = [
        "output",
        "agreement",
        "cosine, mean",
        "least",
        "largest error",
    ];
    terminal.print(terminal.figures(&header, outputs))?;
    terminal.print("")?;
    let (first, second) = (&comparison.first, &comparison.second);
    let header = ["model", "backend", "on disk", "memory", "p50", "p95"];
    terminal.print(terminal.figures(&header, [row(first), row(second)]))?;
    let ratio = |a: f64, b: f64| if a > 0.0 { b / a } else { 0.0 };
    let memory = match (first.memory_bytes, second.memory_bytes) {
        (Some(a), Some(b)) => format!(", {:.2} times the memory", ratio(a as f64, b as f64)),
        _ => String::new(),
    };
    terminal.print(format!(
        "\nB has {:.2} times the size of A{memory}, and takes {:.2} times its time; {} samples, {} timed runs of each by turns",
        ratio(first.bytes as f64, second.bytes as f64),
        ratio(first.p50_ms, second.p50_ms),
        comparison.samples,
        comparison.runs
    ))?;
    let drop = format!("drop {}", percent(comparison.drop));
    let verdict = match comparison.max_drop {
        None => drop,
        Some(most) if comparison.passed => {
            terminal.good(&format!("{drop}, within {}", percent(most)))
        }
        Some(most) => terminal.bad(&format!("{drop}, past {}", percent(most))),
    };
    terminal.print(verdict)
}

fn row(subject: &Subject) -> Vec<String> {
    vec![
        subject.file.display().to_string(),
        match subject.provider.as_str() {
            "cpu" => subject.backend.to_string(),
            provider => format!("{} ({provider})", subject.backend),
        },
        size(subject.bytes),
        subject.memory_bytes.map_or_else(|| "-".to_owned(), size),
        format!("{:.3} ms", subject.p50_ms),
        format!("{:.3} ms", subject.p95_ms),
    ]
}

/// `99.987 %`. What is not whole is never rounded to it.
fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    if text == "100.000" && share < 1.0 {
        return "99.999 %".to_owned();
    }
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_as_long_as_it_has_to_be() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.02), "2 %");
        assert_eq!(percent(0.999_999_9), "99.999 %");
        assert_eq!(percent(0.0), "0 %");
    }
}
