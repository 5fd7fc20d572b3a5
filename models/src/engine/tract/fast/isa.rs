//! Which instruction set a kernel runs with, found out once.

use super::factors::Halves;
use super::lanes::{Lanes, Plain};
use std::sync::OnceLock;

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Sse2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Plain,
}

/// Environment variable that keeps kernels to a slower set than the machine's best, `avx512`, `avx2`, `sse2`,
/// `neon` or `portable`, or has `tract` do all by itself: to hold them to each other, and for a processor that one of
/// them fails on. `halves` computes packages of 16 bits as a core with such numbers does, rounding after every step
/// where this one has none: to see at the desk what the camera will say.
pub(in super::super) const VARIABLE: &str = "TOUCHSTONE_OPERATORS";
/// tract's own operators; scoring is portable then.
const NONE_OF_OURS: &str = "tract";
/// The best sets, and numbers of 16 bits whatever they cost.
const HALVES: &str = "halves";

/// What [`VARIABLE`] asks for, and the sets that are left then.
struct Choice {
    sets: Vec<Isa>,
    ours: Result<bool, String>,
    rounds: bool,
}

fn choice() -> &'static Choice {
    static CHOICE: OnceLock<Choice> = OnceLock::new();
    CHOICE.get_or_init(|| Choice::of(&std::env::var(VARIABLE).unwrap_or_default()))
}

impl Choice {
    fn of(asked: &str) -> Choice {
        let found = Isa::found();
        let rounds = asked == HALVES;
        let (sets, ours) = match found.iter().position(|isa| isa.name() == asked) {
            Some(from) => (found[from..].to_vec(), Ok(true)),
            None if asked.is_empty() || rounds => (found, Ok(true)),
            None if asked == NONE_OF_OURS => (vec![Isa::Plain], Ok(false)),
            None => {
                let names: Vec<&str> = found.iter().map(|isa| isa.name()).collect();
                let names = format!("{}, {HALVES}, {NONE_OF_OURS}", names.join(", "));
                (found, Err(format!("'{asked}' is none of {names}")))
            }
        };
        Choice { sets, ours, rounds }
    }
}

/// Whether graphs get operators of our own.
///
/// # Errors
/// [`VARIABLE`] names none of what this machine has.
pub(in super::super) fn ours() -> Result<bool, String> {
    choice().ours.clone()
}

/// Whether numbers of 16 bits are asked for where they are slower.
pub(super) fn rounds() -> bool {
    choice().rounds
}

/// What the operators are compiled for here.
pub(in super::super) struct Described {
    /// As people call it.
    pub set: &'static str,
    /// Whether bytes are multiplied four at a time, so that packages of 8 bits are faster than others.
    pub bytes: bool,
    /// Whether packages of 16 bits are multiplied in 16 bits, and if so, whether that is emulated.
    pub halves: Option<bool>,
}

/// See [`Described`].
pub(in super::super) fn described() -> Described {
    match (ours(), Isa::available().first()) {
        (Ok(true), Some(isa)) => Described {
            set: isa.name(),
            bytes: super::dots::Dots::beside(*isa).is_some(),
            halves: Halves::beside(*isa).map(|halves| halves == Halves::Rounded),
        },
        _ => Described { set: NONE_OF_OURS, bytes: false, halves: None },
    }
}

/// Work that is compiled once per instruction set.
pub(super) trait Kernel {
    /// What comes out.
    type Out;

    /// The work in blocks of `M` rows by `V` registers, as many as the set's registers hold.
    ///
    /// # Safety
    /// `L` is a set that this machine has. Must be `inline(always)`.
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) -> Self::Out;
}

/// Plain loops that are compiled once per instruction set, for the compiler to find the vectors in. What `run`
/// calls must be `inline(always)`, as `run` itself, or it is compiled without the set.
pub(crate) trait Vectorised {
    /// What comes out.
    type Out;

    /// `LANES`: values per register; `FUSED`: whether `a * b + c` is one instruction.
    fn run<const LANES: usize, const FUSED: bool>(self) -> Self::Out;
}

