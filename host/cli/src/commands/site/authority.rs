//! A site's certificate authority, and the certificates that it issues.
use std::path::Path;

use anyhow::Context;
use hotshoe_trust::Time;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use zeroize::Zeroizing;

use hotshoe_release::files::read_text;

/// The lifetime of the authority, in years.
const AUTHORITY_YEARS: i16 = 20;
/// The lifetime of a certificate, in years; long, because people rarely visit devices. `hotshoe site add --force` issues a new one.
pub(super) const CERTIFICATE_YEARS: i16 = 10;
/// Names in every certificate, because commands on the same machine connect to a listener over loopback.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate and its secret key, in PEM.
pub(super) struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The secret key.
    pub key: Zeroizing<String>,
}

/// The authority of one site.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority, with its own certificate.
    pub(super) fn new(site: &str) -> anyhow::Result<(Self, Issued)> {
        let key = KeyPair::generate().context("cannot create the authority's key")?;
        let params = authority(site)?;
        let certificate = params
            .self_signed(&key)
            .context("cannot create the authority's certificate")?
            .pem();
        let issued = Issued {
            certificate,
            key: key.serialize_pem().into(),
        };
        let issuer = Issuer::new(params, key);
        Ok((Self { issuer }, issued))
    }

    /// Opens the authority of a site by its secret key.
    pub(super) fn open(site: &str, key: &Path) -> anyhow::Result<Self> {
        let pem = Zeroizing::new(read_text(key)?);
        let key = KeyPair::from_pem(&pem)
            .with_context(|| format!("cannot use the authority's key {}", key.display()))?;
        Ok(Self {
            issuer: Issuer::new(authority(site)?, key),
        })
    }

    /// Issues a certificate with this common name, for clients and for servers at these hosts.
    pub(super) fn issue(&self, name: &str, hosts: &[String]) -> anyhow::Result<Issued> {
        let cannot = || format!("cannot issue the certificate of {name}");
        let mut names: Vec<String> = LOOPBACK.map(str::to_owned).to_vec();
        names.extend(
            hosts
                .iter()
                .filter(|host| !LOOPBACK.contains(&host.as_str()))
                .cloned(),
        );
        let mut params = valid_for(names, CERTIFICATE_YEARS).with_context(cannot)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().with_context(cannot)?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(cannot)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem().into(),
        })
    }
}

/// The parameters of the authority's certificate. Except for the dates they are the same at each call, so the file need not be read again.
fn authority(site: &str) -> anyhow::Result<CertificateParams> {
    let mut params = valid_for(Vec::new(), AUTHORITY_YEARS)?;
    let name = format!("hotshoe site {site}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// The parameters of a certificate that is valid from yesterday, because clocks differ, for this many years.
fn valid_for(names: Vec<String>, years: i16) -> anyhow::Result<CertificateParams> {
    let mut params =
        CertificateParams::new(names).context("a host name is not valid in a certificate")?;
    let today = TimeZone::UTC.to_datetime(Time::now()).date();
    let from = today
        .yesterday()
        .context("the clock shows the earliest possible time")?;
    let day = |date: jiff::civil::Date| {
        let month = u8::try_from(date.month()).unwrap_or(1);
        // The 29th of February does not exist in every year.
        let day = u8::try_from(date.day()).unwrap_or(1).min(28);
        (i32::from(date.year()), month, day)
    };
    let (year, month, of_month) = day(from);
    params.not_before = date_time_ymd(year, month, of_month);
    params.not_after = date_time_ymd(year + i32::from(years), month, of_month);
    Ok(params)
}
