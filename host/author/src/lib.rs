//! What the author of a component needs: templates in several languages, builds, and the check of a component against its world.
#![forbid(unsafe_code)]
