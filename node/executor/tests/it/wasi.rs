//! SYM-32 to SYM-35: the virtual world, call by call.
//!
//! Numbers in guests: 8 badf, 20 exist, 21 fault, 28 inval, 31 isdir, 44 noent,
//! 51 nospc, 54 notdir, 55 notempty, 57 notsock, 58 notsup, 63 perm, 69 rofs,
//! 70 spipe, 76 notcapable.

use crate::guest::{compile, engine, exited, holds, run, trapped, unit, wasi, with_inputs};
use symbolon_executor::{Cancel, ExecutorError, Inputs, TrapKind};
use symbolon_primitives::Level;

/// Opens the path at 0 of length `len` with all rights; the descriptor is at 1000.
fn open(path_at: u32, len: u32, oflags: u32) -> String {
    format!(
        "(call $path_open (i32.const 3) (i32.const 1) (i32.const {path_at}) (i32.const {len}) (i32.const {oflags}) \
         (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 1000))"
    )
}

/// Opens for reading only.
fn open_ro(path_at: u32, len: u32) -> String {
    format!(
        "(call $path_open (i32.const 3) (i32.const 1) (i32.const {path_at}) (i32.const {len}) (i32.const 0) \
         (i64.const 0x4202) (i64.const 0x1fffffff) (i32.const 0) (i32.const 1000))"
    )
}

#[test]
fn sym_32_arguments_environment_and_nothing_of_the_host() {
    let mut unit = unit();
    unit.args = vec!["prog".into(), "".into(), "é".into()];
    unit.env = vec![("B".into(), "2".into()), ("A".into(), "x=y".into())];
    let text = wasi(
        "",
        "(call $ok (call $args_sizes_get (i32.const 0) (i32.const 4)))
         (call $is (i32.load (i32.const 0)) (i32.const 3)) (call $is (i32.load (i32.const 4)) (i32.const 9))
         (call $ok (call $environ_sizes_get (i32.const 0) (i32.const 4)))
         (call $is (i32.load (i32.const 0)) (i32.const 2)) (call $is (i32.load (i32.const 4)) (i32.const 10))
         (call $ok (call $args_get (i32.const 16) (i32.const 200)))
         (call $ok (call $environ_get (i32.const 32) (i32.const 209)))
         (call $is (i32.load (i32.const 36)) (i32.const 213))
         (i32.store (i32.const 64) (i32.const 200)) (i32.store (i32.const 68) (i32.const 19))
         (call $ok (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 72)))",
    );
    let run = run(&text, &unit);
    assert_eq!(run.outcome, exited(0));
    assert_eq!(run.stdout, "prog\0\0é\0B=2\0A=x=y\0".as_bytes());
    // This process has an environment; the guest has the workunit's.
    assert!(std::env::vars_os().count() > 0);
}

