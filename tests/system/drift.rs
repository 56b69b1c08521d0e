//! Drift: its statistics against SciPy and NumPy, and real shifts of real pictures through `hotshoe baseline`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hotshoe_drift::{
    Baseline, BaselineBuilder, Measured, Monitor, Series, Source, TensorStatistics, Test, Value,
    Verdict, cuts, kolmogorov_smirnov, psi,
};
use hotshoe_tests::{Need, skip};
use hotshoe_trust::Drift;
use hotshoe_vision::{Budget, DecodeLimits, Format, Image, Region, blur, crop, decode, encode};
use serde_json::{Value as Json, json};

use crate::python::installed;
use crate::support::{Workspace, environment, failure, success};

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

/// Numbers that repeat exactly: `SplitMix64` (G. L. Steele, D. Lea and C. H. Flood, 2014).
struct Random(u64);

impl Random {
    /// Strictly between 0 and 1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Mean 0, variance 1: G. E. P. Box and M. E. Muller, 1958.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// So many, sorted, around `mean`. `step` rounds them, for values that repeat.
    fn sorted(&mut self, count: usize, mean: f64, step: f64) -> Vec<f64> {
        let rounded = |it: f64| {
            if step > 0.0 {
                (it / step).round() * step
            } else {
                it
            }
        };
        let mut values: Vec<f64> = (0..count).map(|_| rounded(self.normal() + mean)).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

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
    verdicts.last().unwrap()
}

/// The value and the p-value of a test.
fn finding(verdict: &Verdict, test: Test) -> (f64, Option<f64>) {
    let found = verdict.series[0].findings.iter();
    let found = found.into_iter().find(|it| it.test == test).unwrap();
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

/// Crops of the page, at places that repeat exactly.
fn pictures(folder: &Path, seed: u64, count: usize, change: &dyn Fn(Image) -> Image) {
    const SIZE: (f64, f64) = (96.0, 48.0);
    let budget = Budget::unlimited();
    let page = fs::read(environment().picture("page.png")).unwrap();
    let page = decode(&page, &DecodeLimits::default(), &budget).unwrap();
    let mut random = Random(seed);
    fs::create_dir_all(folder).unwrap();
    for number in 0..count {
        let mut place = |whole: u32, part: f64| {
            (random.uniform() * (f64::from(whole) - part + 1.0)).floor() as f32
        };
        let (x, y) = (place(page.width(), SIZE.0), place(page.height(), SIZE.1));
        let cut = crop(&page, x, y, SIZE.0 as f32, SIZE.1 as f32, &budget).unwrap();
        let file = encode(&change(cut), Format::Png, 100, &budget).unwrap();
        fs::write(folder.join(format!("{number:04}.png")), file).unwrap();
    }
}

fn darkened(picture: Image) -> Image {
    let pixels = picture.pixels().iter();
    let pixels = pixels.map(|it| (f64::from(*it) * 0.6) as u8).collect();
    Image::from_rgb(picture.width(), picture.height(), pixels).unwrap()
}

fn blurred(picture: Image) -> Image {
    let whole = Region {
        x: 0.0,
        y: 0.0,
        width: picture.width() as f32,
        height: picture.height() as f32,
    };
    blur(&picture, &[whole], 2, &Budget::unlimited()).unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The stable name of a failure.
fn name(failure: &str) -> String {
    failure.split(':').next().unwrap().to_owned()
}

/// `hotshoe baseline` of these samples: its report and its file.
fn baseline(workspace: &Workspace, release: &Path, samples: &Path) -> (Json, PathBuf) {
    let out = samples.with_extension("json");
    let arguments = [
        "baseline",
        &text(release),
        &text(samples),
        "--trust",
        &workspace.trust_file(),
        "--out",
        &text(&out),
        "--json",
    ];
    let report = success(arguments);
    (serde_json::from_str(&report).unwrap(), out)
}

fn read(file: &Path) -> Baseline {
    Baseline::parse(&fs::read(file).unwrap()).unwrap()
}

/// The numbers of a baseline as a window of samples. Which of them came from one sample does not matter to tests of one source.
fn as_window(baseline: &Baseline) -> Vec<Measured> {
    let count = usize::try_from(baseline.samples()).unwrap();
    let value = |sample: usize| {
        let of_series = |series: &Series| match series {
            Series::Numbers(numbers) => numbers.sorted.get(sample).copied().map(Value::Number),
            _ => None,
        };
        Measured(
            baseline
                .series()
                .iter()
                .map(|it| of_series(&it.values))
                .collect(),
        )
    };
    (0..count).map(value).collect()
}

/// The sources that drifted from one baseline to the samples of another.
fn drifted(from: &Baseline, to: &Baseline) -> Vec<String> {
    let rules = Drift {
        window: u32::try_from(to.samples()).unwrap(),
        // The values come sorted.
        change: 1_000.0,
        ..Drift::new(())
    };
    let mut monitor = Monitor::new(from, &rules).unwrap();
    let window = as_window(to);
    let verdicts = window
        .iter()
        .filter_map(|it| monitor.add(it, Duration::ZERO));
    let verdict = verdicts.last().unwrap();
    let drifted = verdict.series.into_iter().filter(|it| it.drifted);
    drifted.map(|it| it.source).collect()
}

#[test]
fn darkened_and_blurred_pictures_drift_and_others_do_not() {
    const COUNT: usize = 150;
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let measured = |name: &str, seed: u64, change: &dyn Fn(Image) -> Image| {
        let folder = workspace.path(name);
        pictures(&folder, seed, COUNT, change);
        let (report, file) = baseline(&workspace, &release, &folder);
        assert_eq!(
            (&report["samples"], &report["failed"]),
            (&json!(COUNT), &json!(0))
        );
        read(&file)
    };
    let first = measured("first", 1, &|it| it);
    let sources: Vec<String> = first.sources().map(ToString::to_string).collect();
    assert_eq!(
        sources,
        [
            "max(classes.*.score)",
            "label(classes.0.label)",
            "brightness(@sample)",
            "contrast(@sample)",
            "sharpness(@sample)",
            "brightness(classify-angle)",
            "contrast(classify-angle)",
            "sharpness(classify-angle)",
        ]
    );
    let quiet = measured("quiet", 2, &|it| it);
    assert_eq!(drifted(&first, &quiet), Vec::<String>::new());
    let dark = drifted(&first, &measured("dark", 3, &darkened));
    for expected in ["brightness(@sample)", "brightness(classify-angle)"] {
        assert!(dark.iter().any(|it| it == expected), "{dark:?}");
    }
    let blurred = drifted(&first, &measured("blurred", 4, &blurred));
    for expected in ["sharpness(@sample)", "sharpness(classify-angle)"] {
        assert!(blurred.iter().any(|it| it == expected), "{blurred:?}");
    }
}

#[test]
fn a_baseline_is_packed_and_signed_and_one_that_no_device_can_use_is_refused() {
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml");
    let release = workspace.release(&recipe);
    let folder = workspace.path("pictures");
    pictures(&folder, 1, 40, &|it| it);
    let (report, file) = baseline(&workspace, &release, &folder);
    assert_eq!(report["sources"][2]["source"], "brightness(@sample)");
    assert_eq!(report["sources"][2]["values"], 40);
    // It is not overwritten.
    let again = failure([
        "baseline",
        &text(&release),
        &text(&folder),
        "--trust",
        &workspace.trust_file(),
        "--out",
        &text(&file),
    ]);
    assert!(again.contains("exists"), "{again}");

    let with = |drift: &str| {
        format!(
            "{}\n[drift]\nbaseline = \"{}\"\n{drift}\n",
            recipe.replace("generation = 1", "generation = 2"),
            text(&file)
        )
    };
    let release = workspace.release(&with("watch = [\"brightness(@sample)\"]\nwindow = 200"));
    let trust = workspace.trust_file();
    success(["verify", &text(&release), "--trust", &trust]);
    let shown: Json =
        serde_json::from_str(&success(["inspect", &text(&release), "--json"])).unwrap();
    assert_eq!(shown["release"]["drift"]["window"], 200);
    assert_eq!(shown["release"]["drift"]["ks"], 0.15);
    assert_eq!(shown["baseline"]["samples"], 40);
    assert_eq!(shown["baseline"]["sources"][1]["watched"], false);
    assert_eq!(shown["baseline"]["sources"][2]["watched"], true);
    let shown = success(["inspect", &text(&release)]);
    for line in [
        "drift: an alert",
        "windows of 200 samples",
        "max(classes.*.score): 40 values, not watched",
        "brightness(@sample): 40 values",
    ] {
        assert!(shown.contains(line), "{shown}");
    }

    let toml = workspace.path("release.toml");
    let out = text(&workspace.path("refused"));
    let refused = |text_of: String| {
        fs::write(&toml, text_of).unwrap();
        let said = failure(["pack", &text(&toml), "--out", &out, "--json"]);
        let said: Json = serde_json::from_str(&said).unwrap();
        said["error"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        refused(with("watch = [\"count(lines)\"]")),
        "not_in_baseline"
    );
    assert_eq!(refused(with("action = \"mode\"")), "invalid_release");
    assert_eq!(refused(with("ks = 2.0")), "invalid_release");
    fs::write(&file, "{}").unwrap();
    assert_eq!(refused(with("")), "invalid_baseline");
}

#[test]
fn too_few_samples_make_no_baseline() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let folder = workspace.path("pictures");
    pictures(&folder, 1, 5, &|it| it);
    fs::write(folder.join("broken.png"), "no picture").unwrap();
    let out = text(&workspace.path("baseline.json"));
    let trust = workspace.trust_file();
    let (release, folder) = (text(&release), text(&folder));
    let refused = |more: &[&str]| {
        let fixed = [
            "baseline", &release, &folder, "--trust", &trust, "--out", &out,
        ];
        name(&failure(fixed.iter().chain(more)))
    };
    assert_eq!(refused(&[]), "too_few_samples");
    assert_eq!(
        refused(&[
            "--measure",
            "max(classes.*.score)",
            "--measure",
            "max(classes.*.score)"
        ]),
        "invalid_sources"
    );
    assert!(!Path::new(&out).exists());
}
