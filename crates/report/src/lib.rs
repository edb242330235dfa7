//! Reports as people read them: `core` says what is so, this crate writes it down.
//!
//! - [`text`]: a report for a terminal of 100 columns;
//! - [`html`]: a report as one page that needs nothing else, bounded in size;
//! - [`goals`]: the goals in words; [`figures`], [`table`]: what both and the command's other answers are made of.

pub mod figures;
pub mod goals;
pub mod html;
mod spending;
pub mod table;
pub mod text;