#[test]
fn sym_33_files_are_made_written_read_and_become_outputs() {
    let data = r#"(data (i32.const 0) "out.txt") (data (i32.const 16) "in/a.txt")
        (data (i32.const 40) "\50\00\00\00\05\00\00\00\55\00\00\00\06\00\00\00") (data (i32.const 80) "hello world")
        (data (i32.const 120) "\00\08\00\00\40\00\00\00")"#;
    let body = [
        format!("(call $ok {})", open(0, 7, 9)),
        "(local.set $fd (i32.load (i32.const 1000)))
         (call $is (local.get $fd) (i32.const 4))
         (call $ok (call $fd_write (local.get $fd) (i32.const 40) (i32.const 2) (i32.const 1004)))
         (call $is (i32.load (i32.const 1004)) (i32.const 11))
         (call $ok (call $fd_tell (local.get $fd) (i32.const 1008)))
         (call $is (i32.load (i32.const 1008)) (i32.const 11))
         (call $ok (call $fd_seek (local.get $fd) (i64.const -5) (i32.const 2) (i32.const 1008)))
         (call $is (i32.load (i32.const 1008)) (i32.const 6))
         (call $ok (call $fd_read (local.get $fd) (i32.const 120) (i32.const 1) (i32.const 1004)))
         (call $is (i32.load (i32.const 1004)) (i32.const 5))
         (call $is (i32.load8_u (i32.const 2048)) (i32.const 119))
         (call $ok (call $fd_read (local.get $fd) (i32.const 120) (i32.const 1) (i32.const 1004)))
         (call $is (i32.load (i32.const 1004)) (i32.const 0))
         (call $is (call $fd_seek (local.get $fd) (i64.const -1) (i32.const 0) (i32.const 1008)) (i32.const 28))
         (call $ok (call $fd_pwrite (local.get $fd) (i32.const 40) (i32.const 1) (i64.const 20) (i32.const 1004)))
         (call $ok (call $fd_pread (local.get $fd) (i32.const 120) (i32.const 1) (i64.const 19) (i32.const 1004)))
         (call $is (i32.load (i32.const 1004)) (i32.const 6))
         (call $is (i32.load8_u (i32.const 2048)) (i32.const 0))
         (call $ok (call $fd_filestat_get (local.get $fd) (i32.const 3000)))
         (call $is (i32.load (i32.const 3032)) (i32.const 25))
         (call $is (i32.load8_u (i32.const 3016)) (i32.const 4))
         (call $ok (call $fd_filestat_set_size (local.get $fd) (i64.const 11)))
         (call $ok (call $fd_allocate (local.get $fd) (i64.const 0) (i64.const 12)))
         (call $ok (call $fd_advise (local.get $fd) (i64.const 0) (i64.const 12) (i32.const 0)))
         (call $ok (call $fd_sync (local.get $fd)))
         (call $ok (call $fd_datasync (local.get $fd)))
         (call $ok (call $fd_filestat_set_times (local.get $fd) (i64.const 5) (i64.const 6) (i32.const 5)))
         (call $ok (call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 7) (i32.const 3000)))
         (call $is (i32.load (i32.const 3040)) (i32.const 5)) (call $is (i32.load (i32.const 3048)) (i32.const 6))
         (call $ok (call $fd_close (local.get $fd)))
         (call $is (call $fd_close (local.get $fd)) (i32.const 8))"
            .to_owned(),
        // The input can be read and not changed.
        format!("(call $ok {})", open_ro(16, 8)),
        "(local.set $fd (i32.load (i32.const 1000)))
         (call $ok (call $fd_read (local.get $fd) (i32.const 120) (i32.const 1) (i32.const 1004)))
         (call $is (i32.load (i32.const 1004)) (i32.const 3))
         (call $is (call $fd_write (local.get $fd) (i32.const 40) (i32.const 1) (i32.const 1004)) (i32.const 76))
         (call $is (call $path_unlink_file (i32.const 3) (i32.const 16) (i32.const 8)) (i32.const 69))"
            .to_owned(),
        format!("(call $is {} (i32.const 69))", open(16, 8, 0)),
        format!("(call $is {} (i32.const 69))", open(16, 8, 8)),
        format!("(call $is {} (i32.const 20))", open(16, 8, 5)),
        format!("(call $is {} (i32.const 44))", open(17, 7, 0)),
    ]
    .concat();
    let run = holds(data, &body, &[("in/a.txt", b"abc")]);
    assert_eq!(run.outputs.len(), 1);
    assert_eq!(run.outputs[&b"out.txt"[..]], b"hello world\0");
}

