//! Whether the camera is there and gives frames. Pure.

use touchstone_board::CameraError;

use crate::station::Trouble;

/// Refusals in a row after which a camera that is there counts as unusable.
pub const REFUSALS_MAX: u32 = 3;

/// What the line has to think of its camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It is there, and has refused so many frames in a row.
    Here {
        /// So many.
        refusals: u32,
    },
    /// It is away, or another one sits in its place.
    Away,
    /// It is there and gives nothing that can be used.
    Unusable,
}

/// What came of a look at the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A frame.
    Frame,
    /// It says that it is there.
    There,
    /// No frame, which says nothing of the camera itself.
    Nothing,
    /// It is not there, or not the right one.
    Lost,
    /// It is there and does not do what it should.
    Refused,
}

impl From<&CameraError> for Look {
    fn from(error: &CameraError) -> Self {
        match error {
            CameraError::Timeout { .. } | CameraError::Picture { .. } | CameraError::Ended => {
                Self::Nothing
            }
            CameraError::Unusable { .. } => Self::Refused,
            CameraError::Lost { .. }
            | CameraError::Io { .. }
            | CameraError::NotFound { .. }
            | CameraError::WrongBus { .. }
            | CameraError::WrongCamera { .. } => Self::Lost,
        }
    }
}

impl Sight {
    /// A camera that was opened.
    pub(super) const OPENED: Self = Self::Here { refusals: 0 };

    /// What to think after `look`.
    pub(super) fn step(self, look: Look) -> Self {
        match (self, look) {
            (_, Look::Lost) => Self::Away,
            (_, Look::Frame) | (Self::Away, Look::There) => Self::OPENED,
            (Self::Here { refusals }, Look::Refused) if refusals + 1 < REFUSALS_MAX => {
                Self::Here { refusals: refusals + 1 }
            }
            (Self::Here { .. }, Look::Refused) => Self::Unusable,
            (Self::Here { .. }, Look::There | Look::Nothing)
            | (Self::Away, Look::Nothing | Look::Refused)
            // That it is there is known; it has to give a frame.
            | (Self::Unusable, Look::There | Look::Nothing | Look::Refused) => self,
        }
    }

    /// What a person has to do about it.
    pub(super) fn trouble(self) -> Option<Trouble> {
        match self {
            Self::Here { .. } => None,
            Self::Away => Some(Trouble::CameraAway),
            Self::Unusable => Some(Trouble::CameraUnusable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn after(looks: &[Look]) -> Sight {
        looks.iter().fold(Sight::OPENED, |sight, look| sight.step(*look))
    }

    #[test]
    fn a_lost_camera_is_back_when_it_says_so_or_gives_a_frame() {
        use Look::{Frame, Lost, Nothing, Refused, There};
        assert_eq!(after(&[Lost]).trouble(), Some(Trouble::CameraAway));
        assert_eq!(after(&[Lost, Nothing, Refused]).trouble(), Some(Trouble::CameraAway));
        assert_eq!(after(&[Lost, There]), Sight::OPENED);
        assert_eq!(after(&[Lost, Frame]), Sight::OPENED);
        assert_eq!(after(&[Nothing, There, Nothing]).trouble(), None);
    }

    #[test]
    fn refusals_in_a_row_need_a_person_and_a_frame_ends_them() {
        use Look::{Frame, Refused, There};
        assert_eq!(after(&[Refused, There, Refused]).trouble(), None);
        assert_eq!(after(&[Refused, Frame, Refused, Refused]).trouble(), None);
        let unusable = after(&[Refused, There, Refused, There, Refused]);
        assert_eq!(unusable.trouble(), Some(Trouble::CameraUnusable));
        assert_eq!(unusable.step(There).trouble(), Some(Trouble::CameraUnusable));
        assert_eq!(unusable.step(Frame), Sight::OPENED);
    }

    #[test]
    fn only_what_says_something_of_the_camera_counts() {
        let look = |error: CameraError| Look::from(&error);
        assert_eq!(look(CameraError::Timeout { waited: Duration::ZERO }), Look::Nothing);
        assert_eq!(look(CameraError::Lost { path: "x".into() }), Look::Lost);
        let wrong = CameraError::WrongBus {
            path: "x".into(),
            wanted: "a".to_owned(),
            found: "b".to_owned(),
        };
        assert_eq!(look(wrong), Look::Lost);
        let unusable = CameraError::Unusable { path: "x".into(), why: "y".to_owned() };
        assert_eq!(look(unusable), Look::Refused);
    }
}
