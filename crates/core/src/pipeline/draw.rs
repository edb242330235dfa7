//! A pipeline drawn in plain text.

use super::Pipeline;

pub fn draw(pipeline: &Pipeline) -> String {
    pipeline.chain.name.clone()
}
