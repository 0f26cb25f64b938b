//! Guests that fill the file system, its tables and its lists.

use super::guest;
use crate::guest::{exited, wasi};
use symbolon_executor::Outcome;

/// `$name` writes a number as eight letters at 64, `$make` makes a file of that name.
const CALLS: &str = "
    (func $name (param $n i32) (local $i i32)
      (loop
        (i32.store8 (i32.add (i32.const 64) (local.get $i)) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
        (local.set $n (i32.shr_u (local.get $n) (i32.const 4)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $i) (i32.const 8)))))
    (func $make (param $n i32) (result i32) (local $errno i32)
      (call $name (local.get $n))
      (local.set $errno (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 8) (i32.const 1)
        (i64.const 0x42) (i64.const 0) (i32.const 0) (i32.const 32)))
      (if (i32.eqz (local.get $errno)) (then (call $ok (call $fd_close (i32.load (i32.const 32))))))
      (local.get $errno))
    (func $open (param $at i32) (param $len i32) (param $oflags i32) (param $rights i64) (result i32)
      (call $path_open (i32.const 3) (i32.const 0) (local.get $at) (local.get $len) (local.get $oflags)
        (local.get $rights) (i64.const 0x1fffffff) (i32.const 0) (i32.const 32)))";

fn files(data: &str, body: &str) -> String {
    wasi(&format!("{CALLS}{data}"), body)
}

#[test]
fn sym_33_a_million_tiny_files() {
    // As many as the limit says, then none; and as many again once they are gone.
    let body = "
        (loop (br_if 0 (i32.eqz (call $make (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (i32.const 1000000))))";
    let body = body.replace(
        "(loop (br_if 0 (i32.eqz (call $make (local.get $i))))",
        "(loop (local.set $j (i32.add (local.get $j) (i32.eqz (call $make (local.get $i)))))",
    );
    let body = format!("{body} (call $proc_exit (local.get $j))");
    let report = guest(&files("", &body)).edit(|unit| unit.limits.files = 20_000).fuel(1 << 34).ends(exited(20_000));
    assert_eq!(report.outputs, (20_000, 0));
}

#[test]
fn sym_33_as_many_files_as_the_profile_allows() {
    let body = "
        (loop (br_if 1 (call $make (local.get $i)))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br 0))";
    let body = format!("(block {body}) (call $proc_exit (local.get $i))");
    let report = guest(&files("", &body)).edit(|unit| unit.limits.files = 65_536).fuel(1 << 34).ends(exited(65_536));
    assert_eq!(report.outputs, (65_536, 0));
}

#[test]
fn sym_33_files_made_and_removed_for_ever() {
    let body = "(loop (call $ok (call $make (local.get $i)))
        (call $ok (call $path_unlink_file (i32.const 3) (i32.const 64) (i32.const 8)))
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br 0))";
    guest(&files("", body)).ends(Outcome::OutOfFuel);
}

#[test]
fn sym_33_files_without_a_name_are_charged_until_they_are_closed() {
    // 256 KiB in each, unlinked while open: the fifth has no room.
    let body = "
        (loop
          (call $name (local.get $i))
          (call $ok (call $open (i32.const 64) (i32.const 8) (i32.const 1) (i64.const 0x1fffffff)))
          (local.set $j (call $fd_allocate (i32.load (i32.const 32)) (i64.const 0) (i64.const 262144)))
          (call $ok (call $path_unlink_file (i32.const 3) (i32.const 64) (i32.const 8)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.eqz (local.get $j))))
        (call $is (local.get $j) (i32.const 51)) (call $is (local.get $i) (i32.const 5))
        (call $ok (call $fd_close (i32.const 4)))
        (call $ok (call $fd_allocate (i32.load (i32.const 32)) (i64.const 0) (i64.const 262144)))";
    let report = guest(&files("", body)).ends(exited(0));
    assert_eq!(report.outputs, (0, 0));
}

#[test]
fn sym_33_one_file_under_every_name() {
    // A hard link is charged like a copy, so that a byte is not a thousand outputs.
    let body = "
        (call $ok (call $open (i32.const 0) (i32.const 1) (i32.const 1) (i64.const 0x1fffffff)))
        (call $ok (call $fd_allocate (i32.const 4) (i64.const 0) (i64.const 65536)))
        (loop (call $name (local.get $i)) (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.eqz (call $path_link (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 3) (i32.const 64) (i32.const 8)))))
        (call $proc_exit (local.get $i))";
    let report =
        guest(&files("(data (i32.const 0) \"f\")", body)).edit(|unit| unit.limits.files = 1000).ends(exited(16));
    assert_eq!(report.outputs, (16, 1 << 20));
}

