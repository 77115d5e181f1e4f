//! Log of the test's process.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::{fmt::MakeWriter, util::SubscriberInitExt};

/// Captures the log of the current thread; not for `multi_thread` tests.
pub struct Log {
    heard: Heard,
    _listening: Box<dyn std::any::Any>,
}

impl Log {
    pub fn listen() -> Self {
        let heard = Heard::default();
        let subscriber = tracing_subscriber::fmt().with_writer(heard.clone());
        let listening = subscriber.finish().set_default();
        Self { heard, _listening: Box::new(listening) }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.heard.0.lock().unwrap().clone()).unwrap()
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Heard {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
