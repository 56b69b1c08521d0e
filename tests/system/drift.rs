//! Drift: its statistics against SciPy and NumPy, and real shifts of real pictures through `hotshoe baseline`.

#[path = "drift/statistics.rs"]
mod statistics;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hotshoe_drift::{Baseline, Measured, Monitor, Series, Value, Verdict};
use hotshoe_store::{
    RecordStage, RecordedEntry, RecordedPart, RecordedRelease, RecordingHead, RecordingWriter,
};
use hotshoe_trust::{Digest, Drift};
use hotshoe_vision::{Budget, DecodeLimits, Format, Image, Region, blur, crop, decode, encode};
use serde_json::{Value as Json, json};

use crate::support::{Workspace, environment, failure, success};

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
    let mut verdicts: Vec<Verdict> = verdicts.collect();
    let verdict = verdicts.pop().unwrap();
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
        let said = failure(["pack", &text(&toml), "--out", &out]);
        let (name, _) = said.split_once(':').unwrap();
        name.to_owned()
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

/// A recording of these files, as `hotshoe record` writes it.
fn recording(folder: &Path, part: &RecordedPart, files: &Path) {
    let release = RecordedRelease {
        name: "classify-angle".to_owned(),
        generation: 1,
        digest: Digest::of(b"a release"),
    };
    let (site, device) = ("lab".to_owned(), "cam".to_owned());
    let head = RecordingHead::new(site, device, release, RecordStage::Sample);
    let mut writer = RecordingWriter::create(folder, head).unwrap();
    let files = fs::read_dir(files).unwrap();
    let mut files: Vec<PathBuf> = files.map(|it| it.unwrap().path()).collect();
    files.sort();
    for (number, file) in (0..).zip(&files) {
        let entry = RecordedEntry {
            id: format!("sample-{number}"),
            content_type: "image/png".to_owned(),
            source: "camera".to_owned(),
            timestamp: number,
            actions: None,
            files: [].into(),
        };
        let bytes = fs::read(file).unwrap();
        writer.add(entry, "png", &[(part.clone(), bytes)]).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_recording_has_the_baseline_of_its_samples() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let files = workspace.path("files");
    pictures(&files, 1, 40, &|it| it);
    let recorded = workspace.path("recorded");
    recording(&recorded, &RecordedPart::Sample, &files);
    let (_, of_files) = baseline(&workspace, &release, &files);
    let (report, of_recording) = baseline(&workspace, &release, &recorded);
    assert_eq!(report["samples"], 40);
    assert_eq!(read(&of_files), read(&of_recording));

    let without = workspace.path("without");
    recording(&without, &RecordedPart::Insight, &files);
    let said = failure([
        "baseline",
        &text(&release),
        &text(&without),
        "--trust",
        &workspace.trust_file(),
        "--out",
        &text(&workspace.path("none.json")),
    ]);
    assert_eq!(name(&said), "no_result");
    assert!(said.contains("--stage sample"), "{said}");
}
