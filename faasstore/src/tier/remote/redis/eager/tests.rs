//! Commands to a server that answers with their last word, at once or late.

use super::*;
use crate::tier::conformance::run;
use futures_util::future::join;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::Receiver;

/// Commands that the client sends of its own accord before any other.
const GREETINGS: u32 = 2;

/// When the server answers.
enum Answers {
    AtOnce,
    /// When it is told to, once for each command.
    Told(Receiver<()>),
    /// When it has two commands, both of them.
    InPairs,
}

/// A command that says `end` has no answer, and the connection ends.
fn server(answers: Answers) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        let (mut said, mut greetings) = (Vec::new(), 0);
        while let Some(word) = last_word(&mut stream) {
            if word == b"end" {
                return;
            }
            said.extend(format!("${}\r\n", word.len()).into_bytes());
            said.extend([&word[..], b"\r\n"].concat());
            greetings += 1;
            // What the client says of itself is answered in any case.
            let answers = match &answers {
                _ if greetings <= GREETINGS => true,
                Answers::AtOnce => true,
                Answers::Told(told) => told.recv().is_ok(),
                Answers::InPairs => (greetings - GREETINGS).is_multiple_of(2),
            };
            if answers
                && stream
                    .get_mut()
                    .write_all(&std::mem::take(&mut said))
                    .is_err()
            {
                return;
            }
        }
    });
    address
}

fn last_word(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut number = |from: char| {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let number: usize = line.strip_prefix(from)?.trim_end().parse().ok()?;
        let mut word = vec![0; if from == '$' { number + 2 } else { 0 }];
        stream.read_exact(&mut word).ok()?;
        word.truncate(word.len().saturating_sub(2));
        Some((number, word))
    };
    let (words, _) = number('*')?;
    (0..words)
        .map(|_| number('$'))
        .last()?
        .map(|(_, word)| word)
}

async fn connection(answers: Answers) -> Connection {
    let stream = TcpStream::connect(server(answers)).await.unwrap();
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let login = RedisConnectionInfo::default();
    let connection = Connection::new(&login, stream, config).await.unwrap();
    // From then on the task is known.
    tokio::task::yield_now().await;
    // It looks on a machine of one CPU as well.
    connection.driver.rests.store(0, Ordering::Relaxed);
    connection
}

fn echo(word: &str) -> Cmd {
    let mut command = redis::cmd("ECHO");
    command.arg(word);
    command
}

fn said(word: &str) -> Value {
    Value::BulkString(word.as_bytes().to_vec())
}

fn rests(connection: &Connection) -> u32 {
    connection.driver.rests.load(Ordering::Relaxed)
}

#[test]
fn an_answer_that_comes_soon_is_found_without_sleeping() {
    if std::thread::available_parallelism().unwrap().get() == 1 {
        println!("SKIPPED: answers that are looked for: there is one CPU");
        return;
    }
    run(async {
        let mut connection = connection(Answers::AtOnce).await;
        let mut found = false;
        // Whoever is to answer may have no CPU just then.
        for number in 0..10_000 {
            let word = "word".repeat(number % 7_000);
            let command = echo(&word);
            let mut sent = pin!(connection.send(&command, Wait::Looking));
            let mut polls = 0;
            let answer = poll_fn(|context| {
                polls += 1;
                sent.as_mut().poll(context)
            });
            assert_eq!(answer.await.unwrap(), said(&word), "{number}");
            // Once to send it, and once to look.
            found |= polls <= 2;
            if found && number > 1_000 {
                return;
            }
        }
        panic!("none of all was found");
    });
}

#[test]
fn answers_that_take_longer_are_looked_for_ever_more_seldom_and_come_all_the_same() {
    run(async {
        let (tell, told) = std::sync::mpsc::channel();
        let mut connection = connection(Answers::Told(told)).await;
        let mut expected = Vec::new();
        for rests in [RESTS_MIN, 4 * RESTS_MIN] {
            // One looks in vain, and as many as that do not.
            expected.extend((0..=rests).rev());
        }
        for (number, expected) in expected.into_iter().enumerate() {
            let word = number.to_string();
            let command = echo(&word);
            let (answer, ()) = join(connection.send(&command, Wait::Looking), async {
                // Who looks does so when everybody has been asked once.
                others_first().await;
                tell.send(()).unwrap();
            })
            .await;
            assert_eq!(answer.unwrap(), said(&word));
            assert_eq!(rests(&connection), expected, "after {number}");
        }
    });
}

#[test]
fn commands_that_are_sent_together_are_on_their_way_together() {
    run(async {
        let mut connection = connection(Answers::InPairs).await;
        let mut other = connection.clone();
        for waits in [[Wait::Looking; 2], [Wait::Asleep, Wait::Looking]] {
            let (one, two) = (echo("one"), echo("two"));
            let both = join(connection.send(&one, waits[0]), other.send(&two, waits[1]));
            let (one, two) = both.await;
            assert_eq!((one.unwrap(), two.unwrap()), (said("one"), said("two")));
            assert_eq!(rests(&connection), 0, "nobody has looked");
        }
    });
}

#[test]
fn a_connection_that_ends_while_somebody_looks_is_an_error_then_and_later() {
    run(async {
        let mut connection = connection(Answers::AtOnce).await;
        for _ in 0..2 {
            let answer = connection.send(&echo("end"), Wait::Looking).await;
            let error = answer.unwrap_err();
            assert!(
                error.is_connection_dropped()
                    || error.is_io_error()
                    || error.is_unrecoverable_error(),
                "{error:?}"
            );
        }
        assert!(lock(&connection.driver.work).is_none());
    });
}
