//! Whether another member of the site is reachable: a device or a registry, by its liveliness tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use zenoh::pubsub::Subscriber;
use zenoh::sample::SampleKind;

use super::LinkError;
use super::outgoing;
use super::site::Site;

/// Most tokens that are known at a time. Every peer may declare tokens.
const MAX_TOKENS: usize = 1_024;
/// The tokens that the access rules of a site let each device see: of those that share releases, and of registries.
const TOKENS: [&str; 2] = ["@source/*", "@registry/*/*"];

/// The tokens of other members, by key. `None` before they are followed.
#[derive(Debug, Clone, Default)]
pub(super) struct Members(Arc<Mutex<Option<BTreeSet<String>>>>);

/// Follows the members until it is dropped.
#[derive(Debug)]
pub(super) struct MemberWatch {
    members: Members,
    _tokens: [Subscriber<()>; 2],
}

impl Members {
    /// Follows the members of a site other than `device`.
    pub(super) fn watch(&self, site: &Site, device: &str) -> Result<MemberWatch, LinkError> {
        let own = site.key(&format!("@source/{device}"));
        let follow = |tokens: &str| {
            let (known, own) = (self.clone(), own.clone());
            outgoing::follow_tokens(&site.session, &site.key(tokens), move |sample| {
                let key = sample.key_expr().as_str();
                if key != own {
                    known.take(key, sample.kind());
                }
            })
        };
        let [sources, registries] = TOKENS;
        let tokens = [follow(sources)?, follow(registries)?];
        self.0.lock().get_or_insert_default();
        Ok(MemberWatch {
            members: self.clone(),
            _tokens: tokens,
        })
    }

    /// Whether there is another member. `None` while they are not followed.
    pub(super) fn is_any_reachable(&self) -> Option<bool> {
        let tokens = self.0.lock();
        tokens.as_ref().map(|tokens| !tokens.is_empty())
    }

    fn take(&self, key: &str, kind: SampleKind) {
        let mut tokens = self.0.lock();
        let tokens = tokens.get_or_insert_default();
        if kind == SampleKind::Delete {
            tokens.remove(key);
        } else if tokens.len() < MAX_TOKENS {
            tokens.insert(key.to_owned());
        }
    }
}

impl Drop for MemberWatch {
    fn drop(&mut self) {
        *self.members.0.lock() = None;
    }
}
