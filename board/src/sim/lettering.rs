//! Engraved text as strokes: a few characters on a 4 × 6 grid.

use super::geometry::{Point, at, segment};

/// Width of a character and its gap, in grid cells.
const ADVANCE: f32 = 5.6;
const ROWS: f32 = 6.0;
const COLUMNS: f32 = 4.0;

/// A line of text laid out as segments.
#[derive(Clone, Debug)]
pub(super) struct Lettering {
    strokes: Vec<(Point, Point)>,
    low: Point,
    high: Point,
}

type Stroke = &'static [(u8, u8)];

/// Strokes of one character; an unknown one is a blank.
fn glyph(character: char) -> &'static [Stroke] {
    match character {
        '0' => &[&[(1, 0), (3, 0), (4, 1), (4, 5), (3, 6), (1, 6), (0, 5), (0, 1), (1, 0)]],
        '1' => &[&[(1, 1), (2, 0), (2, 6)], &[(1, 6), (3, 6)]],
        '2' => &[&[(0, 1), (1, 0), (3, 0), (4, 1), (4, 2), (0, 6), (4, 6)]],
        '3' => &[&[(0, 0), (4, 0), (2, 2), (3, 2), (4, 3), (4, 5), (3, 6), (1, 6), (0, 5)]],
        '4' => &[&[(3, 6), (3, 0), (0, 4), (4, 4)]],
        '5' => &[&[(4, 0), (0, 0), (0, 2), (3, 2), (4, 3), (4, 5), (3, 6), (0, 6)]],
        '6' => &[&[(4, 0), (1, 0), (0, 2), (0, 5), (1, 6), (3, 6), (4, 5), (4, 3), (3, 3), (0, 3)]],
        '7' => &[&[(0, 0), (4, 0), (1, 6)]],
        '8' => &[
            &[(1, 0), (3, 0), (4, 1), (4, 2), (3, 3), (1, 3), (0, 2), (0, 1), (1, 0)],
            &[(1, 3), (0, 4), (0, 5), (1, 6), (3, 6), (4, 5), (4, 4), (3, 3)],
        ],
        'A' => &[&[(0, 6), (2, 0), (4, 6)], &[(1, 4), (3, 4)]],
        'C' => &[&[(4, 1), (3, 0), (1, 0), (0, 1), (0, 5), (1, 6), (3, 6), (4, 5)]],
        'F' => &[&[(4, 0), (0, 0), (0, 6)], &[(0, 3), (3, 3)]],
        'M' => &[&[(0, 6), (0, 0), (2, 3), (4, 0), (4, 6)]],
        'P' => &[&[(0, 6), (0, 0), (3, 0), (4, 1), (4, 2), (3, 3), (0, 3)]],
        'R' => &[&[(0, 6), (0, 0), (3, 0), (4, 1), (4, 2), (3, 3), (0, 3)], &[(2, 3), (4, 6)]],
        'S' => &[&[
            (4, 1),
            (3, 0),
            (1, 0),
            (0, 1),
            (0, 2),
            (1, 3),
            (3, 3),
            (4, 4),
            (4, 5),
            (3, 6),
            (1, 6),
            (0, 5),
        ]],
        'T' => &[&[(0, 0), (4, 0)], &[(2, 0), (2, 6)]],
        '-' => &[&[(1, 3), (3, 3)]],
        _ => &[],
    }
}

impl Lettering {
    /// `text` centred on `centre`, capitals `height` tall.
    pub(super) fn new(text: &str, centre: Point, height: f32) -> Lettering {
        let cell = height / ROWS;
        let width = (text.chars().count() as f32 * ADVANCE - (ADVANCE - COLUMNS)) * cell;
        let origin = centre - at(width / 2.0, height / 2.0);
        let mut strokes = Vec::new();
        for (i, character) in text.chars().enumerate() {
            let left = origin.x + i as f32 * ADVANCE * cell;
            let place =
                |&(x, y): &(u8, u8)| at(left + f32::from(x) * cell, origin.y + f32::from(y) * cell);
            for stroke in glyph(character) {
                strokes.extend(stroke.windows(2).map(|pair| (place(&pair[0]), place(&pair[1]))));
            }
        }
        Lettering { strokes, low: origin, high: origin + at(width, height) }
    }

    /// Distance to the nearest stroke, or `None` where that is more than `reach`.
    pub(super) fn distance(&self, p: Point, reach: f32) -> Option<f32> {
        let outside = p.x < self.low.x - reach
            || p.x > self.high.x + reach
            || p.y < self.low.y - reach
            || p.y > self.high.y + reach;
        if outside {
            return None;
        }
        let nearest =
            self.strokes.iter().map(|&(a, b)| segment(p, a, b).0).fold(f32::MAX, f32::min);
        (nearest <= reach).then_some(nearest)
    }

    /// Centre and half extent of the text.
    pub(super) fn place(&self) -> (Point, Point) {
        ((self.low + self.high) * 0.5, (self.high - self.low) * 0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strokes_lie_where_the_text_is() {
        let text = Lettering::new("T", at(0.1, -0.2), 0.06);
        // The stem of a T runs through the middle of the letter.
        assert!(text.distance(at(0.1, -0.2), 0.01).is_some_and(|d| d < 1e-6));
        assert_eq!(text.distance(at(0.5, 0.5), 0.01), None);
        let (centre, half) = text.place();
        assert!((centre.x - 0.1).abs() < 1e-6 && (half.y - 0.03).abs() < 1e-6);
    }

    #[test]
    fn similar_texts_differ() {
        let (a, b) =
            (Lettering::new("7", at(0.0, 0.0), 0.1), Lettering::new("1", at(0.0, 0.0), 0.1));
        let differs = (0..400).any(|i| {
            let p = at((i % 20) as f32 * 0.005 - 0.05, (i / 20) as f32 * 0.005 - 0.05);
            a.distance(p, 0.01).is_some() != b.distance(p, 0.01).is_some()
        });
        assert!(differs);
    }
}
