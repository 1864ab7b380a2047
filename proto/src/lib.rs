//! The Holdline protocol as a value.
#![no_std]
