//! What good parts of products scored, on disk: a long measurement can be cut short and gone on with, and other laws
//! can be held against the same scores.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use touchstone_models::files::hex;
use touchstone_models::inspector::Statistics;
use touchstone_models::package::ModelCard;
use touchstone_models::recipe::Registration;

use crate::synth::Library;

/// What scores belong to: two measurements that differ in any of it are not one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Series {
    /// Of all that scores depend on in the model package and the pictures: [`scored_by`].
    pub model: String,
    /// Good parts taught.
    pub k: usize,
    /// Further good parts that calibrate.
    pub further: u64,
    /// Good parts judged of each product.
    pub parts: u64,
    /// Chooses the products.
    pub seed: u64,
}

/// Scores of good parts of one product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Of the prompts, each without itself; none of a single one.
    pub left_out: Vec<Statistics>,
    /// Of further parts that calibrate.
    pub further: Vec<Statistics>,
    /// Of the parts that are judged.
    pub parts: Vec<Statistics>,
}

impl Scores {
    fn belong_to(&self, series: &Series) -> bool {
        let all = self.left_out.iter().chain(&self.further).chain(&self.parts);
        let finite = |s: &Statistics| {
            [s.change, s.position, s.local, s.image].iter().all(|score| score.is_finite())
        };
        let lengths = (self.further.len() as u64, self.parts.len() as u64);
        lengths == (series.further, series.parts) && all.into_iter().all(finite)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    series: Series,
    product: u64,
    scores: Scores,
}

/// Hash of all in a model card that the scores of parts that are registered so depend on, which the laws that they
/// are held against do not belong to, and of what the products are made of.
///
/// # Errors
/// None that a sound card has.
pub fn scored_by(
    card: &ModelCard,
    registration: Registration,
    library: &Library,
) -> Result<String> {
    let laws = card.calibration.laws(registration);
    let graphs = (&card.encode.sha256, &card.segment.sha256);
    let pictures = (library.scenes.len(), library.textures.len(), library.things.len());
    let level = (laws.level, laws.reach, registration);
    let all = serde_json::to_vec(&(graphs, &card.embedding, level, pictures))?;
    Ok(hex(&Sha256::digest(all)))
}

/// Products already judged, and where further ones are written.
pub struct Kept {
    known: HashMap<(Series, u64), Scores>,
    file: Option<Mutex<File>>,
}

impl Kept {
    /// Reads what is there; without a path nothing is kept. A last line that was cut off counts as not written.
    ///
    /// # Errors
    /// A file that cannot be read or appended to, or that holds something else.
    pub fn open(path: Option<&Path>) -> Result<Kept> {
        let Some(path) = path else { return Ok(Kept { known: HashMap::new(), file: None }) };
        Self::read(path).with_context(|| format!("--keep {}", path.display()))
    }

    fn read(path: &Path) -> Result<Kept> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut known = HashMap::new();
        let mut sound = 0u64;
        let mut reader = BufReader::new(&file);
        let mut text = String::new();
        while reader.read_line(&mut text)? > 0 {
            if !text.ends_with('\n') {
                break;
            }
            let line: Line = serde_json::from_str(&text).context("no file of kept scores")?;
            ensure!(line.scores.belong_to(&line.series), "broken scores");
            known.insert((line.series, line.product), line.scores);
            sound += text.len() as u64;
            text.clear();
        }
        drop(reader);
        file.set_len(sound)?;
        file.flush()?;
        Ok(Kept { known, file: Some(Mutex::new(file)) })
    }

    /// The scores of a product's parts: those kept, or what `judge` gives, which is then kept.
    ///
    /// # Errors
    /// Of `judge`, or a file that cannot be written.
    pub fn or_judge(
        &self,
        series: &Series,
        product: u64,
        judge: impl FnOnce() -> Result<Scores>,
    ) -> Result<Scores> {
        if let Some(known) = self.known.get(&(series.clone(), product)) {
            return Ok(known.clone());
        }
        let scores = judge()?;
        if let Some(file) = &self.file {
            let line = Line { series: series.clone(), product, scores };
            let text = serde_json::to_string(&line)? + "\n";
            let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            file.write_all(text.as_bytes()).context("--keep")?;
            return Ok(line.scores);
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(k: usize) -> Series {
        Series { model: "abc".into(), k, further: 0, parts: 2, seed: 1 }
    }

    fn scores(one: f64, two: f64) -> Scores {
        let of = |v: f64| Statistics { change: v, position: 0.1, local: -v, image: 1.0 / 3.0 };
        Scores { left_out: vec![of(0.7)], further: Vec::new(), parts: vec![of(one), of(two)] }
    }

    #[test]
    fn a_cut_measurement_goes_on_where_it_was() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("kept.jsonl");
        let kept = Kept::open(Some(&path)).expect("new");
        kept.or_judge(&series(1), 0, || Ok(scores(0.5, 0.25))).expect("judged");
        kept.or_judge(&series(1), 1, || Ok(scores(1.0, 1e-7))).expect("judged");
        drop(kept);
        let whole = std::fs::read_to_string(&path).expect("text");
        // Cut in the middle of the second line: it is judged again, the first is not.
        std::fs::write(&path, &whole[..whole.len() - 5]).expect("cut");
        let kept = Kept::open(Some(&path)).expect("opened");
        let never = || -> Result<Scores> { panic!("judged again") };
        assert_eq!(kept.or_judge(&series(1), 0, never).expect("kept"), scores(0.5, 0.25));
        kept.or_judge(&series(1), 1, || Ok(scores(1.0, 1e-7))).expect("judged");
        drop(kept);
        assert_eq!(std::fs::read_to_string(&path).expect("text"), whole);
        // Another series is another measurement.
        let kept = Kept::open(Some(&path)).expect("opened");
        let other = scores(0.1, 0.1);
        let judged = kept.or_judge(&series(2), 0, || Ok(other.clone())).expect("new");
        assert_eq!(judged, other);
    }

    #[test]
    fn another_file_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "shopping list\n").expect("written");
        assert!(Kept::open(Some(&path)).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "shopping list\n");
    }
}