#[test]
fn sym_33_folders_links_and_renames() {
    let data = r#"(data (i32.const 0) "dir") (data (i32.const 8) "dir/f") (data (i32.const 16) "link")
        (data (i32.const 24) "dir/g") (data (i32.const 32) "../x") (data (i32.const 40) "hard")"#;
    let body = [
        "(call $ok (call $path_create_directory (i32.const 3) (i32.const 0) (i32.const 3)))
         (call $is (call $path_create_directory (i32.const 3) (i32.const 0) (i32.const 3)) (i32.const 20))"
            .to_owned(),
        format!("(call $ok {})", open(8, 5, 1)),
        "(call $ok (call $path_symlink (i32.const 8) (i32.const 5) (i32.const 3) (i32.const 16) (i32.const 4)))
         (call $ok (call $path_readlink (i32.const 3) (i32.const 16) (i32.const 4) (i32.const 2000) (i32.const 100) (i32.const 2100)))
         (call $is (i32.load (i32.const 2100)) (i32.const 5))
         (call $ok (call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 4) (i32.const 3000)))
         (call $is (i32.load8_u (i32.const 3016)) (i32.const 4))
         (call $ok (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 3000)))
         (call $is (i32.load8_u (i32.const 3016)) (i32.const 7))
         (call $ok (call $path_filestat_set_times (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i64.const 0) (i64.const 0) (i32.const 10)))
         (call $is (call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 32) (i32.const 4) (i32.const 3000)) (i32.const 63))
         (call $ok (call $path_link (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 5) (i32.const 3) (i32.const 40) (i32.const 4)))
         (call $ok (call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 40) (i32.const 4) (i32.const 3000)))
         (call $is (i32.load (i32.const 3024)) (i32.const 2))
         (call $ok (call $path_rename (i32.const 3) (i32.const 8) (i32.const 5) (i32.const 3) (i32.const 24) (i32.const 5)))
         (call $is (call $path_remove_directory (i32.const 3) (i32.const 0) (i32.const 3)) (i32.const 55))
         (call $is (call $path_unlink_file (i32.const 3) (i32.const 0) (i32.const 3)) (i32.const 31))
         (call $is (call $path_remove_directory (i32.const 3) (i32.const 24) (i32.const 5)) (i32.const 54))
         (call $ok (call $path_unlink_file (i32.const 3) (i32.const 24) (i32.const 5)))
         (call $ok (call $path_unlink_file (i32.const 3) (i32.const 16) (i32.const 4)))
         (call $ok (call $path_remove_directory (i32.const 3) (i32.const 0) (i32.const 3)))"
            .to_owned(),
        format!("(call $is {} (i32.const 44))", open(0, 3, 0)),
    ]
    .concat();
    let run = holds(data, &body, &[]);
    assert_eq!(run.outputs.keys().collect::<Vec<_>>(), [&b"hard".to_vec()]);
}

#[test]
fn sym_33_listings_are_sorted_and_can_be_read_in_pieces() {
    let list = |room: u32| {
        let text = wasi(
            "",
            &format!(
                "(local $cookie i64) (loop
                   (call $ok (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const {room}) (local.get $cookie) (i32.const 0)))
                   (i32.store (i32.const 16) (i32.const 4096)) (i32.store (i32.const 20) (i32.load (i32.const 0)))
                   (local.set $i (i32.const 0))
                   (block $done (loop $entry
                     (br_if $done (i32.gt_u (i32.add (local.get $i) (i32.const 24)) (i32.load (i32.const 0))))
                     (local.set $j (i32.add (i32.const 24) (i32.load offset=4112 (local.get $i))))
                     (br_if $done (i32.gt_u (i32.add (local.get $i) (local.get $j)) (i32.load (i32.const 0))))
                     (local.set $cookie (i64.load offset=4096 (local.get $i)))
                     (i32.store (i32.const 16) (i32.add (i32.const 4120) (local.get $i)))
                     (i32.store (i32.const 20) (i32.load offset=4112 (local.get $i)))
                     (i32.store8 (i32.add (i32.add (i32.const 4096) (local.get $i)) (local.get $j)) (i32.load8_u (i32.add (i32.add (i32.const 4096) (local.get $i)) (local.get $j))))
                     (call $ok (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))
                     (local.set $i (i32.add (local.get $i) (local.get $j)))
                     (br $entry)))
                   (br_if 0 (i32.eq (i32.load (i32.const 0)) (i32.const {room}))))"
            ),
        );
        let (unit, inputs) = with_inputs(unit(), &[("Z", b""), ("a", b""), ("b/c", b""), ("\u{e9}", b"")]);
        engine().run(&compile(&text), &unit, &inputs, &Cancel::new()).unwrap()
    };
    let whole = list(1000);
    assert_eq!(whole.outcome, exited(0));
    assert_eq!(whole.stdout, "...Zabé".as_bytes());
    assert_eq!(list(60).stdout, whole.stdout);
    assert_eq!(list(26).stdout, whole.stdout);
}

