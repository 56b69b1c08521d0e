//! Lines in the device's log. They need the grant `log`.

/// Logs a line at a level: `log_at!(Info, "{} lines", lines.len())`. The named macros are shorter.
#[macro_export]
macro_rules! log_at {
    ($level:ident, $($format:tt)+) => {
        $crate::private::log($crate::private::Level::$level, &::std::format!($($format)+))
    };
}

/// Logs details for debugging every step.
#[macro_export]
macro_rules! trace {
    ($($format:tt)+) => { $crate::log_at!(Trace, $($format)+) };
}

/// Logs for the component's author.
#[macro_export]
macro_rules! debug {
    ($($format:tt)+) => { $crate::log_at!(Debug, $($format)+) };
}

/// Logs information for the operator.
#[macro_export]
macro_rules! info {
    ($($format:tt)+) => { $crate::log_at!(Info, $($format)+) };
}

/// Logs a warning for the operator.
#[macro_export]
macro_rules! warn {
    ($($format:tt)+) => { $crate::log_at!(Warn, $($format)+) };
}

/// Logs an error.
#[macro_export]
macro_rules! error {
    ($($format:tt)+) => { $crate::log_at!(Error, $($format)+) };
}