/// Runs `work` compiled for the best set of this machine.
pub(crate) fn vectorised<W: Vectorised>(work: W) -> W::Out {
    struct Loops<W>(W);
    impl<W: Vectorised> Kernel for Loops<W> {
        type Out = W::Out;
        #[inline(always)]
        unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) -> W::Out {
            match (L::FUSED, L::COUNT >= 16) {
                (false, _) => self.0.run::<8, false>(),
                (true, false) => self.0.run::<8, true>(),
                (true, true) => self.0.run::<16, true>(),
            }
        }
    }
    Isa::best().call(Loops(work))
}

impl Isa {
    /// The sets that are used, the fastest first.
    pub fn available() -> &'static [Isa] {
        &choice().sets
    }

    /// The fastest of them.
    pub fn best() -> Isa {
        Isa::available().first().copied().unwrap_or(Isa::Plain)
    }

    /// The sets that this machine has, the fastest first.
    fn found() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                found.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Isa::Avx2);
            }
            found.push(Isa::Sse2);
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa::Neon);
        found.push(Isa::Plain);
        found
    }

    /// The name that [`VARIABLE`] takes.
    fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Sse2 => "sse2",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "neon",
            Isa::Plain => "portable",
        }
    }

    /// The fastest set whose registers are no wider than `width` values.
    pub fn for_width(width: usize) -> Option<Isa> {
        Isa::available().iter().copied().find(|isa| isa.lanes() <= width)
    }

    /// Values per register.
    pub fn lanes(self) -> usize {
        struct Count;
        impl Kernel for Count {
            type Out = usize;
            #[inline(always)]
            unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) -> usize {
                L::COUNT
            }
        }
        self.call(Count)
    }

    /// Rows of a block.
    pub fn rows(self) -> usize {
        struct Rows;
        impl Kernel for Rows {
            type Out = usize;
            #[inline(always)]
            unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) -> usize {
                M
            }
        }
        self.call(Rows)
    }

    /// Registers of a row of a block.
    pub fn registers(self) -> usize {
        struct Registers;
        impl Kernel for Registers {
            type Out = usize;
            #[inline(always)]
            unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) -> usize {
                V
            }
        }
        self.call(Registers)
    }

    /// Runs `kernel` compiled for this set. Inlined, so that profiles name who asked for it.
    #[inline(always)]
    pub fn call<K: Kernel>(self, kernel: K) -> K::Out {
        // SAFETY: a set is only ever made by `available`, which has looked for it.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(kernel),
                #[cfg(target_arch = "x86_64")]
                Isa::Sse2 => kernel.run::<super::lanes::Sse2, 4, 2>(),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => kernel.run::<super::lanes::Neon, 8, 3>(),
                Isa::Plain => kernel.run::<Plain, 4, 2>(),
            }
        }
    }
}

// 8 x 3 sums, 3 values and a weight in 32 registers; 6 x 2, 2 and a weight in 16.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<K: Kernel>(kernel: K) -> K::Out {
    // SAFETY: the caller's.
    unsafe { kernel.run::<super::lanes::Avx512, 8, 3>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<K: Kernel>(kernel: K) -> K::Out {
    // SAFETY: the caller's.
    unsafe { kernel.run::<super::lanes::Avx2, 6, 2>() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_leaves_what_is_no_faster() {
        assert_eq!(Choice::of("").sets, Isa::found());
        let portable = Choice::of("portable");
        assert_eq!((portable.sets, portable.ours), (vec![Isa::Plain], Ok(true)));
        assert_eq!(Choice::of("tract").ours, Ok(false));
        let unknown = Choice::of("sse9").ours.unwrap_err();
        assert!(unknown.contains("'sse9'") && unknown.contains("portable"), "{unknown}");
        for isa in Isa::found() {
            assert_eq!(Choice::of(isa.name()).sets.first(), Some(&isa));
        }
    }
}
