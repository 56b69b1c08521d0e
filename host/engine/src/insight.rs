//! The typed results that leave a pipeline, as plain data. Their JSON is what the device publishes.

use serde::{Deserialize, Serialize};

/// Longest content type of a message that a policy sends, in bytes: Zenoh writes the length of an encoding in one byte.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;

/// A position in pixels of the sample's picture: the origin is the top left corner. JSON: `[x, y]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f32; 2]", into = "[f32; 2]")]
pub struct Point {
    /// Grows to the right.
    pub x: f32,
    /// Grows downwards.
    pub y: f32,
}

impl From<[f32; 2]> for Point {
    fn from([x, y]: [f32; 2]) -> Self {
        Self { x, y }
    }
}

impl From<Point> for [f32; 2] {
    fn from(point: Point) -> Self {
        [point.x, point.y]
    }
}

/// An upright rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Not negative.
    pub width: f32,
    /// Not negative.
    pub height: f32,
}

/// One candidate of a classification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Name of the class.
    pub label: String,
    /// Position in the model's output.
    pub index: u32,
    /// 0 to 1.
    pub score: f32,
}

/// One object that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Name of its class.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
    /// Where it is.
    pub bounds: Rect,
    /// Its corners, where the model gives a rotated outline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outline: Option<[Point; 4]>,
}

/// One line of text that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextLine {
    /// The characters.
    pub text: String,
    /// Mean score of its characters, 0 to 1.
    pub score: f32,
    /// Clockwise from the corner that is the top left when the line is read upright.
    pub outline: [Point; 4],
}

/// One named number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scalar {
    /// What was measured.
    pub name: String,
    /// The number.
    pub value: f64,
    /// A UCUM unit, or empty for a pure number.
    pub unit: String,
}

/// The typed result of post-processing. JSON has the variant's name under `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Insight {
    /// A classification, best first.
    Classes {
        /// The candidates.
        classes: Vec<Class>,
    },
    /// Objects that were found, best first.
    Detections {
        /// The objects.
        detections: Vec<Detection>,
    },
    /// Text in reading order.
    Text {
        /// The lines.
        lines: Vec<TextLine>,
    },
    /// An embedding vector.
    Embedding {
        /// Its elements.
        values: Vec<f32>,
    },
    /// Named numbers.
    Scalars {
        /// The numbers.
        scalars: Vec<Scalar>,
    },
    /// A label for every pixel.
    Mask {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// One byte a pixel, row by row: an index into `labels`. JSON: standard base64.
        #[serde(with = "base64_bytes")]
        pixels: Vec<u8>,
        /// Names of the labels.
        labels: Vec<String>,
    },
    /// A result of a kind that has no type of its own.
    Custom {
        /// A media type.
        content_type: String,
        /// The bytes. JSON: standard base64.
        #[serde(with = "base64_bytes")]
        payload: Vec<u8>,
    },
}

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    Warning,
    /// Requires action.
    Critical,
}

/// What a policy decided. JSON has the variant's name under `action`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Let the insight leave the device.
    Publish,
    /// Keep the insight on the device. It wins over `publish`.
    Drop {
        /// Why.
        reason: String,
    },
    /// An alert for people or other systems.
    Alert {
        /// How urgent.
        severity: Severity,
        /// What happened.
        message: String,
    },
    /// Publish a message of the policy's own, even if the insight is dropped.
    Send {
        /// The last part of its key.
        topic: String,
        /// A media type.
        content_type: String,
        /// The bytes. JSON: standard base64; absent if it was omitted.
        #[serde(default, with = "base64_bytes")]
        payload: Vec<u8>,
    },
}

/// The context that a policy runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceContext {
    /// The site's name.
    pub site: String,
    /// The device's name.
    pub device: String,
    /// The device's labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Generation of the release that produced the insight.
    pub generation: u64,
    /// When the sample was taken, in microseconds since 1970-01-01T00:00:00Z.
    pub sample_time_us: u64,
}

pub(crate) mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
