//! A way for a viewer in this process to get the outputs of samples as they leave the device.

use std::fmt;
use std::sync::OnceLock;

use hotshoe_egress::Egress;

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// The result of a sample.
    Insight,
    /// What a policy decided.
    Action,
    /// The error of a sample.
    Error,
    /// The sample itself, with its masks.
    Picture,
}

/// An output of a sample. What the data contract keeps on the device does not become one.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// What it is.
    pub kind: OutputKind,
    /// The sample's id.
    pub id: &'a str,
    /// The media type of a picture.
    pub content_type: &'a str,
    /// What leaves.
    pub egress: &'a Egress,
}

/// What gets the outputs. Workers call it, so it must neither block nor take long.
pub struct Viewer {
    /// Whether the picture of the next sample is wanted.
    pub wants_picture: Box<dyn Fn() -> bool + Send + Sync>,
    /// Gets an output.
    pub show: Box<dyn Fn(Output<'_>) + Send + Sync>,
}

/// The viewer, if there is one.
#[derive(Default)]
pub(crate) struct OutputTap(OnceLock<Viewer>);

impl fmt::Debug for OutputTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputTap")
            .field("viewed", &self.0.get().is_some())
            .finish()
    }
}

impl OutputTap {
    /// Sets the viewer. There is one in a process; a second one gets nothing.
    pub(crate) fn set(&self, viewer: Viewer) {
        if self.0.set(viewer).is_err() {
            tracing::warn!("the outputs of this daemon have a viewer already");
        }
    }

    pub(crate) fn wants_picture(&self) -> bool {
        self.0.get().is_some_and(|viewer| (viewer.wants_picture)())
    }

    pub(crate) fn show(&self, output: Output<'_>) {
        if let Some(viewer) = self.0.get() {
            (viewer.show)(output);
        }
    }
}
