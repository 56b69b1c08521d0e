//! The parser of sensor trees.

use hotshoe_senses::{
    Charging, FaultKind, MAX_LABEL_BYTES, MAX_SENSORS, Reading, Space, Stall, Tree, parse,
};
use proptest::prelude::*;

use crate::recorded::{DEVICE, device};

const ZONE_0: &str = "sys/class/thermal/thermal_zone0/temp";

fn with(path: &str, content: &str) -> Reading {
    let mut tree = device();
    tree.insert(path, content.as_bytes().to_vec());
    parse(&tree)
}

fn faults(reading: &Reading) -> Vec<(&str, FaultKind)> {
    let faults = reading.faults.iter();
    faults.map(|it| (it.path.as_str(), it.kind)).collect()
}

#[test]
fn a_recorded_tree_is_read() {
    let reading = parse(&device());
    assert!(reading.faults.is_empty(), "{:?}", reading.faults);
    let thermal: Vec<_> = reading
        .thermal
        .iter()
        .map(|it| (it.zone.as_str(), it.label.as_deref(), it.celsius))
        .collect();
    assert_eq!(
        thermal,
        [
            ("thermal_zone0", Some("cpu-thermal"), 48.25),
            ("thermal_zone2", Some("gpu-thermal"), 51.0),
            ("thermal_zone10", Some("board"), -5.5),
        ]
    );
    assert_eq!(reading.hottest().unwrap().zone, "thermal_zone2");
    let fan = &reading.cooling[0];
    assert_eq!((fan.state, fan.max_state), (2, Some(4)));
    assert_eq!(fan.label.as_deref(), Some("pwm-fan"));
    let throttled: Vec<_> = reading.cpus.iter().map(|it| it.is_throttled()).collect();
    assert_eq!(throttled, [Some(false), Some(true)]);
    assert_eq!(reading.is_throttled(), Some(true));
    assert_eq!(reading.cpus[1].current_khz, None);
    let load = reading.load.unwrap();
    assert_eq!((load.one, load.five, load.fifteen), (0.2, 1.18, 2.12));
    let memory = reading.memory.unwrap();
    assert_eq!(memory.total_bytes, 2_048_000 * 1_024);
    assert_eq!(memory.available_bytes, 1_024_000 * 1_024);
    assert_eq!(memory.swap_total_bytes, Some(0));
    let expected = Stall {
        avg10: 1.5,
        avg60: 0.75,
        avg300: 0.1,
        total_us: 123_456,
    };
    let cpu = reading.cpu_pressure.unwrap();
    assert_eq!((cpu.some, cpu.full), (expected, None));
    assert_eq!(reading.io_pressure.unwrap().full.unwrap().total_us, 5);
    assert_eq!(reading.memory_pressure, None);
    assert_eq!(reading.uptime_s, Some(350_735.47));
    assert_eq!(reading.is_clock_synchronised, None);
    assert_eq!(reading.data, None);
}

#[test]
fn power_is_read_without_the_battery_of_a_mouse_and_without_counting_twice() {
    let reading = parse(&device());
    let [battery] = &reading.batteries[..] else {
        panic!("{:?}", reading.batteries)
    };
    assert_eq!(battery.supply, "BAT0");
    assert_eq!(battery.charge_percent, Some(42.0));
    assert_eq!(battery.charging, Some(Charging::Discharging));
    // 1.5 A at 12 V; the driver counts what flows out as negative.
    assert_eq!(battery.watts, Some(18.0));
    assert_eq!(battery.full_wh, Some(50.0));
    assert_eq!(reading.charge_percent(), Some(42.0));
    assert_eq!(reading.discharge_watts(), Some(18.0));
    assert_eq!(reading.is_on_mains(), Some(false));
    let [rapl] = &reading.rapl[..] else {
        panic!("{:?}", reading.rapl)
    };
    assert_eq!(rapl.zone, "intel-rapl:0");
    assert_eq!(rapl.energy_uj, 1_000_000);
    assert_eq!(rapl.range_uj, Some(262_143_328_850));
}

#[test]
fn charge_is_computed_where_it_is_not_told_and_weighted_by_energy() {
    let mut tree = Tree::default();
    for (path, content) in [
        ("BAT0/type", "Battery"),
        ("BAT0/energy_now", "10000000"),
        ("BAT0/energy_full", "40000000"),
        ("BAT0/status", "Unknown"),
        ("BAT1/type", "Battery"),
        ("BAT1/capacity", "85"),
        ("BAT1/energy_full", "20000000"),
        ("BAT1/status", "Charging"),
        ("BAT1/power_now", "5000000"),
        ("usb/type", "USB"),
        ("usb/online", "1"),
    ] {
        let path = format!("sys/class/power_supply/{path}");
        tree.insert(&path, content.as_bytes().to_vec());
    }
    let reading = parse(&tree);
    assert!(reading.faults.is_empty(), "{:?}", reading.faults);
    assert_eq!(reading.batteries[0].charge_percent, Some(25.0));
    assert_eq!(reading.batteries[0].charging, None);
    assert_eq!(reading.batteries[1].watts, Some(5.0));
    // (25 * 40 + 85 * 20) / 60
    assert_eq!(reading.charge_percent(), Some(45.0));
    assert_eq!(reading.is_on_mains(), Some(true));
    // None of them is known to discharge.
    assert_eq!(reading.discharge_watts(), None);
}

