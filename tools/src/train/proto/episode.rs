//! Episodes: the support of a product that was just taught, and queries to judge it by (section 3).

use anyhow::{Result, ensure};

use super::features::ProductFeatures;
use super::moments::Standard;
use crate::synth::Dice;

/// One task. All vectors are standardised features of one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// Which product of its list the episode is about.
    pub product: usize,
    /// Good parts that are taught.
    pub support: Vec<Vec<f64>>,
    /// Parts to judge, none of them in the support.
    pub queries: Vec<Vec<f64>>,
    /// Whether each query is defective.
    pub defective: Vec<bool>,
}

/// How many parts an episode has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Good parts taught, K.
    pub shots: usize,
    /// Most good queries.
    pub good: usize,
    /// Most defective queries.
    pub defective: usize,
}

impl Counts {
    /// Of a training episode: 12 good and 4 defective queries (section 3).
    pub fn training(shots: usize) -> Counts {
        Counts { shots, good: 12, defective: 4 }
    }

    /// Of an episode that measures: everything that the product has.
    pub fn measuring(shots: usize) -> Counts {
        Counts { shots, good: usize::MAX, defective: usize::MAX }
    }

    /// Whether a product has enough parts for an episode of both classes.
    pub fn fit(self, product: &ProductFeatures) -> bool {
        product.good.len() > self.shots && !product.defective.is_empty()
    }
}

/// Draws an episode of product number `product`.
///
/// # Errors
/// A product with too few parts.
pub fn draw(
    products: &[ProductFeatures],
    product: usize,
    counts: Counts,
    standard: &Standard,
    dice: &mut Dice,
) -> Result<Episode> {
    let of = &products[product];
    ensure!(
        counts.fit(of),
        "product {product} has {} good and {} defective parts: {} shots leave nothing to judge",
        of.good.len(),
        of.defective.len(),
        counts.shots
    );
    let good = shuffled(of.good.len(), dice);
    let bad = shuffled(of.defective.len(), dice);
    let (shots, rest) = good.split_at(counts.shots);
    let take = |list: &[Vec<f32>], chosen: &[usize], most: usize| -> Vec<Vec<f64>> {
        chosen.iter().take(most).map(|i| standard.apply(&list[*i])).collect()
    };
    let support = take(&of.good, shots, shots.len());
    let mut queries = take(&of.good, rest, counts.good);
    let mut defective = vec![false; queries.len()];
    queries.extend(take(&of.defective, &bad, counts.defective));
    defective.resize(queries.len(), true);
    Ok(Episode { product, support, queries, defective })
}

/// One episode of every product that has enough parts, in order: independent of each other, which
/// intervals over episodes rely on.
///
/// # Errors
/// No product has enough parts.
pub fn one_each(
    products: &[ProductFeatures],
    counts: Counts,
    standard: &Standard,
    seed: u64,
) -> Result<Vec<Episode>> {
    let fitting = (0..products.len()).filter(|p| counts.fit(&products[*p]));
    let episodes: Vec<Episode> = fitting
        .map(|p| draw(products, p, counts, standard, &mut Dice::new(seed, p as u64)))
        .collect::<Result<_>>()?;
    ensure!(
        !episodes.is_empty(),
        "no product has more than {} good parts and a defective one",
        counts.shots
    );
    Ok(episodes)
}

/// The numbers below `count` in random order.
fn shuffled(count: usize, dice: &mut Dice) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, dice.below(last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::super::features::FeatureSet;
    use super::*;

    #[test]
    fn support_and_queries_share_nothing() {
        let set = FeatureSet::invented(3, 4, 12);
        let standard = Standard::identity(set.inputs);
        for seed in 0..20 {
            let dice = &mut Dice::new(seed, 0);
            let counts = Counts::training(5);
            let episode = draw(&set.train, 0, counts, &standard, dice).expect("episode");
            assert_eq!((episode.support.len(), episode.defective.len()), (5, 16));
            assert_eq!(episode.defective.iter().filter(|d| **d).count(), 4);
            let mut all: Vec<&Vec<f64>> = episode.support.iter().chain(&episode.queries).collect();
            all.sort_by(|a, b| a[0].total_cmp(&b[0]));
            assert!(all.windows(2).all(|w| w[0] != w[1]), "a picture twice");
        }
    }

    #[test]
    fn measuring_takes_everything_and_refuses_too_little() {
        let set = FeatureSet::invented(3, 4, 12);
        let standard = Standard::identity(set.inputs);
        let episodes = one_each(&set.test, Counts::measuring(5), &standard, 1).expect("episodes");
        assert_eq!(episodes.len(), set.test.len());
        let product = &set.test[0];
        let parts = product.good.len() + product.defective.len();
        assert_eq!(episodes[0].queries.len(), parts - 5);
        assert!(one_each(&set.test, Counts::measuring(100), &standard, 1).is_err());
    }
}
