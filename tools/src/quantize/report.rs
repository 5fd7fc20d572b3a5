//! What 8 bits cost, layer by layer: a table for readers, and a plot.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::ranges::Method;

/// What one layer alone in 8 bits loses.
#[derive(Clone, Debug)]
pub struct Lost {
    /// The layer, with its graph.
    pub layer: String,
    /// Shape of its weights.
    pub weights: Option<[usize; 4]>,
    /// Error over value of the output that loses most, root mean squares.
    pub lost: f64,
}

/// All that is said of a package in 8 bits.
#[derive(Clone, Debug)]
pub struct Report {
    /// Pictures that ranges were seen on.
    pub pictures: usize,
    /// How ranges were chosen.
    pub method: Method,
    /// Each layer alone.
    pub layers: Vec<Lost>,
    /// All layers together, by graph and method.
    pub methods: Vec<(&'static str, Method, f64)>,
    /// Layers that stay in float.
    pub float: BTreeSet<String>,
    /// What the graphs lose as they were written.
    pub left: Vec<(&'static str, f64)>,
}

impl Default for Report {
    fn default() -> Report {
        Report {
            pictures: 0,
            method: Method::Mse,
            layers: Vec::new(),
            methods: Vec::new(),
            float: BTreeSet::new(),
            left: Vec::new(),
        }
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::MinMax => "min-max",
        Method::Percentile => "percentile",
        Method::Mse => "least squared error",
    }
}

impl Report {
    /// The tables, as Markdown.
    pub fn table(&self) -> String {
        let mut out = format!(
            "# What 8 bits lose\n\nRanges by {} over {} pictures. Lost: error over value, root mean squares, of the \
             output that loses most; all but the layer in float.\n\n| layer | weights | lost | |\n|---|---|---|---|\n",
            name(self.method),
            self.pictures
        );
        for Lost { layer, weights, lost } in &self.layers {
            let [o, i, h, w] = weights.unwrap_or_default();
            let float = if self.float.contains(layer) { "float" } else { "" };
            let _ = writeln!(out, "| {layer} | {o} x {i} x {h} x {w} | {lost:.5} | {float} |");
        }
        out += "\n| graph | ranges of all layers by | lost |\n|---|---|---|\n";
        for (graph, method, lost) in &self.methods {
            let _ = writeln!(out, "| {graph} | {} | {lost:.5} |", name(*method));
        }
        for (graph, lost) in &self.left {
            let _ = writeln!(out, "| {graph} | as written | {lost:.5} |");
        }
        out
    }

    /// The layers' losses as bars, in SVG.
    pub fn svg(&self) -> String {
        const ROW: f64 = 18.0;
        const LEFT: f64 = 170.0;
        const WIDE: f64 = 420.0;
        const RIGHT: f64 = 90.0;
        const TOP: f64 = 34.0;
        let height = TOP + ROW * self.layers.len() as f64 + 10.0;
        let width = LEFT + WIDE + RIGHT;
        let most = self.layers.iter().map(|l| l.lost).fold(f64::MIN_POSITIVE, f64::max);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/><text x=\"{LEFT}\" y=\"20\">lost by \
             each layer alone in 8 bits (error over value)</text>"
        );
        for (index, Lost { layer, lost, .. }) in self.layers.iter().enumerate() {
            let y = TOP + ROW * index as f64;
            let colour = if self.float.contains(layer) { "#bbbbbb" } else { "#0072b2" };
            let bar = WIDE * lost / most;
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{layer}</text><rect x=\"{LEFT}\" y=\"{y:.1}\" \
                 width=\"{bar:.1}\" height=\"{:.1}\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\">{lost:.4}</text>",
                LEFT - 6.0,
                y + 11.0,
                ROW - 4.0,
                LEFT + bar + 5.0,
                y + 11.0
            );
        }
        out += "</svg>\n";
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_is_in_table_and_plot() {
        let lost =
            |layer: &str, lost| Lost { layer: layer.to_owned(), weights: Some([4, 3, 3, 3]), lost };
        let report = Report {
            layers: vec![lost("conv_3", 0.01), lost("conv_5", 0.25)],
            float: BTreeSet::from(["conv_5".to_owned()]),
            methods: vec![("encode", Method::MinMax, 0.3)],
            left: vec![("encode", 0.02)],
            ..Report::default()
        };
        let (table, svg) = (report.table(), report.svg());
        assert!(table.contains("| conv_5 | 4 x 3 x 3 x 3 | 0.25000 | float |"), "{table}");
        assert!(table.contains("min-max") && table.contains("as written | 0.02000"), "{table}");
        assert!(svg.contains("conv_3") && svg.contains("0.2500") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("width=\"420.0\""), "the worst layer's bar is the longest");
    }
}
