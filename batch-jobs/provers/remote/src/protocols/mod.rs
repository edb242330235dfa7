//! The services' protocols, a file each. Routes, fields, states and errors are those of the services' public definitions.

mod bonsai;
mod ere;
mod openvm_edge;
mod risc0_receipt;
mod sp1_cluster;
mod zisk;

use crate::service::Service;
use crate::settings::{Arguments, Settings};

/// The header that carries the token, and the service.
pub(crate) type Known = (&'static str, Box<dyn Service>);

const NAMES: [&str; 5] = ["openvm-edge", "bonsai", "ere", "sp1-cluster", "zisk"];

/// Reads `protocol`, and the arguments that only it has. None where there is no such protocol, which is a mistake then.
pub(crate) fn read(arguments: &mut Arguments<'_>, settings: &Settings) -> Option<Known> {
    if arguments.required("protocol", "which protocol the service speaks").is_empty() {
        return None;
    }
    match arguments.one_of("protocol", &NAMES)? {
        "openvm-edge" => {
            Some(("authorization", Box::new(openvm_edge::OpenVmEdge::read(arguments, settings))))
        }
        "bonsai" => Some(("x-api-key", Box::new(bonsai::Bonsai::read(arguments, settings)))),
        "sp1-cluster" => {
            Some(("authorization", Box::new(sp1_cluster::Sp1Cluster::read(arguments, settings))))
        }
        "zisk" => Some(("authorization", Box::new(zisk::Zisk::read(arguments, settings)))),
        _ => Some(("authorization", Box::new(ere::Ere::read(arguments, settings)))),
    }
}
