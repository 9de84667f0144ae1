//! Integration tests: the real program, real processes, real sockets. One binary, so one link step.

mod collide;
mod process;
mod reload;
mod sleep_and_wake;
mod storm;
mod support;
