//! A model package built on the spot, for tests that must not depend on trained weights.
