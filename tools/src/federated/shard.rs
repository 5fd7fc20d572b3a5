//! Which products a client has: lines differ in what they make.

use crate::train::proto::features::ProductFeatures;

/// The products of client `client` of `clients`. With no more clients than kinds each kind belongs to
/// one client; with more, the clients of a kind deal its products out among themselves. So no client
/// sees what another one makes, and their numbers of products differ as the kinds' do.
pub fn shard(products: &[ProductFeatures], client: usize, clients: usize) -> Vec<ProductFeatures> {
    let mut kinds: Vec<&str> = products.iter().map(|p| p.base.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() || client >= clients {
        return Vec::new();
    }
    if clients <= kinds.len() {
        let mine = |base: &str| kinds.iter().position(|k| *k == base).map(|k| k % clients);
        return products.iter().filter(|p| mine(&p.base) == Some(client)).cloned().collect();
    }
    let kind = kinds[client % kinds.len()];
    // Clients of this kind are number kind, kind + kinds, kind + 2 kinds, …
    let of_kind = (clients - client % kinds.len()).div_ceil(kinds.len());
    let place = client / kinds.len();
    let own = products.iter().filter(|p| p.base == kind).enumerate();
    own.filter(|(number, _)| number % of_kind == place).map(|(_, p)| p.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products() -> Vec<ProductFeatures> {
        // Five kinds, 4 + 8 + 12 + 16 + 20 products, each told apart by its one feature.
        let kinds = (0..5).flat_map(|k| std::iter::repeat_n(k, 4 * (k + 1)));
        let product = |(number, kind): (usize, usize)| ProductFeatures {
            base: format!("kind {kind}"),
            good: vec![vec![number as f32]],
            defective: Vec::new(),
        };
        kinds.enumerate().map(product).collect()
    }

    #[test]
    fn every_product_has_one_owner_whatever_the_number_of_clients() {
        let products = products();
        for clients in 1..=23 {
            let mut all: Vec<usize> = (0..clients)
                .flat_map(|c| shard(&products, c, clients))
                .map(|p| p.good[0][0] as usize)
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..products.len()).collect::<Vec<_>>(), "{clients} clients");
        }
        assert!(shard(&products, 3, 3).is_empty());
    }

    #[test]
    fn clients_differ_in_kind() {
        let products = products();
        for client in 0..10 {
            let own = shard(&products, client, 10);
            assert!(!own.is_empty() && own.iter().all(|p| p.base == own[0].base));
        }
    }
}
