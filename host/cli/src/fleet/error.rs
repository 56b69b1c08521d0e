//! Why a site could not be asked.

/// Why a command that is about other machines could not begin, or found nobody.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Nothing says how to reach anybody.
    #[error(
        "nothing says how to reach the site; give --site-dir DIR, --connect ENDPOINT (a router, a registry or a device){}, or --config hotshoe.toml",
        if *may_listen { ", --listen ENDPOINT for those that connect to this machine" } else { "" }
    )]
    Nowhere {
        /// Whether the command can also wait for others to connect.
        may_listen: bool,
    },
    /// No site was named.
    #[error("no site was named; give --site, --site-dir, or --config hotshoe.toml")]
    NoSite,
    /// A folder that is not a site's.
    #[error("{folder} is not a site's folder; `hotshoe site init` makes one")]
    NoSiteDir {
        /// The folder.
        folder: String,
    },
    /// No device that is meant was seen.
    #[error(
        "no device of site {site}{whom} was seen within {seconds} s; `hotshoe status --site {site}` lists those that are there"
    )]
    NoDevice {
        /// The site.
        site: String,
        /// Which devices are meant, such as ` with line=4`.
        whom: String,
        /// How long was waited.
        seconds: u64,
    },
    /// There is no release that an order could mean.
    #[error("device {device} has no release {what}")]
    Nothing {
        /// The device.
        device: String,
        /// What would have to be there: `to leave`, `that waits`.
        what: &'static str,
    },
    /// A release without a signature.
    #[error(
        "{release} is not signed, so no device would take it; sign it with `hotshoe sign {release} --key FILE`"
    )]
    Unsigned {
        /// The folder.
        release: String,
    },
    /// A period that cannot be read.
    #[error("`{text}` is no period; write a number and a unit, as 7d or 12h, at most 90 days")]
    Period {
        /// What was written.
        text: String,
    },
}

impl FleetError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nowhere { .. } => "nowhere",
            Self::NoSite => "no_site",
            Self::NoSiteDir { .. } => "no_site_dir",
            Self::NoDevice { .. } => "no_device",
            Self::Nothing { .. } => "unknown_release",
            Self::Unsigned { .. } => "too_few_signatures",
            Self::Period { .. } => "invalid_period",
        }
    }
}
