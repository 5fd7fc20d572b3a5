//! Raw Video4Linux2 structs for the `v4l` crate, generated once and checked in.
//!
//! `generate.sh` made `bindings_64.rs` with bindgen 0.73.2 and libclang 14 from `linux/videodev2.h` of the
//! Linux 6.1 uAPI headers (Debian 12: linux-libc-dev 6.1.187-1 for x86-64, linux-libc-dev-arm64-cross 6.1.4-1
//! for AArch64). The two architectures gave the same file byte for byte, and the layout checks inside fail
//! the build where that stops being true.
//!
//! Licence: the uAPI headers are GPL-2.0 WITH Linux-syscall-note, which leaves programs that use the
//! interface free of it; what is here is that interface (numbers and layouts), under MIT like the crate it
//! replaces.
#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, clippy::all)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "v4l2-sys-mit: these bindings hold for 64-bit Linux only (timeval and pointers change the layout of \
     v4l2_buffer elsewhere); run board/v4l2-sys-mit/generate.sh for this target first"
);

#[rustfmt::skip]
mod bindings_64;
pub use bindings_64::*;
