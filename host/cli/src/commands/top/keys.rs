//! The keys, as `?` lists them.

/// The keys and what they do.
pub(super) const KEYS: [(&str, &str); 11] = [
    ("1 to 5", "show a view"),
    ("Tab, Shift-Tab", "show the next view, the one before"),
    ("Up, Down, k, j", "go to the line or device above, below"),
    ("PageUp, PageDown", "go a screen up, down"),
    ("Home, End, g, G", "go to the start, to the end"),
    (
        "Left, Right, h, l",
        "show the columns on the left, on the right",
    ),
    ("Enter", "show the chosen device of a site"),
    ("Esc", "close this list; go back to the site"),
    ("p, Space", "pause, continue"),
    ("r", "ask at once"),
    ("q, Ctrl-C", "end"),
];
