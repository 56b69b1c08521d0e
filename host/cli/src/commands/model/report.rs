//! Prints a comparison.

use super::measure::{Comparison, MeasuredModel, SLOWER};
use hotshoe_release::terminal::{Terminal, size};

/// The most decimals that a share of 1 can have.
const MAX_DECIMALS: usize = 17;

/// Prints the tables and the verdict, with these names for the two models.
pub(super) fn print(
    comparison: &Comparison,
    names: [&str; 2],
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let outputs = comparison.outputs.iter().map(|it| {
        vec![
            it.output.clone(),
            format!("{} {}", percent(it.agreement, &[]), it.measure.text()),
            distinct(it.cosine_mean, 6, &[1.0]),
            distinct(it.cosine_min, 6, &[1.0]),
            format!("{:.3e}", it.max_error),
            percent(it.relative_error, &[]),
        ]
    });
    let header = [
        "output",
        "agreement",
        "cosine, mean",
        "minimum",
        "largest error",
        "relative",
    ];
    terminal.print(terminal.figures(&header, outputs))?;
    terminal.print("")?;
    let (first, second) = (&comparison.first, &comparison.second);
    let header = ["model", "backend", "on disk", "memory", "p50", "p95"];
    terminal.print(terminal.figures(&header, [row(names[0], first), row(names[1], second)]))?;
    let ratio = |a: f64, b: f64| if a > 0.0 { b / a } else { 0.0 };
    let memory = match (first.memory_bytes, second.memory_bytes) {
        (Some(a), Some(b)) => format!(", {:.2} times the memory", ratio(a as f64, b as f64)),
        _ => String::new(),
    };
    terminal.print(format!(
        "\n{} has {:.2} times the size of {}{memory}; {}, {} of each, alternating",
        names[1],
        ratio(first.bytes as f64, second.bytes as f64),
        names[0],
        many(comparison.samples, "sample"),
        many(comparison.runs, "timed run")
    ))?;
    terminal.print(speed(comparison, names, terminal))?;
    if comparison.synthetic {
        terminal.print(terminal.warning(
            "the samples are noise, which says little about agreement; give real ones with --inputs",
        ))?;
    }
    let drop = format!(
        "drop {}",
        percent(comparison.drop, comparison.max_drop.as_slice())
    );
    if let Some(problem) = &comparison.problem {
        terminal.print(terminal.bad(problem))?;
    }
    let verdict = match comparison.max_drop {
        None => drop,
        Some(most) if comparison.drop <= most => {
            let within = format!("{drop}, within {}", percent(most, &[]));
            if comparison.passed {
                terminal.good(&within)
            } else {
                within
            }
        }
        Some(most) => terminal.bad(&format!("{drop}, past {}", percent(most, &[]))),
    };
    terminal.print(verdict)
}

/// Which of the two is faster.
fn speed(comparison: &Comparison, names: [&str; 2], terminal: &Terminal) -> String {
    let (first, second) = (comparison.first.backend, comparison.second.backend);
    let on = if first == second {
        format!(" on {first}")
    } else {
        String::new()
    };
    let text = |how: &str| {
        let ([first, second], ratio) = (names, comparison.time_ratio);
        format!("{second} is {how} {first}{on}: it takes {ratio:.2} times as long")
    };
    match comparison.time_ratio {
        ratio if ratio > SLOWER => terminal.bad(&text("slower than")),
        ratio if ratio * SLOWER < 1.0 => terminal.good(&text("faster than")),
        _ => text("as fast as"),
    }
}

fn row(name: &str, measured: &MeasuredModel) -> Vec<String> {
    vec![
        format!("{name}: {}", measured.file.display()),
        match measured.provider.as_str() {
            "cpu" => measured.backend.to_string(),
            provider => format!("{} ({provider})", measured.backend),
        },
        size(measured.bytes),
        measured.memory_bytes.map_or_else(|| "-".to_owned(), size),
        format!("{:.3} ms", measured.p50_ms),
        format!("{:.3} ms", measured.p95_ms),
    ]
}

/// `1 sample`, `4 samples`.
pub(super) fn many(amount: usize, what: &str) -> String {
    let ending = if amount == 1 { "" } else { "s" };
    format!("{amount} {what}{ending}")
}

/// A percentage such as `99.987 %`. Other shares are never rounded to 0, 1 or one of `marks`.
fn percent(share: f64, marks: &[f64]) -> String {
    let marks = marks.iter().chain(&[0.0, 1.0]).map(|it| it * 100.0);
    let text = distinct(share * 100.0, 3, &marks.collect::<Vec<_>>());
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number with this many decimals, or with more if it would otherwise look like one of `marks`.
fn distinct(value: f64, decimals: usize, marks: &[f64]) -> String {
    let text = |value: f64, decimals: usize| format!("{value:.decimals$}");
    let is_told = |&decimals: &usize| {
        let mut marks = marks.iter().filter(|mark| **mark != value);
        marks.all(|mark| text(*mark, decimals) != text(value, decimals))
    };
    let enough = (decimals..MAX_DECIMALS).find(is_told);
    text(value, enough.unwrap_or(MAX_DECIMALS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_as_long_as_it_has_to_be() {
        assert_eq!(percent(1.0, &[]), "100 %");
        assert_eq!(percent(0.02, &[]), "2 %");
        assert_eq!(percent(0.999_87, &[]), "99.987 %");
        assert_eq!(percent(0.999_999_9, &[]), "99.99999 %");
        assert_eq!(percent(0.0, &[]), "0 %");
        assert_eq!(percent(1e-8, &[0.0]), "0.000001 %");
        assert_eq!(percent(0.020_000_01, &[0.02]), "2.000001 %");
        assert_eq!(percent(0.02, &[0.02]), "2 %");
        assert_ne!(percent(1.0 - f64::EPSILON, &[]), "100 %");
        assert_eq!(distinct(0.999_999_9, 6, &[1.0]), "0.9999999");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(many(1, "sample"), "1 sample");
        assert_eq!(many(2, "timed run"), "2 timed runs");
    }
}
