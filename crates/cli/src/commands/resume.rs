//! `proofyard resume`: ends a pause, or halts, and says which.

use clap::Args;
use proofyard_core::operation::{Answer, Operation};
use proofyard_core::record::{Hold, Resumed};

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardArguments};

/// Ends a pause, or a halt once its causes are settled; says what it ended, and what still holds the chain.
///
/// Without an option it ends the hold that there is. A chain that is paused and halted needs to be told which.
#[derive(Args)]
pub struct Resume {
    #[command(flatten)]
    pub yard: YardArguments,
    /// End the pause; a halt stays.
    #[arg(long)]
    pub pause: bool,
    /// End the halts that there are now, each of which is named; a pause stays, and so does a halt that comes meanwhile.
    #[arg(long)]
    pub halt: bool,
}

impl Resume {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let hold = match (self.pause, self.halt) {
            (false, false) => Hold::Any,
            (true, false) => Hold::Pause,
            (false, true) => Hold::Halt,
            (true, true) => Hold::Both,
        };
        let answer = self.yard.ask(access, |chain| Operation::Resume { chain, hold, seen: None })?;
        if json {
            return output::json(&answer);
        }
        let Answer::Resumed { resumed, .. } = &answer else { return output::json(&answer) };
        lines(resumed).iter().for_each(output::line);
        Ok(())
    }
}

fn lines(resumed: &Resumed) -> Vec<String> {
    let Resumed { pause, halts, from, to, still_paused, still_halted } = resumed;
    let mut lines = Vec::new();
    if *pause {
        lines.push("the pause has ended".to_owned());
    }
    lines.extend(halts.iter().map(|reason| format!("this halt has ended: {reason}")));
    let unnamed = to.saturating_sub(*from).saturating_sub(halts.len() as u64);
    if unnamed > 0 {
        lines.push(format!("and {unnamed} more halts"));
    }
    if lines.is_empty() {
        lines.push("nothing that was to end held the chain".to_owned());
    }
    match (still_halted, still_paused) {
        (Some(reason), _) => {
            lines.push(format!("STILL HALTED: {reason} (`proofyard resume --halt` when it is settled)"));
        }
        (None, true) => lines.push("still paused (`proofyard resume` goes on)".to_owned()),
        (None, false) => lines.push("the chain goes on".to_owned()),
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_named_and_what_holds_on_is_said() {
        let halts = vec!["a disagrees".to_owned(), "b disagrees".to_owned()];
        let resumed = Resumed { halts, from: 3, to: 70, still_paused: true, ..Resumed::default() };
        let said = lines(&resumed).join("\n");
        assert_eq!(
            said,
            "this halt has ended: a disagrees\nthis halt has ended: b disagrees\nand 65 more halts\n\
             still paused (`proofyard resume` goes on)"
        );
        let resumed =
            Resumed { pause: true, still_halted: Some("c disagrees".to_owned()), ..Resumed::default() };
        let said = lines(&resumed).join("\n");
        assert!(said.starts_with("the pause has ended\nSTILL HALTED: c disagrees"), "{said}");
    }
}
