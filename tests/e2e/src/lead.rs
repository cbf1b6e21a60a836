//! A name that is led from one machine to another, as an operator's DNS record is: a port, which whoever connects to it is led on
//! from.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The port, for as long as the process lives.
pub struct Lead {
    port: u16,
    to: Arc<Mutex<Option<SocketAddr>>>,
}

impl Lead {
    /// From a port of this address, to nowhere yet.
    ///
    /// # Panics
    ///
    /// When it has no free port.
    pub fn from(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let to: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let led = to.clone();
        thread::spawn(move || {
            for came in listener.incoming().flatten() {
                let led = *led.lock().unwrap_or_else(PoisonError::into_inner);
                // Led to nowhere, it ends.
                if let Some(Ok(there)) = led.map(TcpStream::connect) {
                    carry(came, there);
                }
            }
        });
        Self { port, to }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whoever connects from now on is led there.
    pub fn to(&self, there: SocketAddr) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = Some(there);
    }
}

/// Both ways, until either side has said its last word.
fn carry(one: TcpStream, other: TcpStream) {
    let (Ok(one_again), Ok(other_again)) = (one.try_clone(), other.try_clone()) else {
        return;
    };
    for (mut from, mut into) in [(one, other_again), (other, one_again)] {
        thread::spawn(move || {
            let _cut = io::copy(&mut from, &mut into);
            let _gone = into.shutdown(Shutdown::Write);
        });
    }
}
