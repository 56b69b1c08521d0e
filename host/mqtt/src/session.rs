//! One connection to a broker.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hotshoe_base::files;
use hotshoe_sealing::{NamedSecret, SecretError};
use parking_lot::Mutex;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, PubAckReason,
    PublishNoticeError, PublishOptions, PublishResult, QoS, TlsConfiguration, Transport,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::tls::{TlsError, TlsFiles};

/// Messages that may wait for the connection.
const QUEUE: usize = 16;
/// Time without a message after which the broker is asked whether it is there, in seconds.
const KEEP_ALIVE_S: u16 = 15;

/// Most bytes of a message beside its topic and its payload: the fixed header, the length of the topic, the number, and no properties.
const MESSAGE_OVERHEAD: usize = 5 + 2 + 2 + 1;
/// Longest password, in bytes: what a message of MQTT has room for.
const MAX_PASSWORD_BYTES: u64 = 65_535;

/// Where the broker is, and who this client is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The host's name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The client's id, which the broker allows once at a time.
    pub client_id: String,
    /// TLS. Default: none.
    pub tls: Option<TlsFiles>,
    /// The user. Default: none.
    pub credentials: Option<Credentials>,
}

/// A user of the broker. The password is read at each connection.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The file with the password; one line feed at its end does not count. Default: no password.
    pub password_file: Option<PathBuf>,
    /// The secret with the password, without a file. Default: none.
    pub password_secret: Option<NamedSecret>,
}

/// The password in a file, without the end of its line.
fn password(path: &Path) -> Result<Vec<u8>, MqttError> {
    let read = files::read_bytes(path, MAX_PASSWORD_BYTES);
    let mut password = read.map_err(|source| {
        let path = path.to_owned();
        MqttError::Password { path, source }
    })?;
    for ending in *b"\n\r" {
        if password.last() == Some(&ending) {
            password.pop();
        }
    }
    Ok(password)
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl Message {
    const fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len()
    }

    /// Whether a broker with this limit takes it.
    const fn fits(&self, limit: usize) -> bool {
        self.bytes() + MESSAGE_OVERHEAD <= limit
    }
}

/// Why messages were not published.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// The certificates cannot be used.
    #[error("cannot use TLS to the broker")]
    Tls(#[from] TlsError),
    /// The password cannot be read.
    #[error("cannot read the password in {}; it must be a file of at most {MAX_PASSWORD_BYTES} bytes", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The secret with the password cannot be read.
    #[error("cannot read the secret with the broker's password")]
    Secret(#[from] SecretError),
    /// The system cannot start a thread.
    #[error("cannot start the thread of the connection")]
    Thread(#[source] io::Error),
    /// The broker is not there, or refuses the connection.
    #[error("cannot connect to the broker {host}:{port}")]
    Connect {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        source: Option<Arc<ConnectionError>>,
    },
    /// The connection broke.
    #[error("the connection to the broker broke")]
    Broken {
        /// Why.
        source: Option<Arc<ConnectionError>>,
    },
    /// The broker did not acknowledge in time.
    #[error("the broker did not acknowledge in time")]
    Late,
    /// The broker has no subscriber of the topic, and would drop the message.
    #[error("the broker has no subscriber of `{topic}`, and would drop the record")]
    NoSubscriber {
        /// The topic.
        topic: String,
    },
    /// The message is larger than the broker takes. It was not sent.
    #[error(
        "a message of `{topic}` has {bytes} bytes, and the broker takes {limit}; raise its largest packet, or send less"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of the topic and the payload.
        bytes: usize,
        /// The broker's limit in bytes.
        limit: usize,
    },
    /// The broker refused the message.
    #[error("the broker refused a message of `{topic}`")]
    Refused {
        /// The topic.
        topic: String,
        /// Why.
        source: PublishNoticeError,
    },
}

impl MqttError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tls(_) => "mqtt_tls",
            Self::Password { .. } => "mqtt_password",
            Self::Secret(error) => error.name(),
            Self::Thread(_) => "thread",
            Self::Connect { .. } => "mqtt_unreachable",
            Self::Broken { .. } => "mqtt_broken",
            Self::Late => "mqtt_late",
            Self::NoSubscriber { .. } => "mqtt_no_subscriber",
            Self::TooLarge { .. } => "mqtt_too_large",
            Self::Refused { .. } => "mqtt_refused",
        }
    }
}

type Failure = Arc<Mutex<Option<Arc<ConnectionError>>>>;

/// A connection to a broker, until it breaks or is dropped.
#[derive(Debug)]
pub struct Session {
    /// `None` only during drop.
    runtime: Option<Runtime>,
    client: AsyncClient,
    failure: Failure,
    /// A subscriber had a message of this session.
    has_subscriber: bool,
    /// Bytes of the largest packet that the broker takes.
    max_packet: usize,
}

impl Session {
    /// Connects, with a thread of its own. Blocks for at most `limit`.
    ///
    /// # Errors
    /// [`MqttError`].
    pub fn open(settings: &Settings, limit: Duration) -> Result<Self, MqttError> {
        let (host, port) = (settings.host.clone(), settings.port);
        let (client, events) = AsyncClient::builder(options(settings)?)
            .capacity(QUEUE)
            .build();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("hotshoe-mqtt")
            .enable_all()
            .build()
            .map_err(MqttError::Thread)?;
        let failure = Failure::default();
        let (connected, is_connected) = oneshot::channel();
        runtime.spawn(follow(events, connected, Arc::clone(&failure)));
        let answer = runtime.block_on(async { timeout(limit, is_connected).await });
        let mut session = Self {
            runtime: Some(runtime),
            client,
            failure,
            has_subscriber: false,
            max_packet: usize::MAX,
        };
        match answer {
            Ok(Ok(max_packet)) => {
                session.max_packet = max_packet;
                Ok(session)
            }
            _ => Err(MqttError::Connect {
                host,
                port,
                source: session.failure.lock().take(),
            }),
        }
    }

