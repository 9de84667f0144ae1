//! What was read of a held body before it can be sent, with its places in the budget of all held bodies.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use crate::engine::budget::Reservation;

/// Data is kept in blocks of this size, or of what is to come if that is less.
pub(super) const BLOCK: u64 = 16 * 1024;

/// Takes a place of this size from the budget; `None` when it is used up.
pub(super) type Reserve<'a> = dyn FnMut(u64) -> Option<Reservation> + Send + 'a;

/// The first part of a body. Data is copied: a frame of hyper's is part of a larger buffer, and keeps all of that.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    blocks: VecDeque<Block>,
    bytes: u64,
}

/// Given back to the budget when it is sent.
#[derive(Debug)]
struct Block {
    frame: Frame<BytesMut>,
    _place: Option<Reservation>,
}

impl ReadAhead {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes of data.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that can be kept without another block.
    pub(super) fn room(&self) -> usize {
        let last = self.blocks.back().and_then(|block| block.frame.data_ref());
        last.map_or(0, |data| data.capacity() - data.len())
    }

    /// Keeps data, in new blocks of this size if need be, of which the first has its place already. It is in memory: if the budget
    /// has no place for one more block, that is found out when it is full.
    pub(super) fn keep(
        &mut self,
        mut data: Bytes,
        mut place: Option<Reservation>,
        size: u64,
        reserve: &mut Reserve<'_>,
    ) {
        self.bytes += data.len() as u64;
        while !data.is_empty() {
            if self.room() == 0 {
                let place = place.take().or_else(|| reserve(size));
                let block = BytesMut::with_capacity(usize::try_from(size).unwrap_or(usize::MAX));
                self.blocks.push_back(Block { frame: Frame::data(block), _place: place });
            }
            let part = data.split_to(data.len().min(self.room()));
            if let Some(block) = self.blocks.back_mut().and_then(|block| block.frame.data_mut()) {
                block.extend_from_slice(&part);
            }
        }
    }

    /// Keeps what comes behind the data.
    pub(super) fn keep_trailers(&mut self, trailers: HeaderMap, place: Option<Reservation>) {
        self.blocks.push_back(Block { frame: Frame::trailers(trailers), _place: place });
    }

    /// Takes out what comes first.
    pub(super) fn pop(&mut self) -> Option<Frame<Bytes>> {
        let frame = self.blocks.pop_front()?.frame.map_data(BytesMut::freeze);
        self.bytes -= frame.data_ref().map_or(0, Bytes::len) as u64;
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::budget::Budget;

    #[test]
    fn small_frames_share_a_block_and_the_budget_knows_what_is_allocated() {
        let budget = Budget::new(1 << 20);
        let mut ahead = ReadAhead::default();
        // Each is a small part of a large buffer.
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        for frame in 0..4000 {
            let place = if ahead.room() == 0 { budget.reserve(BLOCK) } else { None };
            ahead.keep(large.slice(frame..frame + 5), place, BLOCK, &mut |bytes| budget.reserve(bytes));
        }
        let allocated = ahead.blocks.iter().map(|block| block.frame.data_ref().unwrap().capacity() as u64);
        assert_eq!((allocated.sum::<u64>(), ahead.bytes()), (2 * BLOCK, 20_000));
        assert_eq!(budget.used(), 2 * BLOCK);
        assert!(large.is_unique(), "nothing of it is kept");
        while ahead.pop().is_some() {}
        assert_eq!((ahead.bytes(), budget.used()), (0, 0));
    }
}
