//! Memory that a thread works in, kept from call to call.

use std::cell::Cell;

thread_local! {
    static ROOM: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Returns this thread's buffer, with room for `length` numbers, which hold anything. Not a closure
/// over it: kernels have to be inlined as a whole.
#[inline(never)]
pub fn take(length: usize) -> Vec<f32> {
    let mut room = ROOM.take();
    if room.len() < length {
        room.resize(length, 0.0);
    }
    room
}

/// Takes the buffer back.
#[inline(never)]
pub fn give_back(room: Vec<f32>) {
    ROOM.set(room);
}
