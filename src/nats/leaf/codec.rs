//! The bytes of a leaf-node link: what a nats-server sends to a leaf, and what a leaf sends back.
//!
//! The protocol is the one of nats-server's `server/leafnode.go` and `server/parser.go`: lines that end in CRLF, and
//! after `LMSG` and `HMSG` as many bytes as the line says. Pure: bytes in, operations out.

use std::fmt::Write as _;

use bytes::{Buf, Bytes, BytesMut};

/// A line of the protocol at most, in bytes. `INFO` of a large cluster is the longest by far.
pub const MAX_LINE: usize = 256 * 1024;

/// What the server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// About itself, as JSON. Comes first, and again whenever something about it changes.
    Info(Bytes),
    /// Wants a [`PONG`].
    Ping,
    /// The answer to a `PING` of ours: everything that was sent before it has been taken in.
    Pong,
    /// Only in verbose mode.
    Ok,
    /// What it objects to. Mostly it closes the connection next.
    Err(String),
    /// Somebody on the other side is interested in this.
    Interest(Interest),
    /// Nobody on the other side is interested in this any more.
    NoInterest(Interest),
    /// A message.
    Message(Message),
}

/// A subject that somebody subscribes, and the queue group if it is for one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Interest {
    /// May have wildcards.
    pub subject: Bytes,
    /// The queue group.
    pub queue: Option<Bytes>,
}

impl Interest {
    /// The same, in memory of its own: see [`Message::detached`].
    #[must_use]
    pub fn detached(&self) -> Self {
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        Self { subject: copy(&self.subject), queue: self.queue.as_ref().map(copy) }
    }
}

/// A message as it comes over the link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Without wildcards.
    pub subject: Bytes,
    /// Where a reply goes, if one is wanted.
    pub reply: Option<Bytes>,
    /// The queue groups in whose name this link was chosen to receive it. None: it is a copy, and whoever the message is
    /// for gets it as well.
    pub queues: Vec<Bytes>,
    /// The block of header lines as it is on the wire, from `NATS/1.0` to the empty line.
    pub headers: Option<Bytes>,
    /// The payload.
    pub payload: Bytes,
}

impl Message {
    /// The same, in memory of its own. What has just come shares a buffer with everything that was read with it, and
    /// would keep all of that for as long as itself.
    #[must_use]
    pub fn detached(&self) -> Self {
        let parts = || {
            let own = [Some(&self.subject), self.reply.as_ref(), self.headers.as_ref(), Some(&self.payload)];
            own.into_iter().flatten().chain(&self.queues)
        };
        let mut buffer = BytesMut::with_capacity(parts().map(Bytes::len).sum());
        parts().for_each(|part| buffer.extend_from_slice(part));
        let mut buffer = buffer.freeze();
        let mut take = |part: &Bytes| buffer.split_to(part.len());
        Self {
            subject: take(&self.subject),
            reply: self.reply.as_ref().map(&mut take),
            headers: self.headers.as_ref().map(&mut take),
            payload: take(&self.payload),
            queues: self.queues.iter().map(take).collect(),
        }
    }
}

/// Bytes that are not what a server sends. The connection is of no use any more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// A line without end.
    #[error("a line of more than {MAX_LINE} bytes")]
    LongLine,
    /// A line that cannot be understood.
    #[error("a line that is not of the leaf-node protocol: {0:?}")]
    Line(String),
    /// More than the server's own `max_payload` says there may be.
    #[error("a message of {size} bytes where at most {max} were announced")]
    LargeMessage {
        /// What its line says.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// A message that does not end where its line says.
    #[error("a message that does not end where its line says")]
    End,
}

/// Reads operations out of a stream of bytes.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    /// The line of a message whose bytes have not all come yet.
    pending: Option<Head>,
    /// Up to where the unfinished line was searched for its end.
    searched: usize,
}

/// The line of a message.
#[derive(Debug)]
struct Head {
    subject: Bytes,
    reply: Option<Bytes>,
    queues: Vec<Bytes>,
    header_size: usize,
    size: usize,
}

impl Decoder {
    /// Messages of up to this many bytes, headers included.
    pub const fn new(max_message: usize) -> Self {
        Self { max_message, pending: None, searched: 0 }
    }

    /// The server has announced another `max_payload`.
    pub const fn set_max_message(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// The next operation, whose bytes are taken from the front of the buffer; `None` if there is none that is whole.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Op>, Malformed> {
        if let Some(head) = self.pending.take() {
            return self.body(head, buffer);
        }
        let Some(line) = self.line(buffer)? else { return Ok(None) };
        let (verb, rest) = split_verb(&line);
        let malformed = || Malformed::Line(shown(&line));
        let op = match verb.to_ascii_uppercase().as_slice() {
            b"LMSG" => {
                let head = plain_head(&rest).ok_or_else(malformed)?;
                return self.body(head, buffer);
            }
            b"HMSG" => {
                let head = header_head(&rest).ok_or_else(malformed)?;
                return self.body(head, buffer);
            }
            b"LS+" => Op::Interest(interest(&rest).ok_or_else(malformed)?),
            b"LS-" => Op::NoInterest(interest(&rest).ok_or_else(malformed)?),
            b"PING" => Op::Ping,
            b"PONG" => Op::Pong,
            b"+OK" => Op::Ok,
            b"-ERR" => Op::Err(shown(&rest).trim_matches('\'').to_owned()),
            b"INFO" => Op::Info(rest),
            _ => return Err(malformed()),
        };
        Ok(Some(op))
    }

