//! WASI's error numbers, as far as the virtual world gives them.

/// An error number of `wasi_snapshot_preview1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Errno {
    BadF = 8,
    Exist = 20,
    Fault = 21,
    FBig = 22,
    IlSeq = 25,
    Inval = 28,
    IsDir = 31,
    Loop = 32,
    MFile = 33,
    NameTooLong = 37,
    NoEnt = 44,
    NoSpc = 51,
    NotDir = 54,
    NotEmpty = 55,
    NotSock = 57,
    NotSup = 58,
    Overflow = 61,
    Perm = 63,
    RoFs = 69,
    SPipe = 70,
    NotCapable = 76,
}

impl Errno {
    /// The number that a guest sees.
    pub(crate) const fn code(self) -> u16 {
        self as u16
    }
}
