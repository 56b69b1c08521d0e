//! Reads from a registry with a size limit on every response. `oci_client` buffers a whole response before its caller can check the size,
//! so an endless one would exhaust memory; only pushing uses it.

use http_auth::parse_challenges;
use oci_client::errors::{OciDistributionError, OciEnvelope};
use oci_client::secrets::RegistryAuth;
use reqwest::header::{ACCEPT, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

/// The maximum size of a token service's response, in bytes.
const TOKEN_BYTES: u64 = 64 * 1024;
/// The maximum size of an error response, in bytes.
const REASON_BYTES: u64 = 16 * 1024;

/// Reads from one repository of a registry.
pub(super) struct RegistryReader {
    http: Client,
    /// `https://HOST/v2/REPOSITORY/`.
    base: String,
    auth: RegistryAuth,
}

/// The response of a token service (the distribution project's token specification); both names are in use.
#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Token { token: String },
    Access { access_token: String },
}

impl RegistryReader {
    /// Requests a token for `actions` (`pull` or `pull,push`) with the credentials `auth`. [`Self::auth`] is the token afterwards.
    ///
    /// # Errors
    /// [`OciDistributionError`].
    pub(super) async fn open(
        http: Client,
        server: &str,
        repository: &str,
        auth: RegistryAuth,
        actions: &str,
    ) -> Result<Self, OciDistributionError> {
        let answer = http.get(format!("{server}/v2/")).send().await?;
        let challenge = answer.headers().get(WWW_AUTHENTICATE);
        let asked = match &auth {
            RegistryAuth::Bearer(_) => None,
            _ => challenge.and_then(|value| bearer(value.to_str().ok()?)),
        };
        let auth = match asked {
            Some((realm, service)) => {
                let scope = format!("repository:{repository}:{actions}");
                let token = token(&http, &realm, service.as_deref(), &scope, &auth).await?;
                RegistryAuth::Bearer(token)
            }
            None => auth,
        };
        Ok(Self {
            http,
            base: format!("{server}/v2/{repository}/"),
            auth,
        })
    }

    /// The authentication for further requests.
    pub(super) const fn auth(&self) -> &RegistryAuth {
        &self.auth
    }

    /// Sends a GET request. Returns a successful response, with its body not read.
    ///
    /// # Errors
    /// [`OciDistributionError`]: the registry's own reason if it gave one.
    pub(super) async fn get(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<Response, OciDistributionError> {
        let url = format!("{}{path}", self.base);
        let request = self.http.get(&url).header(ACCEPT, accept);
        let answer = with(request, &self.auth).send().await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let reason = head(answer, REASON_BYTES).await?;
        Err(refused(status, url, &reason))
    }
}

/// The body of a response, if it has at most `limit` bytes; otherwise none. Buffers no more than that.
///
/// # Errors
/// [`OciDistributionError`].
pub(super) async fn body(
    mut answer: Response,
    limit: u64,
) -> Result<Option<Vec<u8>>, OciDistributionError> {
    let mut bytes = Vec::new();
    while let Some(more) = answer.chunk().await? {
        let size = (bytes.len() as u64).saturating_add(more.len() as u64);
        if size > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&more);
    }
    Ok(Some(bytes))
}

/// The first bytes of a response.
async fn head(mut answer: Response, limit: u64) -> Result<Vec<u8>, OciDistributionError> {
    let mut bytes = Vec::new();
    while let Some(more) = answer.chunk().await? {
        bytes.extend_from_slice(&more);
        if bytes.len() as u64 >= limit {
            break;
        }
    }
    bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(bytes)
}

fn refused(status: StatusCode, url: String, reason: &[u8]) -> OciDistributionError {
    match status {
        StatusCode::UNAUTHORIZED => OciDistributionError::UnauthorizedError { url },
        _ => match serde_json::from_slice::<OciEnvelope>(reason) {
            Ok(envelope) => OciDistributionError::RegistryError { envelope, url },
            Err(_) => OciDistributionError::ServerError {
                code: status.as_u16(),
                url,
                message: String::from_utf8_lossy(reason).into_owned(),
            },
        },
    }
}

fn with(request: RequestBuilder, auth: &RegistryAuth) -> RequestBuilder {
    match auth {
        RegistryAuth::Anonymous => request,
        RegistryAuth::Basic(name, password) => request.basic_auth(name, Some(password)),
        RegistryAuth::Bearer(token) => request.bearer_auth(token),
    }
}

/// The realm and the service of a challenge for a bearer token.
fn bearer(challenge: &str) -> Option<(String, Option<String>)> {
    let challenges = parse_challenges(challenge).ok()?;
    let asked = challenges
        .iter()
        .find(|it| it.scheme.eq_ignore_ascii_case("bearer"))?;
    let of = |name: &str| {
        let found = asked
            .params
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    Some((of("realm")?, of("service")))
}

async fn token(
    http: &Client,
    realm: &str,
    service: Option<&str>,
    scope: &str,
    auth: &RegistryAuth,
) -> Result<String, OciDistributionError> {
    let mut url = Url::parse(realm)
        .map_err(|error| OciDistributionError::UrlParseError(error.to_string()))?;
    url.query_pairs_mut()
        .append_pair("scope", scope)
        .extend_pairs(service.map(|service| ("service", service)));
    let answer = with(http.get(url), auth).send().await?;
    if !answer.status().is_success() {
        let reason = head(answer, REASON_BYTES).await?;
        let reason = String::from_utf8_lossy(&reason).into_owned();
        return Err(OciDistributionError::AuthenticationFailure(reason));
    }
    let undecoded = |reason: String| OciDistributionError::RegistryTokenDecodeError(reason);
    let bytes = body(answer, TOKEN_BYTES)
        .await?
        .ok_or_else(|| undecoded(format!("it has more than {TOKEN_BYTES} bytes")))?;
    match serde_json::from_slice(&bytes).map_err(|error| undecoded(error.to_string()))? {
        Token::Token { token }
        | Token::Access {
            access_token: token,
        } => Ok(token),
    }
}
