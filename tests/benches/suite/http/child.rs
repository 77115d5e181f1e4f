//! A server in a process of its own.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{self, Command, Stdio},
};

/// Killed when dropped.
pub struct Child {
    child: process::Child,
    pub address: SocketAddr,
}

impl Child {
    /// Starts the server, whose first line of output ends with its address.
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().next_back().and_then(|word| word.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{command:?} does not listen: {line:?}"));
        Self { child, address }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