    /// Publishes messages in their order, and waits for the broker to acknowledge them, for at most `limit`. Returns how many of the first
    /// ones it acknowledged, and why not the next one. After an error other than [`MqttError::TooLarge`] the session is of no use.
    pub fn publish(
        &mut self,
        mut messages: Vec<Message>,
        limit: Duration,
    ) -> (usize, Option<MqttError>) {
        let Some(runtime) = self.runtime.take() else {
            return (0, Some(self.broken()));
        };
        let too_large = self.take_too_large(&mut messages);
        let mut acknowledged = 0;
        let published = runtime.block_on(async {
            // Alone: without a subscriber, a later message might arrive before it.
            let first = match self.has_subscriber {
                true => 0,
                false => messages.len().min(1),
            };
            let others = messages.split_off(first);
            let all = async {
                self.publish_all(messages, &mut acknowledged).await?;
                self.publish_all(others, &mut acknowledged).await
            };
            timeout(limit, all).await.unwrap_or(Err(MqttError::Late))
        });
        self.has_subscriber |= acknowledged > 0;
        self.runtime = Some(runtime);
        (acknowledged, published.err().or(too_large))
    }

    /// Takes the first message out that is larger than the broker takes, and those after it. Sending it would break the connection.
    fn take_too_large(&self, messages: &mut Vec<Message>) -> Option<MqttError> {
        let limit = self.max_packet;
        let at = messages.iter().position(|it| !it.fits(limit))?;
        let message = messages.drain(at..).next()?;
        Some(MqttError::TooLarge {
            bytes: message.bytes(),
            topic: message.topic,
            limit,
        })
    }

    async fn publish_all(
        &self,
        messages: Vec<Message>,
        acknowledged: &mut usize,
    ) -> Result<(), MqttError> {
        let mut notices = Vec::with_capacity(messages.len());
        for Message { topic, payload } in messages {
            let options = PublishOptions::new(QoS::AtLeastOnce);
            let queued = self
                .client
                .publish_tracked(topic.clone(), payload, options)
                .await;
            match queued {
                Ok(notice) => notices.push((topic, notice)),
                // Those before it may still be acknowledged; they come again.
                Err(_) => return Err(self.broken()),
            }
        }
        for (topic, notice) in notices {
            match notice.wait_async().await {
                Ok(result) => check(topic, &result)?,
                Err(PublishNoticeError::Recv) => return Err(self.broken()),
                Err(source) => return Err(MqttError::Refused { topic, source }),
            }
            *acknowledged += 1;
        }
        Ok(())
    }

    fn broken(&self) -> MqttError {
        let source = self.failure.lock().take();
        MqttError::Broken { source }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn options(settings: &Settings) -> Result<MqttOptions, MqttError> {
    let Settings {
        host,
        port,
        client_id,
        tls,
        credentials,
    } = settings;
    let mut options = MqttOptions::new(client_id.clone(), (host.clone(), *port));
    options.set_keep_alive(KEEP_ALIVE_S);
    // The outbox has what was not acknowledged.
    options.set_clean_start(true);
    if let Some(Credentials {
        username,
        password_file,
        password_secret,
    }) = credentials
    {
        match (password_file, password_secret) {
            (Some(path), _) => options.set_credentials(username.clone(), password(path)?),
            (None, Some(secret)) => {
                let password = secret.read()?.expose().as_bytes().to_vec();
                options.set_credentials(username.clone(), password)
            }
            (None, None) => options.set_username(username.clone()),
        };
    }
    if let Some(tls) = tls {
        let config = TlsConfiguration::Rustls(Arc::new(tls.config()?));
        options.set_transport(Transport::tls_with_config(config));
    }
    Ok(options)
}

/// Drives the connection until it breaks. What waits for an acknowledgement learns it, because the connection is dropped.
async fn follow(mut events: EventLoop, connected: oneshot::Sender<usize>, failure: Failure) {
    let mut connected = Some(connected);
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                if let Some(connected) = connected.take() {
                    let limit = answer.properties.and_then(|it| it.max_packet_size);
                    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
                    // The caller may have given up.
                    let _ = connected.send(limit.unwrap_or(usize::MAX));
                }
            }
            Ok(_) => {}
            Err(error) => {
                *failure.lock() = Some(Arc::new(error));
                return;
            }
        }
    }
}

fn check(topic: String, result: &PublishResult) -> Result<(), MqttError> {
    match result {
        PublishResult::Qos1(answer) => match answer.reason {
            PubAckReason::Success => Ok(()),
            PubAckReason::NoMatchingSubscribers => Err(MqttError::NoSubscriber { topic }),
            reason => Err(MqttError::Refused {
                topic,
                source: PublishNoticeError::V5PubAck(reason),
            }),
        },
        // Not asked for.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Message;

    #[test]
    fn a_message_fits_with_its_head() {
        let message = Message {
            topic: "line".to_owned(),
            payload: vec![0; 100],
        };
        assert!(message.fits(114) && message.fits(usize::MAX));
        assert!(!message.fits(113) && !message.fits(0));
    }
}
