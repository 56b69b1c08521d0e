//! Errors of `hotshoe top`.

/// Why `hotshoe top` cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopError {
    /// Its input or output is not a terminal, or `--json` asks for data.
    #[error(
        "`hotshoe top` needs a terminal as input and output; use `hotshoe status` for text and `hotshoe status --json` for programs"
    )]
    NoTerminal,
    /// The terminal cannot be read or written.
    #[error("cannot use the terminal; use `hotshoe status`")]
    Terminal {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A part of the command ended.
    #[error(
        "the part `{part}` of `hotshoe top` ended; start it again, and report this as a defect"
    )]
    PartEnded {
        /// Its name.
        part: &'static str,
    },
    /// No device has answered.
    #[error("no device{of} answers")]
    NoDevice {
        /// Which: ` cam of site lab`, or nothing.
        of: String,
    },
}

impl TopError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NoTerminal => "no_terminal",
            Self::Terminal { .. } => "terminal_failed",
            Self::PartEnded { .. } => "part_died",
            Self::NoDevice { .. } => "no_device",
        }
    }
}
