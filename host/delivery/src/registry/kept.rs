//! The states of the releases that the last statements named, for queries.

use std::collections::VecDeque;

use hotshoe_protocol::registry::{KeptRelease, KeptState, MAX_RELEASES};
use hotshoe_store::Cause;
use hotshoe_trust::Digest;

/// The releases of the last statements, the newest last.
#[derive(Debug, Default)]
pub(super) struct KeptReleases(VecDeque<KeptRelease>);

impl KeptReleases {
    /// A statement names a release. One that was refused is tried again; the cause of one that is retried stays.
    pub(super) fn hear(&mut self, name: &str, generation: u64, release: Digest, is_stored: bool) {
        let known = self.0.iter().position(|kept| kept.release == release);
        let known = known.and_then(|place| self.0.remove(place));
        let retried = known.filter(|kept| kept.state == KeptState::Retrying);
        let kept = match (is_stored, retried) {
            (false, Some(retried)) => retried,
            (is_stored, _) => KeptRelease {
                name: name.to_owned(),
                generation,
                release,
                state: if is_stored {
                    KeptState::Stored
                } else {
                    KeptState::Pending
                },
                cause: None,
            },
        };
        while self.0.len() >= MAX_RELEASES {
            self.0.pop_front();
        }
        self.0.push_back(kept);
    }

    /// Changes the state of a release, if it is listed.
    pub(super) fn set(&mut self, release: Digest, state: KeptState, cause: Option<Cause>) {
        let kept = self.0.iter_mut().find(|kept| kept.release == release);
        if let Some(kept) = kept {
            (kept.state, kept.cause) = (state, cause);
        }
    }

    pub(super) fn list(&self) -> Vec<KeptRelease> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_release_is_tried_again_and_a_retried_one_keeps_its_cause() {
        let release = Digest::of(b"release");
        let mut kept = KeptReleases::default();
        let states = |kept: &KeptReleases| -> Vec<(KeptState, Option<String>)> {
            let all = kept.list().into_iter();
            all.map(|it| (it.state, it.cause.map(|cause| cause.name)))
                .collect()
        };
        kept.set(release, KeptState::Stored, None);
        assert!(kept.list().is_empty());
        kept.hear("ocr", 1, release, false);
        assert_eq!(states(&kept), [(KeptState::Pending, None)]);
        let cause = || Some(Cause::new("disk_full", "no space"));
        kept.set(release, KeptState::Retrying, cause());
        kept.hear("ocr", 1, release, false);
        let full = Some("disk_full".to_owned());
        assert_eq!(states(&kept), [(KeptState::Retrying, full)]);
        kept.hear("ocr", 1, release, true);
        assert_eq!(states(&kept), [(KeptState::Stored, None)]);
        kept.set(release, KeptState::Refused, cause());
        kept.hear("ocr", 1, release, false);
        assert_eq!(states(&kept), [(KeptState::Pending, None)]);
        for number in 0..MAX_RELEASES as u64 {
            kept.hear("ocr", number, Digest::of(&number.to_le_bytes()), false);
        }
        assert_eq!(kept.list().len(), MAX_RELEASES);
        assert!(kept.list().iter().all(|it| it.release != release));
    }
}
