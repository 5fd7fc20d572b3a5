//! The golden test: a recipe's own pictures, judged by this very board and engine before the recipe goes live.

use touchstone_models::recipe::{Golden, Recipe};

use crate::inspection::Judge;

/// Most names of pictures in an error.
const NAMED_MAX: usize = 3;

/// Judges every golden picture of `recipe` by `judge`, which has been taught it; how many there were.
///
/// # Errors
/// What was judged otherwise than it must be, or cannot be read.
pub fn test(judge: &mut dyn Judge, recipe: &Recipe) -> Result<usize, String> {
    let mut wrong = Vec::new();
    let mut judged = 0;
    let sides: [(&[Golden], bool); 2] = [(&recipe.golden_pass, true), (&recipe.golden_fail, false)];
    for (pictures, must_pass) in sides {
        for golden in pictures {
            let picture = golden.open().map_err(|e| e.to_string())?;
            let decision = judge.judge(&picture).decision;
            judged += 1;
            if decision.is_pass() != must_pass {
                let word = if must_pass { "pass" } else { "be rejected" };
                wrong.push(format!("{golden} must {word} ({decision})"));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(judged);
    }
    let more = wrong.len().saturating_sub(NAMED_MAX);
    wrong.truncate(NAMED_MAX);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    Err(format!("golden test failed: {}{more}", wrong.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspection::tests::inspection;
    use touchstone_models::inspector::Inspection;
    use touchstone_models::picture::{Picture, save_rgb};
    use touchstone_models::recipe::{ModelPin, RecipeCard};

    /// Rejects what is bright.
    struct Bright;

    impl Judge for Bright {
        fn judge(&mut self, picture: &Picture) -> Inspection {
            inspection(if picture.rgb()[0] > 100 { 1e-9 } else { 0.5 })
        }
    }

    #[test]
    fn both_sides_count_and_what_is_wrong_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let picture = |name: &str, grey: u8| {
            let file = dir.path().join(name);
            save_rgb(&file, &Picture::from_rgb8(16, 16, vec![grey; 768]).unwrap()).unwrap();
            Golden::File(file)
        };
        let card =
            RecipeCard::new("cap", 1, ModelPin { id: "tiny".to_owned(), hash: "a".repeat(64) });
        let prompt = Picture::from_rgb8(16, 16, vec![0; 768]).unwrap();
        let mut recipe = Recipe::new(card, vec![prompt]).unwrap();
        assert_eq!(test(&mut Bright, &recipe), Ok(0));
        recipe.golden_pass = vec![picture("dark.png", 9)];
        recipe.golden_fail = vec![picture("bright.png", 200)];
        assert_eq!(test(&mut Bright, &recipe), Ok(2));
        recipe.golden_fail = vec![picture("dim.png", 50)];
        let why = test(&mut Bright, &recipe).unwrap_err();
        assert!(why.contains("dim.png must be rejected (pass)"), "{why}");
        recipe.golden_pass = vec![picture("light.png", 250); 5];
        let why = test(&mut Bright, &recipe).unwrap_err();
        assert!(why.contains("light.png must pass") && why.contains("and 3 more"), "{why}");
        recipe.golden_pass = vec![Golden::File(dir.path().join("gone.png"))];
        assert!(test(&mut Bright, &recipe).unwrap_err().contains("gone.png"));
    }
}
