//! The latency of a network.

use std::{
    io::{self, Read, Write, copy},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Starts a proxy that delays requests and forwards answers at once: for the client it does not
/// matter where the time passes. Returns its URL. Uses threads, since tokio's timers have a
/// resolution of a millisecond.
pub fn proxy(socket: PathBuf, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let server = UnixStream::connect(&socket).unwrap();
            // Ends with the connection or the benchmark.
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
        // The client or the server has gone: closes the other side.
        let _ = to_server.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let _ = copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    Ok(())
}