#[test]
fn w3_files_that_swell_and_shrink() {
    // Each takes the whole quota and gives it back: the host must get it back too.
    let body = "
        (loop
          (call $name (local.get $i))
          (call $ok (call $open (i32.const 64) (i32.const 8) (i32.const 1) (i64.const 0x1fffffff)))
          (call $ok (call $fd_filestat_set_size (i32.load (i32.const 32)) (i64.const 33554432)))
          (call $ok (call $fd_filestat_set_size (i32.load (i32.const 32)) (i64.const 1)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (i32.const 20))))";
    let report = guest(&files("", body)).edit(|unit| unit.limits.output_bytes = 33 << 20).fuel(1 << 30).ends(exited(0));
    assert_eq!(report.outputs, (20, 20));
}

#[test]
fn sym_33_folders_down_to_the_last_level() {
    // Each folder is opened and the next one made in it.
    let body = "
        (local.set $fd (i32.const 3))
        (block (loop
          (local.set $j (call $path_create_directory (local.get $fd) (i32.const 0) (i32.const 1)))
          (br_if 1 (local.get $j))
          (call $ok (call $path_open (local.get $fd) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2)
            (i64.const 0x1fffffbd) (i64.const 0x1fffffff) (i32.const 0) (i32.const 32)))
          (local.set $fd (i32.load (i32.const 32)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br 0)))
        (call $is (local.get $j) (i32.const 37))
        (call $proc_exit (local.get $i))";
    guest(&files("(data (i32.const 0) \"d\")", body)).ends(exited(32));
}

#[test]
fn sym_33_deep_folders_cannot_be_joined_to_deeper_ones() {
    // Two trees of 20 levels: moving one to the end of the other would make 40.
    let path = |letter: &str, levels: usize| vec![letter; levels].join("/");
    let mut data = String::new();
    let mut body = String::new();
    for (at, letter) in [(1024, "a"), (2048, "b")] {
        data.push_str(&format!("(data (i32.const {at}) \"{}\")", path(letter, 20)));
        for level in 1..=20 {
            body.push_str(&format!(
                "(call $ok (call $path_create_directory (i32.const 3) (i32.const {at}) (i32.const {})))",
                2 * level - 1
            ));
        }
    }
    data.push_str(&format!("(data (i32.const 4096) \"{}/x\") (data (i32.const 5000) \"b/x\")", path("b", 20)));
    body.push_str(
        "(call $is (call $path_rename (i32.const 3) (i32.const 1024) (i32.const 1) (i32.const 3) (i32.const 4096) (i32.const 41)) (i32.const 37))
         (call $ok (call $path_rename (i32.const 3) (i32.const 1024) (i32.const 1) (i32.const 3) (i32.const 5000) (i32.const 3)))",
    );
    guest(&files(&data, &body)).ends(exited(0));
}

#[test]
fn sym_33_listing_while_deleting() {
    // Like `rm -r`: read a piece of the listing, remove what it names, read on. Every
    // file goes, none is seen twice.
    let body = "
        (local $cookie i64) (local $used i32) (local $at i32)
        (loop (call $ok (call $make (local.get $i)))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 500))))
        (local.set $i (i32.const 0))
        (loop $piece
          (call $ok (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const 200) (local.get $cookie) (i32.const 16)))
          (local.set $used (i32.load (i32.const 16)))
          (local.set $at (i32.const 4096))
          (block $end (loop $entry
            (br_if $end (i32.gt_u (i32.add (local.get $at) (i32.const 32)) (i32.add (i32.const 4096) (local.get $used))))
            (local.set $cookie (i64.load (local.get $at)))
            (if (i32.eq (i32.load offset=16 (local.get $at)) (i32.const 8)) (then
              (call $ok (call $path_unlink_file (i32.const 3) (i32.add (local.get $at) (i32.const 24)) (i32.const 8)))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))))
            (local.set $at (i32.add (local.get $at) (i32.add (i32.const 24) (i32.load offset=16 (local.get $at)))))
            (br $entry)))
          (br_if $piece (i32.eq (local.get $used) (i32.const 200))))
        (call $proc_exit (local.get $i))";
    let report = guest(&files("", body)).edit(|unit| unit.limits.files = 500).ends(exited(500));
    assert_eq!(report.outputs, (0, 0));
}

