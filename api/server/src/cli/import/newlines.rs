use std::{
    collections::VecDeque,
    io::{self, Read},
};

/// Counts lines as an editor does. The CSV reader's own count goes wrong after empty lines, line
/// ends of two characters and line breaks in quotes, and reads ahead of the record that it gives.
pub(super) struct Newlines<R> {
    inner: R,
    read: u64,
    /// Where those line ends are that have been read but not counted.
    ahead: VecDeque<u64>,
    counted: u64,
}

impl<R> Newlines<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, read: 0, ahead: VecDeque::new(), counted: 0 }
    }

    /// The number of the line that holds this byte. The next question must be about a later one.
    pub(super) fn line_of(&mut self, byte: u64) -> u64 {
        while self.ahead.pop_front_if(|end| *end < byte).is_some() {
            self.counted += 1;
        }
        self.counted + 1
    }
}

impl<R: Read> Read for Newlines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let places = (self.read..).zip(&buffer[..count]);
        self.ahead.extend(places.filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place));
        self.read += count as u64;
        Ok(count)
    }
}
