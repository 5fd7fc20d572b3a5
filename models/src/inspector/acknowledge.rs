//! What a person has seen is not told again.

use super::Inspector;

impl Inspector {
    /// Somebody has looked after a drift warning: the parts of now are what is normal, and a later drift is told again.
    /// Whether there was a warning; without one nothing is forgotten.
    pub fn acknowledge_drift(&mut self) -> bool {
        let standing = self.desk.drift.standing();
        if standing {
            self.desk.drift.reset();
        }
        standing
    }
}
