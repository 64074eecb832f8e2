//! Frames, deadlines and files, on each driver.

use super::*;
use crate::wire::{BODY_BYTES_MAX, Forget, GREETING_BYTES_MAX, encode};
use faasstore::Cancelled;
use std::io::Write;

const SOON: Duration = Duration::from_secs(10);

/// Runs a test on every driver that there is here.
fn on_each_driver(test: impl AsyncFn(Driver)) {
    for driver in [Driver::Epoll, Driver::IoUring] {
        if driver == Driver::IoUring
            && let Err(error) = probe()
        {
            println!("skipped on io_uring, which is not to be had here: {error}");
            continue;
        }
        run(driver, test(driver)).unwrap();
    }
}

fn listener(driver: Driver) -> (Listener, SocketAddr) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (Listener::new(driver, socket).unwrap(), address)
}

fn frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(
        &Forget {
            invocation: 7,
            why: Cancelled::ByClient,
        },
        &mut bytes,
    );
    bytes
}

/// What a worker reads when these bytes come and the connection closes.
async fn read(driver: Driver, bytes: &[u8], limit: usize) -> Result<ReadFrame, FrameError> {
    let (_ending, end) = Ending::new();
    let (listener, address) = listener(driver);
    let mut caller = std::net::TcpStream::connect(address).unwrap();
    caller.write_all(bytes).unwrap();
    drop(caller);
    let mut connection = listener.accept(&end).await.unwrap();
    connection.read_frame(limit, SOON).await
}

#[test]
fn a_frame_crosses_a_connection_and_nothing_behind_it_is_read() {
    on_each_driver(async |driver| {
        let (_ending, end) = Ending::new();
        let (listener, address) = listener(driver);
        let mut caller = Connection::connect(driver, &address.to_string(), SOON, &end)
            .await
            .unwrap();
        let mut bytes = frame();
        bytes.extend_from_slice(b"behind");
        caller.write(bytes, SOON).await.unwrap();
        let mut connection = listener.accept(&end).await.unwrap();
        let read = connection.read_frame(BODY_BYTES_MAX, SOON).await.unwrap();
        assert_eq!(read.kind, FrameKind::Forget);

        let descriptor = connection.into_descriptor().unwrap();
        let mut handed_over = std::net::TcpStream::from(descriptor);
        handed_over.set_nonblocking(false).unwrap();
        assert!(handed_over.nodelay().unwrap());
        let mut rest = [0; 6];
        io::Read::read_exact(&mut handed_over, &mut rest).unwrap();
        assert_eq!(&rest, b"behind");
    });
}

#[test]
fn garbage_and_truncated_frames_are_errors() {
    on_each_driver(async |driver| {
        let garbage = read(
            driver,
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            GREETING_BYTES_MAX,
        )
        .await;
        assert!(
            matches!(garbage, Err(FrameError::Wire(WireError::Magic(_)))),
            "{garbage:?}"
        );
        assert!(matches!(
            read(driver, b"", GREETING_BYTES_MAX).await,
            Err(FrameError::Closed)
        ));
        let whole = frame();
        for length in 1..whole.len() {
            let result = read(driver, &whole[..length], GREETING_BYTES_MAX).await;
            assert!(
                matches!(result, Err(FrameError::Truncated)),
                "{length}: {result:?}"
            );
        }
        let mut long = whole.clone();
        long[8..12].copy_from_slice(&(1u32 << 20).to_le_bytes());
        let result = read(driver, &long, GREETING_BYTES_MAX).await;
        assert!(
            matches!(result, Err(FrameError::Wire(WireError::Length { .. }))),
            "{result:?}"
        );
    });
}

#[test]
fn a_caller_that_says_nothing_is_cut_off_at_the_deadline() {
    on_each_driver(async |driver| {
        let (_ending, end) = Ending::new();
        let (listener, address) = listener(driver);
        let mut caller = std::net::TcpStream::connect(address).unwrap();
        caller.write_all(&frame()[..5]).unwrap();
        let mut connection = listener.accept(&end).await.unwrap();
        let result = connection
            .read_frame(GREETING_BYTES_MAX, Duration::from_millis(20))
            .await;
        assert!(matches!(result, Err(FrameError::Deadline(_))), "{result:?}");
        let mut byte = [0];
        assert_eq!(
            io::Read::read(&mut caller, &mut byte).unwrap(),
            0,
            "the caller sees the end"
        );
    });
}

#[test]
fn a_worker_that_ends_waits_for_no_one() {
    on_each_driver(async |driver| {
        let (ending, end) = Ending::new();
        let (listener, address) = listener(driver);
        let _caller = std::net::TcpStream::connect(address).unwrap();
        let mut connection = listener.accept(&end).await.unwrap();
        let waiting =
            tokio::task::spawn_local(async move { connection.read_frame(1, SOON * 1000).await });
        tokio::task::yield_now().await;
        ending.begin();
        assert!(matches!(waiting.await.unwrap(), Err(FrameError::Ending)));
    });
}

#[test]
fn a_file_is_replaced_whole() {
    on_each_driver(async |driver| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epoch");
        for content in ["first, and longer", "second"] {
            write_atomically(driver, &path, content.into())
                .await
                .unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        let missing = folder.path().join("none/epoch");
        assert!(
            write_atomically(driver, &missing, Vec::new())
                .await
                .is_err()
        );
    });
}

#[test]
fn a_closed_listener_ends_its_accept() {
    on_each_driver(async |driver| {
        let (_ending, end) = Ending::new();
        let (listener, address) = listener(driver);
        let listener = std::rc::Rc::new(listener);
        let waiting = tokio::task::spawn_local({
            let listener = std::rc::Rc::clone(&listener);
            async move { listener.accept(&end).await.map(drop) }
        });
        tokio::task::yield_now().await;
        listener.close();
        assert!(waiting.await.unwrap().is_err());
        assert!(std::net::TcpStream::connect(address).is_err());
    });
}