#[test]
fn sym_33_listing_while_creating() {
    // A listing that makes a file for every entry it sees ends: it is of one moment.
    let body = "
        (local $cookie i64)
        (call $ok (call $make (i32.const 0)))
        (loop
          (call $ok (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const 32) (local.get $cookie) (i32.const 16)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (call $ok (call $make (local.get $i)))
          (local.set $cookie (i64.load (i32.const 4096)))
          (br_if 0 (i32.eq (i32.load (i32.const 16)) (i32.const 32))))
        (call $proc_exit (local.get $i))";
    guest(&files("", body)).ends(exited(4));
}

#[test]
fn sym_33_listings_from_impossible_places() {
    let body = "
        (call $ok (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const 100) (i64.const -1) (i32.const 16)))
        (call $is (i32.load (i32.const 16)) (i32.const 0))
        (call $ok (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const 100) (i64.const 0x8000000000000000) (i32.const 16)))
        (call $is (i32.load (i32.const 16)) (i32.const 0))
        (call $ok (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const 0) (i64.const 0) (i32.const 16)))
        (call $is (i32.load (i32.const 16)) (i32.const 0))
        (call $is (call $fd_readdir (i32.const 1) (i32.const 4096) (i32.const 100) (i64.const 0) (i32.const 16)) (i32.const 76))
        (call $is (call $fd_readdir (i32.const 99) (i32.const 4096) (i32.const 100) (i64.const 0) (i32.const 16)) (i32.const 8))";
    guest(&files("", body)).ends(exited(0));
}

#[test]
fn w3_a_listing_kept_by_every_descriptor() {
    // A thousand descriptors of a folder of 10,000 files, each in the middle of a listing.
    let body = "
        (loop (call $ok (call $make (local.get $i)))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 10000))))
        (local.set $i (i32.const 0))
        (loop
          (call $ok (call $open (i32.const 0) (i32.const 1) (i32.const 2) (i64.const 0x4000)))
          ;; a change in between, so that no two listings are the same
          (call $name (local.get $i))
          (call $ok (call $path_unlink_file (i32.const 3) (i32.const 64) (i32.const 8)))
          (call $ok (call $fd_readdir (i32.load (i32.const 32)) (i32.const 4096) (i32.const 64) (i64.const 0) (i32.const 16)))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 1000))))";
    guest(&files("(data (i32.const 0) \".\")", body))
        .edit(|unit| unit.limits.files = 10_000)
        .fuel(1 << 34)
        .ends(exited(0));
}

#[test]
fn sym_33_every_descriptor_there_is() {
    let body = "
        (block (loop
          (local.set $j (call $open (i32.const 0) (i32.const 1) (i32.const 1) (i64.const 0x42)))
          (br_if 1 (local.get $j))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br 0)))
        (call $is (local.get $j) (i32.const 33)) (call $is (local.get $i) (i32.const 1020))
        ;; one goes, one comes, and it has the number that went
        (call $ok (call $fd_close (i32.const 700)))
        (call $ok (call $open (i32.const 0) (i32.const 1) (i32.const 1) (i64.const 0x42)))
        (call $is (i32.load (i32.const 32)) (i32.const 700))";
    guest(&files("(data (i32.const 0) \"f\")", body)).ends(exited(0));
}

#[test]
fn sym_32_renumbering_everything() {
    // Every descriptor over every other, the streams and the folder too, for ever.
    let body = "
        (loop (call $ok (call $open (i32.const 0) (i32.const 1) (i32.const 1) (i64.const 0x1fffffff)))
          (br_if 0 (i32.lt_u (i32.load (i32.const 32)) (i32.const 40))))
        (local.set $i (i32.const 40))
        (loop $outer
          (local.set $j (i32.const 0))
          (loop $inner
            (drop (call $fd_renumber (local.get $i) (local.get $j)))
            (drop (call $fd_renumber (local.get $j) (local.get $i)))
            (drop (call $fd_renumber (local.get $j) (i32.const -1)))
            (drop (call $fd_renumber (i32.const -1) (local.get $j)))
            (local.set $j (i32.add (local.get $j) (i32.const 1)))
            (br_if $inner (i32.le_u (local.get $j) (i32.const 41))))
          (local.set $i (i32.sub (local.get $i) (i32.const 1)))
          (br_if $outer (i32.ge_s (local.get $i) (i32.const 0))))
        ;; what is left of forty is one, and it is not there twice
        (local.set $i (i32.const 0)) (local.set $fd (i32.const 0))
        (loop
          (local.set $fd (i32.add (local.get $fd) (i32.eqz (call $fd_close (local.get $i)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 1024))))
        (call $proc_exit (local.get $fd))";
    let report = guest(&files("(data (i32.const 0) \"f\")", body)).run();
    assert_eq!(report.end, "exited with 1");
    assert_eq!(report.outputs, (1, 0));
}

#[test]
fn sym_32_closing_everything() {
    let body = "
        (loop (drop (call $fd_close (local.get $i)))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 2000))))
        (if (i32.ne (call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 16)) (i32.const 8)) (then unreachable))
        (if (i32.ne (call $make (i32.const 1)) (i32.const 8)) (then unreachable))
        (if (i32.ne (call $fd_prestat_get (i32.const 3) (i32.const 16)) (i32.const 8)) (then unreachable))
        (call $proc_exit (i32.const 5))";
    guest(&files("", body)).ends(exited(5));
}

