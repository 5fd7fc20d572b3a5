//! What `teach` says: what was made of the good parts, what to look at, what it promises.

use touchstone_models::inspector::{Inspector, TAIL_PARTS_MIN};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{Recipe, Tiles};
use touchstone_models::registration::Pose;
use touchstone_models::tiling::{DEFECT_INPUT_PX, Tiling};
use touchstone_models::verdict::Witness;

use super::Taught;
use crate::cli::TeachArgs;
use crate::exit::{Done, Ended};
use crate::terminal::Lines;

/// False-reject rates that a promise is made for, in parts per million.
const RATES_PPM: [u32; 8] = [10, 50, 100, 500, 1000, 5000, 20_000, 100_000];

pub(super) fn report(
    args: &TeachArgs,
    place: &str,
    recipe: &Recipe,
    inspector: &Inspector,
    taught: &Taught<'_>,
) -> Ended {
    let parts = taught.parts;
    let mut lines = Lines::default();
    let card = &recipe.card;
    let plural = if parts.len() == 1 { "" } else { "s" };
    lines.line(&format!(
        "recipe '{}' version {} in {}: {} good part{plural}, model {}",
        card.name,
        card.version,
        place,
        parts.len(),
        card.model.id
    ))?;
    lines.line("self test: every good part passes")?;
    if taught.golden > 0 {
        lines.line(&format!("golden test: {} parts judged as they must be", taught.golden))?;
    }
    for name in &taught.dropped {
        lines.line(&format!("left out {name}: the others do not agree with it"))?;
    }
    if taught.others > 0 {
        lines.line(&format!(
            "chosen from {}; of the {} others {} pass",
            parts.len() + taught.others,
            taught.others,
            taught.others - taught.rejected.len()
        ))?;
        let parts = card.further_good.parts();
        let rare = match parts < TAIL_PARTS_MIN {
            true => format!(": from {TAIL_PARTS_MIN} on they tell of rare scores, too"),
            false => ", rare scores included".to_owned(),
        };
        lines.line(&format!("calibrated with {parts} of them as well{rare}"))?;
    }
    if let Some((name, pose)) = &taught.astray {
        lines.line(&format!(
            "parts are turned and shifted onto the first one, for {name} lies {}; if the way a part lies \
             matters, teach with --registration off",
            astray(pose)
        ))?;
    }
    for (part, count) in parts.iter().zip(&taught.stand_for) {
        lines.line(&match count {
            0 => format!("kept {}: no other is like it", part.name),
            count => format!("kept {}: it stands for {count} more", part.name),
        })?;
    }
    for (name, decision) in &taught.rejected {
        lines.line(&format!("LOOK AT {name}: a good part that the recipe rejects ({decision})"))?;
    }
    for (name, p_value) in &taught.strangers {
        lines.line(&format!(
            "LOOK AT {name}: no other good part is like it (p = {p_value:.1e}), so nothing was learned from it; \
             if it is good, show more like it"
        ))?;
    }
    for prompt in &taught.suspicious {
        lines.line(&format!(
            "LOOK AT {}: {} (p = {:.1e}); if it is not a good part, teach again without it",
            parts[prompt.index].name,
            objection(prompt.witness),
            prompt.p_value
        ))?;
    }
    lines.line(&promise(inspector, card.false_reject_ppm))?;
    if let Some(part) = parts.first() {
        for hint in [keyhole, squeezed] {
            if let Some(line) = hint(recipe, inspector, &part.picture) {
                lines.line(&line)?;
            }
        }
    }
    match args.store.is_some() || taught.active {
        true => lines.line(
            "active; a line that runs takes it up at its next start or with the serial command \
             recipe activate. To undo: touchstone recipe rollback",
        )?,
        false => lines.line(&format!("use it: touchstone inspect --recipe {place} IMAGE..."))?,
    }
    Ok(Done::Fine)
}

/// Where a part lies against the first one, in words.
fn astray(pose: &Pose) -> String {
    let shift = 100.0 * pose.distance();
    format!("turned by {:.0} degrees and shifted by {shift:.0} % of the picture", pose.degrees())
}

/// Width and height of what is judged of a picture.
fn judged(recipe: &Recipe, first: &Picture) -> (u32, u32) {
    let area = recipe.card.region_of_interest.unwrap_or(first.bounds());
    (area.w, area.h)
}

/// A smallest defect that was asked for and that the network will hardly see.
fn keyhole(recipe: &Recipe, inspector: &Inspector, first: &Picture) -> Option<String> {
    let (card, input) = (&recipe.card, inspector.model().input_size());
    let size = judged(recipe, first);
    let seen = Tiling::new(card.tiles, input).defect_at_input(size, card.smallest_defect_px);
    // One pixel is the default and says that nobody thought of it.
    let asked = card.smallest_defect_px > 1;
    (asked && seen < DEFECT_INPUT_PX).then(|| {
        let enough = Tiling::for_defect(input, size, card.smallest_defect_px);
        format!(
            "LOOK AT the smallest defect: of {} pixels the network sees {seen:.1}, and needs \
             {DEFECT_INPUT_PX}; teach with --tiles {enough}, or inspect a smaller --region",
            card.smallest_defect_px
        )
    })
}

/// Times longer than wide from which on a picture that is looked at as a square loses too much.
const LONG: f64 = 2.0;

/// A picture that is far longer than wide, or wider than long, in one tile.
fn squeezed(recipe: &Recipe, inspector: &Inspector, first: &Picture) -> Option<String> {
    let (card, input) = (&recipe.card, inspector.model().input_size());
    let size = judged(recipe, first);
    let times = Tiling::new(card.tiles, input).squeezed(size);
    (card.tiles == Tiles::ONE && times >= LONG).then(|| {
        let tiles = Tiling::for_shape(input, size);
        format!(
            "LOOK AT the picture's shape: {} x {} pixels are squeezed {times:.1} to 1; teach with --tiles shape \
             ({tiles}) to see finer defects, in {} times the time",
            size.0,
            size.1,
            tiles.count() + 1
        )
    })
}

pub(super) fn objection(witness: Witness) -> &'static str {
    match witness {
        Witness::Change => "it differs from the other good parts somewhere",
        Witness::Position | Witness::Joint => {
            "it has something somewhere that no other good part has"
        }
        Witness::Image => "it does not look like the other good parts at all",
    }
}

/// What false-reject rate the good parts are enough for.
fn promise(inspector: &Inspector, asked_ppm: u32) -> String {
    let asked = percent(asked_ppm);
    let Some(more) = inspector.needs_more(asked_ppm) else {
        return format!("rate: at most {asked} of the good parts will be rejected");
    };
    let parts = if more == 1 { "1 more good part" } else { &format!("{more} more good parts") };
    let reachable = RATES_PPM.into_iter().find(|&ppm| inspector.needs_more(ppm).is_none());
    let instead = match reachable {
        Some(ppm) => {
            format!("; with these, {} is within reach (--false-reject-ppm {ppm})", percent(ppm))
        }
        None => String::new(),
    };
    format!(
        "rate: {asked} false rejects needs about {parts}, until then small defects may pass{instead}"
    )
}

fn percent(ppm: u32) -> String {
    let text = format!("{:.4}", f64::from(ppm) / 10_000.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_like_percentages() {
        assert_eq!(percent(1), "0.0001 %");
        assert_eq!(percent(1000), "0.1 %");
        assert_eq!(percent(200_000), "20 %");
    }
}
