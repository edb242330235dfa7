//! A blocks file: each line once, also when the file is given again after a crash, or has grown.
//!
//! How far it was taken is kept in the state, so that a reorg line is not taken a second time. A block line may be taken twice,
//! after a crash in between, and changes nothing then.

use proofyard_blocks::{BlocksError, Line, Rules, Step, Taking, TakingError};

use crate::fact::{Fact, Intake};
use proofyard_core::state::ChainName;

/// A file that was checked as a whole.
pub struct CheckedFile<'a> {
    /// As errors name it.
    pub name: &'a str,
    pub rules: &'a Rules,
    /// How many lines it had when it was checked. Lines added since are left to the next run.
    pub lines: u64,
    /// Whether the end of the file is the end of the chain's input, so that a last short cut closes.
    pub ends: bool,
}

impl CheckedFile<'_> {
    /// Takes all lines that were not taken before, then records the end of the input if the file's end is that. Calls `pace`
    /// before each line; it may wait, or abort with an error. Returns how many lines were taken.
    pub async fn take<I: Intake>(
        &self,
        intake: &I,
        chain: &ChainName,
        lines: impl IntoIterator<Item = Result<(u64, Line), BlocksError>>,
        mut pace: impl FnMut() -> Result<(), I::Error>,
    ) -> Result<u64, I::Error> {
        let port = &intake.yard().port;
        let start_height = intake.yard().chain_state(chain).await?.start_height;
        let mut taking = Taking::begin(port, chain, self.name, start_height, self.rules).await?;
        let (mut last, mut taken) = (0, 0);
        for next in lines.into_iter().take(usize::try_from(self.lines).unwrap_or(usize::MAX)) {
            let (number, line) = next.map_err(TakingError::from)?;
            last = number;
            let step = taking.next(port, number, &line).await?;
            match step {
                Step::Skip => continue,
                Step::Again => {}
                Step::Take => pace()?,
            }
            let fact = fact_of(line, &taking);
            persist(intake, async || {
                intake.take(chain, &fact).await?;
                if step == Step::Take {
                    taking.remember(port, matches!(fact, Fact::Reorg { .. })).await?;
                }
                Ok(())
            })
            .await?;
            taken += u64::from(step == Step::Take);
        }
        if last < self.lines {
            let (file, checked, now) = (self.name.to_owned(), self.lines, last);
            return Err(TakingError::Cut { file, checked, now }.into());
        }
        persist(intake, async || {
            taking.end(port).await?;
            if self.ends {
                intake.take(chain, &Fact::End).await?;
            }
            Ok(())
        })
        .await?;
        Ok(taken)
    }
}

fn fact_of(line: Line, taking: &Taking) -> Fact {
    match line {
        Line::Block(block) => Fact::Block(block),
        Line::Reorg { hash } => {
            Fact::Reorg { height: taking.height_of(&hash), hash: format!("0x{}", hex::encode(hash)).into() }
        }
    }
}

/// Retries while the home says so: taking is idempotent.
async fn persist<I: Intake>(
    intake: &I,
    take: impl AsyncFn() -> Result<(), I::Error>,
) -> Result<(), I::Error> {
    loop {
        match take().await {
            Err(error) if intake.may_try_again(&error).await => {}
            done => return done,
        }
    }
}
