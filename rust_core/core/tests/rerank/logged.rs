//! What the log says of a call, however it ended: its arm, its reason and the time that it took.

use std::cell::Cell;
use std::ops::Range;

use prost::Message;
use ra_guard_core::assign::Arm;
use ra_guard_core::engine::Clock;
use ra_guard_core::kernel::Kernel;
use ra_guard_core::log::Record;
use ra_guard_core::plan::Mode;
use ra_guard_core::rerank::{Answered, Call, Outcome, Scratch};
use ra_guard_core::shard::Dtype;
use ra_guard_core::wire::{Reason, StageTimes};

use crate::fixture::Bench;
use crate::support::messages::RerankRequest;

const TREATMENT: Range<u16> = 0..5000;
const CONTROL: Range<u16> = 5000..10000;

/// A clock that moves on by a microsecond with every look.
struct Stepping<'a>(&'a Cell<u64>);

impl Clock for Stepping<'_> {
    fn monotonic_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1_000);
        self.0.get()
    }

    fn unix_ns(&self) -> u64 {
        1_700_000_000_000_000_000
    }
}

/// A bench whose calls are logged to a folder.
fn bench(folder: &tempfile::TempDir, mode: Mode) -> Bench {
    let bench = Bench::new(Dtype::F16, Kernel::detect(), Some(Bench::log(folder)));
    bench.publish(|plan| plan.mode = mode as i32);
    bench
}

/// Makes a call of a user of the buckets after a wait, with a reason from outside or without.
fn answer(
    bench: &Bench,
    clock: &impl Clock,
    buckets: Range<u16>,
    (wait_ns, deadline_ns): (u64, Option<u64>),
    told: Option<Reason>,
) -> Answered {
    let bytes = RerankRequest { user_id: bench.user(buckets), ..bench.request() }.encode_to_vec();
    let (call, mut scratch) = (Call { request: &bytes, pool: None, deadline_ns, wait_ns }, Scratch::default());
    let outcome = match told {
        Some(reason) => bench.engine.fall_back(&call, reason, clock, &mut scratch),
        None => bench.engine.rerank(&call, clock, &mut scratch),
    };
    let Ok(Outcome::Answered(answered)) = outcome else { panic!("finished") };
    answered
}

/// Everything but the encoding, within which the record is made.
fn before_the_record_ns(stages: &StageTimes) -> u64 {
    let StageTimes { decode_ns, assign_ns, lookup_ns, score_ns, order_ns, wait_ns, encode_ns: _ } = *stages;
    [decode_ns, assign_ns, lookup_ns, score_ns, order_ns, wait_ns].into_iter().map(u64::from).sum()
}

#[test]
fn every_logged_call_has_its_arm_its_reason_and_its_time() {
    for mode in Mode::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = bench(&folder, mode);
        let clock = Stepping(&bench.clock.0);
        let mut answers = Vec::new();
        for buckets in [TREATMENT, CONTROL] {
            for told in Reason::FROM_OUTSIDE.map(Some).into_iter().chain([None]) {
                answers.push(answer(&bench, &clock, buckets.clone(), (7_000_000, None), told));
                assert!(told.is_none_or(|reason| answers.last().expect("an answer").reason == reason));
            }
            answers.push(answer(&bench, &clock, buckets, (7_000_000, Some(0)), None));
            assert_eq!(answers.last().expect("an answer").reason, Reason::Deadline);
        }
        bench.engine.plan.revoke(bench.clock.0.get());
        answers.push(answer(&bench, &clock, CONTROL, (7_000_000, None), Some(Reason::Internal)));
        bench.publish(|plan| plan.killed = true);
        answers.push(answer(&bench, &clock, TREATMENT, (7_000_000, None), Some(Reason::Internal)));
        let ends = answers.iter().rev().take(2).map(|answered| answered.reason);
        assert!(ends.eq([Reason::Killed, Reason::LeaseExpired]));

        let records = bench.records(&folder);
        assert_eq!(records.len(), answers.len());
        for (record, answered) in records.iter().zip(&answers) {
            let record = Record::decode(record).expect("a record");
            assert_eq!((record.assigned_arm, record.reason), (answered.assigned, answered.reason));
            let before_ns = before_the_record_ns(&answered.stages);
            let within_ns = before_ns..=before_ns + u64::from(answered.stages.encode_ns);
            assert!(
                within_ns.contains(&(u64::from(record.elapsed_us) * 1_000)),
                "{} us of {:?}",
                record.elapsed_us,
                answered.stages
            );
        }
    }
}

#[test]
fn the_time_of_a_call_is_counted_from_its_arrival() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = bench(&folder, Mode::Ab);
    // (waited, elapsed): 0 would mean unknown, and a stage time ends at four seconds.
    let cases = [(0, 1), (999, 1), (1_999, 1), (2_000, 2), (5_000_000_000, 5_000_000), (u64::MAX, u32::MAX)];
    for (wait_ns, _) in cases {
        let answered = answer(&bench, &bench.clock, CONTROL, (wait_ns, None), Some(Reason::Overload));
        assert_eq!((answered.assigned, answered.reason), (Some(Arm::Control), Reason::Overload));
    }
    let records = bench.records(&folder);
    let elapsed_us = records.iter().map(|record| Record::decode(record).expect("a record").elapsed_us);
    assert!(elapsed_us.eq(cases.map(|(_, elapsed_us)| elapsed_us)));
}
