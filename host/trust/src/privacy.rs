//! What is burned into the pixels of a sample before anything sees it.

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

/// Most masks of a `[privacy]` table.
pub const MAX_MASKS: usize = 64;
/// Fewest corners of a mask.
pub const MIN_CORNERS: usize = 3;
/// Most corners of a mask.
pub const MAX_CORNERS: usize = 64;
/// Longest glob of a source, in bytes.
pub const MAX_SOURCE_BYTES: usize = 256;

/// The glob of every source.
const EVERY: &str = "*";

/// `[privacy]` of a release, or of a device: what is burned into the pixels of every sample of a source before a component, a model, a
/// recording or a shadow sees it. Masks of both apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Privacy {
    /// The masks, at most [`MAX_MASKS`]. Default: none.
    pub masks: Vec<PrivacyMask>,
    /// What is blurred. Default: `none`.
    pub blur: PrivacyBlur,
}

/// A polygon of pixels that are replaced, in pictures of some sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PrivacyMask {
    /// A glob of sources, which are keys, or paths of files. It matches a whole source, or its end after a `/`: `camera-1` matches
    /// `hotshoe/lab/line-4/input/camera-1`. `*` matches every source.
    pub source: String,
    /// [`MIN_CORNERS`] to [`MAX_CORNERS`] corners, x and y in fractions of the upright picture's width and height.
    pub polygon: Vec<[f64; 2]>,
}

/// What is blurred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrivacyBlur {
    /// Nothing: masks are black.
    #[default]
    None,
    /// The pixels under the masks of this table, instead of black.
    Masks,
    /// The whole picture of every source. Masks are black.
    All,
}

/// Why a `[privacy]` table is not valid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PrivacyError {
    /// Too many masks.
    #[error("[privacy] has {count} masks; write at most {MAX_MASKS}")]
    Masks {
        /// How many there are.
        count: usize,
    },
    /// Too few or too many corners.
    #[error("mask {number} of [privacy] has {count} corners; write {MIN_CORNERS} to {MAX_CORNERS}")]
    Corners {
        /// The mask, from 1.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// A corner outside of the picture.
    #[error(
        "mask {number} of [privacy] has the corner [{x}, {y}]; write fractions of the width and the height, 0 to 1"
    )]
    Corner {
        /// The mask, from 1.
        number: usize,
        /// What was found.
        x: f64,
        /// What was found.
        y: f64,
    },
    /// A source that is not a glob.
    #[error(
        "mask {number} of [privacy] has the source `{source_glob}`, which is not a glob of 1 to {MAX_SOURCE_BYTES} bytes; write `*` for every source"
    )]
    Source {
        /// The mask, from 1.
        number: usize,
        /// What was found.
        source_glob: String,
    },
    /// The sources are globs, and too complex together.
    #[error("the sources of [privacy] are too complex together; write shorter globs, or fewer")]
    Sources,
}

impl Privacy {
    /// Whether it says nothing.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every sample is masked or blurred, whatever its source.
    pub fn covers_every_source(&self) -> bool {
        let every = |mask: &PrivacyMask| matches!(mask.source.as_str(), "*" | "**");
        self.blur == PrivacyBlur::All || self.masks.iter().any(every)
    }

    /// The globs of the sources that have masks.
    pub fn sources(&self) -> BTreeSet<&str> {
        self.masks.iter().map(|mask| mask.source.as_str()).collect()
    }

    /// Refuses values that are not valid.
    ///
    /// # Errors
    /// [`PrivacyError`] names the mask.
    pub fn check(&self) -> Result<(), PrivacyError> {
        let count = self.masks.len();
        if count > MAX_MASKS {
            return Err(PrivacyError::Masks { count });
        }
        for (number, mask) in (1..).zip(&self.masks) {
            let is_short = (1..=MAX_SOURCE_BYTES).contains(&mask.source.len());
            if !is_short || Glob::new(&mask.source).is_err() {
                let source_glob = mask.source.chars().take(MAX_SOURCE_BYTES).collect();
                return Err(PrivacyError::Source {
                    number,
                    source_glob,
                });
            }
            let count = mask.polygon.len();
            if !(MIN_CORNERS..=MAX_CORNERS).contains(&count) {
                return Err(PrivacyError::Corners { number, count });
            }
            let outside = |[x, y]: &&[f64; 2]| ![x, y].iter().all(|it| (0.0..=1.0).contains(*it));
            if let Some([x, y]) = mask.polygon.iter().find(outside) {
                let (x, y) = (*x, *y);
                return Err(PrivacyError::Corner { number, x, y });
            }
        }
        if glob_set(self).is_none() {
            return Err(PrivacyError::Sources);
        }
        Ok(())
    }
}

