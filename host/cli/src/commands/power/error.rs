/// Why a table of watts cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PowerError {
    /// It has no line.
    #[error("the table is empty; write a line for each mode, such as `full = 6.5`")]
    EmptyTable,
    /// A value is not one of a device.
    #[error("`{mode} = {watts}` is out of range; write watts above 0 and at most {most}")]
    WattsOutOfRange {
        /// The mode.
        mode: String,
        /// Its value.
        watts: f64,
        /// The limit.
        most: f64,
    },
}

impl PowerError {
    /// The stable name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::EmptyTable => "empty_table",
            Self::WattsOutOfRange { .. } => "watts_out_of_range",
        }
    }
}
