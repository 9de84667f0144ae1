//! Integration tests, all in one program.

mod front_door;