/// An area of a picture that is replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct PrivacyArea {
    /// The corners, in fractions of width and height.
    pub polygon: Vec<[f64; 2]>,
    /// Whether it is blurred, and not black.
    pub is_blurred: bool,
}

/// The masks of several tables, by source. All globs of a table are compiled once, as one set.
#[derive(Debug, Clone, Default)]
pub struct PrivacyRules {
    globs: Vec<GlobSet>,
    areas: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    /// The glob.
    source: String,
    /// Its table, and its place in the set of that table. `None` for every source.
    glob: Option<(usize, usize)>,
    area: PrivacyArea,
}

impl PrivacyRules {
    /// The rules of all `tables` together.
    pub fn of<'p>(tables: impl IntoIterator<Item = &'p Privacy>) -> Self {
        let mut rules = Self::default();
        for (number, table) in tables.into_iter().enumerate() {
            // Globs that cannot be read, which `check` refuses, mask too much rather than too little.
            let (globs, places) = glob_set(table).unwrap_or_default();
            rules.globs.push(globs);
            rules.areas.extend(table.masks.iter().map(|mask| {
                let place = places.get(mask.source.as_str());
                Rule {
                    source: place.map_or(EVERY, |_| mask.source.as_str()).to_owned(),
                    glob: place.map(|place| (number, *place)),
                    area: PrivacyArea {
                        polygon: mask.polygon.clone(),
                        is_blurred: table.blur == PrivacyBlur::Masks,
                    },
                }
            }));
            if table.blur == PrivacyBlur::All {
                rules.areas.push(Rule {
                    source: EVERY.to_owned(),
                    glob: None,
                    area: PrivacyArea {
                        polygon: vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
                        is_blurred: true,
                    },
                });
            }
        }
        rules
    }

    /// What is replaced in the pictures of a source. Nothing, if no rule applies to it.
    pub fn areas<'r>(&'r self, source: &str) -> impl Iterator<Item = &'r PrivacyArea> {
        self.numbered_areas(source).map(|(_, area)| area)
    }

    /// As [`Self::areas`], each with its place in [`Self::sources`].
    pub fn numbered_areas<'r>(
        &'r self,
        source: &str,
    ) -> impl Iterator<Item = (usize, &'r PrivacyArea)> + use<'r> {
        let mut matched = BTreeSet::new();
        for (number, globs) in self.globs.iter().enumerate() {
            for end in ends(source).filter(|_| !globs.is_empty()) {
                matched.extend(globs.matches(end).into_iter().map(|place| (number, place)));
            }
        }
        let areas = self.areas.iter().enumerate();
        areas.filter_map(move |(number, rule)| {
            let applies = rule.glob.is_none_or(|glob| matched.contains(&glob));
            applies.then_some((number, &rule.area))
        })
    }

    /// The glob of each area.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &str> {
        self.areas.iter().map(|rule| rule.source.as_str())
    }
}

/// The globs of a table as one set, and the place of each in it. Masks with the same glob share one. `None` if one cannot be read.
fn glob_set(table: &Privacy) -> Option<(GlobSet, BTreeMap<&str, usize>)> {
    let (mut globs, mut places) = (GlobSetBuilder::new(), BTreeMap::new());
    for source in table.sources() {
        globs.add(Glob::new(source).ok()?);
        places.insert(source, places.len());
    }
    Some((globs.build().ok()?, places))
}

/// A source, and what of it is after each `/`.
fn ends(source: &str) -> impl Iterator<Item = &str> {
    let slashes = source.match_indices('/');
    let after = slashes.filter_map(|(at, _)| source.get(at + 1..));
    std::iter::once(source).chain(after)
}
