//! Errors of commands that work on a site.

/// Why a command that works on other machines could not start, or found no device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    /// No endpoint is known.
    #[error(
        "no endpoint of the site is known; give --site-dir DIR, --connect ENDPOINT (a router, a registry or a device){}, or --config hotshoe.toml",
        if *may_listen { ", --listen ENDPOINT for devices that connect to this machine" } else { "" }
    )]
    Nowhere {
        /// Whether the command can also listen for connections.
        may_listen: bool,
    },
    /// No site was named.
    #[error("no site is given; give --site, --site-dir, or --config hotshoe.toml")]
    NoSite,
    /// The folder is not a site's folder.
    #[error("{folder} is not a site's folder; `hotshoe site init` creates one")]
    NoSiteDir {
        /// The folder.
        folder: String,
    },
    /// No selected device was seen.
    #[error(
        "no device of site {site}{whom} was seen within {seconds} s; `hotshoe status --site {site}` lists the devices that are present"
    )]
    NoDevice {
        /// The site.
        site: String,
        /// The selector as text, such as ` with line=4`.
        whom: String,
        /// The timeout, in seconds.
        seconds: u64,
    },
    /// The device has no release that the order applies to.
    #[error("device {device} has no release {what}")]
    Nothing {
        /// The device.
        device: String,
        /// The kind of release that the order needs: `to roll back`, `pending`.
        what: &'static str,
    },
    /// The release has no signature.
    #[error(
        "{release} is not signed, and devices accept only signed releases; sign it with `hotshoe sign {release} --key FILE`"
    )]
    Unsigned {
        /// The folder.
        release: String,
    },
}

impl FleetError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Nowhere { .. } => "nowhere",
            Self::NoSite => "no_site",
            Self::NoSiteDir { .. } => "no_site_dir",
            Self::NoDevice { .. } => "no_device",
            Self::Nothing { .. } => "unknown_release",
            Self::Unsigned { .. } => "too_few_signatures",
        }
    }
}
