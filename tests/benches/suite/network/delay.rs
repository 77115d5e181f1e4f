//! A network, as far as time goes.

use std::{
    io::{self, Read, Write, copy},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Puts a proxy before the server that hands on what clients send so much later, and what the
/// server answers at once: for who waits for the answer it does not matter where the time goes.
/// Returns the URL. Threads, not tasks: tokio's timers go by whole milliseconds.
pub fn proxy(socket: PathBuf, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let server = UnixStream::connect(&socket).unwrap();
            // Ends with the connection, or with the benchmark.
            serve(client.unwrap(), server, delay).unwrap();
        }
    });
    format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
}

fn serve(client: TcpStream, server: UnixStream, delay: Duration) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut requests, mut to_client) = (client.try_clone()?, client);
    let (mut answers, mut to_server) = (server.try_clone()?, server);
    let (late, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut bytes = vec![0; 16 << 10];
        while let Ok(length @ 1..) = requests.read(&mut bytes) {
            if late.send((Instant::now() + delay, bytes[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (moment, bytes) in due {
            thread::sleep(moment.saturating_duration_since(Instant::now()));
            if to_server.write_all(&bytes).is_err() {
                break;
            }
        }
        // The client has gone, or the server: the other is told.
        let _ = to_server.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let _ = copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    Ok(())
}
