//! The report of a run: one page that needs no other file and no script, made anew at every checkpoint.

mod base64;
pub mod curve;
mod pace;

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use touchstone_models::html::escape;

use super::run_folder::{RunFolder, RunState, SAMPLES};
pub use pace::Pace;
use pace::duration;

/// The page's file.
const REPORT: &str = "report.html";
/// Validations listed, the newest ones.
const VALIDATIONS_MAX: usize = 12;

/// The look of all reports.
pub const CSS: &str = "\
body{margin:0;background:#f7f7f5;color:#1d1f21;font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,\
sans-serif}\
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}\
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 8px}\
.soft,figcaption{color:#62686f}\
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin:20px 0}\
.tile,.card{background:#fff;border:1px solid #dfe1e3;border-radius:10px;padding:14px 16px}\
.tile b{display:block;font-size:25px;font-variant-numeric:tabular-nums}\
.tile span{display:block;color:#62686f;font-size:13px}\
svg{width:100%;height:auto;display:block}svg text{fill:#62686f;font:12px system-ui,sans-serif}\
.grid{stroke:#dfe1e3}polyline{fill:none;stroke-width:1.8}\
polyline.train{stroke:#2a7f9e}polyline.validation{stroke:#c8553d}circle.validation{fill:#c8553d}\
svg text.train{fill:#2a7f9e}svg text.validation{fill:#c8553d}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;vertical-align:top;padding:6px 12px 6px 0;border-bottom:1px solid #dfe1e3}\
th{color:#62686f;font-weight:500;white-space:nowrap}\
code{font:13px ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}\
figure{margin:0}figure img{max-width:100%;height:auto;display:block;border-radius:8px}";

/// Writes the report of a run into its folder.
///
/// # Errors
/// When the folder cannot be written or its samples cannot be read.
pub fn write(
    folder: &RunFolder,
    state: &RunState,
    pace: &Pace,
    parameters: usize,
    pictures: usize,
) -> Result<()> {
    let path = folder.path(SAMPLES);
    let samples = if path.exists() {
        Some(fs::read(&path).with_context(|| format!("{}", path.display()))?)
    } else {
        None
    };
    let page = page(state, pace, parameters, pictures, samples.as_deref());
    folder
        .write(REPORT, |part| fs::write(part, &page).with_context(|| format!("{}", part.display())))
}

/// Where a run stands, in one line.
pub fn line(state: &RunState, pace: &Pace) -> String {
    let mut line = format!("{}: step {} of {}", state.stage, state.step, state.steps);
    if let Some((_, loss, validation)) = state.history.last() {
        let _ = write!(line, ", loss {loss:.4}");
        if let Some(validation) = validation {
            let _ = write!(line, ", validation {validation:.4}");
        }
    }
    let _ = write!(line, ", {pace}");
    if let Some(left) = pace.seconds_left().filter(|_| pace.steps_left > 0) {
        let _ = write!(line, ", {} left", duration(left));
    }
    line
}

fn page(
    state: &RunState,
    pace: &Pace,
    parameters: usize,
    pictures: usize,
    samples: Option<&[u8]>,
) -> String {
    let title = format!("{}: step {} of {}", escape(&state.stage), state.step, state.steps);
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"generator\" content=\"touchstone-tools train\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{CSS}</style></head><body><main><h1>{title}</h1>\
         <p class=\"soft\">As of the last checkpoint.</p>"
    );
    tiles(&mut html, state, pace);
    let _ = write!(
        html,
        "<h2>Loss</h2><div class=\"card\">{}</div><p class=\"soft\">Compare each curve with itself: \
         training has terms that validation leaves out (matching, hard negatives).</p>",
        curve::svg(&state.history)
    );
    validations(&mut html, state);
    facts(&mut html, state, parameters, pictures);
    if let Some(png) = samples {
        let _ = write!(
            html,
            "<h2>Validation pairs</h2><figure><img alt=\"Sample pairs\" \
             src=\"data:image/png;base64,{}\"><figcaption>Two pairs a row, each: prompt, query, \
             truth, map.</figcaption></figure>",
            base64::encode(png)
        );
    }
    html.push_str("</main></body></html>\n");
    html
}

