//! Releases of the kinds `config` and `host`, beside those of pipelines.

use hotshoe_delivery::FetchError;
use hotshoe_store::Cause;
use hotshoe_trust::{Digest, Order, Package, ReleaseKind, Statement};
use serde_json::{Value, json};

use super::Reconciler;
use crate::command::{BY_DEPLOYER, CommandError, ordered};
use crate::deploy::chain;
use crate::deploy::kinds::{KindReleases, Surroundings};
use crate::deploy::package_queue::WantedRelease;
use crate::deploy::reporter::Subject;
use crate::deploy::statement::refuse;

/// The kinds that have no pipeline.
const KINDS: [ReleaseKind; 2] = [ReleaseKind::Config, ReleaseKind::Host];

impl Reconciler {
    /// Goes on with what the device has of each kind.
    pub(super) fn open_kinds(&mut self) {
        for kind in KINDS {
            if KindReleases::exist(kind, &self.config.data) {
                self.open_kind(kind);
            }
        }
    }

    /// Opens the releases of a kind, where they are not open. Whether they are.
    fn open_kind(&mut self, kind: ReleaseKind) -> bool {
        if self.kinds.contains_key(&kind) {
            return true;
        }
        let with = self.kind_parts.clone();
        let opened = KindReleases::open(kind, &self.config.data, with, &self.surroundings());
        match opened {
            Ok(releases) => {
                self.kinds.insert(kind, releases);
                true
            }
            Err(error) => {
                let cause = chain(&error);
                tracing::error!(%kind, cause, "releases of this kind are not followed");
                false
            }
        }
    }

    fn surroundings(&self) -> Surroundings<'_> {
        let serving = self.serving.current().map(|serving| {
            let digest = serving.release().digest();
            (digest, serving.observer().seen().all)
        });
        Surroundings {
            loader: &self.loader,
            config: &self.config,
            now: self.time(),
            at_rest: self.ledger.store().at_rest(),
            serving,
            should_serve: self.ledger.ledger().live.is_some(),
        }
    }

    /// Does something with the releases of a kind, which are taken out meanwhile.
    fn with_kind<T>(
        &mut self,
        kind: ReleaseKind,
        act: impl FnOnce(&mut KindReleases, &Surroundings<'_>) -> T,
    ) -> Option<T> {
        let mut releases = self.kinds.remove(&kind)?;
        let done = act(&mut releases, &self.surroundings());
        self.kinds.insert(releases.kind(), releases);
        Some(done)
    }

    /// Handles a statement that wants a release of another kind than a pipeline.
    pub(super) fn on_kind_statement(&mut self, statement: Statement, signed: bool, digest: Digest) {
        let now = self.time();
        let Order::Deploy {
            release,
            name,
            generation,
            bundles,
            activate,
            ..
        } = statement.order
        else {
            return;
        };
        let mut wanted = WantedRelease {
            subject: Subject {
                release,
                name,
                generation,
                statement: Some(digest),
            },
            bundles,
            activate,
            issued: statement.issued.min(now),
            signed,
        };
        let kind = ReleaseKind::of_name(&wanted.subject.name);
        if !self.open_kind(kind) {
            return self.reporter.ignored("unusable_ledger");
        }
        let ignored = self.with_kind(kind, |releases, _| {
            if signed {
                wanted.issued = releases.counts_from(statement.issued, now);
            }
            releases.want(&wanted)
        });
        if let Some(Some(reason)) = ignored {
            self.reporter.ignored(reason);
        }
    }

    /// Wants the release of a rollout. Returns why it is not followed.
    pub(super) fn want_kind(
        &mut self,
        kind: ReleaseKind,
        wanted: &mut WantedRelease,
    ) -> Option<&'static str> {
        if !self.open_kind(kind) {
            return Some("unusable_ledger");
        }
        let now = self.time();
        let refused = self.with_kind(kind, |releases, _| {
            wanted.issued = releases.counts_from(wanted.issued, now);
            match releases.is_displaced(wanted.issued) {
                true => Some("superseded"),
                false => releases.want(wanted),
            }
        });
        refused.flatten()
    }

    /// Handles the end of the fetch of a package.
    pub(super) fn on_kind_package(
        &mut self,
        kind: ReleaseKind,
        fetch_id: u64,
        package: Result<Package, FetchError>,
    ) {
        let refused = self.with_kind(kind, |releases, around| {
            releases.on_package(fetch_id, package, around)
        });
        if let Some((release, cause)) = refused.flatten() {
            self.rollouts.refused(release, &cause);
        }
    }

    /// Ends the trial or the candidate of a kind, if it is this release.
    pub(super) fn end_kind(&mut self, kind: ReleaseKind, release: Digest, cause: Cause) {
        self.with_kind(kind, |releases, _| releases.end(release, cause));
    }

    /// Goes back to the previous release of the plan.
    pub(super) fn reverse_kind(&mut self, kind: ReleaseKind, name: &str) {
        let Some((rollout, _)) = self.rollouts.get(name) else {
            return;
        };
        let message = format!("rollout {} is reversed", rollout.plan().digest());
        let cause = Cause::new("rollout_reversed", message);
        let done = self.with_kind(kind, |releases, around| releases.go_back(cause, around));
        if let (Some(Err(cause)), Some((_, member))) = (done, self.rollouts.get_mut(name)) {
            member.cannot_go_back = Some((cause.name, None));
        }
    }

    /// Activates, cancels or rolls back a release of another kind, as an order says. `None` if no such kind has it.
    pub(super) fn order_kind(&mut self, order: &Order) -> Option<Result<Value, CommandError>> {
        let release = order.release();
        let kind = KINDS.into_iter().find(|kind| {
            let releases = self.kinds.get(kind);
            releases.is_some_and(|releases| releases.has(release))
        })?;
        let cause = ordered(BY_DEPLOYER);
        let done = self.with_kind(kind, |releases, around| match order {
            Order::Activate { .. } => {
                releases.activate();
                Ok(())
            }
            Order::Cancel { .. } => {
                releases.end(release, Cause::new("cancelled", BY_DEPLOYER));
                Ok(())
            }
            Order::Rollback { .. } => releases.roll_back_ordered(cause, around),
            Order::Retry { name, .. } => releases.forgive(name, release, cause),
            Order::Deploy { .. } => Ok(()),
        })?;
        let refused = |cause: Cause| refuse("cannot_go_back", cause.to_string());
        Some(done.map(|()| json!({"release": release})).map_err(refused))
    }

    /// The periodic work.
    pub(super) fn follow_kinds(&mut self) {
        for kind in KINDS {
            self.with_kind(kind, KindReleases::tick);
        }
    }

    /// Other keys are trusted.
    pub(super) fn recheck_kinds(&mut self) {
        for kind in KINDS {
            self.with_kind(kind, KindReleases::recheck);
        }
    }
}
