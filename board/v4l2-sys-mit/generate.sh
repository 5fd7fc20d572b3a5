#!/bin/sh
# Regenerates src/bindings_64.rs. Only whoever raises the kernel headers runs this; a build never does.
# Needs: bindgen (cargo install bindgen-cli --version 0.73.2), libclang, and the headers of both
# architectures (Debian 12: linux-libc-dev libc6-dev-amd64-cross|libc6-dev, libc6-dev-arm64-cross).
# The two outputs must be identical, or one file could not serve both.
set -eu
cd "$(dirname "$0")"
types='v4l2_(audio|audioout|buffer|capability|captureparm|control|crop|cropcap|edid|enc_idx|encoder_cmd'
types="$types|exportbuffer|ext_control|ext_controls|fmtdesc|format|fract|framebuffer|frequency|frmivalenum"
types="$types|frmsizeenum|input|jpegcompression|modulator|output|outputparm|pix_format|query_ext_ctrl"
types="$types|queryctrl|querymenu|requestbuffers|sliced_vbi_cap|standard|std_id|streamparm|tuner)"
bindings() {
    bindgen wrapper.h --allowlist-type "$types" --allowlist-type 'time_t|timeval' \
        --allowlist-type 'v4l2_frm(size|ival)types' \
        --allowlist-var 'V4L2_(CTRL_FLAG|BUF_FLAG|CAP)_.*' \
        --opaque-type 'v4l2_ctrl_.*' --no-doc-comments --rust-edition 2024 --rust-target 1.85 -- "$@"
}
bindings --target=x86_64-unknown-linux-gnu -I/usr/include/x86_64-linux-gnu > /tmp/v4l2-x86_64.rs
bindings --target=aarch64-unknown-linux-gnu -nostdinc -isystem /usr/aarch64-linux-gnu/include > /tmp/v4l2-aarch64.rs
# Codec control structs are only pointed at, so they stay opaque: their fields change between headers.
# `c_char` is signed on one and unsigned on the other; bindgen spells it `c_char` on both.
cmp /tmp/v4l2-x86_64.rs /tmp/v4l2-aarch64.rs
cp /tmp/v4l2-x86_64.rs src/bindings_64.rs
