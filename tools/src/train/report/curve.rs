//! The loss curve as SVG, with numbers on its axes.

use std::fmt::Write;

/// One point: step, training loss, validation loss.
pub type Point = (usize, f64, Option<f64>);

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
/// Room for the labels of the axes and of the curves' ends.
const LEFT: f64 = 64.0;
/// See [`LEFT`].
const RIGHT: f64 = 150.0;
/// See [`LEFT`].
const TOP: f64 = 16.0;
/// See [`LEFT`].
const BOTTOM: f64 = 44.0;
/// About this many labels on an axis.
const TICKS: f64 = 6.0;
/// Losses that span more than this factor are drawn on a logarithmic axis, where the end of the curve,
/// which matters, is not squeezed flat by its beginning.
const LOGARITHMIC_FROM: f64 = 5.0;
/// Labels of the curves' ends are at least this far apart, in pixels.
const LABEL_GAP: f64 = 18.0;

/// The vertical axis.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// Over finite values; `None` when there are none.
    fn over(values: impl Iterator<Item = f64> + Clone) -> Option<Axis> {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        if !low.is_finite() || !high.is_finite() {
            return None;
        }
        let logarithmic = low > 0.0 && high > LOGARITHMIC_FROM * low;
        let room = if high > low { 0.04 * (high - low) } else { 0.05 * high.abs().max(1e-6) };
        Some(if logarithmic {
            Axis { low: 0.95 * low, high: 1.05 * high, logarithmic }
        } else {
            Axis { low: low - room, high: high + room, logarithmic }
        })
    }

    fn y(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return even_ticks(self.low, self.high);
        }
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        decades
            .flat_map(|d| [1.0, 2.0, 5.0].map(|k| k * 10_f64.powi(d)))
            .filter(|t| (self.low..=self.high).contains(t))
            .collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, about [`TICKS`] of them.
fn even_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|k| k * power).into_iter().find(|s| *s >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|k| k as f64 * step).collect()
}

/// As many digits as a step between labels needs.
fn label(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-" { "0".into() } else { text.into() }
}

/// The picture; a sentence where there is nothing to draw.
pub fn svg(history: &[Point]) -> String {
    let values = history.iter().flat_map(|p| std::iter::once(p.1).chain(p.2));
    let (Some(axis), Some(first), Some(last)) =
        (Axis::over(values), history.first(), history.last())
    else {
        return "<p>No point of the curve yet.</p>".into();
    };
    let (from, to) = (first.0 as f64, (last.0 as f64).max(first.0 as f64 + 1.0));
    let x = |step: usize| LEFT + (step as f64 - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Loss by step\">");
    for tick in axis.ticks() {
        let y = axis.y(tick);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0,
            label(tick)
        );
    }
    for tick in even_ticks(from, to).into_iter().filter(|t| t.fract() == 0.0) {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            x(tick as usize),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let middle = 0.5 * (LEFT + WIDTH - RIGHT);
    let scale = if axis.logarithmic { "loss (logarithmic)" } else { "loss" };
    let _ = write!(
        out,
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">step</text>\
         <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{scale}</text>",
        HEIGHT - 8.0,
        0.5 * (TOP + HEIGHT - BOTTOM)
    );
    let train: Vec<(usize, f64)> = history.iter().map(|p| (p.0, p.1)).collect();
    let validation: Vec<(usize, f64)> =
        history.iter().filter_map(|p| p.2.map(|v| (p.0, v))).collect();
    let mut taken: Option<f64> = None;
    for (name, class, points) in
        [("training", "train", train), ("validation", "validation", validation)]
    {
        let Some(end) = points.last() else { continue };
        let path: Vec<String> =
            points.iter().map(|(s, v)| format!("{:.1},{:.1}", x(*s), axis.y(*v))).collect();
        let _ = write!(out, "<polyline class=\"{class}\" points=\"{}\"/>", path.join(" "));
        if class == "validation" {
            for (s, v) in &points {
                let (x, y) = (x(*s), axis.y(*v));
                let _ =
                    write!(out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
            }
        }
        let mut y = axis.y(end.1) + 4.0;
        if let Some(other) = taken.filter(|t: &f64| (t - y).abs() < LABEL_GAP) {
            y = if y < other { other - LABEL_GAP } else { other + LABEL_GAP };
        }
        taken = Some(y);
        let _ = write!(
            out,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\">{name} {:.4}</text>",
            x(end.0) + 8.0,
            end.1
        );
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_inside() {
        let ticks: Vec<String> = even_ticks(0.13, 0.58).into_iter().map(label).collect();
        assert_eq!(ticks, ["0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(even_ticks(25.0, 4000.0), [1000.0, 2000.0, 3000.0, 4000.0]);
        let wide = Axis::over([0.04, 2.5].into_iter()).expect("values");
        let ticks: Vec<String> = wide.ticks().into_iter().map(label).collect();
        assert_eq!(ticks, ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
    }

    #[test]
    fn every_point_is_drawn_inside_and_the_ends_are_told() {
        let history = [(25, 1.2, None), (50, 0.4, Some(0.6)), (60, 0.31, Some(0.305))];
        let svg = svg(&history);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("training 0.3100") && svg.contains("validation 0.3050"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn one_point_equal_points_and_none_are_no_trouble() {
        assert!(svg(&[]).contains("No point"));
        for history in [vec![(20, 0.5, None)], vec![(20, 0.0, Some(0.0)), (40, 0.0, None)]] {
            let svg = svg(&history);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
