//! The report as one page of HTML.

use std::fmt::Write;
use touchstone_models::html::escape;

use super::charts::{Histogram, Series, bin};
use super::style::CSS;
use super::{Fate, Gallery, PartResult, Rate, Summary};

/// Evidence beyond this looks all the same.
const EVIDENCE_MAX: f64 = 12.0;
const EVIDENCE_BINS: usize = 48;
const LATENCY_BINS: usize = 40;
/// Parts in the strip; the latest, if there are more.
const STRIP_MAX: usize = 3000;

/// Marks a page of ours, so that a new run may replace it.
pub const GENERATOR: &str = "<meta name=\"generator\" content=\"touchstone demo\">";

/// The page.
pub fn page(summary: &Summary, parts: &[PartResult], galleries: &[Gallery]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{GENERATOR}\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Touchstone demo: {} parts</title><style>{CSS}</style></head><body><main>",
        summary.parts
    );
    head(&mut html, summary);
    tiles(&mut html, summary);
    strip(&mut html, parts);
    charts(&mut html, summary, parts);
    defects(&mut html, summary);
    for gallery in galleries.iter().filter(|g| !g.shown.is_empty()) {
        pictures(&mut html, gallery);
    }
    footer(&mut html, summary);
    html.push_str("</main></body></html>\n");
    html
}

fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "none".to_owned(), |r| format!("{:.1} %", r * 100.0))
}

fn interval(rate: &Rate) -> String {
    match rate.interval95 {
        Some([low, high]) => format!("95 % interval {:.1} to {:.1} %", low * 100.0, high * 100.0),
        None => "no such part".to_owned(),
    }
}

fn ms(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1000.0)
}

fn head(html: &mut String, summary: &Summary) {
    let s = &summary.setting;
    let plural = if s.prompts == 1 { "part" } else { "parts" };
    let _ = write!(
        html,
        "<h1>{} {}s past the camera, {} good {plural} taught</h1>\
         <p class=\"soft\">A simulated line of {:.0} parts a minute; everything after the camera is the \
         real thing: model <code>{}</code>, {}. What is counted is what the reject actuator did to \
         each part, not what the camera said.</p>",
        summary.parts,
        escape(&s.part),
        s.prompts,
        s.parts_per_minute,
        escape(&s.model),
        escape(&s.engine)
    );
}