#[test]
fn sym_33_quotas_cut_files_streams_and_names() {
    let mut small = unit();
    small.limits.output_bytes = 10;
    small.limits.files = 2;
    let data = r#"(data (i32.const 0) "a") (data (i32.const 1) "b") (data (i32.const 2) "c")
        (data (i32.const 16) "\40\00\00\00\07\00\00\00") (data (i32.const 64) "1234567")"#;
    let body = [
        format!("(call $ok {})", open(0, 1, 1)),
        "(call $ok (call $fd_write (i32.const 4) (i32.const 16) (i32.const 1) (i32.const 1004)))
         (call $is (i32.load (i32.const 1004)) (i32.const 7))
         (call $ok (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 1004)))
         (call $is (i32.load (i32.const 1004)) (i32.const 3))
         (call $is (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 1004)) (i32.const 51))
         (call $is (call $fd_write (i32.const 4) (i32.const 16) (i32.const 1) (i32.const 1004)) (i32.const 51))
         (call $is (call $fd_allocate (i32.const 4) (i64.const 0) (i64.const 0x4000000000000000)) (i32.const 51))
         (call $is (call $fd_filestat_set_size (i32.const 4) (i64.const 8)) (i32.const 51))"
            .to_owned(),
        format!("(call $ok {})", open(1, 1, 1)),
        format!("(call $is {} (i32.const 51))", open(2, 1, 1)),
    ]
    .concat();
    let run = run(&wasi(data, &body), &small);
    assert_eq!(run.outcome, exited(0), "{:?}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.stdout, b"123");
    assert_eq!(run.outputs[&b"a"[..]], b"1234567");
}

#[test]
fn sym_32_rights_can_only_shrink() {
    let data = r#"(data (i32.const 0) "f") (data (i32.const 16) "\40\00\00\00\01\00\00\00")"#;
    let body = [
        format!("(call $ok {})", open(0, 1, 1)),
        "(call $ok (call $fd_fdstat_get (i32.const 4) (i32.const 2000)))
         (call $is (i32.load8_u (i32.const 2000)) (i32.const 4))
         (call $ok (call $fd_fdstat_set_rights (i32.const 4) (i64.const 2) (i64.const 0)))
         (call $is (call $fd_write (i32.const 4) (i32.const 16) (i32.const 1) (i32.const 1004)) (i32.const 76))
         (call $is (call $fd_fdstat_set_rights (i32.const 4) (i64.const 66) (i64.const 0)) (i32.const 76))
         (call $ok (call $fd_fdstat_set_rights (i32.const 3) (i64.const 0x2000) (i64.const 2)))"
            .to_owned(),
        format!("(call $ok {})", open_ro(0, 1)),
        format!("(call $is {} (i32.const 76))", open(0, 1, 1)),
        "(call $is (call $fd_write (i32.const 5) (i32.const 16) (i32.const 1) (i32.const 1004)) (i32.const 76))
         (call $is (call $path_unlink_file (i32.const 3) (i32.const 0) (i32.const 1)) (i32.const 76))"
            .to_owned(),
    ]
    .concat();
    holds(data, &body, &[]);
}

