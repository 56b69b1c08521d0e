//! Energy, checked arithmetically: counters that wrap around, batteries, neither.

use std::time::Duration;

use hotshoe_senses::{
    Battery, Charging, Energy, Meter, PowerSource, RaplZone, Reading, Work, per_inference,
    rapl_joules,
};

fn zone(name: &str, label: &str, energy_uj: u64) -> RaplZone {
    RaplZone {
        zone: name.to_owned(),
        label: (!label.is_empty()).then(|| label.to_owned()),
        energy_uj,
        range_uj: Some(10_000_000),
    }
}

fn counted(energy_uj: u64) -> Reading {
    Reading {
        rapl: vec![zone("intel-rapl:0", "package-0", energy_uj)],
        ..Reading::default()
    }
}

fn discharging(watts: Option<f64>) -> Reading {
    Reading {
        batteries: vec![Battery {
            supply: "BAT0".to_owned(),
            charge_percent: None,
            full_wh: None,
            charging: Some(Charging::Discharging),
            watts,
        }],
        ..Reading::default()
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn energy(readings: &[(u64, Reading)]) -> Option<Energy> {
    let mut meter = Meter::default();
    for (seconds, reading) in readings {
        meter.add(reading, at(*seconds));
    }
    meter.end_window()
}

#[test]
fn a_counter_grows_and_wraps_around() {
    let joules = |before, after| {
        rapl_joules(
            &[zone("intel-rapl:0", "package-0", before)],
            &[zone("intel-rapl:0", "package-0", after)],
        )
    };
    assert_eq!(joules(1_000_000, 3_500_000), Some(2.5));
    assert_eq!(joules(7, 7), Some(0.0));
    // 1 J to the end of the range of 10 J, and 2 J after it.
    assert_eq!(joules(9_000_000, 2_000_000), Some(3.0));
    // Beyond the range it has not wrapped around but is another counter.
    assert_eq!(joules(11_000_000, 2_000_000), None);
    let mut without_range = zone("intel-rapl:0", "package-0", 9_000_000);
    let before = [without_range.clone()];
    without_range.energy_uj = 2_000_000;
    without_range.range_uj = None;
    assert_eq!(rapl_joules(&before, &[without_range]), None);
}

#[test]
fn nothing_is_counted_twice_and_nothing_is_left_out() {
    let packages = |each: u64| {
        vec![
            zone("intel-rapl:0", "package-0", each),
            zone("intel-rapl:0:0", "core", each),
            zone("intel-rapl:0:1", "uncore", each),
            zone("intel-rapl:0:2", "dram", each),
            zone("intel-rapl:1", "package-1", each),
        ]
    };
    // Two packages and a memory, 1 J each.
    assert_eq!(rapl_joules(&packages(0), &packages(1_000_000)), Some(3.0));
    let with_platform = |each: u64| {
        let mut zones = packages(each);
        zones.push(zone("intel-rapl:2", "psys", 4 * each));
        zones
    };
    let platform = rapl_joules(&with_platform(0), &with_platform(1_000_000));
    assert_eq!(platform, Some(4.0));
    // Without names, a zone within another is known by its number.
    let unnamed = |each| {
        [
            zone("intel-rapl:0", "", each),
            zone("intel-rapl:0:0", "", each),
        ]
    };
    assert_eq!(rapl_joules(&unnamed(0), &unnamed(1_000_000)), Some(1.0));
    // One of two that is not readable any more would make the sum too small.
    assert_eq!(rapl_joules(&packages(0), &packages(1)[..4]), None);
    assert_eq!(rapl_joules(&[], &[]), None);
}

#[test]
fn a_window_has_the_energy_of_the_counters_or_of_the_batteries_or_none() {
    let rapl = energy(&[
        (0, counted(0)),
        (1, counted(6_000_000)),
        (2, counted(2_000_000)),
    ]);
    // 6 J, then 4 J to the end of the range and 2 J.
    let expected = Energy {
        source: PowerSource::Rapl,
        joules: 12.0,
        seconds: 2.0,
    };
    assert_eq!((rapl, expected.watts()), (Some(expected), 6.0));
    let battery = energy(&[
        (0, discharging(Some(10.0))),
        (10, discharging(Some(20.0))),
        // In between it is not known.
        (20, discharging(None)),
        (30, discharging(Some(20.0))),
        (35, discharging(Some(20.0))),
    ]);
    // 15 W for 10 s, and 20 W for 5 s.
    let expected = Energy {
        source: PowerSource::Battery,
        joules: 250.0,
        seconds: 15.0,
    };
    assert_eq!(battery, Some(expected));
    assert_eq!(
        energy(&[(0, Reading::default()), (9, Reading::default())]),
        None
    );
    assert_eq!(energy(&[(0, counted(0))]), None);
}

#[test]
fn a_charging_battery_tells_nothing_of_the_device_and_a_reset_counter_is_left_out() {
    let mut charging = discharging(Some(10.0));
    charging.batteries[0].charging = Some(Charging::Charging);
    assert_eq!(energy(&[(0, charging.clone()), (9, charging)]), None);
    let with_range = |energy_uj| {
        let mut reading = counted(energy_uj);
        reading.rapl[0].range_uj = Some(262_143_328_850);
        reading
    };
    // As a wrap-around it would be 262 kJ in a second.
    assert_eq!(
        energy(&[(0, with_range(5_000_000)), (1, with_range(0))]),
        None
    );
}

#[test]
fn a_window_ends_and_the_next_one_begins_where_it_ended() {
    let mut meter = Meter::default();
    meter.add(&counted(0), at(0));
    meter.add(&counted(1_000_000), at(1));
    assert_eq!(meter.end_window().unwrap().joules, 1.0);
    assert_eq!(meter.end_window(), None);
    meter.add(&counted(3_000_000), at(2));
    assert_eq!(meter.end_window().unwrap().joules, 2.0);
}

#[test]
fn joules_of_an_inference_are_shares_of_the_busy_time() {
    // 5 W for the whole minute, although it was measured for half of it.
    let energy = Energy {
        source: PowerSource::Rapl,
        joules: 150.0,
        seconds: 30.0,
    };
    let work = |runs, busy_us| Work { runs, busy_us };
    let works = [work(100, 20_000_000), work(10, 10_000_000), work(0, 0)];
    // 300 J: 200 J for 100 runs, 100 J for 10 runs.
    let each = per_inference(Some(&energy), at(60), &works);
    assert_eq!(each, [Some(2.0), Some(10.0), None]);
    assert_eq!(per_inference(None, at(60), &works), [None, None, None]);
    // Without times, by runs.
    let works = [work(200, 0), work(100, 0)];
    let each = per_inference(Some(&energy), at(60), &works);
    assert_eq!(each, [Some(1.0), Some(1.0)]);
    assert_eq!(per_inference(Some(&energy), at(60), &[work(0, 0)]), [None]);
}