    fn line(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        let end = buffer[self.searched..].iter().position(|byte| *byte == b'\n').map(|at| at + self.searched);
        let Some(end) = end else {
            self.searched = buffer.len();
            return if buffer.len() > MAX_LINE { Err(Malformed::LongLine) } else { Ok(None) };
        };
        self.searched = 0;
        if end > MAX_LINE {
            return Err(Malformed::LongLine);
        }
        let mut line = buffer.split_to(end + 1).freeze();
        line.truncate(end);
        if line.ends_with(b"\r") {
            line.truncate(end - 1);
        }
        Ok(Some(line))
    }

    fn body(&mut self, head: Head, buffer: &mut BytesMut) -> Result<Option<Op>, Malformed> {
        if head.size > self.max_message {
            return Err(Malformed::LargeMessage { size: head.size, max: self.max_message });
        }
        let whole = head.size + 2;
        if buffer.len() < whole {
            buffer.reserve(whole - buffer.len());
            self.pending = Some(head);
            return Ok(None);
        }
        let mut body = buffer.split_to(head.size).freeze();
        if !buffer.starts_with(b"\r\n") {
            return Err(Malformed::End);
        }
        buffer.advance(2);
        let headers = (head.header_size > 0).then(|| body.split_to(head.header_size));
        let Head { subject, reply, queues, .. } = head;
        Ok(Some(Op::Message(Message { subject, reply, queues, headers, payload: body })))
    }
}

/// The verb of a line, and what follows it without the space between them.
fn split_verb(line: &Bytes) -> (Bytes, Bytes) {
    let end = line.iter().position(|byte| is_space(*byte)).unwrap_or(line.len());
    let mut rest = line.slice(end..);
    while rest.first().is_some_and(|byte| is_space(*byte)) {
        rest.advance(1);
    }
    (line.slice(..end), rest)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn words(line: &Bytes) -> Vec<Bytes> {
    line.split(|byte| is_space(*byte))
        .filter(|word| !word.is_empty())
        .map(|word| line.slice_ref(word))
        .collect()
}

/// `subject [queue [weight]]`
fn interest(rest: &Bytes) -> Option<Interest> {
    match words(rest).as_slice() {
        [subject] => Some(Interest { subject: subject.clone(), queue: None }),
        [subject, queue] | [subject, queue, _] => {
            Some(Interest { subject: subject.clone(), queue: Some(queue.clone()) })
        }
        _ => None,
    }
}

/// `LMSG`: what is [addressed](address), then the size.
fn plain_head(rest: &Bytes) -> Option<Head> {
    let words = words(rest);
    let (size, to) = words.split_last()?;
    let (subject, reply, queues) = address(to)?;
    Some(Head { subject, reply, queues, header_size: 0, size: number(size)? })
}

/// `HMSG`: what is [addressed](address), then the size of the headers and that of the whole.
fn header_head(rest: &Bytes) -> Option<Head> {
    let words = words(rest);
    let (size, words) = words.split_last()?;
    let (header_size, to) = words.split_last()?;
    let (subject, reply, queues) = address(to)?;
    let (size, header_size) = (number(size)?, number(header_size)?);
    (header_size <= size).then_some(Head { subject, reply, queues, header_size, size })
}

/// `subject`, `subject reply`, `subject + reply queue...` or `subject | queue...`.
fn address(words: &[Bytes]) -> Option<(Bytes, Option<Bytes>, Vec<Bytes>)> {
    let (subject, rest) = words.split_first()?;
    let (reply, queues) = match rest {
        [] => (None, &[][..]),
        [mark, reply, queues @ ..] if &mark[..] == b"+" && !queues.is_empty() => {
            (Some(reply.clone()), queues)
        }
        [mark, queues @ ..] if &mark[..] == b"|" && !queues.is_empty() => (None, queues),
        [reply] if !matches!(&reply[..], b"+" | b"|") => (Some(reply.clone()), &[][..]),
        _ => return None,
    };
    Some((subject.clone(), reply, queues.to_vec()))
}

fn number(word: &Bytes) -> Option<usize> {
    // Nine digits are more than any server takes, and cannot overflow.
    let digits = !word.is_empty() && word.len() <= 9 && word.iter().all(u8::is_ascii_digit);
    digits.then(|| word.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}

/// The beginning of a line, for people.
fn shown(line: &Bytes) -> String {
    const LONGEST: usize = 200;
    String::from_utf8_lossy(&line[..line.len().min(LONGEST)]).into_owned()
}

/// Answers [`Op::Ping`].
pub const PONG: &[u8] = b"PONG\r\n";

/// Introduces the leaf to the server.
pub fn connect(options: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    Ok(format!("CONNECT {}\r\n", serde_json::to_string(options)?))
}

/// Appends a registration: of a member of the queue group, or of a copy of every message.
pub fn subscribe(out: &mut String, subject: &str, queue: Option<&str>) {
    // Writing to a string does not fail.
    let _ = match queue {
        Some(queue) => write!(out, "LS+ {subject} {queue} 1\r\n"),
        None => write!(out, "LS+ {subject}\r\n"),
    };
}

/// Appends the end of a registration.
pub fn unsubscribe(out: &mut String, subject: &str, queue: Option<&str>) {
    let _ = match queue {
        Some(queue) => write!(out, "LS- {subject} {queue}\r\n"),
        None => write!(out, "LS- {subject}\r\n"),
    };
}

#[cfg(test)]
mod tests;
