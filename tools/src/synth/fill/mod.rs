//! What a hole is filled with: one of three methods, drawn by chance. A network that only ever saw
//! one would learn its fingerprint instead of what is missing.

mod inpaint;
mod membrane;
mod shift;

use super::dice::{Dice, Grain};
use super::raster::Rgb;
use super::shapes::Stencil;
use inpaint::inpaint;
use membrane::membrane;

/// Fewer pixels have no structure to continue: the membrane does.
const TINY: usize = 12;

#[derive(Clone, Copy)]
enum Method {
    /// Many patches of the surroundings.
    Patches,
    /// One shifted copy.
    Shift,
    /// A smooth surface with grain.
    Membrane,
}

/// The methods and how often each fills the place of a removed thing.
const REMOVING: ([Method; 3], [f32; 3]) =
    ([Method::Patches, Method::Shift, Method::Membrane], [0.7, 0.15, 0.15]);
/// The same for wiping structure out. Patches would bring the structure back.
const WIPING: ([Method; 2], [f32; 2]) = ([Method::Shift, Method::Membrane], [0.7, 0.3]);

/// Fills the place of a thing that was taken away with what could have been behind it.
pub fn remove(picture: &mut Rgb, stencil: &Stencil, dice: &mut Dice) {
    let method = if stencil.area() < TINY {
        Method::Membrane
    } else {
        REMOVING.0[dice.weighted(&REMOVING.1)]
    };
    fill(picture, stencil, method, dice);
}

/// Wipes structure out: a plain patch of the surroundings.
pub fn wipe(picture: &mut Rgb, stencil: &Stencil, dice: &mut Dice) {
    fill(picture, stencil, WIPING.0[dice.weighted(&WIPING.1)], dice);
}

/// Fills the place of a piece that broke off `thing` with what is around the thing; false, and
/// nothing done, where too little is known of that.
pub fn break_off(picture: &mut Rgb, piece: &Stencil, thing: &Stencil, dice: &mut Dice) -> bool {
    let Some(colours) = inpaint(picture, piece, Some(thing), dice) else {
        return false;
    };
    lay(picture, piece, &colours);
    true
}

/// Where a method finds no source the membrane, which needs none, fills in for it.
fn fill(picture: &mut Rgb, stencil: &Stencil, method: Method, dice: &mut Dice) {
    let done = match method {
        Method::Patches => {
            let colours = inpaint(picture, stencil, None, dice);
            colours.map(|colours| lay(picture, stencil, &colours)).is_some()
        }
        Method::Shift => shift::fill(picture, stencil, dice),
        Method::Membrane => false,
    };
    if done {
        return;
    }
    let mut smooth = membrane(picture, stencil);
    let mut grain = Grain::new(dice.bits());
    let rough = dice.range(0.5, 3.5);
    for colour in &mut smooth {
        let n = rough * grain.bell();
        *colour = colour.map(|v| v + n);
    }
    lay(picture, stencil, &smooth);
}

/// Blends colours of the stencil's box in.
fn lay(picture: &mut Rgb, stencil: &Stencil, colours: &[[f32; 3]]) {
    stencil.blend(picture, |x, y, _| {
        colours[(y as usize - stencil.y) * stencil.w + x as usize - stencil.x]
    });
}

#[cfg(test)]
mod tests {
    use super::super::shapes;
    use super::*;

    #[test]
    fn nothing_outside_the_stencil_changes_whatever_fills_it() {
        let mut picture = Rgb::plain(80, 80, [0; 3]);
        for i in 0..80 * 80 {
            picture.set(i % 80, i / 80, [((i * 7) % 200) as f32, (i / 40) as f32, 90.0]);
        }
        let disc = shapes::disc(80, (30.0, 41.0), 11.0, 2.0).expect("inside");
        for method in [Method::Patches, Method::Shift, Method::Membrane] {
            let mut filled = picture.clone();
            fill(&mut filled, &disc, method, &mut Dice::new(1, 1));
            let differs = |i: usize| filled.at(i % 80, i / 80) != picture.at(i % 80, i / 80);
            let outside = (0..80 * 80).filter(|i| disc.at(i % 80, i / 80) == 0);
            assert!(!outside.clone().any(differs));
            assert!((0..80 * 80).any(differs));
        }
    }
}
