//! The statistics against SciPy and NumPy.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hotshoe_drift::{
    Baseline, BaselineBuilder, Measured, Monitor, Source, TensorStatistics, Test, Value, Verdict,
    cuts, kolmogorov_smirnov, psi,
};
use hotshoe_tests::{Need, skip};
use hotshoe_trust::Drift;
use serde_json::{Value as Json, json};

use super::Random;
use crate::python::installed;

const PACKAGES: [&str; 2] = ["numpy==2.4.6", "scipy==1.17.1"];

/// Reads a list of cases as JSON, and prints the result of each.
const REFERENCE: &str = r#"
import json, sys
import numpy as np
from scipy import stats
from scipy.spatial.distance import mahalanobis

def ks(case):
    found = stats.ks_2samp(case["one"], case["other"], method="asymp")
    return [float(found.statistic), float(found.pvalue)]

def psi(case):
    found, expected = (np.array(case[key]) + 0.5 for key in ("window", "baseline"))
    p, q = found / found.sum(), expected / expected.sum()
    index = float(np.sum((p - q) * np.log(p / q)))
    noise = 1 / case["n"] + 1 / case["m"]
    return [index, float(stats.chi2.sf(index / noise, len(p) - 1))]

def cuts(case):
    tenths = [np.quantile(case["values"], tenth / 10, method="inverted_cdf") for tenth in range(1, 10)]
    return [float(it) for it in dict.fromkeys(tenths)]

def embedding(case):
    vectors, window = np.array(case["vectors"]), np.array(case["window"])
    (m, p), n = vectors.shape, len(window)
    covariance = np.cov(vectors.T, bias=True)
    trace, squares = np.trace(covariance), np.sum(covariance ** 2)
    shrinkage = ((1 - 2 / p) * squares + trace ** 2) / ((m + 1 - 2 / p) * (squares - trace ** 2 / p))
    shrinkage = min(shrinkage, 1)
    shrunk = (1 - shrinkage) * covariance + shrinkage * trace / p * np.eye(p)
    distance = mahalanobis(window.mean(axis=0), vectors.mean(axis=0), np.linalg.inv(shrunk))
    squared = n * m / (n + m) * distance ** 2
    return [float(distance), float(stats.f.sf(squared * (m - p) / (p * (m - 1)), p, m - p))]

def change(case):
    ordered, up, down, largest = np.sort(case["baseline"]), 0.0, 0.0, 0.0
    for value in case["window"]:
        rank = (np.searchsorted(ordered, value, "left") + np.searchsorted(ordered, value, "right")) / 2
        score = stats.norm.ppf((rank + 0.5) / (len(ordered) + 1))
        up, down = max(0, up + score - 0.5), max(0, down - score - 0.5)
        largest = max(largest, up, down)
    return [float(largest)]

def tensor(case):
    elements = np.array(case["elements"]).reshape(case["shape"])
    contrast = elements.std()
    return [float(elements.mean()), float(contrast), float(np.abs(np.diff(elements, axis=-1)).mean() / contrast)]

cases = json.load(sys.stdin)
print(json.dumps([globals()[case["of"]](case) for case in cases]))
"#;

