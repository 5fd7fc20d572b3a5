//! One thing for each of the strides at which alignment and decoder look.

use serde::{Deserialize, Serialize};

/// Strides 4, 8 and 16. An encoder that others trained may do without the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels<T> {
    /// At stride 4.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub fine: Option<T>,
    /// At stride 8.
    pub middle: T,
    /// At stride 16.
    pub coarse: T,
}

/// `Option::default` would ask for a default of `T`'s own.
fn none<T>() -> Option<T> {
    None
}

/// The strides themselves.
pub const STRIDES: Levels<usize> = Levels { fine: Some(4), middle: 8, coarse: 16 };

impl<T> Levels<T> {
    /// By reference.
    pub fn as_ref(&self) -> Levels<&T> {
        Levels { fine: self.fine.as_ref(), middle: &self.middle, coarse: &self.coarse }
    }

    /// The same levels with something else at each.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Levels<U> {
        Levels { fine: self.fine.map(&mut f), middle: f(self.middle), coarse: f(self.coarse) }
    }

    /// [`Levels::map`] that may fail.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<Levels<U>, E> {
        Ok(Levels {
            fine: self.fine.map(&mut f).transpose()?,
            middle: f(self.middle)?,
            coarse: f(self.coarse)?,
        })
    }

    /// Two things at each level that both have.
    pub fn zip<U>(self, other: Levels<U>) -> Levels<(T, U)> {
        Levels {
            fine: self.fine.zip(other.fine),
            middle: (self.middle, other.middle),
            coarse: (self.coarse, other.coarse),
        }
    }

    /// Finest first.
    pub fn list(self) -> Vec<T> {
        self.fine.into_iter().chain([self.middle, self.coarse]).collect()
    }

    /// From a list, finest first: [`Levels::list`] the other way round. `None` for any length but
    /// two and three.
    pub fn of_list(list: Vec<T>) -> Option<Levels<T>> {
        let mut list = list.into_iter().rev();
        let (coarse, middle, fine) = (list.next()?, list.next()?, list.next());
        list.next().is_none().then_some(Levels { fine, middle, coarse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_two_levels_or_three() {
        assert_eq!(Levels::of_list(vec![4, 8, 16]), Some(STRIDES));
        assert_eq!(STRIDES.list(), [4, 8, 16]);
        let two = Levels { fine: None, middle: 8, coarse: 16 };
        assert_eq!(Levels::of_list(vec![8, 16]), Some(two));
        assert_eq!(two.zip(STRIDES).list(), [(8, 8), (16, 16)]);
        assert_eq!(Levels::of_list(vec![16]), None);
        assert_eq!(Levels::of_list(vec![2, 4, 8, 16]), None);
    }
}
