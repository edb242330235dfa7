//! The example of the port's documentation does what it says.

#[path = "../../../../crates/core/examples/memory_port.rs"]
mod memory_port;

#[test]
fn the_documented_port_carries_a_yard() {
    memory_port::main().unwrap();
}
