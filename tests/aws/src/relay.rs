//! A relay before a service: it passes everything on, until something is said that is not to be heard.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Relays until its process ends.
pub struct Relay {
    pub endpoint: String,
    state: Arc<State>,
}

struct State {
    /// Where the service listens.
    service: String,
    unheard: Vec<u8>,
    /// A request with these bytes came.
    silent: AtomicBool,
    /// From then on no other arrives, either.
    lasting: bool,
    mended: AtomicBool,
}

impl Relay {
    /// From the first request with these bytes on, that one included, none arrives.
    pub fn silent_from(service: &str, unheard: &str) -> Self {
        Self::new(service, unheard, true)
    }

    /// No request with these bytes arrives; all others do.
    pub fn without(service: &str, unheard: &str) -> Self {
        Self::new(service, unheard, false)
    }

    fn new(service: &str, unheard: &str, lasting: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            service: service.strip_prefix("http://").unwrap().to_owned(),
            unheard: unheard.as_bytes().to_owned(),
            silent: AtomicBool::new(false),
            lasting,
            mended: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.relay(client));
            }
        });
        Self { endpoint, state }
    }

    pub fn is_silent(&self) -> bool {
        self.state.silent.load(Ordering::SeqCst)
    }

    /// From now on, everything arrives.
    pub fn mend(&self) {
        self.state.mended.store(true, Ordering::SeqCst);
    }

    /// From now on it is as it was at first.
    pub fn break_again(&self) {
        self.state.silent.store(false, Ordering::SeqCst);
        self.state.mended.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn relay(&self, mut client: TcpStream) {
        let mut service = TcpStream::connect(&self.service).unwrap();
        let (mut answers, mut back) = (service.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || {
            _ = std::io::copy(&mut answers, &mut back);
            _ = back.shutdown(Shutdown::Both);
        });
        let (mut seen, mut chunk) = (Vec::new(), [0; 1 << 16]);
        while let Ok(read) = client.read(&mut chunk) {
            // What is looked for may come in two parts.
            seen.extend_from_slice(&chunk[..read]);
            if read == 0 || !self.passes(&seen) || service.write_all(&chunk[..read]).is_err() {
                break;
            }
            let kept = seen.len().saturating_sub(self.unheard.len());
            seen.drain(..kept);
        }
        for stream in [&client, &service] {
            _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn passes(&self, seen: &[u8]) -> bool {
        let unheard = seen.windows(self.unheard.len()).any(|part| part == self.unheard);
        if unheard {
            self.silent.store(true, Ordering::SeqCst);
        }
        let silent = unheard || (self.lasting && self.silent.load(Ordering::SeqCst));
        self.mended.load(Ordering::SeqCst) || !silent
    }
}
