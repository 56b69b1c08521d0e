//! Trust under attack: a running daemon, and a hostile peer on the same network that says and sends what it likes.
//!
//! Each case ends alike: the device names its reason, goes on serving what it served, and its floor stands where it stood.

#[path = "attack/claims.rs"]
mod claims;
#[path = "attack/clock.rs"]
mod clock;
#[path = "attack/flood.rs"]
mod flood;
#[path = "attack/objects.rs"]
mod objects;
#[path = "attack/operator.rs"]
mod operator;
#[path = "attack/peer.rs"]
pub(crate) mod peer;
#[path = "attack/releases.rs"]
mod releases;
#[path = "attack/rotation.rs"]
mod rotation;
#[path = "attack/scene.rs"]
mod scene;
#[path = "attack/stalled.rs"]
mod stalled;
#[path = "attack/statements.rs"]
mod statements;
#[path = "attack/tokens.rs"]
mod tokens;
