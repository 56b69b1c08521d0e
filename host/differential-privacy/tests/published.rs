//! Figures of a site are added up, sketches give quantiles, and a series is packed without loss.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "tests"
)]

mod common;

use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::VirtualClock;
use hotshoe_base::disk::Disk;
use hotshoe_differential_privacy::{
    Boot, Budget, DAY, Definition, Epsilon, Figures, Kind, MAX_VALUES, Noise, Window, pack,
    publish, unpack,
};
use proptest::prelude::*;

use common::seeded;

fn epsilon(millionths: u64) -> Epsilon {
    Epsilon::from_millionths(millionths).unwrap()
}

/// Publishes windows of a device, which has a fresh budget.
fn published(windows: Vec<Window>, noise: &mut Noise) -> Vec<Figures> {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(UNIX_EPOCH + DAY);
    let boot = Boot {
        id: "one".to_owned(),
        uptime: Duration::ZERO,
    };
    let limit = epsilon(10_000_000);
    let mut budget =
        Budget::open(folder.path(), Disk::shared(), time.clock(), boot, limit).unwrap();
    publish(windows, &mut budget, noise).unwrap()
}

#[test]
fn sketches_of_a_site_merge_and_their_quantiles_are_within_the_error() {
    let definition = Definition::sketch("wait_us", (10, 1_000_000), 5, 1, epsilon(5_000_000));
    let definition = definition.unwrap();
    let mut noise = seeded(21);
    let mut site: Option<Figures> = None;
    for device in 0..4_u64 {
        let mut window = Window::new(definition.clone());
        // 10,000 persons for each device, with values from 100 to 40,099.
        for person in 0..10_000_u64 {
            let value = i64::try_from(100 + person * 4 + device).unwrap();
            window.add(&(device, person), value);
        }
        let figures = published(vec![window], &mut noise).remove(0);
        match &mut site {
            None => site = Some(figures),
            Some(site) => site.merge(&figures).unwrap(),
        }
    }
    let site = site.unwrap();
    assert_eq!(site.windows(), 4);
    for (q, exact) in [(0.5, 20_100.0), (0.9, 36_100.0), (0.99, 39_700.0)] {
        let found = site.quantile(q).unwrap() as f64;
        // 5% of the sketch, and 1% for ranks that noise moved.
        assert!((found / exact - 1.0).abs() < 0.06, "{q}: {found}");
    }
    let total: i64 = site.cells().iter().sum();
    // Six deviations of the sum of all cells.
    let far = 6.0 * site.deviation() * (site.cells().len() as f64).sqrt();
    assert!((total as f64 - 40_000.0).abs() < far, "{total} ± {far}");
}

