//! `oci://HOST[:PORT]/REPOSITORY[:TAG | @DIGEST]`

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hotshoe_trust::Digest;
use oci_client::Reference;

use super::OciError;

/// The prefix of an address, which distinguishes it from a folder.
const SCHEME: &str = "oci://";

/// The address of a release in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Reference);

impl Address {
    /// The reference for the OCI client.
    pub(crate) const fn reference(&self) -> &Reference {
        &self.0
    }

    /// The reference of a manifest in the same repository.
    pub(crate) fn at(&self, digest: Digest) -> Reference {
        self.0.clone_with_digest(digest.to_string())
    }

    /// The reference of a tag in the same repository.
    pub(crate) fn tagged(&self, tag: &str) -> Reference {
        let reference = &self.0;
        let (registry, repository) = (reference.registry(), reference.repository());
        Reference::with_tag(registry.to_owned(), repository.to_owned(), tag.to_owned())
    }

    /// Whether the registry is on this machine, so that no encryption is needed.
    pub(crate) fn is_loopback(&self) -> bool {
        let registry = self.0.registry();
        let host = match registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => registry,
        };
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

impl FromStr for Address {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, OciError> {
        let refused = |why: &str| OciError::Address {
            address: text.to_owned(),
            why: why.to_owned(),
        };
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| refused("it does not start with oci://"))?;
        // Without a host, other tools use one particular public registry; prevent publishing there by mistake.
        let (host, _) = rest
            .split_once('/')
            .ok_or_else(|| refused("it has no repository"))?;
        if host != "localhost" && !host.contains(['.', ':']) {
            return Err(refused("it does not start with a host"));
        }
        let reference = Reference::from_str(rest).map_err(|error| refused(&error.to_string()))?;
        let digest = reference.digest().map(str::parse::<Digest>);
        if digest.is_some_and(|digest| digest.is_err()) {
            return Err(refused(
                "its digest is not `sha256:` and 64 lower-case hexadecimal digits",
            ));
        }
        Ok(Self(reference))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    fn check(text: &str, expected: Result<(&str, bool), &str>) {
        let read = text.parse::<Address>();
        match (read, expected) {
            (Ok(address), Ok((printed, loopback))) => {
                assert_eq!(address.to_string(), printed);
                assert_eq!(address.is_loopback(), loopback, "{text}");
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (read, expected) => panic!("{text}: {read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn addresses_name_their_registry() {
        check(
            "oci://registry.example/line/labels:3",
            Ok(("oci://registry.example/line/labels:3", false)),
        );
        check(
            "oci://localhost:5000/labels",
            Ok(("oci://localhost:5000/labels:latest", true)),
        );
        check(
            "oci://127.0.0.1:5000/labels:1",
            Ok(("oci://127.0.0.1:5000/labels:1", true)),
        );
        let hex = "0123456789abcdef".repeat(4);
        let pinned = format!("oci://registry.example/labels@sha256:{hex}");
        check(&pinned, Ok((pinned.as_str(), false)));
        // Digests that cannot be checked: upper-case digits, and other functions.
        for digest in [
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha512:{hex}{hex}"),
            format!("sha384:{}", "0".repeat(96)),
        ] {
            check(
                &format!("oci://registry.example/labels@{digest}"),
                Err("its digest is not `sha256:`"),
            );
        }
        check("oci://labels", Err("has no repository"));
        check("oci://line/labels:3", Err("does not start with a host"));
        check("registry.example/labels", Err("does not start with oci://"));
        check(
            "oci://registry.example/Labels",
            Err("oci://registry.example/Labels"),
        );
    }
}