#[test]
fn sym_32_offsets_that_overflow() {
    let body = "
        (call $ok (call $open (i32.const 0) (i32.const 1) (i32.const 1) (i64.const 0x1fffffff)))
        (call $ok (call $fd_write (i32.const 4) (i32.const 8) (i32.const 1) (i32.const 16)))
        (call $is (call $fd_pwrite (i32.const 4) (i32.const 8) (i32.const 1) (i64.const -1) (i32.const 16)) (i32.const 22))
        (call $is (call $fd_pwrite (i32.const 4) (i32.const 8) (i32.const 1) (i64.const 0x7fffffffffffffff) (i32.const 16)) (i32.const 51))
        (call $ok (call $fd_pread (i32.const 4) (i32.const 8) (i32.const 1) (i64.const -1) (i32.const 16)))
        (call $is (i32.load (i32.const 16)) (i32.const 0))
        (call $is (call $fd_allocate (i32.const 4) (i64.const -1) (i64.const 1)) (i32.const 22))
        (call $is (call $fd_allocate (i32.const 4) (i64.const 1) (i64.const -1)) (i32.const 22))
        (call $is (call $fd_allocate (i32.const 4) (i64.const 0) (i64.const -1)) (i32.const 51))
        (call $is (call $fd_allocate (i32.const 4) (i64.const -1) (i64.const 0)) (i32.const 28))
        (call $is (call $fd_filestat_set_size (i32.const 4) (i64.const -1)) (i32.const 51))
        (call $is (call $fd_advise (i32.const 4) (i64.const -1) (i64.const 1) (i32.const 0)) (i32.const 28))
        (call $is (call $fd_advise (i32.const 4) (i64.const 0) (i64.const 1) (i32.const 6)) (i32.const 28))
        (call $is (call $fd_seek (i32.const 4) (i64.const 0x8000000000000000) (i32.const 0) (i32.const 16)) (i32.const 28))
        (call $is (call $fd_seek (i32.const 4) (i64.const 0x8000000000000000) (i32.const 2) (i32.const 16)) (i32.const 28))
        (call $ok (call $fd_seek (i32.const 4) (i64.const 0x7fffffffffffffff) (i32.const 0) (i32.const 16)))
        (call $is (call $fd_seek (i32.const 4) (i64.const 1) (i32.const 1) (i32.const 16)) (i32.const 28))
        (call $is (call $fd_write (i32.const 4) (i32.const 8) (i32.const 1) (i32.const 16)) (i32.const 51))
        (call $ok (call $fd_read (i32.const 4) (i32.const 8) (i32.const 1) (i32.const 16)))
        (call $is (i32.load (i32.const 16)) (i32.const 0))
        (call $ok (call $fd_filestat_set_times (i32.const 4) (i64.const -1) (i64.const -1) (i32.const 5)))
        (call $is (call $fd_filestat_set_times (i32.const 4) (i64.const 0) (i64.const 0) (i32.const 3)) (i32.const 28))
        (call $is (call $fd_filestat_set_times (i32.const 4) (i64.const 0) (i64.const 0) (i32.const 0x10001)) (i32.const 28))
        (call $is (call $fd_fdstat_set_flags (i32.const 4) (i32.const 0x10000)) (i32.const 28))
        (call $is (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0x100) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)) (i32.const 28))
        (call $is (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0x10000) (i32.const 32)) (i32.const 28))";
    let data = "(data (i32.const 0) \"f\") (data (i32.const 8) \"\\40\\00\\00\\00\\04\\00\\00\\00\")";
    let report = guest(&files(data, body)).ends(exited(0));
    assert_eq!(report.outputs, (1, 4));
}
