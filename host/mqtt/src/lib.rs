//! A publisher of MQTT 5 with QoS 1: it counts a message as published once the broker has acknowledged it. No other crate depends on rumqttc.
//!
//! A [`Session`] is one connection. It does not connect again, and keeps no message: after an error, its caller opens another one, and publishes
//! again what was not acknowledged. So messages keep their order, and some come twice.
#![forbid(unsafe_code)]

mod session;
mod tls;

pub use session::{Credentials, Message, MqttError, Session, Settings};
pub use tls::{TlsError, TlsFiles};
