//! The outlet to a broker of MQTT: each record and each loss is a message of its own.

use std::time::Duration;

use hotshoe_config::Config;
use hotshoe_mqtt::{Credentials, Message, MqttError, Session, Settings, TlsFiles};
use hotshoe_protocol::outbox::{Batch, BatchItem, LossItem, RecordItem};
use hotshoe_sealing::{NamedSecret, SecretSource};
use serde::Serialize;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker may take for a batch.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// A message's payload: what `hotshoe collect` writes as a line.
#[derive(Serialize)]
struct Body<'a> {
    site: &'a str,
    device: &'a str,
    instance: &'a str,
    #[serde(flatten)]
    item: Kind<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Kind<'a> {
    Record(&'a RecordItem),
    Loss(&'a LossItem),
}

/// A broker, and the connection to it.
pub(super) struct Mqtt {
    settings: Settings,
    /// What all topics begin with.
    prefix: String,
    session: Option<Session>,
}

impl Mqtt {
    /// The configured broker.
    pub(super) fn of(config: &Config, secrets: SecretSource) -> Option<Self> {
        let own = config.outbox.mqtt.as_ref()?;
        let url = own.parsed()?;
        let tls = own.ca.clone().filter(|_| url.is_tls).map(|ca| TlsFiles {
            ca,
            client: own.certificate.clone().zip(own.key.clone()),
        });
        let credentials = own.username.clone().map(|username| Credentials {
            username,
            password_file: own.password_file.clone(),
            password_secret: own
                .password_secret
                .clone()
                .map(|name| NamedSecret::new(secrets, name)),
        });
        let (site, device) = (&config.site, &config.device);
        let client_id = own.client_id.clone();
        Some(Self {
            settings: Settings {
                host: url.host,
                port: url.port,
                client_id: client_id.unwrap_or_else(|| format!("hotshoe-{site}-{device}")),
                tls,
                credentials,
            },
            prefix: format!("{}/{site}/{device}", own.topic_prefix),
            session: None,
        })
    }

    /// The broker, for the status.
    pub(super) fn peer(&self) -> String {
        format!("{}:{}", self.settings.host, self.settings.port)
    }

    /// Whether there is a connection, as far as is known.
    pub(super) const fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Publishes a batch in its order. Returns how many of the first items the broker acknowledged.
    pub(super) fn publish(&mut self, batch: &Batch) -> (usize, Option<MqttError>) {
        let session = match self.session.take() {
            Some(session) => Ok(session),
            None => Session::open(&self.settings, CONNECT_TIMEOUT),
        };
        let mut session = match session {
            Ok(session) => session,
            Err(error) => return (0, Some(error)),
        };
        let messages = batch.items.iter().map(|item| self.message(batch, item));
        let (acknowledged, error) = session.publish(messages.collect(), BATCH_TIMEOUT);
        if matches!(error, None | Some(MqttError::TooLarge { .. })) {
            self.session = Some(session);
        }
        (acknowledged, error)
    }

    fn message(&self, batch: &Batch, item: &BatchItem) -> Message {
        let (source, item) = match item {
            BatchItem::Record(item) => (&item.source, Kind::Record(item)),
            BatchItem::Loss(item) => (&item.source, Kind::Loss(item)),
        };
        let body = Body {
            site: &batch.site,
            device: &batch.device,
            instance: &batch.instance,
            item,
        };
        Message {
            topic: format!("{}/{source}", self.prefix),
            payload: serde_json::to_vec(&body).unwrap_or_default(),
        }
    }
}
