//! The perspective transform from an upright rectangle to a quadrilateral.

/// Smallest turn at a corner: the cross product of its sides over the square of the longest extent.
const LEAST_TURN: f64 = 1e-6;

/// Maps `(x, y)` to `((a x + b y + c) / w, (d x + e y + f) / w)` with `w = g x + h y + 1`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Projection {
    a: f64,
    b: f64,
    c: f64,
    d: f64,
    e: f64,
    f: f64,
    g: f64,
    h: f64,
}

impl Projection {
    /// The one that maps the corners (0, 0), (width, 0), (width, height), (0, height) onto those of `quad`, in order.
    /// `None` unless `quad` is strictly convex; then the weight `w` is positive all over the rectangle.
    ///
    /// The eight equations have the closed solution of P. Heckbert, "Fundamentals of Texture Mapping and Image Warping",
    /// 1989, section 2.2.3.
    pub(crate) fn onto(quad: [[f32; 2]; 4], width: u32, height: u32) -> Option<Self> {
        if !is_convex(quad) {
            return None;
        }
        let [[x0, y0], [x1, y1], [x2, y2], [x3, y3]] = quad.map(|corner| corner.map(f64::from));
        let (dx1, dy1) = (x1 - x2, y1 - y2);
        let (dx2, dy2) = (x3 - x2, y3 - y2);
        let (sx, sy) = (x0 - x1 + x2 - x3, y0 - y1 + y2 - y3);
        let turn = dx1 * dy2 - dx2 * dy1;
        let g = (sx * dy2 - dx2 * sy) / turn;
        let h = (dx1 * sy - sx * dy1) / turn;
        let (across, down) = (f64::from(width), f64::from(height));
        Some(Self {
            a: (x1 - x0 + g * x1) / across,
            b: (x3 - x0 + h * x3) / down,
            c: x0,
            d: (y1 - y0 + g * y1) / across,
            e: (y3 - y0 + h * y3) / down,
            f: y0,
            g: g / across,
            h: h / down,
        })
    }

    /// Maps a position of the rectangle into the quadrilateral.
    pub(crate) fn apply(&self, x: f64, y: f64) -> (f64, f64) {
        let scale = 1.0 / (self.g * x + self.h * y + 1.0);
        (
            (self.a * x + self.b * y + self.c) * scale,
            (self.d * x + self.e * y + self.f) * scale,
        )
    }
}

/// Whether the outline turns the same way, and enough, at all four corners.
fn is_convex(quad: [[f32; 2]; 4]) -> bool {
    let corners = quad.map(|corner| corner.map(f64::from));
    let sides: Vec<[f64; 2]> = corners
        .iter()
        .zip(corners.iter().cycle().skip(1))
        .map(|([ax, ay], [bx, by])| [bx - ax, by - ay])
        .collect();
    let longest = sides
        .iter()
        .flatten()
        .fold(0.0_f64, |most, d| most.max(d.abs()));
    let least = LEAST_TURN * longest * longest;
    let turns = || {
        sides
            .iter()
            .zip(sides.iter().cycle().skip(1))
            .map(|([ax, ay], [bx, by])| ax * by - ay * bx)
    };
    longest.is_finite()
        && longest > 0.0
        && (turns().all(|t| t > least) || turns().all(|t| t < -least))
}
