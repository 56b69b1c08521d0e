//! A publisher of MQTT 5 with QoS 1: what it says is published, the broker has acknowledged. No other crate depends on rumqttc.
//!
//! A [`Session`] is one connection. It does not connect again, and keeps nothing: whoever has the messages opens another one, and publishes
//! again what was not acknowledged. So messages keep their order, and some come twice.
#![forbid(unsafe_code)]

mod session;
mod tls;

pub use session::{Credentials, Message, MqttError, Session, Settings};
pub use tls::{TlsError, TlsFiles};