#[test]
fn sym_32_descriptors_can_be_renumbered_and_run_out() {
    let data = r#"(data (i32.const 0) "f") (data (i32.const 1) "g")"#;
    let body = [
        format!("(call $ok {})", open(0, 1, 1)),
        format!("(call $ok {})", open(1, 1, 1)),
        "(call $ok (call $fd_renumber (i32.const 4) (i32.const 5)))
         (call $is (call $fd_close (i32.const 4)) (i32.const 8))
         (call $is (call $fd_renumber (i32.const 5) (i32.const 900)) (i32.const 8))
         (call $ok (call $fd_renumber (i32.const 5) (i32.const 5)))
         (call $is (call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 8)) (i32.const 70))
         (call $is (call $fd_tell (i32.const 0) (i32.const 8)) (i32.const 70))
         (call $ok (call $fd_fdstat_set_flags (i32.const 5) (i32.const 1)))
         (call $is (call $fd_fdstat_set_flags (i32.const 5) (i32.const 32)) (i32.const 28))
         (call $ok (call $fd_prestat_get (i32.const 3) (i32.const 2000)))
         (call $is (i32.load (i32.const 2004)) (i32.const 1))
         (call $ok (call $fd_prestat_dir_name (i32.const 3) (i32.const 2000) (i32.const 1)))
         (call $is (i32.load8_u (i32.const 2000)) (i32.const 47))
         (call $is (call $fd_prestat_get (i32.const 5) (i32.const 2000)) (i32.const 8))
         (call $is (call $fd_prestat_get (i32.const 77) (i32.const 2000)) (i32.const 8))
         (call $is (call $fd_read (i32.const 1) (i32.const 2000) (i32.const 0) (i32.const 8)) (i32.const 76))
         (call $is (call $sock_accept (i32.const 1) (i32.const 0) (i32.const 0)) (i32.const 57))
         (call $is (call $sock_recv (i32.const 99) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 8))
         (call $is (call $sock_send (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 57))
         (call $is (call $sock_shutdown (i32.const 1) (i32.const 0)) (i32.const 57))
         (call $is (call $proc_raise (i32.const 9)) (i32.const 58))
         (call $ok (call $sched_yield))"
            .to_owned(),
        format!("(loop (br_if 0 (i32.eqz {}))) (call $is {} (i32.const 33))", open_ro(0, 1), open_ro(0, 1)),
    ]
    .concat();
    holds(data, &body, &[]);
}

#[test]
fn sym_32_pointers_are_checked() {
    let body = "(call $is (call $args_sizes_get (i32.const 131070) (i32.const 0)) (i32.const 21))
        (call $is (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const -1)) (i32.const 21))
        (call $is (call $random_get (i32.const 131000) (i32.const 200)) (i32.const 21))
        (call $is (call $fd_write (i32.const 1) (i32.const 131068) (i32.const 1) (i32.const 0)) (i32.const 21))
        (i32.store (i32.const 0) (i32.const 131071)) (i32.store (i32.const 4) (i32.const 2))
        (call $is (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 21))
        (call $is (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1025) (i32.const 8)) (i32.const 28))
        (call $is (call $path_create_directory (i32.const 3) (i32.const -5) (i32.const 100)) (i32.const 21))
        (call $is (call $fd_readdir (i32.const 3) (i32.const 131000) (i32.const 1000) (i64.const 0) (i32.const 0)) (i32.const 21))
        (call $is (call $poll_oneoff (i32.const 131060) (i32.const 0) (i32.const 1) (i32.const 0)) (i32.const 21))
        (call $is (call $clock_time_get (i32.const 9) (i64.const 0) (i32.const 0)) (i32.const 28))
        (call $ok (call $clock_res_get (i32.const 1) (i32.const 0)))
        (call $is (i32.load (i32.const 0)) (i32.const 1))";
    holds("", body, &[]);
    // Without a memory there is no place to point at.
    let none = r#"(module (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $x (param i32)))
        (func (export "_start") (call $x (call $r (i32.const 0) (i32.const 1)))))"#;
    assert_eq!(run(none, &unit()).outcome, exited(21));
}

