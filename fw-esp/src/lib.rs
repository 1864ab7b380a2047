//! Holdline for devices.
//!
//! This crate is to carry the protocol over any transport that speaks `embedded-io-async`, without a heap, as a library
//! that builds and is tested on the host, with boards beside it.
//!
//! Today it holds no code: a device drives the protocol crate itself.
#![no_std]
