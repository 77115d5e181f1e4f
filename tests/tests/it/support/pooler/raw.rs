//! Tests of the pooler that speak the protocol themselves.

use tokio::net::TcpStream;

use super::{
    Mode, Pooler,
    frames::{Frames, framed},
};
use crate::support::TestDb;

/// A client that has been greeted, and its key.
async fn client(pooler: &Pooler, database: &str) -> (Frames<TcpStream>, Vec<u8>) {
    let mut frames = connect(pooler).await;
    let body = format!("\0\x03\0\0user\0postgres\0database\0{database}\0\0");
    frames.send(&framed(b'0', body.as_bytes())[1..]).await.unwrap();
    let mut key = Vec::new();
    loop {
        let message = frames.next().await.unwrap();
        match message[0] {
            b'K' => key = message[5..].to_vec(),
            b'Z' => return (frames, key),
            _ => {}
        }
    }
}

async fn connect(pooler: &Pooler) -> Frames<TcpStream> {
    Frames::new(TcpStream::connect(("127.0.0.1", pooler.port)).await.unwrap())
}

/// Parse of this name, Bind and Execute.
fn execute(name: &str, sql: &str) -> Vec<u8> {
    let parse = framed(b'P', format!("{name}\0{sql}\0\0\0").as_bytes());
    [parse, bind(name), framed(b'E', b"\0\0\0\0\0")].concat()
}

fn bind(name: &str) -> Vec<u8> {
    framed(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes())
}

/// The types of the messages up to ReadyForQuery, and the only column of the rows.
async fn answers(frames: &mut Frames<TcpStream>) -> (String, Vec<String>) {
    let (mut types, mut values) = (String::new(), Vec::new());
    loop {
        let message = frames.next().await.unwrap();
        types.push(message[0].into());
        match message[0] {
            b'D' => values.push(String::from_utf8(message[11..].to_vec()).unwrap()),
            b'Z' => return (types, values),
            _ => {}
        }
    }
}

const PID: &str = "SELECT pg_backend_pid()";

#[tokio::test]
async fn pipelined_transactions_get_different_sessions() {
    let db = TestDb::new().await;
    let pooler = Pooler::with_room(Mode::Prepared { limit: 3 }, 2).await;
    let (mut client, _) = client(&pooler, db.name()).await;
    let sync = framed(b'S', b"");
    // One statement under a name, executed in both sessions; a Flush in between changes nothing.
    let again = [bind("one"), framed(b'E', b"\0\0\0\0\0"), framed(b'H', b"")].concat();
    let all = [execute("one", PID), sync.clone(), again.clone(), again, sync].concat();
    client.send(&all).await.unwrap();
    let (types, first) = answers(&mut client).await;
    assert_eq!((types.as_str(), first.len()), ("12DCZ", 1));
    let (types, second) = answers(&mut client).await;
    assert_eq!((types.as_str(), second.len()), ("2DC2DCZ", 2));
    assert!(second[0] == second[1] && second[0] != first[0], "{first:?} {second:?}");
}

#[tokio::test]
async fn requests_after_an_error_are_skipped_up_to_the_sync() {
    let db = TestDb::new().await;
    let pooler = Pooler::with_room(Mode::Prepared { limit: 3 }, 2).await;
    let (mut client, _) = client(&pooler, db.name()).await;
    let wrong = execute("wrong", "SELECT nothing");
    let all = [&wrong[..], &execute("skipped", PID), &framed(b'S', b"")].concat();
    client.send(&all).await.unwrap();
    assert_eq!(answers(&mut client).await.0, "EZ");
    // Neither is prepared, in no session.
    for _ in 0..3 {
        client.send(&[bind("skipped"), framed(b'S', b"")].concat()).await.unwrap();
        assert_eq!(answers(&mut client).await.0, "EZ");
    }
    client.send(&[execute("skipped", PID), framed(b'S', b"")].concat()).await.unwrap();
    assert_eq!(answers(&mut client).await.0, "12DCZ");
    // Closed, and prepared again under its name.
    let close = framed(b'C', b"Sskipped\0");
    client.send(&[close, execute("skipped", PID), framed(b'S', b"")].concat()).await.unwrap();
    assert_eq!(answers(&mut client).await.0, "312DCZ");
}

#[tokio::test]
async fn a_cancel_request_reaches_the_session_that_the_client_uses() {
    let db = TestDb::new().await;
    let pooler = Pooler::with_room(Mode::Prepared { limit: 3 }, 2).await;
    let (mut slow, key) = client(&pooler, db.name()).await;
    let (mut other, _) = client(&pooler, db.name()).await;
    let sleep = |seconds: u32| framed(b'Q', format!("SELECT pg_sleep({seconds})\0").as_bytes());
    slow.send(&sleep(60)).await.unwrap();
    other.send(&sleep(1)).await.unwrap();
    let cancel = async {
        loop {
            let request = [&16_u32.to_be_bytes(), &80_877_102_u32.to_be_bytes(), &*key].concat();
            let mut frames = connect(&pooler).await;
            frames.send(&request).await.unwrap();
            frames.closed().await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let canceled = tokio::select! {
        () = cancel => String::new(),
        answers = answers(&mut slow) => answers.0,
    };
    // The description of the rows is missing if the request comes before they are determined.
    assert!(["TEZ", "EZ"].contains(&&*canceled), "{canceled}");
    assert_eq!(answers(&mut other).await.0, "TDCZ");
}
