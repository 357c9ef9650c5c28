//! A warm call allocates as often for sixty candidates as for two.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use prost::Message;
use ra_guard_core::kernel::Kernel;
use ra_guard_core::plan::Mode;
use ra_guard_core::rerank::{Call, Scratch};
use ra_guard_core::shard::Dtype;

use crate::fixture::Bench;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting by thread.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a const-initialised thread local.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: as the trait demands of the caller.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as the trait demands of the caller.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(bench: &Bench, candidates: usize, scratch: &mut Scratch) -> usize {
    let mut request = bench.request();
    request.candidate_ids.truncate(candidates);
    let bytes = request.encode_to_vec();
    let call = Call { request: &bytes, pool: None, deadline_ns: None, wait_ns: 0 };
    let before = ALLOCATIONS.get();
    bench.engine.rerank(&call, &bench.clock, scratch).expect("a valid request");
    ALLOCATIONS.get() - before
}

#[test]
fn candidates_cost_no_allocation() {
    for (dtype, mode) in Dtype::ALL.into_iter().flat_map(|dtype| Mode::ALL.map(|mode| (dtype, mode))) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Some(Bench::log(&folder));
        let (bench, mut scratch) = (Bench::new(dtype, Kernel::detect(), log), Scratch::default());
        bench.publish(|plan| plan.mode = mode as i32);
        allocations(&bench, 60, &mut scratch);
        let (few, many) = (allocations(&bench, 2, &mut scratch), allocations(&bench, 60, &mut scratch));
        assert_eq!(few, many, "{dtype:?} {mode:?}");
        assert!(many <= 2, "{dtype:?} {mode:?}: the request's and the user's id are copied out, found {many}");
    }
}
