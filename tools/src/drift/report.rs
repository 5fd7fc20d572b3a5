//! What was measured, for people and for machines.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::Told;
use super::ageing::Ageing;

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "row", rename_all = "snake_case")]
pub enum Row {
    /// Steady scores.
    Steady {
        /// Of this law.
        law: String,
        /// Parts.
        parts: u64,
        /// False warnings among them.
        warnings: u64,
        /// Parts per warning, as promised at the least.
        stated_run_length: f64,
    },
    /// Drawn products that age.
    Ageing {
        /// What changed.
        change: String,
        /// Products.
        products: usize,
        /// Of which a warning came once the change had begun.
        told: usize,
        /// Of which it came before: false.
        early: usize,
        /// Parts from the beginning of the change to the warning, the median over those told.
        delay: Option<usize>,
        /// How much had changed then, in words.
        amount: String,
        /// Parts judged and rejected until the warnings, or until the end.
        parts: usize,
        /// See `parts`.
        rejected: usize,
    },
    /// Real pictures in their order.
    Stream {
        /// The folder.
        folder: String,
        /// Pictures judged after those that were taught, until the warning or the end.
        parts: usize,
        /// Of which rejected.
        rejected: usize,
        /// At which of them the warning came.
        warning: Option<usize>,
        /// The warning.
        text: Option<String>,
    },
}

impl Row {
    /// Of products whose change began after so many parts and took so many.
    pub fn ageing(ageing: Ageing, told: &[Told], before: usize, over: usize) -> Row {
        let warned = told.iter().filter_map(|t| t.warning.map(|(part, _)| part));
        let (mut delays, early): (Vec<usize>, Vec<usize>) = warned.partition(|part| *part > before);
        delays.sort_unstable();
        let delay = delays.get(delays.len() / 2).map(|part| part - before);
        let amount = delay.map(|parts| ageing.amount(parts as f64 / over as f64));
        Row::Ageing {
            change: ageing.to_string(),
            products: told.len(),
            told: delays.len(),
            early: early.len(),
            delay,
            amount: amount.unwrap_or_default(),
            parts: told.iter().map(|t| t.parts).sum(),
            rejected: told.iter().map(|t| t.rejected).sum(),
        }
    }

    /// Of a folder.
    pub fn stream(folder: &Path, told: &Told) -> Row {
        Row::Stream {
            folder: folder.display().to_string(),
            parts: told.parts,
            rejected: told.rejected,
            warning: told.warning.map(|(part, _)| part),
            text: told.warning.map(|(_, warning)| warning.to_string()),
        }
    }

    fn text(&self) -> String {
        match self {
            Row::Steady { law, parts, warnings, stated_run_length } => format!(
                "steady, {law}: {warnings} false warnings in {parts} parts; stated: at most {:.0}",
                *parts as f64 / stated_run_length
            ),
            Row::Ageing { change, products, told, early, delay, amount, parts, rejected } => {
                let when = match delay {
                    Some(delay) => format!(", the median {delay} parts after it began: {amount}"),
                    None => String::new(),
                };
                format!(
                    "{change}: told for {told} of {products} products{when}; {early} warnings before; \
                     {rejected} of {parts} good parts rejected until then"
                )
            }
            Row::Stream { folder, parts, rejected, warning, text } => match (warning, text) {
                (Some(part), Some(text)) => format!(
                    "{folder}: warning at picture {part} after those taught, {rejected} rejected before: \
                     {text}"
                ),
                _ => format!("{folder}: no warning in {parts} pictures, {rejected} rejected"),
            },
        }
    }
}

/// Prints the rows.
///
/// # Errors
/// Standard output is closed.
pub fn print(rows: &[Row], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for row in rows {
        match json {
            true => writeln!(out, "{}", serde_json::to_string(row)?)?,
            false => writeln!(out, "{}", row.text())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchstone_models::drift::{Channel, Direction, DriftWarning};

    fn told(part: Option<usize>) -> Told {
        let warning = DriftWarning {
            channel: Channel::Image,
            direction: Direction::Stranger,
            parts: part.unwrap_or(0) as u64,
        };
        Told { warning: part.map(|p| (p, warning)), parts: part.unwrap_or(300), rejected: 1 }
    }

    #[test]
    fn delays_count_from_the_beginning_of_the_change() {
        let all = [told(Some(160)), told(Some(140)), told(Some(50)), told(None)];
        let row = Row::ageing(Ageing::Lamp, &all, 100, 200);
        let Row::Ageing { told, early, delay, ref amount, parts, rejected, .. } = row else {
            panic!("{row:?}")
        };
        assert_eq!((told, early, delay, parts, rejected), (2, 1, Some(60), 650, 4));
        assert_eq!(amount, "12 % less light");
        assert!(row.text().contains("told for 2 of 4"), "{}", row.text());
    }
}
