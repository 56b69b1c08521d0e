//! The `Authorization` of requests: what a registry's challenge asks for, from the user's credentials.

use std::cell::RefCell;
use std::sync::atomic::AtomicU64;

use http_auth::parse_challenges;
use reqwest::header::{CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;

use super::body;
use super::retry::is_temporary;
use super::{Credentials, TransferError};

/// The maximum size of a token service's response, in bytes.
const TOKEN_BYTES: u64 = 64 * 1024;
/// The name of this program for token services.
const CLIENT_ID: &str = "hotshoe";

/// Authenticates requests.
pub(super) struct Authenticator {
    credentials: Credentials,
    /// `repository:NAME:ACTIONS`.
    scope: String,
    /// Whether connections to the registry are not encrypted; then those to its token service need not be either.
    is_plain: bool,
    current: RefCell<Authorization>,
}

#[derive(Clone)]
enum Authorization {
    None,
    Password(String, String),
    Token(String),
}

/// The address of a token service, from a challenge.
struct Bearer {
    realm: String,
    service: Option<String>,
}

/// The response of a token service (the distribution project's token specification); both names are in use.
#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Token { token: String },
    Access { access_token: String },
}

impl Authenticator {
    pub(super) const fn new(credentials: Credentials, scope: String, is_plain: bool) -> Self {
        Self {
            credentials,
            scope,
            is_plain,
            current: RefCell::new(Authorization::None),
        }
    }

    /// Adds the authorization to a request.
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match &*self.current.borrow() {
            Authorization::None => request,
            Authorization::Password(name, password) => request.basic_auth(name, Some(password)),
            Authorization::Token(token) => request.bearer_auth(token),
        }
    }

    /// Answers a challenge: requests a new token, or takes the password. Whether the authorization is now another one.
    ///
    /// # Errors
    /// [`TransferError`].
    pub(super) async fn answer(
        &self,
        http: &Client,
        headers: &HeaderMap,
    ) -> Result<bool, TransferError> {
        if let Some(bearer) = bearer(headers) {
            let token = self.token(http, &bearer).await?;
            self.current.replace(Authorization::Token(token));
            return Ok(true);
        }
        let has_none = matches!(*self.current.borrow(), Authorization::None);
        match &self.credentials {
            Credentials::Password(name, password) if has_none => {
                let password = Authorization::Password(name.clone(), password.clone());
                self.current.replace(password);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn token(&self, http: &Client, bearer: &Bearer) -> Result<String, TransferError> {
        let realm = &bearer.realm;
        let mut url = Url::parse(realm).map_err(|_| TransferError::Url(realm.clone()))?;
        if url.scheme() != "https" && !self.is_plain {
            return Err(TransferError::PlainToken(realm.clone()));
        }
        let service = bearer.service.as_deref().map(|it| ("service", it));
        let request = match &self.credentials {
            // An identity token is exchanged (OAuth 2.0, refresh_token), as `docker` and `oras` do.
            Credentials::Identity(identity) => {
                let mut form = url.clone();
                form.set_query(None);
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", CLIENT_ID)
                    .append_pair("scope", &self.scope)
                    .append_pair("refresh_token", identity)
                    .extend_pairs(service);
                let form = form.query().unwrap_or_default().to_owned();
                http.post(url)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form)
            }
            other => {
                url.query_pairs_mut()
                    .append_pair("scope", &self.scope)
                    .extend_pairs(service);
                match other {
                    Credentials::Password(name, password) => {
                        http.get(url).basic_auth(name, Some(password))
                    }
                    _ => http.get(url),
                }
            }
        };
        let answer = body::answered(request, &AtomicU64::new(0)).await?;
        let status = answer.status();
        if !status.is_success() {
            let headers = answer.headers().clone();
            let reason = body::reason(answer).await;
            let refused = TransferError::refused(status, &headers, &reason);
            return Err(match refused {
                TransferError::Status { status, reason, .. }
                    if status.is_client_error() && !is_temporary(status) =>
                {
                    TransferError::TokenRefused { status, reason }
                }
                refused => refused,
            });
        }
        let bytes = body::whole(answer, TOKEN_BYTES).await;
        let bytes = bytes.map_err(|error| match error {
            TransferError::TooLarge { .. } => TransferError::BadToken(error.to_string()),
            error => error,
        })?;
        let token = serde_json::from_slice(&bytes);
        match token.map_err(|error| TransferError::BadToken(error.to_string()))? {
            Token::Token { token }
            | Token::Access {
                access_token: token,
            } => Ok(token),
        }
    }
}

/// The challenge for a bearer token, if there is one.
fn bearer(headers: &HeaderMap) -> Option<Bearer> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter();
    texts
        .filter_map(|text| text.to_str().ok())
        .find_map(|text| {
            let challenges = parse_challenges(text).ok()?;
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
            Some(Bearer {
                realm: of("realm")?,
                service: of("service"),
            })
        })
}