#[test]
fn what_is_missing_is_missing_and_not_zero() {
    assert_eq!(parse(&Tree::default()), Reading::default());
    let reading = Reading::default();
    assert_eq!(reading.hottest(), None);
    assert_eq!(reading.charge_percent(), None);
    assert_eq!(reading.is_on_mains(), None);
    assert_eq!(reading.discharge_watts(), None);
    assert_eq!(reading.is_throttled(), None);
}

#[test]
fn an_invalid_value_makes_one_sensor_missing_and_names_it() {
    let whole = parse(&device());
    for text in ["", "hot", "48250 C", "-274000", "2147483647", "4e4", "NaN"] {
        let reading = with(ZONE_0, text);
        assert_eq!(faults(&reading), [(ZONE_0, FaultKind::Invalid)], "{text}");
        assert_eq!(reading.thermal, whole.thermal[1..], "{text}");
        let mut rest = reading.clone();
        rest.faults.clear();
        rest.thermal.clone_from(&whole.thermal);
        assert_eq!(rest, whole, "{text}");
    }
    for (path, text) in [
        ("proc/loadavg", "0.20 NaN 1"),
        ("proc/loadavg", "0.20 1"),
        ("proc/meminfo", "MemTotal: 1 kB"),
        (
            "proc/meminfo",
            "MemTotal: 1 kB\nMemAvailable: 99999999999999999999 kB",
        ),
        ("proc/uptime", "-1 0"),
        ("proc/uptime", "inf 0"),
        (
            "proc/pressure/io",
            "some avg10=101 avg60=0 avg300=0 total=0",
        ),
        ("sys/class/power_supply/BAT0/capacity", "101"),
        ("sys/class/power_supply/BAT0/status", "Exploding"),
        ("sys/class/power_supply/AC/online", "yes"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "-1"),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
            "0",
        ),
        ("sys/class/thermal/cooling_device0/cur_state", "on"),
    ] {
        let reading = with(path, text);
        assert_eq!(faults(&reading), [(path, FaultKind::Invalid)], "{text}");
    }
}

#[test]
fn a_driver_may_give_a_zone_no_name_and_a_wrong_one_is_named() {
    let path = "sys/class/thermal/thermal_zone0/type";
    let reading = with(path, "\n");
    assert_eq!(
        (&reading.thermal[0].label, faults(&reading)),
        (&None, vec![])
    );
    for name in ["two\nlines".to_owned(), "n".repeat(MAX_LABEL_BYTES + 1)] {
        let reading = with(path, &name);
        assert_eq!(faults(&reading), [(path, FaultKind::Invalid)]);
        assert_eq!(reading.thermal[0].label, None);
        assert_eq!(reading.thermal[0].celsius, 48.25);
    }
}

#[test]
fn what_could_not_be_read_is_named_with_the_reason() {
    let mut tree = device();
    let rapl = "sys/class/powercap/intel-rapl:0/energy_uj";
    tree.insert_fault(rapl, FaultKind::Denied);
    tree.insert_fault(ZONE_0, FaultKind::TimedOut);
    let reading = parse(&tree);
    assert_eq!(
        faults(&reading),
        [(rapl, FaultKind::Denied), (ZONE_0, FaultKind::TimedOut)]
    );
    assert_eq!(reading.rapl, []);
    assert_eq!(reading.thermal.len(), 2);
}

#[test]
fn sensors_are_limited_and_those_with_low_numbers_are_kept() {
    let mut tree = Tree::default();
    for zone in 0..MAX_SENSORS + 3 {
        let path = format!("sys/class/thermal/thermal_zone{zone}/temp");
        tree.insert(&path, b"40000".to_vec());
    }
    let reading = parse(&tree);
    assert_eq!(reading.thermal.len(), MAX_SENSORS);
    let last = format!("thermal_zone{}", MAX_SENSORS - 1);
    assert_eq!(reading.thermal[MAX_SENSORS - 1].zone, last);
    assert_eq!(reading.thermal[2].zone, "thermal_zone2");
}

#[test]
fn free_space_and_the_clock_are_passed_on() {
    let space = Space {
        total_bytes: 100,
        free_bytes: 10,
        total_inodes: None,
        free_inodes: None,
    };
    let mut tree = Tree::default();
    tree.set_space(space);
    tree.set_clock(false);
    let reading = parse(&tree);
    assert_eq!(reading.data, Some(space));
    assert_eq!(reading.is_clock_synchronised, Some(false));
}

/// Numbers, texts and bytes that a file might have.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|it| it.to_string().into_bytes()),
        any::<f64>().prop_map(|it| it.to_string().into_bytes()),
        "[ -~\n]{0,80}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..80),
        prop::sample::select(DEVICE).prop_map(|(_, content)| content.as_bytes().to_vec()),
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_a_reading_within_bounds(
        changes in prop::collection::vec((0..DEVICE.len(), content()), 0..12),
    ) {
        let mut tree = device();
        for (file, content) in &changes {
            tree.insert(DEVICE[*file].0, content.clone());
        }
        let reading = parse(&tree);
        for zone in &reading.thermal {
            prop_assert!((-60.0..=200.0).contains(&zone.celsius));
        }
        if let Some(percent) = reading.charge_percent() {
            prop_assert!((0.0..=100.0).contains(&percent));
        }
        if let Some(watts) = reading.discharge_watts() {
            prop_assert!(watts.is_finite() && watts >= 0.0);
        }
        // Only what was changed can be wrong.
        for fault in &reading.faults {
            prop_assert!(changes.iter().any(|(file, _)| DEVICE[*file].0 == fault.path));
        }
    }
}
