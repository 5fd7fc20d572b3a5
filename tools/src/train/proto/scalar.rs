//! Numbers that carry a derivative. The inner loss and its hand-written gradient are generic over
//! [`Scalar`]; on [`Dual`] numbers the gradient carries its own derivative along one direction,
//! which is an exact product of the Hessian with that direction: all that second-order
//! meta-gradients need.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

/// What the losses need of a number.
pub trait Scalar:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Mul<f64, Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
{
    /// A constant.
    fn of(value: f64) -> Self;
    /// Without its derivative.
    fn value(self) -> f64;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Exponential.
    fn exp(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
}

impl Scalar for f64 {
    fn of(value: f64) -> f64 {
        value
    }
    fn value(self) -> f64 {
        self
    }
    fn ln(self) -> f64 {
        f64::ln(self)
    }
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
}

/// A value and its derivative along one direction (forward mode).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dual {
    /// The value.
    pub value: f64,
    /// The derivative.
    pub slope: f64,
}

impl Dual {
    fn chain(self, value: f64, derivative: f64) -> Dual {
        Dual { value, slope: derivative * self.slope }
    }
}

impl Scalar for Dual {
    fn of(value: f64) -> Dual {
        Dual { value, slope: 0.0 }
    }
    fn value(self) -> f64 {
        self.value
    }
    fn ln(self) -> Dual {
        self.chain(self.value.ln(), 1.0 / self.value)
    }
    fn exp(self) -> Dual {
        let e = self.value.exp();
        self.chain(e, e)
    }
    fn sqrt(self) -> Dual {
        let root = self.value.sqrt();
        self.chain(root, 0.5 / root)
    }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, other: Dual) -> Dual {
        Dual { value: self.value + other.value, slope: self.slope + other.slope }
    }
}

impl Sub for Dual {
    type Output = Dual;
    fn sub(self, other: Dual) -> Dual {
        Dual { value: self.value - other.value, slope: self.slope - other.slope }
    }
}

impl Mul for Dual {
    type Output = Dual;
    fn mul(self, other: Dual) -> Dual {
        let slope = self.slope * other.value + self.value * other.slope;
        Dual { value: self.value * other.value, slope }
    }
}

impl Div for Dual {
    type Output = Dual;
    fn div(self, other: Dual) -> Dual {
        let value = self.value / other.value;
        Dual { value, slope: (self.slope - value * other.slope) / other.value }
    }
}

impl Mul<f64> for Dual {
    type Output = Dual;
    fn mul(self, other: f64) -> Dual {
        Dual { value: self.value * other, slope: self.slope * other }
    }
}

impl Neg for Dual {
    type Output = Dual;
    fn neg(self) -> Dual {
        Dual { value: -self.value, slope: -self.slope }
    }
}

impl AddAssign for Dual {
    fn add_assign(&mut self, other: Dual) {
        *self = *self + other;
    }
}

impl SubAssign for Dual {
    fn sub_assign(&mut self, other: Dual) {
        *self = *self - other;
    }
}

/// `ln(1 + e^x)` without overflow, and its derivative, the logistic function.
pub fn softplus<S: Scalar>(x: S) -> (S, S) {
    let one = S::of(1.0);
    if x.value() > 0.0 {
        let e = (-x).exp();
        (x + (one + e).ln(), one / (one + e))
    } else {
        let e = x.exp();
        ((one + e).ln(), e / (one + e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dual_carries_the_derivative() {
        fn f<S: Scalar>(x: S) -> S {
            let (soft, logistic) = softplus(x);
            (x * x + S::of(1.0)).sqrt().ln() * (x * 0.3).exp() / (soft + logistic) - -x
        }
        for at in [-3.0, -1.3, 0.0, 0.7, 5.0] {
            let step = 1e-6;
            let numeric = (f(at + step) - f(at - step)) / (2.0 * step);
            let exact = f(Dual { value: at, slope: 1.0 });
            let scale = 1.0 + numeric.abs();
            assert!((exact.value - f(at)).abs() <= 1e-9 * (1.0 + f(at).abs()));
            assert!((exact.slope - numeric).abs() < 1e-5 * scale, "{at}: {exact:?} {numeric}");
        }
    }

    #[test]
    fn softplus_overflows_nowhere() {
        assert_eq!(softplus(800.0), (800.0, 1.0));
        assert_eq!(softplus(-800.0), (0.0, 0.0));
    }
}