#[test]
fn sym_34_the_clock_counts_fuel_and_sleep_costs_no_time() {
    let body = "
        (call $ok (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0)))
        (call $ok (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 8)))
        ;; one hour from now, relative, on the monotonic clock
        (i64.store (i32.const 100) (i64.const 77)) (i32.store (i32.const 116) (i32.const 1))
        (i64.store (i32.const 124) (i64.const 3600000000000))
        (call $ok (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))
        (call $is (i32.load (i32.const 300)) (i32.const 1))
        (call $is (i32.load (i32.const 200)) (i32.const 77))
        (call $is (i32.load16_u (i32.const 208)) (i32.const 0))
        (call $ok (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 16)))
        (call $ok (call $clock_time_get (i32.const 2) (i64.const 0) (i32.const 24)))
        (i32.store (i32.const 40) (i32.const 0)) (i32.store (i32.const 44) (i32.const 32))
        (call $ok (call $fd_write (i32.const 1) (i32.const 40) (i32.const 1) (i32.const 48)))";
    let run = holds("", body, &[]);
    let at = |i: usize| u64::from_le_bytes(run.stdout[i * 8..i * 8 + 8].try_into().unwrap());
    let start = 1_700_000_000_000_000_000;
    assert!(at(0) > start && at(0) < start + 100_000);
    // Real time and monotonic time are one clock.
    assert!(at(0) - start < at(1) && at(1) < at(0) - start + 1000);
    assert!(at(2) - at(0) > 3_600_000_000_000 && at(2) - at(0) < 3_600_000_100_000);
    assert!(at(3) < 100_000, "sleep is no work");
    assert!(run.virtual_time_ns > 3_600_000_000_000);
    assert_eq!(run.virtual_time_ns, run.fuel + 3_600_000_000_000);
    // It ends at 2^63-1 instead of turning round.
    let body = "(i32.store (i32.const 116) (i32.const 1)) (i64.store (i32.const 124) (i64.const -1))
        (call $ok (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))
        (call $ok (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))
        (call $ok (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0)))
        (if (i64.ne (i64.load (i32.const 0)) (i64.const 0x7fffffffffffffff)) (then unreachable))
        (call $ok (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
        (if (i64.ne (i64.load (i32.const 0)) (i64.const 0x7fffffffffffffff)) (then unreachable))";
    holds("", body, &[]);
}

#[test]
fn sym_34_polling_answers_what_is_ready_before_any_timer() {
    let body = "
        ;; a timer of one second, and standard output
        (i64.store (i32.const 100) (i64.const 1)) (i32.store (i32.const 116) (i32.const 1)) (i64.store (i32.const 124) (i64.const 1000000000))
        (i64.store (i32.const 148) (i64.const 2)) (i32.store8 (i32.const 156) (i32.const 2)) (i32.store (i32.const 164) (i32.const 1))
        (call $ok (call $poll_oneoff (i32.const 100) (i32.const 400) (i32.const 2) (i32.const 300)))
        (call $is (i32.load (i32.const 300)) (i32.const 1))
        (call $is (i32.load (i32.const 400)) (i32.const 2))
        ;; a descriptor that does not exist is an event with an error
        (i32.store (i32.const 164) (i32.const 99))
        (call $ok (call $poll_oneoff (i32.const 100) (i32.const 400) (i32.const 2) (i32.const 300)))
        (call $is (i32.load16_u (i32.const 408)) (i32.const 8))
        (call $is (call $poll_oneoff (i32.const 100) (i32.const 400) (i32.const 0) (i32.const 300)) (i32.const 28))";
    let run = holds("", body, &[]);
    assert_eq!(run.virtual_time_ns, run.fuel);
}

#[test]
fn sym_34_randomness_follows_from_the_workunit_alone() {
    let text = wasi(
        "(data (i32.const 0) \"\\40\\00\\00\\00\\20\\00\\00\\00\")",
        "(call $ok (call $random_get (i32.const 64) (i32.const 32))) (call $ok (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
    );
    let first = run(&text, &unit());
    assert_eq!(first.stdout.len(), 32);
    let again = run(&text, &unit());
    assert_eq!(first, again);
    assert_eq!(first.result_root(), again.result_root());
    let mut other = unit();
    other.seed = [1; 32];
    assert_ne!(run(&text, &other).stdout, first.stdout);
    let mut other = unit();
    other.max_fuel -= 1;
    assert_ne!(run(&text, &other).stdout, first.stdout);
}

#[test]
fn sym_35_compute_has_two_descriptors_with_exact_rights() {
    let mut unit = unit();
    unit.level = Level::Compute;
    let (unit, inputs) = with_inputs(unit, &[("in", b"shout")]);
    let compute = |body: &str, result: &str| {
        let text = wasi("", "").replace(
            "(func (export \"_start\") (local $i i32) (local $j i32) (local $fd i32) )",
            &format!("(func (export \"compute\") (param $in i32) (param $out i32) {result} (local $i i32) {body})"),
        );
        engine().run(&compile(&text), &unit, &inputs, &Cancel::new()).unwrap()
    };
    let upper = "(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 100))
        (drop (call $fd_read (local.get $in) (i32.const 0) (i32.const 1) (i32.const 8)))
        (loop (i32.store8 offset=64 (local.get $i) (i32.and (i32.load8_u offset=64 (local.get $i)) (i32.const 0xdf)))
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.load (i32.const 8)))))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $fd_write (local.get $out) (i32.const 0) (i32.const 1) (i32.const 8)))";
    // Rights: 2 and 64, nothing inheriting; every other call is refused.
    let run = compute(
        &format!(
            "(if (i32.ne (local.get $in) (i32.const 11)) (then unreachable))
             (if (i32.ne (local.get $out) (i32.const 12)) (then unreachable))
             (drop (call $fd_fdstat_get (local.get $in) (i32.const 200)))
             (if (i64.ne (i64.load (i32.const 208)) (i64.const 2)) (then unreachable))
             (if (i64.ne (i64.load (i32.const 216)) (i64.const 0)) (then unreachable))
             (drop (call $fd_fdstat_get (local.get $out) (i32.const 200)))
             (if (i64.ne (i64.load (i32.const 208)) (i64.const 64)) (then unreachable))
             (if (i32.ne (call $fd_write (local.get $in) (i32.const 0) (i32.const 0) (i32.const 8)) (i32.const 76)) (then unreachable))
             (if (i32.ne (call $fd_read (local.get $out) (i32.const 0) (i32.const 0) (i32.const 8)) (i32.const 76)) (then unreachable))
             (if (i32.ne (call $random_get (i32.const 0) (i32.const 1)) (i32.const 76)) (then unreachable))
             (if (i32.ne (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0)) (i32.const 76)) (then unreachable))
             (if (i32.ne (call $fd_close (i32.const 1)) (i32.const 8)) (then unreachable))
             {upper}
             (if (i32.ne (call $fd_close (local.get $in)) (i32.const 0)) (then unreachable))"
        ),
        "",
    );
    assert_eq!(run.outcome, exited(0));
    assert_eq!(run.outputs[&b"out"[..]], b"SHOUT");
    assert_eq!(run.outputs.len(), 1);
    assert_eq!(compute("(i32.const 3)", "(result i32)").outcome, exited(3));
    assert_eq!(compute("(call $proc_exit (i32.const 0))", "").outcome, trapped(TrapKind::Forbidden));
}

#[test]
fn sym_21_inputs_must_be_there_and_as_long_as_stated() {
    let module = compile(&wasi("", ""));
    let (unit, mut inputs) = with_inputs(unit(), &[("a", b"123")]);
    let error = engine().run(&module, &unit, &Inputs::new(), &Cancel::new()).unwrap_err();
    assert!(matches!(error, ExecutorError::MissingInput { .. }), "{error}");
    inputs.insert("a".into(), b"12"[..].into());
    let error = engine().run(&module, &unit, &inputs, &Cancel::new()).unwrap_err();
    assert!(matches!(error, ExecutorError::InputSize { expected: 3, found: 2, .. }), "{error}");
    let (unit, inputs) = with_inputs(crate::guest::unit(), &[("a", b""), ("a/b", b"")]);
    let error = engine().run(&module, &unit, &inputs, &Cancel::new()).unwrap_err();
    assert!(matches!(error, ExecutorError::InputPaths), "{error}");
}
