//! Stated against measured rates as SVG, both logarithmic: on the diagonal a promise is kept, above it more
//! good parts are rejected than was said, below it fewer.

use std::fmt::Write;

use super::figures::Row;

const SIDE: f64 = 520.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 56.0;
/// Least and greatest rate drawn, parts per million.
const RANGE: (f64, f64) = (100.0, 1_000_000.0);
/// Told apart by people who see no red or green, too.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

fn share(ppm: f64) -> f64 {
    (ppm.clamp(RANGE.0, RANGE.1) / RANGE.0).ln() / (RANGE.1 / RANGE.0).ln()
}

fn x(ppm: f64) -> f64 {
    LEFT + share(ppm) * SIDE
}

fn y(ppm: f64) -> f64 {
    TOP + (1.0 - share(ppm)) * SIDE
}

/// The picture.
pub fn svg(rows: &[Row]) -> String {
    let (width, height) = (LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    );
    for ppm in [100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0] {
        let (at_x, at_y) = (x(ppm), y(ppm));
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {at_y:.1}h{SIDE}M{at_x:.1} {TOP}v{SIDE}\" stroke=\"#ddd\" fill=\"none\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ppm}</text>\
             <text x=\"{at_x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{ppm}</text>",
            LEFT - 8.0,
            at_y + 4.0,
            TOP + SIDE + 18.0
        );
    }
    let _ = write!(
        out,
        "<path d=\"M{LEFT} {:.1}L{:.1} {TOP}\" stroke=\"#333\" stroke-dasharray=\"5 4\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">stated, parts per million</text>\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">measured on good parts, \
         parts per million</text>",
        TOP + SIDE,
        LEFT + SIDE,
        LEFT + SIDE / 2.0,
        height - 12.0,
        TOP + SIDE / 2.0
    );
    for (index, row) in rows.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        // Beside each other, where intervals would lie on one line.
        let aside = (index as f64 - (rows.len() as f64 - 1.0) / 2.0) * 5.0;
        let points: Vec<String> = row
            .rates
            .iter()
            .map(|r| format!("{:.1},{:.1}", x(f64::from(r.stated_ppm)) + aside, y(r.measured_ppm)))
            .collect();
        let _ = write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            points.join(" ")
        );
        for rate in &row.rates {
            let at = x(f64::from(rate.stated_ppm)) + aside;
            let _ = write!(
                out,
                "<path d=\"M{at:.1} {:.1}V{:.1}\" stroke=\"{colour}\"/>\
                 <circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                y(rate.low_ppm),
                y(rate.high_ppm),
                y(rate.measured_ppm)
            );
        }
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">k = {}</text>",
            LEFT + SIDE + 14.0,
            TOP + 20.0 + 20.0 * index as f64,
            row.k
        );
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_nothing_and_of_everything_stay_on_the_paper() {
        let rows = [Row::new(1, &[vec![0.0; 3]], 1), Row::new(10, &[vec![1.0; 3]], 1)];
        let svg = svg(&rows);
        assert_eq!(svg.matches("<circle").count(), 8);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("k = 10") && !svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!((x(0.0), y(2e6)), (LEFT, TOP));
    }
}
