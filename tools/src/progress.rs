//! Progress bars: on a terminal only, on stderr, with rate and time left.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `len` steps with a fixed label; silent when stderr is no terminal.
pub fn bar(len: u64, label: &str) -> ProgressBar {
    let bar = ProgressBar::new(len);
    let template = "{prefix} [{bar:32}] {pos}/{len} {per_sec} left {eta} {msg}";
    // The template is a constant; were it wrong, the plain default would do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(label.to_owned());
    bar
}

/// A line on stderr: above the bar on a terminal, by itself elsewhere, where the bar is silent.
pub fn say(bar: &ProgressBar, line: &str) {
    if bar.is_hidden() {
        eprintln!("{line}");
    } else {
        bar.println(line);
    }
}

/// A callback for decoding a folder of pictures: a bar that follows `(done, total)`.
pub fn decoding() -> impl Fn(usize, usize) + Sync {
    let bar = bar(0, "pictures");
    move |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done >= total {
            bar.finish_and_clear();
        }
    }
}
