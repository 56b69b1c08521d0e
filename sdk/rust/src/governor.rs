//! Governors: components of the world `governor`, which decide how the device runs.

use crate::Result;

pub use bindings::exports::hotshoe::governor::govern::{
    Alert, Avoidance, Battery, CoolingDevice, DeviceState, Drive, Interval, Latency, Mode,
    ModeChoice, ModelRuns, Plan, Power, Pressure, Processor, Queue, Rate, RateChoice, Rest,
    Severity, Space, ThermalZone, Window,
};

/// Device state to plan: the world `governor`.
pub trait Governor {
    /// Makes a plan, which applies until the next one. An error is replaced by the device's own default.
    fn govern(state: DeviceState) -> Result<Plan>;
}

/// The plan that wants nothing: the full mode, every sample, nothing driven.
pub const fn nothing() -> Plan {
    Plan {
        mode: None,
        rate: None,
        status_interval: None,
        telemetry_interval: None,
        outputs: Vec::new(),
        alerts: Vec::new(),
        avoid: Vec::new(),
        rest_until: None,
        hibernate: None,
        stop: None,
    }
}

/// The exports of the world `governor`, as wit-bindgen makes them.
#[allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/governor"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/governor",
        world: "hotshoe:governor/governor",
        pub_export_macro: true,
        default_bindings_module: "hotshoe_sdk::private::governor",
    });
}

/// Makes the crate a component of the world `governor`: `governor!(MyType)`, where `MyType` is a [`Governor`].
#[macro_export]
macro_rules! governor {
    ($component:ty) => {
        struct HotshoeComponent;

        impl $crate::private::governor::exports::hotshoe::governor::govern::Guest for HotshoeComponent {
            fn govern(state: $crate::governor::DeviceState) -> ::std::result::Result<$crate::governor::Plan, ::std::string::String> {
                $crate::private::report_panics();
                <$component as $crate::governor::Governor>::govern(state).map_err(|error| error.into_wit().message)
            }
        }

        $crate::private::governor::export!(HotshoeComponent with_types_in $crate::private::governor);
    };
}