fn tiles(html: &mut String, state: &RunState, pace: &Pace) {
    let none = || "none".to_owned();
    let loss = state.history.last().map_or_else(none, |p| format!("{:.4}", p.1));
    let validations = state.history.iter().filter_map(|p| p.2.map(|v| (p.0, v)));
    let last = validations.clone().next_back();
    let best = validations.min_by(|a, b| a.1.total_cmp(&b.1));
    let left = match pace.seconds_left() {
        _ if pace.steps_left == 0 => "done".to_owned(),
        Some(seconds) => format!("{} left", duration(seconds)),
        None => "unknown".to_owned(),
    };
    let tiles = [
        (loss, "training loss", "mean since the point before".to_owned()),
        (
            last.map_or_else(none, |v| format!("{:.4}", v.1)),
            "validation loss",
            best.map_or_else(String::new, |b| format!("best {:.4} at step {}", b.1, b.0)),
        ),
        (left, "time", format!("{} so far", duration(state.seconds))),
        (
            format!("{:.0} %", 100.0 * state.step as f64 / state.steps.max(1) as f64),
            "of the steps",
            pace.to_string(),
        ),
    ];
    html.push_str("<div class=\"tiles\">");
    for (value, name, more) in tiles {
        let _ = write!(
            html,
            "<div class=\"tile\"><span>{name}</span><b>{value}</b><span>{more}</span></div>"
        );
    }
    html.push_str("</div>");
}

fn validations(html: &mut String, state: &RunState) {
    let points: Vec<_> = state.history.iter().filter(|p| p.2.is_some()).collect();
    if points.is_empty() {
        return;
    }
    html.push_str(
        "<h2>Newest validations</h2><div class=\"card\"><table><tr><th>step</th>\
         <th>training loss</th><th>validation loss</th></tr>",
    );
    for (step, train, validation) in points.iter().rev().take(VALIDATIONS_MAX) {
        let validation = validation.map_or_else(String::new, |v| format!("{v:.4}"));
        let _ = write!(html, "<tr><td>{step}</td><td>{train:.4}</td><td>{validation}</td></tr>");
    }
    html.push_str("</table></div>");
}

fn facts(html: &mut String, state: &RunState, parameters: usize, pictures: usize) {
    let average = if state.ema > 0.0 {
        format!("moving average, decay {}", state.ema)
    } else {
        "as trained".to_owned()
    };
    let sources: Vec<String> =
        state.sources.iter().map(|s| format!("<code>{}</code>", escape(s))).collect();
    let rows = [
        ("command", format!("<code>{}</code>", escape(&state.command))),
        ("network", network(state)),
        ("parameters", parameters.to_string()),
        ("weights", average),
        ("seed", state.seed.to_string()),
        ("pictures and textures", pictures.to_string()),
        ("made from", sources.join("<br>")),
    ];
    html.push_str("<h2>Run</h2><div class=\"card\"><table>");
    for (name, value) in rows {
        let _ = write!(html, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    html.push_str("</table></div>");
}

/// The member of the family, and its widths.
fn network(state: &RunState) -> String {
    let widths = match serde_json::to_value(state.net) {
        Ok(serde_json::Value::Object(fields)) => {
            fields.iter().map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    };
    let name = state.net.name().unwrap_or("of its own widths");
    format!("{} <span class=\"soft\">({})</span>", escape(name), escape(&widths))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::NetConfig;

    fn state() -> RunState {
        RunState {
            stage: "oneprompt".into(),
            net: NetConfig::TINY,
            encoder: None,
            seed: 4711,
            step: 250,
            steps: 4000,
            command: "touchstone-tools train oneprompt --out <script>\"&'".into(),
            sources: vec!["../pictures <b>".into()],
            trained_on: Vec::new(),
            history: vec![(225, 0.5432, None), (250, 0.4321, Some(0.6789))],
            ema: 0.999,
            seconds: 100.0,
        }
    }

    fn pace() -> Pace {
        Pace::of(250, Duration::from_secs(100), 3750, (8, "pairs"))
    }

    #[test]
    fn the_page_holds_the_numbers_and_no_foreign_markup() {
        let page = page(&state(), &pace(), 123_456, 2602, Some(b"foobar"));
        let parts = [
            "step 250 of 4000",
            "0.4321",
            "0.6789",
            "4711",
            "123456",
            "2602",
            "2.50 steps/s, 20.0 pairs/s",
            "25 min 00 s left",
            "1 min 40 s so far",
            "decay 0.999",
            "tiny",
            "&lt;script&gt;&quot;&amp;&#39;",
            "../pictures &lt;b&gt;",
            "data:image/png;base64,Zm9vYmFy",
        ];
        for part in parts {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("<b>../") && !page.contains("http"));
    }

    #[test]
    fn a_run_without_points_or_samples_has_a_page_too() {
        let state = RunState { history: Vec::new(), step: 0, ..state() };
        let page = page(&state, &Pace::of(0, Duration::ZERO, 4000, (8, "pairs")), 1, 1, None);
        assert!(page.contains("no speed yet") && !page.contains("<img"), "{page}");
    }

    #[test]
    fn a_line_says_how_the_run_stands() {
        let want = "oneprompt: step 250 of 4000, loss 0.4321, validation 0.6789, 2.50 steps/s, \
                    20.0 pairs/s, 25 min 00 s left";
        assert_eq!(line(&state(), &pace()), want);
    }
}