/// What the reference gives for these cases.
fn reference(cases: &[Json], packages: &Path) -> Vec<Vec<f64>> {
    let mut child = Command::new("python3")
        .args(["-c", REFERENCE])
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = serde_json::to_vec(cases).unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn is_close(found: f64, expected: f64, relative: f64) -> bool {
    (found - expected).abs() <= relative * expected.abs() + 1e-12
}

/// A case for the reference, what we have for it, and the relative tolerance of each number.
type Case = (Json, Vec<f64>, Vec<f64>);

fn ks_case(one: &[f64], other: &[f64]) -> Case {
    let found = kolmogorov_smirnov(one, other).unwrap();
    // SciPy has the exact distribution of one sample of the effective size; ours is an approximation of it.
    (
        json!({"of": "ks", "one": one, "other": other}),
        vec![found.distance, found.p_value],
        vec![1e-12, 0.08],
    )
}

fn psi_case(window: &[u64], baseline: &[u64], n: f64, m: f64) -> Case {
    let found = psi(window, baseline, n, m);
    (
        json!({"of": "psi", "window": window, "baseline": baseline, "n": n, "m": m}),
        vec![found.index, found.p_value],
        vec![1e-12, 1e-6],
    )
}

fn cuts_case(values: &[f64]) -> Case {
    let found = cuts(values);
    let tolerance = vec![0.0; found.len()];
    (json!({"of": "cuts", "values": values}), found, tolerance)
}

fn tensor_case(random: &mut Random) -> Case {
    let elements: Vec<f64> = (0..60).map(|_| random.normal() + 100.0).collect();
    let found = TensorStatistics::of(elements.iter().copied(), 5).unwrap();
    (
        json!({"of": "tensor", "elements": elements, "shape": [2, 6, 5]}),
        vec![found.brightness, found.contrast, found.sharpness],
        vec![1e-12; 3],
    )
}

/// The first verdict of a monitor of one source, of a baseline and a window of values.
fn verdict(source: &str, baseline: Vec<Value>, window: Vec<Value>) -> Verdict {
    let source: Source = source.parse().unwrap();
    let mut builder = BaselineBuilder::new(vec![source]).unwrap();
    for value in baseline {
        builder.add(&Measured(vec![Some(value)]));
    }
    let baseline = Baseline::parse(&builder.finish().unwrap().to_json()).unwrap();
    let rules = Drift {
        window: u32::try_from(window.len()).unwrap(),
        at_least: 20,
        change: 1_000.0,
        ..Drift::new(())
    };
    let mut monitor = Monitor::new(&baseline, &rules).unwrap();
    let values = window.into_iter().map(|it| Measured(vec![Some(it)]));
    let verdicts = values.filter_map(|it| monitor.add(&it, Duration::ZERO));
    let mut verdicts: Vec<Verdict> = verdicts.collect();
    verdicts.pop().unwrap()
}

/// The value and the p-value of a test.
fn finding(verdict: &Verdict, test: Test) -> (f64, Option<f64>) {
    let mut found = verdict.series[0].findings.iter();
    let found = found.find(|it| it.test == test).unwrap();
    (found.value, found.p_value)
}

fn embedding_case(random: &mut Random, shift: f64) -> Case {
    // Correlated directions of different sizes, so that shrinking matters.
    let mut vector = |shift: f64| -> Vec<f64> {
        let common = random.normal();
        let own = |size: f64, random: &mut Random| size * (random.normal() + common);
        let sizes = [1.0, 2.0, 0.5, 3.0, 1.0];
        let mut vector: Vec<f64> = sizes.map(|size| own(size, random)).to_vec();
        vector[0] += shift;
        vector
    };
    let vectors: Vec<Vec<f64>> = (0..200).map(|_| vector(0.0)).collect();
    let window: Vec<Vec<f64>> = (0..60).map(|_| vector(shift)).collect();
    let values = |all: &[Vec<f64>]| all.iter().cloned().map(Value::Vector).collect();
    let verdict = verdict("embedding(values)", values(&vectors), values(&window));
    let (distance, p_value) = finding(&verdict, Test::Embedding);
    (
        json!({"of": "embedding", "vectors": vectors, "window": window}),
        vec![distance, p_value.unwrap()],
        // The file has seven digits of mean and covariance.
        vec![1e-4, 1e-2],
    )
}

fn change_case(random: &mut Random, shift: f64) -> Case {
    // Rounded, so that the file has the values as they are.
    let mut values = |count: usize, mean: f64| -> Vec<f64> {
        let all = (0..count).map(|_| ((random.normal() + mean) * 1e4).round() / 1e4);
        all.collect()
    };
    let (baseline, window) = (values(300, 0.0), values(80, shift));
    let numbers = |all: &[f64]| all.iter().copied().map(Value::Number).collect();
    let verdict = verdict("mean(x)", numbers(&baseline), numbers(&window));
    let (value, _) = finding(&verdict, Test::Change);
    (
        json!({"of": "change", "baseline": baseline, "window": window}),
        vec![value],
        vec![1e-6],
    )
}

#[test]
fn scipy_and_numpy_have_the_same_statistics() {
    let packages = match installed("numpy-2.4.6-scipy-1.17.1", &PACKAGES) {
        Ok(packages) => packages,
        Err(reason) => return skip(Need::PythonPackages, &reason),
    };
    let mut random = Random(1);
    let mut cases = Vec::new();
    for (n, m) in [(100, 1_000), (500, 1_000), (100, 30), (40, 60), (997, 997)] {
        for (shift, step) in [(0.0, 0.0), (0.1, 0.0), (0.3, 0.0), (0.3, 0.5), (0.6, 0.0)] {
            let one = random.sorted(n, shift, step);
            let other = random.sorted(m, 0.0, step);
            cases.push(ks_case(&one, &other));
        }
    }
    for bins in [2, 5, 10, 33] {
        let mut counts = |most: f64| -> Vec<u64> {
            (0..bins)
                .map(|_| (random.uniform() * most) as u64)
                .collect()
        };
        let (window, baseline) = (counts(60.0), counts(300.0));
        let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
        let (n, m) = (total(&window), total(&baseline));
        cases.push(psi_case(&window, &baseline, n, m));
        cases.push(psi_case(&window, &baseline, 10.0, 50.0));
    }
    cases.push(psi_case(&[0, 40, 0], &[30, 0, 10], 40.0, 40.0));
    cases.push(cuts_case(&random.sorted(997, 0.0, 0.0)));
    cases.push(cuts_case(&random.sorted(997, 0.0, 1.0)));
    cases.push(cuts_case(&random.sorted(7, 0.0, 0.0)));
    cases.push(tensor_case(&mut random));
    for shift in [0.0, 0.3, 1.0] {
        cases.push(embedding_case(&mut random, shift));
        cases.push(change_case(&mut random, shift));
    }
    let given: Vec<Json> = cases.iter().map(|(case, ..)| case.clone()).collect();
    let expected = reference(&given, &packages);
    assert_eq!(expected.len(), cases.len());
    for ((case, found, tolerances), expected) in cases.iter().zip(expected) {
        let of = &case["of"];
        assert_eq!(found.len(), expected.len(), "{of}");
        for ((found, expected), tolerance) in found.iter().zip(expected).zip(tolerances) {
            // What is far below every threshold is not compared.
            let is_tiny = *found < 1e-8 && expected < 1e-8;
            let is_equal = is_tiny || is_close(*found, expected, *tolerance);
            assert!(is_equal, "{of}: {found} is not {expected}");
        }
    }
}
