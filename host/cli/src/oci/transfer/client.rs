use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hotshoe_devkit::Progress;
use reqwest::header::{ACCEPT, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::retry::{Attempts, is_temporary};
use super::token::Authenticator;
use super::upload::UploadMode;
use super::{Credentials, TransferError, body, tls};

/// The connect timeout.
const CONNECT: Duration = Duration::from_secs(10);
/// The most redirects of one request.
const REDIRECTS: usize = 10;
/// The user agent of requests.
const USER_AGENT: &str = concat!("hotshoe/", env!("CARGO_PKG_VERSION"));

/// A server and how it is reached.
pub(in super::super) struct Server {
    /// `HOST[:PORT]`.
    pub host: String,
    /// Whether connections are not encrypted.
    pub is_plain: bool,
    /// Certificate authorities beside those of the system.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// A client of one repository of a registry.
pub(in super::super) struct RegistryClient {
    http: Client,
    /// `https://HOST/v2/REPOSITORY/`.
    base: Url,
    authenticator: Authenticator,
    progress: Progress,
    /// The bytes of blobs that were sent.
    pub(super) sent: Arc<AtomicU64>,
    pub(super) upload_mode: UploadMode,
}

impl RegistryClient {
    /// Connects to a registry and authenticates for `actions` (`pull` or `pull,push`).
    ///
    /// # Errors
    /// [`TransferError`].
    pub(in super::super) async fn open(
        server: Server,
        repository: &str,
        actions: &str,
        credentials: Credentials,
        progress: &Progress,
    ) -> Result<Self, TransferError> {
        // reqwest has no default provider here; an installed one is this one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none());
        if !server.authorities.is_empty() {
            let config = tls::config(server.authorities).map_err(TransferError::Tls)?;
            http = http.tls_backend_preconfigured(config);
        }
        let scheme = if server.is_plain { "http" } else { "https" };
        let root = format!("{scheme}://{}/v2/", server.host);
        let base = format!("{root}{repository}/");
        let client = Self {
            http: http.build()?,
            base: Url::parse(&base).map_err(|_| TransferError::Url(base))?,
            authenticator: Authenticator::new(
                credentials,
                format!("repository:{repository}:{actions}"),
                server.is_plain,
            ),
            progress: progress.clone(),
            sent: Arc::default(),
            upload_mode: UploadMode::default(),
        };
        let root = Url::parse(&root).map_err(|_| TransferError::Url(root))?;
        client.greet(&root).await?;
        Ok(client)
    }

    /// Asks the registry how it authenticates. An address that cannot be reached is most likely wrong, so that it is not tried again.
    async fn greet(&self, root: &Url) -> Result<(), TransferError> {
        let mut attempts = self.attempts();
        loop {
            match self.challenge(root).await {
                Err(error) if !error.is_connect() => attempts.wait(error).await?,
                answered => return answered,
            }
        }
    }

    async fn challenge(&self, root: &Url) -> Result<(), TransferError> {
        let answer = self.follow(root, &|http, url| Ok(http.get(url))).await?;
        if is_temporary(answer.status()) {
            return Err(refused(answer).await);
        }
        // Another server's challenge gets nothing: the credentials are the registry's.
        let is_own = answer.url().origin() == self.base.origin();
        let headers = answer.headers();
        if is_own && headers.contains_key(WWW_AUTHENTICATE) {
            self.authenticator.answer(&self.http, headers).await?;
        }
        Ok(())
    }

    /// An address below the repository.
    ///
    /// # Errors
    /// [`TransferError::Url`].
    pub(super) fn url(&self, path: &str) -> Result<Url, TransferError> {
        // Joined as text: a path such as `sha256:...` is not an absolute URL.
        let text = format!("{}{path}", self.base);
        Url::parse(&text).map_err(|_| TransferError::Url(text))
    }

    pub(super) const fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&self.progress)
    }

    /// Reads a body of at most `limit` bytes.
    ///
    /// # Errors
    /// [`TransferError`].
    pub(in super::super) async fn read(
        &self,
        path: &str,
        accept: &str,
        limit: u64,
    ) -> Result<Vec<u8>, TransferError> {
        let url = self.url(path)?;
        self.retried(async || {
            let get = |http: &Client, url: Url| Ok(http.get(url).header(ACCEPT, accept));
            body::whole(self.send(&url, &get).await?, limit).await
        })
        .await
    }

    /// Repeats a request while another attempt can help.
    pub(super) async fn retried<T>(
        &self,
        once: impl AsyncFn() -> Result<T, TransferError>,
    ) -> Result<T, TransferError> {
        let mut attempts = self.attempts();
        loop {
            match once().await {
                Err(error) => attempts.wait(error).await?,
                done => return done,
            }
        }
    }

    /// Sends one request, and once more if the registry asks for a new token. Returns a successful response, with its body not read.
    ///
    /// # Errors
    /// [`TransferError`]: the registry's own reason if it gave one.
    pub(super) async fn send(
        &self,
        url: &Url,
        make: &impl Fn(&Client, Url) -> Result<RequestBuilder, TransferError>,
    ) -> Result<Response, TransferError> {
        let mut answer = self.follow(url, make).await?;
        // Another server's challenge gets nothing: the credentials are the registry's.
        let is_challenged = answer.status() == StatusCode::UNAUTHORIZED
            && answer.url().origin() == self.base.origin();
        if is_challenged {
            let headers = answer.headers();
            if self.authenticator.answer(&self.http, headers).await? {
                answer = self.follow(url, make).await?;
            }
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(refused(answer).await)
    }

    /// Follows redirects. Only the registry itself gets the authorization, and a redirect gets it only after it asked for it: the address
    /// of a storage service is signed, and the service refuses a second authorization.
    async fn follow(
        &self,
        url: &Url,
        make: &impl Fn(&Client, Url) -> Result<RequestBuilder, TransferError>,
    ) -> Result<Response, TransferError> {
        let mut at = url.clone();
        let mut authorized = true;
        for _ in 0..=REDIRECTS {
            let is_own = at.origin() == self.base.origin();
            let request = make(&self.http, at.clone())?;
            let request = if authorized && is_own {
                self.authenticator.apply(request)
            } else {
                request
            };
            let answer = body::answered(request, &self.sent).await?;
            if answer.status() == StatusCode::UNAUTHORIZED && is_own && !authorized {
                authorized = true;
            } else if is_redirect(answer.status()) {
                at = location(&answer)?;
                authorized = false;
            } else {
                return Ok(answer);
            }
        }
        Err(TransferError::Redirects { limit: REDIRECTS })
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// The address in a response's `Location`, which may be relative.
pub(super) fn location(answer: &Response) -> Result<Url, TransferError> {
    let found = answer.headers().get(LOCATION);
    found
        .and_then(|value| answer.url().join(value.to_str().ok()?).ok())
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or(TransferError::NoLocation {
            status: answer.status(),
        })
}

async fn refused(answer: Response) -> TransferError {
    let status = answer.status();
    let headers = answer.headers().clone();
    TransferError::refused(status, &headers, &body::reason(answer).await)
}