#[test]
fn figures_of_different_definitions_do_not_merge_and_json_is_checked() {
    let of = |name: &str| Definition::new(name, Kind::Count, 1, epsilon(1_000_000)).unwrap();
    let windows = vec![Window::new(of("a")), Window::new(of("b"))];
    let mut figures = published(windows, &mut seeded(22));
    let other = figures.remove(1);
    let mut figures = figures.remove(0);
    let before = figures.clone();
    let error = figures.merge(&other).unwrap_err();
    assert_eq!(error.name(), "different_definitions");
    assert_eq!(figures, before);
    let json = serde_json::to_string(&figures).unwrap();
    assert_eq!(serde_json::from_str::<Figures>(&json).unwrap(), figures);
    for (from, to) in [
        (r#""windows":1"#, r#""windows":0"#),
        (r#""contributions":1"#, r#""contributions":0"#),
        (r#""epsilon":1000000"#, r#""epsilon":0"#),
        (r#""cells":["#, r#""cells":[1,"#),
        (r#""name":"a""#, r#""name":"""#),
    ] {
        let changed = json.replacen(from, to, 1);
        assert_ne!(changed, json, "{from}");
        assert!(serde_json::from_str::<Figures>(&changed).is_err(), "{to}");
    }
}

#[test]
fn definitions_out_of_bounds_are_named() {
    let name = |kind, contributions| {
        let made = Definition::new("x", kind, contributions, epsilon(1));
        made.unwrap_err().name()
    };
    let sum = |lowest, highest| Kind::Sum { lowest, highest };
    let histogram = |edges: &[i64]| Kind::Histogram {
        edges: edges.to_vec(),
    };
    assert_eq!(name(Kind::Count, 0), "contributions_out_of_range");
    assert_eq!(name(Kind::Count, 1_001), "contributions_out_of_range");
    for kind in [
        sum(0, 0),
        sum(2, 1),
        sum(0, (1 << 32) + 1),
        sum(i64::MIN, 0),
    ] {
        assert_eq!(name(kind, 1), "invalid_bounds");
    }
    for edges in [&[][..], &[1, 1], &[2, 1], &[i64::MIN, 0]] {
        assert_eq!(name(histogram(edges), 1), "invalid_edges");
    }
    let many: Vec<i64> = (0..4_096).collect();
    assert_eq!(name(histogram(&many), 1), "invalid_edges");
    assert_eq!(
        Epsilon::from_millionths(0).unwrap_err().name(),
        "epsilon_out_of_range"
    );
    assert!(Epsilon::from_millionths(10_000_001).is_err());
}

#[test]
fn a_series_of_counters_takes_a_small_part_of_its_bytes() {
    // 24 hours of 60 windows with 4 cells that change a little: 46,080 bytes as integers.
    let rows: Vec<Vec<i64>> = (0..1_440)
        .map(|minute: i64| {
            (1..=4)
                .map(|cell| 1_000 * cell + minute % (7 * cell))
                .collect()
        })
        .collect();
    let packed = pack(&rows).unwrap();
    assert_eq!(packed.raw_bytes, 1_440 * 4 * 8);
    // Differences alone take a byte for nearly each value: an eighth.
    assert!(
        packed.bytes.len() < packed.raw_bytes / 8,
        "{}",
        packed.bytes.len()
    );
    assert_eq!(packed.saved_bytes(), packed.raw_bytes - packed.bytes.len());
    assert_eq!(unpack(&packed.bytes).unwrap(), rows);
}

#[test]
fn bad_series_are_refused() {
    let error = pack(&[vec![1], vec![1, 2]]).unwrap_err();
    assert_eq!(error.name(), "rows_of_different_lengths");
    assert_eq!(
        pack(&vec![vec![]; MAX_VALUES + 1]).unwrap_err().name(),
        "series_too_long"
    );
    let name = |bytes: &[u8]| unpack(bytes).unwrap_err().name();
    assert_eq!(name(&[]), "malformed_series");
    assert_eq!(name(&[9, 0]), "malformed_series");
    assert_eq!(name(&[1, 1, 0, 0, 0, 1, 0, 0, 0]), "malformed_series");
    assert_eq!(name(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 7]), "malformed_series");
    assert_eq!(
        name(&[1, 255, 255, 255, 255, 1, 0, 0, 0]),
        "series_too_long"
    );
    assert_eq!(name(&[2, 1, 2, 3]), "series_compression");
    // 2^63 in its ten bytes, and a bit that does not fit.
    let varint = |last: u8| {
        let mut bytes = vec![1, 1, 0, 0, 0, 1, 0, 0, 0];
        bytes.extend([0x80; 9]);
        bytes.push(last);
        bytes
    };
    assert_eq!(unpack(&varint(1)).unwrap(), [[1_i64 << 62]]);
    assert_eq!(name(&varint(2)), "malformed_series");
    let bomb = zstd::bulk::compress(&vec![0_u8; 64 << 20], 3).unwrap();
    assert_eq!(name(&[&[2_u8][..], &bomb].concat()), "series_compression");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_series_comes_back(rows in (0..20_usize).prop_flat_map(|columns| {
        prop::collection::vec(prop::collection::vec(any::<i64>(), columns), 0..20)
    })) {
        prop_assert_eq!(unpack(&pack(&rows).unwrap().bytes).unwrap(), rows);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_a_series(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = unpack(&bytes);
    }
}