fn tiles(html: &mut String, summary: &Summary) {
    let Summary { recall, false_rejects, judge_us, total_us, counters, .. } = summary;
    let tiles = [
        (
            percent(recall.rate),
            "defective parts ejected",
            format!("{} of {}; {}", recall.count, recall.of, interval(recall)),
        ),
        (
            percent(false_rejects.rate),
            "good parts ejected",
            format!("{} of {}; {}", false_rejects.count, false_rejects.of, interval(false_rejects)),
        ),
        (
            ms(judge_us.p50),
            "a judgement takes",
            format!("p99 {}, worst {}", ms(judge_us.p99), ms(judge_us.max)),
        ),
        (
            ms(total_us.p50),
            "trigger to verdict",
            format!("p99 {}, allowed {} ms", ms(total_us.p99), summary.setting.travel_ms),
        ),
        (
            format!("{:.1} / s", summary.parts_per_s),
            "parts this machine can judge",
            format!("{} late, {} overloaded", counters.rejected_late, counters.rejected_overload),
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

fn strip(html: &mut String, parts: &[PartResult]) {
    let class = |fate: Fate| match fate {
        Fate::GoodPassed => "",
        Fate::Caught => "c",
        Fate::FalseReject => "f",
        Fate::Escaped => "e",
    };
    html.push_str("<h2>Part by part</h2><div class=\"card\"><div class=\"strip\">");
    for part in &parts[parts.len().saturating_sub(STRIP_MAX)..] {
        let what = part.defect.as_deref().unwrap_or("good");
        let did = if part.ejected { "ejected" } else { "passed" };
        let _ = write!(
            html,
            "<i class=\"{}\" title=\"part {}: {}, {did}\"></i>",
            class(part.fate()),
            part.part,
            escape(what)
        );
    }
    html.push_str("</div><div class=\"key\">");
    let key = [
        (Fate::GoodPassed, "good, passed"),
        (Fate::Caught, "defective, ejected"),
        (Fate::FalseReject, "good, ejected (false reject)"),
        (Fate::Escaped, "defective, passed (escape)"),
    ];
    for (fate, name) in key {
        let count = parts.iter().filter(|p| p.fate() == fate).count();
        let _ = write!(
            html,
            "<span><span class=\"strip\"><i class=\"{}\"></i></span>{count} {name}</span>",
            class(fate)
        );
    }
    html.push_str("</div></div>");
}

fn charts(html: &mut String, summary: &Summary, parts: &[PartResult]) {
    let evidence = |p: f64| (-p.max(1e-300).log10()).min(EVIDENCE_MAX);
    let range = (0.0, EVIDENCE_MAX);
    let of = |defective: bool| {
        let judged =
            parts.iter().filter(move |p| p.judge_us > 0 && p.defect.is_some() == defective);
        bin(judged.map(|p| evidence(p.p_value)), range, EVIDENCE_BINS)
    };
    let limit = evidence(f64::from(summary.setting.false_reject_ppm) * 1e-6);
    let scores = Histogram {
        title: "Evidence against each part",
        range,
        series: vec![
            Series { class: "good", counts: of(false) },
            Series { class: "bad", counts: of(true) },
        ],
        mark: Some((limit, "rejected from here")),
        label: "evidence against the part, -log10 p",
        decimals: 0,
    };
    let top = parts.iter().map(|p| p.judge_us).max().unwrap_or(0) as f64 / 1000.0;
    let judged = || parts.iter().filter(|p| p.judge_us > 0).map(|p| p.judge_us as f64 / 1000.0);
    let low = judged().fold(top, f64::min);
    let range = (low.floor(), (top.ceil()).max(low.floor() + 1.0));
    let latency = Histogram {
        title: "Time of a judgement",
        range,
        series: vec![Series { class: "neutral", counts: bin(judged(), range, LATENCY_BINS) }],
        mark: Some((summary.judge_us.p99 as f64 / 1000.0, "p99")),
        label: "time of a judgement, ms",
        decimals: if range.1 - range.0 > 30.0 { 0 } else { 1 },
    };
    let _ = write!(
        html,
        "<h2>How sure, how fast</h2><div class=\"two\"><div class=\"card\">{}\
         <p class=\"key\">Blue: good parts, red: defective ones. The line follows from the false-reject \
         rate that was set ({} ppm); nothing was tuned to these parts.</p></div>\
         <div class=\"card\">{}<p class=\"key\">By the wall clock of this machine, from frame to \
         verdict.</p></div></div>",
        scores.svg(),
        summary.setting.false_reject_ppm,
        latency.svg()
    );
}

fn defects(html: &mut String, summary: &Summary) {
    if summary.by_defect.is_empty() {
        return;
    }
    html.push_str(
        "<h2>By kind of defect</h2><div class=\"card\"><table><tr><th>defect</th>\
         <th class=\"n\">parts</th><th class=\"n\">ejected</th><th>share</th></tr>",
    );
    for kind in &summary.by_defect {
        let share = kind.ejected.rate.unwrap_or(0.0) * 100.0;
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td><div class=\"bar\" title=\"{share:.0} %\"><i style=\"width:{share:.1}%\"></i></div></td></tr>",
            escape(&kind.defect),
            kind.ejected.of,
            kind.ejected.count
        );
    }
    html.push_str("</table></div>");
}

fn pictures(html: &mut String, gallery: &Gallery) {
    let _ = write!(
        html,
        "<h2>{}</h2><p class=\"soft\">{}</p>",
        escape(&gallery.title),
        escape(&gallery.remark)
    );
    for shown in &gallery.shown {
        let (file, caption) = (escape(&shown.file), escape(&shown.caption));
        let _ = write!(
            html,
            "<figure><img src=\"{file}\" width=\"{}\" height=\"{}\" loading=\"lazy\" alt=\"{caption}\">\
             <figcaption>{caption}</figcaption></figure>",
            shown.size.0, shown.size.1
        );
    }
}

fn footer(html: &mut String, summary: &Summary) {
    let s = &summary.setting;
    let c = &summary.counters;
    let _ = write!(
        html,
        "<h2>What was set</h2><div class=\"card\"><table>\
         <tr><td>model</td><td><code>{}</code> {}</td></tr>\
         <tr><td>seed, share of defective parts</td><td>{}, {:.0} %</td></tr>\
         <tr><td>trigger to actuator</td><td>{} ms</td></tr>\
         <tr><td>triggers, bounces</td><td>{}, {}</td></tr>\
         <tr><td>pulses of the actuator, merged</td><td>{}, {}</td></tr>\
         <tr><td>again</td><td><code>touchstone demo --part {} --parts {} --prompts {} --seed {} \
         --false-reject-ppm {} --defect-rate {}</code></td></tr></table></div>",
        escape(&s.model),
        escape(s.model_hash.get(..12).unwrap_or(&s.model_hash)),
        s.seed,
        s.defect_rate * 100.0,
        s.travel_ms,
        c.triggers,
        c.bounces,
        c.pulses,
        c.pulses_merged,
        escape(&s.part),
        summary.parts,
        s.prompts,
        s.seed,
        s.false_reject_ppm,
        s.defect_rate
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Counters;
    use crate::report::tests::{run_of, setting};
    use crate::report::{Shown, Summary};

    fn gallery(caption: &str) -> Gallery {
        let file = "overlays/part-0014-escape.png".to_owned();
        let shown = vec![Shown { file, size: (992, 404), caption: caption.to_owned() }];
        Gallery {
            title: "Escapes".to_owned(),
            remark: "Defective parts that passed.".to_owned(),
            shown,
        }
    }

    #[test]
    fn the_page_says_what_happened_and_needs_nothing_else() {
        let parts = run_of(50);
        let summary = Summary::new(&parts, setting(), Counters::default());
        let page = page(&summary, &parts, &[gallery("part 14: <dent> & co")]);
        for text in ["90.0 %", "9 of 10", "2.5 %", "missing-hole", "overlays/part-0014-escape.png"]
        {
            assert!(page.contains(text), "{text} is not on the page");
        }
        assert!(page.contains("&lt;dent&gt; &amp; co"));
        for outside in ["http:", "https:", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside} is on the page");
        }
        let opened = page.matches("<div").count();
        assert_eq!(opened, page.matches("</div>").count());
        assert_eq!(page.matches("<svg").count(), 2);
    }

    #[test]
    fn no_part_at_all_is_a_page_too() {
        let summary = Summary::new(&[], setting(), Counters::default());
        let page = page(&summary, &[], &[]);
        assert!(!page.contains("NaN") && !page.contains(">inf"));
    }
}
