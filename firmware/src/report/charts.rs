//! Charts as SVG: plain bars, drawn with the style sheet's colours.

use std::fmt::Write;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 34.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 40.0;

/// Bars of one colour, one count per bin.
pub(super) struct Series<'a> {
    pub(super) class: &'a str,
    pub(super) counts: Vec<u32>,
}

/// What a histogram shows.
pub(super) struct Histogram<'a> {
    /// Read aloud by screen readers.
    pub(super) title: &'a str,
    /// Value of the left and the right end.
    pub(super) range: (f64, f64),
    /// Stacked from below.
    pub(super) series: Vec<Series<'a>>,
    /// A value worth a line, and its name.
    pub(super) mark: Option<(f64, &'a str)>,
    /// Under the axis.
    pub(super) label: &'a str,
    /// Decimals of the axis's numbers.
    pub(super) decimals: usize,
}

/// Sorts values into `bins` equal bins over `range`; what lies outside goes
/// into the first or last.
pub(super) fn bin(values: impl Iterator<Item = f64>, range: (f64, f64), bins: usize) -> Vec<u32> {
    let mut counts = vec![0u32; bins];
    let width = (range.1 - range.0).max(f64::MIN_POSITIVE);
    for value in values.filter(|v| !v.is_nan()) {
        let at = ((value - range.0) / width * bins as f64).floor();
        let index = at.clamp(0.0, bins as f64 - 1.0) as usize;
        counts[index] += 1;
    }
    counts
}

impl Histogram<'_> {
    /// The chart as an `<svg>` element.
    pub(super) fn svg(&self) -> String {
        let bins = self.series.iter().map(|s| s.counts.len()).max().unwrap_or(0).max(1);
        let total = |bin: usize| -> u32 {
            self.series.iter().map(|s| s.counts.get(bin).copied().unwrap_or(0)).sum()
        };
        let most = (0..bins).map(total).max().unwrap_or(0).max(1);
        let (plot_w, plot_h) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let base = TOP + plot_h;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            self.title
        );
        let bar = plot_w / bins as f64;
        for index in 0..bins {
            let mut y = base;
            for series in &self.series {
                let count = series.counts.get(index).copied().unwrap_or(0);
                if count == 0 {
                    continue;
                }
                // Even a single part must be seen beside hundreds.
                let height = (f64::from(count) / f64::from(most) * plot_h).max(2.0);
                y -= height;
                let x = LEFT + bar * index as f64;
                let _ = write!(
                    svg,
                    "<rect class=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
                     <title>{count}</title></rect>",
                    series.class,
                    (bar - 1.0).max(1.0)
                );
            }
        }
        self.axis(&mut svg, base, plot_w, most);
        self.marker(&mut svg, base, plot_w);
        svg.push_str("</svg>");
        svg
    }

    fn axis(&self, svg: &mut String, base: f64, plot_w: f64, most: u32) {
        const TICKS: u32 = 6;
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most}</text>\
             <text x=\"{}\" y=\"{base}\" text-anchor=\"end\">0</text>",
            LEFT + plot_w,
            LEFT - 6.0,
            TOP + 4.0,
            LEFT - 6.0
        );
        for tick in 0..=TICKS {
            let share = f64::from(tick) / f64::from(TICKS);
            let value = self.range.0 + (self.range.1 - self.range.0) * share;
            let x = LEFT + plot_w * share;
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value:.*}</text>",
                base + 15.0,
                self.decimals
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            LEFT + plot_w / 2.0,
            HEIGHT - 6.0,
            self.label
        );
    }

    fn marker(&self, svg: &mut String, base: f64, plot_w: f64) {
        let Some((value, name)) = self.mark else {
            return;
        };
        let share = ((value - self.range.0) / (self.range.1 - self.range.0)).clamp(0.0, 1.0);
        let x = LEFT + plot_w * share;
        let (anchor, at) = if share > 0.6 { ("end", x - 5.0) } else { ("start", x + 5.0) };
        let _ = write!(
            svg,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{base}\"/>\
             <text class=\"mark\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{name}</text>",
            TOP - 6.0,
            TOP + 2.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_land_in_their_bins_and_none_is_lost() {
        let values = [-5.0, 0.0, 0.99, 1.0, 3.99, 4.0, 99.0, f64::NAN, f64::INFINITY];
        let counts = bin(values.into_iter(), (0.0, 4.0), 4);
        assert_eq!(counts, [3, 1, 0, 4]);
    }

    #[test]
    fn a_chart_of_nothing_is_a_chart() {
        let chart = Histogram {
            title: "t",
            range: (0.0, 1.0),
            series: vec![],
            mark: Some((f64::INFINITY, "far")),
            label: "l",
            decimals: 1,
        };
        let svg = chart.svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
