//! The commands as their users meet them: real processes, real sockets, signals.

#![cfg(unix)]

mod applications;
mod checked;
mod device;
mod killed;
mod outages;
mod process;
mod transcripts;
mod usage;
