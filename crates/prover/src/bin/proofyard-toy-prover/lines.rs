//! Serving, with an eye on the lines that come in and a word after the last of them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeWriter, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use proofyard_prover::serve::{serve as serve_plainly, serve_on};

use crate::Toy;

/// Answers requests until stdin ends.
pub fn serve(mut toy: Toy) -> ExitCode {
    let one = &toy.options;
    if one.die_at.is_none() && one.sulk_at.is_none() && !one.stay && !one.last_words {
        return serve_plainly(toy);
    }
    match serve_watched(&mut toy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("toy prover: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_watched(toy: &mut Toy) -> io::Result<()> {
    let mut stdout = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    let (input, passed_on) = io::pipe()?;
    let (die_at, sulk_at, sulks) =
        (toy.options.die_at.clone(), toy.options.sulk_at.clone(), toy.sulks.clone());
    let watch = move || {
        let mut sulks_next = false;
        pass_on(passed_on, |line| {
            let shows = |text: &Option<String>| text.as_deref().is_some_and(|text| line.contains(text));
            if shows(&die_at) {
                eprintln!("toy prover: ends at this line");
                std::process::exit(1);
            }
            sulks.fetch_or(sulks_next, Ordering::Relaxed);
            sulks_next |= shows(&sulk_at);
        })
    };
    let watcher = thread::spawn(watch);
    serve_on(toy, BufReader::new(input), &stdout)?;
    // It ends with stdin, which has ended.
    let _ = watcher.join();
    if toy.options.last_words && toy.has_proved {
        stdout.write_all(b"the toy says goodbye\n")?;
    }
    if toy.options.stay {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }
    Ok(())
}

/// Line by line, each looked at first.
fn pass_on(mut to: PipeWriter, mut look: impl FnMut(&str)) -> io::Result<()> {
    let mut stdin = BufReader::new(io::stdin());
    let mut line = Vec::new();
    while stdin.read_until(b'\n', &mut line)? > 0 {
        look(&String::from_utf8_lossy(&line));
        to.write_all(&line)?;
        line.clear();
    }
    Ok(())
}
