//! SIGKILL at any moment of a publication leaves the old generation or the new one, whole.
//!
//! The publisher is this test binary, started again with a gallery in its environment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ra_guard_core::shard::{Dtype, Generation, PublisherLock};

use crate::fixture::{Gallery, OwnedRow, Random, rows, spec, write};

const GALLERY: &str = "RA_GUARD_TEST_GALLERY";
const KILLS: usize = 240;

/// The rows of generation `number`: each tells by its phash where it belongs.
fn rows_of(number: u64) -> Vec<OwnedRow> {
    let mut rows = rows(number, 30, 16);
    rows.iter_mut().for_each(|row| row.phash = number);
    rows
}

/// Publishes one generation after the other until it is killed.
#[test]
#[ignore = "runs as the child of kill_at_random_points"]
fn publish_until_killed() {
    let Some(gallery) = std::env::var_os(GALLERY) else {
        return;
    };
    let gallery = Path::new(&gallery);
    let lock = PublisherLock::acquire(gallery).unwrap();
    let mut number = Generation::open(gallery, None).unwrap().number();
    loop {
        // The process id keeps clear of what an earlier child left over.
        let name = format!("{number}-{}.shard", std::process::id());
        write(&gallery.join("shards").join(&name), spec(16, Dtype::F16), &rows_of(number)).unwrap();
        // A number may be used up by an earlier child's manifest: the shard says which number it expected at least.
        let published = lock.publish(&[&name], number).unwrap();
        assert!(published > number);
        number = published;
    }
}

fn spawn_publisher(gallery: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::publish_until_killed", "--ignored", "--nocapture"])
        .env(GALLERY, gallery)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Opens what CURRENT names, verifies it, and checks that it holds its own rows; returns its number.
fn inspect(gallery: &Path) -> u64 {
    let generation = Generation::open(gallery, None).unwrap();
    generation.verify().unwrap();
    let expected = generation.manifest().created_unix_s;
    let wanted = rows_of(expected);
    let mut handles = Vec::new();
    generation.lookup(wanted.iter().map(|row| row.id.as_slice()), &mut handles);
    for handle in handles {
        assert!(handle.is_known());
        assert_eq!(generation.phash(handle), expected);
    }
    generation.number()
}

/// Whether the kill came between the first byte of a shard and the last byte of CURRENT.
fn left_something_over(gallery: &Path, current: u64) -> bool {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(gallery.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let listed = Generation::open(gallery, None).unwrap().manifest().shards[0].file.clone();
    let newest = format!("{current}-");
    let temporary =
        ["", "generations", "shards"].iter().any(|folder| names(folder).iter().any(|n| n.ends_with(".tmp")));
    let manifest = names("generations").contains(&format!("{:010}.json", current + 1));
    let shard = names("shards").iter().any(|name| name.starts_with(&newest) && *name != listed);
    temporary || manifest || shard
}

#[test]
fn kill_at_random_points() {
    let seed = 0x5eed_0001;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let gallery = Gallery::new();
    write(&gallery.shard("0.shard"), spec(16, Dtype::F16), &rows_of(0)).unwrap();
    let mut current = ra_guard_core::shard::publish_manifest(gallery.path(), &["0.shard"], 0).unwrap();
    let (mut advanced, mut interrupted) = (0, 0);
    for _ in 0..KILLS {
        let mut child = spawn_publisher(gallery.path());
        std::thread::sleep(Duration::from_micros(2_000 + random.below(40_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = inspect(gallery.path());
        assert!(now >= current, "CURRENT went back from {current} to {now}");
        advanced += usize::from(now > current);
        interrupted += usize::from(left_something_over(gallery.path(), now));
        current = now;
        discard_all_but(gallery.path(), now);
    }
    println!("{advanced} of {KILLS} children published, {interrupted} were interrupted in the middle");
    assert!(advanced > KILLS / 4, "{advanced}: the children had time to publish");
    assert!(interrupted > KILLS / 4, "{interrupted}: the kills came in the middle of publications");
}

/// Removes what no later child needs, leftovers included.
fn discard_all_but(gallery: &Path, current: u64) {
    let listed = Generation::open(gallery, Some(current)).unwrap().manifest().shards[0].file.clone();
    for folder in ["", "generations", "shards"] {
        for entry in std::fs::read_dir(gallery.join(folder)).unwrap() {
            let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
            let obsolete = name.ends_with(".tmp") || (folder == "shards" && name != listed);
            if obsolete {
                std::fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }
}
