//! What the page changes: it rolls a release back, or activates one, as the operator's commands do.
//!
//! An order goes over the operator's socket, so that it is carried out and audited like one from the command line. It names the release
//! that its user saw: if another one is there now, nothing happens.

use std::path::Path;

use hotshoe_daemon::command::Command;
use hotshoe_daemon::control;
use hotshoe_protocol::status::SlotsStatus;
use hotshoe_trust::Digest;
use serde::Deserialize;
use serde_json::Value;

use crate::error::PageRequestError;

/// Largest body of an order, in bytes.
pub(crate) const MAX_ORDER_BYTES: usize = 4 << 10;

/// What a page can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Ends the trial, or makes the previous release live.
    RollBack,
    /// Activates the staged release.
    Activate,
}

/// The body of an order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// The release that a rollback leaves, or that is activated.
    release: Digest,
}

impl Order {
    /// The release that it is about.
    fn release(self, slots: &SlotsStatus) -> Result<Digest, PageRequestError> {
        let (slot, place) = match self {
            Self::RollBack => {
                let trial = slots.trial.as_ref().map(|trial| &trial.slot);
                (trial.or(slots.live.as_ref()), "live or on trial")
            }
            Self::Activate => (slots.staged.as_ref(), "staged"),
        };
        slot.map(|slot| slot.release)
            .ok_or(PageRequestError::NoRelease(place))
    }

    /// Reads an order, and checks that its user saw the releases that are there.
    pub(crate) fn check(self, body: &[u8], slots: &SlotsStatus) -> Result<(), PageRequestError> {
        let asked: Body = serde_json::from_slice(body).map_err(PageRequestError::Order)?;
        let now = self.release(slots)?;
        if now == asked.release {
            return Ok(());
        }
        let asked = asked.release;
        Err(PageRequestError::SlotsChanged { now, asked })
    }

    /// Carries it out. Blocks until the daemon answers.
    pub(crate) fn carry_out(self, data: &Path) -> Result<Value, PageRequestError> {
        let command = match self {
            Self::RollBack => Command::Rollback,
            Self::Activate => Command::Activate,
        };
        Ok(control::call(data, &command)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn digest(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    fn slots() -> SlotsStatus {
        let slot = |digit: &str, generation: u64| {
            json!({"release": digest(digit), "name": "labels", "generation": generation,
                   "installed": "2026-11-30T00:00:00Z"})
        };
        let slots = json!({"live": slot("a", 2), "previous": slot("b", 1), "staged": slot("c", 3), "trial": null});
        serde_json::from_value(slots).unwrap()
    }

    fn name(order: Order, release: &str, slots: &SlotsStatus) -> String {
        let body = json!({ "release": release }).to_string();
        let checked = order.check(body.as_bytes(), slots);
        checked.map_or_else(|error| error.name().to_owned(), |()| "ok".to_owned())
    }

    #[test]
    fn an_order_is_about_the_release_that_its_user_saw() {
        let slots = slots();
        assert_eq!(name(Order::RollBack, &digest("a"), &slots), "ok");
        assert_eq!(name(Order::RollBack, &digest("b"), &slots), "slots_changed");
        assert_eq!(name(Order::Activate, &digest("c"), &slots), "ok");
        assert_eq!(name(Order::Activate, &digest("a"), &slots), "slots_changed");
        let empty = SlotsStatus::default();
        assert_eq!(
            name(Order::Activate, &digest("c"), &empty),
            "no_such_release"
        );
    }

    #[test]
    fn a_body_that_is_not_an_order_is_refused() {
        for body in [
            "",
            "{}",
            "[]",
            "{\"release\": \"x\"}",
            "{\"release\": 1, \"more\": 2}",
        ] {
            let error = Order::RollBack
                .check(body.as_bytes(), &slots())
                .unwrap_err();
            assert_eq!(error.name(), "invalid_order", "{body}");
        }
    }
}
